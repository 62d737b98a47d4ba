//! Creates the jobs of a run, row by row, within the limits on credits: [`Creator`].

mod request;
mod result;

use std::{
    cell::{Cell, RefCell},
    collections::{BTreeSet, VecDeque},
};

use akool::JobId;
use akool_ledger::{Ensured, Ledger};
use tokio::sync::{Notify, mpsc};

use crate::{
    args,
    connect::Connection,
    follow::Ended,
    ledger::IN_FLIGHT_INTERVAL,
    outcome::Outcome,
    plan::{Item, Plan},
    report::Report,
    row_report::RowReport,
    spending::Spending,
    staging::{Links, Staging, clean},
    targets::{TargetStatus, Targets},
    text,
};

/// After so many requests in a row that could not be sent, the run ends.
const MAX_FAILURES: u32 = 3;

/// Creates jobs, and counts.
pub(crate) struct Creator<'a> {
    options: &'a args::Translate,
    connection: &'a Connection,
    report: &'a Report,
    ledger: &'a Ledger,
    plan: Plan,
    targets: RefCell<Targets>,
    spending: Spending<'a>,
    staging: &'a Staging<'a>,
    jobs: RefCell<BTreeSet<JobId>>,
    is_creating: Cell<bool>,
    is_interrupted: Cell<bool>,
    /// How many jobs are waited for.
    active: Cell<usize>,
    /// A wait has ended.
    ended: Notify,
    /// A wait has ended, so objects in a store may be left.
    is_left: Notify,
    is_stopped: Cell<bool>,
}

impl<'a> Creator<'a> {
    pub(crate) fn new(
        options: &'a args::Translate,
        connection: &'a Connection,
        report: &'a Report,
        ledger: &'a Ledger,
        plan: Plan,
        staging: &'a Staging<'a>,
    ) -> Self {
        let targets = Targets::new(&plan.items);
        staging.need(plan.items.iter().map(|item| &item.local));
        Self {
            options,
            connection,
            report,
            ledger,
            plan,
            targets: RefCell::new(targets),
            spending: Spending::new(&options.limits, connection, ledger),
            staging,
            jobs: RefCell::default(),
            is_creating: Cell::new(false),
            is_interrupted: Cell::new(false),
            active: Cell::new(0),
            ended: Notify::new(),
            is_left: Notify::new(),
            is_stopped: Cell::new(false),
        }
    }

    /// Whether a request is under way, so that jobs may exist whose ids are not known yet.
    pub(crate) fn is_creating(&self) -> bool {
        self.is_creating.get()
    }

    /// Ends the run after the request that is under way.
    pub(crate) fn interrupt(&self) {
        self.is_interrupted.set(true);
    }

    /// The wait for a job has ended.
    pub(crate) fn end(&self, ended: &Ended) {
        let status = match ended.outcome {
            Outcome::Done => TargetStatus::Completed,
            Outcome::JobFailed => TargetStatus::Failed,
            _ => TargetStatus::Unfinished,
        };
        self.targets.borrow_mut().end(&ended.id, status);
        self.report_progress();
        self.active.set(self.active.get().saturating_sub(1));
        self.ended.notify_one();
        self.is_left.notify_one();
    }

    /// Removes files from the store whenever their jobs have ended, and once more after [`stop`](Self::stop).
    pub(crate) async fn tidy(&self) {
        let has_files = self.plan.items.iter().any(|item| !item.local.is_empty());
        loop {
            self.is_left.notified().await;
            let is_last = self.is_stopped.get();
            if has_files || is_last {
                clean(self.ledger, self.report).await;
            }
            if is_last {
                return;
            }
        }
    }

    /// No more jobs are created, and none is waited for.
    pub(crate) fn stop(&self) {
        self.staging.release_all();
        self.is_stopped.set(true);
        self.is_left.notify_one();
    }

    /// Whether there are languages that were not requested yet.
    pub(crate) fn has_more(&self) -> bool {
        self.targets.borrow().count(&[TargetStatus::Planned]) > 0
    }

    /// The jobs that have not ended.
    pub(crate) fn active(&self) -> Vec<JobId> {
        self.targets.borrow().active()
    }

