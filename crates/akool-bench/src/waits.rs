//! The row `waits`: many waits at once in one process, with the server in another process.

use std::{
    path::PathBuf,
    time::{Duration, Instant},
};

use akool::{PollPolicy, Status, Translation, Update};
use anyhow::{Context, Result, bail};
use tokio::sync::mpsc::UnboundedSender;

use crate::{
    allocator::GLOBAL,
    by_hand,
    paths::{home, target},
    process,
    row::{Chart, Plot, Row, Series, median, number},
    server::Server,
    set_cost::{OPERATIONS, instructions_each},
    watch::{DIGITS, Plan, Polled, Probe, Watcher, with_tasks},
};

const SIZES: [usize; 4] = [1_000, 10_000, 100_000, 1_000_000];
const SET: &str = "wait set";
const TASKS: &str = "task per job";
const TASKS_GENERATED: &str = "task per job, generated client";
/// These too run in a task per job, and poll by hand.
const PEERS: [&str; 2] = ["google-cloud-lro", "azure_core"];
const VARIANTS: [&str; 5] = [SET, TASKS, TASKS_GENERATED, PEERS[0], PEERS[1]];

/// Waits for so many jobs in this process, and prints the measurements.
pub(crate) fn probe(variant: &str, url: &str, jobs: usize, quick: bool) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let plan = Plan::new(jobs, quick);
    let (variant, url) = (variant.to_owned(), url.to_owned());
    // In a task, as in a service: each wake-up of the future in `block_on` costs a system call.
    let probe = runtime.block_on(runtime.spawn(async move {
        let client = by_hand::library(&url)?;
        let generated = by_hand::generated(&url)?;
        // Warm up, so that what every process allocates once is not measured.
        client.job("warm").get().await?;
        generated.get_video_info().video_model_id("warm").send().await?;
        match variant.as_str() {
            SET => set(&client, plan).await,
            TASKS => tasks(plan, TaskClient::Library(client)).await,
            TASKS_GENERATED => tasks(plan, TaskClient::Generated(generated)).await,
            other => bail!("unknown variant {other}"),
        }
    }))??;
    println!("{}", serde_json::to_string(&probe)?);
    Ok(())
}

async fn set(client: &akool::Client, plan: Plan) -> Result<Probe> {
    let mut watcher = Watcher::new(plan, GLOBAL)?;
    let policy = PollPolicy::fixed(plan.interval).with_jitter(0.0);
    let mut waits = client.wait_set().policy(policy).max_concurrent_polls(16);
    let mut ticks = tokio::time::interval(Duration::from_millis(5));
    while watcher.ended < plan.jobs {
        tokio::select! {
            Some((id, update)) = waits.next() => {
                let number = id.as_str().len() - DIGITS;
                let job: usize = id.as_str()[number..].parse()?;
                match update {
                    Update::Polled { next_poll_in, .. } => watcher.polled(job, Some(Instant::now() + next_poll_in)),
                    Update::Finished(Ok(_)) => watcher.polled(job, None),
                    other => bail!("{id}: {other:?}"),
                }
            }
            _ = ticks.tick(), if !watcher.is_measured => {
                for job in watcher.starting()? {
                    waits.insert(watcher.id(job));
                }
            }
        }
    }
    watcher.finish()
}

/// A task per job that polls and sleeps in a loop.
async fn tasks(plan: Plan, client: TaskClient) -> Result<Probe> {
    let start = |job, id: String, sender: UnboundedSender<Polled>| {
        let client = client.clone();
        tokio::spawn(async move {
            // A failed poll is retried.
            while !matches!(client.ended(&id).await, Ok(true)) {
                let _ = sender.send((job, Some(Instant::now() + plan.interval)));
                tokio::time::sleep(plan.interval).await;
            }
            let _ = sender.send((job, None));
        });
        Ok(())
    };
    with_tasks(plan, GLOBAL, start).await
}

