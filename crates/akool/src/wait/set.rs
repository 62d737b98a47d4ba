//! Waits for many jobs: [`WaitSet`]. The only module of `wait` that polls, sleeps and reads the clock.
//!
//! The poller decides for each job, the scheduler among the jobs. Nothing is spawned: dropping a set ends it.

use std::{
    fmt,
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use futures_core::Stream;
use futures_util::stream::FuturesUnordered;
use tokio::time::{Instant, Sleep, timeout_at};
use tracing::{Instrument, debug_span, field::Empty};

use crate::{
    client::Client,
    error::Error,
    id::JobId,
    kind::ErrorKind,
    meter,
    snapshot::Snapshot,
    status::Status,
    wait::{
        jobs::{Action, Attempt, Jobs, LAST_POLL_LIMIT},
        policy::PollPolicy,
        poller::Poller,
        scheduler::Pause,
        state::PollState,
        update::Update,
    },
};

/// How long a wait goes on by default: 2 hours. Most jobs take minutes, but some hang for an hour and complete.
pub const DEFAULT_TIMEOUT: Duration = Duration::from_secs(2 * 60 * 60);
const DEFAULT_CONCURRENT_POLLS: usize = 16;
/// The lowest rate of polls: one in 100 seconds.
const MIN_POLLS_PER_SECOND: f64 = 0.01;
/// While polls are under way, the set wakes at least this often, so that it notices if nobody polls it.
const HEARTBEAT: Duration = Duration::from_secs(1);
/// A set that was not polled for this long, although it woke, was left alone.
const LEFT_ALONE_AFTER: Duration = Duration::from_secs(3);
/// The longest sleep. Timers of the runtime have an upper bound.
const MAX_SLEEP: Duration = Duration::from_secs(3600);

/// Waits for many jobs at once, made by [`Client::wait_set`]: insert ids, take updates.
///
/// Each job is waited for as by [`Job::wait`](crate::Job::wait). In addition, a set has
///
/// - one timer for all jobs, and a few hundred bytes for each;
/// - a bound on the polls at a time ([`max_concurrent_polls`](Self::max_concurrent_polls)), and so on connections;
/// - a bound on the polls per second ([`max_polls_per_second`](Self::max_polls_per_second));
/// - an order: the job that is overdue the longest is polled first.
///
/// It is a plain value, like tokio's `JoinSet`. Call [`insert`](Self::insert) and [`remove`](Self::remove) between two
/// calls of [`next`](Self::next), which can be dropped at any time without losing anything. So a set grows from
/// another task through a channel:
///
/// ```no_run
/// # async fn example(client: akool::Client, mut new_ids: tokio::sync::mpsc::Receiver<String>) {
/// use akool::Update;
///
/// let mut set = client.wait_set().max_polls_per_second(20.0);
/// set.insert("64dd92c1f0b6684651e90e09");
/// loop {
///     tokio::select! {
///         Some((id, update)) = set.next() => match update {
///             Update::Polled { snapshot, changed: true, .. } => println!("{id}: {}", snapshot.status()),
///             Update::Finished(Ok(translation)) => println!("{id}: {}", translation.video()),
///             Update::Finished(Err(error)) => eprintln!("{error}"),
///             _ => {}
///         },
///         Some(id) = new_ids.recv() => drop(set.insert(id)),
///         // The set is empty, and no more ids will come.
///         else => break,
///     }
/// }
/// # }
/// ```
///
/// It works only while it is polled, as all futures do: spawn long work instead of doing it between two updates. A
/// poll that timed out because nobody polled the set is repeated, and does not count as failed.
///
/// It needs a tokio runtime with its timer enabled. Dropping it ends its work at once; the jobs continue.
#[must_use = "a set does nothing until it is polled"]
pub struct WaitSet {
    client: Client,
    /// Policy and timeout for jobs that are inserted from now on.
    poller: Arc<Poller>,
    max_concurrent_polls: usize,
    jobs: Jobs,
    under_way: FuturesUnordered<Pin<Box<dyn Future<Output = Polled> + Send>>>,
    reporter: UnexpectedFields,
    timer: Option<Pin<Box<Sleep>>>,
    clock: Clock,
    /// The end of the pause that the service asked for, and when this set resumes: sets do not all resume at once.
    pause: Option<(Instant, Instant)>,
}

/// A poll that ended, and its result.
type Polled = (Attempt, Result<Snapshot, Error>);

impl Client {
    /// A set of jobs to wait for, which is empty; see [`WaitSet`].
    ///
    /// ```no_run
    /// # async fn example(client: akool::Client) {
    /// use akool::Update;
    ///
    /// let mut set = client.wait_set();
    /// set.extend(["64dd92c1f0b6684651e90e09", "64dd92c1f0b6684651e90e0a"]);
    /// while let Some((id, update)) = set.next().await {
    ///     if let Update::Finished(result) = update {
    ///         println!("{id}: {}", if result.is_ok() { "completed" } else { "not completed" });
    ///     }
    /// }
    /// # }
    /// ```
    pub fn wait_set(&self) -> WaitSet {
        WaitSet {
            client: self.clone(),
            poller: Arc::new(Poller::new(PollPolicy::default(), Some(DEFAULT_TIMEOUT))),
            max_concurrent_polls: DEFAULT_CONCURRENT_POLLS,
            jobs: Jobs::default(),
            under_way: FuturesUnordered::new(),
            reporter: UnexpectedFields::default(),
            timer: None,
            clock: Clock::new(),
            pause: None,
        }
    }

    /// Polls a job once.
    pub(crate) async fn poll(&self, job: &JobId, attempt: u32) -> Result<Snapshot, Error> {
        let span = || {
            debug_span!(
                "akool.poll",
                %job,
                attempt = i64::from(attempt),
                http.response.status_code = Empty,
                akool.code = Empty,
                error.type = Empty
            )
        };
        let id = job.as_str();
        let request = || {
            meter::polled();
            self.api.get_video_info().video_model_id(id).send()
        };
        let result = self.call(span, request).await.into_result();
        let result = result.and_then(|response| Snapshot::new(job.clone(), response));
        if let Ok(snapshot) = &result {
            tracing::debug!(%job, status = %snapshot.status(), "polled");
        }
        result.map_err(|error| error.with_job(job))
    }
}

impl WaitSet {
    /// Sets how long to wait for each job that is inserted from now on, from its insertion ([`DEFAULT_TIMEOUT`], 2
    /// hours, by default). See [`Wait::timeout`](crate::Wait::timeout).
    pub fn timeout(mut self, timeout: Duration) -> Self {
        Arc::make_mut(&mut self.poller).timeout = Some(timeout);
        self
    }

    /// Waits without a timeout for the jobs that are inserted from now on.
    pub fn without_timeout(mut self) -> Self {
        Arc::make_mut(&mut self.poller).timeout = None;
        self
    }

    /// Sets how often to poll, and how many failures to retry, for each job that is inserted from now on.
    pub fn policy(mut self, policy: PollPolicy) -> Self {
        self.set_policy(policy);
        self
    }

    /// Like [`policy`](Self::policy), for a set that already runs.
    pub fn set_policy(&mut self, policy: PollPolicy) {
        Arc::make_mut(&mut self.poller).policy = policy;
    }

    /// Sets how many polls may be under way at a time (16 by default, at least 1). With HTTP/1.1 there are as many
    /// connections.
    pub fn max_concurrent_polls(mut self, polls: usize) -> Self {
        self.max_concurrent_polls = polls.max(1);
        self
    }

    /// Sets how many polls may begin per second, over all jobs (no bound by default). They are spread evenly. Values
    /// below 0.01, and NaN, are treated as 0.01.
    pub fn max_polls_per_second(mut self, polls: f64) -> Self {
        self.jobs.set_spacing(spacing(polls));
        self
    }

    /// Waits for one more job, whose first poll is due at once. Returns `false`, and changes nothing, if the set already
    /// waits for it.
    pub fn insert(&mut self, job: impl Into<JobId>) -> bool {
        let now = self.clock.at(Instant::now());
        self.jobs.insert(job.into(), self.poller.clone(), fastrand::u64(..), now)
    }

    /// Stops waiting for a job: no further update is about it. The job itself continues. Returns `false` if the set
    /// does not wait for it.
    pub fn remove(&mut self, job: &JobId) -> bool {
        self.jobs.remove(job)
    }

    /// Polls a job soon, because it may have changed. How soon, [`Poller::poll_now`] decides. Returns `false` if the
    /// set does not wait for it.
    pub fn poll_now(&mut self, job: &JobId) -> bool {
        self.jobs.poll_now(job, self.clock.at(Instant::now()))
    }

    /// Whether the set waits for the job.
    pub fn contains(&self, job: &JobId) -> bool {
        self.jobs.contains(job)
    }

    /// How many jobs the set waits for.
    pub fn len(&self) -> usize {
        self.jobs.len()
    }

    /// Whether the set waits for no job.
    pub fn is_empty(&self) -> bool {
        self.jobs.len() == 0
    }

    /// The jobs that the set waits for, and what is known of them, in no order.
    pub fn jobs(&self) -> impl Iterator<Item = (&JobId, &PollState)> {
        self.jobs.states()
    }

    /// The next update, and the job that it is about. `None` if the set waits for no job; after an
    /// [`insert`](Self::insert) there are updates again.
    ///
    /// It can be dropped before it is ready, in a `select!` for example, without losing anything.
    pub async fn next(&mut self) -> Option<(JobId, Update)> {
        std::future::poll_fn(|cx| self.poll_update(cx)).await
    }

    fn poll_update(&mut self, cx: &mut Context<'_>) -> Poll<Option<(JobId, Update)>> {
        loop {
            self.clock.read();
            if self.is_empty() {
                // What is still under way belongs to jobs that were removed.
                self.under_way.clear();
                return Poll::Ready(None);
            }
            let pause = self.pause(self.client.paused_until());
            let wake = loop {
                let may_poll = self.under_way.len() < self.max_concurrent_polls;
                match self.jobs.next(self.clock.now, pause, may_poll) {
                    Action::Poll(attempt) => self.begin(attempt),
                    Action::Report(job, update) => return Poll::Ready(Some((job, update))),
                    Action::Sleep(wake) => break wake,
                }
            };
            if let Poll::Ready(Some((attempt, result))) = Pin::new(&mut self.under_way).poll_next(cx) {
                if let Ok(snapshot) = &result {
                    self.reporter.report(snapshot);
                }
                let update = self.jobs.observe(attempt, self.clock.now, self.clock.left_alone_until, result);
                if let Some((job, update)) = update {
                    if let Some(pause) = update.next_poll_in() {
                        tracing::debug!(%job, seconds = pause.as_secs_f64(), "next poll");
                    }
                    return Poll::Ready(Some((job, update)));
                }
            } else if self.poll_timer(cx, wake).is_pending() {
                return Poll::Pending;
            }
        }
    }

    fn begin(&mut self, attempt: Attempt) {
        let client = self.client.clone();
        let limit = attempt.limit.and_then(|limit| self.clock.began.checked_add(limit));
        let span = attempt.span.clone();
        let poll = async move {
            let poll = client.poll(&attempt.job, attempt.number);
            let result = match limit {
                None => poll.await,
                // Renewal of the credential and body included, whatever the server does.
                Some(limit) => timeout_at(limit, poll).await.unwrap_or_else(|_| {
                    let seconds = LAST_POLL_LIMIT.as_secs();
                    let message =
                        format!("no complete response within {seconds} s after the timeout of the wait");
                    Err(Error::new(ErrorKind::Timeout, message).with_job(&attempt.job))
                }),
            };
            (attempt, result)
        };
        self.under_way.push(match span {
            None => Box::pin(poll),
            Some(span) => Box::pin(poll.instrument(*span)),
        });
    }

    /// The pause that the service asked for, until this time.
    fn pause(&mut self, until: Option<Instant>) -> Pause {
        if self.pause.map(|(until, _)| until) != until {
            let continue_at = |until| continue_at(until, Instant::now(), fastrand::f64());
            self.pause = until.map(|until| (until, continue_at(until)));
        }
        self.pause.map_or(Pause::NONE, |(until, continue_at)| Pause {
            until: self.clock.at(until),
            continue_at: self.clock.at(continue_at),
        })
    }

    /// Ready at this time, or earlier if a part of the sleep is over.
    fn poll_timer(&mut self, cx: &mut Context<'_>, wake: Duration) -> Poll<()> {
        let until = self.clock.sleep_until(wake, self.under_way.is_empty());
        let timer = self.timer.get_or_insert_with(|| Box::pin(tokio::time::sleep_until(until)));
        // A timer that fires too early does no harm, and resetting it is expensive.
        if timer.is_elapsed() || timer.deadline() > until {
            timer.as_mut().reset(until);
        }
        timer.as_mut().poll(cx)
    }
}

impl Stream for WaitSet {
    type Item = (JobId, Update);

    /// Like [`WaitSet::next`]. After a `None` there are items again once a job is inserted.
    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.poll_update(cx)
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

/// When polls go on after a pause: within a tenth of the pause after its end, so that not all clients go on at once.
fn continue_at(until: Instant, now: Instant, jitter: f64) -> Instant {
    until + until.saturating_duration_since(now).mul_f64(0.1 * jitter)
}

/// The time between two polls at this rate. `None` if that is less than a nanosecond.
fn spacing(polls_per_second: f64) -> Option<Duration> {
    let spacing = Duration::from_secs_f64(1.0 / polls_per_second.max(MIN_POLLS_PER_SECOND));
    Some(spacing).filter(|spacing| !spacing.is_zero())
}

/// Time since the beginning of a set, read once for each poll of it.
struct Clock {
    began: Instant,
    read: Instant,
    now: Duration,
    /// Polls that began before this time were under way while nobody polled the set.
    left_alone_until: Duration,
}

impl Clock {
    fn new() -> Self {
        let began = Instant::now();
        Self { began, read: began, now: Duration::ZERO, left_alone_until: Duration::ZERO }
    }

    fn at(&self, time: Instant) -> Duration {
        time.saturating_duration_since(self.began)
    }

    fn read(&mut self) {
        self.set(Instant::now());
    }

    fn set(&mut self, time: Instant) {
        let before = self.now;
        (self.read, self.now) = (time, self.at(time));
        if self.now.saturating_sub(before) > LEFT_ALONE_AFTER {
            self.left_alone_until = self.now;
        }
    }

    /// When to wake, to act at the time `wake`.
    fn sleep_until(&self, wake: Duration, is_idle: bool) -> Instant {
        let most = if is_idle { MAX_SLEEP } else { HEARTBEAT };
        self.read + wake.saturating_sub(self.now).min(most)
    }
}

/// The unexpected fields that were logged, so that each is logged once and not at each poll.
#[derive(Default)]
struct UnexpectedFields(Vec<String>);

impl UnexpectedFields {
    /// More different ones than this are not logged.
    const MAX: usize = 64;

    fn report(&mut self, snapshot: &Snapshot) {
        let status = Some(snapshot.status()).filter(|status| matches!(status, Status::Unknown(_)));
        let status = status.map(|status| format!("status {status}"));
        for field in status.iter().chain(snapshot.unexpected_fields()).filter(|field| self.is_new(field)) {
            tracing::warn!(job = %snapshot.id(), %field, "undocumented; the wait goes on");
        }
    }

    fn is_new(&mut self, field: &str) -> bool {
        let is_new = self.0.len() < Self::MAX && self.0.iter().all(|known| known != field);
        if is_new {
            self.0.push(field.to_owned());
        }
        is_new
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Credential;

    #[test]
    fn rates_are_brought_into_range() {
        for (rate, seconds) in [(20.0, 0.05), (0.5, 2.0), (0.0, 100.0), (-1.0, 100.0), (f64::NAN, 100.0)] {
            assert_eq!(spacing(rate), Some(Duration::from_secs_f64(seconds)), "{rate}");
        }
        assert_eq!(spacing(f64::INFINITY), None);
        assert_eq!(spacing(1e10), None);
    }

    #[test]
    fn a_set_was_left_alone_if_its_clock_was_not_read_for_more_than_three_seconds() {
        let mut clock = Clock::new();
        let at = |seconds: f64| clock.began + Duration::from_secs_f64(seconds);
        let times = [at(1.0), at(4.0), at(7.001), at(8.0)];
        let left_alone = times.map(|time| {
            clock.set(time);
            clock.left_alone_until.as_secs_f64()
        });
        assert_eq!(left_alone, [0.0, 0.0, 7.001, 7.001]);
        clock.read();
        assert!(clock.now < Duration::from_secs(5));
    }

    #[test]
    fn a_sleep_ends_at_the_next_action_or_at_the_next_heartbeat() {
        let mut clock = Clock::new();
        let began = clock.began;
        let at = |seconds: u64| began + Duration::from_secs(seconds);
        clock.set(at(100));
        let sleep = |wake, is_idle| clock.sleep_until(Duration::from_secs(wake), is_idle);
        assert_eq!((sleep(130, true), sleep(130, false)), (at(130), at(101)));
        assert_eq!((sleep(100, true), sleep(90, true)), (at(100), at(100)));
        assert_eq!(sleep(u64::MAX, true), at(100) + MAX_SLEEP);
        assert!(MAX_SLEEP >= Duration::from_secs(60 * 60));
        assert_eq!(DEFAULT_TIMEOUT, Duration::from_secs(7200));
    }

    #[tokio::test]
    async fn polls_go_on_within_a_tenth_of_a_pause_after_its_end() {
        let now = Instant::now();
        let until = now + Duration::from_secs(100);
        for (jitter, seconds) in [(0.0, 100), (0.5, 105), (1.0, 110)] {
            assert_eq!(continue_at(until, now, jitter), now + Duration::from_secs(seconds));
        }
        let client = Client::new(Credential::api_key("key").unwrap()).unwrap();
        let mut set = client.wait_set();
        let (until, later) = (set.clock.began + Duration::from_secs(100), Duration::from_secs(200));
        assert_eq!(set.pause(None).until, Pause::NONE.until);
        let first = set.pause(Some(until));
        assert_eq!(first.until, Duration::from_secs(100));
        assert!(first.continue_at >= first.until && first.continue_at < Duration::from_secs(111));
        assert_eq!(set.pause(Some(until)).continue_at, first.continue_at, "it is chosen once");
        assert_eq!(set.pause(Some(until + Duration::from_secs(100))).until, later);
        assert_eq!(set.pause(None).until, Pause::NONE.until);
    }

    #[test]
    fn each_unexpected_field_is_logged_once_and_not_too_many() {
        let mut fields = UnexpectedFields::default();
        assert!(fields.is_new("/data/a") && !fields.is_new("/data/a"));
        let new = (0..100).filter(|number| fields.is_new(&number.to_string())).count();
        assert_eq!(new, UnexpectedFields::MAX - 1);
    }

    #[tokio::test]
    async fn a_set_knows_which_jobs_it_waits_for() {
        let client = Client::new(Credential::api_key("key").unwrap()).unwrap();
        let mut set = client.wait_set();
        assert!(set.is_empty() && set.insert("a") && set.insert("b") && !set.insert("a"));
        let (a, b, c) = (JobId::from("a"), JobId::from("b"), JobId::from("c"));
        assert_eq!((set.len(), set.contains(&a), set.contains(&c)), (2, true, false));
        assert!(set.poll_now(&a) && !set.poll_now(&c));
        assert!(set.remove(&a) && !set.remove(&a) && !set.contains(&a) && !set.is_empty());
        assert!(set.jobs().map(|(id, state)| (id, state.attempts())).eq([(&b, 0)]));
        assert_eq!(format!("{set:?}"), "WaitSet { jobs: 1, under_way: 0, .. }");
        set.extend(["c", "d"]);
        assert_eq!(set.len(), 3);
    }
}
