//! The columns of the database, and what is read from its rows.

use std::{
    path::Path,
    time::{Duration, SystemTime},
};

use akool::{BusinessCode, Language, Rejection, Status, redact, types::CreateTranslationRequest};
use rusqlite::Row;
use url::Url;

use crate::{
    in_flight::is_in_flight,
    work::{EntryId, LedgerJob, SavedFile, Work, WorkOutcome},
};

/// Work that has not ended, as in the index of the same name.
pub(crate) const PENDING: &str =
    "forgotten = 0 AND (state < 2 OR state = 2 AND (status IS NULL OR status NOT IN (3, 4)))";

/// Selects the requests in flight, a row for each language.
pub(crate) fn in_flight() -> String {
    format!("SELECT request FROM jobs INDEXED BY pending_jobs WHERE {PENDING} AND state = 0")
}

/// The columns that [`work`] reads.
pub(crate) const WORK: &str = "SELECT jobs.request, requests.requested_at, requests.request, language, state, message, code, job, \
                    status, changed_at, forgotten, credits_held, credits_charged FROM jobs JOIN requests ON \
                    requests.id = jobs.request";

/// Like [`WORK`], only from what has not ended: use it with [`PENDING`]. Without the name of the index, SQLite reads all
/// jobs in order, and skips those that have ended.
pub(crate) fn pending_work() -> String {
    WORK.replacen("FROM jobs", "FROM jobs INDEXED BY pending_jobs", 1)
}

/// The columns that [`saved_file`] reads.
pub(crate) const FILE: &str = "SELECT job, kind, path, bytes, sha256, saved_at FROM files";

/// The column `state`.
pub(crate) mod state {
    pub(crate) const IN_FLIGHT: i64 = 0;
    pub(crate) const UNKNOWN: i64 = 1;
    pub(crate) const CREATED: i64 = 2;
    pub(crate) const REJECTED: i64 = 3;
    pub(crate) const NOT_CREATED: i64 = 4;
}

/// Reads a row of [`WORK`].
pub(crate) fn work(path: &Path, row: &Row<'_>) -> rusqlite::Result<Work> {
    let entry = EntryId::from(row.get::<_, String>(0)?);
    let requested_at = time(row.get(1)?);
    let language = row.get::<_, Option<String>>(3)?.map(Language::from);
    let message: Option<String> = row.get(5)?;
    let source_url = source_url(&row.get::<_, String>(2)?);
    let source = source(source_url.as_ref());
    let outcome = match (row.get(4)?, row.get::<_, Option<String>>(7)?) {
        (state::IN_FLIGHT, _) if is_in_flight(path, &entry) => WorkOutcome::InFlight,
        (state::CREATED, Some(job)) => WorkOutcome::Created(LedgerJob {
            id: job.into(),
            language: language.clone(),
            source_url,
            created_at: requested_at,
            status: row.get::<_, Option<i64>>(8)?.map(Status::from),
            changed_at: row.get::<_, Option<i64>>(9)?.map(time),
            error_reason: message,
            credits_held: row.get(11)?,
            credits_charged: row.get(12)?,
        }),
        (state::REJECTED, _) => {
            let code = BusinessCode(row.get::<_, Option<i64>>(6)?.unwrap_or_default());
            let mut rejection = Rejection::new(code, message.unwrap_or_default());
            rejection.language.clone_from(&language);
            WorkOutcome::Rejected(rejection)
        }
        (state::NOT_CREATED, _) => WorkOutcome::NotCreated { why: message.unwrap_or_default() },
        _ => WorkOutcome::Unknown { why: message },
    };
    Ok(Work { source, is_forgotten: row.get(10)?, entry, language, requested_at, outcome })
}

/// Reads a row of [`FILE`].
pub(crate) fn saved_file(row: &Row<'_>) -> rusqlite::Result<SavedFile> {
    Ok(SavedFile {
        job: row.get::<_, String>(0)?.into(),
        kind: row.get(1)?,
        path: row.get::<_, String>(2)?.into(),
        bytes: u64::try_from(row.get::<_, i64>(3)?).unwrap_or_default(),
        sha256: row.get(4)?,
        saved_at: time(row.get(5)?),
    })
}

pub(crate) fn source_url(request: &str) -> Option<String> {
    serde_json::from_str::<CreateTranslationRequest>(request).ok().map(|request| request.url)
}

/// The URL of the video, safe to print.
pub(crate) fn source(url: Option<&String>) -> String {
    let url = url.cloned().unwrap_or_default();
    Url::parse(&url).map_or_else(|_| redact::excerpt(&url), |url| redact::link(&url))
}

pub(crate) fn millis(time: SystemTime) -> i64 {
    time.duration_since(SystemTime::UNIX_EPOCH).map_or(0, duration_millis)
}

pub(crate) fn duration_millis(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}

pub(crate) fn time(millis: i64) -> SystemTime {
    let since = Duration::from_millis(u64::try_from(millis).unwrap_or_default());
    SystemTime::UNIX_EPOCH.checked_add(since).unwrap_or(SystemTime::UNIX_EPOCH)
}
