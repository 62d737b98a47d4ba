//! The disk half of a download: [`Part`] is the temporary file, written by another thread, and renamed at the end.

use std::{
    fs::File,
    io,
    path::{Path, PathBuf},
    sync::{Arc, OnceLock},
    time::{Duration, Instant},
};

use bytes::Bytes;
use tokio::task::{JoinHandle, spawn_blocking};

use crate::{
    error::DownloadError,
    sink::Sink,
    version::Version,
    writer::{Batch, Opened, Options, Restart, Stored, Writer},
};

/// A batch is written when it has this many bytes,
const MAX_BATCH_BYTES: usize = 256 * 1024;
/// or this many chunks,
const MAX_BATCH_CHUNKS: usize = 1024;
/// or when it is this old, so that a slow download that is killed loses little.
const MAX_BATCH_AGE: Duration = Duration::from_secs(1);
/// The disk begins to store what was written whenever it is this much. It does so while more data arrives, so that a
/// large file is complete on disk soon after its last byte.
const MAX_UNSYNCED_BYTES: u64 = 32 * 1024 * 1024;
/// The pause before a locked file is opened again, and the number of attempts after which the wait is reported. A
/// download that was dropped in this process keeps its lock until its last write is done.
const LOCK_PAUSE: Duration = Duration::from_millis(50);
const UNREPORTED_ATTEMPTS: u32 = 20;

/// An incomplete file. Another thread writes to disk while more data arrives.
pub(crate) struct Part {
    path: PathBuf,
    disk: Disk,
    /// What has arrived and was not yet passed to the other thread.
    batch: Batch,
    batched: usize,
    batched_since: Instant,
    bytes: u64,
    version: Version,
    options: Options,
    file: Arc<File>,
    /// A third thread that waits for the disk, and the position at which it began.
    syncing: Option<JoinHandle<io::Result<()>>>,
    synced: u64,
}

enum Disk {
    Idle(Box<Writer>),
    /// Another thread is working on the file.
    Busy(JoinHandle<(Box<Writer>, io::Result<()>)>),
    /// The other thread never ran, because the runtime is shutting down.
    Gone,
}

impl Part {
    /// Opens the part of an earlier download, or creates one. Waits while another download is writing it, which is
    /// reported once. If the file itself exists by then, returns its length instead.
    pub(crate) async fn open(
        path: PathBuf,
        options: Options,
        on_wait: impl FnOnce(),
    ) -> Result<Result<Self, u64>, DownloadError> {
        let mut attempts = 0;
        let mut on_wait = Some(on_wait);
        let (disk, bytes, version) = loop {
            let own = options.clone();
            match blocking(&path, move |path| Writer::open(path, &own)).await? {
                Some(Opened::Part(writer, bytes, version)) => break (writer, bytes, version),
                Some(Opened::Exists(Ok(bytes))) => return Ok(Err(bytes)),
                Some(Opened::Exists(Err(source))) => {
                    return Err(DownloadError::Io { path: options.target, source });
                }
                None => {}
            }
            attempts += 1;
            if attempts == UNREPORTED_ATTEMPTS
                && let Some(report) = on_wait.take()
            {
                report();
            }
            tokio::time::sleep(LOCK_PAUSE).await;
        };
        Ok(Ok(Self {
            path,
            file: disk.file(),
            disk: Disk::Idle(disk),
            batch: Batch::default(),
            batched: 0,
            batched_since: Instant::now(),
            bytes,
            version,
            options,
            syncing: None,
            synced: bytes,
        }))
    }

    /// Writes the file to disk and then renames it, so that the name always means a complete file. Fails if there is
    /// another file of that name, unless it is overwritten or empty.
    pub(crate) async fn finish(mut self) -> Result<(), DownloadError> {
        self.synced().await?;
        let (batch, options) = (self.take_batch(), self.options.clone());
        self.work(move |writer| {
            writer.write(batch, true)?;
            writer.finish(&options)
        })
        .await?;
        self.path.clone_from(&self.options.target);
        self.written().await
    }

