//! The open temporary file of a download, on the thread that works on it: [`Writer`].

use std::{
    fs::File,
    io::{self, IoSlice, Read as _, Seek as _, Write as _},
    path::{Path, PathBuf},
    sync::Arc,
};

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use tempfile::TempPath;

use crate::{
    lock::{lock, not_a_file},
    version::Version,
};

/// How many bytes are read back at a time to be hashed.
const READ_BACK: usize = 256 * 1024;

/// What is stored beside the part.
#[derive(Default, Deserialize, Serialize)]
pub(crate) struct Stored {
    /// Missing in what an earlier version of this crate stored. It gave each file a name of its own.
    pub(crate) file: Option<String>,
    #[serde(flatten)]
    pub(crate) version: Version,
}

/// The open file. A second file beside it has its [`Version`], and exists only while the first has nothing but bytes of
/// that version: the process can be killed at any time.
///
/// Dropping this keeps both files if a later download can resume them. It happens on the thread that works on the
/// file, which is locked until then.
pub(crate) struct Writer {
    file: Arc<File>,
    /// Its path, until it is renamed.
    path: Option<TempPath>,
    beside: Beside,
    /// The hash of the written data, if it is needed.
    hash: Option<Sha256>,
}

/// The version of the part, and whether it is stored beside it.
enum Beside {
    /// The part cannot be resumed.
    NotResumable,
    /// Not stored yet: a file that arrives at once does not need it.
    Due(Stored),
    Stored,
}

/// What is written at once.
#[derive(Default)]
pub(crate) struct Batch {
    /// Discards what was written before.
    pub(crate) restart: Option<Restart>,
    pub(crate) chunks: Vec<Bytes>,
}

/// What is written after a restart.
pub(crate) struct Restart {
    pub(crate) stored: Stored,
    /// Whether it is hashed.
    pub(crate) hash: bool,
}

/// What the part of a file is used for.
#[derive(Clone, Debug)]
pub(crate) struct Options {
    /// Identifies the job and the kind of file. Another file can have the same name on disk.
    pub(crate) file: String,
    /// Whether the hash is needed also if the server sends no checksum.
    pub(crate) hash: bool,
    /// What the part becomes.
    pub(crate) target: PathBuf,
    /// Whether a file that exists is replaced even if it is not empty.
    pub(crate) overwrite: bool,
}

/// What there is of a file.
pub(crate) enum Opened {
    /// The part of an earlier download, or a new one, with its length and version.
    Part(Box<Writer>, u64, Version),
    /// The file itself, of so many bytes, which is not replaced; or why there cannot be one.
    Exists(io::Result<u64>),
}

impl Writer {
    /// Returns `None` if another download is writing the part.
    pub(crate) fn open(part: &Path, options: &Options) -> io::Result<Option<Opened>> {
        let Some(mut locked) = lock(part)? else { return Ok(None) };
        let mut version = read_version(part, &options.file);
        let bytes = resumed_length(&version, locked.metadata()?.len());
        if bytes == 0 {
            version = Version::default();
        } else {
            locked.set_len(bytes)?;
            locked.seek(io::SeekFrom::End(0))?;
        }
        let writer = Self {
            file: Arc::new(locked),
            path: Some(TempPath::try_from_path(part)?),
            beside: if version.is_resumable() { Beside::Stored } else { Beside::NotResumable },
            hash: None,
        };
        // Another download may have saved the file before it released the part.
        Ok(Some(match existing(&options.target, options.overwrite).transpose() {
            Some(found) => Opened::Exists(found),
            None => Opened::Part(Box::new(writer), bytes, version),
        }))
    }

    /// The file, for another thread that waits until its data is on the disk.
    pub(crate) fn file(&self) -> Arc<File> {
        Arc::clone(&self.file)
    }

    /// Writes what has arrived. Stores its version first, unless it is the end of the file.
    pub(crate) fn write(&mut self, batch: Batch, is_end: bool) -> io::Result<()> {
        if let Some(restart) = batch.restart {
            self.restart(restart)?;
        }
        if !is_end {
            self.store_version()?;
        }
        write_all(&self.file, &batch.chunks)?;
        if let Some(hash) = &mut self.hash {
            batch.chunks.iter().for_each(|chunk| hash.update(chunk));
        }
        Ok(())
    }

    /// Writes the file to disk and then renames it, so that the name always means a complete file. Fails if there is
    /// another file of that name, unless it is overwritten or empty.
    pub(crate) fn finish(&mut self, Options { target, overwrite, .. }: &Options) -> io::Result<()> {
        self.file.sync_all()?;
        if existing(target, *overwrite)?.is_some() {
            return Err(io::Error::new(io::ErrorKind::AlreadyExists, "another program has created the file"));
        }
        if let Some(part) = self.path.take() {
            remove_version(&part)?;
            part.persist(target)?;
        }
        // The new name must survive a crash too. Not every system can sync a folder.
        if let Some(folder) = target.parent() {
            let _ = File::open(folder).and_then(|folder| folder.sync_all());
        }
        Ok(())
    }

    /// Returns the SHA-256 of what was written.
    pub(crate) fn sha256(&mut self) -> io::Result<[u8; 32]> {
        let hash = match &self.hash {
            Some(hash) => hash.clone(),
            None => {
                // The data was not hashed when it arrived, so it is read back.
                let mut file = &*self.file;
                file.rewind()?;
                self.hash.insert(hash_all(file)?).clone()
            }
        };
        Ok(hash.finalize().into())
    }

