//! A mock server for AKOOL's open API, for tests and for trying things out.
//!
//! Jobs live through a [`Timeline`] of statuses, answers have the documented shape (they start
//! from the vendor's own example), credentials are checked as documented, and the result files
//! are served too: a small playable video and real subtitles.
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
//! A [`MockServer`] listens on a port of its own and is gone when it is dropped, so parallel
//! tests don't meet. Requests that nothing matches, requests that are not as described, and credentials
//! sent where they do not belong, make it panic when it is dropped, with what came and what it knows.
//!
//! Every answer of its own is held against [`akool_contract`] too. What is outside of the description must be
//! asked for by name: a [`Fault`], a status by its number ([`Timeline::status`], [`Timeline::stuck`]), a code
//! ([`MockServer::refuse_language`]), another name for a field ([`MockServer::rename_field`]), or a recorded
//! exchange ([`MockServer::replay`]).
//!
//! Jobs that were created with a webhook, or given one by [`MockServer::webhook`], have it called on each
//! change, signed and encrypted as documented; [`WebhookFault`] is what can go wrong with that.
//!
//! Underneath is [`ServiceState`], which has no transport and no clock: a request and a time in, an
//! answer out.

mod account;
mod answer;
mod create;
mod expect;
mod fault;
mod files;
mod page;
mod record;
pub mod sandbox;
#[cfg(feature = "scenarios")]
pub mod scenarios;
mod server;
mod service_state;
mod tcp;
mod timeline;
mod variation;
mod verify;
mod webhook;

pub use create::CreatedJob;
pub use expect::Asked;
pub use fault::{Fault, Times};
pub use record::Exchange;
pub use server::{Builder, MockServer};
pub use service_state::ServiceState;
pub use timeline::{Polls, Span, Timeline};
pub use webhook::{WebhookCall, WebhookFault, seal};
