//! Opens the database: its folder, its settings, and the versions of its schema.

use std::{
    fs::{self, File, OpenOptions},
    path::Path,
    thread,
    time::{Duration, Instant},
};

use rusqlite::{Connection, ErrorCode, TransactionBehavior};

use crate::error::{LedgerError, failed, io_failed};

/// How long to wait for other processes. Each of them holds the lock only for a few writes.
const BUSY_TIMEOUT: Duration = Duration::from_secs(30);
/// Marks the file as a ledger: "AKOL".
const APPLICATION_ID: i32 = 0x414b_4f4c;

/// How to get from each version of the schema to the next one. Versions only go forward.
const MIGRATIONS: [&str; 2] = [
    // Times are milliseconds since 1970, durations are milliseconds.
    "CREATE TABLE requests (
        id TEXT NOT NULL PRIMARY KEY,
        api TEXT NOT NULL,
        requested_at INTEGER NOT NULL,
        -- As it was sent, as JSON.
        request TEXT NOT NULL,
        -- SHA-256 of API address and options, and of the source. NULL if the request is that of an earlier version and
        -- cannot be read.
        options BLOB,
        source BLOB
    ) STRICT, WITHOUT ROWID;
    CREATE INDEX requests_by_time ON requests (requested_at);
    CREATE INDEX requests_by_options ON requests (options, requested_at);
    CREATE INDEX requests_by_source ON requests (source, options, requested_at);

    CREATE TABLE jobs (
        number INTEGER PRIMARY KEY,
        request TEXT NOT NULL REFERENCES requests (id),
        api TEXT NOT NULL,
        -- NULL if the response did not say which of several it is.
        language TEXT,
        -- 0: in flight, 1: outcome unknown, 2: created, 3: rejected, 4: not created
        state INTEGER NOT NULL,
        -- Why the outcome is unknown or nothing was created, what the service said, or why the job failed.
        message TEXT,
        -- The business code of a rejection.
        code INTEGER,
        job TEXT,
        status INTEGER,
        changed_at INTEGER,
        -- The job's age at the last poll before its end, and at the poll that noticed it.
        running_until INTEGER,
        ended_by INTEGER,
        video_length INTEGER,
        credits_held REAL,
        credits_charged REAL,
        forgotten INTEGER NOT NULL DEFAULT 0,
        -- SHA-256 of API address and work key.
        work BLOB NOT NULL,
        -- 1 while equal requests reuse this row, otherwise NULL.
        open INTEGER,
        UNIQUE (work, open)
    ) STRICT;
    CREATE INDEX jobs_by_request ON jobs (request);
    CREATE INDEX jobs_by_id ON jobs (job) WHERE job IS NOT NULL;
    CREATE INDEX pending_jobs ON jobs (api)
        WHERE forgotten = 0 AND (state < 2 OR state = 2 AND (status IS NULL OR status NOT IN (3, 4)));
    CREATE INDEX ended_jobs ON jobs (api) WHERE ended_by IS NOT NULL;

    -- The files that were saved.
    CREATE TABLE files (
        job TEXT NOT NULL,
        -- As it is named in the URLs of files and in JSON.
        kind TEXT NOT NULL,
        path TEXT NOT NULL,
        bytes INTEGER NOT NULL,
        sha256 BLOB NOT NULL,
        saved_at INTEGER NOT NULL,
        PRIMARY KEY (job, kind, path)
    ) STRICT, WITHOUT ROWID;
    CREATE INDEX files_by_path ON files (path);

    -- The ledgers of earlier versions that were imported, by the SHA-256 of the file.
    CREATE TABLE imports (sha256 BLOB NOT NULL PRIMARY KEY, imported_at INTEGER NOT NULL) STRICT, WITHOUT ROWID;",
    // The files of this machine that are in a store for the service to download, by the URL of the object.
    "CREATE TABLE staged (
        url TEXT NOT NULL PRIMARY KEY,
        name TEXT NOT NULL,
        bytes INTEGER NOT NULL,
        staged_at INTEGER NOT NULL,
        kept INTEGER NOT NULL
    ) STRICT, WITHOUT ROWID;

    -- The requests whose links lead to an object.
    CREATE TABLE staged_uses (
        url TEXT NOT NULL,
        request TEXT NOT NULL REFERENCES requests (id),
        PRIMARY KEY (url, request)
    ) STRICT, WITHOUT ROWID;
    CREATE INDEX staged_uses_by_request ON staged_uses (request);

    -- The uploads in parts that have begun and not ended. A store keeps their parts until they are aborted.
    CREATE TABLE uploads (
        url TEXT NOT NULL,
        upload TEXT NOT NULL,
        PRIMARY KEY (url, upload)
    ) STRICT, WITHOUT ROWID;",
];

