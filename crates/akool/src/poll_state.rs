//! What a wait keeps of one job between polls, and what it makes of each poll. Shared by
//! [`Wait`](crate::Wait) and [`WaitSet`](crate::WaitSet), which poll, sleep and read the clock.

use std::{sync::Arc, time::Duration};

use crate::{
    Error, ErrorKind, Event, JobId, LastKnown, PollPolicy, Snapshot, Status, Translation, WaitError,
    poller::{Decision, End, Observation, Poller},
    throttle::Throttle,
    wait::FailedJob,
};

/// Small: a set holds one for each of its jobs. Snapshots and errors go out with the event.
#[derive(Debug)]
pub(crate) struct PollState {
    poller: Poller,
    polls: u32,
    answers: u32,
    /// How old the job was when it was last seen running.
    running_at: Option<Duration>,
    /// The status and progress that were last seen.
    seen: Option<(Status, Option<u8>)>,
    trouble: Option<ErrorKind>,
}

/// What a poll comes to.
#[derive(Debug)]
pub(crate) enum Next {
    /// Poll again at this time since the wait began.
    PollAt(Duration),
    /// The wait is over.
    Ended(Result<Translation, WaitError>),
}

impl PollState {
    pub(crate) fn new(policy: Arc<PollPolicy>, timeout: Option<Duration>) -> Self {
        let poller = Poller::new(policy, timeout, fastrand::u64(..));
        Self { poller, polls: 0, answers: 0, running_at: None, seen: None, trouble: None }
    }

    /// Counts a poll that begins, and says the how-manieth it is.
    pub(crate) fn begin_poll(&mut self) -> u32 {
        self.polls = self.polls.saturating_add(1);
        self.polls
    }

    pub(crate) fn polls(&self) -> u32 {
        self.polls
    }

    pub(crate) fn timeout(&self) -> Option<Duration> {
        self.poller.timeout()
    }

    /// Takes a trigger that the job has changed; see [`Poller::trigger`].
    pub(crate) fn trigger(&mut self, now: Duration) -> Decision {
        self.poller.trigger(now)
    }

    pub(crate) fn status(&self) -> Option<Status> {
        self.seen.map(|(status, _)| status)
    }

    pub(crate) fn trouble(&self) -> Option<ErrorKind> {
        self.trouble
    }

    pub(crate) fn failures(&self) -> u32 {
        self.poller.failures()
    }

    /// Takes what a poll saw that began and ended at these times since the wait began. Where the
    /// last poll told something new without being the job's end, there is an event beside the end.
    pub(crate) fn observe(
        &mut self,
        job: &JobId,
        pace: &Throttle,
        began: Duration,
        now: Duration,
        seen: Result<Snapshot, Error>,
    ) -> (Option<Event>, Next) {
        let (seen, changed) = match seen {
            Ok(snapshot) => {
                let changed = self.is_new(&snapshot);
                (Seen::snapshot(self.dated(snapshot)), changed)
            }
            Err(error) => (Seen::Trouble(error, None), false),
        };
        let status = |snapshot: &Snapshot| Observation::Status {
            status: snapshot.status(),
            age: snapshot.age(),
            video_length: snapshot.video_length(),
        };
        let observation = match &seen {
            Seen::Status(snapshot) => status(snapshot),
            Seen::Completed(translation) => status(translation.snapshot()),
            Seen::Trouble(error, _) if error.is_transient() => {
                Observation::Trouble { retry_after: error.retry_after() }
            }
            Seen::Trouble(..) => Observation::Rejected,
        };
        let decision = self.poller.observe(began, now, observation);
        let next_poll_in = match decision {
            Decision::PollAt(at) => at.saturating_sub(now),
            Decision::Finished(_) => Duration::ZERO,
        };
        if let Seen::Trouble(error, _) = &seen {
            self.trouble = Some(error.kind());
            if error.kind() == ErrorKind::RateLimited {
                pace.pause_for(next_poll_in);
            }
        }
        match (decision, seen) {
            (Decision::PollAt(at), Seen::Status(snapshot)) => {
                (Some(Event::Polled { snapshot, changed, next_poll_in }), Next::PollAt(at))
            }
            (Decision::PollAt(at), Seen::Completed(translation)) => {
                let snapshot = translation.into_snapshot();
                (Some(Event::Polled { snapshot, changed, next_poll_in }), Next::PollAt(at))
            }
            (Decision::PollAt(at), Seen::Trouble(error, _)) => {
                let (failures, budget) = (self.poller.failures(), self.poller.policy().max_failures());
                (Some(Event::Trouble { error, failures, budget, next_poll_in }), Next::PollAt(at))
            }
            (Decision::Finished(end), seen) => {
                let event = match &seen {
                    Seen::Status(snapshot) if changed && !snapshot.status().is_terminal() => {
                        Some(Event::Polled { snapshot: snapshot.clone(), changed, next_poll_in })
                    }
                    _ => None,
                };
                (event, Next::Ended(self.finish(job, end, seen, now)))
            }
        }
    }

