//! Waiting for many jobs at once: [`WaitSet`].
//!
//! `scheduler.rs` says whose turn it is; this module polls, sleeps and reads the clock, for all jobs
//! on one timer. Nothing is spawned: dropping a set ends it.

use std::{
    fmt,
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::{Duration, SystemTime},
};

use futures_core::Stream;
use futures_util::stream::FuturesUnordered;
use tokio::time::{Instant, Sleep};
use tracing::debug_span;

use crate::{
    Client, DEFAULT_TIMEOUT, Error, ErrorKind, Event, JobId, PollPolicy, PollTriggers, Snapshot, Status,
    poll_state::UnexpectedFields,
    scheduler::{NextPoll, PendingPoll, Scheduler},
    triggers::Listener,
};

/// Waits for many jobs at once, made by [`Client::wait_set`]: insert ids, take events.
///
/// Each job is waited for as by [`Job::wait`](crate::Job::wait): the same intervals, the same failure
/// budget, the same endings, one pace for all when the service asks to slow down. What a set adds:
///
/// - One timer for all, and about 400 bytes for a job: id, status, kind of the last trouble, and
///   what the poller needs. Snapshots go out with the events and are not kept.
/// - A bound on the polls that are under way at once ([`max_concurrent_polls`](Self::max_concurrent_polls)), and so
///   on connections; with HTTP/2 these share one.
/// - A bound on the polls in a second ([`max_polls_per_second`](Self::max_polls_per_second)).
/// - Under pressure, the job that is overdue the longest is polled first.
///
/// It is a plain value, like tokio's `JoinSet`: [`insert`](Self::insert) and
/// [`remove`](Self::remove) between two calls of [`next`](Self::next), which can be dropped at any time
/// without losing anything. So a set grows from another task through a channel of yours:
///
/// ```no_run
/// # async fn example(client: akool::Client, mut new_ids: tokio::sync::mpsc::Receiver<String>) {
/// use akool::Event;
///
/// let mut waits = client.wait_set().max_polls_per_second(20.0);
/// waits.insert("64dd92c1f0b6684651e90e09");
/// loop {
///     tokio::select! {
///         Some((id, event)) = waits.next() => match event {
///             Event::Polled { snapshot, changed: true, .. } => println!("{id}: {}", snapshot.status()),
///             Event::Ended(Ok(translation)) => println!("{id}: {}", translation.video()),
///             Event::Ended(Err(error)) => eprintln!("{error}"),
///             _ => {}
///         },
///         Some(id) = new_ids.recv() => drop(waits.insert(id)),
///         // Nobody is waited for, and no more will come.
///         else => break,
///     }
/// }
/// # }
/// ```
///
/// It works only while it is polled, as all futures do: whoever has long work to do for an event
/// spawns it. Polls that timed out because nobody polled are made again and not counted as
/// trouble.
///
/// Needs a tokio runtime with its timer enabled. Dropping it ends its work at once and leaves
/// nothing running; the jobs go on.
#[must_use = "a set does nothing until it is polled"]
pub struct WaitSet {
    client: Client,
    policy: Arc<PollPolicy>,
    timeout: Option<Duration>,
    max_concurrent_polls: usize,
    scheduler: Scheduler,
    under_way: FuturesUnordered<Pin<Box<dyn Future<Output = Seen> + Send>>>,
    /// The end of the job whose last poll was told with the event before.
    queued_update: Option<(JobId, Event)>,
    triggers: Option<TriggerListener>,
    unexpected_fields: UnexpectedFields,
    timer: Option<Pin<Box<Sleep>>>,
    clock: Clock,
    /// Polls that began before this time were left alone for too long.
    unpolled_until: Duration,
    /// The pause that the service asked for, and until when it is kept: not all sets at once when
    /// the time has come.
    pause: Option<(Instant, Instant)>,
}

/// Who hears triggers for all jobs, and the next of them.
struct TriggerListener {
    listener: Listener,
    next: Pin<Box<dyn Future<Output = JobId> + Send>>,
}

type Seen = (PendingPoll, Result<Snapshot, Error>);

/// How long a sleep is at most, so that a suspension of the machine is noticed.
const SLICE: Duration = Duration::from_secs(10);
/// The same while polls are under way, so that it is known whether somebody polls.
const SLICE_DURING_POLLS: Duration = Duration::from_secs(1);
/// A set that was not polled for this long, though its timer rang, was left alone.
const NOT_POLLED_FOR: Duration = Duration::from_secs(3);
/// The slowest rate of polls: one in 100 seconds.
const SLOWEST: f64 = 0.01;

