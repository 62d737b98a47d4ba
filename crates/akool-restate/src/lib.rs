//! AKOOL video translations on a [Restate](https://restate.dev) cluster: several workers share creation and waiting, any
//! of them may be killed at any moment, no job is created twice, and no outcome is lost.
//!
//! [`Fleet`] is the client, for programs that create and wait. [`Worker`] is a worker process. Restate is the engine
//! between them: it has one writer for each key, a journal, and timers that survive. This crate only journals. When to
//! poll, [`akool::Poller`] decides; when to create, the rule in [`claim`]; how fast, [`limit`]. These know no engine, and
//! [`step`] is all that another engine needs for waits.
//!
//! What is paid for once is a [`Work`], a video in one language. [`Fleet::create`] hands it to the workers. What a worker
//! does with a job then, without an engine:
//!
//! ```
//! # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # use akool_mock::{MockServer, Polls, Timeline};
//! # let server = MockServer::start().await;
//! # server.job("64dd92c1f0b6684651e90e09", Timeline::new().processing(Polls(1)).completed());
//! # let (base_url, key) = (server.url(), akool::Credential::api_key(server.api_key())?);
//! # let client = akool::Client::builder().base_url(base_url).credential(key).build()?;
//! use std::time::{Duration, SystemTime, UNIX_EPOCH};
//! use akool_restate::{WaitEnd, WaitOptions, Work, step::{JobState, Origin}};
//!
//! let works = Work::of(&client.translate("https://example.com/talk.mp4").to(["es", "fr"]))?;
//! assert_eq!(works.len(), 2);
//!
//! let now_ms = || SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_millis() as u64;
//! let options = WaitOptions::default().interval(Duration::from_millis(10));
//! let job = "64dd92c1f0b6684651e90e09".into();
//! let mut state = JobState::new(now_ms(), 7, options, Origin::default());
//! let outcome = loop {
//!     let began_ms = now_ms();
//!     let polled = client.job(&job).get().await;
//!     let step = state.observe(&job, began_ms, now_ms(), polled);
//!     // The engine stores the state, and wakes any worker after the pause.
//!     state = serde_json::from_str(&serde_json::to_string(&step.state)?)?;
//!     match step.next_in_ms {
//!         Some(pause) => tokio::time::sleep(Duration::from_millis(pause)).await,
//!         None => break state.outcome,
//!     }
//! };
//! assert_eq!(outcome.map(|outcome| outcome.end), Some(WaitEnd::Completed));
//! # Ok(())
//! # }
//! ```
//!
//! # Services
//! - `Translation`, by the id of a [`Work`]: creates its job at most once, and begins its wait.
//! - `Job`, by the id of a job: polls it until its end. Each poll schedules the next one, with a generation that makes
//!   older timers void.
//! - `Credential`, by its name: leases permits to call the service, and pauses all workers.
//! - `Deliver` tells a [`Target`] the outcome; `Files` saves files; `Jobs` lists what is known.
//!
//! The handlers that callers need are public at the ingress: `create`, `status`, `adopt` and `forget` of `Translation`,
//! `watch`, `poll_now`, `outcome`, `wait` and `forget` of `Job`, and those of `Credential` and `Jobs`. They refuse web
//! pages, which the ingress itself lets in from every origin. All others are private.
//!
//! # Promises
//! - At most one request is sent for a work, whatever is killed, until someone calls [`Fleet::forget_work`] or
//!   [`Fleet::create_duplicate`]. If it is not known whether it was sent, the creation ends as
//!   [`Creation::OutcomeUnknown`], which an operator resolves.
//! - A worker that is stopped normally leaves no outcome unknown.
//! - A worker that was suspended between its claim and its request sends nothing once the claim is older than
//!   [`claim::MAX_CLAIM_AGE`]. Between that check and the first byte of the request lie the connection and TLS.
//! - A [`Target::Handler`] gets each outcome exactly once, and a [`Target::Url`] at least once.
//! - State is readable by the release before and after.
//!
//! # Security
//! Ingress and admin API of a Restate server have no authentication. Anyone who reaches the ingress creates paid jobs, so
//! bind both to the loopback interface, or put a proxy with authentication in front. A worker without
//! [`identity_key`](WorkerBuilder::identity_key) listens on the loopback interface only. State of the engine contains the
//! links to sources and results, which grant access; it contains no credential.
//!
//! Needs Restate 1.7 and Rust 1.90.

pub mod claim;
pub mod limit;
pub mod step;

mod context;
mod error;
mod fleet;
mod headers;
mod ingress;
mod leases;
mod model;
mod permits;
mod registration;
mod services;
mod storage;
mod work;
mod worker;

/// The example of the README, compiled as a documentation test.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;

pub use self::{
    error::FleetError,
    fleet::Fleet,
    model::{
        CreatedWork, Creation, JobView, NotCreated, Outcome, Replaced, Target, Unknown, WaitEnd, WaitOptions,
        WorkView,
    },
    registration::RegistrationError,
    storage::{SaveResult, Storage},
    work::{DEFAULT_CREDENTIAL, Work, WorkId},
    worker::{Worker, WorkerBuilder, WorkerError},
};
