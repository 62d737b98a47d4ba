//! Each request as it arrives at the server.

use akool::Credential;
use akool_mock::{Exchange, MockServer, Timeline};
use akool_tests::{ID, client_at, client_of, token_client_of};

/// A request as text, without what differs from run to run.
fn to_text(exchange: &Exchange) -> String {
    let mut lines = vec![format!("{} {}", exchange.method, exchange.target)];
    let mut headers: Vec<_> = exchange
        .headers
        .iter()
        .map(|(name, value)| match name.as_str() {
            "host" => "host: [server]".to_owned(),
            "user-agent" => {
                let version = format!("akool-rust/{}", env!("CARGO_PKG_VERSION"));
                assert_eq!(value, version.as_str());
                "user-agent: akool-rust/[version]".to_owned()
            }
            name => {
                let value = value.to_str().unwrap();
                format!(
                    "{name}: {}",
                    value.replace("sandbox-key-000000000000", "[key]").replace("sandbox-token", "[token]")
                )
            }
        })
        .collect();
    headers.sort();
    lines.extend(headers);
    lines.join("\n")
}

#[tokio::test]
async fn a_poll_with_a_key_sends_only_these_headers() {
    let server = MockServer::start().await;
    server.job(ID, Timeline::new());
    client_of(&server).job(ID).get().await.unwrap();
    insta::assert_snapshot!(to_text(&server.exchanges()[0]), @r"
    GET /api/open/v3/content/video/infobymodelid?video_model_id=64dd92c1f0b6684651e90e09
    accept: application/json
    host: [server]
    user-agent: akool-rust/[version]
    x-api-key: [key]
    ");
}

#[tokio::test]
async fn a_poll_with_a_token_sends_no_key() {
    let server = MockServer::start().await;
    server.job(ID, Timeline::new());
    let client = client_at(server.url(), Credential::bearer(server.token()).unwrap()).unwrap();
    client.job(ID).get().await.unwrap();
    insta::assert_snapshot!(to_text(&server.exchanges()[0]), @r"
    GET /api/open/v3/content/video/infobymodelid?video_model_id=64dd92c1f0b6684651e90e09
    accept: application/json
    authorization: Bearer [token]
    host: [server]
    user-agent: akool-rust/[version]
    ");
}

#[tokio::test]
async fn a_creation_sends_only_these_headers() {
    let server = MockServer::start().await;
    client_of(&server).translate("https://example.com/talk.mp4").to(["es", "fr"]).send().await.unwrap();
    // The snapshots of creations.rs have the body.
    insta::assert_snapshot!(to_text(&server.exchanges()[0]), @r#"
    POST /api/open/v3/content/video/createbytranslate
    accept: application/json
    content-length: 57
    content-type: application/json
    host: [server]
    user-agent: akool-rust/[version]
    x-api-key: [key]
    "#);
}

#[tokio::test]
async fn languages_and_token_requests_send_only_these_headers() {
    let server = MockServer::start().await;
    token_client_of(&server).languages().await.unwrap();
    let requests: Vec<_> = server.exchanges().iter().map(to_text).collect();
    insta::assert_snapshot!(requests.join("\n\n"), @r#"
    POST /api/open/v3/getToken
    accept: application/json
    content-length: 71
    content-type: application/json
    host: [server]
    user-agent: akool-rust/[version]

    GET /api/open/v3/language/list
    accept: application/json
    authorization: Bearer [token]
    host: [server]
    user-agent: akool-rust/[version]
    "#);
}

#[tokio::test]
async fn a_request_for_the_credits_sends_only_these_headers() {
    let server = MockServer::start().await;
    client_of(&server).credits().await.unwrap();
    insta::assert_snapshot!(to_text(&server.exchanges()[0]), @r"
    GET /api/open/v3/faceswap/quota/info
    accept: application/json
    host: [server]
    user-agent: akool-rust/[version]
    x-api-key: [key]
    ");
}

#[tokio::test]
async fn ids_are_escaped_and_arrive_unchanged() {
    let server = MockServer::start().await;
    let client = client_of(&server);
    let ids = ["a b", "a&video_model_id=b", "a/../b", "a#b?c", "100%", "ü", "a+b", "\n"];
    for id in ids {
        server.job(id, Timeline::new());
        let snapshot = client.job(id).get().await.unwrap();
        assert_eq!(snapshot.details().id.as_deref(), Some(id), "the server received another id");
    }
    let targets: Vec<_> = server.exchanges().into_iter().map(|exchange| exchange.target).collect();
    insta::assert_snapshot!(targets.join("\n").replace("/api/open/v3/content/video/infobymodelid", "…"), @r#"
    …?video_model_id=a+b
    …?video_model_id=a%26video_model_id%3Db
    …?video_model_id=a%2F..%2Fb
    …?video_model_id=a%23b%3Fc
    …?video_model_id=100%25
    …?video_model_id=%C3%BC
    …?video_model_id=a%2Bb
    …?video_model_id=%0A
    "#);
}

#[tokio::test]
async fn a_download_sends_no_credential() {
    let server = MockServer::start().await;
    server.job(ID, Timeline::new().completed());
    let translation = client_of(&server).job(ID).wait().await.unwrap();
    let folder = tempfile::tempdir().unwrap();
    let downloader = akool_download::Downloader::new().unwrap();
    downloader.save(&translation.files()[0], folder.path()).await.unwrap();
    insta::assert_snapshot!(to_text(server.exchanges().last().unwrap()), @r#"
    GET /files/64dd92c1f0b6684651e90e09/video.mp4
    accept: */*
    host: [server]
    user-agent: akool-rust/[version]
    "#);
}
