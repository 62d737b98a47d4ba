//! Which requests are being made now: [`InFlight`].
//!
//! A process holds a lock on a file beside the ledger while it makes a request. The lock ends with the process, however
//! that ends. So a request in flight and one whose outcome is unknown are told apart without guessing by age. The
//! database file itself must not be locked by hand: closing it would drop the locks of SQLite.

use std::{
    ffi::OsString,
    fs::{self, File, OpenOptions, TryLockError},
    io,
    path::{Path, PathBuf},
};

use crate::work::EntryId;

/// A request that this process is making. It is over when this is dropped.
#[derive(Debug)]
pub(crate) struct InFlight {
    path: PathBuf,
    _locked: File,
}

impl InFlight {
    /// Marks a request as in flight.
    pub(crate) fn begin(ledger: &Path, entry: &EntryId) -> io::Result<Self> {
        let path = lock_path(ledger, entry);
        let mut options = OpenOptions::new();
        options.write(true).create(true).truncate(false);
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        let locked = options.open(&path)?;
        locked.try_lock()?;
        Ok(Self { path, _locked: locked })
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        // A file that stays does no harm: nobody holds its lock.
        let _ = fs::remove_file(&self.path);
    }
}

/// Whether a running process is making this request.
pub(crate) fn is_in_flight(ledger: &Path, entry: &EntryId) -> bool {
    let Ok(file) = File::open(lock_path(ledger, entry)) else { return false };
    matches!(file.try_lock_shared(), Err(TryLockError::WouldBlock))
}

/// Removes what a process that was killed left.
pub(crate) fn remove_left(ledger: &Path, entry: &EntryId) {
    let _ = fs::remove_file(lock_path(ledger, entry));
}

fn lock_path(ledger: &Path, entry: &EntryId) -> PathBuf {
    let mut name = ledger.file_name().map(OsString::from).unwrap_or_default();
    name.push(format!(".{entry}.lock"));
    ledger.with_file_name(name)
}
