//! A download to a file on disk: [`Save`].

use std::{
    fmt,
    future::{Future, IntoFuture},
    io,
    path::{Path, PathBuf},
    pin::Pin,
};

use akool::{Job, RemoteFile};

use crate::{
    downloader::Downloader,
    error::DownloadError,
    lock::not_a_file,
    part::{self, Part},
    transfer::{Progress, Transfer},
};

/// A download, made by [`Downloader::save`](crate::Downloader::save). If the future is dropped, another download of
/// the same file resumes.
#[must_use = "nothing is downloaded until this is awaited"]
pub struct Save {
    transfer: Transfer,
    folder: PathBuf,
    overwrite: bool,
}

impl Downloader {
    /// Saves a file in a folder, under [its name](RemoteFile::file_name). Creates the folder if it does
    /// not exist. Await the result.
    ///
    /// If a file of that name exists, it is complete, so it is kept and nothing is downloaded.
    pub fn save(&self, file: &RemoteFile, folder: impl Into<PathBuf>) -> Save {
        Save { transfer: self.fetch(file), folder: folder.into(), overwrite: false }
    }
}

impl Save {
    /// Downloads the file even if one of its name exists, and replaces that one.
    pub fn overwrite(mut self) -> Self {
        self.overwrite = true;
        self
    }

    /// Polls the job once if the link has expired, and continues with the new link if there is one.
    pub fn renew_link_from(mut self, job: &Job) -> Self {
        self.transfer = self.transfer.renew_link_from(job);
        self
    }

    /// Sets a function that is called whenever data has arrived. It must not block.
    pub fn on_progress(mut self, call: impl Fn(Progress) + Send + Sync + 'static) -> Self {
        self.transfer = self.transfer.on_progress(call);
        self
    }
}

impl fmt::Debug for Save {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Save({:?} to {})", self.transfer.file, self.folder.display())
    }
}

impl IntoFuture for Save {
    type Output = Result<Saved, DownloadError>;
    type IntoFuture = Pin<Box<dyn Future<Output = Self::Output> + Send>>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(self.run())
    }
}

/// A file on disk.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Saved {
    /// The path of the file.
    pub path: PathBuf,
    /// The length of the file in bytes.
    pub bytes: u64,
    /// Whether the file existed already, so that nothing was downloaded.
    pub kept: bool,
}

impl Save {
    async fn run(self) -> Result<Saved, DownloadError> {
        self.transfer.check_link()?;
        let name = self.transfer.file.file_name();
        let path = self.folder.join(&name);
        let part = self.folder.join(format!("{name}.part"));
        if let Some(bytes) = self.existing(&path).await? {
            // What cannot be removed does no harm.
            let _ = tokio::task::spawn_blocking(move || part::remove_stale(&part)).await;
            return Ok(Saved { path, bytes, kept: true });
        }

        let _slot = self.transfer.downloader.slot().await;
        let mut part = Part::open(part).await?;
        let bytes = self.transfer.run(&mut part).await?;
        part.finish(&path).await?;
        Ok(Saved { path, bytes, kept: false })
    }

    /// Creates the folder. Returns the length of a file that makes the download unnecessary.
    async fn existing(&self, path: &Path) -> Result<Option<u64>, DownloadError> {
        let at = |path: &Path| {
            let path = path.to_owned();
            move |source| DownloadError::Io { path, source }
        };
        tokio::fs::create_dir_all(&self.folder).await.map_err(at(&self.folder))?;
        match tokio::fs::symlink_metadata(path).await {
            // No file of a translation is empty, so an empty one is not the result of a download.
            Ok(found) if found.is_file() && found.len() > 0 && !self.overwrite => Ok(Some(found.len())),
            Ok(found) if found.is_file() => Ok(None),
            Ok(_) => Err(at(path)(not_a_file())),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(at(path)(error)),
        }
    }
}
