//! AKOOL video translation from Rust: create jobs, poll them, and wait for them.
//!
//! A job takes minutes and costs money. [`Client::translate`] creates one job for each language. [`Client::job`] takes
//! the id of a job; [`Job::get`] polls it once, and [`Job::wait`] waits for its end. [`Wait::updates`] is a stream of
//! what happens meanwhile, and [`Client::wait_set`] waits for many jobs at once. [`Poller`] decides when to poll,
//! without a clock, for programs that drive their waits themselves.
//!
//! ```
//! # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let server = akool_mock::MockServer::start().await;
//! # server.on_create(akool_mock::Timeline::new().completed());
//! # let (base_url, key) = (server.url(), server.api_key());
//! use akool::{Client, Credential, WaitError};
//!
//! // Or Client::from_env(), which reads AKOOL_API_KEY or AKOOL_TOKEN.
//! let client = Client::builder().base_url(base_url).credential(Credential::api_key(key)?).build()?;
//! let created = client.translate("https://example.com/talk.mp4").to(["es"]).send().await?;
//! for job in &created.jobs {
//!     match client.job(&job.id).wait().await {
//!         Ok(translation) => println!("{}", translation.video()),
//!         Err(WaitError::JobFailed(failed)) => eprintln!("{failed}"),
//!         // The job continues: wait again with the same id.
//!         Err(error) => eprintln!("{error}; {}", error.help()),
//!     }
//! }
//! # Ok(())
//! # }
//! ```
//!
//! # Promises
//! - A creation is one request. If its outcome is unclear, the error is [`CreateError::OutcomeUnknown`], and nothing is
//!   sent again.
//! - A wait retries transient errors. If it ends before its job, the error says what is known of the job, which
//!   continues: its id is all that is needed to wait again.
//! - HTTP 200 is not success: the [`BusinessCode`] in the response decides.
//! - Unknown statuses, new fields, nulls and numbers in another format do not end a wait if the status can be read.
//! - If the service asks for a pause (`Retry-After`, up to [`MAX_RETRY_AFTER`]), all clones of the client respect it.
//!   Waits pause, and other calls return [`ErrorKind::RateLimited`] without sending anything.
//! - A timeout is hard: the last poll is cut off 5 s after it.
//! - The credential is sent to the service's own address and nowhere else. No redirect is followed. It appears in no
//!   `Debug` output, log or error. The client wipes its copy when it is dropped; copies in HTTP buffers are not wiped.
//! - Dropping a future or a stream ends its work at once. Nothing is spawned.
//!
//! # Features
//! - `rustls` (default) or `native-tls`: the TLS library. Without either, the client cannot use `https`.
//! - `http2` (default): HTTP/2, if the service supports it.
//! - `serde`: `Serialize` and `Deserialize` for [`PollState`], [`ErrorKind`] and [`Snapshot`], to store the state of a wait
//!   and its result.
//! - `blocking`: the same interface without `async`.
//!
//! The requests and types are generated from the service's OpenAPI description, in the crate `akool-client`. The
//! generated types are in [`types`].

pub mod http;
pub mod redact;

mod account;
#[cfg(feature = "blocking")]
pub mod blocking;
mod builder;
mod client;
mod code;
mod credentials;
mod duration;
mod error;
#[cfg(fuzzing)]
#[doc(hidden)]
pub mod fuzzing;
mod id;
mod job;
mod kind;
mod response;
mod snapshot;
mod status;
mod translate;
mod translation;
mod wait;

/// The example of the README, compiled as a documentation test.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;

pub use akool_client::{
    BodyEnd, Credential, InvalidCredential, Response, Secret, types,
    types::{VideoInfoResult, VoiceStyle},
};

pub use account::{IntoLanguages, Language, LanguageInfo, One, Several};
pub use builder::{ClientBuilder, ConfigError};
pub use client::{Client, MAX_RETRY_AFTER};
pub use code::BusinessCode;
pub use credentials::{CredentialSource, Renewal};
pub use duration::ShortDuration;
pub use error::Error;
pub use id::JobId;
pub use job::Job;
pub use kind::ErrorKind;
pub use response::{Lenient, lenient};
pub use snapshot::Snapshot;
pub use status::Status;
pub use translate::{
    Captions, CreateError, Created, CreatedJob, InvalidTranslation, NotCreated, Rejection, SourceId,
    Translate, WorkKey,
};
pub use translation::{FileKind, RemoteFile, Translation};
pub use wait::{
    DEFAULT_TIMEOUT, Decision, End, JobFailed, LastKnown, Observation, PollContext, PollPolicy, PollState,
    Poller, Update, Updates, Wait, WaitError, WaitSet, Waiting,
};
