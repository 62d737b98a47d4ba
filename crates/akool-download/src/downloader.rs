//! The settings and the HTTP client of downloads: [`Downloader`].

use std::{
    sync::{Arc, OnceLock},
    time::Duration,
};

use reqwest::redirect;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, SemaphorePermit};
use url::Url;

use crate::{link, retry::Retry};

/// The default of [`DownloaderBuilder::max_concurrent_files`].
const MAX_CONCURRENT_FILES: usize = 4;
/// How many files may wait for the disk. It brings many there in about the time of one.
const MAX_FINISHING_FILES: usize = 32;

/// Downloads files without credentials. Cheap to clone; clones share their connections.
#[derive(Clone, Debug)]
pub struct Downloader {
    http: reqwest::Client,
    /// For links to this machine, made when the first one is used.
    local_http: Arc<OnceLock<reqwest::Client>>,
    pub(crate) retry: Retry,
    slots: Arc<Semaphore>,
    /// Bounds the threads for short work on the disk that needs no slot: a thousand files at once would start hundreds.
    disk_slots: Arc<Semaphore>,
    /// Bounds the files that have arrived and are not yet on the disk.
    finish_slots: Arc<Semaphore>,
    any_redirect: bool,
}

impl Downloader {
    /// Creates a downloader with the default settings: 10 s to connect; a connection that delivers
    /// nothing for 30 s counts as broken; no limit on the total time; 5 failed attempts in a row end a download; at
    /// most 2 minutes without further data; at most 4 files at once.
    ///
    /// # Errors
    /// If the HTTP client cannot be built, for example without a TLS feature.
    pub fn new() -> Result<Self, BuildError> {
        Self::builder().build()
    }

    /// Returns a builder for a downloader with other settings.
    pub fn builder() -> DownloaderBuilder {
        DownloaderBuilder::default()
    }

    /// Waits until another file may arrive. It may as long as the permit is held.
    pub(crate) async fn slot(&self) -> Option<OwnedSemaphorePermit> {
        // The semaphore is never closed, so this always returns a permit.
        Arc::clone(&self.slots).acquire_owned().await.ok()
    }

    /// Waits until the disk may be used for a moment.
    pub(crate) async fn disk_slot(&self) -> Option<SemaphorePermit<'_>> {
        self.disk_slots.acquire().await.ok()
    }

    /// Waits until one more file that has arrived may wait for the disk.
    pub(crate) async fn finish_slot(&self) -> Option<SemaphorePermit<'_>> {
        self.finish_slots.acquire().await.ok()
    }

    /// Returns the HTTP client for a link. A link with `http:` leads to this machine, which a proxy cannot reach; nor
    /// should the proxy see the link.
    pub(crate) fn http_for(&self, link: &Url) -> reqwest::Result<reqwest::Client> {
        if link.scheme() != "http" {
            return Ok(self.http.clone());
        }
        if let Some(http) = self.local_http.get() {
            return Ok(http.clone());
        }
        let http = configured(reqwest::ClientBuilder::new().no_proxy(), self.any_redirect).build()?;
        Ok(self.local_http.get_or_init(|| http).clone())
    }
}

/// Settings of a [`Downloader`].
///
/// ```
/// use akool_download::Downloader;
///
/// # fn example() -> Result<(), akool_download::BuildError> {
/// let downloader = Downloader::builder().max_failures(50).max_concurrent_files(2).build()?;
/// # Ok(())
/// # }
/// # example().unwrap();
/// ```
#[derive(Debug)]
#[must_use]
pub struct DownloaderBuilder {
    http: reqwest::ClientBuilder,
    retry: Retry,
    max_concurrent_files: usize,
    any_redirect: bool,
}

impl Default for DownloaderBuilder {
    fn default() -> Self {
        Self {
            http: reqwest::ClientBuilder::new(),
            retry: Retry::default(),
            max_concurrent_files: MAX_CONCURRENT_FILES,
            any_redirect: false,
        }
    }
}

