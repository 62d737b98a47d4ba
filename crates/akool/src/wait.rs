//! Waiting for a job: [`Wait`], its updates and its errors.
//!
//! The [poller](crate::poller) decides; this module polls, sleeps and reads the clock, and
//! `poll_state.rs` is between them. Nothing is spawned: dropping a wait ends it.

use std::{
    fmt,
    future::{Future, IntoFuture},
    pin::{Pin, pin},
    task::{Context, Poll},
    time::{Duration, SystemTime},
};

use futures_core::Stream;
use futures_util::{
    StreamExt,
    future::{Either, select},
    stream,
};
use tokio::time::Instant;
use tracing::{Instrument, debug_span};

use crate::{
    Error, ErrorKind, Job, JobId, PollPolicy, PollTriggers, Snapshot, Status, Translation,
    poll_state::{Next, PollState, UnexpectedFields},
    poller::Decision,
    triggers::Listener,
};

/// How long a wait goes on unless it is told otherwise: 2 hours. Most jobs take minutes; some are
/// stuck for an hour and complete after all.
pub const DEFAULT_TIMEOUT: Duration = Duration::from_secs(2 * 60 * 60);

/// A wait for a job's end, made by [`Job::wait`]: await it for the result, or take its
/// [updates](Self::updates) or its [events](Self::events).
///
/// A wait ends early on its timeout, on too many failed polls in a row, or on an error that
/// polling again would not change. None of these ends the job: it goes on, and a new wait from
/// its id picks it up again. Dropping a wait ends it at once and leaves nothing running.
///
/// Needs a tokio runtime with its timer enabled.
///
/// ```no_run
/// # async fn example(client: akool::Client) {
/// use akool::WaitError;
///
/// match client.job("64dd92c1f0b6684651e90e09").wait().await {
///     Ok(translation) => println!("{}", translation.video()),
///     Err(WaitError::JobFailed(job)) => eprintln!("failed: {job}"),
///     Err(WaitError::Timeout(end)) => eprintln!("after {} polls", end.polls),
///     Err(error) => eprintln!("{error}"),
/// }
/// # }
/// ```
#[derive(Clone, Debug)]
#[must_use = "a wait does nothing until it is awaited"]
pub struct Wait {
    job: Job,
    policy: PollPolicy,
    timeout: Option<Duration>,
    triggers: Option<PollTriggers>,
}

impl Wait {
    pub(crate) fn new(job: Job) -> Self {
        Self { job, policy: PollPolicy::default(), timeout: Some(DEFAULT_TIMEOUT), triggers: None }
    }

    /// Sets how long to wait in all ([`DEFAULT_TIMEOUT`], 2 hours, unless set). A last poll is
    /// made when it passes, which may take the client's poll timeout longer.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = Some(timeout);
        self
    }

    /// Waits as long as the job takes.
    pub fn without_timeout(mut self) -> Self {
        self.timeout = None;
        self
    }

    /// Sets how often to poll and how much trouble to forgive.
    pub fn policy(mut self, policy: PollPolicy) -> Self {
        self.policy = policy;
        self
    }

    /// Polls also when these say that the job may have changed. The polls in between may be fewer
    /// then: [`PollPolicy::safety_net`]. PollTriggers count from when the wait is awaited, or its updates or
    /// events are asked for.
    pub fn triggers(mut self, triggers: &PollTriggers) -> Self {
        self.triggers = Some(triggers.clone());
        self
    }

    /// The first poll, and then every poll that shows another status or progress; the terminal
    /// one last. A wait that ends early ends the stream with its error.
    ///
    /// ```no_run
    /// # async fn example(client: akool::Client) -> Result<(), akool::WaitError> {
    /// use futures_util::TryStreamExt;
    ///
    /// let mut updates = client.job("64dd92c1f0b6684651e90e09").wait().updates();
    /// while let Some(snapshot) = updates.try_next().await? {
    ///     println!("{}", snapshot.status());
    /// }
    /// # Ok(())
    /// # }
    /// ```
    pub fn updates(self) -> Updates {
        Updates(self.events())
    }

    /// Everything that happens: each poll, each trouble that was forgiven, and the end, which is
    /// the last event and comes exactly once.
    pub fn events(self) -> Events {
        let watch = Watch::new(self);
        let events = stream::unfold(watch, |mut watch| async {
            let event = watch.next().await?;
            Some((event, watch))
        });
        Events(Box::pin(events.fuse()))
    }
}

impl IntoFuture for Wait {
    type Output = Result<Translation, WaitError>;
    type IntoFuture = Pin<Box<dyn Future<Output = Self::Output> + Send>>;

