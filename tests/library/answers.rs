//! How the client decodes responses: each file in `tests/answers/`, served over HTTP.
//!
//! No live response has been recorded yet. The files are the vendor's example, responses that its documentation
//! and other descriptions promise, and broken variants of them.

use std::{fs, path::Path};

use akool::{Error, Snapshot};
use akool_tests::{ID, client_with_key, respond, unreachable_client};
use serde_json::{Value, json};
use wiremock::{MockServer, ResponseTemplate};

/// Polls a server that gives this response.
async fn poll(response: ResponseTemplate) -> Result<Snapshot, Error> {
    let server = MockServer::start().await;
    respond(&server, response).await;
    client_with_key(server.uri(), "key").job(ID).get().await
}

/// A poll's result as JSON.
fn to_json(poll: Result<Snapshot, Error>) -> Value {
    match poll {
        Ok(snapshot) => json!({
            "status": snapshot.status().to_string(),
            "progress": snapshot.progress(),
            "video": snapshot.video().map(String::from),
            "error_code": snapshot.error_code(),
            "error_reason": snapshot.error_reason(),
            "unexpected_fields": snapshot.unexpected_fields(),
            "details": snapshot.details(),
        }),
        Err(error) => json!({
            "error": error.to_string(),
            "kind": format!("{:?}", error.kind()),
            "retryable": error.is_retryable(),
            "code": error.code(),
            "http_status": error.http_status(),
        }),
    }
}

#[tokio::test]
async fn each_response_decodes_to_its_snapshot() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("answers");
    let mut files: Vec<_> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    assert!(!files.is_empty());
    for file in files {
        let name = file.file_name().unwrap().to_str().unwrap();
        let kind = if name.ends_with("html") { "text/html" } else { "application/json" };
        let response = ResponseTemplate::new(200).set_body_raw(fs::read(&file).unwrap(), kind);
        let decoded = to_json(poll(response).await);
        insta::with_settings!({ omit_expression => true, sort_maps => true, prepend_module_to_snapshot => false, snapshot_path => "snapshots/answers" }, {
            insta::assert_json_snapshot!(name.split('.').next().unwrap(), decoded);
        });
    }
}

#[tokio::test]
async fn the_vendors_example_decodes_to_the_same_values() {
    let page = include_str!("../../openapi/akool.yaml");
    let page: Value = serde_saphyr::from_str(page).unwrap();
    let example = &page["paths"]["/api/open/v3/content/video/infobymodelid"]["get"]["responses"]["200"]["content"]
        ["application/json"]["example"];
    let snapshot = poll(ResponseTemplate::new(200).set_body_json(example)).await.unwrap();
    assert!(snapshot.unexpected_fields().is_empty());
    // Equal in both directions: no field is lost, and none is added.
    assert_eq!(serde_json::to_value(snapshot.details()).unwrap(), example["data"]);
}

#[tokio::test]
async fn each_http_status_without_an_envelope_has_an_error_kind() {
    let mut lines = vec![];
    for status in [201, 204, 301, 302, 307, 400, 401, 403, 404, 408, 418, 425, 429, 500, 502, 503, 504, 599] {
        let response = ResponseTemplate::new(status).insert_header("location", "https://elsewhere.example/");
        let response = if status == 204 { response } else { response.set_body_string("<h1>no\x1b[31m</h1>") };
        let error = poll(response).await.unwrap_err();
        lines.push(format!("{status} {:?} retryable={}", error.kind(), error.is_retryable()));
    }
    insta::assert_snapshot!(lines.join("\n"), @r#"
    201 Undecodable retryable=true
    204 Undecodable retryable=true
    301 Redirected retryable=false
    302 Redirected retryable=false
    307 Redirected retryable=false
    400 Rejected retryable=false
    401 CredentialsRefused retryable=false
    403 CredentialsRefused retryable=false
    404 WrongAddress retryable=false
    408 Unavailable retryable=true
    418 Rejected retryable=false
    425 Unavailable retryable=true
    429 RateLimited retryable=true
    500 Unavailable retryable=true
    502 Unavailable retryable=true
    503 Unavailable retryable=true
    504 Unavailable retryable=true
    599 Unavailable retryable=true
    "#);
}

#[tokio::test]
async fn the_code_in_the_envelope_overrides_the_http_status() {
    for status in [200, 400, 401, 404, 429, 500, 503] {
        let response = ResponseTemplate::new(status).set_body_json(json!({"code": 1006, "msg": "no quota"}));
        let error = poll(response).await.unwrap_err();
        assert_eq!(error.code().map(|code| code.0), Some(1006), "HTTP {status}");
        assert!(!error.is_retryable(), "HTTP {status}");
        assert_eq!(error.http_status(), Some(status));
    }
    // But an HTTP error with a successful envelope is still an error.
    let response = ResponseTemplate::new(500)
        .set_body_json(json!({"code": 1000, "msg": "OK", "data": {"video_status": 3}}));
    assert!(poll(response).await.unwrap_err().is_retryable());
}

#[tokio::test]
async fn a_response_that_is_too_large_is_an_error_without_its_body() {
    let huge = format!("{{\"code\":1000,\"msg\":\"{}\"}}", "x".repeat(2 * 1024 * 1024));
    let error = poll(ResponseTemplate::new(200).set_body_raw(huge, "application/json")).await.unwrap_err();
    assert_eq!(error.kind(), akool::ErrorKind::TooLarge);
    assert!(error.to_string().len() < 500);
}

#[tokio::test]
async fn a_redirect_is_an_error_and_is_not_followed() {
    let elsewhere = MockServer::start().await;
    let response = ResponseTemplate::new(307).insert_header("location", elsewhere.uri());
    let error = poll(response).await.unwrap_err();
    assert_eq!(error.kind(), akool::ErrorKind::Redirected);
    assert!(elsewhere.received_requests().await.unwrap().is_empty(), "the key was sent to another server");
}

#[tokio::test]
async fn no_source_of_an_error_is_a_type_of_the_generated_client() {
    use std::error::Error as _;

    let responses = [
        ResponseTemplate::new(200).set_body_string("{"),
        ResponseTemplate::new(500).set_body_string("x"),
        ResponseTemplate::new(200).set_body_json(json!({"code": 1, "msg": ""})),
    ];
    for response in responses {
        assert!(poll(response).await.unwrap_err().source().is_none());
    }
    let error = unreachable_client().job(ID).get().await.unwrap_err();
    let mut source = error.source();
    let mut chain = vec![];
    while let Some(cause) = source {
        assert!(!cause.is::<akool_client::Error>());
        chain.push(cause.to_string());
        source = cause.source();
    }
    assert!(!chain.is_empty() && !chain.concat().contains(ID), "{chain:?}");
}
