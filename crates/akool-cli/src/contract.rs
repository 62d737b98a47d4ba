//! `akool contract`: the service's answers against its description.

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

/// How many jobs are polled at once.
const AT_ONCE: usize = 4;

pub(crate) async fn run(command: &Command, connection: &Connection, report: &Report) -> Outcome {
    match command {
        Command::Check(options) => check(options, connection, report).await,
        Command::Record(options) => record(options, connection, report).await,
    }
}

/// One poll and what came of it, as messages.
struct Poll {
    id: JobId,
    request: Request<Vec<u8>>,
    answer: Result<(Response<Vec<u8>>, RawAnswer), akool::Error>,
}

/// Polls at each job once, in the order of the arguments.
async fn polls(ids: &[String], connection: &Connection) -> Vec<Poll> {
    let polls = stream::iter(ids).map(async |id| {
        let id = JobId::from(id.as_str());
        let answer = connection.client.job(&id).raw().await.map(|raw| (response(&raw), raw));
        Poll { request: request(&id, connection), id, answer }
    });
    polls.buffered(AT_ONCE).collect().await
}

async fn check(options: &ContractCheck, connection: &Connection, report: &Report) -> Outcome {
    let contract = if options.documented { Contract::vendored() } else { Contract::resolved() };
    let mut coverage = contract.coverage();
    let mut outcome = Outcome::Done;
    let (mut answers, mut whole) = (0, Findings::default());
    for poll in polls(&options.jobs.ids, connection).await {
        let (response, raw) = match poll.answer {
            Ok(answer) => answer,
            Err(error) => {
                report.error(Some(&poll.id), error.kind().name(), &error);
                outcome = outcome.max(Outcome::from(&error));
                continue;
            }
        };
        answers += 1;
        coverage.record(&poll.request, &response);
        let findings = contract.check_response(&poll.request, &response);
        tell(&poll.id, &findings, report);
        let own = judge(&findings, &raw);
        if let Err(error) = &raw.decoded
            && !matches!(own, Outcome::Violating | Outcome::Drifting)
        {
            report.error(Some(&poll.id), error.kind().name(), error);
        }
        outcome = outcome.max(own);
        whole.extend(findings);
    }
    summary(&whole, answers, &coverage, report);
    outcome
}

/// What an answer comes to. One that is as described may still refuse.
fn judge(findings: &Findings, raw: &RawAnswer) -> Outcome {
    let verdict = match findings.verdict() {
        Verdict::Violating => return Outcome::Violating,
        Verdict::Drifting => Outcome::Drifting,
        Verdict::Conforming => Outcome::Done,
    };
    match &raw.decoded {
        Ok(_) => verdict,
        // A code that nobody documented is drift, and not an outage.
        Err(error) if error.kind() == ErrorKind::UnknownCode => verdict,
        Err(error) => verdict.max(Outcome::from(error)),
    }
}

fn tell(id: &JobId, findings: &Findings, report: &Report) {
    let verdict = findings.verdict();
    if report.is_json() {
        return report.object(&json!({
            "event": "contract", "id": id, "verdict": verdict, "operation": findings.operation,
            "violations": findings.violations, "drift": findings.drift,
        }));
    }
    let operation = findings.operation.as_deref().unwrap_or("no operation");
    let mut text = format!("{id}  {operation}  {verdict}");
    if verdict != Verdict::Conforming {
        text += &format!("\n  {}", findings.to_string().replace('\n', "\n  "));
    }
    report.line(text);
}

fn summary(whole: &Findings, answers: usize, coverage: &Coverage<'_>, report: &Report) {
    let never = coverage.not_received();
    let (verdict, violations, drift) = (whole.verdict(), whole.violations.len(), whole.drift.len());
    if report.is_json() {
        return report.object(&json!({
            "event": "contract_summary", "answers": answers, "verdict": verdict,
            "violations": violations, "drift": drift, "not_received": never.drift,
        }));
    }
    if answers == 0 {
        return report.note("no answer came; nothing can be said of the contract");
    }
    let (s, v) = (if answers == 1 { "" } else { "s" }, if violations == 1 { "" } else { "s" });
    report.line(format_args!("{verdict}: {answers} answer{s}, {violations} violation{v}, {drift} new"));
    // Few jobs show everything: told for whoever reads it, and counted as nothing.
    if !never.drift.is_empty() {
        let places = never.drift.iter().map(|drift| format!("{} ({})", drift.pointer, drift.documented));
        report.note(format_args!(
            "described, and in none of them:\n  {}",
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
                report.error(Some(&poll.id), "file", format_args!("cannot write into {folder}: {error}"));
                outcome = outcome.max(Outcome::Unexpected);
            }
        }
    }
    outcome
}

/// Into the first name that is free.
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

/// The poll as it was sent, but for the credential's value, which this program never shows.
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
