//! The row `mock`: `akool sandbox` under load against mock servers of others, with wrk as the load generator.

use std::{
    fs,
    io::{BufRead, BufReader},
    path::{Path, PathBuf},
    process::{Command, Stdio},
    thread,
    time::Duration,
};

use anyhow::{Context, Result, ensure};
use duct::cmd;

use crate::{
    paths::{target, workspace},
    process::{Running, build, npm},
    row::{Plot, Row},
    watch::resident,
};

const ID: &str = "64dd92c1f0b6684651e90e09";
const KEY: &str = "sandbox-key-000000000000";
/// The mock servers of others, from npm. `tests/conformance/package.json` has the same Prism.
const PACKAGES: [&str; 2] = ["@stoplight/prism-cli@5.14.2", "json-server@0.17.4"];
/// The connections of the load generator.
const CONNECTIONS: &str = "16";

/// The folder with the mock servers of others.
pub(crate) fn packages() -> Result<PathBuf> {
    npm("npm", &PACKAGES, &["--ignore-scripts"])
}

/// A running server, and the target that it is asked for.
struct Target {
    name: &'static str,
    process: Running,
    url: String,
}

/// What one run of the load generator measured.
struct Load {
    per_second: f64,
    requests: u64,
    /// The resident memory in MiB, about five times a second.
    memory: Vec<f64>,
}

pub(crate) fn run(quick: bool) -> Result<Row> {
    let (rounds, seconds, long) = if quick { (1, 1, 2) } else { (3, 6, 60) };
    let mut row = Row::new(
        "mock",
        "Polls of one job for as long as the load generator (wrk, one thread, 16 connections, on the same cores) can \
         send them, against `akool sandbox`, which validates and records each; `prism mock`, which validates each, \
         with the same description; and json-server, which does neither.",
    );
    let tools = packages()?.join(".bin");
    let servers = [akool()?, prism(&tools)?, json_server(&tools)?];
    let mut loads: [Vec<Load>; 3] = Default::default();
    for server in &servers {
        load(server, 1)?;
    }
    for _ in 0..rounds {
        for (server, loads) in servers.iter().zip(&mut loads) {
            loads.push(load(server, seconds)?);
        }
    }
    let mut medians = Vec::new();
    for (server, loads) in servers.iter().zip(&loads) {
        let rates: Vec<_> = loads.iter().map(|load| load.per_second).collect();
        let peaks: Vec<_> =
            loads.iter().map(|load| load.memory.iter().copied().fold(0.0, f64::max)).collect();
        let rate = row.add("", server.name, "rate", "requests/s", &rates);
        medians.push((rate, row.add("", server.name, "peak memory", "MiB", &peaks)));
    }
    let minute = load(&servers[0], long)?;
    let (first, second) = minute.memory.split_at(minute.memory.len() / 2);
    let peak = |memory: &[f64]| memory.iter().copied().fold(0.0, f64::max);
    row.add("one minute", servers[0].name, "rate", "requests/s", &[minute.per_second]);
    row.add("one minute", servers[0].name, "peak memory", "MiB", &[peak(&minute.memory)]);
    row.at_least("akool sandbox for a minute, requests/s", minute.per_second, 10_000.0);
    row.at_most("memory in the second half of the minute / in the first", peak(second) / peak(first), 1.1);
    row.at_least("rate / Prism's", medians[0].0 / medians[1].0, 5.0);
    row.at_least("Prism's memory / akool's", medians[1].1 / medians[0].1, 5.0);
    let recorded = recorded(&servers[0].url)?;
    let sent: u64 = loads[0].iter().chain([&minute]).map(|load| load.requests).sum();
    ensure!(recorded >= sent, "{recorded} requests were recorded, but {sent} were answered");
    row.note(
        "akool sandbox keeps the latest requests, at most 10,000 and 32 MiB; its memory is bounded by that.",
    );
    row.plot = Some(Plot::Ratios("Prism".to_owned()));
    Ok(row)
}

pub(crate) fn program() -> Result<PathBuf> {
    build("release", "akool-cli", "akool")
}

