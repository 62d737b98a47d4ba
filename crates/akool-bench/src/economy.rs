//! The row `economy`: polls per job against the delay until its end is noticed, in virtual time.

use std::time::Duration;

use akool::{Decision, Observation, PollPolicy, PollState, Poller, Status};
use akool_ledger::Durations;
use anyhow::Result;
use fastrand::Rng;

use crate::{
    row::{Chart, Plot, Row, Series},
    workload::{Optimum, WORKLOADS, Workload},
};

/// The result of polling many jobs.
struct Tally {
    /// Polls per job.
    polls: f64,
    delays: Vec<f64>,
}

impl Tally {
    fn mean_delay(&self) -> f64 {
        self.delays.iter().sum::<f64>() / self.delays.len() as f64
    }

    fn delay_p95(&self) -> f64 {
        let mut sorted = self.delays.clone();
        sorted.sort_by(f64::total_cmp);
        sorted[sorted.len() * 95 / 100]
    }
}

/// Polls jobs that end at these ages. `poll_job` takes a job's number and the age at which it ends, and returns the
/// number of polls and the age at which the end was noticed.
fn poll_all(ends: &[f64], mut poll_job: impl FnMut(usize, f64) -> (u32, f64)) -> Tally {
    let mut polls = 0_u64;
    let delays = ends
        .iter()
        .enumerate()
        .map(|(job, end)| {
            let (count, noticed) = poll_job(job, *end);
            polls += u64::from(count);
            noticed - end
        })
        .collect();
    Tally { polls: polls as f64 / ends.len() as f64, delays }
}

/// Polls one job with the real poller. Returns the number of polls, the age at the last poll before the end, and
/// the age at which the end was noticed.
fn poll(poller: &Poller, seed: usize, end: f64) -> (u32, f64, f64) {
    let mut state = PollState::new(seed as u64);
    let (mut before, mut now) = (Duration::ZERO, Duration::ZERO);
    loop {
        // The wait begins when the job is created, so the time since its beginning is the age of the job.
        let running = now.as_secs_f64() < end;
        let observed =
            if running { Observation::running(Status::Processing) } else { Observation::Completed };
        match poller.observe(&mut state, now, now, observed) {
            Decision::PollAt(at) => (before, now) = (now, at),
            Decision::TimeoutAt(_) => unreachable!("the poller has no timeout"),
            Decision::Finished(_) => return (state.attempts(), before.as_secs_f64(), now.as_secs_f64()),
        }
    }
}

fn with_policy(ends: &[f64], policy: PollPolicy) -> Tally {
    let poller = Poller::new(policy, None);
    poll_all(ends, |job, end| {
        let (polls, _, noticed) = poll(&poller, job, end);
        (polls, noticed)
    })
}

/// Polls with pauses that depend on the number of polls so far and on chance.
fn with_pauses(ends: &[f64], pause: impl Fn(u32, &mut Rng) -> f64) -> Tally {
    poll_all(ends, |job, end| {
        let mut random = Rng::with_seed(job as u64);
        let (mut polls, mut now) = (1, 0.0);
        while now < end {
            now += pause(polls, &mut random);
            polls += 1;
        }
        (polls, now)
    })
}

/// The policy after 200 jobs, each polled by what the policy had learned from the jobs before.
fn learned(workload: &Workload, seed: u64) -> PollPolicy {
    let mut random = Rng::with_seed(seed);
    let mut durations = Durations::default();
    let mut poller = Poller::new(durations.poll_policy(), None);
    for job in 0..200 {
        let (_, before, noticed) = poll(&poller, job, workload.draw(&mut random));
        durations.record(Duration::from_secs_f64(before), Duration::from_secs_f64(noticed), None);
        if durations.count() % 20 == 0 {
            poller = Poller::new(durations.poll_policy(), None);
        }
    }
    durations.poll_policy()
}

/// Polls with the optimal schedule that has this mean delay.
fn optimum_at(optimum: &Optimum, ends: &[f64], delay: f64) -> Tally {
    let at = |cost: f64| {
        let schedule = optimum.schedule(cost);
        poll_all(ends, |_, end| {
            let later = schedule.partition_point(|poll| *poll < end);
            // No job ends after the last poll of the schedule.
            (later as u32 + 2, schedule.get(later).copied().unwrap_or(end))
        })
    };
    let (mut low, mut high) = (1e-4_f64, 1e7_f64);
    for _ in 0..32 {
        let middle = (low * high).sqrt();
        if at(middle).mean_delay() > delay { high = middle } else { low = middle }
    }
    at((low * high).sqrt())
}