    fn into_future(self) -> Self::IntoFuture {
        let mut watch = Watch::new(self);
        Box::pin(async move {
            loop {
                if let (_, Some(end)) = watch.step().await {
                    return end;
                }
            }
        })
    }
}

/// What happened in a wait.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Event {
    /// A poll told the job's status, which is no end.
    Polled {
        /// What it told.
        snapshot: Snapshot,
        /// Whether status or progress are different from the poll before. True for the first.
        changed: bool,
        /// How long until the next poll.
        next_poll_in: Duration,
    },
    /// A poll failed, and is forgiven within the failure budget.
    Trouble {
        /// Why.
        error: Error,
        /// How many polls in a row have failed now.
        failures: u32,
        /// How many would end the wait.
        budget: u32,
        /// How long until the next poll.
        next_poll_in: Duration,
    },
    /// The wait is over.
    Ended(Result<Translation, WaitError>),
}

/// The stream of a wait's [`Event`]s, made by [`Wait::events`].
#[must_use = "a stream does nothing until it is polled"]
pub struct Events(Pin<Box<dyn Stream<Item = Event> + Send>>);

impl Stream for Events {
    type Item = Event;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Event>> {
        self.0.as_mut().poll_next(cx)
    }
}

impl fmt::Debug for Events {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Events")
    }
}

/// The stream of a job's changes, made by [`Wait::updates`].
#[derive(Debug)]
#[must_use = "a stream does nothing until it is polled"]
pub struct Updates(Events);

impl Stream for Updates {
    type Item = Result<Snapshot, WaitError>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        loop {
            let item = match std::task::ready!(Pin::new(&mut self.0).poll_next(cx)) {
                None => None,
                Some(Event::Polled { snapshot, changed: true, .. }) => Some(Ok(snapshot)),
                Some(Event::Polled { .. } | Event::Trouble { .. }) => continue,
                Some(Event::Ended(Ok(translation))) => Some(Ok(translation.into_snapshot())),
                Some(Event::Ended(Err(WaitError::JobFailed(job)))) => Some(Ok(job.snapshot)),
                Some(Event::Ended(Err(error))) => Some(Err(error)),
            };
            return Poll::Ready(item);
        }
    }
}

/// A wait in progress.
struct Watch {
    job: Job,
    poll_state: PollState,
    triggers: Option<Listener>,
    /// When the first poll began; the poll_state's times count from here.
    started: Option<Instant>,
    due: Duration,
    /// What the poll_state does not keep whole.
    last: Option<Snapshot>,
    trouble: Option<Error>,
    unexpected_fields: UnexpectedFields,
    /// The end, once it is known, until it is told.
    end: Option<Result<Translation, WaitError>>,
    ended: bool,
}

impl Watch {
    fn new(wait: Wait) -> Self {
        let triggers = wait.triggers.map(|triggers| {
            let mut listener = triggers.listener();
            listener.listen(wait.job.id());
            listener
        });
        Self {
            triggers,
            poll_state: PollState::new(wait.policy.into(), wait.timeout),
            job: wait.job,
            started: None,
            due: Duration::ZERO,
            last: None,
            trouble: None,
            unexpected_fields: UnexpectedFields::default(),
            end: None,
            ended: false,
        }
    }

    /// The next event, until the end was told.
    async fn next(&mut self) -> Option<Event> {
        if self.ended {
            return None;
        }
        if self.end.is_none() {
            let (event, end) = self.step().await;
            self.end = end;
            if event.is_some() {
                return event;
            }
        }
        self.ended = true;
        self.end.take().map(Event::Ended)
    }

    /// Pauses until the next poll is due, polls, and says what came of it: an event, the end, or,
    /// where the last poll told something new without being the job's end, both.
    async fn step(&mut self) -> (Option<Event>, Option<Result<Translation, WaitError>>) {
        let started = *self.started.get_or_insert_with(Instant::now);
        let span = debug_span!("akool.pause", job = %self.job.id(), after = self.poll_state.polls());
        self.until_due(started).instrument(span).await;

        let began = started.elapsed();
        if let Some(triggers) = &self.triggers {
            triggers.served(self.job.id());
        }
        let attempt = self.poll_state.begin_poll();
        let seen = self.job.poll(attempt).await;
        let now = started.elapsed();
        if let Ok(snapshot) = &seen {
            self.unexpected_fields.report(snapshot);
            self.last = Some(snapshot.clone());
        }
        let (event, next) = self.poll_state.observe(self.job.id(), &self.job.client().pace, began, now, seen);
        if let Some(Event::Trouble { error, .. }) = &event {
            self.trouble = Some(error.clone());
        }
        match next {
            Next::PollAt(at) => {
                self.due = at;
                (event, None)
            }
            Next::Ended(mut end) => {
                // What the poll_state does not keep.
                if let Err(early) = &mut end
                    && let Some(early) = early.last_known_mut()
                {
                    early.last_snapshot = self.last.take();
                    early.last_error = early.last_error.take().or(self.trouble.take());
                }
                (event, Some(end))
            }
        }
    }

