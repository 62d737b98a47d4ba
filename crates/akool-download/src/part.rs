//! The temporary file of a download: locked, written by another thread, and renamed at the end.

use std::{
    io::{self, Read as _, Seek as _, Write as _},
    path::{Path, PathBuf},
};

use base64::{Engine, prelude::BASE64_STANDARD};
use bytes::Bytes;
use sha2::{Digest, Sha256};
use tokio::task::JoinHandle;

use crate::DownloadError;

/// A batch is written when it has this many bytes,
const MAX_BATCH_BYTES: usize = 256 * 1024;
/// or this many chunks.
const MAX_BATCH_CHUNKS: usize = 1024;

/// An incomplete file. Dropping it before [`Part::finish`] removes the file.
///
/// Another thread writes to disk while more data arrives.
pub(crate) struct Part {
    path: PathBuf,
    disk: Disk,
    /// Data that has arrived and was not yet passed to the other thread.
    batch: Vec<Bytes>,
    batched: usize,
    /// The number of bytes that have arrived.
    pub(crate) bytes: u64,
    /// The server's name for this version of the file, for `If-Range`.
    pub(crate) validator: Option<String>,
    /// The SHA-256 checksum of the whole file in base64, if the server sent it.
    checksum: Option<String>,
    finished: bool,
}

/// The open file.
struct Sink {
    file: io::BufWriter<std::fs::File>,
    /// The hash of the written data, if there is a checksum to compare it with.
    hash: Option<Sha256>,
}

enum Disk {
    Idle(Sink),
    /// Another thread is working on the file.
    Busy(JoinHandle<(Sink, io::Result<()>)>),
    /// The other thread never ran, because the runtime is shutting down.
    Gone,
}

impl Part {
    pub(crate) fn open(path: PathBuf) -> Result<Self, DownloadError> {
        match lock(&path) {
            Ok(Some(file)) => Ok(Self {
                path,
                disk: Disk::Idle(Sink { file: io::BufWriter::new(file), hash: None }),
                batch: Vec::new(),
                batched: 0,
                bytes: 0,
                validator: None,
                checksum: None,
                finished: false,
            }),
            Ok(None) => Err(DownloadError::InUse { path }),
            Err(source) => Err(DownloadError::Io { path, source }),
        }
    }

    /// Starts again from an empty file. `checksum` is that of the whole file, in base64.
    pub(crate) async fn restart(&mut self, checksum: Option<String>) -> Result<(), DownloadError> {
        let hashed = checksum.is_some();
        self.checksum = checksum;
        self.batch.clear();
        self.batched = 0;
        self.bytes = 0;
        self.validator = None;
        self.work(move |sink| {
            sink.hash = hashed.then(Sha256::new);
            sink.file.flush()?;
            sink.file.get_mut().set_len(0)?;
            sink.file.rewind()
        })
        .await?;
        self.written().await
    }

    pub(crate) async fn write(&mut self, chunk: Bytes) -> Result<(), DownloadError> {
        self.bytes += chunk.len() as u64;
        self.batched += chunk.len();
        self.batch.push(chunk);
        if self.batched < MAX_BATCH_BYTES && self.batch.len() < MAX_BATCH_CHUNKS {
            return Ok(());
        }
        self.write_batch().await
    }

    /// Passes the batch to the other thread, after the work before it is done.
    async fn write_batch(&mut self) -> Result<(), DownloadError> {
        let batch = std::mem::take(&mut self.batch);
        self.batched = 0;
        self.work(move |sink| {
            for chunk in batch {
                sink.file.write_all(&chunk)?;
                if let Some(hash) = &mut sink.hash {
                    hash.update(&chunk);
                }
            }
            Ok(())
        })
        .await
    }

    /// Sets the checksum of the whole file, which the server may send with a later part only. If the
    /// earlier data was not hashed, it is read back from disk.
    pub(crate) async fn expect(&mut self, checksum: String) -> Result<(), DownloadError> {
        self.checksum = Some(checksum);
        self.write_batch().await?;
        self.work(|sink| {
            if sink.hash.is_none() {
                sink.file.rewind()?;
                let mut hash = Sha256::new();
                let mut block = vec![0; MAX_BATCH_BYTES];
                loop {
                    match sink.file.get_mut().read(&mut block)? {
                        0 => break,
                        bytes => hash.update(&block[..bytes]),
                    }
                }
                sink.hash = Some(hash);
            }
            Ok(())
        })
        .await
    }

