//! Why a file was not saved: [`DownloadError`].

use std::{io, path::PathBuf};

use akool::{FileKind, JobId};

/// Why a file was not saved. An incomplete file is removed.
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
        /// The link, without its query.
        link: String,
        /// The reason.
        why: &'static str,
    },
    /// The server no longer has the file, or the signature of the link is no longer valid.
    #[error(
        "the {file} of job {job} cannot be downloaded any more (HTTP status {status} from {link}); files are \
         kept for 7 days: poll the job for a new link"
    )]
    Expired {
        /// The kind of file.
        file: FileKind,
        /// The job of the file.
        job: JobId,
        /// The link, without its query.
        link: String,
        /// The HTTP status of the response.
        status: u16,
    },
    /// Too many attempts in a row failed.
    #[error("the download of the {file} of job {job} from {link} failed: {why}; try again later")]
    Failed {
        /// The kind of file.
        file: FileKind,
        /// The job of the file.
        job: JobId,
        /// The link, without its query.
        link: String,
        /// The reason of the last failure.
        why: String,
    },
    /// Another process is writing the same file.
    #[error("another process is writing {}; wait for it, or choose another folder", .path.display())]
    InUse {
        /// The temporary file.
        path: PathBuf,
    },
    /// The file cannot be written.
    #[error(
        "cannot write {}: {source}; check free space and permissions, or choose another folder",
        .path.display()
    )]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// The cause.
        source: io::Error,
    },
}
