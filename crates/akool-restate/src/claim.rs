//! The rule for creating at most once: [`Claim`]. It has no input, no output and no clock, and knows no engine.
//!
//! An engine that repeats a step after a crash cannot repeat a request that costs money. So an attempt first stores a
//! claim with a random token, and the engine records the token of the first attempt that got so far. Only the attempt
//! whose own token was recorded sends the request. Any later one finds another token, and does not know what the
//! earlier one has sent: the outcome is unknown, until an operator finds out.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// How old a claim may be when the request is sent. An engine gives up an attempt that does not answer, and another one
/// then records that the outcome is unknown. The attempt may only be stopped, and must not send its request when it
/// runs again. So this is shorter than the time after which an attempt is given up.
pub const MAX_CLAIM_AGE: Duration = Duration::from_secs(20);

/// What is stored of the creation of one work.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Stored<T> {
    /// An attempt stored its claim, and no outcome followed.
    Claimed,
    /// An outcome that is final until someone changes it: the job, or that it is unknown.
    Done(T),
}

/// What to do when a creation begins.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Start<T> {
    /// Return this outcome. Nothing is sent.
    Return(T),
    /// Record and return that the outcome is unknown: an earlier call ended between its claim and its outcome.
    OutcomeUnknown,
    /// Leave it to another worker: this one is about to stop, and nothing is claimed.
    Leave,
    /// Store a claim.
    Claim,
}

/// Says how a creation begins. Only one call for the same work may run at a time, so a stored claim belongs to a call
/// that has ended.
///
/// ```
/// use akool_restate::claim::{Start, Stored, start};
///
/// assert_eq!(start(Some(Stored::Done("the job")), false), Start::Return("the job"));
/// assert_eq!(start::<&str>(Some(Stored::Claimed), false), Start::OutcomeUnknown);
/// assert_eq!(start::<&str>(None, false), Start::Claim);
/// ```
pub fn start<T>(stored: Option<Stored<T>>, is_draining: bool) -> Start<T> {
    match stored {
        Some(Stored::Done(outcome)) => Start::Return(outcome),
        Some(Stored::Claimed) => Start::OutcomeUnknown,
        None if is_draining => Start::Leave,
        None => Start::Claim,
    }
}

/// A number that only one attempt has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Token(u64);

/// A point in time on two clocks. Either may stand still: the monotonic one while the machine sleeps, the wall clock
/// when it is set back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Now {
    /// Since any fixed point, on a clock that is never set.
    pub monotonic: Duration,
    /// Since the Unix epoch.
    pub wall: Duration,
}

/// The claim of one attempt. It is never stored or copied to another attempt; its [token](Self::token) is.
#[derive(Debug)]
pub struct Claim {
    token: Token,
    made: Now,
}

/// Whether an attempt may send the request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Permission {
    /// Send it now.
    Send,
    /// Do not send it: an earlier attempt made the claim and may have sent the request. The outcome is unknown.
    EarlierAttempt,
    /// Do not send it: this attempt was held up for so long that another one may have taken over. Nothing was sent.
    TooOld,
}

impl Claim {
    /// A claim of an attempt that runs now. `random` must differ in every attempt, also in those that repeat this one: do
    /// not take it from the engine's own random numbers, which are the same when an attempt is repeated.
    pub fn new(random: u64, now: Now) -> Self {
        Self { token: Token(random), made: now }
    }

    /// What to record. The engine returns the token that was recorded first.
    pub fn token(&self) -> Token {
        self.token
    }

    /// Says whether the request may be sent, given the recorded token. Call it directly before sending.
    ///
    /// ```
    /// use std::time::Duration;
    /// use akool_restate::claim::{Claim, Now, Permission};
    ///
    /// let at = |secs| Now { monotonic: Duration::from_secs(secs), wall: Duration::from_secs(1_000_000 + secs) };
    /// let claim = Claim::new(7, at(0));
    /// assert_eq!(claim.permission(claim.token(), at(1)), Permission::Send);
    /// assert_eq!(claim.permission(claim.token(), at(60)), Permission::TooOld);
    /// assert_eq!(claim.permission(Claim::new(8, at(0)).token(), at(1)), Permission::EarlierAttempt);
    /// ```
    pub fn permission(&self, recorded: Token, now: Now) -> Permission {
        let monotonic = now.monotonic.saturating_sub(self.made.monotonic);
        let wall = now.wall.saturating_sub(self.made.wall);
        if recorded != self.token {
            Permission::EarlierAttempt
        } else if monotonic.max(wall) > MAX_CLAIM_AGE {
            Permission::TooOld
        } else {
            Permission::Send
        }
    }
}

