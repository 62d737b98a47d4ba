//! Saving a translation's files to disk, whole or not at all.
//!
//! A file streams to `NAME.part` and gets its name once all of it is on disk. Trouble on the way
//! is forgiven like that of a poll, and what has arrived is kept: the rest is asked for by
//! `Range`, guarded by `If-Range`, where the server can do that. No credential is sent: the files
//! are on a CDN of another host, and their links may be signed.
//!
//! ```no_run
//! # async fn example(translation: akool::Translation) -> Result<(), Box<dyn std::error::Error>> {
//! use akool::download::Downloader;
//!
//! let downloader = Downloader::new()?;
//! for file in translation.files() {
//!     let saved = downloader.save(&file, "out").await?;
//!     println!("{} ({} bytes)", saved.path.display(), saved.bytes);
//! }
//! # Ok(())
//! # }
//! ```

mod link;
mod part;

use std::{
    fmt,
    future::{Future, IntoFuture},
    io,
    path::{Path, PathBuf},
    pin::Pin,
    sync::Arc,
    time::Duration,
};

use reqwest::{
    Response, StatusCode,
    header::{ACCEPT_RANGES, CONTENT_RANGE, CONTENT_TYPE, ETAG, HeaderMap, IF_RANGE, LAST_MODIFIED, RANGE},
    redirect,
};
use tokio::sync::Semaphore;

use self::part::Part;
use crate::{Job, PollPolicy, RemoteFile, Translation, client::plain, error::root_cause, redact};

/// How many files of a downloader are fetched at once.
const AT_ONCE: usize = 4;

/// Fetches files without credentials. Cheap to clone; clones share their connections.
#[derive(Clone, Debug)]
pub struct Downloader {
    http: reqwest::Client,
    policy: PollPolicy,
    slots: Arc<Semaphore>,
    any_redirect: bool,
}

impl Downloader {
    /// A downloader with the default settings: 10 s to connect, 30 s without a byte before the
    /// connection counts as broken, no limit on the whole, ended by the fifth failure in a row, 4 files at
    /// once (of this downloader and its clones; others wait their turn).
    ///
    /// # Errors
    /// When the HTTP client cannot be built, for example without TLS.
    pub fn new() -> Result<Self, crate::ConfigError> {
        Self::builder().build()
    }

    /// Starts a downloader with other settings than the default ones.
    pub fn builder() -> DownloaderBuilder {
        DownloaderBuilder::default()
    }

    /// Saves a file into a folder, which is made where it is missing, under
    /// [its name](RemoteFile::file_name). Await the result.
    ///
    /// A file that is there already is kept and not fetched: under its own name it is whole.
    pub fn save(&self, file: &RemoteFile, folder: impl Into<PathBuf>) -> Save {
        Save {
            downloader: self.clone(),
            file: file.clone(),
            folder: folder.into(),
            overwrite: false,
            progress: None,
            job: None,
        }
    }
}

/// Settings of a [`Downloader`].
///
/// ```
/// use akool::{PollPolicy, download::Downloader};
///
/// # fn example() -> Result<(), akool::ConfigError> {
/// let downloader = Downloader::builder()
///     .policy(PollPolicy::default().with_max_failures(50))
///     .at_once(2)
///     .build()?;
/// # Ok(())
/// # }
/// # example().unwrap();
/// ```
#[derive(Debug)]
#[must_use]
pub struct DownloaderBuilder {
    http: reqwest::ClientBuilder,
    policy: PollPolicy,
    at_once: usize,
    any_redirect: bool,
}

impl Default for DownloaderBuilder {
    fn default() -> Self {
        Self {
            http: reqwest::ClientBuilder::new(),
            policy: PollPolicy::default().with_min_interval(Duration::from_secs(1)).with_max_failures(5),
            at_once: AT_ONCE,
            any_redirect: false,
        }
    }
}

impl DownloaderBuilder {
    /// Sets the HTTP client to start from, for a proxy, roots of trust or a resolver. Default
    /// headers of that client are sent to the CDN: put no credentials there. Redirects, timeouts,
    /// decompression and the user agent are set after it. Links to this machine by `http:` are
    /// followed without it, and without a proxy.
    pub fn http(mut self, http: reqwest::ClientBuilder) -> Self {
        self.http = http;
        self
    }

    /// Sets how much trouble to forgive, and how long to pause after it. Progress starts the count
    /// anew.
    pub fn policy(mut self, policy: PollPolicy) -> Self {
        self.policy = policy;
        self
    }

    /// Sets how many files are fetched at once (4 unless set; at least 1).
    pub fn at_once(mut self, files: usize) -> Self {
        self.at_once = files;
        self
    }

    /// Follows redirects also to another scheme and to literal private addresses, for a CDN of your
    /// own. Still 5 at most.
    pub fn follow_any_redirect(mut self) -> Self {
        self.any_redirect = true;
        self
    }

