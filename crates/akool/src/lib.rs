//! AKOOL video translation from Rust: create a translation once, wait for it without losing it, fetch
//! its files.
//!
//! A job takes minutes and costs money. [`Client::translate`] creates one for each language, and says
//! so where nobody knows whether it did; a [`ledger`] has what was asked for before it is asked.
//! [`Client::job`] takes a job's id; [`Job::get`] polls once,
//! [`Job::wait`] waits for its end, [`Job::updates`] streams its changes, and
//! [`Client::wait_set`] waits for many at once. A wait forgives trouble within a budget, ends by its
//! timeout ([`DEFAULT_TIMEOUT`] unless set), and whatever ends it early says so: the job goes on,
//! and its id is all it takes to wait again.
//!
//! ```no_run
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! use akool::{Client, WaitError};
//!
//! // AKOOL_API_KEY or AKOOL_TOKEN
//! let client = Client::from_env()?;
//! match client.job("64dd92c1f0b6684651e90e09").wait().await {
//!     Ok(translation) => {
//!         for file in translation.files() {
//!             println!("{}: {}", file.file_name(), file.url);
//!         }
//!     }
//!     Err(WaitError::JobFailed(job)) => eprintln!("{job}"),
//!     Err(early) => eprintln!("{early}"),
//! }
//! # Ok(())
//! # }
//! ```
//!
//! # What it promises
//! - Unknown statuses, extra fields, nulls and numbers in another shape never end a wait whose
//!   status can still be read.
//! - HTTP 200 is not success: the envelope's [`BusinessCode`] is.
//! - The credential goes to the service's own address and nowhere else. No redirect is followed.
//!   It shows in no `Debug`, log or error; the copy held here is wiped when it is dropped, those
//!   in HTTP buffers are not.
//! - Dropping a future or a stream of this crate ends its work at once. Nothing is spawned, but what a
//!   ledger writes into its file.
//!
//! # Features
//! - `rustls` (default) or `native-tls`: without either, only `http` to this machine works.
//! - `http2` (default): HTTP/2 where the service speaks it.
//! - `ledger`: a ledger in a file, in the module [`ledger`].
//!
//! The requests and types underneath are generated from the service's OpenAPI description, in the
//! crate `akool-client`.

mod call;
mod client;
mod code;
mod decode;
mod durations;
mod error;
mod job;
mod language;
pub mod ledger;
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

/// Inner doors for the fuzz targets in `fuzz/`.
#[cfg(fuzzing)]
#[doc(hidden)]
pub mod fuzzing {
    use std::time::Duration;

    use akool_client::{Ending, Exchange};
    use reqwest::header::{CONTENT_TYPE, DATE, HeaderMap, HeaderValue, RETRY_AFTER};

    use crate::{Error, Snapshot, decode};

    /// An answer, as the lenient decoder reads it.
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

    /// How long an answer with these headers asks to wait.
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
    types::{VideoInfoResult, VoiceStyle},
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
pub use translate::{
    Captions, CreateError, CreatedJob, Creation, Ensured, InvalidTranslation, OutcomeUnknown, Refusal,
    Translate,
};
pub use triggers::PollTriggers;
pub use wait::{DEFAULT_TIMEOUT, Event, Events, FailedJob, LastKnown, Updates, Wait, WaitError};
pub use wait_set::{WaitSet, Waiting};
