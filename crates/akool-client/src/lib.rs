//! The generated client for AKOOL's open API.
//!
//! **Most programs want the crate `akool`**, which adds the status, errors that say what to do,
//! and the wait. This crate has request builders and types, which [progenitor] generated from the service's
//! own OpenAPI description and its overlays.
//! Its types are `#[non_exhaustive]`, so that a new field upstream breaks nobody.
//!
//! Three small modules are written by hand. All traffic passes [`Transport`], which adds the [`Credential`],
//! bounds the body, and can keep what the generated types and errors do not carry (see
//! [`receive`]). [`Secret`] is the type of values that the description marks as passwords.
//!
//! ```
//! use akool_client::{Client, Credential, Transport};
//!
//! # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let server = akool_mock::MockServer::start().await;
//! # server.job("64dd92c1f0b6684651e90e09", akool_mock::Timeline::new().completed());
//! # let (base_url, key) = (server.url(), server.api_key());
//! // Without redirects: one would carry `x-api-key` to another host.
//! let http = reqwest::Client::builder()
//!     .redirect(reqwest::redirect::Policy::none())
//!     .build()?;
//! let transport = Transport::new(Some(Credential::api_key(key)?));
//! let client = Client::new_with_client(&base_url, http, transport);
//! let response = client
//!     .get_video_info()
//!     .video_model_id("64dd92c1f0b6684651e90e09")
//!     .send()
//!     .await?;
//! // HTTP 200 is not success: the envelope's `code` is.
//! assert_eq!(response.code, Some(1000));
//! # Ok(())
//! # }
//! ```
//!
//! [progenitor]: https://docs.rs/progenitor

mod credential;
#[rustfmt::skip]
#[allow(missing_docs, reason = "setters and some fields have no description upstream")]
#[allow(clippy::missing_errors_doc, reason = "`send` has no description of its own upstream")]
#[allow(clippy::doc_markdown, reason = "the descriptions are the vendor's")]
#[allow(clippy::redundant_field_names, reason = "the generator writes `client: client`")]
mod generated;
mod secret;
mod transport;

pub use credential::{Credential, InvalidCredential};
pub use generated::*;
pub use secret::Secret;
pub use transport::{BodyEnd, Received, Response, Transport, receive};
