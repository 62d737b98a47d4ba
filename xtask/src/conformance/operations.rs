//! The row in which requests and responses of every operation are broken, one by one, and pass through both
//! `akool contract proxy` and Prism's proxy.
//!
//! `tests/conformance/operations.rs` derives them from the documented examples and answers the requests, and
//! `tests/conformance/proxies.py` sends these.

use std::{
    collections::BTreeMap,
    fs, thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use super::{
    Paths,
    mutation::{JUDGES, Mutant, Verdict, group, judged},
    prism, process, tools,
};

/// How long the proxy may take to print the last exchange.
const PRINT_TIMEOUT: Duration = Duration::from_secs(10);

/// The mutants of one side of an operation.
pub(super) struct Side {
    operation: String,
    side: String,
    mutants: Vec<Mutant>,
}

pub(super) fn run(paths: &Paths) -> Result<Vec<Side>> {
    let server = process::workspace_server(
        paths,
        "operations",
        &["--package", "akool-tests", "--example", "operations"],
        &[],
    )?;
    let log = server.log()?;
    let mutants: Vec<Value> = log
        .lines()
        .filter_map(|line| serde_json::from_str(line).ok())
        .filter(|event: &Value| event["event"] == "mutant")
        .collect();
    let file = paths.work.join("operations.jsonl");
    let lines: String = mutants.iter().map(|mutant| format!("{mutant}\n")).collect();
    fs::write(&file, lines).context("cannot write the mutants")?;
    ensure!(!mutants.is_empty(), "there are no mutants");

    let (akool, prism) = (process::contract_proxy(paths, &server.url)?, prism::proxy(paths, &server.url)?);
    let arguments = [
        paths.inputs.join("proxies.py").display().to_string(),
        paths.resolved.display().to_string(),
        server.url.clone(),
        akool.url.clone(),
        prism.url.clone(),
        file.display().to_string(),
    ];
    let others = judged(paths, "proxies", &tools::python(paths, "python", arguments))?;
    let ours = exchanges(&akool, mutants.len())?;
    compared(&mutants, &ours, &others)
}

/// The exchanges that the proxy validated, in order.
fn exchanges(proxy: &process::Server, count: usize) -> Result<Vec<Value>> {
    let start = Instant::now();
    loop {
        let log = proxy.log()?;
        let events = log.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
        let events: Vec<_> = events.filter(|event| event["event"] == "exchange").collect();
        if events.len() >= count || start.elapsed() > PRINT_TIMEOUT {
            ensure!(events.len() == count, "{} exchanges of {count} were validated", events.len());
            return Ok(events);
        }
        thread::sleep(Duration::from_millis(20));
    }
}

fn compared(mutants: &[Value], ours: &[Value], others: &BTreeMap<String, Value>) -> Result<Vec<Side>> {
    let mut sides: Vec<Side> = Vec::new();
    for (mutant, exchange) in mutants.iter().zip(ours) {
        let text = |name: &str| mutant[name].as_str().unwrap_or_default().to_owned();
        let (name, operation, side) = (text("name"), text("operation"), text("side"));
        let same = exchange["method"] == mutant["method"] && exchange["target"] == mutant["path"];
        ensure!(same, "another exchange than that of {name}: {exchange}");
        let mut verdicts = [Verdict::Valid; JUDGES.len()];
        for (judge, verdict) in JUDGES.into_iter().zip(&mut verdicts).skip(1) {
            let found =
                &others.get(&name).with_context(|| format!("no verdict of {judge} on {name}"))?[judge];
            *verdict = Verdict::of(found);
        }
        verdicts[0] = match exchange["verdict"].as_str() {
            Some("violating") => Verdict::Violation,
            Some("drifting") => Verdict::Drift,
            Some(_) => Verdict::Valid,
            None => anyhow::bail!("not validated: {exchange}"),
        };
        let mutant = Mutant { what: text("what"), verdicts };
        if side.is_empty() {
            ensure!(
                mutant.detected() == (false, false),
                "a tool calls the example of {operation} invalid: {exchange} {:?}",
                others.get(&name)
            );
            continue;
        }
        match sides.iter_mut().find(|own| own.operation == operation && own.side == side) {
            Some(own) => own.mutants.push(mutant),
            None => sides.push(Side { operation, side, mutants: vec![mutant] }),
        }
    }
    // A field that is not required may be missing.
    let is_broken = |mutant: &Mutant| !mutant.what.ends_with(" missing") || mutant.detected().1;
    let missed: Vec<_> = sides
        .iter()
        .flat_map(|side| side.mutants.iter().map(move |mutant| (side, mutant)))
        .filter(|(_, mutant)| is_broken(mutant) && !mutant.detected().0)
        .map(|(Side { operation, side, .. }, mutant)| format!("{side} of {operation}: {}", mutant.what))
        .collect();
    ensure!(missed.is_empty(), "akool-contract does not detect: {}", missed.join("; "));
    Ok(sides)
}

pub(super) fn summary(sides: &[Side]) -> String {
    let count = |detected| sides.iter().map(|side| group(&side.mutants, detected).len()).sum::<usize>();
    format!(
        "{} mutants: {} detected by akool-contract and others, {} by akool-contract only, {} by others only, {} by none",
        sides.iter().map(|side| side.mutants.len()).sum::<usize>(),
        count((true, true)),
        count((true, false)),
        count((false, true)),
        count((false, false)),
    )
}

/// The numbers of detected mutants as a table in Markdown, and lists of those that not every side detects.
pub(super) fn table(sides: &[Side]) -> String {
    let mut text = format!(
        "| operation | broken | mutants | {} |\n|---|---|--:{}|\n",
        JUDGES.join(" | "),
        "|--:".repeat(JUDGES.len())
    );
    for Side { operation, side, mutants } in sides {
        let detected = |judge: usize| {
            mutants.iter().filter(|mutant| mutant.verdicts[judge] != Verdict::Valid).count().to_string()
        };
        let detected: Vec<_> = (0..JUDGES.len())
            .map(|judge| if side == "request" && judge == 2 { "-".to_owned() } else { detected(judge) })
            .collect();
        text += &format!("| `{operation}` | {side} | {} | {} |\n", mutants.len(), detected.join(" | "));
    }
    for (who, detected) in [
        ("`akool contract proxy` only", (true, false)),
        ("independent tools only", (false, true)),
        ("no tool, because no document requires these fields", (false, false)),
    ] {
        text += &format!("\nDetected by {who}:\n\n");
        let mut none = true;
        for side in sides {
            let list = group(&side.mutants, detected);
            if !list.is_empty() {
                none = false;
                text += &format!("- {} of `{}`: {}.\n", side.side, side.operation, list.join("; "));
            }
        }
        if none {
            text += "- none.\n";
        }
    }
    text
}
