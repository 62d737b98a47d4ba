//! `akool translate --dry-run`: prints what would be created, and what it would cost.

use akool::{Language, Status};
use akool_ledger::{EnsureError, Estimate, Ledger, Plan, Work, WorkOutcome};
use serde_json::{Value, json};

use crate::{
    args::Translate,
    budget::{Budget, Reached},
    connect::Connection,
    ledger::{self, api},
    outcome::Outcome,
    plan::Item,
    report::Report,
    table::Table,
    text,
};

/// One language of one row.
struct Line<'a> {
    item: &'a Item,
    language: String,
    action: Action<'a>,
}

enum Action<'a> {
    Reuse(&'a Work),
    Create { estimate: Option<Estimate>, again: bool },
    Refused,
}

pub(crate) async fn run(
    options: &Translate,
    connection: &Connection,
    report: &Report,
    items: &[Item],
) -> Outcome {
    let ledger = match ledger::open_existing(connection).await {
        Ok(ledger) => ledger,
        Err(error) => {
            report.error(None, "ledger", error);
            return Outcome::Usage;
        }
    };
    let mut plans = Vec::new();
    for item in items {
        match plan(options, connection, ledger.as_ref(), item).await {
            Ok(plan) => plans.push(plan),
            Err(error) => {
                report.not_created(&error, &item.languages);
                return Outcome::from(&error);
            }
        }
    }
    let balance = connection.client.credits().await;
    let lines: Vec<_> =
        items.iter().zip(&plans).flat_map(|(item, plan)| lines(item, plan.as_ref())).collect();
    if report.is_json() {
        lines.iter().for_each(|line| report.object(&line.object()));
    } else {
        let mut table = Table::new(["LANGUAGE", "PLAN", "CREDITS", "SOURCE"]);
        lines.iter().for_each(|line| table.row(line.cells()));
        report.line(table);
    }
    summarize(options, report, &lines, balance.as_ref().ok().copied());
    match balance {
        Ok(_) => Outcome::Done,
        Err(error) => {
            report.call_failed(None, &error);
            Outcome::from(&error)
        }
    }
}

/// What the ledger has of a row. `None` if there is no ledger, or nothing to create.
async fn plan(
    options: &Translate,
    connection: &Connection,
    ledger: Option<&Ledger>,
    item: &Item,
) -> Result<Option<Plan>, EnsureError> {
    let Some(ledger) = ledger.filter(|_| !item.languages.is_empty()) else { return Ok(None) };
    let request = item.translate(&connection.client, &item.languages);
    let mut ensure = ledger.translate(request).api(api(connection));
    if options.allow_duplicate {
        ensure = ensure.allow_duplicate();
    }
    ensure.plan().await.map(Some)
}

fn lines<'a>(item: &'a Item, plan: Option<&'a Plan>) -> Vec<Line<'a>> {
    let of = |code: &String| {
        let language = Language::from(code.as_str());
        let is = |other: &Option<Language>| other.as_ref().is_some_and(|other| other.is(&language));
        match plan.and_then(|plan| plan.known.iter().find(|work| is(&work.language))) {
            Some(work) => Action::Reuse(work),
            None => Action::Create {
                estimate: plan.and_then(|plan| plan.estimate),
                again: plan.is_some_and(|plan| plan.failed.iter().any(|job| is(&job.language))),
            },
        }
    };
    let planned = item.languages.iter().map(|code| (code, of(code)));
    let refused = item.refused.iter().map(|code| (code, Action::Refused));
    planned.chain(refused).map(|(code, action)| Line { item, language: code.clone(), action }).collect()
}

