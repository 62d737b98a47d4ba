//! One download, with its retries: [`Save`].

use std::{
    error::Error as StdError,
    fmt,
    future::{Future, IntoFuture},
    io,
    path::{Path, PathBuf},
    pin::Pin,
    sync::Arc,
    time::Duration,
};

use akool::{Job, RemoteFile, Translation, redact};
use reqwest::{
    Response, StatusCode,
    header::{IF_RANGE, RANGE},
};

use crate::{
    DownloadError, Downloader, configured, link,
    part::{self, Part},
    response::{content_range, is_page, retry_after, sha256, validator},
};

/// A download, made by [`Downloader::save`]. Dropping the future removes the incomplete file.
#[must_use = "nothing is downloaded until this is awaited"]
pub struct Save {
    downloader: Downloader,
    file: RemoteFile,
    folder: PathBuf,
    overwrite: bool,
    progress: Option<Arc<dyn Fn(Progress) + Send + Sync>>,
    job: Option<Job>,
}

impl Save {
    pub(crate) fn new(downloader: Downloader, file: RemoteFile, folder: PathBuf) -> Self {
        Self { downloader, file, folder, overwrite: false, progress: None, job: None }
    }

    /// Downloads the file even if one of its name exists, and replaces that one.
    pub fn overwrite(mut self) -> Self {
        self.overwrite = true;
        self
    }

    /// Polls the job once if the link has expired, and continues with the new link if there is one.
    pub fn renew_link_from(mut self, job: &Job) -> Self {
        self.job = Some(job.clone());
        self
    }

    /// Sets a function that is called whenever data has arrived. It must not block.
    pub fn on_progress(mut self, call: impl Fn(Progress) + Send + Sync + 'static) -> Self {
        self.progress = Some(Arc::new(call));
        self
    }
}

impl fmt::Debug for Save {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Save({:?} to {})", self.file, self.folder.display())
    }
}

impl IntoFuture for Save {
    type Output = Result<Saved, DownloadError>;
    type IntoFuture = Pin<Box<dyn Future<Output = Self::Output> + Send>>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(self.run())
    }
}

/// The progress of a download.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Progress {
    /// The number of bytes that have arrived.
    pub bytes: u64,
    /// The length of the whole file in bytes, if the server sent it.
    pub total: Option<u64>,
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

/// Why one request did not complete the file.
enum Failure {
    /// Another request may succeed.
    Transient { why: String, retry_after: Option<Duration> },
    /// No further request will succeed.
    Permanent(DownloadError),
}

impl Failure {
    fn transient(why: impl Into<String>) -> Self {
        Self::Transient { why: why.into(), retry_after: None }
    }
}

impl From<DownloadError> for Failure {
    fn from(error: DownloadError) -> Self {
        Self::Permanent(error)
    }
}

