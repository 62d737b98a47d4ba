//! `akool status`: polls each job once.

use akool::JobId;
use futures_util::{StreamExt, stream};

use crate::{args::Ids, connect::Connection, ledger, outcome::Outcome, report::Report};

const MAX_CONCURRENT_POLLS: usize = 8;

pub(crate) async fn run(options: &Ids, connection: &Connection, report: &Report) -> Outcome {
    let ids = options.ids.iter().map(|id| JobId::from(id.as_str()));
    ledger::label_jobs(connection, ids, |id, language, source| report.label(id, language, source)).await;
    let polls = stream::iter(&options.ids).map(async |id| {
        let id = JobId::from(id.as_str());
        (connection.client.job(&id).get().await, id)
    });
    // In the order of the arguments.
    let mut polls = std::pin::pin!(polls.buffered(MAX_CONCURRENT_POLLS));
    let mut outcome = Outcome::Done;
    while let Some((poll, id)) = polls.next().await {
        match poll {
            Ok(snapshot) => report.status(&snapshot),
            Err(error) => {
                report.call_failed(Some(&id), &error);
                outcome = outcome.max(Outcome::from(&error));
            }
        }
    }
    outcome
}