impl Client {
    /// A set of jobs to wait for, empty yet; see [`WaitSet`].
    ///
    /// ```no_run
    /// # async fn example(client: akool::Client) {
    /// use akool::Event;
    ///
    /// let mut waits = client.wait_set();
    /// waits.extend(["64dd92c1f0b6684651e90e09", "64dd92c1f0b6684651e90e0a"]);
    /// while let Some((id, event)) = waits.next().await {
    ///     if let Event::Ended(end) = event {
    ///         println!("{id}: {}", if end.is_ok() { "completed" } else { "not completed" });
    ///     }
    /// }
    /// # }
    /// ```
    pub fn wait_set(&self) -> WaitSet {
        WaitSet {
            client: self.clone(),
            policy: Arc::default(),
            timeout: Some(DEFAULT_TIMEOUT),
            max_concurrent_polls: 16,
            scheduler: Scheduler::default(),
            under_way: FuturesUnordered::new(),
            queued_update: None,
            triggers: None,
            unexpected_fields: UnexpectedFields::default(),
            timer: None,
            clock: Clock::new(),
            unpolled_until: Duration::ZERO,
            pause: None,
        }
    }
}

impl WaitSet {
    /// Sets how long to wait in all for each job that is inserted from now on, counted from its
    /// insertion ([`DEFAULT_TIMEOUT`], 2 hours, unless set). A last poll is made when it passes.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = Some(timeout);
        self
    }

    /// Waits as long as they take for the jobs that are inserted from now on.
    pub fn without_timeout(mut self) -> Self {
        self.timeout = None;
        self
    }

    /// Sets how often to poll, and how much trouble to forgive, for each job that is inserted
    /// from now on.
    pub fn policy(mut self, policy: impl Into<Arc<PollPolicy>>) -> Self {
        self.policy = policy.into();
        self
    }

    /// As [`policy`](Self::policy), for a set that runs already.
    pub fn set_policy(&mut self, policy: impl Into<Arc<PollPolicy>>) {
        self.policy = policy.into();
    }

    /// Polls at a job at once when there is a trigger for it, as [`Wait::triggers`](crate::Wait::triggers) does.
    /// Holds for all jobs of the set, and takes some 200 bytes more for each.
    pub fn triggers(mut self, triggers: &PollTriggers) -> Self {
        let mut listener = triggers.listener();
        for (job, _) in self.scheduler.poll_states() {
            listener.listen(job);
        }
        let next = Box::pin(listener.heard());
        self.triggers = Some(TriggerListener { listener, next });
        self
    }

    /// Sets how many polls may be under way at once (16 unless set; at least 1). Where the service
    /// speaks HTTP/1.1, there are as many connections.
    pub fn max_concurrent_polls(mut self, polls: usize) -> Self {
        self.max_concurrent_polls = polls.max(1);
        self
    }

    /// Sets how many polls are made in a second at most, over all jobs (not bounded unless set).
    /// They are spread evenly. What is less than 0.01, or no number, counts as that.
    pub fn max_polls_per_second(mut self, polls: f64) -> Self {
        let spacing = Duration::from_secs_f64(1.0 / polls.max(SLOWEST));
        self.scheduler.set_spacing(Some(spacing).filter(|spacing| !spacing.is_zero()));
        self
    }

    /// Waits for one more job, whose first poll is due at once. `false`, and nothing changes, where
    /// it is waited for already.
    pub fn insert(&mut self, job: impl Into<JobId>) -> bool {
        let job = job.into();
        if self.is_queued_update(&job) {
            return false;
        }
        let now = self.clock.at(Instant::now());
        let new = self.scheduler.insert(job.clone(), self.policy.clone(), self.timeout, now);
        if new && let Some(triggers) = &mut self.triggers {
            triggers.listener.listen(&job);
        }
        new
    }

    /// Waits for a job no more: no further event tells of it. The job itself goes on. A poll it
    /// that is under way is finished, and what it sees is dropped. `false` where it is not waited for.
    pub fn remove(&mut self, job: &JobId) -> bool {
        if self.is_queued_update(job) {
            self.queued_update = None;
            return true;
        }
        self.forget_triggers(job);
        self.scheduler.remove(job)
    }

    fn forget_triggers(&mut self, job: &JobId) {
        if let Some(triggers) = &mut self.triggers {
            triggers.listener.forget(job);
        }
    }

    /// Says that a job may have changed: polls it soon, as [`Poller::trigger`](crate::poller::Poller::trigger)
    /// decides. `false` where the job is not waited for.
    pub fn poll_now(&mut self, job: &JobId) -> bool {
        self.scheduler.trigger(job, self.clock.at(Instant::now()))
    }

    /// Whether the job is waited for: its end was not told yet.
    pub fn contains(&self, job: &JobId) -> bool {
        self.scheduler.contains(job) || self.is_queued_update(job)
    }

    fn is_queued_update(&self, job: &JobId) -> bool {
        self.queued_update.as_ref().is_some_and(|(ended, _)| ended == job)
    }

    /// How many jobs are waited for.
    pub fn len(&self) -> usize {
        self.scheduler.len() + usize::from(self.queued_update.is_some())
    }

    /// Whether no job is waited for.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The jobs that are waited for, and what is known of them, in no order.
    pub fn jobs(&self) -> impl Iterator<Item = Waiting<'_>> {
        self.scheduler.poll_states().map(|(id, poll_state)| Waiting {
            id,
            status: poll_state.status(),
            failures: poll_state.failures(),
            last_error_kind: poll_state.trouble(),
        })
    }

    /// The next event, and which job it tells of: each poll, each trouble that was forgiven, and each
    /// job's end, which is its last event and comes exactly once. `None` when no job is waited for;
    /// after an [`insert`](Self::insert) there are events again.
    ///
    /// Can be dropped before it is ready, in a `select!` for example, without losing anything.
    pub async fn next(&mut self) -> Option<(JobId, Event)> {
        std::future::poll_fn(|cx| self.poll_event(cx)).await
    }

    fn poll_event(&mut self, cx: &mut Context<'_>) -> Poll<Option<(JobId, Event)>> {
        self.notice_gaps();
        loop {
            if let Some(told) = self.queued_update.take() {
                return Poll::Ready(Some(told));
            }
            if self.scheduler.len() == 0 {
                // What is still under way belongs to jobs that were removed.
                self.under_way.clear();
                return Poll::Ready(None);
            }
            self.take_triggers(cx);
            let wake = self.begin_polls();
            match Pin::new(&mut self.under_way).poll_next(cx) {
                Poll::Ready(Some(seen)) => match self.take_in(seen) {
                    Some(told) => return Poll::Ready(Some(told)),
                    None => continue,
                },
                Poll::Ready(None) | Poll::Pending => {}
            }
            if self.poll_timer(cx, wake).is_pending() {
                return Poll::Pending;
            }
            self.notice_gaps();
        }
    }

    fn take_triggers(&mut self, cx: &mut Context<'_>) {
        while let Some(triggers) = &mut self.triggers
            && let Poll::Ready(job) = triggers.next.as_mut().poll(cx)
        {
            triggers.next = Box::pin(triggers.listener.heard());
            self.scheduler.trigger(&job, self.clock.now());
        }
    }

    /// Begins the polls whose turn it is, and says when there may be another.
    fn begin_polls(&mut self) -> Option<Duration> {
        let closed = self.closed_until();
        while self.under_way.len() < self.max_concurrent_polls {
            let poll = match self.scheduler.turn(self.clock.now(), closed) {
                NextPoll::Poll(poll) => poll,
                NextPoll::NotBefore(at) => return Some(at),
                NextPoll::Nobody => return None,
            };
            if let Some(triggers) = &self.triggers {
                triggers.listener.served(&poll.job);
            }
            let job = self.client.job(&poll.job);
            self.under_way.push(Box::pin(async move {
                let seen = job.poll(poll.attempt).await;
                (poll, seen)
            }));
        }
        None
    }

    fn take_in(&mut self, (poll, seen): Seen) -> Option<(JobId, Event)> {
        let now = self.clock.now();
        let timed_out = |error: &Error| matches!(error.kind(), ErrorKind::Timeout | ErrorKind::Connect);
        if seen.as_ref().is_err_and(timed_out) {
            self.notice_suspension();
            if poll.began() < self.unpolled_until {
                self.scheduler.put_back(poll);
                return None;
            }
        }
        if let Ok(snapshot) = &seen {
            self.unexpected_fields.report(snapshot);
        }
        let (job, attempt) = (poll.job.clone(), poll.attempt);
        let (event, end) = self.scheduler.observe(poll, &self.client.pace, now, seen)?;
        if end.is_some() {
            self.forget_triggers(&job);
        }
        if let Some(Event::Polled { next_poll_in, .. } | Event::Trouble { next_poll_in, .. }) = &event {
            let span = debug_span!("akool.pause", %job, after = attempt);
            span.in_scope(|| tracing::debug!(seconds = next_poll_in.as_secs_f64(), "pausing"));
        }
        match (event, end) {
            (Some(event), end) => {
                self.queued_update = end.map(|end| (job.clone(), end));
                Some((job, event))
            }
            (None, end) => end.map(|end| (job, end)),
        }
    }

    /// Until when the service allows no polls, and a little longer.
    fn closed_until(&mut self) -> Duration {
        let until = self.client.pace.until();
        if self.pause.map(|(until, _)| until) != until {
            self.pause = until.map(|until| {
                let pause = until.saturating_duration_since(Instant::now());
                (until, until + pause.mul_f64(0.1 * fastrand::f64()))
            });
        }
        self.pause.map_or(Duration::ZERO, |(_, until)| self.clock.at(until))
    }

    /// Ready when the time has come, or a part of it is over.
    fn poll_timer(&mut self, cx: &mut Context<'_>, wake: Option<Duration>) -> Poll<()> {
        let slice = if self.under_way.is_empty() { SLICE } else { SLICE_DURING_POLLS };
        let pause = wake.map_or(slice, |at| at.saturating_sub(self.clock.now()).min(slice));
        let until = self.clock.read + pause;
        let timer = self.timer.get_or_insert_with(|| Box::pin(tokio::time::sleep_until(until)));
        // One that rings too early does no harm, and moving it is dear.
        if timer.is_elapsed() || timer.deadline() > until {
            timer.as_mut().reset(until);
        }
        timer.as_mut().poll(cx)
    }

    /// Notices that nobody polled this set, so that its polls could not go on; and that the machine was
    /// suspended.
    fn notice_gaps(&mut self) {
        if self.clock.read() > NOT_POLLED_FOR {
            self.unpolled_until = self.clock.now();
        }
        if self.clock.wall_is_old() {
            self.notice_suspension();
        }
    }

    /// Makes at once the polls that fell due while the machine was suspended.
    fn notice_suspension(&mut self) {
        let suspended = self.clock.suspended();
        if !suspended.is_zero() {
            let now = self.clock.now();
            self.scheduler.hurry_all(now, now.saturating_add(suspended));
            self.unpolled_until = now;
        }
    }
}