    /// Pauses until the next poll is due, which a trigger may bring forward.
    async fn until_due(&mut self, started: Instant) {
        loop {
            let pause = self.pause(started.elapsed());
            if pause.is_zero() {
                return;
            }
            tracing::debug!(seconds = pause.as_secs_f64(), "pausing");
            let Some(triggers) = &self.triggers else {
                return sleep(pause).await;
            };
            match select(pin!(sleep(pause)), pin!(triggers.heard())).await {
                Either::Left(((), _)) => return,
                Either::Right(_) => {
                    if let Decision::PollAt(at) = self.poll_state.trigger(started.elapsed()) {
                        tracing::debug!(hastened = at < self.due, "a trigger");
                        self.due = at;
                    }
                }
            }
        }
    }

    /// How long until the next poll: until it is due, or until the service lets this client poll
    /// again, within the timeout.
    fn pause(&self, elapsed: Duration) -> Duration {
        let mut pause = self.due.saturating_sub(elapsed);
        let service_pause = self.job.client().pace.remaining();
        if service_pause > pause {
            // Not all at once when the time has come.
            pause = service_pause + service_pause.mul_f64(0.1 * fastrand::f64());
        }
        let left = self.poll_state.timeout().map(|timeout| timeout.saturating_sub(elapsed));
        left.map_or(pause, |left| pause.min(left))
    }
}

/// Sleeps, but not on through a suspension of the machine: tokio's clock stands still in it, and
/// a poll that fell due meanwhile is made at once.
async fn sleep(pause: Duration) {
    /// How late a suspension is noticed at most.
    const SLICE: Duration = Duration::from_secs(10);
    let (started, wall) = (Instant::now(), SystemTime::now());
    loop {
        let slept = started.elapsed();
        if slept >= pause || was_suspended(pause, slept, wall.elapsed().unwrap_or_default()) {
            return;
        }
        tokio::time::sleep((pause - slept).min(SLICE)).await;
    }
}

/// Whether the pause is over by the clock on the wall, which is ahead of ours.
fn was_suspended(pause: Duration, slept: Duration, wall: Duration) -> bool {
    wall >= pause && !suspended(slept, wall).is_zero()
}

/// How much the clock on the wall is ahead of ours, which stands still while the machine is suspended.
/// A clock that was set forward looks the same and costs one poll before its time; one that was set
/// back is ignored, as is drift.
pub(crate) fn suspended(ours: Duration, wall: Duration) -> Duration {
    const DRIFT: Duration = Duration::from_secs(5);
    Some(wall.saturating_sub(ours)).filter(|ahead| *ahead > DRIFT).unwrap_or_default()
}

/// Why a wait ended without a translation.
///
/// Only [`WaitError::JobFailed`] says something of the job's own end. After the others the job goes
/// on, and its id is all that is needed to wait for it again.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum WaitError {
    /// The job failed.
    JobFailed(Box<FailedJob>),
    /// The timeout passed, and a last poll did not see the job's end.
    Timeout(Box<LastKnown>),
    /// Too many polls in a row failed.
    RetriesExhausted(Box<LastKnown>),
    /// A poll failed in a way that polling again does not change.
    Rejected(Box<LastKnown>),
}

impl WaitError {
    /// The job that was waited for.
    pub fn job(&self) -> &JobId {
        match self {
            Self::JobFailed(job) => job.snapshot.id(),
            Self::Timeout(end) | Self::RetriesExhausted(end) | Self::Rejected(end) => &end.job,
        }
    }

    pub(crate) fn last_known_mut(&mut self) -> Option<&mut LastKnown> {
        match self {
            Self::JobFailed(_) => None,
            Self::Timeout(end) | Self::RetriesExhausted(end) | Self::Rejected(end) => Some(end),
        }
    }

    /// The last poll that told the job's status, where it was kept; see [`LastKnown::last_snapshot`].
    pub fn last_snapshot(&self) -> Option<&Snapshot> {
        match self {
            Self::JobFailed(job) => Some(&job.snapshot),
            Self::Timeout(end) | Self::RetriesExhausted(end) | Self::Rejected(end) => {
                end.last_snapshot.as_ref()
            }
        }
    }
}