/// How many times learning starts from nothing: its result depends on the jobs that it happens to see.
const LEARNERS: usize = 20;

pub(crate) fn run(quick: bool) -> Result<Row> {
    let jobs = if quick { 5_000 } else { 100_000 };
    let mut row = Row::new(
        "economy",
        "Polls per job, and the delay until its end is noticed, with the real poller in virtual time on workloads of \
         100,000 jobs. Compared with fixed intervals, Google's default, the AWS waiters, and the optimum for a known \
         distribution (Keller 1974) at the same mean delay.",
    );
    let mut curves: Vec<Series> = Vec::new();
    let (mut max_polls, mut max_delay, mut max_ratio) = (0.0_f64, 0.0_f64, 0.0_f64);
    for workload in &WORKLOADS {
        let mut random = Rng::with_seed(7);
        let ends: Vec<f64> = (0..jobs).map(|_| workload.draw(&mut random)).collect();
        let mean = ends.iter().sum::<f64>() / ends.len() as f64;
        let case = workload.name();
        println!("{case} (mean {mean:.0} s)");
        let optimum = Optimum::of(workload);
        let mut add = |variant: &str, tally: &Tally| {
            row.add(&case, variant, "polls", "", &[tally.polls]);
            row.add(&case, variant, "mean delay", "s", &[tally.mean_delay()]);
            row.add(&case, variant, "95th percentile of delay", "s", &[tally.delay_p95()]);
            let point = (tally.mean_delay() / mean * 100.0, tally.polls);
            match curves.iter_mut().find(|(name, _)| name == variant) {
                Some((_, points)) => points.push(point),
                None => curves.push((variant.to_owned(), vec![point])),
            }
            (tally.polls, tally.mean_delay())
        };

        let (polls, delay) = add("default", &with_policy(&ends, PollPolicy::default()));
        max_polls = max_polls.max(polls);
        max_delay = max_delay.max(delay / mean);
        add("optimum at default delay", &optimum_at(&optimum, &ends, delay));

        let each = ends.chunks(ends.len() / LEARNERS);
        let mut tally = Tally { polls: 0.0, delays: Vec::new() };
        for (learner, ends) in each.enumerate().take(LEARNERS) {
            let part = with_policy(ends, learned(workload, 1000 + learner as u64));
            tally.polls += part.polls / LEARNERS as f64;
            tally.delays.extend(part.delays);
        }
        let (polls, delay) = add("learned from 200 jobs", &tally);
        let (best, _) = add("optimum at learned delay", &optimum_at(&optimum, &ends, delay));
        max_ratio = max_ratio.max(polls / best);

        for seconds in [1, 3, 5, 10, 30] {
            let policy = PollPolicy::fixed(Duration::from_secs(seconds));
            add(&format!("every {seconds} s"), &with_policy(&ends, policy));
        }
        let doubled = |first: f64, polls: u32, most: f64| (first * f64::from(polls - 1).exp2()).min(most);
        add("Google's default", &with_pauses(&ends, |polls, _| doubled(1.0, polls, 60.0)));
        let aws = |polls, random: &mut Rng| 2.0 + random.f64() * (doubled(2.0, polls, 120.0) - 2.0);
        add("AWS waiters", &with_pauses(&ends, aws));
    }
    row.at_most("default: polls per job, worst workload", max_polls, 60.0);
    row.at_most("default: mean delay in % of the mean duration, worst workload", max_delay * 100.0, 6.5);
    row.at_most("learned: polls / the optimum's at equal mean delay, worst workload", max_ratio, 1.15);
    row.note(format!(
        "Learned: {LEARNERS} policies learn from 200 jobs each, and then share the {jobs} jobs."
    ));
    row.note(
        "Every job is polled once when it starts. That poll counts for every variant, including the optimum.",
    );
    row.plot = Some(Plot::Points(Chart {
        title: "polls per job against mean delay, one point per workload".to_owned(),
        x: "mean delay in % of the mean duration".to_owned(),
        y: "polls per job".to_owned(),
        series: curves,
    }));
    Ok(row)
}
