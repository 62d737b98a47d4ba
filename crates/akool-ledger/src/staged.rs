//! The files of this machine that are in a store for the service to download: which objects there are, which requests
//! need them ([`Staged`]), and which process is working on one ([`StagedLock`]).

use std::{
    ffi::OsString,
    fs::{self, File, TryLockError},
    io,
    path::{Path, PathBuf},
    time::{Duration, SystemTime},
};

use rusqlite::{Row, named_params, params};
use sha2::{Digest, Sha256};

use crate::{
    error::{LedgerError, io_failed},
    ledger::Ledger,
    rows::{PENDING, millis, state, time},
    store::Store,
};

/// How often to try a lock that another process holds.
const LOCK_INTERVAL: Duration = Duration::from_millis(100);

/// An object in a store, to which requests of this ledger lead.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Staged {
    /// The URL of the object, such as `s3://bucket/prefix/talk.mp4`. It grants no access.
    pub url: String,
    /// The name of the file, without its folder.
    pub name: String,
    /// Its length in bytes.
    pub bytes: u64,
    /// When it was uploaded.
    pub staged_at: SystemTime,
    /// Whether it is not to be removed when its jobs have ended.
    pub is_kept: bool,
    /// How many jobs have not ended that were requested with it, or are being requested.
    pub active: u64,
    /// How many jobs may have been created with it: their outcome is unknown.
    pub unknown: u64,
}

impl Staged {
    /// An object that was uploaded just now.
    pub fn new(url: impl Into<String>, name: impl Into<String>, bytes: u64) -> Self {
        let (url, name) = (url.into(), name.into());
        Self { url, name, bytes, staged_at: SystemTime::now(), is_kept: false, active: 0, unknown: 0 }
    }

    /// Whether it is kept when its jobs have ended.
    #[must_use]
    pub fn keep(mut self, is_kept: bool) -> Self {
        self.is_kept = is_kept;
        self
    }

    /// Whether nothing needs it any more.
    pub fn is_left(&self) -> bool {
        !self.is_kept && self.active == 0 && self.unknown == 0
    }
}

/// Holds a lock on an object in a store until it is dropped, or until the process ends.
#[derive(Debug)]
pub struct StagedLock {
    file: File,
    path: PathBuf,
}

impl StagedLock {
    /// Lets other processes use the object too, but not remove it. Another process may have removed it meanwhile: check
    /// [`is_valid`](Self::is_valid), and that the ledger still has it.
    ///
    /// # Errors
    /// If the file system has no locks.
    pub fn share(&self) -> io::Result<()> {
        self.file.unlock()?;
        self.file.lock_shared()
    }

    /// Whether other processes see this lock. They do not if one of them has worked on the object meanwhile.
    pub fn is_valid(&self) -> bool {
        is_at(&self.file, &self.path)
    }
}

impl Drop for StagedLock {
    fn drop(&mut self) {
        // If nobody else uses the file, it is removed. Elsewhere than on Unix, an open file cannot be, and stays.
        if cfg!(unix)
            && self.file.unlock().is_ok()
            && self.file.try_lock().is_ok()
            && is_at(&self.file, &self.path)
        {
            let _ = fs::remove_file(&self.path);
        }
    }
}

/// Whether the open file still has this name: another process may have removed it between opening and locking.
fn is_at(file: &File, path: &Path) -> bool {
    #[cfg(unix)]
    {
        use std::os::unix::fs::MetadataExt;
        let (open, named) = (file.metadata(), path.symlink_metadata());
        open.is_ok_and(|open| named.is_ok_and(|named| (open.dev(), open.ino()) == (named.dev(), named.ino())))
    }
    #[cfg(not(unix))]
    {
        let _ = (file, path);
        true
    }
}

impl Ledger {
    /// Stores that an object was uploaded, or uploaded again. The requests that use it stay.
    ///
    /// # Errors
    /// If the ledger cannot be written.
    pub async fn record_staged(&self, staged: &Staged) -> Result<(), LedgerError> {
        let staged = staged.clone();
        self.run(move |store| store.record_staged(&staged)).await
    }

