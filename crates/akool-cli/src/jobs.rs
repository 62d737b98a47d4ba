//! `akool jobs`: lists and changes the ledger.

use std::time::SystemTime;

use akool::{JobId, Language};
use akool_ledger::{EntryId, Filter, Ledger, Work, WorkOutcome};
use futures_util::{StreamExt, stream};
use serde_json::json;

use crate::{
    args::Jobs,
    connect::Connection,
    costs,
    ledger::api,
    outcome::Outcome,
    place::{Listed, Place},
    report::Report,
    reported::Failure,
    staging,
    table::Table,
    text::{ago, status, uncertain},
};

const MAX_CONCURRENT_POLLS: usize = 8;

pub(crate) async fn run(options: &Jobs, connection: &Connection, report: &Report) -> Outcome {
    let place = match Place::open(connection).await {
        Ok(place) => place,
        Err(failure) => return report.failed(None, &failure),
    };
    let outcome = match (&options.adopt, &options.forget) {
        (Some((name, job)), _) => adopt(&place, name, &job.as_str().into(), report).await,
        (None, Some(name)) => forget(&place, name, report).await,
        (None, None) => list(options, connection, report, &place).await,
    };
    outcome.unwrap_or_else(|failure| report.failed(None, &failure))
}

/// `ENTRY` or `ENTRY:LANGUAGE`.
fn parse(name: &str) -> (EntryId, Option<Language>) {
    match name.split_once(':') {
        Some((entry, language)) => (entry.into(), Some(language.into())),
        None => (name.into(), None),
    }
}

async fn adopt(place: &Place, name: &str, job: &JobId, report: &Report) -> Result<Outcome, Failure> {
    let (entry, language) = parse(name);
    let Some(languages) = place.adopt(&entry, language.as_ref(), job).await? else {
        return Ok(not_there(place, name, report));
    };
    let wait = report.command("wait --pending");
    report.line(format_args!("recorded job {job}; `{wait}` waits for it"));
    if languages.len() > 1 {
        let languages: Vec<_> = languages.iter().map(Language::code).collect();
        report.note(format_args!(
            "warning: this job is recorded for {}; `{}` removes it",
            languages.join(" and "),
            report.command(&format!("jobs --forget {job}"))
        ));
    }
    Ok(Outcome::Done)
}

async fn forget(place: &Place, name: &str, report: &Report) -> Result<Outcome, Failure> {
    let (entry, language) = parse(name);
    if place.forget(name, &entry, language.as_ref()).await? {
        report.line(format_args!("removed {name} from the list"));
        return Ok(Outcome::Done);
    }
    Ok(not_there(place, name, report))
}

fn not_there(place: &Place, name: &str, report: &Report) -> Outcome {
    let (place, command) = if place.is_fleet() { ("fleet", "jobs") } else { ("ledger", "jobs --all") };
    let command = report.command(command);
    report.error(None, "no_match", format!("{name} is not in the {place}; `{command}` lists its entries"));
    Outcome::Unexpected
}