    fn restart(&mut self, Restart { stored, hash }: Restart) -> io::Result<()> {
        self.beside = Beside::NotResumable;
        if let Some(part) = &self.path {
            remove_version(part)?;
        }
        self.hash = hash.then(Sha256::new);
        self.file.set_len(0)?;
        (&*self.file).rewind()?;
        if stored.version.is_resumable() {
            self.beside = Beside::Due(stored);
        }
        Ok(())
    }

    fn store_version(&mut self) -> io::Result<()> {
        if let (Beside::Due(stored), Some(part)) = (&self.beside, &self.path) {
            write_version(part, stored)?;
            self.beside = Beside::Stored;
        }
        Ok(())
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        let is_empty = self.file.metadata().is_ok_and(|found| found.len() == 0);
        let is_kept = !is_empty && self.store_version().is_ok() && matches!(self.beside, Beside::Stored);
        if let Some(mut path) = self.path.take() {
            if !is_kept {
                let _ = remove_version(&path);
            }
            path.disable_cleanup(is_kept);
        }
    }
}

/// Writes all chunks with as few calls of the system as possible.
fn write_all(mut file: &File, chunks: &[Bytes]) -> io::Result<()> {
    let mut slices: Vec<_> = chunks.iter().map(|chunk| IoSlice::new(chunk)).collect();
    let mut slices = slices.as_mut_slice();
    // Skips what is empty, which `write_vectored` does not.
    IoSlice::advance_slices(&mut slices, 0);
    while !slices.is_empty() {
        match file.write_vectored(slices) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(written) => IoSlice::advance_slices(&mut slices, written),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// Returns the length of a file that is not replaced.
pub(crate) fn existing(path: &Path, overwrite: bool) -> io::Result<Option<u64>> {
    match path.symlink_metadata() {
        // No file of a translation is empty, so an empty one is not the result of a download.
        Ok(found) if found.is_file() && found.len() > 0 && !overwrite => Ok(Some(found.len())),
        Ok(found) if found.is_file() => Ok(None),
        Ok(_) => Err(not_a_file()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// Removes what an earlier download left, if no process is writing it. The file exists under its own name.
pub(crate) fn remove_stale(part: &Path) {
    let is_left = |path: &Path| path.symlink_metadata().is_ok();
    // The lock creates a part if only the version is left.
    if (is_left(part) || is_left(&version_path(part)))
        && let Ok(Some(_locked)) = lock(part)
    {
        let _ = remove_version(part);
        let _ = std::fs::remove_file(part);
    }
}

/// Returns how many bytes of a part of that length are kept. At least the last byte of the file is requested, so that
/// the server confirms the version.
fn resumed_length(version: &Version, length: u64) -> u64 {
    match version.total {
        _ if !version.is_resumable() => 0,
        Some(total) if length > total => 0,
        Some(total) => length.min(total.saturating_sub(1)),
        None => length,
    }
}

fn version_path(part: &Path) -> PathBuf {
    let mut path = part.as_os_str().to_owned();
    path.push(".json");
    path.into()
}

/// Returns an empty version if there is none for this file, or if it was not completely written.
fn read_version(part: &Path, file: &str) -> Version {
    let text = std::fs::read(version_path(part)).unwrap_or_default();
    let stored: Stored = serde_json::from_slice(&text).unwrap_or_default();
    if stored.file.is_none_or(|stored| stored == file) { stored.version } else { Version::default() }
}

fn write_version(part: &Path, stored: &Stored) -> io::Result<()> {
    // `create_new` does not follow symbolic links.
    File::create_new(version_path(part))?.write_all(&serde_json::to_vec(stored)?)
}

/// Returns the SHA-256 of a file. This blocks.
///
/// # Errors
/// If the file cannot be read.
pub fn sha256_of(path: &Path) -> io::Result<[u8; 32]> {
    Ok(hash_all(&File::open(path)?)?.finalize().into())
}

fn hash_all(mut file: &File) -> io::Result<Sha256> {
    let mut hash = Sha256::new();
    let mut block = vec![0; READ_BACK];
    loop {
        match file.read(&mut block)? {
            0 => return Ok(hash),
            bytes => hash.update(&block[..bytes]),
        }
    }
}

fn remove_version(part: &Path) -> io::Result<()> {
    match std::fs::remove_file(version_path(part)) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_an_earlier_download_left_is_removed() {
        let folder = tempfile::tempdir().unwrap();
        let part = folder.path().join("a.part");
        let left = || std::fs::read_dir(folder.path()).unwrap().count();
        for files in [&[&part][..], &[&version_path(&part)], &[&part, &version_path(&part)], &[]] {
            files.iter().for_each(|file| std::fs::write(file, "{}").unwrap());
            assert_eq!(left(), files.len());
            remove_stale(&part);
            assert_eq!(left(), 0, "{files:?}");
        }
        remove_version(&part).unwrap();
        std::fs::create_dir(version_path(&part)).unwrap();
        assert!(remove_version(&part).is_err());
    }

    #[test]
    fn a_part_is_resumed_before_its_last_byte_and_only_with_a_validator() {
        let version = |etag: Option<&str>, total| Version {
            etag: etag.map(str::to_owned),
            total,
            ..Version::default()
        };
        let tag = Some("\"1\"");
        assert_eq!(resumed_length(&version(tag, Some(10)), 5), 5);
        assert_eq!(resumed_length(&version(tag, Some(10)), 10), 9);
        assert_eq!(resumed_length(&version(tag, Some(10)), 11), 0);
        assert_eq!(resumed_length(&version(tag, None), 5), 5);
        assert_eq!(resumed_length(&version(tag, Some(0)), 0), 0);
        assert_eq!(resumed_length(&version(None, Some(10)), 5), 0);
    }
}