    /// The objects in stores, oldest first.
    ///
    /// # Errors
    /// If the ledger cannot be read.
    pub async fn staged(&self) -> Result<Vec<Staged>, LedgerError> {
        self.run(|store| store.staged(None)).await
    }

    /// The object with this URL.
    ///
    /// # Errors
    /// If the ledger cannot be read.
    pub async fn staged_at(&self, url: &str) -> Result<Option<Staged>, LedgerError> {
        let url = url.to_owned();
        self.run(move |store| Ok(store.staged(Some(&url))?.pop())).await
    }

    /// Stores that an object was removed from its store.
    ///
    /// # Errors
    /// If the ledger cannot be written.
    pub async fn forget_staged(&self, url: &str) -> Result<(), LedgerError> {
        let url = url.to_owned();
        self.run(move |store| {
            store.write(|transaction| {
                transaction.execute("DELETE FROM staged_uses WHERE url = ?", [&url])?;
                transaction.execute("DELETE FROM staged WHERE url = ?", [&url]).map(drop)
            })
        })
        .await
    }

    /// Stores that an upload in parts has begun, so that it can be aborted if this process does not end it.
    ///
    /// # Errors
    /// If the ledger cannot be written.
    pub async fn begin_upload(&self, url: &str, upload: &str) -> Result<(), LedgerError> {
        let values = [url.to_owned(), upload.to_owned()];
        let insert = "INSERT OR IGNORE INTO uploads (url, upload) VALUES (?, ?)";
        self.run(move |store| store.write(|transaction| transaction.execute(insert, values).map(drop))).await
    }

    /// Stores that an upload in parts was completed or aborted.
    ///
    /// # Errors
    /// If the ledger cannot be written.
    pub async fn end_upload(&self, url: &str, upload: &str) -> Result<(), LedgerError> {
        let values = [url.to_owned(), upload.to_owned()];
        let delete = "DELETE FROM uploads WHERE url = ? AND upload = ?";
        self.run(move |store| store.write(|transaction| transaction.execute(delete, values).map(drop))).await
    }

    /// The uploads in parts that have begun and not ended, as pairs of the URL of the object and the id of the upload.
    ///
    /// # Errors
    /// If the ledger cannot be read.
    pub async fn uploads(&self) -> Result<Vec<(String, String)>, LedgerError> {
        self.run(|store| store.read("SELECT url, upload FROM uploads", [], |row| row.try_into())).await
    }

    /// Waits until no other process works on this object, and locks it. `on_wait` is called once if that takes a while.
    ///
    /// # Errors
    /// If the file of the lock beside the ledger cannot be written, or the file system has no locks.
    pub async fn lock_staged(&self, url: &str, on_wait: impl FnOnce()) -> Result<StagedLock, LedgerError> {
        let mut on_wait = Some(on_wait);
        loop {
            if let Some(lock) = self.try_lock_staged(url)? {
                return Ok(lock);
            }
            if let Some(report) = on_wait.take() {
                report();
            }
            tokio::time::sleep(LOCK_INTERVAL).await;
        }
    }

    /// Locks this object, unless another process works on it or needs it.
    ///
    /// # Errors
    /// As [`lock_staged`](Self::lock_staged).
    pub fn try_lock_staged(&self, url: &str) -> Result<Option<StagedLock>, LedgerError> {
        self.try_lock_with(url, File::try_lock)
    }

    /// Lets other processes use the object too, but not remove it, unless one works on it now. Check that the ledger has
    /// the object.
    ///
    /// # Errors
    /// As [`lock_staged`](Self::lock_staged).
    pub fn try_share_staged(&self, url: &str) -> Result<Option<StagedLock>, LedgerError> {
        self.try_lock_with(url, File::try_lock_shared)
    }