impl Save {
    async fn run(mut self) -> Result<Saved, DownloadError> {
        link::check(&self.file.url).map_err(|why| self.unsafe_link(why))?;
        if self.file.url.scheme() == "http" {
            // A proxy cannot reach this machine, and should not see the link.
            let local = configured(reqwest::ClientBuilder::new().no_proxy(), self.downloader.any_redirect);
            self.downloader.http = local.build().map_err(|error| self.failed(root_cause(&error)))?;
        }
        let name = self.file.file_name();
        let path = self.folder.join(&name);
        if let Some(bytes) = self.existing(&path).await? {
            return Ok(Saved { path, bytes, kept: true });
        }

        let slots = Arc::clone(&self.downloader.slots);
        // The semaphore is never closed, so this always returns a permit.
        let _slot = slots.acquire().await.ok();
        let mut part = Part::open(self.folder.join(format!("{name}.part")))?;
        let retry = self.downloader.retry;
        let mut failures = 0;
        loop {
            let before = part.bytes;
            match self.fetch(&mut part).await {
                Ok(()) => break,
                Err(Failure::Permanent(error @ DownloadError::Expired { .. })) => {
                    self.file.url = self.new_link().await.ok_or(error)?;
                }
                Err(Failure::Permanent(error)) => return Err(error),
                Err(Failure::Transient { why, retry_after }) => {
                    failures = if part.bytes > before { 1 } else { failures + 1 };
                    tracing::debug!(job = %self.file.job, file = %self.file.kind, %why, failures, "download failed");
                    if failures >= retry.max_failures {
                        return Err(self.failed(why));
                    }
                    tokio::time::sleep(retry.pause(failures, retry_after, fastrand::f64())).await;
                }
            }
        }
        let bytes = part.bytes;
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
            Ok(_) => Err(at(path)(part::not_a_file())),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(at(path)(error)),
        }
    }

    /// Polls the job for another link to the same file, at most once.
    async fn new_link(&mut self) -> Option<url::Url> {
        let snapshot = self.job.take()?.get().await.ok()?;
        let files = Translation::from_snapshot(snapshot)?.files();
        let file = files.into_iter().find(|file| file.kind == self.file.kind)?;
        (file.url != self.file.url && link::check(&file.url).is_ok()).then_some(file.url)
    }

    /// Makes one request for the missing bytes.
    async fn fetch(&self, part: &mut Part) -> Result<(), Failure> {
        let mut request = self.downloader.http.get(self.file.url.clone());
        match &part.validator {
            Some(validator) if part.bytes > 0 => {
                request = request
                    .header(RANGE, format!("bytes={}-", part.bytes))
                    .header(IF_RANGE, validator.as_str());
            }
            _ => part.restart(None).await?,
        }
        let mut response = request.send().await.map_err(|error| self.request_failed(error))?;
        let total = self.accept(&response, part).await?;

        loop {
            let chunk = match response.chunk().await {
                Ok(Some(chunk)) => chunk,
                Ok(None) => break,
                Err(error) => {
                    part.flush().await?;
                    return Err(self.request_failed(error));
                }
            };
            part.write(chunk).await?;
            if let Some(call) = &self.progress {
                call(Progress { bytes: part.bytes, total });
            }
        }
        part.flush().await?;
        let why = match total {
            _ if part.bytes == 0 => {
                "the response was empty, and no file of a translation is empty".to_owned()
            }
            Some(total) if total != part.bytes => format!("received {} of {total} bytes", part.bytes),
            _ if !part.matches_checksum() => {
                "the received data does not match the server's checksum".to_owned()
            }
            _ => return Ok(()),
        };
        // The received data may be wrong, so the next attempt starts from the beginning.
        part.validator = None;
        Err(Failure::transient(why))
    }

    /// Decides from the status and the headers whether the response is the rest of the file, the whole
    /// file or neither. Returns the length of the whole file, if it is known.
    async fn accept(&self, response: &Response, part: &mut Part) -> Result<Option<u64>, Failure> {
        let status = response.status();
        let headers = response.headers();
        match status {
            StatusCode::OK if is_page(headers) => Err(Failure::transient(
                "the response is a web page; check that no proxy responds in place of the CDN",
            )),
            StatusCode::OK => {
                // If a range was requested, the file has changed or the server does not support ranges.
                part.restart(sha256(headers)).await?;
                part.validator = validator(headers);
                Ok(response.content_length())
            }
            StatusCode::PARTIAL_CONTENT => match content_range(headers) {
                Some((start, total)) if start == part.bytes => {
                    if let Some(checksum) = sha256(headers) {
                        part.expect(checksum).await?;
                    }
                    Ok(total)
                }
                _ => {
                    part.validator = None;
                    Err(Failure::transient("the server sent another range than the requested one"))
                }
            },
            StatusCode::FORBIDDEN | StatusCode::NOT_FOUND | StatusCode::GONE => {
                Err(Failure::Permanent(DownloadError::Expired {
                    file: self.file.kind,
                    job: self.file.job.clone(),
                    link: redact::link(&self.file.url),
                    status: status.as_u16(),
                }))
            }
            _ => {
                if status == StatusCode::RANGE_NOT_SATISFIABLE {
                    part.validator = None;
                }
                let why = format!("the server responded with HTTP status {}", status.as_u16());
                if !status.is_server_error() && !matches!(status.as_u16(), 408 | 416 | 425 | 429) {
                    return Err(self.failed(why).into());
                }
                Err(Failure::Transient { why, retry_after: retry_after(headers) })
            }
        }
    }

    fn request_failed(&self, error: reqwest::Error) -> Failure {
        if error.is_redirect() {
            return self.unsafe_link("too many redirects, or a redirect to an unsafe address").into();
        }
        Failure::transient(if error.is_timeout() {
            "no data arrived for too long".to_owned()
        } else {
            root_cause(&error)
        })
    }

    fn failed(&self, why: String) -> DownloadError {
        DownloadError::Failed {
            file: self.file.kind,
            job: self.file.job.clone(),
            link: redact::link(&self.file.url),
            why,
        }
    }

    fn unsafe_link(&self, why: &'static str) -> DownloadError {
        DownloadError::UnsafeLink {
            file: self.file.kind,
            job: self.file.job.clone(),
            link: redact::link(&self.file.url),
            why,
        }
    }
}

/// Returns the last cause of an error, which is the most specific ("Connection refused").
fn root_cause(error: &dyn StdError) -> String {
    let mut cause = error;
    while let Some(source) = cause.source() {
        cause = source;
    }
    redact::excerpt(&cause.to_string())
}
