//! `akool jobs`: lists and changes the ledger.

use std::time::SystemTime;

use akool::JobId;
use akool_ledger::LedgerFile;
use futures_util::{StreamExt, stream};
use serde_json::json;

use crate::{
    args::Jobs,
    connect::Connection,
    ledger::{self, Row, State},
    outcome::Outcome,
    report::Report,
    table::Table,
    text::{self, ago, status, uncertain},
};

const MAX_CONCURRENT_POLLS: usize = 8;

pub(crate) async fn run(options: &Jobs, connection: &Connection, report: &Report) -> Outcome {
    let ledger = match ledger::file(connection) {
        Ok(ledger) => ledger,
        Err(error) => {
            report.error(None, "ledger", error);
            return Outcome::Usage;
        }
    };
    match list(options, connection, report, &ledger).await {
        Ok(outcome) => outcome,
        Err(error) => {
            report.error(None, "ledger", text::with_causes(&error));
            Outcome::Unexpected
        }
    }
}

async fn list(
    options: &Jobs,
    connection: &Connection,
    report: &Report,
    ledger: &LedgerFile,
) -> Result<Outcome, akool_ledger::LedgerError> {
    if let Some((entry, job)) = &options.adopt {
        let (entry, language) = match entry.split_once(':') {
            Some((entry, language)) => (entry, Some(language.into())),
            None => (entry.as_str(), None),
        };
        ledger.adopt(&entry.into(), language.as_ref(), &job.as_str().into())?;
        report.line(format_args!("recorded job {job}; `akool wait --pending` waits for it"));
        return Ok(Outcome::Done);
    }
    if let Some(name) = &options.forget {
        let (entry, language) = match name.split_once(':') {
            Some((entry, language)) => (entry, Some(language.into())),
            None => (name.as_str(), None),
        };
        return if ledger.forget_job(&name.as_str().into())?
            || ledger.forget(&entry.into(), language.as_ref())?
        {
            report.line(format_args!("removed {name} from the list"));
            Ok(Outcome::Done)
        } else {
            let text = format!("{name} is not in the ledger; `akool jobs --all` lists its entries");
            report.error(None, "no_match", text);
            Ok(Outcome::Unexpected)
        };
    }
    let ledger::Rows { mut rows, damage } = ledger::rows(ledger, connection)?;
    let mut outcome = Outcome::Done;
    if let Some(damage) = damage {
        report.error(None, "ledger", damage);
        outcome = Outcome::Unexpected;
    }
    if options.refresh {
        outcome = outcome.max(refresh(&rows, connection, report, ledger).await?);
        rows = ledger::rows(ledger, connection)?.rows;
    }
    rows.retain(|row| options.all || if options.pending { row.is_pending() } else { row.is_listed() });
    if report.is_json() {
        for row in &rows {
            report.object(&object(row));
        }
        return Ok(outcome);
    }
    if rows.is_empty() {
        report.note(if options.pending {
            "no job is pending"
        } else {
            "no jobs; create one with `akool translate`"
        });
        return Ok(outcome);
    }
    let mut table = Table::new(["ID", "LANGUAGE", "STATUS", "REQUESTED", "SOURCE"]);
    for row in &rows {
        table.row([
            row.job.as_ref().map_or_else(|| row.entry.to_string(), JobId::to_string),
            row.language.as_ref().map_or_else(|| "?".to_owned(), ToString::to_string),
            state(row),
            ago(row.at),
            row.source.clone(),
        ]);
    }
    report.line(table);
    if rows.iter().any(|row| matches!(row.state, State::Unknown { .. }) && !row.forgotten) {
        report.note("outcome unknown: see `akool jobs --help`");
    }
    Ok(outcome)
}

/// Polls every job that has not ended yet.
async fn refresh(
    rows: &[Row],
    connection: &Connection,
    report: &Report,
    ledger: &LedgerFile,
) -> Result<Outcome, akool_ledger::LedgerError> {
    let jobs = rows.iter().filter(|row| row.is_pending()).filter_map(|row| row.job.as_ref());
    let polls = stream::iter(jobs).map(async |id| connection.client.job(id).get().await);
    let mut polls = std::pin::pin!(polls.buffer_unordered(MAX_CONCURRENT_POLLS));
    let mut outcome = Outcome::Done;
    while let Some(poll) = polls.next().await {
        match poll {
            Ok(snapshot) => ledger.note(snapshot.id(), snapshot.status())?,
            Err(error) => {
                report.call_failed(error.job(), &error);
                outcome = outcome.max(Outcome::from(&error));
            }
        }
    }
    Ok(outcome)
}

fn state(row: &Row) -> String {
    match &row.state {
        _ if row.forgotten => "forgotten".to_owned(),
        State::Job(Some(last)) => status(*last).to_string(),
        State::Job(None) => "created".to_owned(),
        State::Unknown { .. } => uncertain("outcome unknown").to_string(),
        State::InFlight => "being created".to_owned(),
        State::Rejected(code) => format!("rejected ({})", code.0),
        State::NotCreated { .. } => "not created".to_owned(),
    }
}

fn object(row: &Row) -> serde_json::Value {
    let time = |time: SystemTime| humantime::format_rfc3339_seconds(time).to_string();
    let (status, why) = match &row.state {
        State::Job(status) => (status.map_or("created", akool::Status::name), None),
        State::Unknown { why } => ("outcome_unknown", why.clone()),
        State::InFlight => ("being_created", None),
        State::Rejected(code) => ("rejected", Some(code.to_string())),
        State::NotCreated { why } => ("not_created", Some(why.clone())),
    };
    json!({
        "event": "job",
        "id": row.job,
        "entry": row.entry,
        "language": row.language,
        "status": status,
        "message": why,
        "source": row.source,
        "requested_at": time(row.at),
        "changed_at": row.seen.map(time),
        "forgotten": row.forgotten,
    })
}
