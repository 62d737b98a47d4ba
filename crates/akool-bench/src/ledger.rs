//! The row `ledger`: creations recorded durably, with few and with many rows, against bare SQLite.

use std::{
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use akool_ledger::Ledger;
use anyhow::{Context, Result, bail};
use rusqlite::{Connection, TransactionBehavior, params};

use crate::{
    by_hand,
    paths::target,
    row::{Chart, Plot, Row, Series, number},
    server::Server,
};

const SIZES: [u32; 3] = [1_000, 100_000, 1_000_000];
const LEDGER: &str = "ledger";
const BARE: &str = "bare rusqlite";
/// The same rows and indexes as the ledger's, written by hand.
const SAME: &str = "bare rusqlite, the ledger's tables";
const VARIANTS: [&str; 3] = [LEDGER, BARE, SAME];
/// The jobs that have not ended.
const PENDING: u32 = 50;
/// Creations at each size, together by all processes: so many that their start hardly counts.
const CREATIONS: usize = 600;

/// Creates so many jobs, and records each request before it is sent and its job afterwards, with a durable commit each.
/// `name` distinguishes the videos from those of other processes.
pub(crate) fn probe(variant: &str, file: &Path, url: &str, name: &str, creations: usize) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let client = by_hand::library(url)?;
        let ledger = if variant == LEDGER { Some(Ledger::open(file)?) } else { None };
        let mut bare = if variant == LEDGER { None } else { Some(open_bare(variant, file)?) };
        for number in 0..creations {
            let video = format!("https://videos.example/{name}/{number}.mp4");
            let request = client.translate(&*video).to(["es"]);
            if let Some(ledger) = &ledger {
                anyhow::ensure!(ledger.translate(request).await?.len() == 1, "not one job");
            } else if let Some(bare) = &mut bare {
                let mut commit = |statements: &[&str], value: &str| -> Result<()> {
                    let transaction = bare.transaction_with_behavior(TransactionBehavior::Immediate)?;
                    for statement in statements {
                        transaction.prepare_cached(statement)?.execute(params![video, value])?;
                    }
                    Ok(transaction.commit()?)
                };
                let (before, after): (&[&str], &[&str]) = match variant {
                    BARE => (
                        &["INSERT INTO jobs (video, request) VALUES (?, ?)"],
                        &["UPDATE jobs SET job = ?2 WHERE video = ?1"],
                    ),
                    SAME => (
                        &[
                            "INSERT INTO requests VALUES (?1, 'api', unixepoch() * 1000, ?2, randomblob(32), randomblob(32))",
                            "INSERT INTO jobs (request, api, language, state, work, open) SELECT ?1, 'api', 'es', 0,
                             randomblob(32), 1 WHERE ?2 IS NOT NULL",
                        ],
                        &["UPDATE jobs SET state = 2, job = ?2, status = 1, changed_at = unixepoch() * 1000 WHERE request = ?1"],
                    ),
                    other => bail!("unknown variant {other}"),
                };
                commit(before, &serde_json::to_string(&request.request()?)?)?;
                let created = request.send().await?;
                let job = created.jobs.first().context("no job")?;
                commit(after, job.id.as_str())?;
            }
        }
        Ok(())
    })
}

fn open_bare(variant: &str, file: &Path) -> Result<Connection> {
    if variant == SAME {
        drop(Ledger::open(file)?);
    }
    let connection = Connection::open(file)?;
    connection.busy_timeout(Duration::from_secs(30))?;
    connection.pragma_update(None, "journal_mode", "WAL")?;
    connection.pragma_update(None, "synchronous", "FULL")?;
    if variant == BARE {
        connection.execute_batch(
            "CREATE TABLE IF NOT EXISTS jobs (video TEXT PRIMARY KEY, request TEXT, job TEXT)",
        )?;
    }
    Ok(connection)
}