/// The client that a task polls with.
#[derive(Clone)]
enum TaskClient {
    Library(akool::Client),
    Generated(akool_client::Client),
}

impl TaskClient {
    /// Polls once; returns whether the job has ended. An ended job without a video is an error, as for a user.
    async fn ended(&self, id: &str) -> Result<bool> {
        match self {
            Self::Library(client) => {
                let snapshot = client.job(id).get().await?;
                if !snapshot.status().is_terminal() {
                    return Ok(false);
                }
                Translation::from_snapshot(snapshot).context("no video")?;
            }
            Self::Generated(client) => {
                let answer = client.get_video_info().video_model_id(id).send().await?.into_inner();
                let data = answer.data.context("no data")?;
                if !Status::from(data.video_status.context("no status")?).is_terminal() {
                    return Ok(false);
                }
                data.video.context("no video")?;
            }
        }
        Ok(true)
    }
}

/// Builds the program that drives the peers' pollers, which is a workspace of its own.
pub(crate) fn peers() -> Result<PathBuf> {
    let built = target()?.join("akool-bench-tools/peers");
    duct::cmd!("cargo", "build", "--release", "--quiet", "--locked")
        .dir(home().join("peers"))
        .env("CARGO_TARGET_DIR", &built)
        .run()?;
    Ok(built.join("release/akool-bench-peers"))
}

