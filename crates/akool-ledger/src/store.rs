//! What a ledger stores and answers, in SQL. Everything here blocks; [`Ledger`](crate::Ledger) calls it on other threads.

use std::{
    collections::BTreeSet,
    path::Path,
    time::{Duration, SystemTime},
};

use akool::{
    BusinessCode, CreateError, Created, JobId, Language, Rejection, Snapshot, SourceId, Status, WorkKey,
    redact, types::CreateTranslationRequest,
};
use rusqlite::{Connection, OptionalExtension, Row, Transaction, TransactionBehavior, named_params, params};
use sha2::{Digest, Sha256};
use url::Url;

use crate::{
    database::{failed, io_failed},
    durations::Durations,
    error::LedgerError,
    in_flight::{InFlight, is_in_flight, remove_left},
    work::{EntryId, Filter, LedgerJob, SavedFile, Work, WorkOutcome},
};

/// Work that has not ended, as in the index of the same name.
const PENDING: &str =
    "forgotten = 0 AND (state < 2 OR state = 2 AND (status IS NULL OR status NOT IN (3, 4)))";
/// Selects the requests in flight, a row for each language.
fn in_flight() -> String {
    format!("SELECT request FROM jobs INDEXED BY pending_jobs WHERE {PENDING} AND state = 0")
}

/// The columns that [`work`] reads.
const WORK: &str = "SELECT jobs.request, requests.requested_at, requests.request, language, state, message, code, job, \
                    status, changed_at, forgotten, credits_held, credits_charged FROM jobs JOIN requests ON \
                    requests.id = jobs.request";
/// The columns that [`saved_file`] reads.
const FILE: &str = "SELECT job, kind, path, bytes, sha256, saved_at FROM files";
/// How many ended jobs the poll policy is learned from.
const LEARNED_FROM: u32 = 1000;

/// The column `state`.
pub(crate) mod state {
    pub(crate) const IN_FLIGHT: i64 = 0;
    pub(crate) const UNKNOWN: i64 = 1;
    pub(crate) const CREATED: i64 = 2;
    pub(crate) const REJECTED: i64 = 3;
    pub(crate) const NOT_CREATED: i64 = 4;
}

/// A request that is about to be sent.
#[derive(Clone, Debug)]
pub(crate) struct Intent {
    pub(crate) api: String,
    pub(crate) languages: Vec<Language>,
    pub(crate) request: CreateTranslationRequest,
    /// Whether to send it even if the ledger has the same work.
    pub(crate) allow_duplicate: bool,
}

/// Whether a request is sent.
#[derive(Debug)]
pub(crate) enum Begin {
    /// The intent is stored. These jobs of the same work have failed.
    Written { entry: EntryId, in_flight: InFlight, failed: Vec<LedgerJob> },
    /// Nothing was stored, because the ledger has this work.
    AlreadyThere(Vec<Work>),
}

/// The outcome of a request.
#[derive(Clone, Debug)]
pub(crate) enum CreationOutcome {
    Created(Created),
    NotCreated(String),
    Unknown(String),
}

impl CreationOutcome {
    pub(crate) fn of(sent: &Result<Created, CreateError>) -> Self {
        match sent {
            Ok(created) => Self::Created(created.clone()),
            Err(CreateError::OutcomeUnknown(error)) => Self::Unknown(error.to_string()),
            Err(other) => Self::NotCreated(other.to_string()),
        }
    }
}

/// What a poll returned about a job.
#[derive(Clone, Debug)]
pub(crate) struct Seen {
    pub(crate) job: JobId,
    pub(crate) status: Status,
    pub(crate) age: Option<Duration>,
    /// The age at the last poll before the end.
    pub(crate) running_until: Option<Duration>,
    pub(crate) video_length: Option<Duration>,
    pub(crate) error_reason: Option<String>,
    pub(crate) credits_held: Option<f64>,
    pub(crate) credits_charged: Option<f64>,
}

