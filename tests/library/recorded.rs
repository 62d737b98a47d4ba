//! Exchanges that `akool contract record` recorded: each file in `recorded/` is validated against the description, and
//! decoded with the client. New files are found automatically.

use std::{fs, path::Path};

use akool_contract::{Contract, Fixture};
use akool_mock::MockServer;
use akool_tests::client_of;
use http::Request;
use serde_json::Value;

fn fixtures() -> Vec<(String, Fixture)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("recorded");
    let mut files: Vec<_> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.retain(|file| file.extension().is_some_and(|ending| ending == "json"));
    files.sort();
    assert!(!files.is_empty());
    let read = |file: &std::path::PathBuf| {
        let name = file.file_name().unwrap().to_string_lossy().into_owned();
        let fixture = Fixture::from_json(&fs::read(file).unwrap());
        (name.clone(), fixture.unwrap_or_else(|error| panic!("{name}: {error}")))
    };
    files.iter().map(read).collect()
}

#[test]
fn each_recorded_exchange_matches_the_description() {
    for (name, fixture) in fixtures() {
        for (request, response) in fixture.exchanges() {
            for report in [
                Contract::resolved().check_request(&request),
                Contract::resolved().check_response(&request, &response),
            ] {
                assert!(report.violations.is_empty(), "{name}: {report}");
            }
        }
    }
}

#[tokio::test]
async fn each_recorded_poll_is_decoded_with_its_status() {
    let mut decoded = 0;
    for (name, fixture) in fixtures() {
        let server = MockServer::builder().allow_undocumented().start().await;
        server.replay(&fixture);
        let client = client_of(&server);
        for (request, response) in fixture.exchanges() {
            let Some(id) = polled(&request) else { continue };
            decoded += 1;
            let body: Value = serde_json::from_slice(response.body()).unwrap_or_default();
            match client.job(id.as_str()).get().await {
                Ok(snapshot) => {
                    assert_eq!(body["code"], 1000, "{name}");
                    assert_eq!(body["data"]["video_status"], i64::from(snapshot.status()), "{name}");
                    assert_eq!(body["data"]["_id"].as_str(), snapshot.details().id.as_deref(), "{name}");
                    assert!(
                        snapshot.unexpected_fields().is_empty(),
                        "{name}: {:?}",
                        snapshot.unexpected_fields()
                    );
                }
                Err(error) => {
                    assert_ne!(body["code"], 1000, "{name}: {error}");
                    assert_eq!(body["code"].as_i64(), error.code().map(|code| code.0), "{name}: {error}");
                }
            }
        }
    }
    assert_ne!(decoded, 0);
}

/// Returns the job id of a poll.
fn polled(request: &Request<Vec<u8>>) -> Option<String> {
    let (path, query) = request.uri().path_and_query()?.as_str().split_once('?')?;
    let id = query.strip_prefix("video_model_id=")?;
    path.ends_with("/infobymodelid").then(|| id.to_owned())
}