    /// Returns whether the [flushed](Self::flush) data matches the checksum, if there is one.
    pub(crate) fn matches_checksum(&self) -> bool {
        match (&self.checksum, &self.disk) {
            (Some(checksum), Disk::Idle(Sink { hash: Some(hash), .. })) => {
                *checksum == BASE64_STANDARD.encode(hash.clone().finalize())
            }
            (checksum, _) => checksum.is_none(),
        }
    }

    pub(crate) async fn flush(&mut self) -> Result<(), DownloadError> {
        self.write_batch().await?;
        self.work(|sink| sink.file.flush()).await?;
        self.written().await
    }

    /// Writes the file to disk and then renames it, so that the name always means a complete file.
    pub(crate) async fn finish(mut self, path: &Path) -> Result<(), DownloadError> {
        self.flush().await?;
        self.work(|sink| sink.file.get_ref().sync_all()).await?;
        self.written().await?;
        let io = |source| DownloadError::Io { path: path.to_owned(), source };
        tokio::fs::rename(&self.path, path).await.map_err(io)?;
        self.finished = true;
        // The new name must survive a crash too. Not every system can sync a folder.
        if let Some(folder) = path.parent()
            && let Ok(folder) = tokio::fs::File::open(folder).await
        {
            let _ = folder.sync_all().await;
        }
        Ok(())
    }

    /// Lets another thread work on the file, after the work before it is done. The next call returns the
    /// result of this work.
    async fn work(
        &mut self,
        work: impl FnOnce(&mut Sink) -> io::Result<()> + Send + 'static,
    ) -> Result<(), DownloadError> {
        self.written().await?;
        if let Disk::Idle(mut sink) = std::mem::replace(&mut self.disk, Disk::Gone) {
            self.disk = Disk::Busy(tokio::task::spawn_blocking(move || {
                let worked = work(&mut sink);
                (sink, worked)
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
                Ok((sink, worked)) => {
                    self.disk = Disk::Idle(sink);
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

impl Drop for Part {
    fn drop(&mut self) {
        if !self.finished {
            let _ = std::fs::remove_file(&self.path);
        }
    }
}

/// Opens and locks the temporary file. Returns `None` if another process has locked it. Refuses a
/// symbolic link and a file with another hard link, because writing would change another file.
fn lock(path: &Path) -> io::Result<Option<std::fs::File>> {
    loop {
        // `create_new` does not follow symbolic links. An existing file is opened without changing it,
        // and used only if `same_file` confirms that it is the file of this name.
        let options = || std::fs::OpenOptions::new().read(true).write(true).clone();
        let file = match options().create_new(true).open(path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                if path.symlink_metadata().is_ok_and(|found| !found.is_file()) {
                    return Err(not_a_file());
                }
                match options().open(path) {
                    Ok(file) => file,
                    Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                    Err(error) => return Err(error),
                }
            }
            Err(error) => return Err(error),
        };
        match file.try_lock() {
            // Some file systems do not support locks. Then no other process has one either.
            Ok(()) => {}
            Err(std::fs::TryLockError::WouldBlock) => return Ok(None),
            Err(std::fs::TryLockError::Error(_)) => {
                tracing::debug!(path = %path.display(), "the file system does not support locks");
            }
        }
        // Another process may have renamed the file between opening and locking.
        if same_file(&file, path)? {
            return Ok(Some(file));
        }
    }
}

pub(crate) fn not_a_file() -> io::Error {
    io::Error::new(
        io::ErrorKind::AlreadyExists,
        "the name belongs to something that is not a file of this program",
    )
}

#[cfg(unix)]
fn same_file(file: &std::fs::File, path: &Path) -> io::Result<bool> {
    use std::os::unix::fs::MetadataExt;

    let open = file.metadata()?;
    if open.nlink() > 1 {
        return Err(not_a_file());
    }
    match path.symlink_metadata() {
        Ok(named) => Ok(open.dev() == named.dev() && open.ino() == named.ino()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}

/// On these systems, no other process can rename an open file, so there is nothing to compare.
#[cfg(not(unix))]
fn same_file(_: &std::fs::File, _: &Path) -> io::Result<bool> {
    Ok(true)
}
