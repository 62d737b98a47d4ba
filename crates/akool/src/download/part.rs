//! The file while it is not whole: locked, written, and given its name at the end.

use std::{
    io::{self, Read as _, Seek as _, Write as _},
    path::{Path, PathBuf},
};

use base64::{Engine, prelude::BASE64_STANDARD};
use bytes::Bytes;
use sha2::{Digest, Sha256};
use tokio::task::JoinHandle;

use super::DownloadError;

/// How much is gathered in memory before it is written, and how much of it in small pieces.
const BATCH: usize = 256 * 1024;
const PIECES: usize = 1024;

/// The file while it is not whole. Dropped before [`Part::finish`], it is removed.
///
/// It is written by another thread, while more arrives.
pub(super) struct Part {
    path: PathBuf,
    disk: Disk,
    /// What has arrived and is not yet on its way to the disk.
    batch: Vec<Bytes>,
    batched: usize,
    /// How much has arrived.
    pub(super) bytes: u64,
    /// What the server calls this version of the file, for `If-Range`.
    pub(super) validator: Option<String>,
    /// SHA-256 of the whole in base64, where the server says it.
    checksum: Option<String>,
    finished: bool,
}

/// The open file, and what was written to it.
struct Sink {
    file: io::BufWriter<std::fs::File>,
    /// Of what was written, where there is something to compare it with.
    hash: Option<Sha256>,
}

enum Disk {
    Idle(Sink),
    /// In another thread.
    Busy(JoinHandle<(Sink, io::Result<()>)>),
    /// That thread came to nothing, because the runtime ends.
    Gone,
}

impl Part {
    pub(super) fn open(path: PathBuf) -> Result<Self, DownloadError> {
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

    /// From the beginning. The checksum is that of the whole, in base64, where the server says it.
    pub(super) async fn restart(&mut self, checksum: Option<String>) -> Result<(), DownloadError> {
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

    pub(super) async fn write(&mut self, chunk: Bytes) -> Result<(), DownloadError> {
        self.bytes += chunk.len() as u64;
        self.batched += chunk.len();
        self.batch.push(chunk);
        if self.batched < BATCH && self.batch.len() < PIECES {
            return Ok(());
        }
        self.write_batch().await
    }

    /// Has the batch written, once what was before it is.
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

    /// Takes the checksum of the whole that comes with a later part. What is there already is read back
    /// where nothing was compared so far.
    pub(super) async fn expect(&mut self, checksum: String) -> Result<(), DownloadError> {
        self.checksum = Some(checksum);
        self.write_batch().await?;
        self.work(|sink| {
            if sink.hash.is_none() {
                sink.file.rewind()?;
                let mut hash = Sha256::new();
                let mut block = vec![0; BATCH];
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

    /// Whether what was [`flush`](Self::flush)ed is what the server says it is, as far as it does.
    pub(super) fn matches_checksum(&self) -> bool {
        match (&self.checksum, &self.disk) {
            (Some(checksum), Disk::Idle(Sink { hash: Some(hash), .. })) => {
                *checksum == BASE64_STANDARD.encode(hash.clone().finalize())
            }
            (checksum, _) => checksum.is_none(),
        }
    }

    pub(super) async fn flush(&mut self) -> Result<(), DownloadError> {
        self.write_batch().await?;
        self.work(|sink| sink.file.flush()).await?;
        self.written().await
    }

    /// On disk first, then under its name.
    pub(super) async fn finish(mut self, path: &Path) -> Result<(), DownloadError> {
        self.flush().await?;
        self.work(|sink| sink.file.get_ref().sync_all()).await?;
        self.written().await?;
        let io = |source| DownloadError::Io { path: path.to_owned(), source };
        tokio::fs::rename(&self.path, path).await.map_err(io)?;
        self.finished = true;
        // So that the name survives a crash as well. Not every system can sync a folder.
        if let Some(folder) = path.parent()
            && let Ok(folder) = tokio::fs::File::open(folder).await
        {
            let _ = folder.sync_all().await;
        }
        Ok(())
    }

    /// Has another thread work on the file, once the work before it is done. Its own outcome is told by
    /// what comes next.
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

    /// Until the work is done.
    async fn written(&mut self) -> Result<(), DownloadError> {
        let done = match &mut self.disk {
            Disk::Idle(_) => Ok(()),
            Disk::Gone => Err(io::Error::other("the runtime has ended")),
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

/// Opens and locks the temporary file, never through a symbolic link and never one that has
/// another name besides; `None` where another process has it.
fn lock(path: &Path) -> io::Result<Option<std::fs::File>> {
    loop {
        // `create_new` follows no link. What is there already is opened without being changed,
        // and used only if it turns out to be the very file of this name.
        let options = || std::fs::OpenOptions::new().read(true).write(true).clone();
        let file = match options().create_new(true).open(path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                if path.symlink_metadata().is_ok_and(|there| !there.is_file()) {
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
            // Some file systems know no locks: then nobody else has one either.
            Ok(()) => {}
            Err(std::fs::TryLockError::WouldBlock) => return Ok(None),
            Err(std::fs::TryLockError::Error(_)) => {
                tracing::debug!(path = %path.display(), "the file system knows no locks");
            }
        }
        // Between opening and locking, its last owner may have given it its final name.
        if same_file(&file, path)? {
            return Ok(Some(file));
        }
    }
}

pub(super) fn not_a_file() -> io::Error {
    io::Error::new(io::ErrorKind::AlreadyExists, "something else than a file of our own has this name")
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

/// Where an open file cannot be renamed by another process, there is nothing to compare.
#[cfg(not(unix))]
fn same_file(_: &std::fs::File, _: &Path) -> io::Result<bool> {
    Ok(true)
}
