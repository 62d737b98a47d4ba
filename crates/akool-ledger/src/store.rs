//! What a ledger knows of jobs, and how it changes. Everything here blocks; [`Ledger`](crate::Ledger) calls it on other threads.

use std::{
    collections::BTreeSet,
    path::Path,
    time::{Duration, SystemTime},
};

use akool::{JobId, Language, Snapshot, Status, redact};
use rusqlite::{Connection, Row, Transaction, TransactionBehavior, named_params, params};

use crate::{
    durations::Durations,
    error::{LedgerError, failed},
    in_flight::{is_in_flight, remove_left},
    rows::{FILE, PENDING, WORK, duration_millis, in_flight, millis, pending_work, saved_file, work},
    work::{EntryId, FILES_KEPT, Filter, SavedFile, Work, WorkOutcome},
};

/// Files are expiring if they are kept for less than this.
const EXPIRING_WITHIN: Duration = Duration::from_secs(24 * 60 * 60);
/// Jobs whose files expire soon and whose video was not saved.
const EXPIRING: &str = "forgotten = 0 AND state = 2 AND status IS NOT 4
    AND requested_at > :over AND requested_at <= :soon
    AND NOT EXISTS (SELECT 1 FROM files WHERE files.job = jobs.job AND kind = 'video')";

/// How many ended jobs the poll policy is learned from.
const LEARNED_FROM: u32 = 1000;

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
            return fail(format!("{entry} is not in the ledger; `akool jobs --all` lists the entries"));
        }
        if works.iter().any(Work::is_in_flight) {
            return fail(format!("a running process is creating {entry}; wait for its outcome"));
        }
        let unknown = works.iter().filter(|work| matches!(work.outcome, WorkOutcome::Unknown { .. }));
        let unknown: Vec<_> = unknown.filter_map(|work| work.language.as_ref()).collect();
        let language = match (language, &unknown[..]) {
            (Some(language), _) => match unknown.iter().find(|unknown| unknown.is(language)) {
                Some(language) => *language,
                None => {
                    return fail(format!(
                        "{language} in {entry} already has an outcome; there is nothing to record"
                    ));
                }
            },
            (None, [only]) => *only,
            (None, []) => return fail(format!("{entry} already has an outcome; there is nothing to record")),
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
                let text =
                    format!("{language} in {entry} already has an outcome; there is nothing to record");
                return Err(LedgerError::new(text));
            }
            None if selected.is_empty() => {
                let text = format!("no outcome in {entry} is unknown; a job is removed by its id");
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
        let (work_of, pending) =
            if filter.pending { (pending_work(), PENDING) } else { (WORK.to_owned(), "true") };
        let api = if filter.api.is_some() { "jobs.api = :api" } else { ":api IS NULL" };
        let job = if filter.job.is_some() { "job = :job" } else { ":job IS NULL" };
        let entry = if filter.entry.is_some() { "jobs.request = :entry" } else { ":entry IS NULL" };
        let expiring = if filter.expiring { EXPIRING } else { ":over IS NULL AND :soon IS NULL" };
        let id = filter.job.as_ref().map(JobId::as_str);
        let entry_id = filter.entry.as_ref().map(EntryId::as_str);
        let now = millis(SystemTime::now());
        let before = |age: Duration| filter.expiring.then(|| now - duration_millis(age));
        // A job whose language is not known stands for all languages of its request.
        let select = format!(
            "{work_of} WHERE {pending} AND {api} AND {job} AND {entry} AND {expiring} AND NOT (state = 1 AND EXISTS (SELECT 1 FROM jobs AS other WHERE \
             other.request = jobs.request AND other.state = 2 AND other.language IS NULL)) ORDER BY number"
        );
        let path = self.path;
        let values = named_params! {
            ":api": filter.api, ":job": id, ":entry": entry_id, ":over": before(FILES_KEPT), ":soon": before(FILES_KEPT - EXPIRING_WITHIN),
        };
        self.read(&select, values, |row| work(path, row))
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

    pub(crate) fn read<T>(
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
    pub(crate) fn write(
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

#[cfg(test)]
mod tests;
