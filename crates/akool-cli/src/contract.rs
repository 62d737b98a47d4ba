//! `akool contract`: validates the service's responses against its description, or records them.

use std::{fs, io::Write, path::Path, sync::PoisonError};

use akool::{Error, ErrorKind, JobId, Snapshot};
use akool_contract::{Contract, Coverage, Fixture, Report as Findings, Verdict};
use futures_util::{StreamExt, stream};
use http::{Request, Response};
use serde_json::json;
use url::Url;

use crate::{
    args::{Contract as Command, ContractCheck, ContractRecord},
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
            check(options, polls, report)
        }
        Command::Record(options) => {
            let polls = polls(&options.jobs.ids, connection, responses).await;
            let origin = if connection.is_sandbox() { "sandbox" } else { connection.client.base_url() };
            record(options, polls, origin, report)
        }
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

fn check(options: &ContractCheck, polls: Vec<Poll>, report: &Report) -> Outcome {
    let contract = if options.vendored { Contract::vendored() } else { Contract::resolved() };
    let mut coverage = contract.coverage();
    let mut outcome = Outcome::Done;
    let (mut responses, mut whole) = (0, Findings::default());
    for Poll { id, request, response, result } in polls {
        let Some(response) = response else {
            outcome = outcome.max(no_response(&id, &result, report));
            continue;
        };
        responses += 1;
        coverage.record(&request, &response);
        let findings = contract.check_response(&request, &response);
        print(&id, &findings, report);
        let judged = judge(&findings, &result);
        if let Err(error) = &result
            && !matches!(judged, Outcome::Violating | Outcome::Drifting)
        {
            report.call_failed(Some(&id), error);
        }
        outcome = outcome.max(judged);
        whole.extend(findings);
    }
    summary(&whole, responses, &coverage, report);
    outcome
}

/// The outcome of a response. A valid response may still be an error.
fn judge(findings: &Findings, result: &Result<Snapshot, Error>) -> Outcome {
    let verdict = match findings.verdict() {
        Verdict::Violating => return Outcome::Violating,
        Verdict::Drifting => Outcome::Drifting,
        Verdict::Conforming => Outcome::Done,
    };
    match result {
        Ok(_) => verdict,
        // An undocumented code is drift, not an outage.
        Err(error) if error.kind() == ErrorKind::UnknownCode => verdict,
        Err(error) => verdict.max(Outcome::from(error)),
    }
}

fn print(id: &JobId, findings: &Findings, report: &Report) {
    let verdict = findings.verdict();
    if report.is_json() {
        return report.object(&json!({
            "event": "contract", "id": id, "verdict": verdict, "operation": findings.operation,
            "violations": findings.violations, "drift": findings.drift,
        }));
    }
    let operation = findings.operation.as_deref().unwrap_or("unknown operation");
    let mut text = format!("{id}  {operation}  {verdict}");
    if verdict != Verdict::Conforming {
        text += &format!("\n  {}", findings.to_string().replace('\n', "\n  "));
    }
    report.line(text);
}

fn summary(whole: &Findings, responses: usize, coverage: &Coverage<'_>, report: &Report) {
    let never = coverage.not_received();
    let (verdict, violations, drift) = (whole.verdict(), whole.violations.len(), whole.drift.len());
    if report.is_json() {
        return report.object(&json!({
            "event": "contract_summary", "responses": responses, "verdict": verdict,
            "violations": violations, "drift": drift, "not_received": never.drift,
        }));
    }
    if responses == 0 {
        return report.note("received no response, so there is nothing to validate");
    }
    let (s, v) = (if responses == 1 { "" } else { "s" }, if violations == 1 { "" } else { "s" });
    report.line(format_args!("{verdict}: {responses} response{s}, {violations} violation{v}, {drift} new"));
    // For information only: few jobs have every field.
    if !never.drift.is_empty() && !report.is_verbose() {
        let count = never.drift.len();
        report.note(format_args!(
            "{count} documented fields and values were in none of these responses (-v lists them)"
        ));
    } else if !never.drift.is_empty() {
        let places = never.drift.iter().map(|drift| format!("{} ({})", drift.pointer, drift.documented));
        report.note(format_args!(
            "documented, but in none of these responses:\n  {}",
            places.collect::<Vec<_>>().join("\n  ")
        ));
    }
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

fn record(options: &ContractRecord, polls: Vec<Poll>, origin: &str, report: &Report) -> Outcome {
    if let Err(error) = fs::create_dir_all(&options.output) {
        let folder = options.output.display();
        report.error(None, "file", format_args!("cannot make the folder {folder}: {error}"));
        return Outcome::Unexpected;
    }
    let mut outcome = Outcome::Done;
    for Poll { id, request, response, result } in polls {
        let (name, response) = match (&result, response) {
            (Ok(snapshot), Some(response)) => (format!("poll-{}", snapshot.status().name()), response),
            (Err(error), Some(response)) => match error.code() {
                Some(code) => (format!("poll-code-{}", code.0), response),
                None => (format!("poll-http-{}", response.status().as_u16()), response),
            },
            (result, None) => {
                outcome = outcome.max(no_response(&id, result, report));
                continue;
            }
        };
        let mut fixture = Fixture::new(origin);
        fixture.capture(&request, &response);
        match save(&options.output, &name, &fixture) {
            Ok(path) if report.is_json() => {
                report.object(&json!({ "event": "recorded", "id": id, "path": path }));
            }
            Ok(path) => report.line(format_args!("{id}  {path}")),
            Err(error) => {
                let folder = options.output.display();
                report.error(Some(&id), "file", format_args!("cannot write to {folder}: {error}"));
                outcome = outcome.max(Outcome::Unexpected);
            }
        }
    }
    outcome
}

/// Saves to the first name that is not taken.
fn save(folder: &Path, name: &str, fixture: &Fixture) -> std::io::Result<String> {
    for number in 1.. {
        let name = if number == 1 { format!("{name}.json") } else { format!("{name}-{number}.json") };
        let path = folder.join(name);
        match fs::File::create_new(&path) {
            Ok(mut file) => {
                file.write_all(fixture.to_json().as_bytes())?;
                return Ok(path.display().to_string());
            }
            Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(error),
        }
    }
    Ok(String::new())
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
