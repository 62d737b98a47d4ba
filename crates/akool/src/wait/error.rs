//! Why a wait ended without a translation: [`WaitError`].

use std::{fmt, time::Duration};

use crate::{
    duration::ShortDuration, error::Error, id::JobId, kind::ErrorKind, redact, snapshot::Snapshot,
    status::Status,
};

/// Why a wait ended without a translation.
///
/// Only [`WaitError::JobFailed`] is about the job's own end. After the others the job continues, and its id is all
/// that is needed to wait for it again.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let server = akool_mock::MockServer::start().await;
/// # server.job("64dd92c1f0b6684651e90e09", akool_mock::Timeline::new().completed());
/// # let (base_url, key) = (server.url(), akool::Credential::api_key(server.api_key())?);
/// # let client = akool::Client::builder().base_url(base_url).credential(key).build()?;
/// use std::time::Duration;
/// use akool::WaitError;
///
/// # server.job("64dd92c1f0b6684651e90e09", akool_mock::Timeline::new().stuck(2));
/// let job = client.job("64dd92c1f0b6684651e90e09");
/// let error = job.wait().timeout(Duration::ZERO).await.unwrap_err();
/// assert!(matches!(error, WaitError::Timeout { .. }));
/// // The job continues.
/// let last = error.last_known().map(|last| last.attempts);
/// assert_eq!(last, Some(1));
/// # Ok(())
/// # }
/// ```
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
                write!(f, "job {}: not completed after {}; {last}", last.job, ShortDuration(last.waited))
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
                f.write_str("last known status: completed, but without a usable link to the video")
            }
            Some(status) => write!(f, "last known status: {status}"),
            None => f.write_str("its status is not known"),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::error::Error as _;

    use super::*;

    fn last(status: Option<Status>) -> LastKnown {
        LastKnown {
            job: "a".into(),
            waited: Duration::from_secs(3661),
            attempts: 5,
            failures: 2,
            status,
            progress: None,
            last_error: None,
        }
    }

    fn error() -> Error {
        Error::new(ErrorKind::Unavailable, "HTTP status 503").with_job(&"a".into())
    }

    #[test]
    fn each_end_says_what_is_known_why_and_what_to_do() {
        let timeout = |status, source| WaitError::Timeout { last: last(status), source };
        let plain = timeout(Some(Status::Processing), None);
        assert_eq!(plain.to_string(), "job a: not completed after 1 h 1 min; last known status: processing");
        assert!(plain.help().contains("longer timeout") && plain.source().is_none());
        assert!(plain.last_error().is_none());
        let without_link = timeout(Some(Status::Completed), Some(error()));
        assert_eq!(without_link.help(), ErrorKind::MissingVideo.help());
        assert_eq!(without_link.last_error().unwrap().kind(), ErrorKind::Unavailable);
        assert!(without_link.to_string().ends_with("completed, but without a usable link to the video"));
        assert_eq!(without_link.source().unwrap().to_string(), "job a: HTTP status 503");

        let exhausted = WaitError::RetriesExhausted { last: last(None), source: error() };
        assert_eq!(
            exhausted.to_string(),
            "job a: gave up after 2 failed polls in a row; its status is not known"
        );
        assert_eq!(exhausted.last_error().unwrap().kind(), ErrorKind::Unavailable);
        assert_eq!((exhausted.help(), exhausted.job().as_str()), (ErrorKind::Unavailable.help(), "a"));
        let once = WaitError::RetriesExhausted {
            last: LastKnown { failures: 1, ..last(Some(Status::Queueing)) },
            source: error(),
        };
        assert!(once.to_string().contains("after 1 failed poll;"), "{once}");
        let rejected = WaitError::Rejected { last: last(None), source: error() };
        assert_eq!(rejected.to_string(), "job a: HTTP status 503");
        assert!(rejected.source().is_none() && rejected.last_known().is_some());
    }
}