impl DownloaderBuilder {
    /// Sets the HTTP client to start from, for a proxy, root certificates or a resolver. The CDN
    /// receives the default headers of that client: put no credentials there. The downloader overrides
    /// redirects, timeouts, decompression and the user agent. It does not use this client, nor any
    /// proxy, for `http:` links to this machine.
    pub fn http(mut self, http: reqwest::ClientBuilder) -> Self {
        self.http = http;
        self
    }

    /// Sets how many failed attempts in a row end a download. The default is 5, the minimum
    /// 1. An attempt that receives data starts the count again.
    pub fn max_failures(mut self, attempts: u32) -> Self {
        self.retry.max_failures = attempts.max(1);
        self
    }

    /// Sets the pause after the first failed attempt. The default is 1 second, the minimum 10
    /// milliseconds. The pause doubles with each further failure, up to a minute, and is never shorter
    /// than the server's `Retry-After` (up to 15 minutes). The [stall timeout](Self::stall_timeout) can end it.
    pub fn first_pause(mut self, pause: Duration) -> Self {
        self.retry.first_pause = pause;
        self
    }

    /// Sets how long a download may wait for data beyond the furthest position that it has reached. Failed attempts,
    /// pauses and data that had arrived before do not extend this time, but bytes beyond that position do. The default
    /// is 2 minutes.
    pub fn stall_timeout(mut self, timeout: Duration) -> Self {
        self.retry.stall_timeout = timeout;
        self
    }

    /// Sets how many files the downloader and its clones download at the same time. The default is 4,
    /// the minimum 1. Up to 32 more, which have arrived, may wait for the disk.
    pub fn max_concurrent_files(mut self, files: usize) -> Self {
        self.max_concurrent_files = files;
        self
    }

    /// Also follows redirects to another scheme and to private IP addresses, for a CDN of your own. At
    /// most 5 redirects are followed in any case.
    pub fn follow_any_redirect(mut self) -> Self {
        self.any_redirect = true;
        self
    }

    /// Creates the downloader. This opens no connection.
    ///
    /// # Errors
    /// If the HTTP client cannot be built, for example without a TLS feature.
    pub fn build(self) -> Result<Downloader, BuildError> {
        let http = configured(self.http, self.any_redirect).build().map_err(BuildError)?;
        let slots = || Arc::new(Semaphore::new(self.max_concurrent_files.clamp(1, Semaphore::MAX_PERMITS)));
        Ok(Downloader {
            http,
            local_http: Arc::default(),
            retry: self.retry,
            slots: slots(),
            disk_slots: slots(),
            finish_slots: Arc::new(Semaphore::new(MAX_FINISHING_FILES)),
            any_redirect: self.any_redirect,
        })
    }
}

