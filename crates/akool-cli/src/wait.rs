//! `akool wait`: waits for the jobs of the command line, and with `--pending` for those of the ledger.

use std::collections::BTreeSet;

use akool::JobId;
use akool_ledger::{Filter, Ledger, LedgerError, Work};

use crate::{
    args::Wait,
    connect::Connection,
    follow::Follow,
    interrupt::interruption,
    ledger::{self, IN_FLIGHT_INTERVAL, api},
    outcome::Outcome,
    report::Report,
    staging::clean,
    text,
};

pub(crate) async fn run(options: &Wait, connection: &Connection, report: &Report) -> Outcome {
    let mut ids: BTreeSet<_> = options.ids.iter().map(|id| JobId::from(id.as_str())).collect();
    let mut outcome = Outcome::Done;
    let follow = match Follow::prepare(&options.follow, connection, report) {
        Ok(follow) => follow,
        Err(error) => {
            report.error(None, "usage", error);
            return Outcome::Usage;
        }
    };
    let ledger = match ledger::open_existing(connection).await {
        Ok(ledger) => ledger,
        Err(error) if options.pending => {
            report.error(None, "ledger", error);
            return Outcome::Usage;
        }
        // Only `--pending` needs the ledger.
        Err(error) => {
            report.note(format_args!("warning: the status of the jobs is not recorded: {error}"));
            None
        }
    };
    if options.pending {
        let works = tokio::select! {
            works = recorded(ledger.as_ref(), connection, report) => works,
            () = interruption() => return Outcome::Interrupted,
        };
        let works = match works {
            Ok(works) => works,
            Err(error) => {
                report.error(None, "ledger", text::with_causes(&error));
                return Outcome::Unexpected;
            }
        };
        for work in &works {
            match work.job() {
                Some(job) => {
                    report.label(&job.id, work.language.as_ref(), job.source_url.as_deref());
                    ids.insert(job.id.clone());
                }
                None => {
                    report.unknown_work(work);
                    outcome = outcome.max(Outcome::Unknown);
                }
            }
        }
        if ids.is_empty() {
            if let Some(ledger) = &ledger {
                clean(ledger, report).await;
            }
            report.note(if works.is_empty() { "no job is pending" } else { "no other job is pending" });
            return outcome;
        }
    }
    let in_ledger = options.pending && options.ids.is_empty();
    let outcome = outcome.max(follow.with_ledger(ledger.clone()).await.run(ids, in_ledger).await);
    if let Some(ledger) = &ledger {
        clean(ledger, report).await;
    }
    outcome
}

/// The pending work, once no other process is creating jobs.
async fn recorded(
    ledger: Option<&Ledger>,
    connection: &Connection,
    report: &Report,
) -> Result<Vec<Work>, LedgerError> {
    let Some(ledger) = ledger else { return Ok(Vec::new()) };
    let mut reported = false;
    loop {
        let works = ledger.works(&Filter::pending().at(api(connection))).await?;
        if !works.iter().any(Work::is_in_flight) {
            return Ok(works);
        }
        if !reported {
            report.note("another process is creating jobs; waiting for the outcome");
            reported = true;
        }
        tokio::time::sleep(IN_FLIGHT_INTERVAL).await;
    }
}
