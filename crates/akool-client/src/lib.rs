//! The generated client for AKOOL's open API.
//!
//! **Most programs want the crate `akool`**, which adds the status, errors that say what to do,
//! and the wait. This crate is what the service's own OpenAPI description says, no more: request
//! builders and types, written by [progenitor] from the vendored description and its overlays.
//! Its types are `#[non_exhaustive]`, so that a new field upstream breaks nobody.
//!
//! What is written by hand is two small modules. All traffic passes [`Transport`], which adds the
//! credential, bounds the body, and can keep an exchange's status, headers and bytes (see
//! [`Client::recording`]) for whoever must read an answer that the strict types refuse. [`Secret`] is
//! the type of what the description calls a password.
//!
//! ```no_run
//! use akool_client::{Client, Credential, Transport};
//!
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! // Without redirects: one would carry `x-api-key` to another host.
//! let http = reqwest::Client::builder()
//!     .redirect(reqwest::redirect::Policy::none())
//!     .build()?;
//! let transport = Transport::new(Some(Credential::api_key(std::env::var("AKOOL_API_KEY")?)?));
//! let client = Client::new_with_client("https://openapi.akool.com", http, transport);
//! let answer = client
//!     .get_video_info()
//!     .video_model_id("64dd92c1f0b6684651e90e09")
//!     .send()
//!     .await?;
//! // HTTP 200 is not success: the envelope's `code` is.
//! assert_eq!(answer.code, 1000);
//! # Ok(())
//! # }
//! ```
//!
//! [progenitor]: https://docs.rs/progenitor

#[rustfmt::skip]
#[allow(missing_docs, reason = "setters and some fields have no description upstream")]
#[allow(clippy::missing_errors_doc, reason = "`send` has no description of its own upstream")]
#[allow(clippy::redundant_field_names, reason = "the generator writes `client: client`")]
mod generated;
mod secret;
mod transport;

pub use generated::*;
pub use secret::Secret;
pub use transport::{BodyTooLarge, Credential, Ending, Exchange, InvalidCredential, Recording, Transport};