    /// Creates all jobs, as many at a time as may be active, and passes on their ids.
    pub(crate) async fn run(&self, jobs: mpsc::UnboundedSender<JobId>) -> Outcome {
        let mut outcome = Outcome::Done;
        self.report_progress();
        if let Err(error) = self.spending.read_balance().await {
            self.report.call_failed(None, &error);
            return Outcome::from(&error);
        }
        if self.targets.borrow().count(&[TargetStatus::Refused]) > 0 {
            outcome = Outcome::JobFailed;
        }
        let languages = |item: &Item| item.languages.clone();
        let rows = self.plan.items.iter().map(languages).enumerate();
        let mut queue: VecDeque<_> = rows.filter(|(_, languages)| !languages.is_empty()).collect();
        let mut reported_in_flight = false;
        let mut failures = 0;
        while let Some((row, mut languages)) = queue.pop_front() {
            let room = self.room().await;
            if self.is_interrupted.get() {
                break;
            }
            let mut has_more = languages.len() > room;
            if has_more {
                queue.push_front((row, languages.split_off(room)));
            }
            let links = match self.upload(row, &languages).await {
                Ok(links) => links,
                Err(failure) => {
                    outcome = outcome.max(failure.outcome);
                    self.report_not_uploaded(row, &languages, &failure);
                    if failure.is_general {
                        break;
                    }
                    continue;
                }
            };
            let (ensured, later) = self.request(row, &mut languages, links.as_ref()).await;
            if !later.is_empty() {
                has_more = true;
                queue.push_front((row, later));
            }
            let in_flight: Vec<_> =
                ensured.known.iter().filter(|work| work.is_in_flight()).cloned().collect();
            for work in ensured.known.iter().filter(|work| !work.is_in_flight() || !reported_in_flight) {
                self.report.reused(work);
            }
            for id in self.take(row, &languages, &ensured) {
                self.active.set(self.active.get() + 1);
                let _ = jobs.send(id);
            }
            self.spending.note_account(&ensured);
            let (ended, goes_on) = self.report_sent(ensured, &languages).await;
            outcome = outcome.max(ended);
            failures = if ended == Outcome::Unreachable { failures + 1 } else { 0 };
            if failures == MAX_FAILURES && !queue.is_empty() {
                self.report
                    .note("AKOOL cannot be reached; run the same command later to create the other jobs");
            }
            if !goes_on || failures == MAX_FAILURES {
                break;
            }
            if !in_flight.is_empty() {
                // Another process is creating them.
                reported_in_flight = true;
                let codes =
                    in_flight.iter().flat_map(|work| &work.language).map(|code| code.code().to_owned());
                queue.push_back((row, codes.collect()));
                has_more = true;
                tokio::time::sleep(IN_FLIGHT_INTERVAL).await;
            }
            if !has_more {
                self.staging.release(&self.plan.items[row].local);
                self.is_left.notify_one();
            }
        }
        if self.spending.reached().is_some() { outcome.max(Outcome::BudgetReached) } else { outcome }
    }

    /// How many more jobs may be created now: at least one.
    async fn room(&self) -> usize {
        if self.options.no_wait {
            return usize::MAX;
        }
        while self.active.get() >= self.options.max_active {
            self.ended.notified().await;
        }
        self.options.max_active - self.active.get()
    }

    /// Requests what the limits on credits allow, and reuses what exists. Languages that are to be requested later, when
    /// more is known of what they cost, are moved out of `languages` and returned.
    async fn request(
        &self,
        row: usize,
        languages: &mut Vec<String>,
        links: Option<&Links>,
    ) -> (Ensured, Vec<String>) {
        if !self.spending.is_limited() {
            return (self.create(row, languages, links).await, Vec::new());
        }
        let _locked = self.spending.lock().await;
        let plan = match self.planned(row, languages).plan().await {
            Ok(plan) => plan,
            Err(error) => {
                let mut failed = Ensured::default();
                failed.sent = Some(Err(error));
                return (failed, Vec::new());
            }
        };
        let room = match plan.missing.len() {
            0 => 0,
            _ => self.spending.room(row, plan.estimate).await,
        };
        let over: Vec<_> = plan.missing.iter().skip(room).cloned().collect();
        if !plan.missing.is_empty() && room == 0 {
            let mut targets = self.targets.borrow_mut();
            over.iter().for_each(|language| targets.set(row, language, TargetStatus::OverBudget, None));
            languages.retain(|code| !over.iter().any(|language| language.is(&code.as_str().into())));
            return (plan.into_known(), Vec::new());
        }
        let (later, now) = std::mem::take(languages)
            .into_iter()
            .partition(|code| over.iter().any(|language| language.is(&code.as_str().into())));
        *languages = now;
        let ensured = self.create(row, languages, links).await;
        if let Some(sent) = &ensured.sent {
            self.spending.add(row, sent, plan.missing.len() - over.len(), plan.estimate);
        }
        (ensured, later)
    }

    fn report_progress(&self) {
        let targets = self.targets.borrow();
        let ended = targets.len() - targets.count(&[TargetStatus::Planned, TargetStatus::Active]);
        self.report.advance(ended, targets.len());
    }

    /// Lists what a limit left out, and prints the last line of a run with several rows. Writes the file of `--report`.
    pub(crate) fn summarize(&self, file: Option<RowReport>) -> Outcome {
        let targets = self.targets.borrow();
        if let Some(reached) = &self.spending.reached() {
            for (row, languages) in targets.with_status(TargetStatus::OverBudget) {
                let item = &self.plan.items[row];
                self.report.over_budget(item.line, &text::source(&item.row.url), &languages, reached);
            }
            let help = reached.help(&self.report.command("credits"));
            self.report.note(format_args!("{reached}. {help}"));
        }
        let is_batch =
            self.options.from_file.is_some() || self.plan.items.len() + self.plan.left_out.len() > 1;
        if is_batch && !self.options.no_wait {
            let (text, members) = targets.summary(&self.plan.left_out);
            self.report.summary(&text, members);
        }
        let Some(file) = file else { return Outcome::Done };
        match file.write(&targets.lines(&self.plan)) {
            Ok(()) => Outcome::Done,
            Err(error) => {
                self.report.error(None, "file", format!("cannot write the report: {error}"));
                Outcome::Unexpected
            }
        }
    }
}