/// How often a creation whose request was surely not sent is tried in one call.
pub const MAX_ROUNDS: u32 = 5;

/// The pause before a creation is tried again with a new claim, after this many rounds whose request was surely not
/// sent or surely refused for now. `None`: give up and return the reason.
///
/// ```
/// use std::time::Duration;
/// use akool_restate::claim::pause_before_next;
///
/// assert_eq!(pause_before_next(1, None), Some(Duration::from_secs(1)));
/// assert_eq!(pause_before_next(2, Some(Duration::from_secs(30))), Some(Duration::from_secs(30)));
/// assert_eq!(pause_before_next(5, None), None);
/// ```
pub fn pause_before_next(rounds: u32, retry_after: Option<Duration>) -> Option<Duration> {
    let backoff = Duration::from_secs(1 << rounds.saturating_sub(1).min(16));
    (rounds < MAX_ROUNDS).then(|| backoff.max(retry_after.unwrap_or_default()).min(akool::MAX_RETRY_AFTER))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(secs: u64) -> Now {
        Now { monotonic: Duration::from_secs(secs), wall: Duration::from_secs(1_700_000_000 + secs) }
    }

    #[test]
    fn what_is_done_is_returned_also_by_a_worker_that_stops() {
        for is_draining in [false, true] {
            assert_eq!(start(Some(Stored::Done(7)), is_draining), Start::Return(7));
            assert_eq!(start::<u8>(Some(Stored::Claimed), is_draining), Start::OutcomeUnknown);
        }
        assert_eq!(start::<u8>(None, false), Start::Claim);
        assert_eq!(start::<u8>(None, true), Start::Leave);
    }

    #[test]
    fn only_the_attempt_whose_token_was_recorded_sends() {
        let (first, second) = (Claim::new(1, at(0)), Claim::new(2, at(0)));
        assert_eq!(first.permission(first.token(), at(0)), Permission::Send);
        assert_eq!(second.permission(first.token(), at(0)), Permission::EarlierAttempt);
        // Also long after: an attempt that did not make the claim never says that nothing was sent.
        assert_eq!(second.permission(first.token(), at(1000)), Permission::EarlierAttempt);
    }

    #[test]
    fn an_attempt_that_was_stopped_for_long_does_not_send() {
        let claim = Claim::new(1, at(100));
        let max = MAX_CLAIM_AGE.as_secs();
        assert_eq!(claim.permission(claim.token(), at(100 + max)), Permission::Send);
        assert_eq!(claim.permission(claim.token(), at(101 + max)), Permission::TooOld);
        // Either clock is enough.
        let slept = Now { monotonic: at(100).monotonic, wall: at(101 + max).wall };
        let set_back = Now { monotonic: at(101 + max).monotonic, wall: at(0).wall };
        for now in [slept, set_back] {
            assert_eq!(claim.permission(claim.token(), now), Permission::TooOld);
        }
        // A clock that was set back does not make a claim old.
        assert_eq!(claim.permission(claim.token(), at(0)), Permission::Send);
    }

    #[test]
    fn rounds_are_bounded_and_a_pause_of_the_service_is_kept() {
        let pauses: Vec<_> = (1..=6).map(|rounds| pause_before_next(rounds, None)).collect();
        let secs = |secs| Some(Duration::from_secs(secs));
        assert_eq!(pauses, [secs(1), secs(2), secs(4), secs(8), None, None]);
        assert_eq!(pause_before_next(1, Some(Duration::MAX)), Some(akool::MAX_RETRY_AFTER));
    }
}
