//! `akool contract`: validates the service's responses against its description, or records them.

use std::{fs, io::Write, path::Path};

use akool::{ErrorKind, JobId, RawAnswer};
use akool_contract::{Contract, Coverage, Fixture, Report as Findings, Verdict};
use futures_util::{StreamExt, stream};
use http::{Request, Response};
use serde_json::json;

use crate::{
    args::{Contract as Command, ContractCheck, ContractRecord},
    connect::Connection,
    outcome::Outcome,
    report::Report,
};

const MAX_CONCURRENT_POLLS: usize = 4;

pub(crate) async fn run(command: &Command, connection: &Connection, report: &Report) -> Outcome {
    match command {
        Command::Check(options) => check(options, connection, report).await,
        Command::Record(options) => record(options, connection, report).await,
    }
}

/// One poll, as the messages that were exchanged.
struct Poll {
    id: JobId,
    request: Request<Vec<u8>>,
    answer: Result<(Response<Vec<u8>>, RawAnswer), akool::Error>,
}

/// Polls each job once, in the order of the arguments.
async fn polls(ids: &[String], connection: &Connection) -> Vec<Poll> {
    let polls = stream::iter(ids).map(async |id| {
        let id = JobId::from(id.as_str());
        let answer = connection.client.job(&id).raw().await.map(|raw| (response(&raw), raw));
        Poll { request: request(&id, connection), id, answer }
    });
    polls.buffered(MAX_CONCURRENT_POLLS).collect().await
}

async fn check(options: &ContractCheck, connection: &Connection, report: &Report) -> Outcome {
    let contract = if options.vendored { Contract::vendored() } else { Contract::resolved() };
    let mut coverage = contract.coverage();
    let mut outcome = Outcome::Done;
    let (mut responses, mut whole) = (0, Findings::default());
    for poll in polls(&options.jobs.ids, connection).await {
        let (response, raw) = match poll.answer {
            Ok(answer) => answer,
            Err(error) => {
                report.error(Some(&poll.id), error.kind().name(), &error);
                outcome = outcome.max(Outcome::from(&error));
                continue;
            }
        };
        responses += 1;
        coverage.record(&poll.request, &response);
        let findings = contract.check_response(&poll.request, &response);
        print(&poll.id, &findings, report);
        let result = judge(&findings, &raw);
        if let Err(error) = &raw.decoded
            && !matches!(result, Outcome::Violating | Outcome::Drifting)
        {
            report.error(Some(&poll.id), error.kind().name(), error);
        }
        outcome = outcome.max(result);
        whole.extend(findings);
    }
    summary(&whole, responses, &coverage, report);
    outcome
}

/// The outcome of a response. A valid response may still be an error.
fn judge(findings: &Findings, raw: &RawAnswer) -> Outcome {
    let verdict = match findings.verdict() {
        Verdict::Violating => return Outcome::Violating,
        Verdict::Drifting => Outcome::Drifting,
        Verdict::Conforming => Outcome::Done,
    };
    match &raw.decoded {
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
    if !never.drift.is_empty() {
        let places = never.drift.iter().map(|drift| format!("{} ({})", drift.pointer, drift.documented));
        report.note(format_args!(
            "documented, but in none of these responses:\n  {}",
            places.collect::<Vec<_>>().join("\n  ")
        ));
    }
}

async fn record(options: &ContractRecord, connection: &Connection, report: &Report) -> Outcome {
    let origin = if connection.is_sandbox() { "sandbox" } else { connection.client.base_url() };
    if let Err(error) = fs::create_dir_all(&options.output) {
        let folder = options.output.display();
        report.error(None, "file", format_args!("cannot make the folder {folder}: {error}"));
        return Outcome::Unexpected;
    }
    let mut outcome = Outcome::Done;
    for poll in polls(&options.jobs.ids, connection).await {
        let (response, raw) = match poll.answer {
            Ok(answer) => answer,
            Err(error) => {
                report.error(Some(&poll.id), error.kind().name(), &error);
                outcome = outcome.max(Outcome::from(&error));
                continue;
            }
        };
        let mut fixture = Fixture::new(origin);
        fixture.capture(&poll.request, &response);
        let name = match &raw.decoded {
            Ok(snapshot) => format!("poll-{}", snapshot.status().name()),
            Err(error) => match error.code() {
                Some(code) => format!("poll-code-{}", code.0),
                None => format!("poll-http-{}", raw.status),
            },
        };
        match save(&options.output, &name, &fixture) {
            Ok(path) if report.is_json() => {
                report.object(&json!({ "event": "recorded", "id": poll.id, "path": path }));
            }
            Ok(path) => report.line(format_args!("{}  {path}", poll.id)),
            Err(error) => {
                let folder = options.output.display();
                report.error(Some(&poll.id), "file", format_args!("cannot write to {folder}: {error}"));
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

fn response(raw: &RawAnswer) -> Response<Vec<u8>> {
    let mut response = Response::new(raw.body.clone());
    *response.status_mut() = http::StatusCode::from_u16(raw.status).unwrap_or_default();
    *response.headers_mut() = raw.headers.clone();
    response
}
