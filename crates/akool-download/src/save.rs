//! A download to a file on disk: [`Save`].

use std::{
    fmt,
    future::{Future, IntoFuture},
    io::{self, Read as _},
    path::{Path, PathBuf},
    pin::Pin,
};

use akool::{Job, RemoteFile};

use crate::{
    downloader::Downloader,
    error::DownloadError,
    format::{MAX_EXAMINED, is_kind},
    name::safe_name,
    part::{Part, blocking},
    sink::Sink as _,
    transfer::{Progress, Transfer},
    writer::{Options, existing, remove_stale, sha256_of},
};

/// See [`Save::on_wait`].
type OnWait = Box<dyn Fn(&Path) + Send + Sync>;

/// A download, made by [`Downloader::save`](crate::Downloader::save). If the future is dropped, another download of
/// the same file resumes.
#[must_use = "nothing is downloaded until this is awaited"]
pub struct Save {
    transfer: Transfer,
    folder: PathBuf,
    /// The first that is free is used. Empty: the file's own name.
    names: Vec<String>,
    overwrite: bool,
    sha256: bool,
    on_wait: Option<OnWait>,
}

impl Downloader {
    /// Saves a file in a folder, under [its name](RemoteFile::file_name). Creates the folder if it does
    /// not exist. Await the result.
    ///
    /// If a file of that name exists, it is complete, so it is kept and nothing is downloaded. If another download is
    /// writing it, also in another process, this one waits for it.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let server = akool_mock::MockServer::start().await;
    /// # server.job("64dd92c1f0b6684651e90e09", akool_mock::Timeline::new().completed());
    /// # let (base_url, key) = (server.url(), akool::Credential::api_key(server.api_key())?);
    /// # let client = akool::Client::builder().base_url(base_url).credential(key).build()?;
    /// # let temporary = tempfile::tempdir()?; let folder = temporary.path();
    /// use akool_download::Downloader;
    ///
    /// let job = client.job("64dd92c1f0b6684651e90e09");
    /// let translation = job.wait().await?;
    /// let downloader = Downloader::new()?;
    /// let save = downloader.save(&translation.files()[0], folder).renew_link_from(&job);
    /// let saved = save.on_progress(|progress| println!("{} bytes", progress.bytes)).await?;
    /// assert!(saved.path.exists());
    /// # Ok(())
    /// # }
    /// ```
    pub fn save(&self, file: &RemoteFile, folder: impl Into<PathBuf>) -> Save {
        Save {
            transfer: self.fetch(file),
            folder: folder.into(),
            names: Vec::new(),
            overwrite: false,
            sha256: false,
            on_wait: None,
        }
    }
}

impl Save {
    /// Saves the file under this name; [`NameTemplate`](crate::NameTemplate) makes names that say what a file is. In a
    /// name that is not safe on every system, characters are replaced.
    ///
    /// Other files can have such a name. So a file that exists is kept only if its length is what the server announces
    /// and its first bytes are those of a file of this kind. Otherwise the result is [`DownloadError::Exists`], unless
    /// there is [another name](Self::or_named).
    pub fn named(mut self, name: &str) -> Self {
        self.names = vec![safe_name(name)];
        self
    }

    /// Saves the file under this name if another file has the [name](Self::named) before.
    pub fn or_named(mut self, name: &str) -> Self {
        self.names.push(safe_name(name));
        self
    }

    /// Downloads the file even if one of its name exists, and replaces that one.
    pub fn overwrite(mut self) -> Self {
        self.overwrite = true;
        self
    }

