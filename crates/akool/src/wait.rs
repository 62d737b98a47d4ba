//! Waiting for a job: [`Wait`], its updates and its errors.
//!
//! Everything here drives [`Poller`], which decides; this module looks,
//! sleeps and reads the clock. Nothing is spawned: dropping a wait ends it.

use std::{
    fmt,
    future::{Future, IntoFuture},
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use futures_core::Stream;
use futures_util::{StreamExt, stream};
use tokio::time::Instant;
use tracing::{Instrument, debug_span};

use crate::{
    Error, ErrorKind, Job, JobId, PollPolicy, Snapshot, Status, Translation,
    poller::{Decision, End, Observation, Poller},
};

/// How long a wait goes on unless it is told otherwise: 2 hours. Most jobs take minutes; some are
/// stuck for an hour and complete after all.
pub const DEFAULT_DEADLINE: Duration = Duration::from_secs(2 * 60 * 60);

/// A wait for a job's end, made by [`Job::wait`]: await it for the result, or take its
/// [updates](Self::updates) or its [events](Self::events).
///
/// A wait ends early on its deadline, on too many failed looks in a row, or on an error that
/// looking again would not change. None of these ends the job: it goes on, and a new wait from
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
///     Err(WaitError::Failed(job)) => eprintln!("failed: {job}"),
///     Err(WaitError::DeadlinePassed(end)) => eprintln!("after {} looks", end.looks),
///     Err(error) => eprintln!("{error}"),
/// }
/// # }
/// ```
#[derive(Clone, Debug)]
#[must_use = "a wait does nothing until it is awaited"]
pub struct Wait {
    job: Job,
    policy: PollPolicy,
    deadline: Option<Duration>,
}

impl Wait {
    pub(crate) fn new(job: Job) -> Self {
        Self { job, policy: PollPolicy::default(), deadline: Some(DEFAULT_DEADLINE) }
    }

    /// Sets how long to wait in all ([`DEFAULT_DEADLINE`], 2 hours, unless set). A last look is
    /// made when it passes, which may take the client's look timeout longer.
    pub fn deadline(mut self, deadline: Duration) -> Self {
        self.deadline = Some(deadline);
        self
    }

    /// Waits as long as the job takes.
    pub fn without_deadline(mut self) -> Self {
        self.deadline = None;
        self
    }

    /// Sets how often to look and how much trouble to forgive.
    pub fn policy(mut self, policy: PollPolicy) -> Self {
        self.policy = policy;
        self
    }

    /// The first look, and then every look that shows another status or progress; the terminal
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

    /// Everything that happens: each look, each trouble that was forgiven, and the end, which is
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
                if let Event::Ended(end) = watch.step().await {
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
    /// A look told the job's status, which is no end.
    Looked {
        /// What it told.
        snapshot: Snapshot,
        /// Whether status or progress are different from the look before. True for the first.
        changed: bool,
        /// How long until the next look.
        next_look_in: Duration,
    },
    /// A look failed, and is forgiven within the failure budget.
    Trouble {
        /// Why.
        error: Error,
        /// How many looks in a row have failed now.
        failures: u32,
        /// How many would end the wait.
        budget: u32,
        /// How long until the next look.
        next_look_in: Duration,
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
                Some(Event::Looked { snapshot, changed: true, .. }) => Some(Ok(snapshot)),
                Some(Event::Looked { .. } | Event::Trouble { .. }) => continue,
                Some(Event::Ended(Ok(translation))) => Some(Ok(translation.into_snapshot())),
                Some(Event::Ended(Err(WaitError::Failed(job)))) => Some(Ok(job.snapshot)),
                Some(Event::Ended(Err(error))) => Some(Err(error)),
            };
            return Poll::Ready(item);
        }
    }
}

/// A wait in progress.
struct Watch {
    job: Job,
    policy: PollPolicy,
    deadline: Option<Duration>,
    poller: Poller,
    /// When the first look began; the poller's times count from here.
    started: Option<Instant>,
    due: Duration,
    looks: u32,
    answers: u32,
    last: Option<Snapshot>,
    trouble: Option<Error>,
    /// What was already reported once.
    reported: Vec<String>,
    ended: bool,
}

