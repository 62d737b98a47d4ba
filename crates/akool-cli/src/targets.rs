//! The status of each language of each row of a run: [`Targets`].

use std::{
    collections::{BTreeMap, BTreeSet},
    ops::Range,
};

use akool::{JobId, Language};
use serde_json::{Value, json};

use crate::{
    plan::{Item, Plan},
    text,
};

/// The status of one language of one row.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum TargetStatus {
    /// Not created yet, or not any more because the run ended.
    Planned,
    /// A job that has not ended.
    Active,
    Completed,
    Failed,
    /// AKOOL does not accept the language.
    Refused,
    NotCreated,
    /// Not created because of a limit on credits.
    OverBudget,
    OutcomeUnknown,
    /// The wait ended before the job.
    Unfinished,
}

use TargetStatus::{
    Active, Completed, Failed, NotCreated, OutcomeUnknown, OverBudget, Planned, Refused, Unfinished,
};

impl TargetStatus {
    fn name(self) -> &'static str {
        match self {
            Active | Unfinished => "unfinished",
            Completed => "completed",
            Failed => "failed",
            Refused => "rejected",
            Planned | NotCreated | OverBudget => "not_created",
            OutcomeUnknown => "outcome_unknown",
        }
    }
}

/// One language of one row.
struct Target {
    language: String,
    status: TargetStatus,
    job: Option<JobId>,
}

#[derive(Default)]
pub(crate) struct Targets {
    all: Vec<Target>,
    /// Which of them each row has.
    rows: Vec<Range<usize>>,
    /// Which of them are translated by each job.
    by_job: BTreeMap<JobId, Vec<usize>>,
    counts: BTreeMap<TargetStatus, usize>,
}

impl Targets {
    pub(crate) fn new(items: &[Item]) -> Self {
        let mut targets = Self::default();
        for item in items {
            let start = targets.all.len();
            let planned = item.languages.iter().map(|language| (language, Planned));
            for (language, status) in planned.chain(item.refused.iter().map(|language| (language, Refused))) {
                targets.all.push(Target { language: language.clone(), status, job: None });
                *targets.counts.entry(status).or_default() += 1;
            }
            targets.rows.push(start..targets.all.len());
        }
        targets
    }

    /// Sets the status of a language of a row. `job` is what translates it.
    pub(crate) fn set(&mut self, row: usize, language: &Language, status: TargetStatus, job: Option<&JobId>) {
        let is_it = |target: &Target| language.is(&Language::from(target.language.as_str()));
        let Some(index) = self.rows[row].clone().find(|index| is_it(&self.all[*index])) else { return };
        if let Some(job) = job {
            self.by_job.entry(job.clone()).or_default().push(index);
        }
        self.all[index].job = job.cloned();
        self.change(index, status);
    }

    /// Sets the status of what a job translates.
    pub(crate) fn end(&mut self, job: &JobId, status: TargetStatus) {
        for index in self.by_job.get(job).cloned().unwrap_or_default() {
            self.change(index, status);
        }
    }

    fn change(&mut self, index: usize, status: TargetStatus) {
        let before = std::mem::replace(&mut self.all[index].status, status);
        *self.counts.entry(before).or_default() -= 1;
        *self.counts.entry(status).or_default() += 1;
    }

    pub(crate) fn len(&self) -> usize {
        self.all.len()
    }

    pub(crate) fn count(&self, statuses: &[TargetStatus]) -> usize {
        statuses.iter().filter_map(|status| self.counts.get(status)).sum()
    }

    /// The jobs that have not ended.
    pub(crate) fn active(&self) -> Vec<JobId> {
        let active = self.all.iter().filter(|target| target.status == Active);
        active.filter_map(|target| target.job.clone()).collect()
    }

    /// The languages of each row that have this status, without the rows that have none.
    pub(crate) fn with_status(&self, status: TargetStatus) -> Vec<(usize, Vec<&str>)> {
        let of_row = |row: &Range<usize>| {
            let targets = self.all[row.clone()].iter().filter(|target| target.status == status);
            targets.map(|target| target.language.as_str()).collect::<Vec<_>>()
        };
        let rows = self.rows.iter().map(of_row).enumerate();
        rows.filter(|(_, languages)| !languages.is_empty()).collect()
    }

    /// The counts for people, and for programs.
    pub(crate) fn summary(
        &self,
        left_out: &[(Option<u64>, String)],
    ) -> (String, serde_json::Map<String, Value>) {
        let refused: BTreeSet<_> =
            self.with_status(Refused).into_iter().flat_map(|(_, languages)| languages).collect();
        let refused = refused.into_iter().collect::<Vec<_>>().join(", ");
        let counts = [
            ("completed", self.count(&[Completed]), String::new()),
            ("failed", self.count(&[Failed]), "failed".to_owned()),
            ("not_ended", self.count(&[Active, Unfinished]), "not ended".to_owned()),
            ("outcome_unknown", self.count(&[OutcomeUnknown]), "outcome unknown".to_owned()),
            ("not_created", self.count(&[NotCreated, Planned, OverBudget]), "not created".to_owned()),
            ("rejected", self.count(&[Refused]), format!("refused: {refused}")),
        ];
        let mut text = format!("{} of {} completed", self.count(&[Completed]), self.len());
        for (_, number, what) in counts.iter().skip(1).filter(|(_, number, _)| *number > 0) {
            text += &format!(", {number} {what}");
        }
        let rows_left_out = left_out.len();
        let what = if left_out.iter().any(|(line, _)| line.is_some()) { "row" } else { "file" };
        match rows_left_out {
            0 => {}
            1 => text += &format!(", 1 {what} left out"),
            rows => text += &format!(", {rows} {what}s left out"),
        }
        let total = ("total".to_owned(), json!(self.len()));
        let left_out = ("rows_left_out".to_owned(), json!(rows_left_out));
        let members = counts.iter().map(|(name, number, _)| ((*name).to_owned(), json!(number)));
        (text, std::iter::once(total).chain(members).chain([left_out]).collect())
    }

    /// One line for each row of the file, in order.
    pub(crate) fn lines(&self, plan: &Plan) -> Vec<Value> {
        let of_item = |(item, row): (&Item, &Range<usize>)| {
            let own = self.all[row.clone()].iter().map(|target| {
                json!({ "language": target.language, "status": target.status.name(), "id": target.job })
            });
            let repeated = item.repeated.iter().map(
                |(language, first)| json!({ "language": language, "status": "repeated", "same_as": first }),
            );
            let languages: Vec<_> = own.chain(repeated).collect();
            let source = text::source(&item.row.url);
            (item.line, json!({ "line": item.line, "source": source, "languages": languages }))
        };
        let items = plan.items.iter().zip(&self.rows).map(of_item);
        let left_out = plan.left_out.iter().map(|(line, why)| {
            (*line, json!({ "line": line, "source": null, "languages": [], "left_out": why }))
        });
        let mut lines: Vec<_> = items.chain(left_out).collect();
        lines.sort_by_key(|(line, _)| *line);
        lines.into_iter().map(|(_, line)| line).collect()
    }
}
