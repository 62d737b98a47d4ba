//! The row `fleet`: waits on a Restate cluster, against the same jobs waited for by one machine without an engine.
//! `tests/fleet/measure.py` starts servers, workers and the sandbox, and prints the samples.

use std::io::{BufRead as _, BufReader};

use anyhow::{Context, Result};
use duct::cmd;
use serde::Deserialize;
use serde_json::{Map, Value};

use crate::{
    paths::workspace,
    row::{Chart, Figure, Plot, Row, number},
};

/// One line of the samples.
#[derive(Deserialize)]
struct Sample {
    case: String,
    variant: String,
    /// Numbers by the first of [`QUANTITIES`].
    figures: Map<String, Value>,
}

/// What the samples call a quantity, what the row calls it, and its unit.
const QUANTITIES: [(&str, &str, &str); 14] = [
    ("polls", POLLS, "/s"),
    ("engine_cpu", ENGINE, "ms/poll"),
    ("client_cpu", CLIENT, "ms/poll"),
    ("engine_load", LOAD, "% of a core"),
    ("lag", "lag, median", "ms"),
    ("lag_p99", "lag, 99th percentile", "ms"),
    ("lost", LOST, ""),
    ("doubled", DOUBLED, ""),
    ("unanswered", UNANSWERED, ""),
    ("recovery", "until 100 more polls", "s"),
    ("trigger", "trigger, median", "ms"),
    ("trigger_p95", "trigger, 95th percentile", "ms"),
    ("engine_memory", "memory of the engine", "MiB"),
    ("worker_memory", "memory of a worker", "MiB"),
];
const POLLS: &str = "polls";
const ENGINE: &str = "CPU of the engine";
const CLIENT: &str = "CPU of the workers, or of the program";
const LOAD: &str = "load of the engine";
const LOST: &str = "lost outcomes";
const DOUBLED: &str = "doubled outcomes";
const UNANSWERED: &str = "callers without an answer";

/// The cases, as the samples call them.
const SMALL: &str = "small workers";
const LARGE: &str = "workers without a limit";
const VARIANTS: [&str; 4] = ["1 worker", "2 workers", "3 workers", "4 workers"];
const THREE_SERVERS: &str = "3 workers, 3 servers";
const NO_ENGINE: &str = "no engine";

/// Installs the server, and builds the program and the handler.
pub(crate) fn prepare() -> Result<()> {
    cmd!(workspace().join("tests/fleet/check"), "--build").run().context("tests/fleet/check failed")?;
    Ok(())
}

fn measure(quick: bool) -> Result<Vec<Sample>> {
    let size = if quick { "--release" } else { "--full" };
    let check = cmd!(workspace().join("tests/fleet/check"), size, "measure").reader()?;
    let mut samples = Vec::new();
    for line in BufReader::new(check).lines() {
        let line = line.context("tests/fleet/check measure failed")?;
        println!("  {line}");
        if line.starts_with('{') {
            samples.push(serde_json::from_str(&line)?);
        }
    }
    Ok(samples)
}

/// Adds the samples to the row, in the order of their cases.
fn add(row: &mut Row, samples: &[Sample]) {
    let mut added: Vec<(&str, &str)> = Vec::new();
    for Sample { case, variant, .. } in samples {
        if added.contains(&(case, variant)) {
            continue;
        }
        added.push((case, variant));
        for (name, quantity, unit) in QUANTITIES {
            let same = samples.iter().filter(|sample| sample.case == *case && sample.variant == *variant);
            let values: Vec<f64> = same.filter_map(|sample| sample.figures.get(name)?.as_f64()).collect();
            if !values.is_empty() {
                row.add(case, variant, quantity, unit, &values);
            }
        }
    }
}

pub(crate) fn run(quick: bool) -> Result<Row> {
    let mut row = Row::new(
        "fleet",
        "Waits on a Restate server with one to four workers, and on three servers, against `akool wait` for the same \
         jobs: 100 jobs for each worker that are polled as fast as possible, and 100 that are polled once a second. Then outcomes at a \
         handler that counts them, while workers and a server are killed.",
    );
    add(&mut row, &measure(quick)?);
    let median = |case: &str, variant: &str, quantity: &str| {
        let same = |figure: &&Figure| {
            (&*figure.case, &*figure.variant, &*figure.quantity) == (case, variant, quantity)
        };
        row.figures.iter().find(same).map_or(f64::NAN, |figure| figure.median)
    };
    let curve = |case: &str| -> Vec<(f64, f64)> {
        let count = |(index, variant): (usize, &&str)| (index as f64 + 1.0, median(case, variant, POLLS));
        VARIANTS.iter().enumerate().map(count).collect()
    };
    let (small, large) = (curve(SMALL), curve(LARGE));
    let (mut linear, mut most) = (f64::INFINITY, f64::NAN);
    for (workers, polls) in &small {
        linear = linear.min(polls / workers / most);
        most = most.max(polls / workers);
    }
    let cost = |variant: &str| median(LARGE, variant, ENGINE) + median(LARGE, variant, CLIENT);
    let dearest = VARIANTS.iter().map(|variant| cost(variant) / cost(VARIANTS[0])).fold(1.0, f64::max);
    let faults = |figure: &&Figure| [LOST, DOUBLED, UNANSWERED].contains(&&*figure.quantity);
    let faults: f64 = row.figures.iter().filter(faults).map(|figure| figure.high).sum();
    let limit = VARIANTS.map(|variant| median(LARGE, variant, POLLS)).into_iter().fold(0.0, f64::max);
    let [engine, load] = [ENGINE, LOAD].map(|quantity| median(LARGE, VARIANTS[3], quantity));
    let three = [POLLS, ENGINE].map(|quantity| number(median(LARGE, THREE_SERVERS, quantity)));
    let alone = [POLLS, CLIENT].map(|quantity| number(median(LARGE, NO_ENGINE, quantity)));
    let limits = format!(
        "The limit is the engine: with workers without a limit, its core polls at most {} times a second (at 4 workers: \
         {} ms for each poll, and a load of {} %). Three servers on that core make {} polls a second at {} ms. One \
         machine without the engine makes {} at {} ms.",
        number(limit),
        number(engine),
        number(load),
        three[0],
        three[1],
        alone[0],
        alone[1]
    );
    row.at_least(
        "small workers: polls per second and worker / the most with fewer workers, worst of 2 to 4",
        linear,
        0.9,
    );
    row.at_most("workers without a limit: CPU per poll / that with 1 worker, worst", dearest, 1.0 / 0.9);
    row.at_most("lost or doubled outcomes, and callers without an answer", faults, 0.0);
    row.note(
        "The engine has one core of its own, and everything else has the others. All workers and the sandbox share one \
         core of a machine with two, so workers that use what they get cannot show that one more adds its part. A \
         small worker has a fiftieth of a core (a quota of its control group), so that four of them need less than \
         that core and less than the engine can do. Then the rate must grow with each of them. It is compared with the \
         best rate per worker with fewer workers, not with one worker alone: while little is under way, engine and \
         worker do little in batches, and each poll costs more.",
    );
    row.note(limits);
    row.note(
        "Lag is how much later than it is due a poll arrives at the service. Without an engine, it is how much later than \
         its interval the next one arrives, which includes the response. A trigger is `poll_now`, with nothing else to do.",
    );
    row.plot = Some(Plot::Lines(Chart {
        title: "polls per second, 100 jobs for each worker polled as fast as possible".to_owned(),
        x: "workers".to_owned(),
        y: "polls per second".to_owned(),
        series: vec![(SMALL.to_owned(), small), (LARGE.to_owned(), large)],
    }));
    Ok(row)
}
