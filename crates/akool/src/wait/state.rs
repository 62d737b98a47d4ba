//! The state of the wait for one job: [`PollState`].

use std::time::Duration;

use crate::{id::JobId, kind::ErrorKind, status::Status, wait::error::LastKnown};

/// The state of the wait for one job, between two polls.
///
/// It is small, because a [`WaitSet`](crate::WaitSet) holds one for each of its jobs. With feature `serde` it can be
/// stored: a [`Poller`](crate::Poller) with the same policy then makes the same decisions as if it had never stopped.
/// Times count from the beginning of the wait.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct PollState {
    /// Determines the jitter, together with the attempt.
    pub(super) seed: u64,
    pub(super) attempts: u32,
    /// Failed polls in a row.
    pub(super) failures: u32,
    pub(super) next_poll: Duration,
    pub(super) last_poll_ended: Duration,
    pub(super) status: Option<Status>,
    pub(super) progress: Option<u8>,
    pub(super) last_error: Option<ErrorKind>,
    /// Triggered polls that showed nothing new, since the last change.
    pub(super) fruitless_triggers: u8,
    /// The next poll was brought forward by a trigger.
    pub(super) triggered: bool,
    /// When a poll first saw the job processed, if an earlier one saw it queued.
    #[cfg(feature = "metrics")]
    #[cfg_attr(feature = "serde", serde(default))]
    pub(super) processing_since: Option<Duration>,
}

impl PollState {
    /// The state of a wait that begins. Its first poll is due at once. The same seed gives the same jitter.
    pub fn new(seed: u64) -> Self {
        Self {
            seed,
            attempts: 0,
            failures: 0,
            next_poll: Duration::ZERO,
            last_poll_ended: Duration::ZERO,
            status: None,
            progress: None,
            last_error: None,
            fruitless_triggers: 0,
            triggered: false,
            #[cfg(feature = "metrics")]
            processing_since: None,
        }
    }

    /// How many polls were observed.
    pub fn attempts(&self) -> u32 {
        self.attempts
    }

    /// How many polls in a row have failed.
    pub fn failures(&self) -> u32 {
        self.failures
    }

    /// When the next poll is due, since the beginning of the wait.
    pub fn next_poll(&self) -> Duration {
        self.next_poll
    }

    /// The last known status. `None` before the first.
    pub fn status(&self) -> Option<Status> {
        self.status
    }

    /// The last known progress, in percent.
    pub fn progress(&self) -> Option<u8> {
        self.progress
    }

    /// The kind of the last error, whether or not a poll succeeded after it.
    pub fn last_error(&self) -> Option<ErrorKind> {
        self.last_error
    }

    /// What is known of the job when its wait ends.
    pub(crate) fn last_known(&self, job: &JobId, waited: Duration) -> LastKnown {
        LastKnown {
            job: job.clone(),
            waited,
            attempts: self.attempts,
            failures: self.failures,
            status: self.status,
            progress: self.progress,
            last_error: self.last_error,
        }
    }

    /// A number from 0 to 1 that depends on the seed and the attempt.
    pub(super) fn random(&self) -> f64 {
        fastrand::Rng::with_seed(self.seed ^ u64::from(self.attempts).wrapping_mul(0x9e37_79b9_7f4a_7c15))
            .f64()
    }
}
