//! `poll`: one look over a connection that is kept, by the library, by hand and by the generated client.

use std::{process::Command, time::Instant};

use anyhow::{Context, Result, bail};
use serde::{Deserialize, Serialize};
use stats_alloc::Region;

use crate::{by_hand, plot::Plot, row::Row, server::Server};

const WHO: [&str; 3] = ["by hand", "generated", "akool"];
const ID: &str = "64dd92c1f0b6684651e90e09";

/// What some polls took.
#[derive(Debug, Deserialize, Serialize)]
struct Probe {
    seconds: f64,
    allocations: usize,
    bytes: usize,
}

/// Polls so often, in this process, and prints what it took. A few polls before are not counted.
pub(crate) fn probe(who: &str, base_url: &str, polls: usize) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let probe = runtime.block_on(async {
        let http = by_hand::http()?;
        let generated = by_hand::generated(base_url)?;
        let job = by_hand::library(base_url)?.job(ID);
        let poll = async || -> Result<i64> {
            Ok(match who {
                "by hand" => by_hand::poll(&http, base_url, ID).await?.video_status,
                "generated" => {
                    let answer = generated.get_video_info().video_model_id(ID).send().await?.into_inner();
                    answer.data.and_then(|data| data.video_status).context("no status")?
                }
                "akool" => job.get().await?.status().into(),
                _ => bail!("nobody is called {who}"),
            })
        };
        for _ in 0..10 {
            poll().await?;
        }
        let region = Region::new(crate::GLOBAL);
        let began = Instant::now();
        for _ in 0..polls {
            anyhow::ensure!(poll().await? == 2, "another status than was sent");
        }
        let seconds = began.elapsed().as_secs_f64();
        let change = region.change();
        let allocations = change.allocations + change.reallocations;
        Ok::<_, anyhow::Error>(Probe { seconds, allocations, bytes: change.bytes_allocated })
    })?;
    println!("{}", serde_json::to_string(&probe)?);
    Ok(())
}

fn run_probe(who: &str, url: &str, polls: usize) -> Result<Probe> {
    let output =
        Command::new(std::env::current_exe()?).args(["probe-poll", who, url, &polls.to_string()]).output()?;
    anyhow::ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    Ok(serde_json::from_slice(&output.stdout)?)
}

/// The instructions of a whole run, by callgrind.
fn instructions(who: &str, url: &str, polls: usize) -> Result<f64> {
    let folder = tempfile::tempdir()?;
    let out = folder.path().join("callgrind.out");
    let output = Command::new("valgrind")
        .args(["--tool=callgrind", &format!("--callgrind-out-file={}", out.display())])
        .arg(std::env::current_exe()?)
        .args(["probe-poll", who, url, &polls.to_string()])
        .output()
        .context("cannot run valgrind; install it")?;
    anyhow::ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = std::fs::read_to_string(&out)?;
    let total = text
        .lines()
        .find_map(|line| line.strip_prefix("totals: ").or_else(|| line.strip_prefix("summary: ")));
    Ok(total.context("callgrind gave no total")?.trim().parse()?)
}

pub(crate) fn run(quick: bool) -> Result<Row> {
    let (samples, polls) = if quick { (3, 500) } else { (9, 5_000) };
    let mut row = Row::new(
        "poll",
        "One look over loopback on a connection that is kept: `job.get()` of the library, the same call by hand with \
         reqwest and serde_json into a type with the documented fields, and the bare generated client.",
    );
    let server = Server::start()?;
    let mut medians = Vec::new();
    for who in WHO {
        let counted: Vec<f64> = (0..if quick { 1 } else { 3 })
            .map(
                |_| Ok((instructions(who, &server.url, 700)? - instructions(who, &server.url, 200)?) / 500.0),
            )
            .collect::<Result<_>>()?;
        let mut times = Vec::new();
        let mut allocations = Vec::new();
        let mut bytes = Vec::new();
        for _ in 0..samples {
            let probe = run_probe(who, &server.url, polls)?;
            times.push(probe.seconds / polls as f64 * 1e6);
            allocations.push(probe.allocations as f64 / polls as f64);
            bytes.push(probe.bytes as f64 / polls as f64);
        }
        medians.push((
            row.add("", who, "instructions", "", &counted),
            row.add("", who, "allocations", "", &allocations),
        ));
        row.add("", who, "bytes allocated", "B", &bytes);
        row.add("", who, "wall time", "µs", &times);
    }
    if let [by_hand, _, akool] = medians[..] {
        row.at_most("instructions, akool over by hand,", akool.0 / by_hand.0, 1.05);
        row.at_most("allocations, akool over by hand,", akool.1 / by_hand.1, 1.10);
    }
    row.note(
        "Instructions: callgrind over 700 polls less those over 200, in user space. Allocations count reallocations too.",
    );
    row.note("Wall time is mostly the kernel's and the server's.");
    row.plot = Some(Plot::Ratios("by hand".to_owned()));
    Ok(row)
}