/// Fills the tables with jobs that have ended, but for the last few, each of its own request.
fn fill(variant: &str, file: &Path, api: &str, rows: u32) -> Result<()> {
    let mut connection = open_bare(if variant == LEDGER { SAME } else { variant }, file)?;
    connection.pragma_update(None, "cache_size", -512 * 1024)?;
    let numbers = "WITH RECURSIVE numbers (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM numbers WHERE n < ?1)";
    let transaction = connection.transaction()?;
    if variant != BARE {
        let request = "json_object('language', 'es', 'url', 'https://videos.example/old/' || n || '.mp4')";
        transaction.execute(
            &format!("{numbers} INSERT INTO requests SELECT printf('x%07x', n), ?2, 1700000000000 + n, {request}, randomblob(32), randomblob(32) FROM numbers"),
            params![rows, api],
        )?;
        transaction.execute(
            &format!("{numbers} INSERT INTO jobs (request, api, language, state, job, status, changed_at, ended_by, work, open)
                SELECT printf('x%07x', n), ?2, 'es', 2, hex(randomblob(12)), iif(n > ?1 - {PENDING}, 2, 3), 1700000000000 + n,
                iif(n > ?1 - {PENDING}, NULL, 60000), randomblob(32), 1 FROM numbers"),
            params![rows, api],
        )?;
    } else {
        let insert = "INSERT INTO jobs SELECT hex(randomblob(20)), hex(randomblob(40)), hex(randomblob(12)) FROM numbers";
        transaction.execute(&format!("{numbers} {insert}"), [rows])?;
    }
    transaction.commit()?;
    Ok(())
}

/// Creations per second by so many processes at once.
fn rate(variant: &str, file: &Path, url: &str, name: &str, processes: usize) -> Result<f64> {
    let began = Instant::now();
    let start = |process: usize| {
        let mut command = Command::new(std::env::current_exe()?);
        command.args(["probe-ledger", variant]).arg(file).args([url, &format!("{name}-{process}")]);
        Ok(command.arg((CREATIONS / processes).to_string()).stdout(Stdio::null()).spawn()?)
    };
    let running = (0..processes).map(start).collect::<Result<Vec<_>>>()?;
    for mut process in running {
        anyhow::ensure!(process.wait()?.success(), "a creation failed");
    }
    Ok(CREATIONS as f64 / began.elapsed().as_secs_f64())
}

/// The milliseconds of opening the ledger, and of reading what is pending.
fn reads(file: &Path, runtime: &tokio::runtime::Runtime) -> Result<[f64; 2]> {
    let began = Instant::now();
    let ledger = Ledger::open(file)?;
    let opened = began.elapsed();
    let began = Instant::now();
    let pending = runtime.block_on(ledger.pending())?.len();
    anyhow::ensure!(pending >= PENDING as usize, "{pending} jobs are pending");
    Ok([opened, began.elapsed()].map(|time| time.as_secs_f64() * 1e3))
}

/// Ends what the creations began, so that as many jobs are pending as before.
fn end_all(file: &Path) -> Result<()> {
    Connection::open(file)?.execute("UPDATE jobs SET status = 3, ended_by = 60000 WHERE status = 1", [])?;
    Ok(())
}

pub(crate) fn run(quick: bool) -> Result<Row> {
    let (sizes, rounds, times) = if quick { (&SIZES[..2], 1, 5) } else { (&SIZES[..], 5, 41) };
    let mut row = Row::new(
        "ledger",
        "Creations per second in a ledger with few and with many jobs, in one process and in eight. Two commits are \
         durable for each creation: the request before it is sent, and its job. Against the same requests with two \
         commits to a table of bare rusqlite of the same size, and to the ledger's own tables. Also the times to open the ledger, and to read 50 \
         pending jobs.",
    );
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let server = Server::start()?;
    let folder = tempfile::Builder::new().prefix("akool-bench").tempdir_in(target()?)?;
    let file = |variant: &str, rows: u32| -> PathBuf { folder.path().join(format!("{variant} {rows}.db")) };
    for rows in sizes {
        for variant in VARIANTS {
            fill(variant, &file(variant, *rows), &server.url, *rows)?;
        }
    }
    // Alternately, so that a disturbance affects all.
    let mut rates = Vec::new();
    for round in 0..=rounds {
        for processes in [1, 8] {
            for rows in sizes {
                for variant in VARIANTS {
                    let name = format!("{round}-{processes}");
                    let rate = rate(variant, &file(variant, *rows), &server.url, &name, processes)?;
                    // The first round warms up.
                    if round > 0 {
                        rates.push(((processes, *rows, variant), rate));
                    }
                }
                end_all(&file(LEDGER, *rows))?;
            }
        }
    }
    let mut read = vec![Vec::new(); sizes.len()];
    for _ in 0..times {
        for (rows, read) in sizes.iter().zip(&mut read) {
            read.push(reads(&file(LEDGER, *rows), &runtime)?);
        }
    }
    let mut curves: Vec<Series> = Vec::new();
    let (mut worst_ratio, mut worst_same) = (f64::INFINITY, f64::INFINITY);
    for processes in [1, 8] {
        let quantity = if processes == 1 { "creations, 1 process" } else { "creations, 8 processes" };
        let mut points = Vec::new();
        for rows in sizes {
            let case = format!("{} jobs", number(f64::from(*rows)));
            let [ours, bare, same] = VARIANTS.map(|variant| {
                let key = (processes, *rows, variant);
                let samples: Vec<f64> =
                    rates.iter().filter(|(of, _)| *of == key).map(|(_, rate)| *rate).collect();
                row.add(&case, variant, quantity, "/s", &samples)
            });
            points.push((f64::from(*rows), ours));
            worst_ratio = worst_ratio.min(ours / bare);
            worst_same = worst_same.min(ours / same);
        }
        let fewest = points.iter().map(|point| point.1).fold(f64::INFINITY, f64::min);
        row.at_most(
            &format!("{quantity}: rate at 1,000 jobs / at the worst size"),
            points[0].1 / fewest,
            1.5,
        );
        curves.push((format!("{quantity}, per second"), points));
    }
    row.at_least("creations: rate / bare rusqlite's, worst case", worst_ratio, 0.8);
    row.at_least("creations: rate / bare rusqlite's with the ledger's tables, worst case", worst_same, 0.8);
    for (index, quantity) in ["open", "read what is pending"].into_iter().enumerate() {
        let mut points = Vec::new();
        for (rows, read) in sizes.iter().zip(&read) {
            let case = format!("{} jobs", number(f64::from(*rows)));
            let samples: Vec<f64> = read.iter().map(|read| read[index]).collect();
            points.push((f64::from(*rows), row.add(&case, LEDGER, quantity, "ms", &samples)));
        }
        let most = points.iter().map(|point| point.1).fold(0.0, f64::max);
        row.at_most(&format!("{quantity}: time at the worst size / at 1,000 jobs"), most / points[0].1, 1.5);
        curves.push((format!("{quantity}, ms"), points));
    }
    row.note("What the ledger does more: it works on a thread of its own, so as not to block the runtime, and hands over to it twice for each creation (0.15 ms, by leaving it out); it locks and removes a file beside the ledger, which tells a request in flight from one whose process died (0.08 ms); and it changes 12 pages instead of 3 (by `strace`), since a request is found again by its options, its source, its time and its job. Both wait for the disk as often (207 and 204 times for 100 creations).");
    row.note("The ledger and the tables are in the workspace's target folder. How long a durable commit takes depends on the disk.");
    row.plot = Some(Plot::Lines(Chart {
        title: "a ledger with few and with many jobs".to_owned(),
        x: "jobs".to_owned(),
        y: "creations per second, or ms".to_owned(),
        series: curves,
    }));
    Ok(row)
}