impl Seen {
    pub(crate) fn new(snapshot: &Snapshot, running_until: Option<Duration>) -> Self {
        Self {
            job: snapshot.id().clone(),
            status: snapshot.status(),
            age: snapshot.age(),
            running_until,
            video_length: snapshot.video_length(),
            error_reason: snapshot.error_reason().map(redact::excerpt),
            credits_held: snapshot.credits_held(),
            credits_charged: snapshot.credits_charged(),
        }
    }
}

/// The database, and its file for error messages.
#[derive(Debug)]
pub(crate) struct Store<'a> {
    pub(crate) path: &'a Path,
    pub(crate) connection: &'a mut Connection,
}

impl Store<'_> {
    /// Stores an intent, unless the ledger has some of its work.
    pub(crate) fn begin(&mut self, intent: &Intent) -> Result<Begin, LedgerError> {
        let path = self.path;
        let failed = |error| failed(path, "write", error);
        let request = serde_json::to_string(&intent.request)
            .map_err(|error| LedgerError::with_source("the request cannot be stored", error))?;
        let source = SourceId::url(&intent.request.url);
        let hash =
            |language: &Language| work_hash(&intent.api, &WorkKey::new(&source, language, &intent.request));
        let transaction =
            self.connection.transaction_with_behavior(TransactionBehavior::Immediate).map_err(failed)?;
        let (mut known, mut failed_jobs) = (Vec::new(), Vec::new());
        for language in &intent.languages {
            let hash = hash(language);
            if intent.allow_duplicate {
                let superseded = "UPDATE jobs SET open = NULL WHERE work = ? AND open = 1";
                transaction.execute(superseded, [hash]).map_err(failed)?;
                continue;
            }
            let latest = format!("{WORK} WHERE work = ? ORDER BY open IS NULL, number DESC LIMIT 1");
            let latest = transaction
                .prepare_cached(&latest)
                .and_then(|mut latest| latest.query_row([hash], |row| work(path, row)).optional())
                .map_err(failed)?;
            match latest {
                Some(work) if is_reused(&work) => known.push(work),
                Some(Work { outcome: WorkOutcome::Created(job), is_forgotten: false, .. }) => {
                    failed_jobs.push(job);
                }
                _ => {}
            }
        }
        if !known.is_empty() {
            return Ok(Begin::AlreadyThere(known));
        }
        let entry = new_id(&transaction).map_err(failed)?;
        let in_flight =
            InFlight::begin(path, &entry).map_err(|error| io_failed(path, "lock a request beside", error))?;
        let now = millis(SystemTime::now());
        transaction
            .execute(
                "INSERT INTO requests VALUES (?, ?, ?, ?)",
                params![entry.as_str(), intent.api, now, request],
            )
            .map_err(failed)?;
        for language in &intent.languages {
            insert(&transaction, &entry, &intent.api, Some(language), state::IN_FLIGHT, hash(language), true)
                .map_err(failed)?;
        }
        transaction.commit().map_err(failed)?;
        Ok(Begin::Written { entry, in_flight, failed: failed_jobs })
    }

    /// Removes an intent that was not sent.
    pub(crate) fn withdraw(&mut self, entry: &EntryId) -> Result<(), LedgerError> {
        self.write(|transaction| {
            transaction.execute("DELETE FROM jobs WHERE request = ?", [entry.as_str()])?;
            transaction.execute("DELETE FROM requests WHERE id = ?", [entry.as_str()]).map(drop)
        })
    }

    /// Stores the outcome of a request.
    pub(crate) fn record_outcome(
        &mut self,
        entry: &EntryId,
        outcome: &CreationOutcome,
    ) -> Result<(), LedgerError> {
        self.write(|transaction| record_outcome(transaction, entry, outcome, SystemTime::now()))
    }

    /// Stores what a poll returned about a job, if the ledger has the job and its status is new.
    pub(crate) fn record(&mut self, api: &str, seen: &Seen) -> Result<(), LedgerError> {
        let (job, status) = (seen.job.as_str(), i64::from(seen.status));
        let is_news = "SELECT EXISTS (SELECT 1 FROM jobs WHERE job = ? AND api = ? AND status IS NOT ?)";
        let is_news: bool = self
            .connection
            .prepare_cached(is_news)
            .and_then(|mut known| known.query_row(params![job, api, status], |row| row.get(0)))
            .map_err(|error| failed(self.path, "read", error))?;
        if !is_news {
            return Ok(());
        }
        let age = |age: Option<Duration>| age.filter(|_| seen.status.is_terminal()).map(duration_millis);
        self.write(|transaction| {
            let update = "UPDATE jobs SET status = :status, changed_at = :now, running_until = :until,
                    ended_by = :by, video_length = coalesce(:length, video_length),
                    credits_held = coalesce(credits_held, :held),
                    credits_charged = coalesce(:charged, credits_charged),
                    message = CASE :status WHEN 4 THEN :reason ELSE message END,
                    open = CASE :status WHEN 4 THEN NULL ELSE open END
                WHERE job = :job AND api = :api";
            let values = named_params! {
                ":status": status,
                ":now": millis(SystemTime::now()),
                ":until": age(seen.running_until),
                ":by": age(seen.age),
                ":length": seen.video_length.map(duration_millis),
                ":held": seen.credits_held,
                ":charged": seen.credits_charged,
                ":reason": seen.error_reason,
                ":job": job,
                ":api": api,
            };
            transaction.execute(update, values).map(drop)
        })
    }

    /// Stores the job of a request whose outcome was unknown.
    pub(crate) fn adopt(
        &mut self,
        entry: &EntryId,
        language: Option<&Language>,
        job: &JobId,
    ) -> Result<(), LedgerError> {
        let fail = |why: String| Err(LedgerError::new(why));
        let works = self.entry(entry)?;
        if works.is_empty() {
            return fail(format!("the ledger has no {entry}; `jobs` lists its entries"));
        }
        if works.iter().any(Work::is_in_flight) {
            return fail(format!("a running process is creating {entry}; wait for its outcome"));
        }
        let unknown = works.iter().filter(|work| matches!(work.outcome, WorkOutcome::Unknown { .. }));
        let unknown: Vec<_> = unknown.filter_map(|work| work.language.as_ref()).collect();
        let language = match (language, &unknown[..]) {
            (Some(language), _) => match unknown.iter().find(|unknown| unknown.is(language)) {
                Some(language) => *language,
                None => return fail(format!("the outcome of {language} in {entry} is not unknown")),
            },
            (None, [only]) => *only,
            (None, []) => return fail(format!("the outcome of {entry} is not unknown")),
            (None, several) => {
                let codes: Vec<_> = several.iter().map(|language| language.code()).collect();
                return fail(format!(
                    "the outcomes of several languages in {entry} are unknown ({}); name one",
                    codes.join(", ")
                ));
            }
        };
        self.write(|transaction| {
            // If the work was requested again meanwhile, equal requests reuse that job.
            let update = "UPDATE OR IGNORE jobs SET open = 1 WHERE request = ?1 AND language = ?2";
            transaction.execute(update, [entry.as_str(), language.code()])?;
            let update = "UPDATE jobs SET state = 2, job = ?3, message = NULL, forgotten = 0
                WHERE request = ?1 AND language = ?2";
            transaction.execute(update, [entry.as_str(), language.code(), job.as_str()]).map(drop)
        })
    }

    /// Removes the unknown outcomes of a request, or that of one language. Returns whether the ledger has the request.
    pub(crate) fn forget(
        &mut self,
        entry: &EntryId,
        language: Option<&Language>,
    ) -> Result<bool, LedgerError> {
        let works = self.entry(entry)?;
        if works.iter().any(Work::is_in_flight) {
            let text = format!("a running process is creating {entry}; wait for its outcome");
            return Err(LedgerError::new(text));
        }
        let is_selected = |work: &&Work| {
            let is_language = |language| work.language.as_ref().is_some_and(|known| known.is(language));
            matches!(work.outcome, WorkOutcome::Unknown { .. }) && language.is_none_or(is_language)
        };
        let selected: Vec<_> =
            works.iter().filter(is_selected).filter_map(|work| work.language.clone()).collect();
        match language {
            _ if works.is_empty() => return Ok(false),
            Some(language) if selected.is_empty() => {
                let text = format!("the outcome of {language} in {entry} is not unknown");
                return Err(LedgerError::new(text));
            }
            _ => {}
        }
        self.write(|transaction| {
            selected.iter().try_for_each(|language| {
                let update = "UPDATE jobs SET forgotten = 1, open = NULL WHERE request = ? AND language = ?";
                transaction.execute(update, [entry.as_str(), language.code()]).map(drop)
            })
        })?;
        Ok(true)
    }

    /// Removes a job. Returns whether the ledger has it.
    pub(crate) fn forget_job(&mut self, job: &JobId) -> Result<bool, LedgerError> {
        let mut found = 0;
        self.write(|transaction| {
            let update = "UPDATE jobs SET forgotten = 1, open = NULL WHERE job = ?";
            found = transaction.execute(update, [job.as_str()])?;
            Ok(())
        })?;
        Ok(found > 0)
    }

    /// The work that a filter selects, oldest first.
    pub(crate) fn works(&mut self, filter: &Filter) -> Result<Vec<Work>, LedgerError> {
        let pending = if filter.pending { PENDING } else { "true" };
        let api = if filter.api.is_some() { "jobs.api = :api" } else { ":api IS NULL" };
        let job = if filter.job.is_some() { "job = :job" } else { ":job IS NULL" };
        let id = filter.job.as_ref().map(JobId::as_str);
        // A job whose language is not known stands for all languages of its request.
        let select = format!(
            "{WORK} WHERE {pending} AND {api} AND {job} AND NOT (state = 1 AND EXISTS (SELECT 1 FROM jobs AS other WHERE \
             other.request = jobs.request AND other.state = 2 AND other.language IS NULL)) ORDER BY number"
        );
        let path = self.path;
        self.read(&select, named_params! { ":api": filter.api, ":job": id }, |row| work(path, row))
    }

    /// Stores a file that was saved. What was saved at this path before is gone.
    pub(crate) fn record_file(&mut self, file: &SavedFile) -> Result<(), LedgerError> {
        let Some(path) = file.path.to_str() else {
            return Err(LedgerError::new(format!("the path {} is not UTF-8", file.path.display())));
        };
        self.write(|transaction| {
            transaction.execute("DELETE FROM files WHERE path = ?", [path])?;
            let insert =
                "INSERT INTO files (job, kind, path, bytes, sha256, saved_at) VALUES (?, ?, ?, ?, ?, ?)";
            let bytes = i64::try_from(file.bytes).unwrap_or(i64::MAX);
            let (job, saved_at) = (file.job.as_str(), millis(file.saved_at));
            transaction.execute(insert, params![job, file.kind, path, bytes, file.sha256, saved_at]).map(drop)
        })
    }

    /// The files that were saved of a job.
    pub(crate) fn files(&mut self, job: &JobId) -> Result<Vec<SavedFile>, LedgerError> {
        self.read(&format!("{FILE} WHERE job = ? ORDER BY saved_at, path"), [job.as_str()], saved_file)
    }

    /// The file that was saved at this path.
    pub(crate) fn file_at(&mut self, path: &Path) -> Result<Option<SavedFile>, LedgerError> {
        let files = self.read(&format!("{FILE} WHERE path = ?"), [path.to_str()], saved_file)?;
        Ok(files.into_iter().next())
    }

    fn entry(&mut self, entry: &EntryId) -> Result<Vec<Work>, LedgerError> {
        let path = self.path;
        let select = format!("{WORK} WHERE jobs.request = ? ORDER BY number");
        self.read(&select, [entry.as_str()], |row| work(path, row))
    }

    /// How long the jobs at this address took.
    pub(crate) fn durations(&mut self, api: &str) -> Result<Durations, LedgerError> {
        let select = "SELECT running_until, ended_by, video_length FROM jobs
            WHERE api = ? AND ended_by IS NOT NULL ORDER BY number DESC LIMIT ?";
        let duration = |millis: i64| Duration::from_millis(u64::try_from(millis).unwrap_or_default());
        let ended = self.read(select, params![api, LEARNED_FROM], |row| {
            let (until, by, length): (Option<i64>, i64, Option<i64>) = row.try_into()?;
            Ok((until.map_or(Duration::ZERO, duration), duration(by), length.map(duration)))
        })?;
        let mut durations = Durations::default();
        for (until, by, length) in ended.into_iter().rev() {
            durations.record(until, by, length);
        }
        Ok(durations)
    }

    /// Marks requests as unknown whose process has died.
    pub(crate) fn mark_dead(&mut self) -> Result<(), LedgerError> {
        let entries = self.read(&in_flight(), [], |row| row.get::<_, String>(0))?;
        let entries: BTreeSet<_> = entries.into_iter().map(EntryId::from).collect();
        for entry in entries {
            if !is_in_flight(self.path, &entry) {
                self.write(|transaction| {
                    let update = "UPDATE jobs SET state = 1 WHERE request = ? AND state = 0";
                    transaction.execute(update, [entry.as_str()]).map(drop)
                })?;
                remove_left(self.path, &entry);
            }
        }
        Ok(())
    }

    fn read<T>(
        &self,
        select: &str,
        values: impl rusqlite::Params,
        read: impl FnMut(&Row<'_>) -> rusqlite::Result<T>,
    ) -> Result<Vec<T>, LedgerError> {
        let mut select =
            self.connection.prepare_cached(select).map_err(|error| failed(self.path, "read", error))?;
        let rows = select.query_map(values, read).and_then(Iterator::collect);
        rows.map_err(|error| failed(self.path, "read", error))
    }

    /// Writes in one transaction.
    fn write(
        &mut self,
        write: impl FnOnce(&Transaction<'_>) -> rusqlite::Result<()>,
    ) -> Result<(), LedgerError> {
        let transaction = self.connection.transaction_with_behavior(TransactionBehavior::Immediate);
        let written = transaction.and_then(|transaction| {
            write(&transaction)?;
            transaction.commit()
        });
        written.map_err(|error| failed(self.path, "write", error))
    }
}

/// Whether equal requests reuse this work.
fn is_reused(work: &Work) -> bool {
    !work.is_forgotten
        && match &work.outcome {
            WorkOutcome::InFlight | WorkOutcome::Unknown { .. } => true,
            WorkOutcome::Created(job) => job.status != Some(Status::Failed),
            WorkOutcome::Rejected(_) | WorkOutcome::NotCreated { .. } => false,
        }
}

/// Identifies work at an API address.
pub(crate) fn work_hash(api: &str, key: &WorkKey) -> [u8; 32] {
    Sha256::new().chain_update(api).chain_update("\n").chain_update(key.as_str()).finalize().into()
}

/// Adds a row. It is open only if no other row of the same work is.
pub(crate) fn insert(
    transaction: &Transaction<'_>,
    entry: &EntryId,
    api: &str,
    language: Option<&Language>,
    state: i64,
    work: [u8; 32],
    open: bool,
) -> rusqlite::Result<()> {
    let insert = "INSERT INTO jobs (request, api, language, state, work, open) VALUES (?, ?, ?, ?, ?, ?)";
    let values = params![entry.as_str(), api, language.map(Language::code), state, work, open.then_some(1)];
    transaction.prepare_cached(insert)?.execute(values).map(drop)
}

/// Stores the outcome of a request in its rows.
pub(crate) fn record_outcome(
    transaction: &Transaction<'_>,
    entry: &EntryId,
    outcome: &CreationOutcome,
    now: SystemTime,
) -> rusqlite::Result<()> {
    match outcome {
        CreationOutcome::Unknown(why) => {
            let update = "UPDATE jobs SET state = 1, message = ? WHERE request = ? AND state < 2";
            transaction.execute(update, [why, entry.as_str()]).map(drop)
        }
        CreationOutcome::NotCreated(why) => {
            let update =
                "UPDATE jobs SET state = 4, message = ?, open = NULL WHERE request = ? AND state < 2";
            transaction.execute(update, [why, entry.as_str()]).map(drop)
        }
        CreationOutcome::Created(created) => record_created(transaction, entry, created, now),
    }
}

fn record_created(
    transaction: &Transaction<'_>,
    entry: &EntryId,
    created: &Created,
    now: SystemTime,
) -> rusqlite::Result<()> {
    let entry = entry.as_str();
    // Languages that are named nowhere below: the response said nothing clear about them.
    let update = "UPDATE jobs SET state = 1, message = ? WHERE request = ? AND state < 2";
    transaction.execute(update, ["the response did not name a job", entry])?;
    for job in &created.jobs {
        let status = job.status.map(i64::from);
        let changed_at = status.map(|_| millis(now));
        let length = job.video_length.map(duration_millis);
        let Some(language) = &job.language else {
            let insert = "INSERT INTO jobs (request, api, state, job, status, changed_at, credits_held, video_length, work)
                SELECT id, api, 2, ?2, ?3, ?4, ?5, ?6, zeroblob(32) FROM requests WHERE id = ?1";
            let values = params![entry, job.id.as_str(), status, changed_at, job.credits_held, length];
            transaction.execute(insert, values)?;
            continue;
        };
        // A row that somebody took for dead and removed is there again, unless the work was requested once more.
        let update = "UPDATE OR IGNORE jobs SET open = 1
            WHERE request = ?1 AND language = ?2 COLLATE NOCASE AND forgotten = 1";
        transaction.execute(update, [entry, language.code()])?;
        let update = "UPDATE jobs SET state = 2, job = ?3, status = ?4, changed_at = ?5, credits_held = ?6,
                video_length = ?7, message = NULL, forgotten = 0
            WHERE request = ?1 AND language = ?2 COLLATE NOCASE";
        let (language, id) = (language.code(), job.id.as_str());
        let values = params![entry, language, id, status, changed_at, job.credits_held, length];
        transaction.execute(update, values)?;
    }
    for rejection in &created.rejected {
        let Some(language) = &rejection.language else { continue };
        let update = "UPDATE jobs SET state = 3, code = ?3, message = ?4, open = NULL
            WHERE request = ?1 AND language = ?2 COLLATE NOCASE AND state < 2";
        transaction.execute(update, params![entry, language.code(), rejection.code.0, rejection.message])?;
    }
    Ok(())
}

/// Reads a row of [`WORK`].
fn work(path: &Path, row: &Row<'_>) -> rusqlite::Result<Work> {
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
fn saved_file(row: &Row<'_>) -> rusqlite::Result<SavedFile> {
    Ok(SavedFile {
        job: row.get::<_, String>(0)?.into(),
        kind: row.get(1)?,
        path: row.get::<_, String>(2)?.into(),
        bytes: u64::try_from(row.get::<_, i64>(3)?).unwrap_or_default(),
        sha256: row.get(4)?,
        saved_at: time(row.get(5)?),
    })
}

fn source_url(request: &str) -> Option<String> {
    serde_json::from_str::<CreateTranslationRequest>(request).ok().map(|request| request.url)
}

/// The URL of the video, safe to print.
fn source(url: Option<&String>) -> String {
    let url = url.cloned().unwrap_or_default();
    Url::parse(&url).map_or_else(|_| redact::excerpt(&url), |url| redact::link(&url))
}

/// A short id that no entry has.
fn new_id(connection: &Connection) -> rusqlite::Result<EntryId> {
    loop {
        let id = format!("t{:07x}", fastrand::u32(..1 << 28));
        let mut taken = connection.prepare_cached("SELECT EXISTS (SELECT 1 FROM requests WHERE id = ?)")?;
        if !taken.query_row([&id], |row| row.get::<_, bool>(0))? {
            return Ok(id.into());
        }
    }
}

pub(crate) fn millis(time: SystemTime) -> i64 {
    time.duration_since(SystemTime::UNIX_EPOCH).map_or(0, duration_millis)
}

fn duration_millis(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}

fn time(millis: i64) -> SystemTime {
    let since = Duration::from_millis(u64::try_from(millis).unwrap_or_default());
    SystemTime::UNIX_EPOCH.checked_add(since).unwrap_or(SystemTime::UNIX_EPOCH)
}

#[cfg(test)]
mod tests;
