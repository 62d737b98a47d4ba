//! Remembers which translations were created, so that the same work is not paid for twice.
//!
//! A created job costs money, and a request to create cannot be repeated safely. [`Ledger::translate`] creates only the
//! jobs that the ledger does not have. It stores the intent durably before the request is sent, and the outcome after
//! it. A crash in between leaves work whose outcome is unknown: it is listed, and never requested again by itself.
//!
//! ```
//! # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let server = akool_mock::MockServer::start().await;
//! # let (base_url, key) = (server.url(), akool::Credential::api_key(server.api_key())?);
//! # let client = akool::Client::builder().base_url(base_url).credential(key).build()?;
//! # let temporary = tempfile::tempdir()?; let folder = temporary.path();
//! use akool_ledger::Ledger;
//!
//! let ledger = Ledger::open(folder.join("ledger.db"))?;
//! let request = client.translate("https://example.com/talk.mp4").to(["es", "fr"]);
//! for job in ledger.translate(request).await? {
//!     println!("{job}");
//! }
//! # let again = client.translate("https://example.com/talk.mp4").to(["fr", "es"]);
//! # assert_eq!(ledger.translate(again).await?.len(), 2); assert_eq!(server.created().len(), 2);
//! # Ok(())
//! # }
//! ```
//!
//! The ledger is one SQLite file that several processes can share. Two requests are the same work if they ask the same
//! API address for the same [`WorkKey`](akool::WorkKey).

mod creation;
mod database;
mod durations;
mod ensure;
mod ensured;
mod error;
mod import;
mod in_flight;
mod ledger;
mod plan;
mod rows;
mod staged;
mod store;
mod work;

pub use self::{
    durations::Durations,
    ensure::{Ensure, EnsureEvent},
    ensured::Ensured,
    error::{EnsureError, LedgerError},
    ledger::Ledger,
    plan::{Estimate, Plan},
    staged::{Staged, StagedLock},
    work::{EntryId, Filter, LedgerJob, SavedFile, Work, WorkOutcome},
};

/// The example of the README, compiled as a documentation test.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