fn run_probe(variant: &str, jobs: usize, quick: bool) -> Result<Probe> {
    let server = Server::start()?;
    let (jobs, quick) = (jobs.to_string(), quick.to_string());
    let arguments = [variant, &server.url, &jobs, &quick];
    let mut probe: Probe = if PEERS.contains(&variant) {
        serde_json::from_str(&duct::cmd(peers()?, arguments).read()?)?
    } else {
        process::probe(&[&["probe-waits"], &arguments[..]].concat())?
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let counts = runtime.block_on(server.counts())?;
    // Without the connection of this request, and one that only warmed up.
    probe.connections = counts.connections.saturating_sub(2);
    anyhow::ensure!(counts.polls >= probe.polls, "the server received fewer polls than the client sent");
    Ok(probe)
}

pub(crate) fn run(quick: bool) -> Result<Row> {
    let sizes = if quick { &SIZES[..2] } else { &SIZES[..] };
    let mut row = Row::new(
        "waits",
        "Many waits at once in one process on one thread, with the server in another process. Each job is polled twice, \
         when it starts and an interval later. A wait set, against a tokio task per job that polls and \
         sleeps in a loop (on the same client, and on the bare generated client), and against the pollers of \
         google-cloud-lro and azure_core in a task per job with the same interval.",
    );
    let mut curves: Vec<Series> = Vec::new();
    let mut faults = 0;
    let (mut resident, mut worst_lag, mut worst_cpu) = (0.0, 0.0_f64, 0.0_f64);
    for jobs in sizes {
        let case = format!("{} waits", number(*jobs as f64));
        // A run of the largest sizes takes minutes, so only the two variants with targets run. Those of the smallest size
        // have few polls, so they run more often than the others, which run twice.
        let (rounds, variants) = match *jobs {
            _ if quick => (1, &VARIANTS[..3]),
            1_000_000 => (1, &VARIANTS[..2]),
            100_000 => (2, &VARIANTS[..2]),
            10_000 => (3, &VARIANTS[..]),
            _ => (9, &VARIANTS[..]),
        };
        let mut probes = vec![Vec::new(); variants.len()];
        for round in 0..rounds {
            // Two at the same time, each with its own server, so that a disturbance affects both.
            let pairs = variants.chunks(2).zip(probes.chunks_mut(2));
            for (pair, probes) in pairs.take(if round < 2 { variants.len() } else { 1 }) {
                let measured = std::thread::scope(|scope| {
                    let runs: Vec<_> =
                        pair.iter().map(|variant| scope.spawn(|| run_probe(variant, *jobs, quick))).collect();
                    let joined =
                        runs.into_iter().map(|run| run.join().unwrap_or_else(|_| bail!("a run panicked")));
                    joined.collect::<Vec<_>>()
                });
                for (probe, probes) in measured.into_iter().zip(probes) {
                    probes.push(probe?);
                }
            }
        }
        let cpu = |probe: &Probe| probe.cpu_seconds / probe.polls as f64;
        // Of each two that ran at the same time.
        let ratios = probes[0].iter().zip(&probes[1]).map(|(set, tasks)| cpu(set) / cpu(tasks)).collect();
        worst_cpu = worst_cpu.max(median(ratios));
        for (variant, probes) in variants.iter().zip(&probes) {
            let mut add = |quantity, unit, value: &dyn Fn(&Probe) -> f64| {
                row.add(&case, variant, quantity, unit, &probes.iter().map(value).collect::<Vec<_>>())
            };
            let memory_each = add("memory", "B/wait", &|probe| probe.resident);
            add("heap", "B/wait", &|probe| probe.heap);
            add("CPU", "µs/poll", &|probe| cpu(probe) * 1e6);
            add("polls", "/s", &|probe| probe.polls as f64 / probe.seconds);
            add("lag, median", "ms", &|probe| probe.lag_median * 1e3);
            let lag = add("lag, 99th percentile", "ms", &|probe| probe.lag_p99 * 1e3);
            add("connections", "", &|probe| probe.connections as f64);
            add("lost or duplicated", "", &|probe| (probe.lost + probe.duplicated) as f64);
            let point = (*jobs as f64, memory_each);
            let label = format!("{variant}, bytes");
            match curves.iter_mut().find(|(name, _)| *name == label) {
                Some((_, points)) => points.push(point),
                None => curves.push((label, vec![point])),
            }
            if *variant == SET {
                faults += probes.iter().map(|probe| probe.lost + probe.duplicated).sum::<usize>();
                resident = memory_each;
                worst_lag = worst_lag.max(lag);
            }
        }
    }
    let largest = number(*sizes.last().unwrap_or(&0) as f64);
    row.at_most(&format!("wait set: bytes per wait at {largest} waits"), resident, 256.0);
    row.at_most("wait set: CPU per poll / task per job's, worst size", worst_cpu, 1.0);
    row.at_most("wait set: 99th percentile of lag in ms, worst size", worst_lag, 50.0);
    row.at_most("wait set: lost or duplicated outcomes", faults as f64, 0.0);
    let counts = sizes.iter().map(|waits| instructions_each(*waits)).collect::<Result<Vec<_>>>()?;
    for (index, operation) in OPERATIONS.into_iter().enumerate() {
        let mut points = Vec::new();
        for (waits, counts) in sizes.iter().zip(&counts) {
            let case = format!("{} waits", number(*waits as f64));
            points.push((*waits as f64, row.add(&case, SET, operation, "instructions", &[counts[index]])));
        }
        if let [(few, first), .., (many, last)] = points[..] {
            let target =
                format!("{operation}: instructions at {largest} waits / at 1,000, and the same of log n");
            row.at_most(&target, last / first, many.ln() / few.ln());
        }
        curves.push((format!("{operation}, instructions"), points));
    }
    row.note("The wait set and the task per job run at the same time, each with its own server, so that both meet the same disturbances. The others run in pairs too. A difference of a few hundredths in CPU is noise.");
    row.note("Lag is the time from when a poll is due until its response arrives. Memory is resident memory, without that of the process before its first wait.");
    row.note(
        "The server is a plain responder (src/server.rs), because the mock server handles only a tenth of these polls.",
    );
    row.plot = Some(Plot::Lines(Chart {
        title: "resident memory per wait, and instructions per operation of the set".to_owned(),
        x: "waits".to_owned(),
        y: "bytes, or instructions".to_owned(),
        series: curves,
    }));
    Ok(row)
}
