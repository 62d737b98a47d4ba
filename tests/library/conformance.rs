//! The client against a server that is not ours: Prism, alone and in front of `akool sandbox`.
//!
//! `cargo xtask conformance` starts the servers and runs these with the address in
//! `AKOOL_CONFORMANCE_URL`; on their own they are ignored.

use std::time::Duration;

use akool::{
    Captions, Client, CreateError, Credential, ErrorKind, PollPolicy, Status, Translate, VoiceStyle,
    WaitError,
};
use akool_tests::ID;

/// The mock server's credentials. Prism itself only asks that there is one.
const KEY: &str = "sandbox-key-000000000000";
const TOKEN: &str = "sandbox-token";
const CLIENT_ID: &str = "sandbox-client";

fn url() -> String {
    std::env::var("AKOOL_CONFORMANCE_URL").expect("cargo xtask conformance sets the address")
}

/// A client that asks Prism for this example of the description.
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

fn often() -> PollPolicy {
    PollPolicy::fixed(Duration::from_millis(200)).with_max_failures(1)
}

/// A request with everything in it that can be asked for.
fn everything(client: &Client) -> Translate {
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

/// Prism makes the answers, from the description and its examples.
mod mock {
    use super::*;

    /// Without this, all that the client sends would pass for right.
    #[tokio::test]
    #[ignore = "needs Prism; run by cargo xtask conformance"]
    async fn prism_refuses_what_breaks_the_description() {
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
        assert!(snapshot.dropped().is_empty(), "{:?}", snapshot.dropped());
    }

    #[tokio::test]
    #[ignore = "needs Prism; run by cargo xtask conformance"]
    async fn a_poll_with_a_token_does_too() {
        let client = client_preferring("queueing", Credential::bearer(TOKEN).unwrap());
        assert_eq!(client.job(ID).get().await.unwrap().status(), Status::Queueing);
    }

    #[tokio::test]
    #[ignore = "needs Prism; run by cargo xtask conformance"]
    async fn a_wait_ends_with_the_video_and_its_files() {
        let translation = client_preferring("completed", key()).job(ID).wait().await.unwrap();
        assert_eq!(translation.video().host_str(), Some("cdn.example.com"));
        assert_eq!(translation.files().len(), 4);
    }

    #[tokio::test]
    #[ignore = "needs Prism; run by cargo xtask conformance"]
    async fn a_failed_job_says_why() {
        let error = client_preferring("failed", key()).job(ID).wait().await.unwrap_err();
        let WaitError::JobFailed(job) = &error else { panic!("{error}") };
        assert_eq!((job.error_code(), job.error_reason()), (Some(1015), Some("no speech found")));
    }

    #[tokio::test]
    #[ignore = "needs Prism; run by cargo xtask conformance"]
    async fn a_job_that_goes_on_ends_the_wait_at_its_timeout() {
        let client = client_preferring("processing", key());
        let wait = client.job(ID).wait().policy(often()).timeout(Duration::from_millis(300));
        let error = wait.await.unwrap_err();
        let WaitError::Timeout(end) = &error else { panic!("{error}") };
        assert_eq!(end.last_snapshot.as_ref().unwrap().status(), Status::Processing);
        assert_eq!(end.failures, 0, "{error}");
    }

    #[tokio::test]
    #[ignore = "needs Prism; run by cargo xtask conformance"]
    async fn each_code_is_its_typed_error() {
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
    async fn what_is_no_envelope_is_a_typed_error_too() {
        // Prism has no example of this name, and says so by HTTP status 404 and a body of its own.
        let error = client_preferring("none-of-this-name", key()).job(ID).get().await.unwrap_err();
        assert_eq!((error.kind(), error.code()), (ErrorKind::WrongAddress, None), "{error}");
    }

    #[tokio::test]
    #[ignore = "needs Prism; run by cargo xtask conformance"]
    async fn a_creation_reads_every_job() {
        let creation = everything(&client_preferring("created", key())).send().await.unwrap();
        let jobs: Vec<_> = creation.jobs().iter().map(|job| job.id.as_str()).collect();
        assert_eq!(jobs, [ID, "64dd92c1f0b6684651e90e0a"]);
        assert!(creation.is_complete());
    }

    #[tokio::test]
    #[ignore = "needs Prism; run by cargo xtask conformance"]
    async fn a_creation_in_part_tells_which_language_was_refused() {
        let creation = everything(&client_preferring("in-part", key())).send().await.unwrap();
        assert_eq!(creation.jobs().len(), 1);
        let refused: Vec<_> = creation.refused().iter().map(|refusal| refusal.code.0).collect();
        assert_eq!(refused, [1202]);
    }

    #[tokio::test]
    #[ignore = "needs Prism; run by cargo xtask conformance"]
    async fn a_refused_creation_has_created_nothing() {
        for (code, kind) in
            [(1003, ErrorKind::Rejected), (1101, ErrorKind::CredentialsRefused), (1104, ErrorKind::Rejected)]
        {
            let client = client_preferring(&format!("code-{code}"), key());
            let error = everything(&client).send().await.unwrap_err();
            let CreateError::NotCreated(call) = &error else { panic!("{error}") };
            assert_eq!((call.kind(), call.code().map(|code| code.0)), (kind, Some(code)));
        }
    }

    #[tokio::test]
    #[ignore = "needs Prism; run by cargo xtask conformance"]
    async fn the_languages_are_read() {
        let languages = client_preferring("", key()).languages().await.unwrap();
        let codes: Vec<_> = languages.iter().map(|info| info.language.code()).collect();
        assert_eq!(codes, ["es", "zh-CN-shandong"]);
    }

    #[tokio::test]
    #[ignore = "needs Prism; run by cargo xtask conformance"]
    async fn a_token_is_asked_for_and_used() {
        let client = Client::builder()
            .client_credentials(CLIENT_ID, KEY)
            .base_url(url())
            .http(reqwest::Client::builder().no_proxy())
            .build()
            .unwrap();
        assert_eq!(client.job(ID).get().await.unwrap().status(), Status::Processing);
    }
}

/// Prism is in front of `akool sandbox`, and turns each violation into an error.
mod proxy {
    use super::*;

    #[tokio::test]
    #[ignore = "needs Prism and the sandbox; run by cargo xtask conformance"]
    async fn a_job_is_created_followed_and_completed() {
        let client = client_preferring("", key());
        let creation = everything(&client).send().await.unwrap();
        assert_eq!(creation.jobs().len(), 2);
        for job in creation.jobs() {
            let translation = client.job(job.id.clone()).wait().policy(often()).await.unwrap();
            assert_eq!(translation.files().len(), 4);
        }
    }

    #[tokio::test]
    #[ignore = "needs Prism and the sandbox; run by cargo xtask conformance"]
    async fn the_smallest_creation_is_as_described_too() {
        let client = client_preferring("", key());
        let creation = client.translate("https://example.com/stuck.mp4").to(["es"]).send().await.unwrap();
        let job = client.job(creation.jobs()[0].id.clone()).get().await.unwrap();
        assert!(!job.status().is_terminal());
    }

    #[tokio::test]
    #[ignore = "needs Prism and the sandbox; run by cargo xtask conformance"]
    async fn a_job_of_the_sandbox_passes_through_every_status() {
        let translation = client_preferring("", key()).job(ID).wait().policy(often()).await.unwrap();
        assert_eq!(translation.files().len(), 4);
    }

    #[tokio::test]
    #[ignore = "needs Prism and the sandbox; run by cargo xtask conformance"]
    async fn a_status_that_nobody_documented_is_let_through() {
        let client = client_preferring("", Credential::bearer(TOKEN).unwrap());
        client.job("64dd92c1f0b6684651e90e0c").wait().policy(often()).await.unwrap();
    }

    #[tokio::test]
    #[ignore = "needs Prism and the sandbox; run by cargo xtask conformance"]
    async fn a_failed_job_says_why() {
        let client = client_preferring("", key());
        let error = client.job("64dd92c1f0b6684651e90e0a").wait().policy(often()).await.unwrap_err();
        let WaitError::JobFailed(job) = &error else { panic!("{error}") };
        assert_eq!(job.error_code(), Some(1015));
    }

    #[tokio::test]
    #[ignore = "needs Prism and the sandbox; run by cargo xtask conformance"]
    async fn errors_are_as_described() {
        let client = client_preferring("", key());
        // Ids that need escaping arrive, and are unknown.
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
    async fn the_languages_are_as_described() {
        let languages = client_preferring("", key()).languages().await.unwrap();
        assert!(languages.iter().any(|info| info.language.code() == "zh-CN-shandong"));
    }

    #[tokio::test]
    #[ignore = "needs Prism and the sandbox; run by cargo xtask conformance"]
    async fn a_token_is_asked_for_and_used() {
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
