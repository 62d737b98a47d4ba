//! `akool contract record`: saves redacted exchanges as fixtures.

use std::{fs, io::Write, path::Path};

use akool_contract::Fixture;
use serde_json::json;

use super::{Poll, no_response};
use crate::{args::ContractRecord, outcome::Outcome, report::Report};

pub(super) fn record(options: &ContractRecord, polls: Vec<Poll>, origin: &str, report: &Report) -> Outcome {
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
