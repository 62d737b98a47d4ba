//! What the tests of the workspace share.
//!
//! `library/` tests the crates, in one process; `program/` tests the program, as a test binary of
//! `akool-cli`.

use std::time::Duration;

use akool::{Client, ConfigError, Credential, PollPolicy};
use akool_mock::MockServer;

/// The id of the vendor's own example.
pub const ID: &str = "64dd92c1f0b6684651e90e09";

/// A client that reaches a server on this machine, whatever proxy the environment names.
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

/// A client that uses the server's key.
///
/// # Panics
/// When no client can be made.
pub fn client_of(server: &MockServer) -> Client {
    let key = Credential::api_key(server.api_key()).expect("the mock server's key can be sent");
    client_at(server.url(), key).expect("a client can be made")
}

/// Held by tests that need quiet: a hundred thousand jobs, or bounds on time.
pub static QUIET: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());

/// Polls as often as can be, so that tests do not wait.
pub fn eager() -> PollPolicy {
    PollPolicy::fixed(Duration::from_millis(10))
}

/// The examples of the README, compiled and run as documentation tests.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
