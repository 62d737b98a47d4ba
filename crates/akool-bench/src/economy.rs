//! `economy`: looks for each job against delay until its end is noticed, in virtual time.

use std::{sync::Arc, time::Duration};

use akool::{
    Durations, PollPolicy, Status,
    poller::{Decision, Observation, Poller},
};
use anyhow::Result;
use fastrand::Rng;

use crate::{
    plot::{Chart, Plot, Series},
    row::Row,
    workload::{Optimum, WORKLOADS, Workload},
};

/// What became of many jobs.
struct Tally {
    /// For each job.
    polls: f64,
    delays: Vec<f64>,
}

impl Tally {
    fn mean_delay(&self) -> f64 {
        self.delays.iter().sum::<f64>() / self.delays.len() as f64
    }

    fn late(&self) -> f64 {
        let mut sorted = self.delays.clone();
        sorted.sort_by(f64::total_cmp);
        sorted[sorted.len() * 95 / 100]
    }
}

/// Watches jobs that end at these ages. `watch` is given one's number and age, and gives how often it was
/// polled and when its end was noticed.
fn watch(ends: &[f64], mut watch: impl FnMut(usize, f64) -> (u32, f64)) -> Tally {
    let mut polls = 0_u64;
    let delays = ends
        .iter()
        .enumerate()
        .map(|(job, end)| {
            let (count, noticed) = watch(job, *end);
            polls += u64::from(count);
            noticed - end
        })
        .collect();
    Tally { polls: polls as f64 / ends.len() as f64, delays }
}

/// One job through the real poller: polls, when it was last seen running, when it was noticed.
fn poll(policy: &Arc<PollPolicy>, seed: usize, end: f64) -> (u32, f64, f64) {
    let mut poller = Poller::new(policy.clone(), None, seed as u64);
    let (mut polls, mut before, mut now) = (1, Duration::ZERO, Duration::ZERO);
    loop {
        let status = if now.as_secs_f64() < end { Status::Processing } else { Status::Completed };
        let seen = Observation::Status { status, age: Some(now), video_length: None };
        match poller.observe(now, now, seen) {
            Decision::PollAt(at) => (before, now) = (now, at),
            Decision::Finished(_) => return (polls, before.as_secs_f64(), now.as_secs_f64()),
        }
        polls += 1;
    }
}

fn with_policy(ends: &[f64], policy: PollPolicy) -> Tally {
    let policy = Arc::new(policy);
    watch(ends, |job, end| {
        let (polls, _, noticed) = poll(&policy, job, end);
        (polls, noticed)
    })
}

/// Pauses that depend on how many polls there were, and on chance.
fn with_pauses(ends: &[f64], pause: impl Fn(u32, &mut Rng) -> f64) -> Tally {
    watch(ends, |job, end| {
        let mut random = Rng::with_seed(job as u64);
        let (mut polls, mut now) = (1, 0.0);
        while now < end {
            now += pause(polls, &mut random);
            polls += 1;
        }
        (polls, now)
    })
}

/// The policy after it has watched 200 jobs by what it had learned until then.
fn learned(workload: &Workload, seed: u64) -> PollPolicy {
    let mut random = Rng::with_seed(seed);
    let mut durations = Durations::default();
    let mut policy = Arc::new(PollPolicy::default());
    for job in 0..200 {
        let (_, before, noticed) = poll(&policy, job, workload.draw(&mut random));
        durations.record_between(Duration::from_secs_f64(before), Duration::from_secs_f64(noticed), None);
        if durations.count() % 20 == 0 {
            policy = Arc::new(PollPolicy::default().with_durations(&durations));
        }
    }
    Arc::unwrap_or_clone(policy)
}

