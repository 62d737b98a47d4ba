//! Measures many waits from outside. Shared with the separate program in `peers/`.

use std::{
    alloc::System,
    fs,
    ops::Range,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};
use stats_alloc::{Region, StatsAlloc};
use tokio::sync::mpsc::{UnboundedSender, unbounded_channel};

/// The measurements of one run.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
pub(crate) struct Probe {
    /// Resident memory per wait in bytes, without that of the process before its first wait.
    pub(crate) resident: f64,
    /// Heap per wait in bytes.
    pub(crate) heap: f64,
    pub(crate) polls: u64,
    pub(crate) seconds: f64,
    pub(crate) cpu_seconds: f64,
    /// The median of the seconds from when a poll was due until its response arrived.
    pub(crate) lag_median: f64,
    /// The 99th percentile of the same.
    pub(crate) lag_p99: f64,
    pub(crate) lost: usize,
    pub(crate) duplicated: usize,
    pub(crate) connections: u64,
}

/// The number of digits at the end of a job's id.
pub(crate) const DIGITS: usize = 7;

/// When the jobs of a run start and end: each is polled twice, when it starts and one interval later.
#[derive(Clone, Copy)]
pub(crate) struct Plan {
    pub(crate) jobs: usize,
    /// The time between two polls of a job. The jobs' starts are spread over [`Self::STARTS`] of it.
    pub(crate) interval: Duration,
}

impl Plan {
    const STARTS: f64 = 0.9;

    pub(crate) fn new(jobs: usize, quick: bool) -> Self {
        // At most 12,000 polls per second.
        let interval = match jobs {
            ..=1_000 => 2,
            1_001..=10_000 => 4,
            10_001..=100_000 => 16,
            _ => 95,
        };
        Self { jobs, interval: Duration::from_secs(interval) / if quick { 2 } else { 1 } }
    }

    /// The time from the start of the run until a job is inserted.
    pub(crate) fn start(&self, job: usize) -> Duration {
        self.interval.mul_f64(Self::STARTS * job as f64 / self.jobs as f64)
    }

    /// A job's id, which tells the server when the job ends: see `server.rs`.
    pub(crate) fn id(&self, job: usize, began_millis: u128) -> String {
        let ends = began_millis + (self.start(job) + self.interval / 2).as_millis();
        format!("{ends}-{job:0DIGITS$}")
    }

    /// A time at which all jobs have started and none is known to have ended.
    pub(crate) fn full(&self) -> Duration {
        self.interval.mul_f64(f64::midpoint(Self::STARTS, 1.0))
    }
}

/// A job that was polled, and when its next poll is due; `None` if it has ended.
pub(crate) type Polled = (usize, Option<Instant>);

/// Waits for the jobs with something that runs by itself for each: `start` begins it, and it sends each poll.
pub(crate) async fn with_tasks(
    plan: Plan,
    global: &'static StatsAlloc<System>,
    mut start: impl FnMut(usize, String, UnboundedSender<Polled>) -> Result<()>,
) -> Result<Probe> {
    let (sender, mut polls) = unbounded_channel();
    let mut watcher = Watcher::new(plan, global)?;
    let mut ticks = tokio::time::interval(Duration::from_millis(5));
    while watcher.ended < plan.jobs {
        tokio::select! {
            Some((job, next)) = polls.recv() => watcher.polled(job, next),
            _ = ticks.tick(), if !watcher.is_measured => {
                for job in watcher.starting()? {
                    start(job, watcher.id(job), sender.clone())?;
                }
            }
        }
    }
    watcher.finish()
}

/// One before the first end of a job. Not zero, so that the memory is resident from the start.
const NOT_ENDED: u8 = u8::MAX;

/// Records the polls of a run. It allocates nothing during the run.
pub(crate) struct Watcher {
    pub(crate) plan: Plan,
    pub(crate) began: Instant,
    pub(crate) began_millis: u128,
    pub(crate) region: Region<'static, System>,
    pub(crate) resident: u64,
    pub(crate) cpu: f64,
    pub(crate) due: Vec<Option<Instant>>,
    /// How often each job has ended, from [`NOT_ENDED`].
    pub(crate) ends: Vec<u8>,
    pub(crate) ended: usize,
    started: usize,
    pub(crate) is_measured: bool,
    pub(crate) lags: Vec<f32>,
    pub(crate) polls: u64,
    pub(crate) probe: Probe,
}

