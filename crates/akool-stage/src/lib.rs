//! Puts videos and caption files of this machine into an object store, so that AKOOL can download them by a link that
//! expires, and results into one.
//!
//! [`LocalFile`] reads what identifies a file, [`check()`] what is known to be refused, [`Stage`] uploads it in parts and
//! in bounded memory and makes the [`Link`], and [`StoreSink`] receives a download of `akool-download`. Nothing is made
//! public: an object gets no access rights of its own, and a link is valid for a limited time.
//!
//! ```no_run
//! # async fn example(client: akool::Client) -> Result<(), Box<dyn std::error::Error>> {
//! use akool_stage::{LocalFile, Location, NoLog, Stage, check};
//!
//! let stage = Stage::open(&"s3://bucket/videos".parse::<Location>()?)?;
//! check("talk.mp4".as_ref())?;
//! let file = LocalFile::read("talk.mp4")?;
//! stage.upload(&file, &NoLog, |bytes| println!("{bytes} of {} bytes", file.bytes)).await?;
//! let link = stage.link(&file, akool_stage::DEFAULT_LIFETIME).await?;
//! let request = client.translate(link.url.as_str()).identified_by(file.source_id()).to(["es"]);
//! # let _ = request;
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
