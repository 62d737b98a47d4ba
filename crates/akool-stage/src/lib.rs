//! Puts videos and caption files of this machine into an object store, so that AKOOL can download them by a link that
//! expires, and results into one.
//!
//! [`LocalFile`] reads what identifies a file, [`check()`] what is known to be refused, [`Stage`] uploads it in parts and
//! in bounded memory and makes the [`Link`], and [`StoreSink`] receives a download of `akool-download`. Nothing is made
//! public: an object gets no access rights of its own, and a link is valid for a limited time.
//!
//! What needs no store: a file is checked before it is uploaded, and it is the same work under every link.
//!
//! ```
//! # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let server = akool_mock::MockServer::start().await;
//! # let (base_url, key) = (server.url(), akool::Credential::api_key(server.api_key())?);
//! # let client = akool::Client::builder().base_url(base_url).credential(key).build()?;
//! # let folder = tempfile::tempdir()?;
//! # server.job("64dd92c1f0b6684651e90e09", akool_mock::Timeline::new().completed());
//! # let files = client.job("64dd92c1f0b6684651e90e09").wait().await?.files();
//! # let talk = akool_download::Downloader::new()?.save(&files[0], folder.path()).await?.path;
//! use akool_stage::{LocalFile, check};
//!
//! let checked = check(&talk)?;
//! println!("{} bytes, {:?}", checked.bytes, checked.length);
//! assert!(checked.limits().is_empty());
//!
//! let file = LocalFile::read(&talk)?;
//! // Links to an object differ each time, because they contain a signature.
//! let translate = |link: &str| client.translate(link).identified_by(file.source_id()).to(["es"]);
//! let request = translate("https://bucket.s3.amazonaws.com/talk.mp4?X-Amz-Signature=1");
//! let later = translate("https://bucket.s3.amazonaws.com/talk.mp4?X-Amz-Signature=2");
//! assert_eq!(request.work_key(&"es".into())?, later.work_key(&"es".into())?);
//! println!("{}", request.send().await?.jobs[0]);
//! # Ok(())
//! # }
//! ```
//!
//! With a store, whose settings and credentials come from the usual variables and files:
//!
//! ```no_run
//! # async fn example(client: akool::Client, file: akool_stage::LocalFile) -> Result<(), Box<dyn std::error::Error>> {
//! use akool_stage::{DEFAULT_LIFETIME, Location, NoLog, Stage};
//!
//! let stage = Stage::open(&"s3://bucket/videos".parse::<Location>()?)?;
//! stage.upload(&file, &NoLog, |bytes| println!("{bytes} of {} bytes", file.bytes)).await?;
//! let link = stage.link(&file, DEFAULT_LIFETIME).await?;
//! client.translate(link.url.as_str()).identified_by(file.source_id()).to(["es"]).send().await?;
//! # Ok(())
//! # }
//! ```

mod boxes;
mod check;
mod error;
mod file;
mod link;
mod location;
mod profile;
mod sink;
mod stage;
mod upload;

pub use self::{
    check::{Checked, Limit, check, is_video},
    error::{Failure, StageError},
    file::LocalFile,
    link::{CredentialsEnd, DEFAULT_LIFETIME, Link, MAX_LIFETIME},
    location::Location,
    sink::StoreSink,
    stage::Stage,
    upload::{LogError, LogResult, NoLog, UploadLog},
};

/// The example of the README, compiled as a documentation test.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