impl Watcher {
    pub(crate) fn new(plan: Plan, global: &'static StatsAlloc<System>) -> Result<Self> {
        // Written to, so that it is resident from the start.
        let mut lags = vec![1.0; plan.jobs * 3];
        lags.clear();
        let due = vec![Some(Instant::now()); plan.jobs];
        Ok(Self {
            due,
            ends: vec![NOT_ENDED; plan.jobs],
            lags,
            plan,
            ended: 0,
            started: 0,
            is_measured: false,
            polls: 0,
            probe: Probe::default(),
            resident: resident("self")?,
            cpu: cpu_seconds()?,
            region: Region::new(global),
            began_millis: SystemTime::now().duration_since(UNIX_EPOCH)?.as_millis(),
            began: Instant::now(),
        })
    }

    pub(crate) fn id(&self, job: usize) -> String {
        self.plan.id(job, self.began_millis)
    }

    /// Records a poll of a job, and when its next poll is due; `None` if the job has ended.
    pub(crate) fn polled(&mut self, job: usize, next: Option<Instant>) {
        self.polls += 1;
        if let Some(due) = std::mem::replace(&mut self.due[job], next)
            && self.lags.len() < self.lags.capacity()
        {
            self.lags.push(due.elapsed().as_secs_f32());
        }
        if next.is_none() {
            self.ends[job] = self.ends[job].wrapping_add(1);
            self.ended += 1;
        }
    }

    /// The jobs that start now. Measures the memory when all have started.
    pub(crate) fn starting(&mut self) -> Result<Range<usize>> {
        let (now, first) = (self.began.elapsed(), self.started);
        while self.started < self.plan.jobs && self.plan.start(self.started) <= now {
            self.due[self.started] = Some(self.began + self.plan.start(self.started));
            self.started += 1;
        }
        if first == self.plan.jobs && now >= self.plan.full() {
            self.is_measured = true;
            let change = self.region.change();
            let live = change.bytes_allocated as f64 - change.bytes_deallocated as f64;
            self.probe.heap = live / self.plan.jobs as f64;
            self.probe.resident = (resident("self")? as f64 - self.resident as f64) / self.plan.jobs as f64;
        }
        Ok(first..self.started)
    }

    pub(crate) fn finish(mut self) -> Result<Probe> {
        self.lags.sort_by(f32::total_cmp);
        let at = |part: f64| self.lags.get((self.lags.len() as f64 * part) as usize).copied().unwrap_or(0.0);
        Ok(Probe {
            polls: self.polls,
            seconds: self.began.elapsed().as_secs_f64(),
            cpu_seconds: cpu_seconds()? - self.cpu,
            lag_median: at(0.5).into(),
            lag_p99: at(0.99).into(),
            lost: self.ends.iter().filter(|ends| **ends == NOT_ENDED).count(),
            duplicated: self.ends.iter().filter(|ends| !matches!(**ends, 0 | NOT_ENDED)).count(),
            ..self.probe
        })
    }
}

/// Resident memory of a process, in bytes.
pub(crate) fn resident(process: &str) -> Result<u64> {
    let status = fs::read_to_string(format!("/proc/{process}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).context("no VmRSS")?;
    Ok(line.trim().trim_end_matches(" kB").trim().parse::<u64>()? * 1024)
}

/// The processor time of all threads of this process so far.
fn cpu_seconds() -> Result<f64> {
    let mut nanoseconds = 0.0;
    for thread in fs::read_dir("/proc/self/task")? {
        let stat = fs::read_to_string(thread?.path().join("schedstat"))?;
        nanoseconds += stat.split(' ').next().unwrap_or_default().parse::<f64>()?;
    }
    Ok(nanoseconds / 1e9)
}
