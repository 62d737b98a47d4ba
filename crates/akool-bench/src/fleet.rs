//! `fleet`: many waits at once in one process, the server in another.

use std::{
    path::PathBuf,
    process::Command,
    time::{Duration, Instant},
};

use akool::{Event, PollPolicy};
use anyhow::{Context, Result, bail};
use tokio::sync::mpsc;

use crate::{
    by_hand, plot,
    row::{Row, home, target},
    server::Server,
    watch::{Plan, Probe, Watcher},
};

const SIZES: [usize; 3] = [1_000, 10_000, 100_000];
const SET: &str = "wait set";
const TASKS: &str = "task per job";
const TASKS_GENERATED: &str = "task per job, generated client";
/// In a task for each job too; the look is made by hand.
const PEERS: [&str; 2] = ["google-cloud-lro", "azure_core"];

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
    let mut watcher = Watcher::new(plan, crate::GLOBAL)?;
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
    let mut watcher = Watcher::new(plan, crate::GLOBAL)?;
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
    anyhow::ensure!(counts.looks >= probe.looks, "looks that the server did not see");
    Ok(probe)
}

pub(crate) fn run(quick: bool) -> Result<Row> {
    let sizes = if quick { &SIZES[..2] } else { &SIZES[..] };
    let mut row = Row::new(
        "fleet",
        "Many waits at once in one process on one thread, the server in another process: each job is looked at \
         once in an interval and ends after two to three. A wait set against a tokio task with a sleep loop for \
         each job, on the same client and on the bare generated one, and against the pollers of google-cloud-lro \
         and azure_core, with the same interval, in a task for each job.",
    );
    let mut memory: Vec<plot::Series> = Vec::new();
    let mut faults = 0;
    let mut worst = [0.0_f64; 3];
    for jobs in sizes {
        let case = format!("{} waits", crate::row::number(*jobs as f64));
        let mut cpu = [0.0; 5];
        for (index, who) in [SET, TASKS, TASKS_GENERATED, PEERS[0], PEERS[1]].into_iter().enumerate() {
            // At the largest size only what the targets are about: each run takes over a minute.
            if index > 1 && *jobs == 100_000 {
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