    /// Makes the downloader. Connects nowhere yet.
    ///
    /// # Errors
    /// When the HTTP client cannot be built, for example without TLS.
    pub fn build(self) -> Result<Downloader, crate::ConfigError> {
        let http = settings(self.http, self.any_redirect).build().map_err(crate::ConfigError::Http)?;
        Ok(Downloader {
            http,
            policy: self.policy,
            slots: Arc::new(Semaphore::new(self.at_once.clamp(1, Semaphore::MAX_PERMITS))),
            any_redirect: self.any_redirect,
        })
    }
}

/// What a client for files has, whatever it was made from.
fn settings(http: reqwest::ClientBuilder, any_redirect: bool) -> reqwest::ClientBuilder {
    let redirects = if any_redirect {
        redirect::Policy::limited(link::REDIRECTS)
    } else {
        redirect::Policy::custom(link::follow)
    };
    plain(http)
        .redirect(redirects)
        .referer(false)
        .connect_timeout(Duration::from_secs(10))
        .read_timeout(Duration::from_secs(30))
        .user_agent(concat!("akool-rust/", env!("CARGO_PKG_VERSION")))
}

/// A download to be made, by [`Downloader::save`]. Dropping it removes what has arrived so far.
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
    /// Fetches the file also where one of its name is there already, and replaces it.
    pub fn overwrite(mut self) -> Self {
        self.overwrite = true;
        self
    }

    /// Polls at the job again where the link has expired, and goes on with the fresh link where
    /// there is one.
    pub fn renew_link_from(mut self, job: &Job) -> Self {
        self.job = Some(job.clone());
        self
    }

    /// Calls back whenever something was written. Must not block.
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

/// How far a download is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Progress {
    /// How many bytes are written.
    pub bytes: u64,
    /// How many there are in all, where the server says so.
    pub total: Option<u64>,
}

/// A file on disk.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Saved {
    /// Where it is.
    pub path: PathBuf,
    /// How long it is, in bytes.
    pub bytes: u64,
    /// Whether it was there before, and nothing was fetched.
    pub kept: bool,
}

/// Why a file was not saved. Nothing half-written is left behind.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DownloadError {
    /// The link may not be followed.
    #[error("the {file} of job {job} is not fetched from {link}: {why}")]
    UnsafeLink {
        /// Which file.
        file: crate::FileKind,
        /// Of which job.
        job: crate::JobId,
        /// The link, without its signed part.
        link: String,
        /// Why not.
        why: &'static str,
    },
    /// The server has the file no more, or the link's signature is no longer valid.
    #[error(
        "the {file} of job {job} cannot be fetched any more (HTTP status {status} from {link}); \
         files can be fetched for 7 days: poll the job again for a fresh link"
    )]
    Expired {
        /// Which file.
        file: crate::FileKind,
        /// Of which job.
        job: crate::JobId,
        /// The link, without its signed part.
        link: String,
        /// The HTTP status that said so.
        status: u16,
    },
    /// The file did not arrive whole within the failure budget.
    #[error("the {file} of job {job} did not arrive from {link}: {why}; try again later")]
    Failed {
        /// Which file.
        file: crate::FileKind,
        /// Of which job.
        job: crate::JobId,
        /// The link, without its signed part.
        link: String,
        /// What went wrong last.
        why: String,
    },
    /// Another process is writing the same file.
    #[error("{} is being written by another process; wait for it, or choose another folder", .path.display())]
    InUse {
        /// The temporary file.
        path: PathBuf,
    },
    /// The file cannot be written.
    #[error("cannot write {}: {source}; check room and permissions, or choose another folder", .path.display())]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

/// What one request came to, where it did not bring the whole rest.
enum Trouble {
    /// It may pass.
    Passing { why: String, retry_after: Option<Duration> },
    /// It will not.
    Final(DownloadError),
}

