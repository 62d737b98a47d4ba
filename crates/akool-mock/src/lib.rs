//! A mock server for AKOOL's open API, for tests and experiments.
//!
//! Each job follows a [`Timeline`] of statuses. Answers have the documented shape, since they are based on the
//! vendor's example. Credentials are checked as documented. The result files can be downloaded: a small playable
//! video and its subtitles.
//!
//! ```
//! use akool_mock::{Polls, MockServer, Timeline};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let server = MockServer::start().await;
//! server.job("64dd92c1f0b6684651e90e09", Timeline::new().queueing(Polls(1)).completed());
//!
//! // Point the code under test at `server.url()`, with the key `server.api_key()`.
//! let poll = async || {
//!     let url = format!("{}/api/open/v3/content/video/infobymodelid?video_model_id=64dd92c1f0b6684651e90e09", server.url());
//!     let request = reqwest::Client::new().get(url).header("x-api-key", server.api_key());
//!     request.send().await?.json::<serde_json::Value>().await
//! };
//! assert_eq!(poll().await?["data"]["video_status"], 1);
//! assert_eq!(poll().await?["data"]["video_status"], 3);
//! assert_eq!(server.polls_of("64dd92c1f0b6684651e90e09").len(), 2);
//! # Ok(())
//! # }
//! ```
//!
//! Each [`MockServer`] listens on its own port, so parallel tests do not interfere. It validates every request against
//! the description with [`akool_contract`]. Invalid requests, requests that match no operation, and credentials that
//! are sent to the CDN are [violations](MockServer::violations): the server panics with a list of them when it is
//! dropped.
//!
//! The server validates its own answers too. It violates the description only if the test configures this: with a
//! [`Fault`], the number of a status ([`Timeline::status`], [`Timeline::stuck`]), a code
//! ([`MockServer::reject_language`]), a renamed field ([`MockServer::rename_field`]) or a recorded exchange
//! ([`MockServer::replay`]).
//!
//! The server calls the webhook of a job on each change of status. The calls are signed and encrypted as documented.
//! [`WebhookFault`] lists the errors that it can simulate.
//!
//! [`MockServer::respond`] answers a request without a connection and at any time, for tests in virtual time.

mod account;
mod answer;
mod clock;
mod config;
mod connection;
mod control;
mod control_api;
mod create;
mod damage;
mod download;
mod expect;
mod fault;
mod files;
#[cfg(fuzzing)]
pub mod fuzzing;
mod http_host;
mod listener;
mod memory;
mod page;
mod polls;
mod recent;
mod record;
mod request;
mod router;
pub mod sandbox;
#[cfg(feature = "scenarios")]
pub mod scenarios;
mod server;
mod service;
mod service_state;
mod sources;
mod timeline;
mod times;
mod variation;
mod verify;
mod webhook;
mod webhook_queue;

pub use expect::Requests;
pub use fault::{Fault, RetryAfter};
pub use record::Exchange;
pub use server::{Builder, MockServer};
pub use service_state::{CLIENT_ID, CreatedJob, DEFAULT_API_KEY, DEFAULT_TOKEN};
pub use timeline::{Polls, Span, Timeline};
pub use times::Times;
pub use webhook::seal;
pub use webhook_queue::{WebhookCall, WebhookFault};

/// Compiles and runs the example of the README.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
