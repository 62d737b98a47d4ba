//! AKOOL video translation from Rust: create a translation, wait for it, get its files.
//!
//! A job takes minutes and costs money. [`Client::translate`] creates one job for each language, and
//! returns an error of its own if it is unknown whether jobs were created. [`Client::job`] takes the id
//! of a job: [`Job::get`] polls it once, [`Job::wait`] waits for its end, and [`Job::updates`] streams
//! its changes. [`Client::wait_set`] waits for many jobs at once. A wait retries transient errors and
//! has a timeout ([`DEFAULT_TIMEOUT`] by default). If a wait ends before its job, the error says so: the
//! job continues, and its id is all that you need to wait again.
//!
//! ```no_run
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! use akool::{Client, WaitError};
//!
//! // Reads AKOOL_API_KEY or AKOOL_TOKEN.
//! let client = Client::from_env()?;
//! match client.job("64dd92c1f0b6684651e90e09").wait().await {
//!     Ok(translation) => {
//!         for file in translation.files() {
//!             println!("{}: {}", file.file_name(), file.url);
//!         }
//!     }
//!     Err(WaitError::JobFailed(job)) => eprintln!("{job}"),
//!     Err(error) => eprintln!("{error}"),
//! }
//! # Ok(())
//! # }
//! ```
//!
//! # Guarantees
//! - Unknown statuses, extra fields, nulls and numbers in another format never end a wait whose status
//!   can still be read.
//! - HTTP 200 is not success: the [`BusinessCode`] of the envelope decides.
//! - The credential is sent only to the service's own origin, and redirects are not followed. It does
//!   not appear in any `Debug` output, log or error. The client wipes its copy of the credential when it
//!   is dropped; copies in HTTP buffers are not wiped.
//! - Dropping a future or a stream of this crate stops its work at once. The crate spawns no tasks.
//!
//! # Features
//! - `rustls` (default) or `native-tls`: without either, only `http` to this machine works.
//! - `http2` (default): HTTP/2, if the service supports it.
//!
//! # Related crates
//! - `akool-download` saves the files of a translation to disk.
//! - `akool-ledger` remembers created jobs, so that the same work is never paid for twice.
//! - `akool-webhook` verifies and decrypts webhook messages.
//! - `akool-client` contains the requests and types that are generated from the service's OpenAPI
//!   description.

mod call;
mod client;
mod code;
mod decode;
mod durations;
mod error;
mod job;
mod language;
mod policy;
mod poll_state;
pub mod poller;
mod raw;
pub mod redact;
mod renewal;
mod scheduler;
mod snapshot;
mod status;
mod throttle;
mod token;
mod translate;
mod triggers;
mod wait;
mod wait_set;

/// Private functions for the fuzz targets in `fuzz/`.
#[cfg(fuzzing)]
#[doc(hidden)]
pub mod fuzzing {
    use std::time::Duration;

    use akool_client::{Ending, Exchange};
    use reqwest::header::{CONTENT_TYPE, DATE, HeaderMap, HeaderValue, RETRY_AFTER};

    use crate::{Error, Snapshot, decode};

    /// Decodes a response leniently.
    pub fn decode(status: u16, header: &str, body: &[u8]) -> Result<Snapshot, Error> {
        let mut headers = HeaderMap::new();
        for name in [CONTENT_TYPE, DATE, RETRY_AFTER] {
            if let Ok(value) = HeaderValue::from_str(header) {
                headers.insert(name, value);
            }
        }
        let status = reqwest::StatusCode::from_u16(status).unwrap_or_default();
        decode::lenient(&"64dd".into(), &Exchange::new(status, headers, body.to_vec(), Ending::Complete))
    }

    /// Reads the pause that a response with these headers requests.
    pub fn retry_after(value: &str, date: Option<&str>) -> Option<Duration> {
        let mut headers = HeaderMap::new();
        headers.insert(RETRY_AFTER, HeaderValue::from_str(value).ok()?);
        if let Some(date) = date.and_then(|date| HeaderValue::from_str(date).ok()) {
            headers.insert(DATE, date);
        }
        decode::retry_after(&headers)
    }
}

/// The example of the README, compiled as a documentation test.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;

pub use akool_client::{
    Credential, InvalidCredential, Secret,
    types::{CreateTranslationRequest, VideoInfoResult, VoiceStyle},
};
pub use client::{Client, ClientBuilder, ConfigError};
pub use code::{BusinessCode, Retry};
pub use durations::Durations;
pub use error::{Error, ErrorKind};
pub use job::{Job, JobId};
pub use language::{Language, LanguageInfo};
pub use policy::PollPolicy;
pub use raw::RawAnswer;
pub use renewal::{CredentialSource, Renewed};
pub use snapshot::{FileKind, RemoteFile, Snapshot, Translation};
pub use status::Status;
pub use translate::{Captions, CreateError, Created, CreatedJob, InvalidTranslation, Rejection, Translate};
pub use triggers::PollTriggers;
pub use wait::{DEFAULT_TIMEOUT, Event, Events, FailedJob, LastKnown, Updates, Wait, WaitError};
pub use wait_set::{WaitSet, Waiting};
