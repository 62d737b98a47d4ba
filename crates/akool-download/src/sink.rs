//! Where the bytes of a file go: [`Sink`].

use bytes::Bytes;

use crate::{error::DownloadError, version::Version};

/// Receives the bytes of one file, in order. [`Downloader::fetch`](crate::Downloader::fetch) writes only bytes
/// whose start it has checked.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let server = akool_mock::MockServer::start().await;
/// # server.job("64dd92c1f0b6684651e90e09", akool_mock::Timeline::new().completed());
/// # let (base_url, key) = (server.url(), akool::Credential::api_key(server.api_key())?);
/// # let client = akool::Client::builder().base_url(base_url).credential(key).build()?;
/// use akool_download::{DownloadError, Downloader, Sink, Version};
/// use bytes::Bytes;
///
/// /// Keeps a file in memory.
/// #[derive(Default)]
/// struct Memory {
///     bytes: Vec<u8>,
///     version: Version,
/// }
///
/// impl Sink for Memory {
///     fn position(&self) -> u64 {
///         self.bytes.len() as u64
///     }
///
///     fn version(&self) -> &Version {
///         &self.version
///     }
///
///     async fn restart(&mut self, version: Version) -> Result<(), DownloadError> {
///         *self = Self { bytes: Vec::new(), version };
///         Ok(())
///     }
///
///     async fn write(&mut self, chunk: Bytes) -> Result<(), DownloadError> {
///         self.bytes.extend_from_slice(&chunk);
///         Ok(())
///     }
///
///     async fn flush(&mut self) -> Result<(), DownloadError> {
///         Ok(())
///     }
///
///     async fn sha256(&mut self) -> Result<[u8; 32], DownloadError> {
///         unimplemented!("with the crate sha2, for example")
///     }
/// }
///
/// let files = client.job("64dd92c1f0b6684651e90e09").wait().await?.files();
/// let mut memory = Memory::default();
/// let bytes = Downloader::new()?.fetch(&files[0]).write_to(&mut memory).await?;
/// assert_eq!(bytes, memory.position());
/// # Ok(())
/// # }
/// ```
pub trait Sink: Send {
    /// Returns the number of bytes that were written since the last restart, also by an earlier download that
    /// this one resumes.
    fn position(&self) -> u64;

    /// Returns the version to which these bytes belong.
    fn version(&self) -> &Version;

    /// Discards all bytes. The bytes that follow belong to this version.
    fn restart(&mut self, version: Version) -> impl Future<Output = Result<(), DownloadError>> + Send;

    /// Appends bytes.
    fn write(&mut self, chunk: Bytes) -> impl Future<Output = Result<(), DownloadError>> + Send;

    /// Waits until all bytes are stored. Called after each attempt.
    fn flush(&mut self) -> impl Future<Output = Result<(), DownloadError>> + Send;

    /// Returns the SHA-256 of all bytes. Called after [`flush`](Self::flush), and only if the server sent a
    /// checksum: usually with the [version](Version::has_checksum), before the first byte.
    fn sha256(&mut self) -> impl Future<Output = Result<[u8; 32], DownloadError>> + Send;
}
