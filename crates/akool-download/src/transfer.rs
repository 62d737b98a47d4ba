//! The HTTP half of a download: [`Transfer`] requests a file, verifies what arrives, and writes it to a [`Sink`].

use std::{error::Error as StdError, fmt, io, path::PathBuf, sync::Arc, time::Duration};

use akool::{Job, RemoteFile, Translation, redact};
use bytes::Bytes;
use reqwest::{Response, header::TRANSFER_ENCODING};

use crate::{
    downloader::Downloader,
    error::DownloadError,
    format::FirstBytes,
    link,
    response::{Answer, range},
    retry::{Stall, Stalled},
    sink::Sink,
    version::Version,
};

/// A download into a [`Sink`], made by [`Downloader::fetch`].
#[derive(Clone)]
#[must_use = "nothing is downloaded until `write_to` is awaited"]
pub struct Transfer {
    pub(crate) downloader: Downloader,
    pub(crate) file: RemoteFile,
    job: Option<Job>,
    progress: Option<Arc<dyn Fn(Progress) + Send + Sync>>,
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

impl Downloader {
    /// Downloads a file into a [`Sink`] of your own, with the same checks.
    pub fn fetch(&self, file: &RemoteFile) -> Transfer {
        Transfer { downloader: self.clone(), file: file.clone(), job: None, progress: None }
    }
}

impl Transfer {
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

    /// Downloads the file into this sink, and resumes what it has. Returns the length of the file in bytes. The sink
    /// then has exactly the file; if this fails, it has a part of it, or nothing.
    ///
    /// # Errors
    /// If the file cannot be downloaded, is not a file of the expected kind, or if the sink fails.
    pub async fn write_to(self, sink: &mut impl Sink) -> Result<u64, DownloadError> {
        let _slot = self.downloader.slot().await;
        self.run(sink).await
    }

    /// Downloads the file. The caller has a slot.
    pub(crate) async fn run(mut self, sink: &mut impl Sink) -> Result<u64, DownloadError> {
        self.check_link()?;
        let stall = Stall::new(self.downloader.retry.stall_timeout, sink.position());
        Attempts { transfer: &mut self, sink, stall }.run().await
    }

    /// Requests the file and returns the length that the server announces. `None` if it announces none.
    pub(crate) async fn length(&self) -> Result<Option<u64>, DownloadError> {
        let mut probe = Probe::default();
        // It ends before there is progress to report.
        match self.clone().run(&mut probe).await {
            Err(error) if !probe.is_done => Err(error),
            _ => Ok(probe.length),
        }
    }

    pub(crate) fn check_link(&self) -> Result<(), DownloadError> {
        link::check(&self.file.url).map_err(|why| self.unsafe_link(why))
    }

    /// Polls the job for another link to the same file, at most once.
    async fn new_link(&mut self) -> Option<url::Url> {
        let snapshot = self.job.take()?.get().await.ok()?;
        let files = Translation::from_snapshot(snapshot)?.files();
        let file = files.into_iter().find(|file| file.kind == self.file.kind)?;
        Some(file.url).filter(|new| is_better(new, &self.file.url))
    }

    fn failed(&self, why: String) -> DownloadError {
        let RemoteFile { kind, job, url, .. } = &self.file;
        DownloadError::Failed { file: *kind, job: job.clone(), link: redact::file_link(url), why }
    }

    fn stalled(&self, why: String) -> DownloadError {
        let RemoteFile { kind, job, url, .. } = &self.file;
        let timeout = self.downloader.retry.stall_timeout;
        DownloadError::Stalled { file: *kind, job: job.clone(), link: redact::file_link(url), timeout, why }
    }

    pub(crate) fn exists(&self, path: PathBuf) -> DownloadError {
        DownloadError::Exists { file: self.file.kind, job: self.file.job.clone(), path }
    }

    fn expired(&self, status: u16) -> DownloadError {
        let RemoteFile { kind, job, url, .. } = &self.file;
        DownloadError::Expired { file: *kind, job: job.clone(), link: redact::file_link(url), status }
    }

    fn unsafe_link(&self, why: &'static str) -> DownloadError {
        let RemoteFile { kind, job, url, .. } = &self.file;
        DownloadError::UnsafeLink { file: *kind, job: job.clone(), link: redact::file_link(url), why }
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
}

/// Whether a link that a poll returned can work if this one did not.
fn is_better(new: &url::Url, old: &url::Url) -> bool {
    new != old && link::check(new).is_ok()
}

impl fmt::Debug for Transfer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Transfer").field(&self.file).finish()
    }
}