    fn take_batch(&mut self) -> Batch {
        self.batched = 0;
        self.batched_since = Instant::now();
        std::mem::take(&mut self.batch)
    }

    /// Passes the batch to the other thread, after the work before it is done.
    async fn write_batch(&mut self) -> Result<(), DownloadError> {
        let (batch, is_end) = (self.take_batch(), self.is_complete());
        self.work(move |writer| writer.write(batch, is_end)).await?;
        if self.bytes.saturating_sub(self.synced) >= MAX_UNSYNCED_BYTES
            && self.syncing.as_ref().is_none_or(JoinHandle::is_finished)
        {
            self.synced().await?;
            self.synced = self.bytes;
            let file = Arc::clone(&self.file);
            self.syncing = Some(spawn_blocking(move || file.sync_data()));
        }
        Ok(())
    }

    fn is_complete(&self) -> bool {
        self.version.total == Some(self.bytes)
    }

    /// Lets another thread work on the file, after the work before it is done. The next call returns the result of
    /// this work.
    async fn work(
        &mut self,
        work: impl FnOnce(&mut Writer) -> io::Result<()> + Send + 'static,
    ) -> Result<(), DownloadError> {
        self.written().await?;
        if let Disk::Idle(mut writer) = std::mem::replace(&mut self.disk, Disk::Gone) {
            self.disk = Disk::Busy(spawn_blocking(move || {
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

    /// Waits for the disk. The system reports a failure to store data only once, so no result is ignored.
    async fn synced(&mut self) -> Result<(), DownloadError> {
        let Some(syncing) = self.syncing.take() else { return Ok(()) };
        let synced = syncing.await.unwrap_or_else(|error| Err(io::Error::other(error)));
        synced.map_err(|source| DownloadError::Io { path: self.path.clone(), source })
    }
}

impl Sink for Part {
    fn position(&self) -> u64 {
        self.bytes
    }

    fn version(&self) -> &Version {
        &self.version
    }

    /// Takes effect with the next write.
    async fn restart(&mut self, version: Version) -> Result<(), DownloadError> {
        let Options { file, hash, .. } = self.options.clone();
        let hash = hash || version.has_checksum();
        let restart = Restart { stored: Stored { file: Some(file), version: version.clone() }, hash };
        self.batch = Batch { restart: Some(restart), chunks: Vec::new() };
        (self.bytes, self.batched, self.synced, self.version) = (0, 0, 0, version);
        Ok(())
    }

    async fn write(&mut self, chunk: Bytes) -> Result<(), DownloadError> {
        self.bytes += chunk.len() as u64;
        self.batched += chunk.len();
        self.batch.chunks.push(chunk);
        if is_full(self.batched, self.batch.chunks.len(), self.batched_since.elapsed()) {
            self.write_batch().await?;
        }
        Ok(())
    }

    /// Leaves the end of a file to [`finish`](Self::finish), which a small file then needs alone.
    async fn flush(&mut self) -> Result<(), DownloadError> {
        if !self.is_complete() {
            self.write_batch().await?;
        }
        self.written().await
    }

    async fn sha256(&mut self) -> Result<[u8; 32], DownloadError> {
        let batch = self.take_batch();
        let hash = Arc::new(OnceLock::new());
        let result = Arc::clone(&hash);
        self.work(move |writer| {
            writer.write(batch, true)?;
            let _ = result.set(writer.sha256()?);
            Ok(())
        })
        .await?;
        self.written().await?;
        Ok(hash.get().copied().unwrap_or_default())
    }
}

/// Whether a batch is written.
fn is_full(bytes: usize, chunks: usize, age: Duration) -> bool {
    bytes >= MAX_BATCH_BYTES || chunks >= MAX_BATCH_CHUNKS || age >= MAX_BATCH_AGE
}

/// Works on a file on another thread.
pub(crate) async fn blocking<T: Send + 'static>(
    path: &Path,
    work: impl FnOnce(&Path) -> io::Result<T> + Send + 'static,
) -> Result<T, DownloadError> {
    let file = path.to_owned();
    let done = spawn_blocking(move || work(&file)).await.unwrap_or_else(|error| Err(io::Error::other(error)));
    done.map_err(|source| DownloadError::Io { path: path.to_owned(), source })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lock::lock;

    #[test]
    fn a_batch_is_bounded_in_bytes_chunks_and_age() {
        let second = Duration::from_secs(1);
        assert!(!is_full(262_143, 1023, second / 2));
        assert!(
            is_full(262_144, 1, Duration::ZERO) && is_full(1, 1024, Duration::ZERO) && is_full(1, 1, second)
        );
    }

    fn options(target: &Path, overwrite: bool) -> Options {
        Options { file: "a job".to_owned(), hash: false, target: target.to_owned(), overwrite }
    }

    #[tokio::test(start_paused = true)]
    async fn a_wait_for_another_download_is_reported_once_if_it_is_not_short() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.part");
        let locked = lock(&path).unwrap();
        let reported = std::cell::Cell::new(0);
        let options = options(&folder.path().join("a"), false);
        let mut open = std::pin::pin!(Part::open(path, options, || reported.set(reported.get() + 1)));
        let short = LOCK_PAUSE * (UNREPORTED_ATTEMPTS - 1) - LOCK_PAUSE / 2;
        for (pause, times) in [(short, 0), (LOCK_PAUSE * 2, 1), (LOCK_PAUSE * 100, 1)] {
            assert!(tokio::time::timeout(pause, &mut open).await.is_err());
            assert_eq!(reported.get(), times);
        }
        drop(locked);
        open.await.unwrap().unwrap();
        assert_eq!(reported.get(), 1);
    }

    #[tokio::test]
    async fn a_file_is_replaced_only_if_it_is_empty_or_may_be_overwritten() {
        let folder = tempfile::tempdir().unwrap();
        let open = async |target: &Path, overwrite| {
            let options = options(target, overwrite);
            Part::open(target.with_extension("part"), options, || {}).await
        };
        for (number, (existing, overwrite, is_replaced)) in [
            (None, false, true),
            (Some(""), false, true),
            (Some("mine"), false, false),
            (Some("mine"), true, true),
        ]
        .into_iter()
        .enumerate()
        {
            for is_late in [false, true] {
                let target = folder.path().join(format!("{number} {is_late}"));
                let create = || existing.map(|text| std::fs::write(&target, text).unwrap());
                if !is_late {
                    create();
                }
                match open(&target, overwrite).await.unwrap() {
                    Ok(mut part) => {
                        assert!(is_late || is_replaced);
                        part.restart(Version::default()).await.unwrap();
                        part.write(Bytes::from_static(b"data")).await.unwrap();
                        create();
                        assert_eq!(part.finish().await.is_ok(), is_replaced, "{existing:?} {overwrite}");
                    }
                    Err(bytes) => assert!(bytes == 4 && !is_late && !is_replaced),
                }
                let wanted = if is_replaced { "data" } else { "mine" };
                assert_eq!(std::fs::read_to_string(&target).unwrap(), wanted);
                assert!(!target.with_extension("part").exists());
            }
        }
        let taken = folder.path().join("folder");
        std::fs::create_dir(&taken).unwrap();
        let refused = open(&taken, true).await.err();
        assert!(matches!(&refused, Some(DownloadError::Io { path, .. }) if *path == taken), "{refused:?}");
        assert!(!taken.with_extension("part").exists());
    }

    #[cfg(unix)]
    #[tokio::test]
    async fn a_link_that_appears_during_a_download_is_not_replaced() {
        let folder = tempfile::tempdir().unwrap();
        let target = folder.path().join("a");
        let part = Part::open(folder.path().join("a.part"), options(&target, true), || {}).await;
        std::os::unix::fs::symlink("elsewhere", &target).unwrap();
        let refused = part.unwrap().unwrap().finish().await;
        assert!(matches!(&refused, Err(DownloadError::Io { path, .. }) if *path == target), "{refused:?}");
        assert!(target.is_symlink());
    }
}