    /// Also returns the SHA-256 of the file, for a record of it.
    pub fn with_sha256(mut self) -> Self {
        self.sha256 = true;
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

    /// Sets a function that is called with the path of the file if another download has been writing it for a second.
    /// It must not block.
    pub fn on_wait(mut self, call: impl Fn(&Path) + Send + Sync + 'static) -> Self {
        self.on_wait = Some(Box::new(call));
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
    /// The SHA-256 of the file, if it was [requested](Save::with_sha256).
    pub sha256: Option<[u8; 32]>,
}

impl Save {
    async fn run(self) -> Result<Saved, DownloadError> {
        self.transfer.check_link()?;
        let own = [self.transfer.file.file_name()];
        let names = if self.names.is_empty() { &own } else { self.names.as_slice() };
        let mut names = names.iter().peekable();
        loop {
            // There is at least one name, and the last one returns.
            let name = names.next().unwrap_or(&own[0]);
            match self.save_as(name).await {
                Err(error) if names.peek().is_some() && is_taken(&error) => {}
                result => return result,
            }
        }
    }

    async fn save_as(&self, name: &str) -> Result<Saved, DownloadError> {
        let path = self.folder.join(name);
        let part = self.folder.join(format!("{name}.part"));
        if let Some(bytes) = self.existing(&path).await? {
            return self.keep(path, part, bytes).await;
        }
        let slot = self.transfer.downloader.slot().await;
        let options = Options {
            file: self.transfer.file.file_name(),
            hash: self.sha256,
            target: path.clone(),
            overwrite: self.overwrite,
        };
        let opened = Part::open(part.clone(), options, || {
            tracing::debug!(path = %path.display(), "another download is writing this file");
            if let Some(call) = &self.on_wait {
                call(&path);
            }
        });
        let mut writer = match opened.await? {
            Ok(writer) => writer,
            Err(bytes) => {
                drop(slot);
                return self.keep(path, part, bytes).await;
            }
        };
        let bytes = self.transfer.clone().run(&mut writer).await?;
        let sha256 = if self.sha256 { Some(writer.sha256().await?) } else { None };
        // The next file arrives while this one is brought to the disk.
        let _finish = self.transfer.downloader.finish_slot().await;
        drop(slot);
        writer.finish().await?;
        Ok(Saved { path, bytes, kept: false, sha256 })
    }

    /// Returns a file that exists, if it is the result of this download.
    async fn keep(&self, path: PathBuf, part: PathBuf, bytes: u64) -> Result<Saved, DownloadError> {
        let kind = self.transfer.file.kind;
        if !self.names.is_empty() {
            let is_kind = blocking(&path, move |path| Ok(is_kind(kind, start_of(path)?, bytes))).await?;
            let _slot = self.transfer.downloader.slot().await;
            if !is_kind || self.transfer.length().await? != Some(bytes) {
                return Err(self.transfer.exists(path));
            }
        }
        let sha256 = if self.sha256 { Some(blocking(&path, sha256_of).await?) } else { None };
        // What cannot be removed does no harm.
        let _ = tokio::task::spawn_blocking(move || remove_stale(&part)).await;
        Ok(Saved { path, bytes, kept: true, sha256 })
    }

    /// Makes the folder, and returns the length of a file that is not replaced.
    async fn existing(&self, path: &Path) -> Result<Option<u64>, DownloadError> {
        let _slot = self.transfer.downloader.disk_slot().await;
        let (folder, overwrite) = (self.folder.clone(), self.overwrite);
        blocking(path, move |path| match std::fs::create_dir_all(&folder) {
            Ok(()) => existing(path, overwrite).map(Ok),
            Err(source) => Ok(Err(DownloadError::Io { path: folder, source })),
        })
        .await?
    }
}

/// Whether something else has the name of the file.
fn is_taken(error: &DownloadError) -> bool {
    match error {
        DownloadError::Exists { .. } => true,
        DownloadError::Io { source, .. } => source.kind() == io::ErrorKind::AlreadyExists,
        _ => false,
    }
}

/// Returns as many bytes as are needed to recognise the kind of a file.
fn start_of(path: &Path) -> io::Result<Vec<u8>> {
    let mut start = Vec::new();
    std::fs::File::open(path)?.take(MAX_EXAMINED as u64).read_to_end(&mut start)?;
    Ok(start)
}

#[cfg(test)]
mod tests {
    use akool::FileKind;

    use super::*;

    fn save(folder: &Path) -> Save {
        let url = "https://cdn.example/a.mp4".parse().unwrap();
        let file = RemoteFile::new("a".into(), FileKind::Video, url);
        Downloader::new().unwrap().save(&file, folder)
    }

    #[tokio::test]
    async fn a_file_that_is_there_is_kept_unless_it_is_empty_or_overwritten() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        std::fs::write(path("full"), "1234567").unwrap();
        std::fs::write(path("empty"), "").unwrap();
        let save = save(folder.path());
        assert_eq!(save.existing(&path("full")).await.unwrap(), Some(7));
        assert_eq!(save.existing(&path("empty")).await.unwrap(), None);
        assert_eq!(save.existing(&path("none")).await.unwrap(), None);
        assert!(is_taken(&save.existing(folder.path()).await.unwrap_err()), "a folder");
        let below = save.existing(&path("full").join("below")).await.unwrap_err();
        assert!(matches!(&below, DownloadError::Io { .. }) && !is_taken(&below), "{below}");
        assert!(is_taken(&save.transfer.exists(path("full"))));
        assert_eq!(save.overwrite().existing(&path("full")).await.unwrap(), None);
    }
}