fn akool() -> Result<Target> {
    let mut command = Command::new(program()?);
    command.args(["sandbox", "--listen", "127.0.0.1:0", "--json"]);
    start("akool sandbox", &mut command, |line| {
        let event: serde_json::Value = serde_json::from_str(line).ok()?;
        event["url"].as_str().filter(|_| event["event"] == "listening").map(poll_at)
    })
}

fn prism(tools: &Path) -> Result<Target> {
    let mut command = Command::new(tools.join("prism"));
    command.env("NO_COLOR", "1").args(["mock", "--port", "0", "--host", "127.0.0.1", "--multiprocess=false"]);
    command.arg(workspace().join("openapi/akool.resolved.yaml"));
    let url = |line: &str| Some(poll_at(line.split("listening on ").nth(1)?.split_whitespace().next()?));
    start("Prism", &mut command, url)
}

fn poll_at(base: &str) -> String {
    format!("{base}/api/open/v3/content/video/infobymodelid?video_model_id={ID}")
}

fn json_server(tools: &Path) -> Result<Target> {
    let database = target()?.join("akool-bench-tools/db.json");
    let job =
        serde_json::json!({ "id": ID, "code": 1000, "msg": "OK", "data": { "_id": ID, "video_status": 2 } });
    fs::write(&database, serde_json::json!({ "jobs": [job] }).to_string())?;
    // It cannot take a free port by itself.
    let port = std::net::TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
    let mut command = Command::new(tools.join("json-server"));
    command.args(["--quiet", "--host", "127.0.0.1", "--port", &port.to_string()]).arg(database);
    let process = Running::start(command.stdin(Stdio::null()).stdout(Stdio::null()))?.listens(port)?;
    Ok(Target { name: "json-server", process, url: format!("http://127.0.0.1:{port}/jobs/{ID}") })
}

/// Starts a server, and reads its output until `url` finds the target. The rest of the output is read and dropped.
fn start(name: &'static str, command: &mut Command, url: impl Fn(&str) -> Option<String>) -> Result<Target> {
    let mut process = Running::start(command.stdin(Stdio::null()).stdout(Stdio::piped()))?;
    let mut lines = BufReader::new(process.output()?).lines();
    let found = lines.by_ref().map_while(Result::ok).find_map(|line| url(&line));
    thread::spawn(move || lines.for_each(drop));
    Ok(Target { name, process, url: found.with_context(|| format!("{name} does not listen"))? })
}

/// Sends requests for so many seconds.
fn load(server: &Target, seconds: u32) -> Result<Load> {
    let (seconds, key) = (format!("{seconds}s"), format!("x-api-key: {KEY}"));
    let wrk = cmd!("wrk", "-t1", "-c", CONNECTIONS, "-d", seconds, "-H", key, &server.url);
    let wrk = wrk.stdout_capture().start().context("cannot run wrk; install wrk")?;
    let mut memory = Vec::new();
    while wrk.try_wait()?.is_none() {
        memory.push(resident(&server.process.id().to_string())? as f64 / f64::from(1 << 20));
        thread::sleep(Duration::from_millis(200));
    }
    let output = wrk.into_output()?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    ensure!(!text.contains("Non-2xx"), "wrk and {}: {text}", server.name);
    let number = |line: &str| line.split_whitespace().find_map(|word| word.parse::<f64>().ok());
    let rate = text.lines().find(|line| line.starts_with("Requests/sec:")).and_then(number);
    let requests = text.lines().find(|line| line.contains(" requests in ")).and_then(number);
    match (rate, requests) {
        (Some(per_second), Some(requests)) => Ok(Load { per_second, requests: requests as u64, memory }),
        _ => anyhow::bail!("unexpected output of wrk: {text}"),
    }
}

/// How many requests the sandbox has recorded.
fn recorded(poll: &str) -> Result<u64> {
    let base = poll.split("/api/").next().unwrap_or_default();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let state = runtime.block_on(async {
        reqwest::get(format!("{base}/__sandbox/state")).await?.json::<serde_json::Value>().await
    })?;
    state["requests"].as_u64().context("the state has no number of requests")
}
