//! The row `poll`: one poll over a kept-alive connection, by the library, by hand and by the generated client.

use std::time::Instant;

use anyhow::{Context, Result, bail};
use serde::{Deserialize, Serialize};
use stats_alloc::Region;

use crate::{
    allocator::GLOBAL,
    by_hand,
    callgrind::instructions_each,
    process,
    row::{Plot, Row},
    server::Server,
};

const VARIANTS: [&str; 3] = ["by hand", "generated", "akool"];
const ID: &str = "64dd92c1f0b6684651e90e09";

/// What the polls of one run used.
#[derive(Debug, Deserialize, Serialize)]
struct Probe {
    seconds: f64,
    allocations: usize,
    bytes: usize,
}

/// Polls so many times in this process, and prints what that used. The first polls warm up and are not counted.
pub(crate) fn probe(variant: &str, base_url: &str, polls: usize) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let probe = runtime.block_on(async {
        let http = by_hand::http()?;
        let generated = by_hand::generated(base_url)?;
        let job = by_hand::library(base_url)?.job(ID);
        let poll = async || -> Result<i64> {
            Ok(match variant {
                "by hand" => by_hand::poll(&http, base_url, ID).await?.video_status,
                "generated" => {
                    let answer = generated.get_video_info().video_model_id(ID).send().await?.into_inner();
                    answer.data.and_then(|data| data.video_status).context("no status")?
                }
                "akool" => job.get().await?.status().into(),
                _ => bail!("unknown variant {variant}"),
            })
        };
        for _ in 0..10 {
            poll().await?;
        }
        let region = Region::new(GLOBAL);
        let began = Instant::now();
        for _ in 0..polls {
            anyhow::ensure!(poll().await? == 2, "the status differs from the one that the server sent");
        }
        let seconds = began.elapsed().as_secs_f64();
        let change = region.change();
        let allocations = change.allocations + change.reallocations;
        Ok::<_, anyhow::Error>(Probe { seconds, allocations, bytes: change.bytes_allocated })
    })?;
    println!("{}", serde_json::to_string(&probe)?);
    Ok(())
}

/// The instructions of one poll, which are those of 700 polls minus those of 200.
fn instructions_of(variant: &str, server: &Server) -> Result<f64> {
    instructions_each(&["probe-poll", variant, &server.url], 200, 700)
}

/// The instructions of one poll by the library.
pub(crate) fn instructions() -> Result<f64> {
    instructions_of("akool", &Server::start()?)
}

pub(crate) fn run(quick: bool) -> Result<Row> {
    let (samples, polls) = if quick { (3, 500) } else { (9, 5_000) };
    let mut row = Row::new(
        "poll",
        "One poll over loopback on a kept-alive connection: the library's `job.get()`, the same call written by hand \
         with reqwest and serde_json into a type with the documented fields, and the bare generated client.",
    );
    let server = Server::start()?;
    let mut medians = Vec::new();
    for variant in VARIANTS {
        let counted: Vec<f64> = (0..if quick { 1 } else { 3 })
            .map(|_| instructions_of(variant, &server))
            .collect::<Result<_>>()?;
        let mut times = Vec::new();
        let mut allocations = Vec::new();
        let mut bytes = Vec::new();
        for _ in 0..samples {
            let probe = process::probe::<Probe>(&["probe-poll", variant, &server.url, &polls.to_string()])?;
            times.push(probe.seconds / polls as f64 * 1e6);
            allocations.push(probe.allocations as f64 / polls as f64);
            bytes.push(probe.bytes as f64 / polls as f64);
        }
        medians.push((
            row.add("", variant, "instructions", "", &counted),
            row.add("", variant, "allocations", "", &allocations),
        ));
        row.add("", variant, "bytes allocated", "B", &bytes);
        row.add("", variant, "wall time", "µs", &times);
    }
    if let [by_hand, _, akool] = medians[..] {
        row.at_most("instructions, akool / by hand", akool.0 / by_hand.0, 1.0);
        row.at_most("allocations, akool / by hand", akool.1 / by_hand.1, 1.0);
    }
    row.note(
        "Instructions are those of 700 polls minus those of 200, counted by callgrind in user space. Allocations include reallocations.",
    );
    row.note("Most of the wall time is the kernel's and the server's.");
    row.plot = Some(Plot::Ratios("by hand".to_owned()));
    Ok(row)
}