impl Save {
    async fn run(mut self) -> Result<Saved, DownloadError> {
        link::check(&self.file.url).map_err(|why| self.unsafe_link(why))?;
        if self.file.url.scheme() == "http" {
            // A proxy cannot reach this machine, and would be told the link.
            let local = settings(reqwest::ClientBuilder::new().no_proxy(), self.downloader.any_redirect);
            self.downloader.http = local.build().map_err(|error| self.failed(root_cause(&error)))?;
        }
        let name = self.file.file_name();
        let path = self.folder.join(&name);
        let at = |path: &Path| {
            let path = path.to_owned();
            move |source| DownloadError::Io { path, source }
        };
        tokio::fs::create_dir_all(&self.folder).await.map_err(at(&self.folder))?;
        match tokio::fs::symlink_metadata(&path).await {
            // An empty file is none of ours: no file of a translation is empty.
            Ok(there) if there.is_file() && there.len() > 0 && !self.overwrite => {
                return Ok(Saved { path, bytes: there.len(), kept: true });
            }
            Ok(there) if there.is_file() => {}
            Ok(_) => return Err(at(&path)(part::not_a_file())),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(at(&path)(error)),
        }

        let slots = Arc::clone(&self.downloader.slots);
        // The semaphore is never closed; without it, everything is fetched at once.
        let _slot = slots.acquire().await.ok();
        let mut part = Part::open(self.folder.join(format!("{name}.part")))?;
        let mut failures = 0;
        loop {
            let before = part.bytes;
            match self.fetch(&mut part).await {
                Ok(()) => break,
                Err(Trouble::Final(error @ DownloadError::Expired { .. })) => match self.fresh_link().await {
                    Some(url) => self.file.url = url,
                    None => return Err(error),
                },
                Err(Trouble::Final(error)) => return Err(error),
                Err(Trouble::Passing { why, retry_after }) => {
                    failures = if part.bytes > before { 1 } else { failures + 1 };
                    tracing::debug!(job = %self.file.job, file = %self.file.kind, %why, failures, "download broke off");
                    if failures >= self.downloader.policy.max_failures() {
                        return Err(self.failed(why));
                    }
                    let pause = self.downloader.policy.backoff(failures, retry_after, fastrand::f64());
                    tokio::time::sleep(pause).await;
                }
            }
        }
        let bytes = part.bytes;
        part.finish(&path).await?;
        Ok(Saved { path, bytes, kept: false })
    }

    /// Another link to the same file, by another poll the job; asked for once.
    async fn fresh_link(&mut self) -> Option<url::Url> {
        let snapshot = self.job.take()?.get().await.ok()?;
        let files = Translation::from_snapshot(snapshot)?.files();
        let file = files.into_iter().find(|file| file.kind == self.file.kind)?;
        (file.url != self.file.url && link::check(&file.url).is_ok()).then_some(file.url)
    }

    /// One request for what is still missing.
    async fn fetch(&self, part: &mut Part) -> Result<(), Trouble> {
        let mut request = self.downloader.http.get(self.file.url.clone());
        match &part.validator {
            Some(validator) if part.bytes > 0 => {
                request = request
                    .header(RANGE, format!("bytes={}-", part.bytes))
                    .header(IF_RANGE, validator.as_str());
            }
            _ => part.restart(None).await.map_err(Trouble::Final)?,
        }
        let mut response = request.send().await.map_err(|error| self.passing(error))?;
        let total = self.accept(&response, part).await?;

        loop {
            let chunk = match response.chunk().await {
                Ok(Some(chunk)) => chunk,
                Ok(None) => break,
                Err(error) => {
                    part.flush().await.map_err(Trouble::Final)?;
                    return Err(self.passing(error));
                }
            };
            part.write(chunk).await.map_err(Trouble::Final)?;
            if let Some(call) = &self.progress {
                call(Progress { bytes: part.bytes, total });
            }
        }
        part.flush().await.map_err(Trouble::Final)?;
        let why = match total {
            _ if part.bytes == 0 => "nothing came, and no file of a translation is empty".to_owned(),
            Some(total) if total != part.bytes => format!("{} of {total} bytes came", part.bytes),
            _ if !part.matches_checksum() => "what came does not match the server's checksum".to_owned(),
            _ => return Ok(()),
        };
        // What is there is not to be trusted: the next attempt starts anew.
        part.validator = None;
        Err(Trouble::Passing { why, retry_after: None })
    }

    /// Polls at status and headers: does this answer bring the rest, the whole, or nothing?
    /// Tells how long the whole file is.
    async fn accept(&self, response: &Response, part: &mut Part) -> Result<Option<u64>, Trouble> {
        let status = response.status();
        let headers = response.headers();
        match status {
            // A sign-in page in the CDN's place.
            StatusCode::OK if is_page(headers) => Err(Trouble::Passing {
                why: "a web page came instead of the file; check that no proxy answers in the CDN's place"
                    .to_owned(),
                retry_after: None,
            }),
            StatusCode::OK => {
                // The whole, also where a range was asked for: the file has changed, or the
                // server knows no ranges.
                part.restart(sha256(headers)).await.map_err(Trouble::Final)?;
                part.validator = validator(headers);
                Ok(response.content_length())
            }
            StatusCode::PARTIAL_CONTENT => match content_range(headers) {
                Some((start, total)) if start == part.bytes => {
                    if let Some(checksum) = sha256(headers) {
                        part.expect(checksum).await.map_err(Trouble::Final)?;
                    }
                    Ok(total)
                }
                _ => {
                    part.validator = None;
                    Err(Trouble::Passing {
                        why: "the server sent another range than was asked for".to_owned(),
                        retry_after: None,
                    })
                }
            },
            StatusCode::FORBIDDEN | StatusCode::NOT_FOUND | StatusCode::GONE => {
                Err(Trouble::Final(DownloadError::Expired {
                    file: self.file.kind,
                    job: self.file.job.clone(),
                    link: redact::link(&self.file.url),
                    status: status.as_u16(),
                }))
            }
            _ => {
                part.validator =
                    part.validator.take().filter(|_| status != StatusCode::RANGE_NOT_SATISFIABLE);
                let passes = status.is_server_error() || matches!(status.as_u16(), 408 | 416 | 425 | 429);
                let why = format!("the server answered with HTTP status {}", status.as_u16());
                if !passes {
                    return Err(Trouble::Final(self.failed(why)));
                }
                Err(Trouble::Passing { why, retry_after: crate::decode::retry_after(headers) })
            }
        }
    }