    fn try_lock_with(
        &self,
        url: &str,
        lock: impl Fn(&File) -> Result<(), TryLockError>,
    ) -> Result<Option<StagedLock>, LedgerError> {
        let failed = |error| io_failed(self.path(), "lock an object beside", error);
        let mut options = File::options();
        options.write(true).create(true).truncate(false);
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        let path = lock_path(self.path(), url);
        loop {
            let file = options.open(&path).map_err(failed)?;
            match lock(&file) {
                Ok(()) if is_at(&file, &path) => return Ok(Some(StagedLock { file, path })),
                Ok(()) => {}
                Err(TryLockError::WouldBlock) => return Ok(None),
                Err(TryLockError::Error(error)) => return Err(failed(error)),
            }
        }
    }
}

impl Store<'_> {
    fn record_staged(&mut self, staged: &Staged) -> Result<(), LedgerError> {
        let bytes = i64::try_from(staged.bytes).unwrap_or(i64::MAX);
        self.write(|transaction| {
            let insert =
                "INSERT OR REPLACE INTO staged (url, name, bytes, staged_at, kept) VALUES (?, ?, ?, ?, ?)";
            let values = params![staged.url, staged.name, bytes, millis(staged.staged_at), staged.is_kept];
            transaction.execute(insert, values).map(drop)
        })
    }

    fn staged(&mut self, url: Option<&str>) -> Result<Vec<Staged>, LedgerError> {
        let count = |condition: &str| {
            format!(
                "(SELECT count(*) FROM staged_uses JOIN jobs ON jobs.request = staged_uses.request
                  WHERE staged_uses.url = staged.url AND {PENDING} AND {condition})"
            )
        };
        let (active, unknown) = (count("state <> :unknown"), count("state = :unknown"));
        let select = format!(
            "SELECT url, name, bytes, staged_at, kept, {active}, {unknown} FROM staged
             WHERE :url IS NULL OR url = :url ORDER BY staged_at, url"
        );
        self.read(&select, named_params! { ":url": url, ":unknown": state::UNKNOWN }, staged)
    }
}

fn staged(row: &Row<'_>) -> rusqlite::Result<Staged> {
    let number = |index| row.get::<_, i64>(index).map(|number| u64::try_from(number).unwrap_or_default());
    Ok(Staged {
        url: row.get(0)?,
        name: row.get(1)?,
        bytes: number(2)?,
        staged_at: time(row.get(3)?),
        is_kept: row.get(4)?,
        active: number(5)?,
        unknown: number(6)?,
    })
}

