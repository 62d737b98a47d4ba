//! `akool wait`: waits for the jobs of the command line, and with `--pending` for those of the ledger.

use std::collections::BTreeSet;

use akool::JobId;
use akool_ledger::{LedgerError, LedgerFile};

use crate::{
    args::Wait,
    connect::Connection,
    follow::Follow,
    interrupt::interruption,
    ledger::{self, IN_FLIGHT_INTERVAL, Rows, State},
    outcome::Outcome,
    report::Report,
    text,
};

pub(crate) async fn run(options: &Wait, connection: &Connection, report: &Report) -> Outcome {
    let mut ids: BTreeSet<_> = options.ids.iter().map(|id| JobId::from(id.as_str())).collect();
    let mut outcome = Outcome::Done;
    // Only `--pending` needs the ledger.
    let ledger = match ledger::file(connection) {
        Ok(ledger) => Some(ledger),
        Err(error) if options.pending => {
            report.error(None, "ledger", error);
            return Outcome::Usage;
        }
        Err(_) => None,
    };
    if let Some(ledger) = ledger.as_ref().filter(|_| options.pending) {
        let rows = tokio::select! {
            rows = recorded(ledger, connection, report) => rows,
            () = interruption() => return Outcome::Interrupted,
        };
        let Rows { rows, damage } = match rows {
            Ok(rows) => rows,
            Err(error) => {
                report.error(None, "ledger", text::with_causes(&error));
                return Outcome::Unexpected;
            }
        };
        if let Some(damage) = damage {
            report.error(None, "ledger", damage);
            outcome = outcome.max(Outcome::Unexpected);
        }
        for row in rows.iter().filter(|row| row.is_pending()) {
            match &row.job {
                Some(job) => {
                    report.label(job, row.language.as_ref());
                    ids.insert(job.clone());
                }
                None => {
                    let why = match &row.state {
                        State::Unknown { why } => why.as_deref(),
                        _ => None,
                    };
                    report.unknown_entry(&row.entry, row.language.as_ref(), row.at, why);
                    outcome = outcome.max(Outcome::Unknown);
                }
            }
        }
        if ids.is_empty() {
            report.note("no job is pending");
            return outcome;
        }
    }
    match Follow::prepare(&options.follow, connection, report, ledger) {
        Ok(follow) => outcome.max(follow.run(ids).await),
        Err(error) => {
            report.error(None, "usage", error);
            Outcome::Usage
        }
    }
}

/// The rows of the ledger, once no other process is creating jobs.
async fn recorded(
    ledger: &LedgerFile,
    connection: &Connection,
    report: &Report,
) -> Result<Rows, LedgerError> {
    let mut reported = false;
    loop {
        let rows = ledger::rows(ledger, connection)?;
        if rows.rows.iter().all(|row| row.state != State::InFlight) {
            return Ok(rows);
        }
        if !reported {
            report.note("another process is creating jobs; waiting for the outcome");
            reported = true;
        }
        tokio::time::sleep(IN_FLIGHT_INTERVAL).await;
    }
}
