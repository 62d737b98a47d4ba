//! `fleet`: many waits at once in one process, the server in another.

use std::{
    fs,
    process::Command,
    time::{Duration, Instant},
};

use akool::{Event, PollPolicy};
use anyhow::{Context, Result, bail};
use serde::{Deserialize, Serialize};
use stats_alloc::Region;
use tokio::sync::mpsc;

use crate::{
    by_hand, plot,
    row::Row,
    server::{Server, now_millis},
};

const SIZES: [usize; 3] = [1_000, 10_000, 100_000];
const SET: &str = "wait set";
const TASKS: &str = "task per job";
const TASKS_GENERATED: &str = "task per job, generated client";

/// What a run took.
#[derive(Debug, Default, Deserialize, Serialize)]
struct Probe {
    /// Of resident memory, for each wait, beyond the process without any.
    resident: f64,
    /// Of the heap, for each wait.
    heap: f64,
    looks: u64,
    seconds: f64,
    cpu_seconds: f64,
    /// Sorted, in seconds: from when a look was due until its answer was there.
    lag_median: f64,
    lag_late: f64,
    lost: usize,
    doubled: usize,
    connections: u64,
}

/// How the jobs of a run are spread.
#[derive(Clone, Copy)]
struct Plan {
    jobs: usize,
    /// From look to look; the jobs come spread over one interval.
    interval: Duration,
}

impl Plan {
    fn new(jobs: usize, quick: bool) -> Self {
        // At most 4,200 looks in a second.
        let interval = match jobs {
            ..=1_000 => 4,
            1_001..=10_000 => 8,
            _ => 24,
        };
        Self { jobs, interval: Duration::from_secs(if quick { interval / 2 } else { interval }) }
    }

    /// When a job is inserted, after the beginning.
    fn start(&self, job: usize) -> Duration {
        self.interval.mul_f64(job as f64 / self.jobs as f64)
    }

    /// Its id, which tells the server when it ends: one to two intervals after all have begun.
    fn id(&self, job: usize, began_millis: u128) -> String {
        let spread = 1.3 + (job * 7919 % self.jobs) as f64 / self.jobs as f64 * 0.7;
        let ends = began_millis + (self.start(job) + self.interval.mul_f64(spread)).as_millis();
        format!("{ends}-{job:06}")
    }

    /// When all have begun and none has ended.
    fn full(&self) -> Duration {
        self.interval.mul_f64(1.15)
    }
}

/// What is seen from outside, without growing while it is measured.
struct Watcher {
    plan: Plan,
    began: Instant,
    began_millis: u128,
    region: Region<'static, std::alloc::System>,
    resident: u64,
    cpu: f64,
    due: Vec<Option<Instant>>,
    ends: Vec<u8>,
    ended: usize,
    lags: Vec<f32>,
    looks: u64,
    probe: Probe,
}

impl Watcher {
    fn new(plan: Plan) -> Result<Self> {
        let mut lags = vec![0.0; plan.jobs * 6];
        lags.clear();
        let due = vec![Some(Instant::now()); plan.jobs];
        Ok(Self {
            due,
            ends: vec![0; plan.jobs],
            lags,
            plan,
            ended: 0,
            looks: 0,
            probe: Probe::default(),
            resident: resident()?,
            cpu: cpu_seconds()?,
            region: Region::new(crate::GLOBAL),
            began_millis: now_millis(),
            began: Instant::now(),
        })
    }

    fn id(&self, job: usize) -> String {
        self.plan.id(job, self.began_millis)
    }

    /// A look at a job was answered, and the next one is due then.
    fn looked(&mut self, job: usize, next: Option<Instant>) {
        self.looks += 1;
        if let Some(due) = std::mem::replace(&mut self.due[job], next)
            && self.lags.len() < self.lags.capacity()
        {
            self.lags.push(due.elapsed().as_secs_f32());
        }
        if next.is_none() {
            self.ends[job] += 1;
            self.ended += 1;
        }
    }

    fn measure_memory(&mut self) -> Result<()> {
        let change = self.region.change();
        let live = change.bytes_allocated as f64 - change.bytes_deallocated as f64;
        self.probe.heap = live / self.plan.jobs as f64;
        self.probe.resident = (resident()? as f64 - self.resident as f64) / self.plan.jobs as f64;
        Ok(())
    }