/// Opens the database of this file, and creates it if it does not exist.
pub(crate) fn open(path: &Path) -> Result<Connection, LedgerError> {
    create_file(path)?;
    let failed = |error| failed(path, "open", error);
    let mut connection = Connection::open(path).map_err(failed)?;
    connection.busy_timeout(BUSY_TIMEOUT).map_err(failed)?;
    check_kind(path, &connection)?;
    use_wal(&connection).map_err(failed)?;
    connection.pragma_update(None, "synchronous", "FULL").map_err(failed)?;
    connection.pragma_update(None, "foreign_keys", true).map_err(failed)?;
    // In KiB. The default of 2 MiB holds the indexes of a few thousand jobs.
    connection.pragma_update(None, "cache_size", -16 * 1024).map_err(failed)?;
    migrate(path, &mut connection)?;
    Ok(connection)
}

/// Switches a new database to write-ahead logging. SQLite does not wait for the lock that this needs.
fn use_wal(connection: &Connection) -> rusqlite::Result<()> {
    let began = Instant::now();
    loop {
        match connection.pragma_update(None, "journal_mode", "WAL") {
            Err(error) if is_busy(&error) && began.elapsed() < BUSY_TIMEOUT => {
                thread::sleep(Duration::from_millis(5));
            }
            switched => return switched,
        }
    }
}

fn is_busy(error: &rusqlite::Error) -> bool {
    matches!(error.sqlite_error_code(), Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked))
}

/// Creates the file and its folder, readable only by this user. SQLite gives the files beside it the same permissions.
fn create_file(path: &Path) -> Result<(), LedgerError> {
    if let Ok(found) = path.metadata() {
        return match found.is_file() {
            true => Ok(()),
            false => Err(LedgerError::new(format!(
                "cannot open the ledger {}: it is not a regular file",
                path.display()
            ))),
        };
    }
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let mut builder = fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(folder).map_err(|error| {
        LedgerError::with_source(
            format!("cannot create the folder {} for the ledger", folder.display()),
            error,
        )
    })?;
    let mut options = OpenOptions::new();
    options.write(true).create(true).truncate(false);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(path).map_err(|error| io_failed(path, "create", error))?;
    // The name of the new file must survive a power failure. Not every system can sync a folder.
    let _ = File::open(folder).and_then(|folder| folder.sync_all());
    Ok(())
}

/// Refuses a database of another program, before anything is written to it.
fn check_kind(path: &Path, connection: &Connection) -> Result<(), LedgerError> {
    let failed = |error| failed(path, "open", error);
    // In one statement, because another process may be creating the tables.
    let select = "SELECT application_id, (SELECT count(*) FROM sqlite_schema) FROM pragma_application_id";
    let (id, tables): (i32, i64) =
        connection.query_row(select, [], |row| Ok((row.get(0)?, row.get(1)?))).map_err(failed)?;
    if id == APPLICATION_ID || (id == 0 && tables == 0) {
        return Ok(());
    }
    Err(LedgerError::new(format!(
        "{} is the database of another program; choose another file",
        path.display()
    )))
}

fn migrate(path: &Path, connection: &mut Connection) -> Result<(), LedgerError> {
    let failed = |error| failed(path, "prepare", error);
    let version = |connection: &Connection| -> rusqlite::Result<usize> {
        let version = connection.pragma_query_value(None, "user_version", |row| row.get::<_, i64>(0))?;
        Ok(usize::try_from(version).unwrap_or(usize::MAX))
    };
    // Most processes find nothing to do, and need no lock.
    if check_version(path, version(connection).map_err(failed)?)? == MIGRATIONS.len() {
        return Ok(());
    }
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate).map_err(failed)?;
    // Another process may have done it meanwhile.
    let current = check_version(path, version(&transaction).map_err(failed)?)?;
    for migration in &MIGRATIONS[current..] {
        transaction.execute_batch(migration).map_err(failed)?;
    }
    transaction.pragma_update(None, "application_id", APPLICATION_ID).map_err(failed)?;
    transaction.pragma_update(None, "user_version", MIGRATIONS.len() as i64).map_err(failed)?;
    transaction.commit().map_err(failed)
}

/// Refuses a file of a later version.
fn check_version(path: &Path, version: usize) -> Result<usize, LedgerError> {
    let known = MIGRATIONS.len();
    if version <= known {
        return Ok(version);
    }
    Err(LedgerError::new(format!(
        "a later version of this program has written the ledger {} (schema {version}, and this program knows {known}); \
         use that version",
        path.display()
    )))
}
