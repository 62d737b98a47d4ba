//! `akool wait`: the jobs of the command line, and with `--pending` those of the ledger.

use std::collections::BTreeSet;

use akool::JobId;

use crate::{args::Wait, connect::Connection, follow::Follow, ledger, outcome::Outcome, report::Report};

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
        let rows = match ledger::rows(ledger, connection) {
            Ok(rows) => rows,
            Err(error) => {
                report.error(None, "ledger", error);
                return Outcome::Unexpected;
            }
        };
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