impl Watch {
    fn new(wait: Wait) -> Self {
        Self {
            poller: Poller::new(wait.policy, wait.deadline, fastrand::u64(..)),
            job: wait.job,
            policy: wait.policy,
            deadline: wait.deadline,
            started: None,
            due: Duration::ZERO,
            looks: 0,
            answers: 0,
            last: None,
            trouble: None,
            reported: Vec::new(),
            ended: false,
        }
    }

    /// The next event, until the end was told.
    async fn next(&mut self) -> Option<Event> {
        if self.ended {
            return None;
        }
        let event = self.step().await;
        self.ended = matches!(event, Event::Ended(_));
        Some(event)
    }

    /// Pauses until the next look is due, looks, and says what came of it.
    async fn step(&mut self) -> Event {
        let started = *self.started.get_or_insert_with(Instant::now);
        let pause = self.due.saturating_sub(started.elapsed());
        if !pause.is_zero() {
            let span = debug_span!("akool.pause", job = %self.job.id(), after = self.looks);
            async {
                tracing::debug!(seconds = pause.as_secs_f64(), "pausing");
                tokio::time::sleep(pause).await;
            }
            .instrument(span)
            .await;
        }

        let began = started.elapsed();
        self.looks = self.looks.saturating_add(1);
        let seen = self.job.look(self.looks).await.and_then(complete_with_video);
        let now = started.elapsed();

        let observation = match &seen {
            Ok(snapshot) => Observation::Status { status: snapshot.status(), age: snapshot.age() },
            Err(error) if error.is_transient() => Observation::Trouble { retry_after: error.retry_after() },
            Err(_) => Observation::Rejected,
        };
        // An answer that reports completion without a link is an answer all the same.
        self.answers += u32::from(match &seen {
            Ok(_) => true,
            Err(error) => error.kind() == ErrorKind::MissingVideo,
        });
        let decision = self.poller.observe(began, now, observation);
        if let Decision::LookAt(at) = decision {
            self.due = at;
        }
        let next_look_in = self.due.saturating_sub(now);

        match (decision, seen) {
            (Decision::LookAt(_), Ok(snapshot)) => {
                self.report(&snapshot);
                let changed = self.last.as_ref().is_none_or(|last| snapshot.differs_from(last));
                self.last = Some(snapshot.clone());
                Event::Looked { snapshot, changed, next_look_in }
            }
            (Decision::LookAt(_), Err(error)) => {
                self.trouble = Some(error.clone());
                Event::Trouble {
                    error,
                    failures: self.poller.failures(),
                    budget: self.policy.failure_budget(),
                    next_look_in,
                }
            }
            (Decision::Finished(end), seen) => Event::Ended(self.finish(end, seen, now)),
        }
    }

    fn finish(
        &mut self,
        end: End,
        seen: Result<Snapshot, Error>,
        waited: Duration,
    ) -> Result<Translation, WaitError> {
        match seen {
            Ok(snapshot) => {
                self.report(&snapshot);
                if snapshot.status() == Status::Failed {
                    return Err(WaitError::Failed(Box::new(FailedJob { snapshot })));
                }
                match Translation::from_snapshot(snapshot.clone()) {
                    Some(translation) => return Ok(translation),
                    None => self.last = Some(snapshot),
                }
            }
            Err(error) => self.trouble = Some(error),
        }
        let early = Box::new(EarlyEnd {
            job: self.job.id().clone(),
            waited,
            deadline: self.deadline,
            looks: self.looks,
            answers: self.answers,
            failures: self.poller.failures(),
            last_snapshot: self.last.take(),
            last_error: self.trouble.take(),
        });
        Err(match end {
            End::DeadlinePassed => WaitError::DeadlinePassed(early),
            End::FailuresExhausted => WaitError::FailuresExhausted(early),
            End::Rejected | End::Completed | End::Failed => WaitError::Rejected(early),
        })
    }