impl fmt::Display for WaitError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::JobFailed(job) => write!(f, "{job}"),
            Self::Timeout(end) => {
                write!(f, "job {}: the timeout passed after {}: {end}", end.job, whole(end.waited))
            }
            Self::RetriesExhausted(end) => {
                write!(f, "job {}: {} polls in a row failed: {end}", end.job, end.failures)
            }
            Self::Rejected(end) => match &end.last_error {
                Some(error) if error.kind() == ErrorKind::UnknownJob => write!(f, "{error}"),
                Some(error) => write!(f, "{error}; the job goes on: wait for it again with its id"),
                None => write!(f, "job {}: {end}", end.job),
            },
        }
    }
}

impl std::error::Error for WaitError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::JobFailed(_) | Self::Rejected(_) => None,
            Self::Timeout(end) | Self::RetriesExhausted(end) => {
                end.last_error.as_ref().map(|error| error as _)
            }
        }
    }
}

/// A job that failed, as the service reports it.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct FailedJob {
    /// The poll that saw it failed.
    pub snapshot: Snapshot,
}

impl FailedJob {
    /// Why, as a number, where the answer says so.
    pub fn error_code(&self) -> Option<i64> {
        self.snapshot.error_code()
    }

    /// Why, in words, where the answer says so.
    pub fn error_reason(&self) -> Option<&str> {
        self.snapshot.error_reason()
    }
}

impl fmt::Display for FailedJob {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "job {} failed: ", self.snapshot.id())?;
        match (self.error_reason().map(crate::redact::excerpt), self.error_code()) {
            (Some(reason), Some(code)) => write!(f, "{reason} (error code {code})"),
            (Some(reason), None) => f.write_str(&reason),
            (None, Some(code)) => write!(f, "error code {code}"),
            (None, None) => f.write_str("the service gives no reason"),
        }
    }
}

/// What was known when a wait ended before its job did.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct LastKnown {
    /// The job. It goes on: [`Client::job`](crate::Client::job) with this id picks it up again.
    pub job: JobId,
    /// How long the wait lasted.
    pub waited: Duration,
    /// The timeout that was set.
    pub timeout: Option<Duration>,
    /// How many polls were made.
    pub polls: u32,
    /// How many of them told the job's status.
    pub answers: u32,
    /// How many polls in a row had failed at the end.
    pub failures: u32,
    /// The last status that was told; `None` where the job's state was never established.
    pub last_status: Option<Status>,
    /// The last poll that told the job's status. A [`WaitSet`](crate::WaitSet) does not keep it: `None`
    /// there, unless it was the very last poll.
    pub last_snapshot: Option<Snapshot>,
    /// The last trouble, whether or not a poll succeeded after it. Where one did, a
    /// [`WaitSet`](crate::WaitSet) knows no more than its kind.
    pub last_error: Option<Error>,
}

impl fmt::Display for LastKnown {
    /// What was last known of the job, and that it goes on.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let completed = match self.last_status {
            Some(Status::Completed) => {
                f.write_str("completed when last seen, without a usable link to its video")?;
                true
            }
            Some(status) => {
                write!(f, "still {status} when last seen")?;
                false
            }
            None => {
                f.write_str("its state was never established")?;
                false
            }
        };
        write!(f, " ({} polls, {} answered)", self.polls, self.answers)?;
        if let Some(error) = self.last_error.as_ref().filter(|_| self.failures > 0) {
            write!(f, "; last trouble: {}; {}", error.cause(), error.kind().advice())?;
        }
        f.write_str(if completed {
            "; wait for it again with its id"
        } else {
            "; the job goes on: wait for it again with its id"
        })
    }
}

/// A duration for people, without fractions that say nothing.
fn whole(duration: Duration) -> String {
    if duration < Duration::from_secs(10) {
        format!("{:.1} s", duration.as_secs_f64())
    } else {
        let secs = duration.as_secs();
        match (secs / 3600, secs / 60 % 60, secs % 60) {
            (0, 0, s) => format!("{s} s"),
            (0, m, s) => format!("{m} min {s} s"),
            (h, m, _) => format!("{h} h {m} min"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn secs(secs: u64) -> Duration {
        Duration::from_secs(secs)
    }

    #[test]
    fn a_suspension_ends_a_pause_and_drift_does_not() {
        // Wanted 60 s, slept 10, and the wall says 2 hours.
        assert!(was_suspended(secs(60), secs(10), secs(7200)));
        // Suspended for less than the pause: the rest is slept.
        assert!(!was_suspended(secs(60), secs(10), secs(40)));
        // Clocks that drift, a clock that was set back.
        assert!(!was_suspended(secs(10), secs(9), secs(11)));
        assert!(!was_suspended(secs(60), secs(10), secs(0)));
    }

    #[tokio::test(start_paused = true)]
    async fn a_long_pause_takes_its_time_in_slices() {
        let began = Instant::now();
        sleep(secs(61)).await;
        assert_eq!(began.elapsed().as_secs(), 61);
    }
}
