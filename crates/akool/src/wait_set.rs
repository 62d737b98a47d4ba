//! Waiting for many jobs at once: [`WaitSet`].
//!
//! `agenda.rs` says whose turn it is; this module looks, sleeps and reads the clock, for all jobs
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
    Client, DEFAULT_DEADLINE, Error, ErrorKind, Event, Hints, JobId, PollPolicy, Snapshot, Status,
    agenda::{Agenda, Look, Turn},
    course::Oddities,
    hints::Listener,
};

/// Waits for many jobs at once, made by [`Client::wait_set`]: insert ids, take events.
///
/// Each job is waited for as by [`Job::wait`](crate::Job::wait): the same intervals, the same failure
/// budget, the same endings, one pace for all when the service asks to slow down. What a set adds:
///
/// - One timer for all, and about 400 bytes for a job: id, status, kind of the last trouble, and
///   what the poller needs. Snapshots go out with the events and are not kept.
/// - A bound on the looks that are under way at once ([`looks_at_once`](Self::looks_at_once)), and so
///   on connections; with HTTP/2 these share one.
/// - A bound on the looks in a second ([`looks_per_second`](Self::looks_per_second)).
/// - Under pressure, the job that is overdue the longest is looked at first.
///
/// It is a plain value, like tokio's `JoinSet`: [`insert`](Self::insert) and
/// [`remove`](Self::remove) between two calls of [`next`](Self::next), which can be dropped at any time
/// without losing anything. So a set grows from another task through a channel of yours:
///
/// ```no_run
/// # async fn example(client: akool::Client, mut new_ids: tokio::sync::mpsc::Receiver<String>) {
/// use akool::Event;
///
/// let mut waits = client.wait_set().looks_per_second(20.0);
/// waits.insert("64dd92c1f0b6684651e90e09");
/// loop {
///     tokio::select! {
///         Some((id, event)) = waits.next() => match event {
///             Event::Looked { snapshot, changed: true, .. } => println!("{id}: {}", snapshot.status()),
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
/// spawns it. Looks that timed out because nobody polled are made again and not counted as
/// trouble.
///
/// Needs a tokio runtime with its timer enabled. Dropping it ends its work at once and leaves
/// nothing running; the jobs go on.
#[must_use = "a set does nothing until it is polled"]
pub struct WaitSet {
    client: Client,
    policy: Arc<PollPolicy>,
    deadline: Option<Duration>,
    looks_at_once: usize,
    agenda: Agenda,
    under_way: FuturesUnordered<Pin<Box<dyn Future<Output = Seen> + Send>>>,
    /// The end of the job whose last look was told with the event before.
    told_next: Option<(JobId, Event)>,
    hints: Option<Hearing>,
    oddities: Oddities,
    timer: Option<Pin<Box<Sleep>>>,
    clock: Clock,
    /// Looks that began before this time were left alone for too long.
    neglected: Duration,
    /// The pause that the service asked for, and until when it is kept: not all sets at once when
    /// the time has come.
    pause: Option<(Instant, Instant)>,
}

/// Who hears hints for all jobs, and the next of them.
struct Hearing {
    listener: Listener,
    next: Pin<Box<dyn Future<Output = JobId> + Send>>,
}

type Seen = (Look, Result<Snapshot, Error>);

/// How long a sleep is at most, so that a suspension of the machine is noticed.
const SLICE: Duration = Duration::from_secs(10);
/// The same while looks are under way, so that it is known whether somebody polls.
const SLICE_UNDER_WAY: Duration = Duration::from_secs(1);
/// A set that was not polled for this long, though its timer rang, was left alone.
const NEGLECT: Duration = Duration::from_secs(3);
/// The slowest rate of looks: one in 100 seconds.
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
            deadline: Some(DEFAULT_DEADLINE),
            looks_at_once: 16,
            agenda: Agenda::default(),
            under_way: FuturesUnordered::new(),
            told_next: None,
            hints: None,
            oddities: Oddities::default(),
            timer: None,
            clock: Clock::new(),
            neglected: Duration::ZERO,
            pause: None,
        }
    }
}

