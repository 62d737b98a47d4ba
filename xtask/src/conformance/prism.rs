//! The rows in which Prism makes a server of the description, and in which it stands between the client and
//! `akool sandbox`. The client's side of both are the tests in `tests/library/conformance.rs`.

use anyhow::{Context, Result, anyhow, bail, ensure};

use super::{
    Paths, lint, process,
    process::{Server, cargo},
    tools,
};

/// Prism alone: it validates what the client sends and answers with documented examples, some of them
/// named in `tests/conformance/examples.yaml`.
pub(super) fn serves(paths: &Paths) -> Result<String> {
    let with_examples = paths.derived("examples.yaml", "with-examples.yaml")?;
    lint::examples(paths, &with_examples).context("the examples that Prism is to give")?;

    let prism = start(paths, "prism-mock", &["mock", "--errors", &with_examples.display().to_string()])?;
    let passed = tests(paths, "mock::", &prism)?;
    Ok(format!("{passed} tests of the client, {} requests", requests(&prism)?))
}

/// Prism as a proxy that answers with an error where a request or an answer is not as described.
pub(super) fn stands_between(paths: &Paths) -> Result<String> {
    let sandbox = process::sandbox(paths)?;
    let prism = proxy(paths, &sandbox.url)?;
    let passed = tests(paths, "proxy::", &prism)?;
    // Those that it only warns of reach the client as they are.
    let violations = violations(&prism)?;
    ensure!(violations.is_empty(), "{WHOSE}:\n{violations}");
    Ok(format!("{passed} tests of the client, {} requests, no violation on either side", requests(&prism)?))
}

const WHOSE: &str = "what Prism reports_a_violation of; where a request is wrong, mend the client (crates/akool), where an \
                     answer is, the mock server (crates/akool-mock)";

/// Prism in front of this server.
pub(super) fn proxy(paths: &Paths, upstream: &str) -> Result<Server> {
    start(paths, "prism-proxy", &["proxy", "--errors", &paths.resolved.display().to_string(), upstream])
}

fn start(paths: &Paths, name: &str, args: &[&str]) -> Result<Server> {
    let mut command = tools::node_program(paths, &tools::PRISM, "prism");
    command.args(args).args(["--host", "127.0.0.1", "--port", "0"]);
    Server::start(paths, name, &command, |line| {
        line.split_once("Prism is listening on ").map(|(_, url)| url.trim().to_owned())
    })
}

/// Runs the tests of this module against Prism, and gives how many passed.
fn tests(paths: &Paths, module: &str, prism: &Server) -> Result<u64> {
    let mut command = cargo();
    command.args(["test", "--quiet", "--package", "akool-tests", "--test", "library", "--"]);
    let module = format!("conformance::{module}");
    command.args(["--ignored", &module]).env("AKOOL_CONFORMANCE_URL", &prism.url).env("RUST_BACKTRACE", "0");
    let (status, printed) = process::output(paths, "conformance-tests", &command)?;
    if !status.success() {
        bail!("{}\n\n{WHOSE}:\n{}", process::tail(&printed), violations(prism)?);
    }
    let passed = printed
        .lines()
        .find_map(|line| line.strip_prefix("test result: ok. ")?.split_once(" passed")?.0.parse::<u64>().ok())
        .filter(|passed| *passed > 0);
    passed.ok_or_else(|| anyhow!("no test ran:\n{}", process::tail(&printed)))
}

fn requests(prism: &Server) -> Result<usize> {
    Ok(prism.log()?.lines().filter(|line| line.ends_with("Request received")).count())
}

/// What its log has of warnings and errors.
fn violations(prism: &Server) -> Result<String> {
    let log = prism.log()?;
    let grave = |line: &&str| {
        let words = line.split_once('›').map_or("", |(_, rest)| rest);
        words.split_whitespace().any(|word| ["warn", "warning", "error", "fatal"].contains(&word))
    };
    Ok(log.lines().filter(grave).collect::<Vec<_>>().join("\n"))
}