    /// Says once, and not at each look, what in an answer was not as described.
    fn report(&mut self, snapshot: &Snapshot) {
        let unknown = matches!(snapshot.status(), Status::Unknown(_)).then(|| snapshot.status().to_string());
        let oddities = unknown.iter().chain(snapshot.dropped());
        for oddity in oddities {
            if !self.reported.contains(oddity) && self.reported.len() < 64 {
                tracing::warn!(job = %self.job.id(), %oddity, "not as described; the wait goes on");
                self.reported.push(oddity.clone());
            }
        }
    }
}

/// A completed job without a link is trouble that may pass.
fn complete_with_video(snapshot: Snapshot) -> Result<Snapshot, Error> {
    if snapshot.status() == Status::Completed && snapshot.video().is_none() {
        let error = Error::new(
            ErrorKind::MissingVideo,
            "the job is completed, but the answer has no usable link to the video",
        );
        return Err(error.about(snapshot.id()));
    }
    Ok(snapshot)
}

/// Why a wait ended without a translation.
///
/// Only [`WaitError::Failed`] says something of the job's own end. After the others the job goes
/// on, and its id is all that is needed to wait for it again.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum WaitError {
    /// The job failed.
    Failed(Box<FailedJob>),
    /// The deadline passed, and a last look did not see the job's end.
    DeadlinePassed(Box<EarlyEnd>),
    /// Too many looks in a row failed.
    FailuresExhausted(Box<EarlyEnd>),
    /// A look failed in a way that looking again does not change.
    Rejected(Box<EarlyEnd>),
}

impl WaitError {
    /// The job that was waited for.
    pub fn job(&self) -> &JobId {
        match self {
            Self::Failed(job) => job.snapshot.id(),
            Self::DeadlinePassed(end) | Self::FailuresExhausted(end) | Self::Rejected(end) => &end.job,
        }
    }

    /// The last look that told the job's status; `None` where its state was never established.
    pub fn last_snapshot(&self) -> Option<&Snapshot> {
        match self {
            Self::Failed(job) => Some(&job.snapshot),
            Self::DeadlinePassed(end) | Self::FailuresExhausted(end) | Self::Rejected(end) => {
                end.last_snapshot.as_ref()
            }
        }
    }
}

impl fmt::Display for WaitError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Failed(job) => write!(f, "{job}"),
            Self::DeadlinePassed(end) => {
                write!(f, "job {}: the deadline passed after {}: {end}", end.job, whole(end.waited))
            }
            Self::FailuresExhausted(end) => {
                write!(f, "job {}: {} looks in a row failed: {end}", end.job, end.failures)
            }
            Self::Rejected(end) => match &end.last_error {
                Some(error) => write!(f, "{error}"),
                None => write!(f, "job {}: the wait cannot go on", end.job),
            },
        }
    }
}

impl std::error::Error for WaitError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Failed(_) | Self::Rejected(_) => None,
            Self::DeadlinePassed(end) | Self::FailuresExhausted(end) => {
                end.last_error.as_ref().map(|error| error as _)
            }
        }
    }
}

/// A job that failed, as the service reports it.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct FailedJob {
    /// The look that saw it failed.
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
pub struct EarlyEnd {
    /// The job. It goes on: [`Client::job`](crate::Client::job) with this id picks it up again.
    pub job: JobId,
    /// How long the wait lasted.
    pub waited: Duration,
    /// The deadline that was set.
    pub deadline: Option<Duration>,
    /// How many looks were made.
    pub looks: u32,
    /// How many of them told the job's status.
    pub answers: u32,
    /// How many looks in a row had failed at the end.
    pub failures: u32,
    /// The last look that told the job's status; `None` where its state was never established.
    pub last_snapshot: Option<Snapshot>,
    /// The last trouble, whether or not a look succeeded after it.
    pub last_error: Option<Error>,
}

impl fmt::Display for EarlyEnd {
    /// What was last known of the job, and that it goes on.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.last_snapshot {
            Some(snapshot) => write!(f, "still {} when last seen", snapshot.status())?,
            None => f.write_str("its state was never established")?,
        }
        write!(f, " ({} looks, {} answered)", self.looks, self.answers)?;
        if let Some(error) = self.last_error.as_ref().filter(|_| self.failures > 0) {
            write!(f, "; last trouble: {}; {}", error.cause(), error.kind().advice())?;
        }
        f.write_str("; the job goes on: wait for it again with its id")
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