/// Receives nothing: it ends the download once a file of the right kind begins to arrive.
#[derive(Default)]
struct Probe {
    version: Version,
    length: Option<u64>,
    is_done: bool,
}

impl Probe {
    fn end<T>(&mut self, length: Option<u64>) -> Result<T, DownloadError> {
        (self.length, self.is_done) = (length, true);
        Err(DownloadError::Io { path: Default::default(), source: io::Error::other("the length is known") })
    }
}

impl Sink for Probe {
    fn position(&self) -> u64 {
        0
    }

    fn version(&self) -> &Version {
        &self.version
    }

    async fn restart(&mut self, version: Version) -> Result<(), DownloadError> {
        match version.total {
            Some(_) => self.end(version.total),
            None => Ok(()),
        }
    }

    async fn write(&mut self, _: Bytes) -> Result<(), DownloadError> {
        self.end(None)
    }

    async fn flush(&mut self) -> Result<(), DownloadError> {
        Ok(())
    }

    async fn sha256(&mut self) -> Result<[u8; 32], DownloadError> {
        self.end(None)
    }
}

/// Why an attempt did not complete the file.
enum Failure {
    /// Another attempt may succeed.
    Transient { why: String, retry_after: Option<Duration> },
    /// The link has expired, with this HTTP status.
    Expired(u16),
    /// The stall timeout has expired.
    Stalled,
    /// No further attempt will succeed.
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

impl From<Stalled> for Failure {
    fn from(_: Stalled) -> Self {
        Self::Stalled
    }
}

/// The attempts of one download. The sink knows how far they got.
struct Attempts<'a, S> {
    transfer: &'a mut Transfer,
    sink: &'a mut S,
    stall: Stall,
}

impl<S: Sink> Attempts<'_, S> {
    async fn run(mut self) -> Result<u64, DownloadError> {
        let retry = self.transfer.downloader.retry;
        let mut failures = 0;
        let mut last = "the server sent nothing".to_owned();
        loop {
            let before = self.sink.position();
            let Err(failure) = self.attempt().await else {
                return Ok(self.sink.position());
            };
            self.sink.flush().await?;
            let pause = match failure {
                Failure::Permanent(error) => return Err(error),
                Failure::Stalled => return Err(self.transfer.stalled(last)),
                Failure::Expired(status) => {
                    let error = self.transfer.expired(status);
                    let Ok(link) = self.stall.wait(self.transfer.new_link()).await else {
                        return Err(error);
                    };
                    self.transfer.file.url = link.ok_or(error)?;
                    continue;
                }
                Failure::Transient { why, retry_after } => {
                    failures = if self.sink.position() > before { 1 } else { failures + 1 };
                    let file = &self.transfer.file;
                    tracing::debug!(job = %file.job, file = %file.kind, %why, failures, "download failed");
                    if failures >= retry.max_failures {
                        return Err(self.transfer.failed(why));
                    }
                    last = why;
                    retry.pause(failures, retry_after, fastrand::f64())
                }
            };
            if self.stall.wait(tokio::time::sleep(pause)).await.is_err() {
                return Err(self.transfer.stalled(last));
            }
        }
    }

    /// Makes one request for the missing bytes.
    async fn attempt(&mut self) -> Result<(), Failure> {
        let Transfer { downloader, file, .. } = &self.transfer;
        let headers = range(self.sink.position(), self.sink.version());
        let http =
            downloader.http_for(&file.url).map_err(|error| self.transfer.failed(root_cause(&error)))?;
        let request = http.get(file.url.clone()).headers(headers);
        let response = self.stall.wait(request.send()).await?;
        let response = response.map_err(|error| self.transfer.request_failed(error))?;
        let version = self.accept(response).await?;

        let position = self.sink.position();
        if let Some(total) = version.total.filter(|total| position < *total) {
            return Err(Failure::transient(format!("received {position} of {total} bytes")));
        }
        self.sink.flush().await?;
        if version.total.is_some_and(|total| position > total) {
            return self.discard("received more bytes than the file has").await;
        }
        if version.has_checksum() && !version.matches(self.sink.sha256().await?) {
            return self.discard("the received data does not match the server's checksum").await;
        }
        Ok(())
    }

    /// Writes the body to the sink, if it is the rest of the file or the whole file. Returns the version of the file.
    async fn accept(&mut self, response: Response) -> Result<Version, Failure> {
        let status = response.status();
        let length = response.content_length();
        match Answer::new(status, response.headers(), length, self.sink.position(), self.sink.version()) {
            Answer::Whole(version) if !version.has_checksum() && ends_with_connection(&response) => {
                Err(Failure::transient(
                    "the server sent no length, so nothing shows whether the file is complete",
                ))
            }
            Answer::Whole(version) => self.receive(response, version, false).await,
            Answer::Rest(version) => self.receive(response, version, true).await,
            Answer::Unusable(why) => self.discard(why).await,
            Answer::Expired => Err(Failure::Expired(status.as_u16())),
            Answer::Failed { retry_after } => Err(Failure::Transient { why: responded(status), retry_after }),
            Answer::Refused => Err(self.transfer.failed(responded(status)).into()),
        }
    }

    /// Writes the body to the sink. The first bytes of a file are held back until they are known to be valid, and what
    /// the sink has is kept until then: an error document does not replace it.
    async fn receive(
        &mut self,
        mut response: Response,
        version: Version,
        is_rest: bool,
    ) -> Result<Version, Failure> {
        let mut position = if is_rest { self.sink.position() } else { 0 };
        let mut first = (!is_rest).then(|| FirstBytes::new(self.transfer.file.kind, version.total));
        loop {
            let chunk = self.stall.wait(response.chunk()).await?;
            let chunk = chunk.map_err(|error| self.transfer.request_failed(error))?;
            let arrived = chunk.as_ref().map(|chunk| chunk.len() as u64);
            position += arrived.unwrap_or_default();
            self.stall.reached(position);
            match (&mut first, chunk) {
                (None, Some(chunk)) => self.sink.write(chunk).await?,
                (None, None) => {}
                (Some(held), chunk) => {
                    let valid = match chunk {
                        Some(chunk) => held.push(chunk),
                        None => held.end(),
                    };
                    if let Some(valid) = valid.map_err(Failure::transient)? {
                        first = None;
                        self.sink.restart(version.clone()).await?;
                        for chunk in valid {
                            self.sink.write(chunk).await?;
                        }
                    }
                }
            }
            if arrived.is_none() {
                return Ok(version);
            }
            if let Some(call) = &self.transfer.progress {
                call(Progress { bytes: position, total: version.total });
            }
        }
    }

    /// Discards what has arrived, so that the next attempt starts from the beginning.
    async fn discard<T>(&mut self, why: impl Into<String>) -> Result<T, Failure> {
        self.sink.restart(Version::default()).await?;
        Err(Failure::transient(why))
    }
}