    /// Keeps what people watch of a snapshot, and says whether it is different from before.
    fn is_new(&mut self, snapshot: &Snapshot) -> bool {
        self.answers = self.answers.saturating_add(1);
        let now = Some((snapshot.status(), snapshot.progress()));
        std::mem::replace(&mut self.seen, now) != now
    }

    /// Notes when the job was seen running, or when it was last, where it has ended.
    fn dated(&mut self, snapshot: Snapshot) -> Snapshot {
        if snapshot.status().is_terminal() {
            return snapshot.running_at(self.running_at);
        }
        self.running_at = snapshot.age();
        snapshot
    }

    fn finish(&self, job: &JobId, end: End, seen: Seen, waited: Duration) -> Result<Translation, WaitError> {
        let (last_snapshot, last_error) = match seen {
            Seen::Completed(translation) => return Ok(translation),
            Seen::Status(snapshot) if snapshot.status() == Status::Failed => {
                return Err(WaitError::JobFailed(Box::new(FailedJob { snapshot })));
            }
            Seen::Status(snapshot) => (Some(snapshot), None),
            Seen::Trouble(error, incomplete) => (incomplete, Some(error)),
        };
        let early = Box::new(LastKnown {
            job: job.clone(),
            waited,
            timeout: self.timeout(),
            polls: self.polls,
            answers: self.answers,
            failures: self.poller.failures(),
            last_status: self.status(),
            last_snapshot,
            last_error,
        });
        Err(match end {
            End::Timeout => WaitError::Timeout(early),
            End::RetriesExhausted => WaitError::RetriesExhausted(early),
            End::Rejected | End::Completed | End::Failed => WaitError::Rejected(early),
        })
    }
}

/// What a poll saw.
enum Seen {
    /// A job that is not completed.
    Status(Snapshot),
    Completed(Translation),
    /// A failure; or a completed job without a link, which may come later.
    Trouble(Error, Option<Snapshot>),
}

impl Seen {
    fn snapshot(snapshot: Snapshot) -> Self {
        if snapshot.status() != Status::Completed {
            return Self::Status(snapshot);
        }
        match Translation::from_completed(snapshot) {
            Ok(translation) => Self::Completed(translation),
            Err(snapshot) => {
                let error = Error::new(
                    ErrorKind::MissingVideo,
                    "the job is completed, but the answer has no usable link to the video",
                );
                Self::Trouble(error.about(snapshot.id()), Some(*snapshot))
            }
        }
    }
}

/// What in answers was not as described, to be said once and not at each poll.
#[derive(Debug, Default)]
pub(crate) struct UnexpectedFields(Vec<String>);

impl UnexpectedFields {
    /// More different ones than this are not told.
    const MOST: usize = 64;

    pub(crate) fn report(&mut self, snapshot: &Snapshot) {
        let unknown = matches!(snapshot.status(), Status::Unknown(_)).then(|| snapshot.status().to_string());
        for unexpected_field in unknown.iter().chain(snapshot.dropped()) {
            if !self.0.contains(unexpected_field) && self.0.len() < Self::MOST {
                tracing::warn!(job = %snapshot.id(), %unexpected_field, "not as described; the wait goes on");
                self.0.push(unexpected_field.clone());
            }
        }
    }
}
