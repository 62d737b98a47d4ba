//! `akool contract`: validates the service's responses, or the exchanges of any client, against the description, or
//! records responses.

mod check;
mod checked;
mod format;
mod proxy;
mod record;

use std::sync::PoisonError;

use akool::{Error, ErrorKind, JobId, Snapshot};
use futures_util::{StreamExt, stream};
use http::{Request, Response};
use url::Url;

pub(crate) use self::proxy::run as run_proxy;
use crate::{
    args::Contract as Command,
    connect::{Connection, Responses},
    outcome::Outcome,
    report::Report,
};

const MAX_CONCURRENT_POLLS: usize = 4;

pub(crate) async fn run(
    command: &Command,
    connection: &Connection,
    responses: &Responses,
    report: &Report,
) -> Outcome {
    match command {
        Command::Check(options) => {
            let polls = polls(&options.jobs.ids, connection, responses).await;
            check::check(options, polls, report)
        }
        Command::Record(options) => {
            let polls = polls(&options.jobs.ids, connection, responses).await;
            let origin = if connection.is_sandbox() { "sandbox" } else { connection.client.base_url() };
            record::record(options, polls, origin, report)
        }
        // It has no credential, so it returned before the connection was made.
        Command::Proxy(_) => Outcome::Usage,
    }
}

/// One poll, as the messages that were exchanged, and its result.
struct Poll {
    id: JobId,
    request: Request<Vec<u8>>,
    /// `None` if no complete response arrived.
    response: Option<Response<Vec<u8>>>,
    result: Result<Snapshot, Error>,
}

/// Polls each job once, in the order of the arguments.
async fn polls(ids: &[String], connection: &Connection, responses: &Responses) -> Vec<Poll> {
    let base = Url::parse(connection.client.base_url());
    let prefix = base.as_ref().map_or("", |base| base.path().trim_end_matches('/'));
    let polls = stream::iter(ids).map(async |id| {
        let id = JobId::from(id.as_str());
        let request = request(&id, connection);
        let result = connection.client.job(&id).get().await;
        let target = request.uri().path_and_query().map(|target| target.as_str()).unwrap_or_default();
        let target = format!("{prefix}{target}");
        let response = responses.lock().unwrap_or_else(PoisonError::into_inner).get(&target).cloned();
        Poll { id, request, response, result }
    });
    polls.buffered(MAX_CONCURRENT_POLLS).collect().await
}

/// A poll without a complete response, so that there is nothing to validate or record.
fn no_response(id: &JobId, result: &Result<Snapshot, Error>, report: &Report) -> Outcome {
    match result {
        Err(error) => {
            report.call_failed(Some(id), error);
            Outcome::from(error)
        }
        Ok(_) => {
            report.error(Some(id), ErrorKind::Interrupted.name(), "the response was lost");
            Outcome::Unexpected
        }
    }
}

/// The request as it was sent, with a placeholder for the credential.
fn request(id: &JobId, connection: &Connection) -> Request<Vec<u8>> {
    let query = url::form_urlencoded::Serializer::new(String::new())
        .append_pair("video_model_id", id.as_str())
        .finish();
    let key = connection.credential.starts_with("API key") || connection.is_sandbox();
    let (name, value) =
        if key { ("x-api-key", "[redacted]") } else { ("authorization", "Bearer [redacted]") };
    let request = Request::get(format!("/api/open/v3/content/video/infobymodelid?{query}"));
    request.header("accept", "application/json").header(name, value).body(Vec::new()).unwrap_or_default()
}