/// Whether only the end of the connection ends the body, which is the same for a file that broke off.
fn ends_with_connection(response: &Response) -> bool {
    let is_chunked = response.headers().contains_key(TRANSFER_ENCODING);
    is_unframed(response.content_length(), response.version(), is_chunked)
}

fn is_unframed(length: Option<u64>, version: reqwest::Version, is_chunked: bool) -> bool {
    length.is_none() && version < reqwest::Version::HTTP_2 && !is_chunked
}

fn responded(status: reqwest::StatusCode) -> String {
    format!("the server responded with HTTP status {}", status.as_u16())
}

/// Returns the last cause of an error, which is the most specific ("Connection refused").
fn root_cause(error: &dyn StdError) -> String {
    let mut cause = error;
    while let Some(source) = cause.source() {
        cause = source;
    }
    redact::excerpt(&cause.to_string())
}

#[cfg(test)]
mod tests {
    use std::{
        io::{Read, Write},
        sync::atomic::{AtomicBool, Ordering},
        time::Duration,
    };

    use akool::FileKind;
    use bytes::Bytes;
    use reqwest::Version as Http;

    use super::*;

    /// The subtitles of a job at this address.
    fn subtitles(address: std::net::SocketAddr) -> RemoteFile {
        RemoteFile::new("a".into(), FileKind::Subtitles, format!("http://{address}/a.srt").parse().unwrap())
    }

    #[test]
    fn only_the_end_of_the_connection_frames_a_body_without_length_and_chunks() {
        assert!(is_unframed(None, Http::HTTP_11, false) && is_unframed(None, Http::HTTP_10, false));
        assert!(!is_unframed(Some(0), Http::HTTP_11, false));
        assert!(!is_unframed(None, Http::HTTP_11, true));
        assert!(!is_unframed(None, Http::HTTP_2, false) && !is_unframed(None, Http::HTTP_3, false));
    }

    #[test]
    fn another_link_is_used_only_if_it_is_safe() {
        let url = |text: &str| text.parse::<url::Url>().unwrap();
        let old = url("https://cdn.example/a?1");
        assert!(is_better(&url("https://cdn.example/a?2"), &old));
        assert!(!is_better(&old, &old) && !is_better(&url("http://cdn.example/a?2"), &old));
    }

