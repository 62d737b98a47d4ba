//! Helpers of the tests in `library/`, which test the crates in one process. The tests in `program/` are a test binary of
//! `akool-cli` and have their own.

use std::{
    fs::DirEntry,
    path::Path,
    time::{Duration, Instant},
};

use akool::{Client, ConfigError, Credential, PollPolicy};
use akool_mock::MockServer;
use tokio::net::TcpListener;
use wiremock::{Mock, ResponseTemplate, matchers::any};

/// The job id in the vendor's example.
pub const ID: &str = "64dd92c1f0b6684651e90e09";

/// Held by tests that wait for 100,000 jobs or assert on elapsed time, so that no two of them run at once.
pub static QUIET: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());

/// A policy that polls every 10 ms, so that tests do not wait.
pub fn eager() -> PollPolicy {
    PollPolicy::fixed(Duration::from_millis(10))
}

/// A client for a server on this machine. It ignores the environment's proxy.
///
/// # Errors
/// As [`akool::ClientBuilder::build`].
pub fn client_at(url: impl Into<String>, credential: Credential) -> Result<Client, ConfigError> {
    Client::builder()
        .credential(credential)
        .base_url(url)
        .http(reqwest::Client::builder().no_proxy())
        .request_timeout(Duration::from_secs(5))
        .build()
}

/// A client for a server on this machine that sends this key.
///
/// # Panics
/// If the key or the URL is not valid.
pub fn client_with_key(url: impl Into<String>, key: &str) -> Client {
    client_at(url, Credential::api_key(key).expect("a valid key")).expect("a valid URL")
}

/// A client that uses the mock server's key.
///
/// # Panics
/// As [`client_with_key`].
pub fn client_of(server: &MockServer) -> Client {
    client_with_key(server.url(), &server.api_key())
}

/// A client that gets its tokens with the mock server's client id and secret.
///
/// # Panics
/// If the client cannot be built.
pub fn token_client_of(server: &MockServer) -> Client {
    Client::builder()
        .client_credentials(server.client_id(), server.api_key())
        .base_url(server.url())
        .build()
        .expect("a valid client")
}

/// A client whose connections are refused.
///
/// # Panics
/// As [`client_with_key`].
pub fn unreachable_client() -> Client {
    client_with_key("http://127.0.0.1:1", "key")
}

/// The text of an error and of its causes, as a program would print them.
pub fn chain(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(Some(error), |error| error.source());
    causes.map(ToString::to_string).collect::<Vec<_>>().join(": ")
}

/// Mounts a response to every request that no earlier mock of this server matches.
pub async fn respond(server: &wiremock::MockServer, response: ResponseTemplate) {
    Mock::given(any()).respond_with(response).mount(server).await;
}

/// Mounts a response to the next `times` requests.
pub async fn respond_times(server: &wiremock::MockServer, times: u64, response: ResponseTemplate) {
    Mock::given(any()).respond_with(response).up_to_n_times(times).mount(server).await;
}

/// Waits until a condition holds that another task or thread brings about.
///
/// # Panics
/// If it does not hold within a minute.
pub async fn wait_until(what: &str, mut condition: impl FnMut() -> bool) {
    let give_up = Instant::now() + Duration::from_secs(60);
    while !condition() {
        assert!(Instant::now() < give_up, "not within a minute: {what}");
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

/// The names of the files in a folder, sorted.
///
/// # Panics
/// If the folder cannot be read.
pub fn names(folder: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(folder).expect("a readable folder");
    let name = |entry: DirEntry| entry.file_name().into_string().expect("a name in UTF-8");
    let mut names: Vec<_> = entries.map(|entry| name(entry.expect("a readable entry"))).collect();
    names.sort();
    names
}

/// A listener on a free port of this machine, and its URL.
///
/// # Panics
/// If no port can be bound.
pub async fn listen() -> (TcpListener, String) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let url = format!("http://{}", listener.local_addr().expect("a bound port"));
    (listener, url)
}

/// Compiles the examples of the README and of the book as documentation tests, and runs those that need no account.
#[cfg(doctest)]
mod documents {
    #[doc = include_str!("../README.md")]
    struct Readme;
    #[doc = include_str!("../docs/library.md")]
    struct Library;
    #[doc = include_str!("../docs/testing-rust.md")]
    struct TestingRust;
    #[doc = include_str!("../docs/webhooks.md")]
    struct Webhooks;
    #[doc = include_str!("../docs/design/poller.md")]
    struct Poller;
}
