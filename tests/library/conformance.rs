//! Tests the client with Prism, as a server and as a proxy for `akool sandbox`.
//!
//! `cargo xtask conformance` starts the servers and runs these tests with the address in
//! `AKOOL_CONFORMANCE_URL`. Other test runs ignore them.

use std::time::Duration;

use akool::{
    Captions, Client, CreateError, Credential, ErrorKind, NotCreated, PollPolicy, Status, Translate,
    VoiceStyle, WaitError,
};
use akool_tests::ID;

/// The mock server's credentials. Prism accepts any credential.
const KEY: &str = "sandbox-key-000000000000";
const TOKEN: &str = "sandbox-token";
const CLIENT_ID: &str = "sandbox-client";

fn url() -> String {
    std::env::var("AKOOL_CONFORMANCE_URL").expect("cargo xtask conformance sets the address")
}

/// A client that requests this example of the description from Prism.
fn client_preferring(example: &str, credential: Credential) -> Client {
    let mut headers = reqwest::header::HeaderMap::new();
    if !example.is_empty() {
        headers.insert("prefer", format!("example={example}").parse().unwrap());
    }
    Client::builder()
        .credential(credential)
        .base_url(url())
        .http(reqwest::Client::builder().no_proxy().default_headers(headers))
        .build()
        .unwrap()
}

fn key() -> Credential {
    Credential::api_key(KEY).unwrap()
}

fn fast_polls() -> PollPolicy {
    PollPolicy::fixed(Duration::from_millis(200)).with_max_failures(1)
}

/// A creation with every option.
fn with_all_options(client: &Client) -> Translate {
    client
        .translate("https://example.com/talk.mp4")
        .to(["es", "fr"])
        .source_language("en")
        .lipsync(true)
        .speakers(2)
        .remove_background_music(true)
        .captions(Captions::Translated)
        .caption_file("https://example.com/talk.srt")
        .keep_words(["AKOOL"])
        .translate_word("cat", "gato")
        .pronounce_word("GIF", "jif")
        .style(VoiceStyle::Calm)
        .dynamic_duration(true)
        .webhook("https://example.com/hook")
}

/// Prism answers with examples of the description.
mod mock {
    use super::*;