impl WaitSet {
    /// Sets how long to wait in all for each job that is inserted from now on, counted from its
    /// insertion ([`DEFAULT_DEADLINE`], 2 hours, unless set). A last look is made when it passes.
    pub fn deadline(mut self, deadline: Duration) -> Self {
        self.deadline = Some(deadline);
        self
    }

    /// Waits as long as they take for the jobs that are inserted from now on.
    pub fn without_deadline(mut self) -> Self {
        self.deadline = None;
        self
    }

    /// Sets how often to look, and how much trouble to forgive, for each job that is inserted
    /// from now on.
    pub fn policy(mut self, policy: impl Into<Arc<PollPolicy>>) -> Self {
        self.policy = policy.into();
        self
    }

    /// As [`policy`](Self::policy), for a set that runs already.
    pub fn set_policy(&mut self, policy: impl Into<Arc<PollPolicy>>) {
        self.policy = policy.into();
    }

    /// Looks at a job at once when there is a hint for it, as [`Wait::hints`](crate::Wait::hints) does.
    /// Holds for all jobs of the set, and takes some 200 bytes more for each.
    pub fn hints(mut self, hints: &Hints) -> Self {
        let mut listener = hints.listener();
        for (job, _) in self.agenda.courses() {
            listener.listen(job);
        }
        let next = Box::pin(listener.heard());
        self.hints = Some(Hearing { listener, next });
        self
    }

    /// Sets how many looks may be under way at once (16 unless set; at least 1). Where the service
    /// speaks HTTP/1.1, there are as many connections.
    pub fn looks_at_once(mut self, looks: usize) -> Self {
        self.looks_at_once = looks.max(1);
        self
    }

    /// Sets how many looks are made in a second at most, over all jobs (not bounded unless set).
    /// They are spread evenly. What is less than 0.01, or no number, counts as that.
    pub fn looks_per_second(mut self, looks: f64) -> Self {
        let spacing = Duration::from_secs_f64(1.0 / looks.max(SLOWEST));
        self.agenda.set_spacing(Some(spacing).filter(|spacing| !spacing.is_zero()));
        self
    }

    /// Waits for one more job, whose first look is due at once. `false`, and nothing changes, where
    /// it is waited for already.
    pub fn insert(&mut self, job: impl Into<JobId>) -> bool {
        let job = job.into();
        if self.is_told_next(&job) {
            return false;
        }
        let now = self.clock.at(Instant::now());
        let new = self.agenda.insert(job.clone(), self.policy.clone(), self.deadline, now);
        if new && let Some(hints) = &mut self.hints {
            hints.listener.listen(&job);
        }
        new
    }

    /// Waits for a job no more: no further event tells of it. The job itself goes on. A look at it
    /// that is under way is finished, and what it sees is dropped. `false` where it is not waited for.
    pub fn remove(&mut self, job: &JobId) -> bool {
        if self.is_told_next(job) {
            self.told_next = None;
            return true;
        }
        self.forget_hints(job);
        self.agenda.remove(job)
    }

    fn forget_hints(&mut self, job: &JobId) {
        if let Some(hints) = &mut self.hints {
            hints.listener.forget(job);
        }
    }

    /// Says that a job may have changed: looks at it soon, as [`Poller::hint`](crate::poller::Poller::hint)
    /// decides. `false` where the job is not waited for.
    pub fn look_now(&mut self, job: &JobId) -> bool {
        self.agenda.hint(job, self.clock.at(Instant::now()))
    }

    /// Whether the job is waited for: its end was not told yet.
    pub fn contains(&self, job: &JobId) -> bool {
        self.agenda.contains(job) || self.is_told_next(job)
    }

    fn is_told_next(&self, job: &JobId) -> bool {
        self.told_next.as_ref().is_some_and(|(ended, _)| ended == job)
    }

    /// How many jobs are waited for.
    pub fn len(&self) -> usize {
        self.agenda.len() + usize::from(self.told_next.is_some())
    }

