//! Saving a translation's files to disk, whole or not at all.
//!
//! A file streams to `NAME.part` and gets its name once all of it is on disk. Trouble on the way
//! is forgiven like that of a look, and what has arrived is kept: the rest is asked for by
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

use std::{
    fmt,
    future::{Future, IntoFuture},
    io,
    net::IpAddr,
    path::{Path, PathBuf},
    pin::Pin,
    sync::Arc,
    time::Duration,
};

use reqwest::{
    Response, StatusCode,
    header::{ACCEPT_RANGES, CONTENT_RANGE, ETAG, HeaderMap, IF_RANGE, LAST_MODIFIED, RANGE},
    redirect,
};
use tokio::io::AsyncWriteExt;
use url::{Host, Url};

use crate::{PollPolicy, RemoteFile, client::is_loopback, error::root_cause, redact};

/// How many redirects of a link are followed.
const REDIRECTS: usize = 5;
/// How much is gathered in memory before it is written.
const BUFFER: usize = 256 * 1024;

/// Fetches files without credentials. Cheap to clone; clones share their connections.
#[derive(Clone, Debug)]
pub struct Downloader {
    http: reqwest::Client,
    policy: PollPolicy,
}

impl Downloader {
    /// A downloader with the default settings: 10 s to connect, 30 s without a byte before the
    /// connection counts as broken, no limit on the whole, 5 failures in a row forgiven.
    ///
    /// # Errors
    /// When the HTTP client cannot be built, for example without TLS.
    pub fn new() -> Result<Self, crate::ConfigError> {
        Self::with_http(reqwest::ClientBuilder::new())
    }

    /// A downloader on a caller's HTTP client, for a proxy, roots of trust or a resolver. Default
    /// headers of that client are sent to the CDN: put no credentials there. Redirects, timeouts
    /// and the user agent are set after it.
    ///
    /// # Errors
    /// When the HTTP client cannot be built, for example without TLS.
    pub fn with_http(http: reqwest::ClientBuilder) -> Result<Self, crate::ConfigError> {
        let http = http
            .redirect(redirect::Policy::custom(follow))
            .referer(false)
            .connect_timeout(Duration::from_secs(10))
            .read_timeout(Duration::from_secs(30))
            .user_agent(concat!("akool-rust/", env!("CARGO_PKG_VERSION")))
            .build()
            .map_err(crate::ConfigError::Http)?;
        let policy = PollPolicy::default().with_min_interval(Duration::from_secs(1)).with_failure_budget(5);
        Ok(Self { http, policy })
    }

    /// Sets how much trouble to forgive, and how long to pause after it. Progress starts the count
    /// anew.
    #[must_use]
    pub fn policy(mut self, policy: PollPolicy) -> Self {
        self.policy = policy;
        self
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
        }
    }
}

/// A download to be made, by [`Downloader::save`]. Dropping it removes what has arrived so far.
#[must_use = "nothing is downloaded until this is awaited"]
pub struct Save {
    downloader: Downloader,
    file: RemoteFile,
    folder: PathBuf,
    overwrite: bool,
    progress: Option<Arc<dyn Fn(Progress) + Send + Sync>>,
}