    fn passing(&self, error: reqwest::Error) -> Trouble {
        if error.is_redirect() {
            return Trouble::Final(
                self.unsafe_link("it redirects too often, or to where files are not fetched from"),
            );
        }
        let why =
            if error.is_timeout() { "nothing came for too long".to_owned() } else { root_cause(&error) };
        Trouble::Passing { why, retry_after: None }
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

/// A strong `ETag`, or else the date: what `If-Range` takes. None where the server knows no ranges.
fn validator(headers: &HeaderMap) -> Option<String> {
    if headers.get(ACCEPT_RANGES).is_some_and(|ranges| ranges == "none") {
        return None;
    }
    let text = |name| headers.get(name)?.to_str().ok().map(str::to_owned);
    text(ETAG).filter(|tag| tag.starts_with('"')).or_else(|| text(LAST_MODIFIED))
}

fn is_page(headers: &HeaderMap) -> bool {
    let kind = headers.get(CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
    kind.to_ascii_lowercase().starts_with("text/html")
}

/// SHA-256 of the whole file in base64, where the server says it: `Repr-Digest`, its forerunner
/// `Digest`, or Amazon's own header.
fn sha256(headers: &HeaderMap) -> Option<String> {
    let text = |name| headers.get(name)?.to_str().ok();
    if let Some(digest) = text("repr-digest").and_then(|value| member(value, "sha-256")) {
        return Some(digest.trim_matches(':').to_owned());
    }
    if let Some(digest) = text("digest").and_then(|value| member(value, "sha-256")) {
        return Some(digest.to_owned());
    }
    // That of a file uploaded in parts has a `-` and counts them: no checksum of the whole.
    text("x-amz-checksum-sha256").filter(|value| !value.contains('-')).map(str::to_owned)
}

/// One member of a list `a=1, b=2`.
fn member<'a>(list: &'a str, name: &str) -> Option<&'a str> {
    list.split(',').find_map(|entry| {
        let (key, value) = entry.trim().split_once('=')?;
        key.eq_ignore_ascii_case(name).then_some(value)
    })
}

/// Start and total of `Content-Range: bytes 10-19/20`.
fn content_range(headers: &HeaderMap) -> Option<(u64, Option<u64>)> {
    let value = headers.get(CONTENT_RANGE)?.to_str().ok()?;
    let (range, total) = value.strip_prefix("bytes ")?.split_once('/')?;
    let start = range.split_once('-')?.0.parse().ok()?;
    let total = if total == "*" { None } else { Some(total.parse().ok()?) };
    Some((start, total))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn checksums_are_read_where_they_are_of_the_whole_file() {
        let read = |name: &'static str, value: &'static str| {
            let mut headers = HeaderMap::new();
            headers.insert(name, value.parse().unwrap());
            sha256(&headers)
        };
        assert_eq!(read("repr-digest", "sha-512=:x:, sha-256=:YWJj:").as_deref(), Some("YWJj"));
        assert_eq!(read("digest", "SHA-256=YWI=").as_deref(), Some("YWI="));
        assert_eq!(read("x-amz-checksum-sha256", "YWJj").as_deref(), Some("YWJj"));
        assert_eq!(read("x-amz-checksum-sha256", "YWJj-3"), None);
        assert_eq!(read("repr-digest", "nonsense"), None);
    }

    #[test]
    fn ranges_are_read() {
        let read = |value: &'static str| {
            let mut headers = HeaderMap::new();
            headers.insert(CONTENT_RANGE, value.parse().unwrap());
            content_range(&headers)
        };
        assert_eq!(read("bytes 10-19/20"), Some((10, Some(20))));
        assert_eq!(read("bytes 10-19/*"), Some((10, None)));
        for nonsense in ["bytes */20", "10-19/20", "bytes 10/20", "bytes -1/20", "bytes 1-2/x"] {
            assert_eq!(read(nonsense), None, "{nonsense}");
        }
    }
}