    fn finish(mut self) -> Result<Probe> {
        self.lags.sort_by(f32::total_cmp);
        let at = |part: f64| self.lags.get((self.lags.len() as f64 * part) as usize).copied().unwrap_or(0.0);
        Ok(Probe {
            looks: self.looks,
            seconds: self.began.elapsed().as_secs_f64(),
            cpu_seconds: cpu_seconds()? - self.cpu,
            lag_median: at(0.5).into(),
            lag_late: at(0.99).into(),
            lost: self.ends.iter().filter(|ends| **ends == 0).count(),
            doubled: self.ends.iter().filter(|ends| **ends > 1).count(),
            ..self.probe
        })
    }
}

/// Resident memory of this process, in bytes.
fn resident() -> Result<u64> {
    let status = fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).context("no VmRSS")?;
    Ok(line.trim().trim_end_matches(" kB").trim().parse::<u64>()? * 1024)
}

/// What this process has used of the processor so far.
fn cpu_seconds() -> Result<f64> {
    let stat = fs::read_to_string("/proc/self/stat")?;
    let fields: Vec<&str> = stat.rsplit(") ").next().unwrap_or_default().split(' ').collect();
    let ticks = |at: usize| fields.get(at).and_then(|field| field.parse::<f64>().ok()).unwrap_or(0.0);
    // User and system time, in hundredths of a second.
    Ok((ticks(11) + ticks(12)) / 100.0)
}

pub(crate) fn probe(who: &str, url: &str, jobs: usize, quick: bool) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let plan = Plan::new(jobs, quick);
    let probe = runtime.block_on(async {
        let client = by_hand::library(url)?;
        let generated = by_hand::generated(url)?;
        // So that what every process has is there before memory is measured.
        client.job("warm").get().await?;
        generated.get_video_info().video_model_id("warm").send().await?;
        match who {
            SET => set(&client, plan).await,
            TASKS => tasks(plan, Looker::Library(client)).await,
            TASKS_GENERATED => tasks(plan, Looker::Generated(generated)).await,
            other => bail!("nobody is called {other}"),
        }
    })?;
    println!("{}", serde_json::to_string(&probe)?);
    Ok(())
}

async fn set(client: &akool::Client, plan: Plan) -> Result<Probe> {
    let mut watcher = Watcher::new(plan)?;
    let policy = PollPolicy::fixed(plan.interval).with_jitter(0.0);
    let mut waits = client.wait_set().policy(policy).looks_at_once(16);
    let mut inserted = 0;
    let mut ticks = tokio::time::interval(Duration::from_millis(5));
    let mut measured = false;
    while watcher.ended < plan.jobs {
        tokio::select! {
            Some((id, event)) = waits.next() => {
                let job: usize = id.as_str().rsplit('-').next().context("no number")?.parse()?;
                match event {
                    Event::Looked { next_look_in, .. } => watcher.looked(job, Some(Instant::now() + next_look_in)),
                    Event::Ended(Ok(_)) => watcher.looked(job, None),
                    other => bail!("{id}: {other:?}"),
                }
            }
            _ = ticks.tick(), if inserted < plan.jobs || !measured => {
                let now = watcher.began.elapsed();
                while inserted < plan.jobs && plan.start(inserted) <= now {
                    watcher.due[inserted] = Some(watcher.began + plan.start(inserted));
                    waits.insert(watcher.id(inserted));
                    inserted += 1;
                }
                if now >= plan.full() && !measured {
                    measured = true;
                    watcher.measure_memory()?;
                }
            }
        }
    }
    watcher.finish()
}

/// A task for each job: looks, sleeps, looks.
async fn tasks(plan: Plan, looker: Looker) -> Result<Probe> {
    let (sender, mut seen) = mpsc::unbounded_channel();
    let mut watcher = Watcher::new(plan)?;
    let mut inserted = 0;
    let mut ticks = tokio::time::interval(Duration::from_millis(5));
    let mut measured = false;
    while watcher.ended < plan.jobs {
        tokio::select! {
            Some((job, next)) = seen.recv() => watcher.looked(job, next),
            _ = ticks.tick(), if inserted < plan.jobs || !measured => {
                let now = watcher.began.elapsed();
                while inserted < plan.jobs && plan.start(inserted) <= now {
                    let job = inserted;
                    watcher.due[job] = Some(watcher.began + plan.start(job));
                    let (id, sender, looker) = (watcher.id(job), sender.clone(), looker.clone());
                    tokio::spawn(async move {
                        loop {
                            // What fails is looked at again.
                            if let Ok(true) = looker.ended(&id).await {
                                let _ = sender.send((job, None));
                                return;
                            }
                            let _ = sender.send((job, Some(Instant::now() + plan.interval)));
                            tokio::time::sleep(plan.interval).await;
                        }
                    });
                    inserted += 1;
                }
                if now >= plan.full() && !measured {
                    measured = true;
                    watcher.measure_memory()?;
                }
            }
        }
    }
    watcher.finish()
}

