//! The metrics and their names, for the feature `metrics`. In a client without it, `no_meter.rs` stands in its place.
//!
//! Everything goes to the recorder of the crate `metrics` that the program installs. Without one, it has no effect.

use std::time::Duration;

use ::metrics::{Unit, counter, describe_counter, describe_gauge, describe_histogram, gauge, histogram};

use crate::kind::ErrorKind;

/// A metric of this crate: its name, what it counts, and how.
///
/// ```
/// for metric in akool::metrics::METRICS {
///     println!("{}: {}", metric.name, metric.meaning);
/// }
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub struct Metric {
    /// The name. It is stable: a change of it is a breaking change.
    pub name: &'static str,
    /// Whether it is a counter, a gauge or a histogram.
    pub kind: MetricKind,
    /// The unit: `seconds`, or what is counted.
    pub unit: &'static str,
    /// The label, if it has one. No label has a job's id as a value.
    pub label: Option<&'static str>,
    /// What it means, as a sentence without a full stop.
    pub meaning: &'static str,
}

/// What a [`Metric`] is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum MetricKind {
    /// A number that only grows.
    Counter,
    /// A number that grows and shrinks.
    Gauge,
    /// The distribution of values, with their sum and number. [`SECONDS_BUCKETS`] and [`CREDITS_BUCKETS`] are good
    /// upper bounds for buckets.
    Histogram,
}

/// Upper bounds for the buckets of histograms in seconds.
pub const SECONDS_BUCKETS: [f64; 12] =
    [1.0, 5.0, 15.0, 30.0, 60.0, 120.0, 300.0, 600.0, 1200.0, 1800.0, 3600.0, 7200.0];
/// Upper bounds for the buckets of histograms in credits.
pub const CREDITS_BUCKETS: [f64; 10] = [1.0, 2.0, 5.0, 10.0, 20.0, 50.0, 100.0, 200.0, 500.0, 1000.0];

macro_rules! metrics {
    ($($constant:ident: $kind:ident $name:literal $unit:literal $label:expr, $meaning:literal;)*) => {
        $(
            #[doc = concat!("`", $name, "`: ", $meaning, ".")]
            pub const $constant: &str = $name;
        )*

        /// All metrics of this crate.
        pub const METRICS: &[Metric] = &[$(
            Metric { name: $name, kind: MetricKind::$kind, unit: $unit, label: $label, meaning: $meaning },
        )*];
    };
}
metrics! {
    JOBS_CREATED: Counter "akool_jobs_created_total" "jobs" None,
        "Jobs that a creation returned";
    JOBS_UNKNOWN: Counter "akool_jobs_unknown_total" "jobs" None,
        "Jobs that were requested, and of which it is unknown whether they were created";
    JOBS_COMPLETED: Counter "akool_jobs_completed_total" "jobs" None,
        "Jobs whose wait ended because they completed";
    JOBS_FAILED: Counter "akool_jobs_failed_total" "jobs" None,
        "Jobs whose wait ended because they failed";
    WAITING_JOBS: Gauge "akool_waiting_jobs" "jobs" None,
        "Jobs that are waited for";
    POLLS: Counter "akool_polls_total" "requests" None,
        "Requests for the status of a job that were sent";
    TRANSIENT_ERRORS: Counter "akool_transient_errors_total" "polls" Some("kind"),
        "Polls of a wait that failed with an error that may pass, by the kind of error";
    THROTTLED_SECONDS: Histogram "akool_throttled_seconds" "seconds" None,
        "Pauses that the service asked for (Retry-After) and the client makes; the sum is the time in which nothing is sent";
    QUEUE_SECONDS: Histogram "akool_queue_seconds" "seconds" None,
        "Age of a job at the first poll that sees it processed, if an earlier poll saw it queued";
    PROCESSING_SECONDS: Histogram "akool_processing_seconds" "seconds" None,
        "Time from that poll to the one that sees the job's end";
    CREDITS_HELD: Histogram "akool_credits_held" "credits" None,
        "Credits that the service holds for a created job";
    CREDITS_CHARGED: Histogram "akool_credits_charged" "credits" None,
        "Credits that the service charged for a completed job";
}

/// Tells the recorder the unit and the meaning of each metric. Call it once, after the recorder is installed.
///
/// ```
/// akool::metrics::describe();
/// ```
pub fn describe() {
    for &Metric { name, kind, unit, meaning, .. } in METRICS {
        let unit = if unit == "seconds" { Unit::Seconds } else { Unit::Count };
        match kind {
            MetricKind::Counter => describe_counter!(name, unit, meaning),
            MetricKind::Gauge => describe_gauge!(name, unit, meaning),
            MetricKind::Histogram => describe_histogram!(name, unit, meaning),
        }
    }
}

/// The result of a request to create jobs: those that were created with the credits that each holds, and how many of
/// the others may exist.
pub(crate) fn requested(created: impl IntoIterator<Item = Option<f64>>, unknown: usize) {
    for credits in created {
        counter!(JOBS_CREATED).increment(1);
        if let Some(credits) = credits {
            histogram!(CREDITS_HELD).record(credits);
        }
    }
    record_unknown(unknown);
}

/// Counts jobs that were requested, and of which it is unknown whether they were created. [`Translate::send`] does
/// this for its own requests: call this for requests whose process ended before it knew the outcome.
///
/// [`Translate::send`]: crate::Translate::send
///
/// ```
/// akool::metrics::record_unknown(2);
/// ```
pub fn record_unknown(jobs: usize) {
    if jobs > 0 {
        counter!(JOBS_UNKNOWN).increment(jobs as u64);
    }
}

pub(crate) fn polled() {
    counter!(POLLS).increment(1);
}

pub(crate) fn throttled(pause: Duration) {
    if !pause.is_zero() {
        histogram!(THROTTLED_SECONDS).record(pause);
    }
}

pub(crate) fn transient_error(kind: ErrorKind) {
    counter!(TRANSIENT_ERRORS, "kind" => kind.name()).increment(1);
}

pub(crate) fn processing_began(queued: Option<Duration>) {
    if let Some(queued) = queued {
        histogram!(QUEUE_SECONDS).record(queued);
    }
}

pub(crate) fn ended(completed: bool, processed: Option<Duration>, credits_charged: Option<f64>) {
    counter!(if completed { JOBS_COMPLETED } else { JOBS_FAILED }).increment(1);
    if let Some(processed) = processed {
        histogram!(PROCESSING_SECONDS).record(processed);
    }
    if let Some(credits) = credits_charged.filter(|_| completed) {
        histogram!(CREDITS_CHARGED).record(credits);
    }
}

/// Counts a job as waiting until this is dropped.
pub(crate) struct Waiting(());

impl Waiting {
    pub(crate) fn begin() -> Self {
        gauge!(WAITING_JOBS).increment(1.0);
        Self(())
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        gauge!(WAITING_JOBS).decrement(1.0);
    }
}