impl Line<'_> {
    fn cells(&self) -> [String; 4] {
        let (plan, credits) = match &self.action {
            Action::Create { estimate, again } => (
                if *again { "create again, because it failed" } else { "create" }.to_owned(),
                match estimate {
                    Some(Estimate { credits, is_same_video: true, .. }) => text::credits(*credits),
                    Some(Estimate { credits, .. }) => format!("about {}", text::credits(*credits)),
                    None => "unknown".to_owned(),
                },
            ),
            Action::Reuse(work) => (reuse(work), "-".to_owned()),
            Action::Refused => ("none: not supported".to_owned(), "-".to_owned()),
        };
        [self.language.clone(), plan, credits, text::source(&self.item.row.url)]
    }

    fn object(&self) -> Value {
        let action = match &self.action {
            Action::Create { again: true, .. } => "create_again",
            Action::Create { again: false, .. } => "create",
            Action::Reuse(work) if work.job().is_some() => "reuse",
            Action::Reuse(work) if work.is_in_flight() => "being_created",
            Action::Reuse(_) => "outcome_unknown",
            Action::Refused => "rejected",
        };
        let work = match &self.action {
            Action::Reuse(work) => Some(work),
            _ => None,
        };
        let job = work.and_then(|work| work.job());
        json!({
            "event": "planned",
            "action": action,
            "language": self.language,
            "line": self.item.line,
            "source": text::source(&self.item.row.url),
            "entry": work.map(|work| &work.entry),
            "id": job.map(|job| &job.id),
            "status": job.and_then(|job| job.status).map(Status::name),
            "credits": self.estimate().flatten(),
        })
    }

    /// The credits of a job that would be created, if they are known.
    fn estimate(&self) -> Option<Option<f64>> {
        match self.action {
            Action::Create { estimate, .. } => Some(estimate.map(|estimate| estimate.credits)),
            _ => None,
        }
    }
}

fn reuse(work: &Work) -> String {
    match &work.outcome {
        WorkOutcome::Created(job) => {
            let status = job.status.map_or("created", Status::name);
            format!("reuse job {} ({status})", job.id)
        }
        WorkOutcome::InFlight => "none: another process is creating it".to_owned(),
        _ => format!("none: outcome unknown ({})", work.entry),
    }
}

fn summarize(options: &Translate, report: &Report, lines: &[Line<'_>], balance: Option<f64>) {
    let estimates: Vec<_> = lines.iter().filter_map(Line::estimate).collect();
    // An empty sum is -0.
    let known = estimates.iter().flatten().sum::<f64>() + 0.0;
    let unknown = estimates.iter().filter(|credits| credits.is_none()).count();
    let stop = stop(options, lines, balance);
    if report.is_json() {
        return report.object(&json!({
            "event": "plan",
            "jobs": estimates.len(),
            "credits": (unknown == 0).then_some(known),
            "credits_known": known,
            "credits_unknown": unknown,
            "balance": balance,
            "created_within_limits": match stop {
                Stop::Never => Some(estimates.len()),
                Stop::After(created, _) => Some(created),
                Stop::Unknown => None,
            },
        }));
    }
    let mut text = match (estimates.len(), unknown) {
        (0, _) => "nothing would be created".to_owned(),
        (jobs, 0) => format!("{} would hold about {} credits", count(jobs), text::credits(known)),
        (jobs, unknown) if jobs == unknown => {
            format!("{} would be created; it is not known how many credits they need", count(jobs))
        }
        (jobs, unknown) => format!(
            "{} would hold about {} credits; for {unknown} more it is not known",
            count(jobs - unknown),
            text::credits(known)
        ),
    };
    if let Some(balance) = balance {
        text += &format!("; the balance is {} credits", text::credits(balance));
    }
    match stop {
        Stop::Never => {}
        Stop::After(created, reached) => {
            text += &format!("\n{created} of these {} would be created: {reached}", count(estimates.len()));
        }
        Stop::Unknown => {
            text += "\nthe limit cannot be checked in advance: the credits of a job are not known";
        }
    }
    report.line(text);
}

fn count(jobs: usize) -> String {
    if jobs == 1 { "1 job".to_owned() } else { format!("{jobs} jobs") }
}

fn stop(options: &Translate, lines: &[Line<'_>], balance: Option<f64>) -> Stop {
    let mut budget = Budget::new(&options.limits);
    if let Some(balance) = balance {
        budget.set_balance(balance);
    }
    for (created, credits) in lines.iter().filter_map(Line::estimate).enumerate() {
        let estimate = credits.map(|credits| Estimate::new(credits, true));
        if let Err(reached) = budget.room(0, estimate) {
            return Stop::After(created, reached);
        }
        match credits {
            Some(credits) => budget.hold(Some(credits)),
            None if budget.is_limited() => return Stop::Unknown,
            None => {}
        }
    }
    Stop::Never
}

/// Where a limit stops a run.
enum Stop {
    Never,
    After(usize, Reached),
    /// It cannot be known, because the credits of a job are not known.
    Unknown,
}
