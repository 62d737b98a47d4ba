//! `akool wait`: waits for the jobs of the command line, and with `--pending` for those of the ledger.

use std::collections::BTreeSet;

use akool::JobId;
use akool_ledger::Work;

use crate::{
    args::Wait,
    connect::Connection,
    follow::Follow,
    interrupt::interruption,
    ledger::IN_FLIGHT_INTERVAL,
    outcome::Outcome,
    place::{Listed, Place},
    report::Report,
    reported::Failure,
    staging::clean,
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
    let opened = if options.pending {
        Place::open(connection).await
    } else {
        // Only `--pending` needs the ledger.
        let note = |failure: &Failure| {
            report.note(format_args!("warning: the status of the jobs is not recorded: {}", failure.text));
        };
        Place::open_if_usable(connection, note).await
    };
    let place = match opened {
        Ok(place) => place,
        Err(failure) => return report.failed(None, &failure),
    };
    if options.pending {
        let works = tokio::select! {
            works = recorded(&place, report) => works,
            () = interruption() => return Outcome::Interrupted,
        };
        let works = match works {
            Ok(works) => works,
            Err(failure) => return report.failed(None, &failure),
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
            if let Some(ledger) = place.ledger() {
                clean(ledger, report).await;
            }
            report.note(if works.is_empty() { "no job is pending" } else { "no other job is pending" });
            return outcome;
        }
    }
    let in_ledger = options.pending && options.ids.is_empty();
    let outcome = outcome.max(follow.with_ledger_of(&place).await.run(&place, ids, in_ledger).await);
    if let Some(ledger) = place.ledger() {
        clean(ledger, report).await;
    }
    outcome
}

/// The pending work, once no other process is creating jobs.
async fn recorded(place: &Place, report: &Report) -> Result<Vec<Work>, Failure> {
    let mut reported = false;
    loop {
        let works = place.works(Listed::Pending).await?;
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
