//! Saves the files of a translation to disk, complete or not at all.
//!
//! A download writes to `NAME.part` and renames it to `NAME` once the whole file is on disk. The first bytes must be
//! those of a video, or of SRT subtitles: an error document or a sign-in page is never saved. A download sends no
//! credential: the files are on a CDN with another host, and their links give access by themselves.
//!
//! After a transient error, a download keeps what has arrived and requests the rest with `Range` and `If-Range`. If it
//! fails, stalls, is dropped or is killed, `NAME.part` stays, and `NAME.part.json` beside it has the [`Version`] of the
//! file; the next download resumes. It starts from the beginning if the server does not confirm the version: if the
//! first response had no validator (a strong `ETag` or a date), or if the file has changed since then.
//!
//! ```
//! # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let server = akool_mock::MockServer::start().await;
//! # server.job("64dd92c1f0b6684651e90e09", akool_mock::Timeline::new().completed());
//! # let (base_url, key) = (server.url(), akool::Credential::api_key(server.api_key())?);
//! # let client = akool::Client::builder().base_url(base_url).credential(key).build()?;
//! # let temporary = tempfile::tempdir()?; let folder = temporary.path();
//! use akool_download::Downloader;
//!
//! let translation = client.job("64dd92c1f0b6684651e90e09").wait().await?;
//! let downloader = Downloader::new()?;
//! for file in translation.files() {
//!     let saved = downloader.save(&file, folder).await?;
//!     println!("{} ({} bytes)", saved.path.display(), saved.bytes);
//! }
//! # Ok(())
//! # }
//! ```
//!
//! TLS comes from the features of `akool` (`rustls` or `native-tls`).

mod downloader;
mod error;
mod format;
#[cfg(fuzzing)]
#[doc(hidden)]
pub mod fuzzing;
mod link;
mod lock;
mod name;
mod part;
mod response;
mod retry;
mod save;
mod sink;
mod transfer;
mod version;
mod webvtt;
mod writer;

pub use self::{
    downloader::{BuildError, Downloader, DownloaderBuilder},
    error::DownloadError,
    name::{FileNames, NameTemplate, TemplateError, kind_name, source_name},
    save::{Save, Saved},
    sink::Sink,
    transfer::{Progress, Transfer},
    version::Version,
    webvtt::{NoCues, webvtt},
    writer::sha256_of,
};

/// The example of the README, compiled as a documentation test.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