impl Save {
    /// Fetches the file also where one of its name is there already, and replaces it.
    pub fn overwrite(mut self) -> Self {
        self.overwrite = true;
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
         files can be fetched for 7 days: look at the job again for a fresh link"
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
    async fn run(self) -> Result<Saved, DownloadError> {
        check(&self.file.url).map_err(|why| self.unsafe_link(why))?;
        let name = self.file.file_name();
        let path = self.folder.join(&name);
        let at = |path: &Path| {
            let path = path.to_owned();
            move |source| DownloadError::Io { path, source }
        };
        tokio::fs::create_dir_all(&self.folder).await.map_err(at(&self.folder))?;
        // Not following a link: one that is there is kept like a file.
        match tokio::fs::symlink_metadata(&path).await {
            Ok(there) if !self.overwrite => {
                return Ok(Saved { path, bytes: there.len(), kept: true });
            }
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(at(&path)(error)),
        }

        let mut part = Part::open(self.folder.join(format!("{name}.part")))?;
        let mut failures = 0;
        loop {
            let before = part.bytes;
            match self.fetch(&mut part).await {
                Ok(()) => break,
                Err(Trouble::Final(error)) => return Err(error),
                Err(Trouble::Passing { why, retry_after }) => {
                    failures = if part.bytes > before { 1 } else { failures + 1 };
                    tracing::debug!(job = %self.file.job, file = %self.file.kind, %why, failures, "download broke off");
                    if failures >= self.downloader.policy.failure_budget() {
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

    /// One request for what is still missing.
    async fn fetch(&self, part: &mut Part) -> Result<(), Trouble> {
        let mut request = self.downloader.http.get(self.file.url.clone());
        match &part.validator {
            Some(validator) if part.bytes > 0 => {
                request = request
                    .header(RANGE, format!("bytes={}-", part.bytes))
                    .header(IF_RANGE, validator.as_str());
            }
            _ => part.restart().await.map_err(Trouble::Final)?,
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
            part.write(&chunk).await.map_err(Trouble::Final)?;
            if let Some(call) = &self.progress {
                call(Progress { bytes: part.bytes, total });
            }
        }
        part.flush().await.map_err(Trouble::Final)?;
        match total {
            Some(total) if total != part.bytes => {
                let why = format!("{} of {total} bytes came", part.bytes);
                part.validator = None;
                Err(Trouble::Passing { why, retry_after: None })
            }
            _ => Ok(()),
        }
    }

    /// Looks at status and headers: does this answer bring the rest, the whole, or nothing?
    /// Tells how long the whole file is.
    async fn accept(&self, response: &Response, part: &mut Part) -> Result<Option<u64>, Trouble> {
        let status = response.status();
        let headers = response.headers();
        match status {
            StatusCode::OK => {
                // The whole, also where a range was asked for: the file has changed, or the
                // server knows no ranges.
                part.restart().await.map_err(Trouble::Final)?;
                part.validator = validator(headers);
                Ok(response.content_length())
            }
            StatusCode::PARTIAL_CONTENT => match content_range(headers) {
                Some((start, total)) if start == part.bytes => Ok(total),
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

/// The file while it is not whole. Dropped before [`Part::finish`], it is removed.
struct Part {
    path: PathBuf,
    file: tokio::io::BufWriter<tokio::fs::File>,
    bytes: u64,
    /// What the server calls this version of the file, for `If-Range`.
    validator: Option<String>,
    finished: bool,
}

impl Part {
    fn open(path: PathBuf) -> Result<Self, DownloadError> {
        match lock(&path) {
            Ok(Some(file)) => Ok(Self {
                path,
                file: tokio::io::BufWriter::with_capacity(BUFFER, tokio::fs::File::from_std(file)),
                bytes: 0,
                validator: None,
                finished: false,
            }),
            Ok(None) => Err(DownloadError::InUse { path }),
            Err(source) => Err(DownloadError::Io { path, source }),
        }
    }

    async fn restart(&mut self) -> Result<(), DownloadError> {
        use tokio::io::AsyncSeekExt;

        let restart = async {
            self.file.flush().await?;
            self.file.get_mut().set_len(0).await?;
            self.file.rewind().await
        };
        restart.await.map_err(|source| DownloadError::Io { path: self.path.clone(), source })?;
        self.bytes = 0;
        self.validator = None;
        Ok(())
    }

    async fn write(&mut self, chunk: &[u8]) -> Result<(), DownloadError> {
        let written = self.file.write_all(chunk).await;
        written.map_err(|source| DownloadError::Io { path: self.path.clone(), source })?;
        self.bytes += chunk.len() as u64;
        Ok(())
    }

    async fn flush(&mut self) -> Result<(), DownloadError> {
        let flushed = self.file.flush().await;
        flushed.map_err(|source| DownloadError::Io { path: self.path.clone(), source })
    }

    /// On disk first, then under its name.
    async fn finish(mut self, path: &Path) -> Result<(), DownloadError> {
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

/// Opens and locks the temporary file, never through a symbolic link; `None` where another
/// process has it.
fn lock(path: &Path) -> io::Result<Option<std::fs::File>> {
    loop {
        if path.symlink_metadata().is_ok_and(|there| !there.is_file()) {
            return Err(io::Error::new(
                io::ErrorKind::AlreadyExists,
                "something else than a file has this name",
            ));
        }
        let mut options = std::fs::OpenOptions::new();
        let file = options.read(true).write(true).create(true).truncate(false).open(path)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(std::fs::TryLockError::WouldBlock) => return Ok(None),
            Err(std::fs::TryLockError::Error(error)) => return Err(error),
        }
        // Between opening and locking, its last owner may have given it its final name.
        if same_file(&file, path)? {
            return Ok(Some(file));
        }
    }
}

#[cfg(unix)]
fn same_file(file: &std::fs::File, path: &Path) -> io::Result<bool> {
    use std::os::unix::fs::MetadataExt;

    let open = file.metadata()?;
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

/// Whether files are fetched from there: `https` anywhere, `http` from this machine.
fn check(url: &Url) -> Result<(), &'static str> {
    match url.scheme() {
        "https" => Ok(()),
        "http" if is_loopback(url) => Ok(()),
        _ => Err("only https links are followed"),
    }
}

/// A redirect of a link: a few, never to another scheme, never to a literal private address.
fn follow(attempt: redirect::Attempt<'_>) -> redirect::Action {
    let first = attempt.previous().first();
    let to = attempt.url();
    let stays_local = first.is_some_and(is_loopback) && is_loopback(to);
    let same_scheme = first.is_some_and(|first| first.scheme() == to.scheme());
    if attempt.previous().len() > REDIRECTS {
        attempt.error("too many redirects")
    } else if !stays_local && (!same_scheme || check(to).is_err() || is_private(to)) {
        attempt.error("redirect to where files are not fetched from")
    } else {
        attempt.follow()
    }
}

fn is_private(url: &Url) -> bool {
    let address = match url.host() {
        Some(Host::Ipv4(address)) => IpAddr::V4(address),
        Some(Host::Ipv6(address)) => address.to_ipv4_mapped().map_or(IpAddr::V6(address), IpAddr::V4),
        Some(Host::Domain(name)) => return name == "localhost",
        None => return true,
    };
    match address {
        IpAddr::V4(v4) => {
            v4.is_private()
                || v4.is_loopback()
                || v4.is_link_local()
                || v4.is_unspecified()
                || v4.is_broadcast()
        }
        IpAddr::V6(v6) => {
            v6.is_loopback() || v6.is_unspecified() || v6.is_unique_local() || v6.is_unicast_link_local()
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

    fn url(text: &str) -> Url {
        Url::parse(text).unwrap()
    }

    #[test]
    fn only_https_and_this_machine_are_fetched_from() {
        assert!(check(&url("https://cdn.example/a")).is_ok());
        assert!(check(&url("http://127.0.0.1:1/a")).is_ok());
        assert!(check(&url("http://cdn.example/a")).is_err());
        for private in [
            "https://10.0.0.1",
            "https://[::1]",
            "https://169.254.1.1",
            "https://[::ffff:10.0.0.1]",
            "https://localhost",
        ] {
            assert!(is_private(&url(private)), "{private}");
        }
        assert!(!is_private(&url("https://cdn.example")));
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
