//! The statuses of a job over time: [`Timeline`], and the state of one job on it.

use std::time::{Duration, SystemTime};

/// The statuses of a job, each for a number of polls or for a time, and its final status.
///
/// The clock of a job starts with its creation if a request created it, otherwise with its first poll.
///
/// ```
/// use std::time::Duration;
/// use akool_mock::{Polls, Timeline};
///
/// let completed = Timeline::new().queueing(Polls(2)).processing(Duration::from_millis(300)).completed();
/// let failed = Timeline::new().processing(Polls(1)).failed(1015, "the speaker cannot be heard");
/// let stuck = Timeline::new().queueing(Polls(1)).stuck(2);
/// ```
#[derive(Clone, Debug, PartialEq)]
#[must_use]
pub struct Timeline {
    steps: Vec<(i64, Span)>,
    end: End,
}

/// The `error_code` of a failed job, as in the vendor's example: `openapi/overlays/20-documented.yaml`.
pub(crate) const FAILURE_CODE: i64 = 501_312;

/// The credits that are held for a job by default, as in the vendor's example of a poll.
pub(crate) const DEFAULT_CREDITS_PER_JOB: u32 = 10;

/// About how many bytes a job takes beside its steps and texts.
const JOB_SIZE: usize = 256;

/// For how long a status lasts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Span {
    /// For this many polls.
    Polls(u32),
    /// For this long.
    Time(Duration),
}

/// A number of polls, for [`Timeline`]'s methods.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Polls(pub u32);

impl From<Polls> for Span {
    fn from(polls: Polls) -> Self {
        Self::Polls(polls.0)
    }
}

impl From<Duration> for Span {
    fn from(time: Duration) -> Self {
        Self::Time(time)
    }
}

/// The final status of a timeline.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum End {
    Completed,
    Failed { code: i64, reason: String },
    Stuck(i64),
}

impl Default for Timeline {
    /// Queued for one poll, processing for two, then completed.
    fn default() -> Self {
        Self::new().queueing(Polls(1)).processing(Polls(2)).completed()
    }
}

impl Timeline {
    /// Creates a timeline without steps: the job is completed at once.
    pub fn new() -> Self {
        Self { steps: Vec::new(), end: End::Completed }
    }

    /// Adds a step: queued (status 1) for this long.
    pub fn queueing(self, span: impl Into<Span>) -> Self {
        self.status(1, span)
    }

    /// Adds a step: processing (status 2) for this long.
    pub fn processing(self, span: impl Into<Span>) -> Self {
        self.status(2, span)
    }

    /// Adds a step: any status for this long, documented or not.
    pub fn status(mut self, status: i64, span: impl Into<Span>) -> Self {
        self.steps.push((status, span.into()));
        self
    }

    /// Ends completed (status 3), with links to the files. This is the default.
    pub fn completed(mut self) -> Self {
        self.end = End::Completed;
        self
    }

    /// Ends failed (status 4), with this `error_code` and `error_reason`. The progress stays where it was.
    pub fn failed(mut self, code: i64, reason: impl Into<String>) -> Self {
        self.end = End::Failed { code, reason: reason.into() };
        self
    }

    /// Stays in this status forever.
    pub fn stuck(mut self, status: i64) -> Self {
        self.end = End::Stuck(status);
        self
    }

    /// About how many bytes it takes.
    pub(crate) fn size(&self) -> usize {
        let reason = if let End::Failed { reason, .. } = &self.end { reason.len() } else { 0 };
        self.steps.len() * size_of::<(i64, Span)>() + reason
    }
}

/// The progress of one job through its timeline.
#[derive(Clone, Debug)]
pub(crate) struct JobTimeline {
    timeline: Timeline,
    step: usize,
    /// The number of polls in the current step.
    polls: u32,
    /// When the clock started, and when the current step began.
    times: Option<(SystemTime, SystemTime)>,
    /// The number of all polls.
    poll_count: u32,
    /// The last progress while it was processing. A failed job keeps it.
    last_progress: u8,
    credits: u32,
    /// About how many bytes are remembered of the job.
    pub(crate) size: usize,
}

/// The state of a job at one time.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct State {
    pub(crate) status: i64,
    pub(crate) progress: u8,
    pub(crate) created: SystemTime,
    /// `error_code` and `error_reason`.
    pub(crate) error: Option<(i64, String)>,
    /// The credits that are held for it, and charged if it completes.
    pub(crate) credits: u32,
}

impl JobTimeline {
    pub(crate) fn new(timeline: Timeline) -> Self {
        let (credits, size) = (DEFAULT_CREDITS_PER_JOB, JOB_SIZE + timeline.size());
        Self { timeline, step: 0, polls: 0, times: None, poll_count: 0, last_progress: 0, credits, size }
    }

    /// Sets the credits that are held for the job.
    pub(crate) fn holding(self, credits: u32) -> Self {
        Self { credits, ..self }
    }

    /// Creates a job whose clock started at `created`.
    pub(crate) fn started(timeline: Timeline, created: SystemTime) -> Self {
        Self { times: Some((created, created)), ..Self::new(timeline) }
    }

    /// Whether the job was polled.
    pub(crate) fn was_polled(&self) -> bool {
        self.poll_count > 0
    }

    /// Counts a poll at this time, and returns the state.
    pub(crate) fn poll(&mut self, now: SystemTime) -> State {
        let state = self.advance_to(now);
        self.polls += 1;
        self.poll_count += 1;
        state
    }

    /// Returns the state that a poll at this time would get, without counting the poll in the timeline.
    pub(crate) fn poll_without_effect(&mut self, now: SystemTime) -> State {
        self.poll_count += 1;
        self.preview(now)
    }