    /// Whether no job is waited for.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The jobs that are waited for, and what is known of them, in no order.
    pub fn jobs(&self) -> impl Iterator<Item = Waiting<'_>> {
        self.agenda.courses().map(|(id, course)| Waiting {
            id,
            status: course.status(),
            failures: course.failures(),
            last_trouble: course.trouble(),
        })
    }

    /// The next event, and which job it tells of: each look, each trouble that was forgiven, and each
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
            if let Some(told) = self.told_next.take() {
                return Poll::Ready(Some(told));
            }
            if self.agenda.len() == 0 {
                // What is still under way belongs to jobs that were removed.
                self.under_way.clear();
                return Poll::Ready(None);
            }
            self.take_hints(cx);
            let wake = self.begin_looks();
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

    fn take_hints(&mut self, cx: &mut Context<'_>) {
        while let Some(hints) = &mut self.hints
            && let Poll::Ready(job) = hints.next.as_mut().poll(cx)
        {
            hints.next = Box::pin(hints.listener.heard());
            self.agenda.hint(&job, self.clock.now());
        }
    }

    /// Begins the looks whose turn it is, and says when there may be another.
    fn begin_looks(&mut self) -> Option<Duration> {
        let closed = self.closed_until();
        while self.under_way.len() < self.looks_at_once {
            let look = match self.agenda.turn(self.clock.now(), closed) {
                Turn::Look(look) => look,
                Turn::NotBefore(at) => return Some(at),
                Turn::Nobody => return None,
            };
            if let Some(hints) = &self.hints {
                hints.listener.served(&look.job);
            }
            let job = self.client.job(&look.job);
            self.under_way.push(Box::pin(async move {
                let seen = job.look(look.attempt).await;
                (look, seen)
            }));
        }
        None
    }

    fn take_in(&mut self, (look, seen): Seen) -> Option<(JobId, Event)> {
        let now = self.clock.now();
        let timed_out = |error: &Error| matches!(error.kind(), ErrorKind::Timeout | ErrorKind::Connect);
        if seen.as_ref().is_err_and(timed_out) {
            self.notice_suspension();
            if look.began() < self.neglected {
                self.agenda.put_back(look);
                return None;
            }
        }
        if let Ok(snapshot) = &seen {
            self.oddities.report(snapshot);
        }
        let (job, attempt) = (look.job.clone(), look.attempt);
        let (event, end) = self.agenda.observe(look, &self.client.pace, now, seen)?;
        if end.is_some() {
            self.forget_hints(&job);
        }
        if let Some(Event::Looked { next_look_in, .. } | Event::Trouble { next_look_in, .. }) = &event {
            let span = debug_span!("akool.pause", %job, after = attempt);
            span.in_scope(|| tracing::debug!(seconds = next_look_in.as_secs_f64(), "pausing"));
        }
        match (event, end) {
            (Some(event), end) => {
                self.told_next = end.map(|end| (job.clone(), end));
                Some((job, event))
            }
            (None, end) => end.map(|end| (job, end)),
        }
    }

    /// Until when the service allows no looks, and a little longer.
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
        let slice = if self.under_way.is_empty() { SLICE } else { SLICE_UNDER_WAY };
        let pause = wake.map_or(slice, |at| at.saturating_sub(self.clock.now()).min(slice));
        let until = self.clock.read + pause;
        let timer = self.timer.get_or_insert_with(|| Box::pin(tokio::time::sleep_until(until)));
        // One that rings too early does no harm, and moving it is dear.
        if timer.is_elapsed() || timer.deadline() > until {
            timer.as_mut().reset(until);
        }
        timer.as_mut().poll(cx)
    }

    /// Notices that nobody polled this set, so that its looks could not go on; and that the machine was
    /// suspended.
    fn notice_gaps(&mut self) {
        if self.clock.read() > NEGLECT {
            self.neglected = self.clock.now();
        }
        if self.clock.wall_is_old() {
            self.notice_suspension();
        }
    }

    /// Makes at once the looks that fell due while the machine was suspended.
    fn notice_suspension(&mut self) {
        let suspended = self.clock.suspended();
        if !suspended.is_zero() {
            let now = self.clock.now();
            self.agenda.hurry_all(now, now.saturating_add(suspended));
            self.neglected = now;
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
    /// How many looks in a row have failed.
    pub failures: u32,
    /// What kind the last trouble was, whether or not a look succeeded after it.
    pub last_trouble: Option<ErrorKind>,
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