    #[tokio::test]
    async fn the_length_is_that_of_a_file_of_the_right_kind_and_no_progress() {
        let serve = |body: &'static str| {
            let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
            let address = listener.local_addr().unwrap();
            std::thread::spawn(move || {
                let (mut stream, _) = listener.accept().unwrap();
                let _ = stream.read(&mut [0; 4096]);
                let head =
                    format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\nconnection: close\r\n\r\n", body.len());
                let _ = stream.write_all([head.as_bytes(), body.as_bytes()].concat().as_slice());
            });
            address
        };
        let downloader = Downloader::builder().max_failures(1).build().unwrap();
        let reported = Arc::new(AtomicBool::new(false));
        let length = async |address| {
            let reported = Arc::clone(&reported);
            let transfer = downloader.fetch(&subtitles(address));
            transfer.on_progress(move |_| reported.store(true, Ordering::Relaxed)).length().await
        };
        let cue = "1\n00:00:00,000 --> 00:00:01,000\nHola\n";
        assert_eq!(length(serve(cue)).await.unwrap(), Some(cue.len() as u64));
        assert!(!reported.load(Ordering::Relaxed));
        length(serve("<html>")).await.unwrap_err();
        let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        length(closed).await.unwrap_err();
    }

    /// A file in memory.
    struct Memory {
        bytes: Vec<u8>,
        version: Version,
    }

    impl Sink for Memory {
        fn position(&self) -> u64 {
            self.bytes.len() as u64
        }

        fn version(&self) -> &Version {
            &self.version
        }

        async fn restart(&mut self, version: Version) -> Result<(), DownloadError> {
            *self = Self { bytes: Vec::new(), version };
            Ok(())
        }

        async fn write(&mut self, chunk: Bytes) -> Result<(), DownloadError> {
            self.bytes.extend_from_slice(&chunk);
            Ok(())
        }

        async fn flush(&mut self) -> Result<(), DownloadError> {
            Ok(())
        }

        async fn sha256(&mut self) -> Result<[u8; 32], DownloadError> {
            Ok([0; 32])
        }
    }

    /// Serves each of these responses once, and returns the ranges that were requested.
    fn responses(list: Vec<String>) -> (std::net::SocketAddr, std::thread::JoinHandle<Vec<String>>) {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let serve = move |response: String| {
            let (mut stream, _) = listener.accept().unwrap();
            let mut request = [0; 4096];
            let count = stream.read(&mut request).unwrap();
            stream.write_all(response.as_bytes()).unwrap();
            let request = String::from_utf8_lossy(&request[..count]).to_lowercase();
            request.lines().find_map(|line| line.strip_prefix("range: bytes=")).unwrap_or_default().to_owned()
        };
        (address, std::thread::spawn(move || list.into_iter().map(serve).collect()))
    }

    /// In chunks, nothing but the total shows whether all bytes have come.
    #[tokio::test]
    async fn a_rest_that_is_too_short_is_continued_and_one_that_is_too_long_is_discarded() {
        let file = "1\n00:00:00,000 --> 00:00:01,000\nHola\n";
        let total = file.len();
        let rest = |from: usize, bytes: &str| {
            let range = format!("content-range: bytes {from}-{}/{total}\r\netag: \"1\"", total - 1);
            let body = format!("{:x}\r\n{bytes}\r\n0\r\n\r\n", bytes.len());
            format!(
                "HTTP/1.1 206 Partial\r\n{range}\r\ntransfer-encoding: chunked\r\nconnection: close\r\n\r\n{body}"
            )
        };
        let whole = format!("HTTP/1.1 200 OK\r\ncontent-length: {total}\r\nconnection: close\r\n\r\n{file}");
        let long = format!("{}more", &file[10..]);
        for (list, ranges) in [
            (vec![rest(10, &file[10..15]), rest(15, &file[15..])], ["10-", "15-"]),
            (vec![rest(10, &long), whole], ["10-", ""]),
        ] {
            let (address, requested) = responses(list);
            let downloader = Downloader::builder().first_pause(Duration::ZERO).build().unwrap();
            let version =
                Version { etag: Some("\"1\"".to_owned()), total: Some(total as u64), ..Version::default() };
            let mut sink = Memory { bytes: file.as_bytes()[..10].to_vec(), version };
            let length = downloader.fetch(&subtitles(address)).write_to(&mut sink).await.unwrap();
            assert_eq!((length, sink.bytes.as_slice()), (total as u64, file.as_bytes()));
            assert_eq!(requested.join().unwrap(), ranges);
        }
    }
}
