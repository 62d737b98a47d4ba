//! Where the bytes of a file go: [`Sink`].

use bytes::Bytes;

use crate::{error::DownloadError, version::Version};

/// Receives the bytes of one file, in order. [`Downloader::fetch`](crate::Downloader::fetch) writes only bytes
/// whose start it has checked.
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