/// The HTTP client of a [`Downloader`] cannot be built.
#[derive(Debug, thiserror::Error)]
#[error("the HTTP client cannot be built; enable a TLS feature of the crate akool (rustls or native-tls)")]
pub struct BuildError(#[source] reqwest::Error);

/// Applies the settings of every client for files.
fn configured(http: reqwest::ClientBuilder, any_redirect: bool) -> reqwest::ClientBuilder {
    let redirects = if any_redirect {
        redirect::Policy::limited(link::MAX_REDIRECTS)
    } else {
        redirect::Policy::custom(link::follow)
    };
    // No compression, whatever features the build has: ranges count the bytes of the file itself.
    http.no_gzip()
        .no_brotli()
        .no_zstd()
        .no_deflate()
        .redirect(redirects)
        .referer(false)
        .connect_timeout(Duration::from_secs(10))
        .read_timeout(Duration::from_secs(30))
        .user_agent(akool::http::USER_AGENT)
}

#[cfg(test)]
mod tests {
    use std::future::IntoFuture as _;

    use super::*;

    #[tokio::test]
    async fn each_setting_is_used() {
        let seconds = Duration::from_secs;
        let builder = Downloader::builder().max_failures(7).first_pause(seconds(2)).stall_timeout(seconds(3));
        let set = builder.max_concurrent_files(2).follow_any_redirect().build().unwrap();
        let Retry { max_failures, first_pause, stall_timeout } = set.retry;
        assert_eq!((max_failures, first_pause, stall_timeout), (7, seconds(2), seconds(3)));
        assert!(set.any_redirect);
        let slots = (set.slot().await, set.slot().await);
        assert_eq!(set.slots.available_permits(), 0);
        drop(slots);
        assert_eq!(set.slots.available_permits(), 2);
        let least = Downloader::builder().max_failures(0).max_concurrent_files(0).build().unwrap();
        assert_eq!((least.retry.max_failures, least.slots.available_permits()), (1, 1));
        assert!(!Downloader::new().unwrap().any_redirect);
    }

    /// A server for one request, with this response. Returns its address, and the first line of the request once it has
    /// come.
    fn server(response: &'static str) -> (std::net::SocketAddr, std::thread::JoinHandle<String>) {
        use std::io::{Read, Write};

        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let serve = move |listener: std::net::TcpListener| {
            let (mut stream, _) = listener.accept().unwrap();
            let mut request = [0; 4096];
            let count = stream.read(&mut request).unwrap();
            stream.write_all(response.as_bytes()).unwrap();
            String::from_utf8_lossy(&request[..count]).lines().next().unwrap_or_default().to_owned()
        };
        (listener.local_addr().unwrap(), std::thread::spawn(move || serve(listener)))
    }

    #[tokio::test]
    async fn a_proxy_is_used_for_other_machines_only() {
        let response = "HTTP/1.1 204 No Content\r\nconnection: close\r\n\r\n";
        let ((proxy, proxied), (served, direct)) = (server(response), server(response));
        let proxy = reqwest::Proxy::all(format!("http://{proxy}")).unwrap();
        let downloader =
            Downloader::builder().http(reqwest::ClientBuilder::new().proxy(proxy)).build().unwrap();
        let get = async |link: Url| downloader.http_for(&link).unwrap().get(link).send().await;
        assert_eq!(get(format!("http://{served}/a").parse().unwrap()).await.unwrap().status(), 204);
        assert_eq!(direct.join().unwrap(), "GET /a HTTP/1.1");
        get("https://cdn.example/a".parse().unwrap()).await.unwrap_err();
        assert_eq!(proxied.join().unwrap(), "CONNECT cdn.example:443 HTTP/1.1");
    }

    #[tokio::test]
    async fn a_file_that_has_arrived_keeps_its_slot_until_it_may_wait_for_the_disk() {
        let (address, _request) = server(
            "HTTP/1.1 200 OK\r\ncontent-length: 16\r\nconnection: close\r\n\r\n\0\0\0\x10ftypisom\0\0\0\0",
        );
        let downloader = Downloader::builder().max_concurrent_files(1).build().unwrap();
        let mut others = Vec::new();
        for _ in 0..MAX_FINISHING_FILES {
            others.push(downloader.finish_slot().await);
        }
        let link = format!("http://{address}/a.mp4").parse().unwrap();
        let file = akool::RemoteFile::new("a".into(), akool::FileKind::Video, link);
        let folder = tempfile::tempdir().unwrap();
        let has_arrived = Arc::new(tokio::sync::Notify::new());
        let arrived = Arc::clone(&has_arrived);
        let save = downloader.save(&file, folder.path()).on_progress(move |now| {
            if now.bytes == 16 {
                arrived.notify_one();
            }
        });
        let mut saving = tokio::spawn(save.into_future());
        has_arrived.notified().await;
        assert!(tokio::time::timeout(Duration::from_millis(100), &mut saving).await.is_err());
        assert_eq!(downloader.slots.available_permits(), 0);
        others.pop();
        assert_eq!(saving.await.unwrap().unwrap().bytes, 16);
        assert_eq!(downloader.slots.available_permits(), 1);
    }
}