/// Who looks for a task.
#[derive(Clone)]
enum Looker {
    Library(akool::Client),
    Generated(akool_client::Client),
}

impl Looker {
    /// One look: whether the job has ended.
    async fn ended(&self, id: &str) -> Result<bool> {
        let status = match self {
            Self::Library(client) => client.job(id).get().await?.status(),
            Self::Generated(client) => {
                let answer = client.get_video_info().video_model_id(id).send().await?.into_inner();
                answer.data.and_then(|data| data.video_status).context("no status")?.into()
            }
        };
        Ok(status.is_terminal())
    }
}

fn run_probe(who: &str, jobs: usize, quick: bool) -> Result<Probe> {
    let server = Server::start()?;
    let mut command = Command::new(std::env::current_exe()?);
    command.args(["probe-fleet", who, &server.url, &jobs.to_string()]);
    if quick {
        command.arg("--quick");
    }
    let output = command.output()?;
    anyhow::ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let mut probe: Probe = serde_json::from_slice(&output.stdout)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let counts = runtime.block_on(server.counts())?;
    // Less the one that asks, and the two that warm up.
    probe.connections = counts.connections.saturating_sub(2);
    anyhow::ensure!(counts.looks >= probe.looks, "looks that the server did not see");
    Ok(probe)
}

pub(crate) fn run(quick: bool) -> Result<Row> {
    let sizes = if quick { &SIZES[..2] } else { &SIZES[..] };
    let mut row = Row::new(
        "fleet",
        "Many waits at once in one process on one thread, the server in another process: each job is looked at \
         once in an interval and ends after two to three. A wait set against a tokio task with a sleep loop for \
         each job, on the same client and on the bare generated one.",
    );
    let mut memory: Vec<plot::Series> = Vec::new();
    let mut faults = 0;
    let mut worst = [0.0_f64; 3];
    for jobs in sizes {
        let case = format!("{} waits", crate::row::number(*jobs as f64));
        let mut cpu = [0.0; 3];
        for (index, who) in [SET, TASKS, TASKS_GENERATED].into_iter().enumerate() {
            if who == TASKS_GENERATED && *jobs == 100_000 {
                continue;
            }
            let probe = run_probe(who, *jobs, quick)?;
            cpu[index] = probe.cpu_seconds / probe.looks as f64 * 1e6;
            row.add(&case, who, "memory", "B/wait", &[probe.resident]);
            row.add(&case, who, "heap", "B/wait", &[probe.heap]);
            row.add(&case, who, "CPU", "µs/look", &[cpu[index]]);
            row.add(&case, who, "looks", "/s", &[probe.looks as f64 / probe.seconds]);
            row.add(&case, who, "lag, median", "ms", &[probe.lag_median * 1e3]);
            row.add(&case, who, "lag, 99th percentile", "ms", &[probe.lag_late * 1e3]);
            row.add(&case, who, "connections", "", &[probe.connections as f64]);
            row.add(&case, who, "lost or doubled", "", &[(probe.lost + probe.doubled) as f64]);
            let point = (*jobs as f64, probe.resident);
            match memory.iter_mut().find(|(name, _)| name == who) {
                Some((_, points)) => points.push(point),
                None => memory.push((who.to_owned(), vec![point])),
            }
            if who == SET {
                faults += probe.lost + probe.doubled;
                worst[0] = probe.resident;
                worst[1] = worst[1].max(probe.lag_late);
            }
        }
        worst[2] = worst[2].max(cpu[0] / cpu[1]);
    }
    let most = crate::row::number(*sizes.last().unwrap_or(&0) as f64);
    row.at_most(&format!("wait set: bytes a wait at {most},"), worst[0], 512.0);
    row.at_most("wait set: CPU for each look over task per job's, at the worst size,", worst[2], 1.0);
    row.at_most("wait set: 99th percentile of lag in s, at the worst size,", worst[1], 1.0);
    row.at_most("wait set: lost or doubled outcomes", faults as f64, 0.0);
    row.note("Lag: from when a look is due until its answer is there. Memory is resident memory beyond the process without waits.");
    row.note(
        "The server is a plain responder (src/server.rs), since the stand-in takes a tenth of these looks.",
    );
    plot::lines("fleet", "resident memory for each wait", "waits", "bytes a wait", &memory)?;
    Ok(row)
}
