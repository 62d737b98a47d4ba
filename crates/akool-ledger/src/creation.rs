//! Requests that create jobs: the intent before the request, and the outcome after it.

use std::{path::Path, time::SystemTime};

use akool::{CreateError, Created, Language, SourceId, Status, WorkKey, types::CreateTranslationRequest};
use rusqlite::{Connection, OptionalExtension, Params, Transaction, TransactionBehavior, params};
use sha2::{Digest, Sha256};

use crate::{
    error::{LedgerError, failed, io_failed},
    in_flight::InFlight,
    rows::{WORK, duration_millis, millis, state, work},
    store::Store,
    work::{EntryId, LedgerJob, Work, WorkOutcome},
};

/// A request that is about to be sent.
#[derive(Clone, Debug)]
pub(crate) struct Intent {
    pub(crate) api: String,
    pub(crate) languages: Vec<Language>,
    pub(crate) request: CreateTranslationRequest,
    /// The request with what identifies its sources in place of their URLs.
    pub(crate) identity: CreateTranslationRequest,
    /// The objects in a store to which the URLs of the request lead.
    pub(crate) staged: Vec<String>,
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

impl Store<'_> {
    /// Stores an intent, unless the ledger has some of its work.
    pub(crate) fn begin(&mut self, intent: &Intent) -> Result<Begin, LedgerError> {
        let path = self.path;
        let failed = |error| failed(path, "write", error);
        let request = serde_json::to_string(&intent.request)
            .map_err(|error| LedgerError::with_source("the request cannot be stored", error))?;
        let hash = |language: &Language| intent.work_hash(language);
        let transaction =
            self.connection.transaction_with_behavior(TransactionBehavior::Immediate).map_err(failed)?;
        let Existing { known, failed: failed_jobs, .. } =
            existing(path, &transaction, intent).map_err(failed)?;
        if intent.allow_duplicate {
            for language in &intent.languages {
                let superseded = "UPDATE jobs SET open = NULL WHERE work = ? AND open = 1";
                execute(&transaction, superseded, [hash(language)]).map_err(failed)?;
            }
        }
        if !known.is_empty() {
            return Ok(Begin::AlreadyThere(known));
        }
        let entry = new_id(&transaction).map_err(failed)?;
        let in_flight =
            InFlight::begin(path, &entry).map_err(|error| io_failed(path, "lock a request beside", error))?;
        let now = SystemTime::now();
        insert_request(&transaction, &entry, &intent.api, now, &request, Some(&intent.identity))
            .map_err(failed)?;
        for url in &intent.staged {
            let insert = "INSERT OR IGNORE INTO staged_uses (url, request) VALUES (?, ?)";
            execute(&transaction, insert, [url.as_str(), entry.as_str()]).map_err(failed)?;
        }
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
            transaction.execute("DELETE FROM staged_uses WHERE request = ?", [entry.as_str()])?;
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
}

impl Intent {
    fn work_hash(&self, language: &Language) -> [u8; 32] {
        let source = SourceId::url(&self.identity.url);
        work_hash(&self.api, &WorkKey::new(&source, language, &self.identity))
    }
}

/// What there is of the work of an intent.
#[derive(Debug, Default)]
pub(crate) struct Existing {
    /// The work that is reused.
    pub(crate) known: Vec<Work>,
    /// The jobs that have failed.
    pub(crate) failed: Vec<LedgerJob>,
    /// The languages for which there is nothing to reuse.
    pub(crate) missing: Vec<Language>,
}

pub(crate) fn existing(path: &Path, connection: &Connection, intent: &Intent) -> rusqlite::Result<Existing> {
    let mut existing = Existing::default();
    if intent.allow_duplicate {
        existing.missing.clone_from(&intent.languages);
        return Ok(existing);
    }
    let latest = format!("{WORK} WHERE work = ? ORDER BY open IS NULL, number DESC LIMIT 1");
    let mut latest = connection.prepare_cached(&latest)?;
    for language in &intent.languages {
        let work = latest.query_row([intent.work_hash(language)], |row| work(path, row)).optional()?;
        match work {
            Some(work) if is_reused(&work) => existing.known.push(work),
            other => {
                if let Some(Work { outcome: WorkOutcome::Created(job), is_forgotten: false, .. }) = other {
                    existing.failed.push(job);
                }
                existing.missing.push(language.clone());
            }
        }
    }
    Ok(existing)
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

/// Identifies the options of a request at an API address: what it costs depends on them and on the video.
pub(crate) fn options_hash(api: &str, request: &CreateTranslationRequest) -> [u8; 32] {
    work_hash(api, &WorkKey::new(&SourceId::url(""), &Language::from(""), request))
}

/// Identifies the video of a request.
pub(crate) fn source_hash(request: &CreateTranslationRequest) -> [u8; 32] {
    Sha256::digest(SourceId::url(&request.url).as_str()).into()
}

/// Executes a statement, and keeps it prepared: preparing takes longer than executing.
fn execute(transaction: &Transaction<'_>, statement: &str, values: impl Params) -> rusqlite::Result<()> {
    transaction.prepare_cached(statement)?.execute(values).map(drop)
}

/// Adds a request. `typed` is what identifies it, if it can be read.
pub(crate) fn insert_request(
    transaction: &Transaction<'_>,
    entry: &EntryId,
    api: &str,
    at: SystemTime,
    request: &str,
    typed: Option<&CreateTranslationRequest>,
) -> rusqlite::Result<()> {
    let insert = "INSERT OR IGNORE INTO requests VALUES (?, ?, ?, ?, ?, ?)";
    let (options, source) = (typed.map(|typed| options_hash(api, typed)), typed.map(source_hash));
    let values = params![entry.as_str(), api, millis(at), request, options, source];
    execute(transaction, insert, values)
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
    execute(transaction, insert, values)
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
            execute(transaction, update, [why, entry.as_str()])
        }
        CreationOutcome::NotCreated(why) => {
            let update =
                "UPDATE jobs SET state = 4, message = ?, open = NULL WHERE request = ? AND state < 2";
            execute(transaction, update, [why, entry.as_str()])
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
    for job in &created.jobs {
        let status = job.status.map(i64::from);
        let changed_at = status.map(|_| millis(now));
        let length = job.video_length.map(duration_millis);
        let Some(language) = &job.language else {
            let insert = "INSERT INTO jobs (request, api, state, job, status, changed_at, credits_held, video_length, work)
                SELECT id, api, 2, ?2, ?3, ?4, ?5, ?6, zeroblob(32) FROM requests WHERE id = ?1";
            let values = params![entry, job.id.as_str(), status, changed_at, job.credits_held, length];
            execute(transaction, insert, values)?;
            continue;
        };
        // A row that somebody took for dead and removed is there again, unless the work was requested once more.
        let update = "UPDATE OR IGNORE jobs SET open = 1
            WHERE request = ?1 AND language = ?2 COLLATE NOCASE AND forgotten = 1";
        execute(transaction, update, [entry, language.code()])?;
        let update = "UPDATE jobs SET state = 2, job = ?3, status = ?4, changed_at = ?5, credits_held = ?6,
                video_length = ?7, message = NULL, forgotten = 0
            WHERE request = ?1 AND language = ?2 COLLATE NOCASE";
        let (language, id) = (language.code(), job.id.as_str());
        let values = params![entry, language, id, status, changed_at, job.credits_held, length];
        execute(transaction, update, values)?;
    }
    for rejection in &created.rejected {
        let Some(language) = &rejection.language else { continue };
        let update = "UPDATE jobs SET state = 3, code = ?3, message = ?4, open = NULL
            WHERE request = ?1 AND language = ?2 COLLATE NOCASE AND state < 2";
        execute(transaction, update, params![entry, language.code(), rejection.code.0, rejection.message])?;
    }
    // Languages that are named nowhere above: the response said nothing clear about them. Last, so that it usually finds
    // no row.
    let update = "UPDATE jobs SET state = 1, message = ? WHERE request = ? AND state < 2";
    execute(transaction, update, ["the response did not name a job", entry])
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