fn lock_path(ledger: &Path, url: &str) -> PathBuf {
    let digest = Sha256::digest(url);
    let digits: String = digest.iter().take(8).map(|byte| format!("{byte:02x}")).collect();
    let mut name = ledger.file_name().map(OsString::from).unwrap_or_default();
    name.push(format!(".staged-{digits}.lock"));
    ledger.with_file_name(name)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use akool::{Client, Credential};

    use super::*;

    fn ledger(folder: &Path) -> Ledger {
        Ledger::open(folder.join("ledger.db")).unwrap()
    }

    /// An API address that refuses connections, so that nothing is created, and its client.
    fn unreachable() -> Client {
        let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let url = format!("http://{closed}");
        Client::builder().credential(Credential::api_key("k").unwrap()).base_url(url).build().unwrap()
    }

    /// Sets the state of all jobs, as an outcome or a poll would.
    fn set(folder: &Path, values: &str) {
        let connection = rusqlite::Connection::open(folder.join("ledger.db")).unwrap();
        connection.execute(&format!("UPDATE jobs SET {values}"), []).unwrap();
    }

    #[tokio::test]
    async fn an_object_is_left_once_all_jobs_have_ended_and_no_outcome_is_unknown() {
        let folder = tempfile::tempdir().unwrap();
        let ledger = ledger(folder.path());
        let url = "s3://bucket/a/talk.mp4";
        ledger.record_staged(&Staged::new(url, "talk.mp4", 9)).await.unwrap();
        assert!(ledger.staged_at(url).await.unwrap().unwrap().is_left());
        let request = unreachable().translate("https://s3.example/talk.mp4?X").to(["es", "fr"]);
        let _ = ledger.translate(request).uses_staged(url).run().await;
        let state = async || {
            let staged = ledger.staged_at(url).await.unwrap().unwrap();
            (staged.active, staged.unknown, staged.is_left())
        };
        // The request was not sent.
        assert_eq!(state().await, (0, 0, true));
        for (values, expected) in [
            ("state = 1", (0, 2, false)),
            ("state = 2, job = 'j'", (2, 0, false)),
            ("state = 2, job = 'j', status = 2", (2, 0, false)),
            ("state = 2, job = 'j', status = 3", (0, 0, true)),
            ("state = 2, job = 'j', status = CASE language WHEN 'es' THEN 4 END", (1, 0, false)),
            ("state = 1, forgotten = 1", (0, 0, true)),
        ] {
            set(folder.path(), values);
            assert_eq!(state().await, expected, "{values}");
        }
        ledger.record_staged(&Staged::new(url, "talk.mp4", 9).keep(true)).await.unwrap();
        assert_eq!(state().await, (0, 0, false), "kept");
        ledger.forget_staged(url).await.unwrap();
        assert_eq!(ledger.staged().await.unwrap(), []);
    }

    #[tokio::test]
    async fn a_ledger_of_the_first_version_is_extended() {
        let folder = tempfile::tempdir().unwrap();
        drop(ledger(folder.path()));
        let connection = rusqlite::Connection::open(folder.path().join("ledger.db")).unwrap();
        let undo = "DROP TABLE staged; DROP TABLE staged_uses; DROP TABLE uploads; PRAGMA user_version = 1;";
        connection.execute_batch(undo).unwrap();
        drop(connection);
        let ledger = ledger(folder.path());
        ledger.record_staged(&Staged::new("s3://b/x", "x", 1)).await.unwrap();
        assert_eq!(ledger.staged().await.unwrap().len(), 1);
    }

    #[tokio::test]
    async fn an_upload_is_known_until_it_ends() {
        let folder = tempfile::tempdir().unwrap();
        let ledger = ledger(folder.path());
        ledger.begin_upload("s3://b/x", "one").await.unwrap();
        ledger.begin_upload("s3://b/x", "two").await.unwrap();
        ledger.end_upload("s3://b/x", "one").await.unwrap();
        assert_eq!(ledger.uploads().await.unwrap(), [("s3://b/x".to_owned(), "two".to_owned())]);
    }

    #[tokio::test]
    async fn an_object_in_use_is_not_locked_by_others() {
        let folder = tempfile::tempdir().unwrap();
        let (one, other) = (ledger(folder.path()), ledger(folder.path()));
        let lock = one.lock_staged("s3://b/x", || {}).await.unwrap();
        assert!(other.try_lock_staged("s3://b/x").unwrap().is_none());
        assert!(other.try_lock_staged("s3://b/y").unwrap().is_some());
        assert!(other.try_share_staged("s3://b/x").unwrap().is_none());
        lock.share().unwrap();
        assert!(other.try_lock_staged("s3://b/x").unwrap().is_none());
        assert!(other.try_share_staged("s3://b/x").unwrap().is_some());
        let waited = Arc::new(std::sync::atomic::AtomicBool::new(false));
        let seen = Arc::clone(&waited);
        let wait = tokio::spawn(async move {
            other
                .lock_staged("s3://b/x", move || seen.store(true, std::sync::atomic::Ordering::Relaxed))
                .await
        });
        while !waited.load(std::sync::atomic::Ordering::Relaxed) {
            tokio::task::yield_now().await;
        }
        assert!(lock.is_valid());
        drop(lock);
        drop(wait.await.unwrap().unwrap());
        let names: Vec<_> =
            fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        assert!(!names.iter().any(|name| name.to_string_lossy().ends_with(".lock")), "{names:?}");
    }
}
