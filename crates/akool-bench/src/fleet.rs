//! `fleet`: many waits at once in one process, the server in another.

use std::{
    path::PathBuf,
    process::Command,
    time::{Duration, Instant},
};

use akool::{Event, PollPolicy, Status, Translation};
use anyhow::{Context, Result, bail};
use tokio::sync::mpsc;

use crate::{
    by_hand,
    plot::{Chart, Plot, Series},
    row::{Row, home, target},
    server::Server,
    watch::{NUMBER, Plan, Probe, Watcher},
};

const SIZES: [usize; 3] = [1_000, 10_000, 100_000];
const SET: &str = "wait set";
const TASKS: &str = "task per job";
const TASKS_GENERATED: &str = "task per job, generated client";
/// In a task for each job too; the poll is made by hand.
const PEERS: [&str; 2] = ["google-cloud-lro", "azure_core"];
const WHO: [&str; 5] = [SET, TASKS, TASKS_GENERATED, PEERS[0], PEERS[1]];

pub(crate) fn probe(who: &str, url: &str, jobs: usize, quick: bool) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let plan = Plan::new(jobs, quick);
    let (who, url) = (who.to_owned(), url.to_owned());
    // In a task, as in a service: waking what `block_on` runs takes a system call each time.
    let probe = runtime.block_on(runtime.spawn(async move {
        let client = by_hand::library(&url)?;
        let generated = by_hand::generated(&url)?;
        // So that what every process has is there before memory is measured.
        client.job("warm").get().await?;
        generated.get_video_info().video_model_id("warm").send().await?;
        match who.as_str() {
            SET => set(&client, plan).await,
            TASKS => tasks(plan, Poller_::Library(client)).await,
            TASKS_GENERATED => tasks(plan, Poller_::Generated(generated)).await,
            other => bail!("nobody is called {other}"),
        }
    }))??;
    println!("{}", serde_json::to_string(&probe)?);
    Ok(())
}

