//! `akool wait`: the jobs of the command line, and with `--pending` those of the ledger.

use std::{collections::BTreeSet, time::Duration};

use akool::{
    JobId,
    ledger::{LedgerError, LedgerFile},
};

use crate::{
    args::Wait,
    connect::Connection,
    follow::{Follow, interruption},
    ledger::{self, Rows, State},
    outcome::Outcome,
    report::Report,
};

/// How often to ask whether another process has its answer.
pub(crate) const IN_FLIGHT: Duration = Duration::from_millis(200);

pub(crate) async fn run(options: &Wait, connection: &Connection, report: &Report) -> Outcome {
    let mut ids: BTreeSet<_> = options.ids.iter().map(|id| JobId::from(id.as_str())).collect();
    let mut outcome = Outcome::Done;
    // A job can be waited for without a ledger; what is pending is in it.
    let ledger = match ledger::file(connection) {
        Ok(ledger) => Some(ledger),
        Err(error) if options.pending => {
            report.error(None, "ledger", error);
            return Outcome::WrongUse;
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
                report.error(None, "ledger", error);
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
                    report.unknown(row);
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
        Err(wrong) => {
            report.error(None, "wrong_use", wrong);
            Outcome::WrongUse
        }
    }
}

/// What the ledger has, once no process asks for anything any more.
async fn recorded(
    ledger: &LedgerFile,
    connection: &Connection,
    report: &Report,
) -> Result<Rows, LedgerError> {
    let mut told = false;
    loop {
        let rows = ledger::rows(ledger, connection)?;
        let asking = rows.rows.iter().filter(|row| row.state == State::InFlight).count();
        if asking == 0 {
            return Ok(rows);
        }
        if !told {
            report.note("another run is asking for jobs just now; waiting for what comes of that");
            told = true;
        }
        tokio::time::sleep(IN_FLIGHT).await;
    }
}