    /// Proves that Prism validates requests at all.
    #[tokio::test]
    #[ignore = "needs Prism; run by cargo xtask conformance"]
    async fn prism_rejects_invalid_requests() {
        let http = reqwest::Client::builder().no_proxy().build().unwrap();
        let status = async |body: &'static str, key: Option<&str>| {
            let mut request = http.post(format!("{}/api/open/v3/content/video/createbytranslate", url()));
            if let Some(key) = key {
                request = request.header("x-api-key", key);
            }
            let request = request.header("content-type", "application/json").body(body);
            request.send().await.unwrap().status().as_u16()
        };
        assert_eq!(status(r#"{"url":"u","language":"es"}"#, Some(KEY)).await, 200);
        assert_eq!(status(r#"{"url":"u","language":"es"}"#, None).await, 401);
        assert_eq!(status(r#"{"url":"u"}"#, Some(KEY)).await, 422);
        assert_eq!(status(r#"{"url":"u","language":"es","caption_type":5}"#, Some(KEY)).await, 422);
    }

    #[tokio::test]
    #[ignore = "needs Prism; run by cargo xtask conformance"]
    async fn a_poll_reads_the_documented_example() {
        let snapshot = client_preferring("", key()).job(ID).get().await.unwrap();
        assert_eq!((snapshot.status(), snapshot.id().as_str()), (Status::Processing, ID));
        assert!(snapshot.unexpected_fields().is_empty(), "{:?}", snapshot.unexpected_fields());
    }

    #[tokio::test]
    #[ignore = "needs Prism; run by cargo xtask conformance"]
    async fn a_poll_with_a_token_reads_the_queued_example() {
        let client = client_preferring("queueing", Credential::bearer(TOKEN).unwrap());
        assert_eq!(client.job(ID).get().await.unwrap().status(), Status::Queueing);
    }

    #[tokio::test]
    #[ignore = "needs Prism; run by cargo xtask conformance"]
    async fn a_wait_returns_the_video_and_its_files() {
        let translation = client_preferring("completed", key()).job(ID).wait().await.unwrap();
        assert_eq!(translation.video().host_str(), Some("cdn.example.com"));
        assert_eq!(translation.files().len(), 4);
    }

    #[tokio::test]
    #[ignore = "needs Prism; run by cargo xtask conformance"]
    async fn a_failed_job_has_a_reason() {
        let error = client_preferring("failed", key()).job(ID).wait().await.unwrap_err();
        let WaitError::JobFailed(job) = &error else { panic!("{error}") };
        assert_eq!((job.error_code(), job.error_reason()), (Some(501_312), Some("no speech found")));
    }

    #[tokio::test]
    #[ignore = "needs Prism; run by cargo xtask conformance"]
    async fn a_wait_for_a_job_that_stays_in_processing_times_out() {
        let client = client_preferring("processing", key());
        let wait = client.job(ID).wait().policy(fast_polls()).timeout(Duration::from_millis(300));
        let error = wait.await.unwrap_err();
        let WaitError::Timeout { last, .. } = &error else { panic!("{error}") };
        assert_eq!((last.status, last.failures), (Some(Status::Processing), 0), "{error}");
    }

    #[tokio::test]
    #[ignore = "needs Prism; run by cargo xtask conformance"]
    async fn each_code_becomes_its_kind_of_error() {
        for (code, kind) in [
            (1003, ErrorKind::Rejected),
            (1005, ErrorKind::RateLimited),
            (1008, ErrorKind::UnknownJob),
            (1101, ErrorKind::CredentialsRefused),
            (1104, ErrorKind::Rejected),
        ] {
            let client = client_preferring(&format!("code-{code}"), key());
            let error = client.job(ID).get().await.unwrap_err();
            assert_eq!((error.kind(), error.code().map(|code| code.0)), (kind, Some(code)), "{error}");
        }
    }

    #[tokio::test]
    #[ignore = "needs Prism; run by cargo xtask conformance"]
    async fn a_response_without_an_envelope_becomes_an_error() {
        // Prism has no example of this name and answers with HTTP status 404 and its own body.
        let error = client_preferring("none-of-this-name", key()).job(ID).get().await.unwrap_err();
        assert_eq!((error.kind(), error.code()), (ErrorKind::WrongAddress, None), "{error}");
    }

    #[tokio::test]
    #[ignore = "needs Prism; run by cargo xtask conformance"]
    async fn a_creation_returns_every_job() {
        let created = with_all_options(&client_preferring("created", key())).send().await.unwrap();
        let jobs: Vec<_> = created.jobs.iter().map(|job| job.id.as_str()).collect();
        assert_eq!(jobs, [ID, "64dd92c1f0b6684651e90e0a"]);
        assert!(created.is_complete());
    }

    #[tokio::test]
    #[ignore = "needs Prism; run by cargo xtask conformance"]
    async fn a_partial_creation_returns_the_rejected_language() {
        let created = with_all_options(&client_preferring("in-part", key())).send().await.unwrap();
        assert_eq!(created.jobs.len(), 1);
        let rejected: Vec<_> = created.rejected.iter().map(|rejection| rejection.code.0).collect();
        assert_eq!(rejected, [1202]);
    }

    #[tokio::test]
    #[ignore = "needs Prism; run by cargo xtask conformance"]
    async fn a_rejected_creation_is_not_created() {
        for (code, kind) in
            [(1003, ErrorKind::Rejected), (1101, ErrorKind::CredentialsRefused), (1104, ErrorKind::Rejected)]
        {
            let client = client_preferring(&format!("code-{code}"), key());
            let error = with_all_options(&client).send().await.unwrap_err();
            let CreateError::NotCreated(NotCreated { error, .. }) = &error else { panic!("{error}") };
            assert_eq!((error.kind(), error.code().map(|code| code.0)), (kind, Some(code)));
        }
    }

    #[tokio::test]
    #[ignore = "needs Prism; run by cargo xtask conformance"]
    async fn the_languages_are_returned() {
        let languages = client_preferring("", key()).languages().await.unwrap();
        let codes: Vec<_> = languages.iter().map(|info| info.language.code()).collect();
        assert_eq!(codes, ["es", "zh-CN-shandong"]);
    }

    #[tokio::test]
    #[ignore = "needs Prism; run by cargo xtask conformance"]
    async fn the_credits_are_returned() {
        assert_eq!(client_preferring("", key()).credits().await.unwrap(), 1520.0);
    }

    #[tokio::test]
    #[ignore = "needs Prism; run by cargo xtask conformance"]
    async fn a_token_is_requested_and_used() {
        let client = Client::builder()
            .client_credentials(CLIENT_ID, KEY)
            .base_url(url())
            .http(reqwest::Client::builder().no_proxy())
            .build()
            .unwrap();
        assert_eq!(client.job(ID).get().await.unwrap().status(), Status::Processing);
    }
}

/// Prism is the proxy for `akool sandbox` and turns each violation into an error.
mod proxy {
    use super::*;

    #[tokio::test]
    #[ignore = "needs Prism and the sandbox; run by cargo xtask conformance"]
    async fn jobs_are_created_polled_and_completed() {
        let client = client_preferring("", key());
        let creation = with_all_options(&client).send().await.unwrap();
        assert_eq!(creation.jobs.len(), 2);
        for job in &creation.jobs {
            let translation = client.job(job.id.clone()).wait().policy(fast_polls()).await.unwrap();
            assert_eq!(translation.files().len(), 4);
        }
    }

    #[tokio::test]
    #[ignore = "needs Prism and the sandbox; run by cargo xtask conformance"]
    async fn a_creation_without_options_is_valid() {
        let client = client_preferring("", key());
        let creation = client.translate("https://example.com/stuck.mp4").to(["es"]).send().await.unwrap();
        let job = client.job(creation.jobs[0].id.clone()).get().await.unwrap();
        assert!(!job.status().is_terminal());
    }

    #[tokio::test]
    #[ignore = "needs Prism and the sandbox; run by cargo xtask conformance"]
    async fn a_job_of_the_sandbox_is_polled_until_it_is_completed() {
        let translation = client_preferring("", key()).job(ID).wait().policy(fast_polls()).await.unwrap();
        assert_eq!(translation.files().len(), 4);
    }

    #[tokio::test]
    #[ignore = "needs Prism and the sandbox; run by cargo xtask conformance"]
    async fn an_undocumented_status_does_not_end_a_wait() {
        let client = client_preferring("", Credential::bearer(TOKEN).unwrap());
        client.job("64dd92c1f0b6684651e90e0c").wait().policy(fast_polls()).await.unwrap();
    }

    #[tokio::test]
    #[ignore = "needs Prism and the sandbox; run by cargo xtask conformance"]
    async fn a_failed_job_has_a_reason() {
        let client = client_preferring("", key());
        let error = client.job("64dd92c1f0b6684651e90e0a").wait().policy(fast_polls()).await.unwrap_err();
        let WaitError::JobFailed(job) = &error else { panic!("{error}") };
        assert_eq!(job.error_code(), Some(501_312));
    }

    #[tokio::test]
    #[ignore = "needs Prism and the sandbox; run by cargo xtask conformance"]
    async fn error_responses_are_valid() {
        let client = client_preferring("", key());
        // Some of these ids need escaping.
        for id in ["no-such-job", "a b", "a&b=c", "100%", "ü"] {
            assert_eq!(client.job(id).get().await.unwrap_err().kind(), ErrorKind::UnknownJob, "{id}");
        }
        for credential in [Credential::api_key("wrong"), Credential::bearer("wrong")] {
            let error = client_preferring("", credential.unwrap()).job(ID).get().await.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::CredentialsRefused, "{error}");
        }
    }

    #[tokio::test]
    #[ignore = "needs Prism and the sandbox; run by cargo xtask conformance"]
    async fn the_languages_are_valid() {
        let languages = client_preferring("", key()).languages().await.unwrap();
        assert!(languages.iter().any(|info| info.language.code() == "zh-CN-shandong"));
    }

    #[tokio::test]
    #[ignore = "needs Prism and the sandbox; run by cargo xtask conformance"]
    async fn the_credits_are_valid_and_reduced_by_a_creation() {
        let client = client_preferring("", key());
        let before = client.credits().await.unwrap();
        let created = client.translate("https://example.com/talk.mp4").to(["es"]).send().await.unwrap();
        assert!(created.jobs[0].credits_held.is_some_and(|held| held > 0.0));
        assert!(client.credits().await.unwrap() < before);
    }

    #[tokio::test]
    #[ignore = "needs Prism and the sandbox; run by cargo xtask conformance"]
    async fn a_token_is_requested_and_used() {
        let client = |secret: &str| {
            Client::builder()
                .client_credentials(CLIENT_ID, secret)
                .base_url(url())
                .http(reqwest::Client::builder().no_proxy())
                .build()
                .unwrap()
        };
        client(KEY).job(ID).get().await.unwrap();
        let error = client("wrong").job(ID).get().await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::CredentialsRefused, "{error}");
    }
}
