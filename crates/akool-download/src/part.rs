//! The disk half of a download: [`Part`] is the temporary file, written by another thread, and renamed at the end.

use std::{
    io::{self, Read as _, Seek as _, Write as _},
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use tempfile::TempPath;
use tokio::task::JoinHandle;

use crate::{error::DownloadError, lock::lock, sink::Sink, version::Version};

/// A batch is written when it has this many bytes,
const MAX_BATCH_BYTES: usize = 256 * 1024;
/// or this many chunks,
const MAX_BATCH_CHUNKS: usize = 1024;
/// or when it is this old, so that a slow download that is killed loses little.
const MAX_BATCH_AGE: Duration = Duration::from_secs(1);
/// The pause before a locked file is opened again, and the number of attempts after which the wait is reported. A
/// download that was dropped in this process keeps its lock until its last write is done.
const LOCK_PAUSE: Duration = Duration::from_millis(50);
const UNREPORTED_ATTEMPTS: u32 = 20;

/// An incomplete file. Another thread writes to disk while more data arrives.
pub(crate) struct Part {
    path: PathBuf,
    disk: Disk,
    /// Data that has arrived and was not yet passed to the other thread.
    batch: Vec<Bytes>,
    batched: usize,
    batched_since: Instant,
    bytes: u64,
    version: Version,
    options: Options,
}

/// What the part of a file is used for.
#[derive(Clone, Debug)]
pub(crate) struct Options {
    /// Identifies the job and the kind of file. Another file can have the same name on disk.
    pub(crate) file: String,
    /// Whether the hash is needed also if the server sends no checksum.
    pub(crate) hash: bool,
}

/// What is stored beside the part.
#[derive(Default, Deserialize, Serialize)]
struct Stored {
    /// Missing in what an earlier version of this crate stored. It gave each file a name of its own.
    file: Option<String>,
    #[serde(flatten)]
    version: Version,
}

/// The open file. A second file beside it has its [`Version`], and exists only while the first has nothing but bytes of
/// that version: the process can be killed at any time.
///
/// Dropping this keeps both files if a later download can resume them. It happens on the thread that works on the
/// file, which is locked until then.
struct Writer {
    file: io::BufWriter<std::fs::File>,
    /// Its path, until it is renamed.
    path: Option<TempPath>,
    is_resumable: bool,
    /// The hash of the written data, if the server sent a checksum to compare it with.
    hash: Option<Sha256>,
}

enum Disk {
    Idle(Writer),
    /// Another thread is working on the file.
    Busy(JoinHandle<(Writer, io::Result<()>)>),
    /// The other thread never ran, because the runtime is shutting down.
    Gone,
}

impl Part {
    /// Opens the part of an earlier download, or creates one. Waits while another download is writing it, which is
    /// reported once.
    pub(crate) async fn open(
        path: PathBuf,
        options: Options,
        on_wait: impl FnOnce(),
    ) -> Result<Self, DownloadError> {
        let at = |source| DownloadError::Io { path: path.clone(), source };
        let mut attempts = 0;
        let mut on_wait = Some(on_wait);
        let mut file = loop {
            if let Some(file) = lock(&path).map_err(at)? {
                break file;
            }
            attempts += 1;
            if attempts == UNREPORTED_ATTEMPTS
                && let Some(report) = on_wait.take()
            {
                report();
            }
            tokio::time::sleep(LOCK_PAUSE).await;
        };
        let mut version = read_version(&path, &options.file);
        let bytes = resumed_length(&version, file.metadata().map_err(at)?.len());
        if bytes == 0 {
            version = Version::default();
        } else {
            file.set_len(bytes).and_then(|()| file.seek(io::SeekFrom::End(0))).map_err(at)?;
        }
        let writer = Writer {
            file: io::BufWriter::new(file),
            path: Some(TempPath::try_from_path(&path).map_err(at)?),
            is_resumable: version.is_resumable(),
            hash: None,
        };
        Ok(Self {
            path,
            disk: Disk::Idle(writer),
            batch: Vec::new(),
            batched: 0,
            batched_since: Instant::now(),
            bytes,
            version,
            options,
        })
    }

    /// Passes the batch to the other thread, after the work before it is done.
    async fn write_batch(&mut self) -> Result<(), DownloadError> {
        let batch = std::mem::take(&mut self.batch);
        self.batched = 0;
        self.batched_since = Instant::now();
        self.work(move |writer| {
            for chunk in batch {
                writer.file.write_all(&chunk)?;
                if let Some(hash) = &mut writer.hash {
                    hash.update(&chunk);
                }
            }
            Ok(())
        })
        .await
    }

    /// Writes the file to disk and then renames it, so that the name always means a complete file. Fails if there is
    /// another file of that name, unless it is overwritten or empty.
    pub(crate) async fn finish(mut self, path: &Path, overwrite: bool) -> Result<(), DownloadError> {
        self.flush().await?;
        let target = path.to_owned();
        self.path = path.to_owned();
        self.work(move |writer| {
            writer.file.get_ref().sync_all()?;
            if !overwrite && target.symlink_metadata().is_ok_and(|found| !found.is_file() || found.len() > 0)
            {
                return Err(io::Error::new(
                    io::ErrorKind::AlreadyExists,
                    "another program has created the file",
                ));
            }
            if let Some(part) = writer.path.take() {
                remove_version(&part)?;
                part.persist(target)?;
            }
            Ok(())
        })
        .await?;
        self.written().await?;
        // The new name must survive a crash too. Not every system can sync a folder.
        if let Some(folder) = path.parent()
            && let Ok(folder) = tokio::fs::File::open(folder).await
        {
            let _ = folder.sync_all().await;
        }
        Ok(())
    }

    /// Lets another thread work on the file, after the work before it is done. The next call returns the result of
    /// this work.
    async fn work(
        &mut self,
        work: impl FnOnce(&mut Writer) -> io::Result<()> + Send + 'static,
    ) -> Result<(), DownloadError> {
        self.written().await?;
        if let Disk::Idle(mut writer) = std::mem::replace(&mut self.disk, Disk::Gone) {
            self.disk = Disk::Busy(tokio::task::spawn_blocking(move || {
                let worked = work(&mut writer);
                (writer, worked)
            }));
        }
        Ok(())
    }

    /// Waits until the work is done.
    async fn written(&mut self) -> Result<(), DownloadError> {
        let done = match &mut self.disk {
            Disk::Idle(_) => Ok(()),
            Disk::Gone => Err(io::Error::other("the runtime is shutting down")),
            Disk::Busy(work) => match work.await {
                Ok((writer, worked)) => {
                    self.disk = Disk::Idle(writer);
                    worked
                }
                Err(error) => {
                    self.disk = Disk::Gone;
                    Err(io::Error::other(error))
                }
            },
        };
        done.map_err(|source| DownloadError::Io { path: self.path.clone(), source })
    }
}

impl Sink for Part {
    fn position(&self) -> u64 {
        self.bytes
    }

    fn version(&self) -> &Version {
        &self.version
    }

    async fn restart(&mut self, version: Version) -> Result<(), DownloadError> {
        self.batch.clear();
        self.batched = 0;
        self.bytes = 0;
        self.version = version.clone();
        let path = self.path.clone();
        let Options { file, hash } = self.options.clone();
        self.work(move |writer| {
            remove_version(&path)?;
            writer.is_resumable = false;
            writer.hash = (hash || version.has_checksum()).then(Sha256::new);
            writer.file.flush()?;
            writer.file.get_mut().set_len(0)?;
            writer.file.rewind()?;
            if version.is_resumable() {
                write_version(&path, Stored { file: Some(file), version })?;
                writer.is_resumable = true;
            }
            Ok(())
        })
        .await?;
        self.written().await
    }

    async fn write(&mut self, chunk: Bytes) -> Result<(), DownloadError> {
        self.bytes += chunk.len() as u64;
        self.batched += chunk.len();
        self.batch.push(chunk);
        if is_full(self.batched, self.batch.len(), self.batched_since.elapsed()) {
            self.write_batch().await?;
        }
        Ok(())
    }

    async fn flush(&mut self) -> Result<(), DownloadError> {
        self.write_batch().await?;
        self.work(|writer| writer.file.flush()).await?;
        self.written().await
    }

    async fn sha256(&mut self) -> Result<[u8; 32], DownloadError> {
        self.work(|writer| {
            if writer.hash.is_none() {
                // The data was not hashed when it arrived, so it is read back.
                writer.file.rewind()?;
                let mut hash = Sha256::new();
                hash_all(writer.file.get_mut(), &mut hash)?;
                writer.hash = Some(hash);
            }
            Ok(())
        })
        .await?;
        self.written().await?;
        match &self.disk {
            Disk::Idle(Writer { hash: Some(hash), .. }) => Ok(hash.clone().finalize().into()),
            _ => Ok(Sha256::new().finalize().into()),
        }
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        if let Some(mut path) = self.path.take() {
            let _ = self.file.flush();
            let is_empty = self.file.get_ref().metadata().is_ok_and(|found| found.len() == 0);
            let is_kept = self.is_resumable && !is_empty;
            if !is_kept {
                let _ = remove_version(&path);
            }
            path.disable_cleanup(is_kept);
        }
    }
}

/// Whether a batch is written.
fn is_full(bytes: usize, chunks: usize, age: Duration) -> bool {
    bytes >= MAX_BATCH_BYTES || chunks >= MAX_BATCH_CHUNKS || age >= MAX_BATCH_AGE
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

fn write_version(part: &Path, stored: Stored) -> io::Result<()> {
    // `create_new` does not follow symbolic links.
    std::fs::File::create_new(version_path(part))?.write_all(&serde_json::to_vec(&stored)?)
}

/// Returns the SHA-256 of a file. This blocks.
///
/// # Errors
/// If the file cannot be read.
pub fn sha256_of(path: &Path) -> io::Result<[u8; 32]> {
    let mut hash = Sha256::new();
    hash_all(&mut std::fs::File::open(path)?, &mut hash)?;
    Ok(hash.finalize().into())
}

fn hash_all(file: &mut std::fs::File, hash: &mut Sha256) -> io::Result<()> {
    let mut block = vec![0; MAX_BATCH_BYTES];
    loop {
        match file.read(&mut block)? {
            0 => return Ok(()),
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
    fn a_batch_is_bounded_in_bytes_chunks_and_age() {
        let second = Duration::from_secs(1);
        assert!(!is_full(262_143, 1023, second / 2));
        assert!(
            is_full(262_144, 1, Duration::ZERO) && is_full(1, 1024, Duration::ZERO) && is_full(1, 1, second)
        );
    }

    fn options() -> Options {
        Options { file: "a job".to_owned(), hash: false }
    }

    #[tokio::test(start_paused = true)]
    async fn a_wait_for_another_download_is_reported_once_if_it_is_not_short() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.part");
        let locked = lock(&path).unwrap();
        let reported = std::cell::Cell::new(0);
        let mut open = std::pin::pin!(Part::open(path, options(), || reported.set(reported.get() + 1)));
        let short = LOCK_PAUSE * (UNREPORTED_ATTEMPTS - 1) - LOCK_PAUSE / 2;
        for (pause, times) in [(short, 0), (LOCK_PAUSE * 2, 1), (LOCK_PAUSE * 100, 1)] {
            assert!(tokio::time::timeout(pause, &mut open).await.is_err());
            assert_eq!(reported.get(), times);
        }
        drop(locked);
        open.await.unwrap();
        assert_eq!(reported.get(), 1);
    }

    #[tokio::test]
    async fn a_file_is_replaced_only_if_it_is_empty_or_may_be_overwritten() {
        let folder = tempfile::tempdir().unwrap();
        for (number, (existing, overwrite, is_replaced)) in [
            (None, false, true),
            (Some(""), false, true),
            (Some("mine"), false, false),
            (Some("mine"), true, true),
        ]
        .into_iter()
        .enumerate()
        {
            let target = folder.path().join(number.to_string());
            if let Some(text) = existing {
                std::fs::write(&target, text).unwrap();
            }
            let mut part = Part::open(target.with_extension("part"), options(), || {}).await.unwrap();
            part.restart(Version::default()).await.unwrap();
            part.write(Bytes::from_static(b"data")).await.unwrap();
            assert_eq!(
                part.finish(&target, overwrite).await.is_ok(),
                is_replaced,
                "{existing:?} {overwrite}"
            );
            let wanted = if is_replaced { "data" } else { "mine" };
            assert_eq!(std::fs::read_to_string(&target).unwrap(), wanted);
        }
        let taken = folder.path().join("folder");
        std::fs::create_dir(&taken).unwrap();
        let part = Part::open(taken.with_extension("part"), options(), || {}).await.unwrap();
        assert!(part.finish(&taken, false).await.is_err());
    }

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
