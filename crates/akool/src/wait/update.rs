//! What a wait reports: [`Update`].

use std::time::Duration;

use crate::{
    error::Error,
    id::JobId,
    kind::ErrorKind,
    snapshot::Snapshot,
    translation::Translation,
    wait::{
        error::{JobFailed, WaitError},
        poller::End,
        state::PollState,
    },
};

/// Something that happened in a wait.
#[derive(Debug)]
#[non_exhaustive]
pub enum Update {
    /// A poll returned a status that is not the job's end.
    #[non_exhaustive]
    Polled {
        /// What it returned.
        snapshot: Snapshot,
        /// Whether status or progress differ from the poll before. True for the first.
        changed: bool,
        /// How long until the next poll.
        next_poll_in: Duration,
    },
    /// A poll failed, and is retried.
    #[non_exhaustive]
    Retrying {
        /// Why.
        error: Error,
        /// How many polls in a row have failed now, from 1.
        attempt: u32,
        /// How long until the next poll.
        next_poll_in: Duration,
    },
    /// The wait is over. This is the last update of a job, and is sent exactly once.
    Finished(Result<Translation, WaitError>),
}

impl Update {
    /// How long until the next poll. `None` if the wait is over.
    pub fn next_poll_in(&self) -> Option<Duration> {
        match self {
            Self::Polled { next_poll_in, .. } | Self::Retrying { next_poll_in, .. } => Some(*next_poll_in),
            Self::Finished(_) => None,
        }
    }
}

impl End {
    /// The result of a wait that ended in this way: what a [`WaitSet`](crate::WaitSet) reports, for a program that drives
    /// [`Poller`](crate::Poller) itself. `poll` is the result of the last poll, or `None` if the timeout passed without a
    /// last poll. `waited` is the duration of the wait.
    ///
    /// # Errors
    /// If the job failed, or the wait ended before it.
    ///
    /// ```
    /// use std::time::Duration;
    /// use akool::{End, JobId, PollState, WaitError};
    ///
    /// let result = End::Timeout.result(&JobId::from("a"), &PollState::new(7), Duration::from_secs(60), None);
    /// assert!(matches!(result, Err(WaitError::Timeout { .. })));
    /// ```
    pub fn result(
        self,
        job: &JobId,
        state: &PollState,
        waited: Duration,
        poll: Option<Result<Snapshot, Error>>,
    ) -> Result<Translation, WaitError> {
        match poll {
            Some(result) => finish(job, state, waited, self, result),
            None => Err(WaitError::Timeout { last: state.last_known(job, waited), source: None }),
        }
    }
}

/// The result of a wait.
pub(super) fn finish(
    job: &JobId,
    state: &PollState,
    waited: Duration,
    end: End,
    result: Result<Snapshot, Error>,
) -> Result<Translation, WaitError> {
    let last = || state.last_known(job, waited);
    match (end, result) {
        (End::Failed, Ok(snapshot)) => Err(WaitError::JobFailed(JobFailed { snapshot })),
        (End::Completed, Ok(snapshot)) => Translation::from_snapshot(snapshot)
            .ok_or_else(|| WaitError::Rejected { last: last(), source: missing_video(job) }),
        (End::Timeout, result) => {
            let source = (state.failures() > 0).then(|| failure(job, result));
            Err(WaitError::Timeout { last: last(), source })
        }
        (End::RetriesExhausted, result) => {
            Err(WaitError::RetriesExhausted { last: last(), source: failure(job, result) })
        }
        (_, result) => Err(WaitError::Rejected { last: last(), source: failure(job, result) }),
    }
}

/// Why a poll counts as failed. One that succeeded does only if the link to the video was missing.
pub(super) fn failure(job: &JobId, result: Result<Snapshot, Error>) -> Error {
    result.err().unwrap_or_else(|| missing_video(job))
}

fn missing_video(job: &JobId) -> Error {
    let message = "the job is completed, but the response has no usable link to the video";
    Error::new(ErrorKind::MissingVideo, message).with_job(job)
}
