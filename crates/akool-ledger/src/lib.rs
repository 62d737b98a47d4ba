//! Remembers which translations were created, so that the same work is not paid for twice: [`ensure()`]
//! creates only the jobs that a [`Ledger`] does not have.
//!
//! A created job costs money, and a request to create cannot be repeated safely. So the ledger stores
//! the intent durably before the request is sent, and the outcome after it. A crash in between leaves an
//! entry whose outcome is unknown. It never loses the request.
//!
//! ```no_run
//! # async fn example(client: akool::Client) -> Result<(), akool_ledger::EnsureError> {
//! use akool_ledger::{LedgerFile, ensure};
//!
//! let ledger = LedgerFile::at("state/ledger.jsonl");
//! let translate = client.translate("https://example.com/talk.mp4").to(["es", "fr"]);
//! for id in ensure(&ledger, translate).await.into_jobs()? {
//!     println!("{id}");
//! }
//! # Ok(())
//! # }
//! ```

mod durations;
mod ensure;
mod entry;
mod error;
mod file;
mod intent;
mod lines;
mod store;
mod work;

pub use self::{
    durations::Durations,
    ensure::{Ensure, Ensured, ensure},
    entry::{Contents, Entry, LedgerJob, Outcome},
    error::{EnsureError, LedgerError},
    file::LedgerFile,
    intent::Intent,
    store::{Begin, CreationOutcome, Ledger, LedgerFuture},
    work::{EntryId, KnownWork},
};

/// The example of the README, compiled as a documentation test.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
