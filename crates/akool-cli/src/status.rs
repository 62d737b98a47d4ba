//! `akool status`: polls each job once.

use akool::JobId;
use futures_util::{StreamExt, stream};

use crate::{
    args::Ids,
    connect::Connection,
    outcome::Outcome,
    place::{Place, Polled},
    report::Report,
};

const MAX_CONCURRENT_POLLS: usize = 8;

pub(crate) async fn run(options: &Ids, connection: &Connection, report: &Report) -> Outcome {
    let place = match Place::open_if_usable(connection, |_| {}).await {
        Ok(place) => place,
        Err(failure) => return report.failed(None, &failure),
    };
    let ids = options.ids.iter().map(|id| JobId::from(id.as_str()));
    place.label(ids, |id, language, source| report.label(id, language, source)).await;
    let place = &place;
    let polls = stream::iter(&options.ids).map(async |id| {
        let id = JobId::from(id.as_str());
        (place.poll(&id).await, id)
    });
    // In the order of the arguments.
    let mut polls = std::pin::pin!(polls.buffered(MAX_CONCURRENT_POLLS));
    let mut outcome = Outcome::Done;
    while let Some((poll, id)) = polls.next().await {
        match poll {
            Ok(Polled::Snapshot(snapshot)) => report.status(&snapshot),
            Ok(Polled::Known(known)) => report.known_status(&id, known),
            Err(failure) => outcome = outcome.max(report.failed(Some(&id), &failure)),
        }
    }
    outcome
}
