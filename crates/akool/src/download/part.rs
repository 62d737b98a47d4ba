//! The file while it is not whole: locked, written, and given its name at the end.

use std::{
    io,
    path::{Path, PathBuf},
};

use base64::{Engine, prelude::BASE64_STANDARD};
use sha2::{Digest, Sha256};
use tokio::io::{AsyncSeekExt, AsyncWriteExt, BufWriter};

use super::DownloadError;

/// How much is gathered in memory before it is written.
const BUFFER: usize = 256 * 1024;

/// The file while it is not whole. Dropped before [`Part::finish`], it is removed.
pub(super) struct Part {
    path: PathBuf,
    file: BufWriter<tokio::fs::File>,
    /// How much has arrived.
    pub(super) bytes: u64,
    /// Of what has arrived.
    hash: Sha256,
    /// What the server calls this version of the file, for `If-Range`.
    pub(super) validator: Option<String>,
    finished: bool,
}

impl Part {
    pub(super) fn open(path: PathBuf) -> Result<Self, DownloadError> {
        match lock(&path) {
            Ok(Some(file)) => Ok(Self {
                path,
                file: BufWriter::with_capacity(BUFFER, tokio::fs::File::from_std(file)),
                bytes: 0,
                hash: Sha256::new(),
                validator: None,
                finished: false,
            }),
            Ok(None) => Err(DownloadError::InUse { path }),
            Err(source) => Err(DownloadError::Io { path, source }),
        }
    }

    /// From the beginning.
    pub(super) async fn restart(&mut self) -> Result<(), DownloadError> {
        let restart = async {
            self.file.flush().await?;
            self.file.get_mut().set_len(0).await?;
            self.file.rewind().await
        };
        restart.await.map_err(|source| DownloadError::Io { path: self.path.clone(), source })?;
        self.bytes = 0;
        self.hash = Sha256::new();
        self.validator = None;
        Ok(())
    }

    pub(super) async fn write(&mut self, chunk: &[u8]) -> Result<(), DownloadError> {
        let written = self.file.write_all(chunk).await;
        written.map_err(|source| DownloadError::Io { path: self.path.clone(), source })?;
        self.bytes += chunk.len() as u64;
        self.hash.update(chunk);
        Ok(())
    }

    /// SHA-256 of what has arrived, in base64.
    pub(super) fn sha256(&self) -> String {
        BASE64_STANDARD.encode(self.hash.clone().finalize())
    }

    pub(super) async fn flush(&mut self) -> Result<(), DownloadError> {
        let flushed = self.file.flush().await;
        flushed.map_err(|source| DownloadError::Io { path: self.path.clone(), source })
    }

    /// On disk first, then under its name.
    pub(super) async fn finish(mut self, path: &Path) -> Result<(), DownloadError> {
        let io = |path: &Path| {
            let path = path.to_owned();
            move |source| DownloadError::Io { path, source }
        };
        self.flush().await?;
        self.file.get_ref().sync_all().await.map_err(io(&self.path))?;
        tokio::fs::rename(&self.path, path).await.map_err(io(path))?;
        self.finished = true;
        // So that the name survives a crash as well. Not every system can sync a folder.
        if let Some(folder) = path.parent()
            && let Ok(folder) = tokio::fs::File::open(folder).await
        {
            let _ = folder.sync_all().await;
        }
        Ok(())
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