async fn set(client: &akool::Client, plan: Plan) -> Result<Probe> {
    let mut watcher = Watcher::new(plan, crate::GLOBAL)?;
    let policy = PollPolicy::fixed(plan.interval).with_jitter(0.0);
    let mut waits = client.wait_set().policy(policy).max_concurrent_polls(16);
    let mut inserted = 0;
    let mut ticks = tokio::time::interval(Duration::from_millis(5));
    let mut measured = false;
    while watcher.ended < plan.jobs {
        tokio::select! {
            Some((id, event)) = waits.next() => {
                let number = id.as_str().len() - NUMBER;
                let job: usize = id.as_str()[number..].parse()?;
                match event {
                    Event::Polled { next_poll_in, .. } => watcher.polled(job, Some(Instant::now() + next_poll_in)),
                    Event::Ended(Ok(_)) => watcher.polled(job, None),
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

/// A task for each job: polls, sleeps, polls.
async fn tasks(plan: Plan, poller_: Poller_) -> Result<Probe> {
    let (sender, mut seen) = mpsc::unbounded_channel();
    let mut watcher = Watcher::new(plan, crate::GLOBAL)?;
    let mut inserted = 0;
    let mut ticks = tokio::time::interval(Duration::from_millis(5));
    let mut measured = false;
    while watcher.ended < plan.jobs {
        tokio::select! {
            Some((job, next)) = seen.recv() => watcher.polled(job, next),
            _ = ticks.tick(), if inserted < plan.jobs || !measured => {
                let now = watcher.began.elapsed();
                while inserted < plan.jobs && plan.start(inserted) <= now {
                    let job = inserted;
                    watcher.due[job] = Some(watcher.began + plan.start(job));
                    let (id, sender, poller_) = (watcher.id(job), sender.clone(), poller_.clone());
                    tokio::spawn(async move {
                        loop {
                            // What fails is polled again.
                            if let Ok(true) = poller_.ended(&id).await {
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
enum Poller_ {
    Library(akool::Client),
    Generated(akool_client::Client),
}

impl Poller_ {
    /// One poll: whether the job has ended. Then there has to be a video, as a user would want it.
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

/// The program that drives the pollers of others, in a workspace of its own. Built, where it is not.
pub(crate) fn peers() -> Result<PathBuf> {
    let built = target()?.join("akool-bench-tools/peers");
    let status = Command::new("cargo")
        .current_dir(home().join("peers"))
        .args(["build", "--release", "--quiet", "--locked"])
        .env("CARGO_TARGET_DIR", &built)
        .status()?;
    anyhow::ensure!(status.success(), "the peers cannot be built");
    Ok(built.join("release/akool-bench-peers"))
}

fn run_probe(who: &str, jobs: usize, quick: bool) -> Result<Probe> {
    let server = Server::start()?;
    let jobs = jobs.to_string();
    let mut command;
    if PEERS.contains(&who) {
        command = Command::new(peers()?);
        command.args([who, &server.url, &jobs, &quick.to_string()]);
    } else {
        command = Command::new(std::env::current_exe()?);
        command.args(["probe-fleet", who, &server.url, &jobs]);
        if quick {
            command.arg("--quick");
        }
    }
    let output = command.output()?;
    anyhow::ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let mut probe: Probe = serde_json::from_slice(&output.stdout)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let counts = runtime.block_on(server.counts())?;
    // Less the one that asks, and the two that warm up.
    probe.connections = counts.connections.saturating_sub(2);
    anyhow::ensure!(counts.polls >= probe.polls, "polls that the server did not see");
    Ok(probe)
}

pub(crate) fn run(quick: bool) -> Result<Row> {
    let sizes = if quick { &SIZES[..2] } else { &SIZES[..] };
    let mut row = Row::new(
        "fleet",
        "Many waits at once in one process on one thread, the server in another process: each job is polled \
         once in an interval and ends after two to three. A wait set against a tokio task with a sleep loop for \
         each job, on the same client and on the bare generated one, and against the pollers of google-cloud-lro \
         and azure_core, with the same interval, in a task for each job.",
    );
    let mut memory: Vec<Series> = Vec::new();
    let mut faults = 0;
    let mut of_set = Vec::new();
    let (mut worst_lag, mut worst_cpu) = (0.0_f64, 0.0_f64);
    for jobs in sizes {
        let case = format!("{} waits", crate::row::number(*jobs as f64));
        // At the largest size only what the targets are about: each run takes over a minute.
        let (rounds, who) = match *jobs {
            _ if quick => (1, &WHO[..3]),
            100_000 => (3, &WHO[..2]),
            10_000 => (3, &WHO[..]),
            _ => (5, &WHO[..]),
        };
        let mut probes = vec![Vec::new(); who.len()];
        for _ in 0..rounds {
            // Two at the same time, each with a server of its own: what disturbs the machine disturbs both.
            for (pair, probes) in who.chunks(2).zip(probes.chunks_mut(2)) {
                let measured = std::thread::scope(|scope| {
                    let runs: Vec<_> =
                        pair.iter().map(|who| scope.spawn(|| run_probe(who, *jobs, quick))).collect();
                    let joined =
                        runs.into_iter().map(|run| run.join().unwrap_or_else(|_| bail!("a run panicked")));
                    joined.collect::<Vec<_>>()
                });
                for (probe, probes) in measured.into_iter().zip(probes) {
                    probes.push(probe?);
                }
            }
        }
        let mut cpu = Vec::new();
        for (who, probes) in who.iter().zip(&probes) {
            let mut add = |quantity, unit, of: &dyn Fn(&Probe) -> f64| {
                row.add(&case, who, quantity, unit, &probes.iter().map(of).collect::<Vec<_>>())
            };
            let resident = add("memory", "B/wait", &|probe| probe.resident);
            add("heap", "B/wait", &|probe| probe.heap);
            cpu.push(add("CPU", "µs/poll", &|probe| probe.cpu_seconds / probe.polls as f64 * 1e6));
            add("polls", "/s", &|probe| probe.polls as f64 / probe.seconds);
            add("lag, median", "ms", &|probe| probe.lag_median * 1e3);
            let lag = add("lag, 99th percentile", "ms", &|probe| probe.lag_late * 1e3);
            add("connections", "", &|probe| probe.connections as f64);
            add("lost or doubled", "", &|probe| (probe.lost + probe.doubled) as f64);
            let point = (*jobs as f64, resident);
            match memory.iter_mut().find(|(name, _)| name == who) {
                Some((_, points)) => points.push(point),
                None => memory.push(((*who).to_owned(), vec![point])),
            }
            if *who == SET {
                faults += probes.iter().map(|probe| probe.lost + probe.doubled).sum::<usize>();
                of_set.push(resident);
                worst_lag = worst_lag.max(lag);
            }
        }
        worst_cpu = worst_cpu.max(cpu[0] / cpu[1]);
    }
    let most = crate::row::number(*sizes.last().unwrap_or(&0) as f64);
    if let [first, .., last] = of_set[..] {
        row.at_most(&format!("wait set: bytes a wait at {most},"), last, 512.0);
        row.at_most(&format!("wait set: memory for a wait at {most} over that at 1,000"), last / first, 1.0);
    }
    row.at_most("wait set: CPU for each look over task per job's, at the worst size,", worst_cpu, 1.0);
    row.at_most("wait set: 99th percentile of lag in ms, at the worst size,", worst_lag, 1000.0);
    row.at_most("wait set: lost or doubled outcomes", faults as f64, 0.0);
    row.note("The wait set and the task per job run at the same time, each with a server of its own, so that both have the same machine; so do the others, two by two. A difference of some hundredths in CPU is noise.");
    row.note("Lag: from when a poll is due until its answer is there. Memory is resident memory beyond the process without waits.");
    row.note(
        "The server is a plain responder (src/server.rs), since the mock server takes a tenth of these polls.",
    );
    row.plot = Some(Plot::Lines(Chart {
        title: "resident memory for each wait".to_owned(),
        x: "waits".to_owned(),
        y: "bytes a wait".to_owned(),
        series: memory,
    }));
    Ok(row)
}
