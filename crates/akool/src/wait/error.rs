//! Why a wait ended without a translation: [`WaitError`].

use std::{fmt, time::Duration};

use crate::{error::Error, id::JobId, kind::ErrorKind, redact, snapshot::Snapshot, status::Status};

/// Why a wait ended without a translation.
///
/// Only [`WaitError::JobFailed`] is about the job's own end. After the others the job continues, and its id is all
/// that is needed to wait for it again.
#[derive(Debug)]
#[non_exhaustive]
pub enum WaitError {
    /// The job failed.
    JobFailed(JobFailed),
    /// The timeout passed before the job's end.
    #[non_exhaustive]
    Timeout {
        /// What is known of the job.
        last: LastKnown,
        /// The error of the poll that ended the wait. `None` if that poll succeeded, or if the wait ended without a
        /// last poll; `last` has the kind of the last error in any case.
        source: Option<Error>,
    },
    /// Too many polls in a row failed.
    #[non_exhaustive]
    RetriesExhausted {
        /// What is known of the job.
        last: LastKnown,
        /// Why the last poll failed.
        source: Error,
    },
    /// A poll failed with an error that retrying does not fix.
    #[non_exhaustive]
    Rejected {
        /// What is known of the job.
        last: LastKnown,
        /// Why the poll failed.
        source: Error,
    },
}

impl WaitError {
    /// The job that the wait was for.
    pub fn job(&self) -> &JobId {
        match self {
            Self::JobFailed(failed) => failed.snapshot.id(),
            Self::Timeout { last, .. }
            | Self::RetriesExhausted { last, .. }
            | Self::Rejected { last, .. } => &last.job,
        }
    }

    /// What is known of a job that continues. `None` if the job failed.
    pub fn last_known(&self) -> Option<&LastKnown> {
        match self {
            Self::JobFailed(_) => None,
            Self::Timeout { last, .. }
            | Self::RetriesExhausted { last, .. }
            | Self::Rejected { last, .. } => Some(last),
        }
    }

    /// The error of the poll that ended the wait, if one did.
    pub fn last_error(&self) -> Option<&Error> {
        match self {
            Self::JobFailed(_) => None,
            Self::Timeout { source, .. } => source.as_ref(),
            Self::RetriesExhausted { source, .. } | Self::Rejected { source, .. } => Some(source),
        }
    }

    /// What to do next, as a sentence without a capital letter and a full stop.
    pub fn help(&self) -> &'static str {
        match self {
            Self::JobFailed(_) => "check the source video, or create the translation again",
            Self::Timeout { last, .. } if last.status == Some(Status::Completed) => {
                ErrorKind::MissingVideo.help()
            }
            Self::Timeout { .. } => "the job continues: wait for it again by its id, with a longer timeout",
            Self::RetriesExhausted { source, .. } | Self::Rejected { source, .. } => source.help(),
        }
    }
}

impl fmt::Display for WaitError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::JobFailed(failed) => failed.fmt(f),
            Self::Timeout { last, .. } => {
                write!(f, "job {}: not completed after {}; {last}", last.job, Seconds(last.waited))
            }
            Self::RetriesExhausted { last, .. } => {
                let polls = if last.failures == 1 {
                    "1 failed poll".into()
                } else {
                    format!("{} failed polls in a row", last.failures)
                };
                write!(f, "job {}: gave up after {polls}; {last}", last.job)
            }
            // The error names the job, and says more than that its poll was rejected.
            Self::Rejected { source, .. } => source.fmt(f),
        }
    }
}

impl std::error::Error for WaitError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::JobFailed(_) => None,
            Self::Timeout { source, .. } => source.as_ref().map(|source| source as _),
            Self::RetriesExhausted { source, .. } => Some(source),
            // `Display` shows the error itself.
            Self::Rejected { source, .. } => std::error::Error::source(source),
        }
    }
}

/// A job that failed, as the service reports it.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct JobFailed {
    /// The poll that found the job failed.
    pub snapshot: Snapshot,
}

impl JobFailed {
    /// Why, as a number, if the response says so.
    pub fn error_code(&self) -> Option<i64> {
        self.snapshot.error_code()
    }

    /// Why, in the service's words, if the response says so.
    pub fn error_reason(&self) -> Option<&str> {
        self.snapshot.error_reason()
    }
}

impl fmt::Display for JobFailed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "job {} failed: ", self.snapshot.id())?;
        match (self.error_reason().map(redact::excerpt), self.error_code()) {
            (Some(reason), Some(code)) => write!(f, "{reason} (error code {code})"),
            (Some(reason), None) => f.write_str(&reason),
            (None, Some(code)) => write!(f, "error code {code}"),
            (None, None) => f.write_str("the service gives no reason"),
        }
    }
}

/// What was known of a job when its wait ended before the job.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct LastKnown {
    /// The job. It continues: [`Client::job`](crate::Client::job) with this id waits for it again.
    pub job: JobId,
    /// How long the wait lasted.
    pub waited: Duration,
    /// How many polls were made.
    pub attempts: u32,
    /// How many polls in a row had failed at the end.
    pub failures: u32,
    /// The last known status. `None` if no poll returned one.
    pub status: Option<Status>,
    /// The last known progress, in percent.
    pub progress: Option<u8>,
    /// The kind of the last error, whether or not a poll succeeded after it.
    pub last_error: Option<ErrorKind>,
}

impl fmt::Display for LastKnown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.status {
            Some(Status::Completed) => {
                f.write_str("last known status: completed, without a usable link to the video")
            }
            Some(status) => write!(f, "last known status: {status}"),
            None => f.write_str("its status is not known"),
        }
    }
}

/// A duration for people, without fractions that say nothing.
struct Seconds(Duration);

impl fmt::Display for Seconds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let secs = self.0.as_secs();
        match (secs / 3600, secs / 60 % 60, secs % 60) {
            (0, 0, 0..10) => write!(f, "{:.1} s", self.0.as_secs_f64()),
            (0, 0, s) => write!(f, "{s} s"),
            (0, m, s) => write!(f, "{m} min {s} s"),
            (h, m, _) => write!(f, "{h} h {m} min"),
        }
    }
}
