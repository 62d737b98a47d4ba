//! Why a file was not saved: [`DownloadError`].

use std::{io, path::PathBuf, time::Duration};

use akool::{FileKind, JobId};

/// Why a file was not saved. There is no file under its name then. If the download can be resumed, `NAME.part` stays.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DownloadError {
    /// The link, or a redirect from it, is not safe to follow.
    #[error("the {file} of job {job} was not downloaded from {link}: {why}")]
    UnsafeLink {
        /// The kind of file.
        file: FileKind,
        /// The job of the file.
        job: JobId,
        /// The host and the extension of the link.
        link: String,
        /// The reason.
        why: &'static str,
    },
    /// The server no longer has the file, or the link is no longer valid.
    #[error("the {file} of job {job} cannot be downloaded any more (HTTP status {status} from {link})")]
    Expired {
        /// The kind of file.
        file: FileKind,
        /// The job of the file.
        job: JobId,
        /// The host and the extension of the link.
        link: String,
        /// The HTTP status of the response.
        status: u16,
    },
    /// Too many attempts in a row failed, or the server refused the request.
    #[error("the download of the {file} of job {job} from {link} failed: {why}")]
    Failed {
        /// The kind of file.
        file: FileKind,
        /// The job of the file.
        job: JobId,
        /// The host and the extension of the link.
        link: String,
        /// The reason of the last failure.
        why: String,
    },
    /// No further data arrived for [`DownloaderBuilder::stall_timeout`](crate::DownloaderBuilder::stall_timeout).
    #[error(
        "the download of the {file} of job {job} from {link} stalled: no further data arrived for {timeout:?} ({why})"
    )]
    Stalled {
        /// The kind of file.
        file: FileKind,
        /// The job of the file.
        job: JobId,
        /// The host and the extension of the link.
        link: String,
        /// The timeout.
        timeout: Duration,
        /// The reason of the last failure.
        why: String,
    },
    /// There is another file of that name.
    #[error("{} exists and is not the {file} of job {job}", .path.display())]
    Exists {
        /// The kind of file.
        file: FileKind,
        /// The job of the file.
        job: JobId,
        /// The file that exists.
        path: PathBuf,
    },
    /// The file cannot be written.
    #[error("cannot write {}", .path.display())]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// The cause.
        source: io::Error,
    },
}

impl DownloadError {
    /// Returns the next step, as a sentence without a capital letter and a full stop.
    pub fn help(&self) -> &'static str {
        match self {
            Self::UnsafeLink { .. } => "poll the job for another link, and check that no proxy redirects it",
            Self::Expired { .. } => "files are kept for 7 days; if the job is newer, poll it for a new link",
            Self::Failed { .. } => {
                "try again later, and check that no proxy responds in place of the server; the download resumes if \
                 the server supports it"
            }
            Self::Stalled { .. } => {
                "try again later, or set a longer stall timeout; the download resumes if the server supports it"
            }
            Self::Exists { .. } => "move it away, overwrite it, or choose another folder",
            Self::Io { .. } => "check free space and permissions, or choose another folder",
        }
    }
}