/// The polls of the optimum at the same mean delay.
fn optimum_at(optimum: &Optimum, ends: &[f64], delay: f64) -> Tally {
    let at = |cost: f64| {
        let schedule = optimum.schedule(cost);
        watch(ends, |_, end| {
            let later = schedule.partition_point(|poll| *poll < end);
            // Behind the last poll of the schedule there is nothing to end.
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

/// Learning is done this often from the beginning, since its luck differs.
const PUPILS: usize = 20;

pub(crate) fn run(quick: bool) -> Result<Row> {
    let jobs = if quick { 5_000 } else { 100_000 };
    let mut row = Row::new(
        "economy",
        "Polls for each job, and delay until its end is noticed: through the real poller in virtual time, on \
         workloads of 100,000 jobs, each polled once at its beginning. Against fixed intervals, Google's \
         default, the waiters of AWS, and the optimum for a known distribution (Keller 1974) at the same \
         mean delay.",
    );
    let mut curves: Vec<Series> = Vec::new();
    let (mut max_polls, mut most_delay, mut most_over) = (0.0_f64, 0.0_f64, 0.0_f64);
    for workload in &WORKLOADS {
        let mut random = Rng::with_seed(7);
        let ends: Vec<f64> = (0..jobs).map(|_| workload.draw(&mut random)).collect();
        let mean = ends.iter().sum::<f64>() / ends.len() as f64;
        let case = workload.name();
        println!("{case} (mean {mean:.0} s)");
        let optimum = Optimum::of(workload);
        let mut tell = |who: &str, tally: &Tally| {
            row.add(&case, who, "polls", "", &[tally.polls]);
            row.add(&case, who, "mean delay", "s", &[tally.mean_delay()]);
            row.add(&case, who, "95th percentile of delay", "s", &[tally.late()]);
            let point = (tally.mean_delay() / mean * 100.0, tally.polls);
            match curves.iter_mut().find(|(name, _)| name == who) {
                Some((_, points)) => points.push(point),
                None => curves.push((who.to_owned(), vec![point])),
            }
            (tally.polls, tally.mean_delay())
        };

        let (polls, delay) = tell("default", &with_policy(&ends, PollPolicy::default()));
        max_polls = max_polls.max(polls);
        most_delay = most_delay.max(delay / mean);
        tell("optimum at default's delay", &optimum_at(&optimum, &ends, delay));

        let each = ends.chunks(ends.len() / PUPILS);
        let mut tally = Tally { polls: 0.0, delays: Vec::new() };
        for (pupil, ends) in each.enumerate().take(PUPILS) {
            let part = with_policy(ends, learned(workload, 1000 + pupil as u64));
            tally.polls += part.polls / PUPILS as f64;
            tally.delays.extend(part.delays);
        }
        let (polls, delay) = tell("learned from 200 jobs", &tally);
        let (best, _) = tell("optimum at learned's delay", &optimum_at(&optimum, &ends, delay));
        most_over = most_over.max(polls / best);

        for seconds in [1, 3, 5, 10, 30] {
            let policy = PollPolicy::fixed(Duration::from_secs(seconds));
            tell(&format!("every {seconds} s"), &with_policy(&ends, policy));
        }
        let doubled = |first: f64, polls: u32, most: f64| (first * f64::from(polls - 1).exp2()).min(most);
        tell("Google's default", &with_pauses(&ends, |polls, _| doubled(1.0, polls, 60.0)));
        let aws = |polls, random: &mut Rng| 2.0 + random.f64() * (doubled(2.0, polls, 120.0) - 2.0);
        tell("AWS waiters", &with_pauses(&ends, aws));
    }
    row.at_most("default: polls, on the worst workload,", max_polls, 60.0);
    row.at_most(
        "default: mean delay in % of the mean duration, on the worst workload,",
        most_delay * 100.0,
        6.5,
    );
    row.at_most(
        "learned: looks over the optimum's at equal mean delay, on the worst workload,",
        most_over,
        1.15,
    );
    row.note(format!(
        "Learned: {PUPILS} times 200 jobs, watched by what was learned until then, and then the {jobs} jobs among them."
    ));
    row.note("The first poll, at a job's beginning, is counted for all, the optimum too.");
    row.plot = Some(Plot::Points(Chart {
        title: "looks for each job against mean delay: one point for each workload".to_owned(),
        x: "mean delay in % of the mean duration".to_owned(),
        y: "polls".to_owned(),
        series: curves,
    }));
    Ok(row)
}