impl Stream for WaitSet {
    type Item = (JobId, Event);

    /// As [`WaitSet::next`]. After a `None` there are items again once a job is inserted.
    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.poll_event(cx)
    }
}

impl<J: Into<JobId>> Extend<J> for WaitSet {
    fn extend<I: IntoIterator<Item = J>>(&mut self, jobs: I) {
        for job in jobs {
            self.insert(job);
        }
    }
}

impl fmt::Debug for WaitSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WaitSet")
            .field("jobs", &self.len())
            .field("under_way", &self.under_way.len())
            .finish_non_exhaustive()
    }
}

/// A job of a [`WaitSet`], and what is known of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Waiting<'a> {
    /// The job.
    pub id: &'a JobId,
    /// The last status that was told; `None` before the first.
    pub status: Option<Status>,
    /// How many polls in a row have failed.
    pub failures: u32,
    /// What kind the last trouble was, whether or not a poll succeeded after it.
    pub last_error_kind: Option<ErrorKind>,
}

/// Time since the beginning of a set, read once for each poll, and the clock on the wall beside it.
#[derive(Debug)]
struct Clock {
    began: Instant,
    /// When it was read last, and how long that was after the beginning.
    read: Instant,
    now: Duration,
    /// When that on the wall was read last, and what it showed.
    wall: (Instant, SystemTime),
}

impl Clock {
    /// How old a reading of the clock on the wall may be.
    const OLD: Duration = Duration::from_millis(100);

    fn new() -> Self {
        let began = Instant::now();
        Self { began, read: began, now: Duration::ZERO, wall: (began, SystemTime::now()) }
    }

    fn now(&self) -> Duration {
        self.now
    }

    fn at(&self, time: Instant) -> Duration {
        time.saturating_duration_since(self.began)
    }

    /// Reads it, and says how long ago it was read before.
    fn read(&mut self) -> Duration {
        let then = self.now;
        self.read = Instant::now();
        self.now = self.at(self.read);
        self.now.saturating_sub(then)
    }

    fn wall_is_old(&self) -> bool {
        self.read - self.wall.0 >= Self::OLD
    }

    /// Reads the clock on the wall: for how long the machine was suspended since it was read before.
    fn suspended(&mut self) -> Duration {
        let (then, wall_then) = std::mem::replace(&mut self.wall, (self.read, SystemTime::now()));
        let wall = self.wall.1.duration_since(wall_then).unwrap_or_default();
        crate::wait::suspended(self.read - then, wall)
    }
}