    /// Returns the state that a poll at this time would get.
    pub(crate) fn preview(&self, now: SystemTime) -> State {
        self.clone().advance_to(now)
    }

    /// Continues on another timeline from this time.
    pub(crate) fn change(&mut self, timeline: Timeline, now: SystemTime) {
        let created = self.times.map_or(now, |(created, _)| created);
        (self.timeline, self.step, self.polls, self.times) = (timeline, 0, 0, Some((created, now)));
    }

    /// Returns the number of polls.
    pub(crate) fn poll_count(&self) -> u32 {
        self.poll_count
    }

    /// Returns the state at this time without a poll, or `None` if the clock has not started.
    pub(crate) fn peek(&mut self, now: SystemTime) -> Option<State> {
        self.times.map(|_| self.advance_to(now))
    }

    /// Returns when the current step began.
    pub(crate) fn began(&self) -> Option<SystemTime> {
        self.times.map(|(_, began)| began)
    }

    /// Returns when the job completed, if it has by this time.
    pub(crate) fn completed_at(&mut self, now: SystemTime) -> Option<SystemTime> {
        self.peek(now).filter(|state| state.status == 3).and(self.began())
    }

    /// Returns when the current step ends, or `None` if that depends on polls.
    pub(crate) fn next_step(&self) -> Option<SystemTime> {
        match self.timeline.steps.get(self.step)?.1 {
            Span::Time(time) => self.began()?.checked_add(time),
            Span::Polls(polls) => self.began().filter(|_| self.polls >= polls),
        }
    }

    fn advance_to(&mut self, now: SystemTime) -> State {
        let (created, mut began) = *self.times.get_or_insert((now, now));
        let progress = loop {
            let Some((_, span)) = self.timeline.steps.get(self.step) else {
                break if matches!(self.timeline.end, End::Stuck(_)) { 42 } else { 100 };
            };
            let elapsed = now.duration_since(began).unwrap_or_default();
            let share = match *span {
                Span::Polls(polls) if self.polls < polls => f64::from(self.polls) / f64::from(polls),
                Span::Time(time) if elapsed < time => elapsed.div_duration_f64(time),
                Span::Polls(_) => {
                    began = now;
                    self.step += 1;
                    self.polls = 0;
                    continue;
                }
                Span::Time(time) => {
                    began += time;
                    self.step += 1;
                    self.polls = 0;
                    continue;
                }
            };
            break (share * 100.0) as u8;
        };
        self.times = Some((created, began));

        let (status, error) = match (self.timeline.steps.get(self.step), &self.timeline.end) {
            // A failed job always has a reason, even if the timeline names the status by its number.
            (Some((4, _)), _) | (None, End::Stuck(4)) => {
                (4, Some((FAILURE_CODE, "the job failed".to_owned())))
            }
            (Some((status, _)), _) | (None, End::Stuck(status)) => (*status, None),
            (None, End::Completed) => (3, None),
            (None, End::Failed { code, reason }) => (4, Some((*code, reason.clone()))),
        };
        let progress = match status {
            4 => self.last_progress,
            3 => 100,
            2 => progress.min(99),
            _ => 0,
        };
        if status == 2 {
            self.last_progress = progress;
        }
        State { status, progress, created, error, credits: self.credits }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn polls_and_times_can_be_mixed() {
        let second = Duration::from_secs(1);
        let timeline =
            Timeline::new().queueing(Polls(2)).processing(second * 4).status(7, Polls(1)).completed();
        let mut job = JobTimeline::new(timeline);
        let start = SystemTime::UNIX_EPOCH + second;
        let mut seen = |after: u32| {
            let state = job.poll(start + second * after);
            assert_eq!(state.created, start);
            (state.status, state.progress)
        };
        assert_eq!(seen(0), (1, 0));
        assert_eq!(seen(100), (1, 0));
        assert_eq!(seen(200), (2, 0));
        assert_eq!(seen(201), (2, 25));
        assert_eq!(seen(203), (2, 75));
        assert_eq!(seen(204), (7, 0));
        assert_eq!(seen(204), (3, 100));
        assert_eq!(seen(9999), (3, 100));
    }

    #[test]
    fn a_failed_job_keeps_its_progress() {
        let mut job = JobTimeline::new(Timeline::new().processing(Polls(4)).failed(1, "r"));
        let mut polled = || job.poll(SystemTime::UNIX_EPOCH);
        let seen: Vec<_> = (0..5).map(|_| polled()).map(|state| (state.status, state.progress)).collect();
        assert_eq!(seen, [(2, 0), (2, 25), (2, 50), (2, 75), (4, 75)]);
    }

    #[test]
    fn steps_whose_time_has_passed_are_skipped() {
        let second = Duration::from_secs(1);
        let timeline = Timeline::new().queueing(second).processing(second).failed(1, "r");
        let mut job = JobTimeline::new(timeline);
        let start = SystemTime::UNIX_EPOCH;
        assert_eq!(job.poll(start).status, 1);
        let end = job.poll(start + second * 5);
        assert_eq!((end.status, end.error), (4, Some((1, "r".to_owned()))));
    }

    #[test]
    fn a_clock_that_goes_back_keeps_the_status() {
        let second = Duration::from_secs(1);
        let mut job = JobTimeline::new(Timeline::new().queueing(second).completed());
        job.poll(SystemTime::UNIX_EPOCH + second * 10);
        assert_eq!(job.poll(SystemTime::UNIX_EPOCH).status, 1);
    }
}