async fn list(
    options: &Jobs,
    connection: &Connection,
    report: &Report,
    place: &Place,
) -> Result<Outcome, Failure> {
    let mut outcome = Outcome::Done;
    let ledger = place.ledger();
    if let Some(ledger) = ledger.filter(|_| options.refresh) {
        outcome = refresh(ledger, connection, report).await?;
        staging::clean(ledger, report).await;
    }
    #[cfg(feature = "stage")]
    if options.staged {
        staging::list(ledger, report).await?;
        return Ok(outcome);
    }
    let listed = match options {
        Jobs { pending: true, .. } => Listed::Pending,
        Jobs { expiring: true, .. } => Listed::Expiring,
        _ => Listed::All,
    };
    let mut works = place.works(listed).await?;
    works.retain(|work| options.all || options.costs || is_listed(work));
    if options.costs {
        costs::print(&works, report);
        return Ok(outcome);
    }
    if report.is_json() {
        for work in &works {
            report.object(&object(work));
        }
        return Ok(outcome);
    }
    if works.is_empty() {
        report.note(match options {
            Jobs { pending: true, .. } => "no job is pending".to_owned(),
            Jobs { expiring: true, .. } => "no unsaved files expire within a day".to_owned(),
            _ => format!("no jobs; create one with `{}`", report.command("translate")),
        });
        return Ok(outcome);
    }
    let mut table = Table::new(["ID", "LANGUAGE", "STATUS", "REQUESTED", "SOURCE"]);
    for work in &works {
        table.row([
            work.job().map_or_else(|| work.entry.to_string(), |job| job.id.to_string()),
            work.language.as_ref().map_or_else(|| "?".to_owned(), ToString::to_string),
            state(work),
            ago(work.requested_at),
            work.source.clone(),
        ]);
    }
    report.line(table);
    if options.expiring {
        report.note(format_args!("`{}` saves their files", report.command("download --expiring")));
    }
    if works.iter().any(|work| matches!(work.outcome, WorkOutcome::Unknown { .. }) && !work.is_forgotten) {
        report.note("outcome unknown: see `akool jobs --help`");
    }
    Ok(outcome)
}

/// Whether it is listed without `--all`.
fn is_listed(work: &Work) -> bool {
    !work.is_forgotten && !matches!(work.outcome, WorkOutcome::Rejected(_) | WorkOutcome::NotCreated { .. })
}

/// Polls every job that has not ended yet.
async fn refresh(ledger: &Ledger, connection: &Connection, report: &Report) -> Result<Outcome, Failure> {
    let jobs = ledger.jobs(&Filter::pending().at(api(connection))).await?;
    let polls = stream::iter(jobs).map(async |job| connection.client.job(&job.id).get().await);
    let mut polls = std::pin::pin!(polls.buffer_unordered(MAX_CONCURRENT_POLLS));
    let mut outcome = Outcome::Done;
    while let Some(poll) = polls.next().await {
        match poll {
            Ok(snapshot) => ledger.record(api(connection), &snapshot, None).await?,
            Err(error) => {
                report.call_failed(error.job(), &error);
                outcome = outcome.max(Outcome::from(&error));
            }
        }
    }
    Ok(outcome)
}

fn state(work: &Work) -> String {
    match &work.outcome {
        _ if work.is_forgotten => "forgotten".to_owned(),
        WorkOutcome::Created(job) => {
            job.status.map_or_else(|| "created".to_owned(), |last| status(last).to_string())
        }
        WorkOutcome::InFlight => "being created".to_owned(),
        WorkOutcome::Rejected(rejection) => format!("rejected ({})", rejection.code.0),
        WorkOutcome::NotCreated { .. } => "not created".to_owned(),
        _ => uncertain("outcome unknown").to_string(),
    }
}

fn object(work: &Work) -> serde_json::Value {
    let time = |time: SystemTime| humantime::format_rfc3339_seconds(time).to_string();
    let job = work.job();
    let (status, message) = match &work.outcome {
        WorkOutcome::Created(job) => {
            (job.status.map_or("created", akool::Status::name), job.error_reason.clone())
        }
        WorkOutcome::Unknown { why } => ("outcome_unknown", why.clone()),
        WorkOutcome::InFlight => ("being_created", None),
        WorkOutcome::Rejected(rejection) => ("rejected", Some(rejection.code.to_string())),
        WorkOutcome::NotCreated { why } => ("not_created", Some(why.clone())),
        _ => ("outcome_unknown", None),
    };
    json!({
        "event": "job",
        "id": job.map(|job| &job.id),
        "entry": work.entry,
        "language": work.language,
        "status": status,
        "message": message,
        "source": work.source,
        "requested_at": time(work.requested_at),
        "changed_at": job.and_then(|job| job.changed_at).map(time),
        "credits_held": job.and_then(|job| job.credits_held),
        "credits_charged": job.and_then(|job| job.credits_charged),
        "files_expire_at": job.map(|job| time(job.files_expire_at())),
        "forgotten": work.is_forgotten,
    })
}
