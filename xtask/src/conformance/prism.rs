//! The rows with Prism: as a server that is made from the description, and as a proxy between the client and
//! `akool sandbox`. The client's side of both are the tests in `tests/library/conformance.rs`.

use anyhow::{Context, Result, bail, ensure};

use super::{
    Paths, lint,
    process::{self, Server, cargo},
    tools,
};

const ADVICE: &str = "Prism reports violations. Correct the client (crates/akool) if a request is invalid, and the \
                      mock server (crates/akool-mock) if a response is";

/// Prism validates the client's requests and answers with the documented examples and with those in
/// `tests/conformance/examples.yaml`.
pub(super) fn mock(paths: &Paths) -> Result<String> {
    let with_examples = paths.derived("examples.yaml", "with-examples.yaml")?;
    lint::examples(paths, &with_examples).context("examples for Prism")?;
    let prism = start(paths, "prism-mock", &["mock", "--errors", &with_examples.display().to_string()])?;
    let passed = tests(paths, "mock::", &prism)?;
    Ok(format!("{passed} tests of the client, {} requests", requests(&prism)?))
}

/// Prism turns an invalid request or response into an error.
pub(super) fn between(paths: &Paths) -> Result<String> {
    let sandbox = process::sandbox(paths)?;
    let prism = proxy(paths, &sandbox.url)?;
    let passed = tests(paths, "proxy::", &prism)?;
    // The client does not see warnings.
    let violations = violations(&prism)?;
    ensure!(violations.is_empty(), "{ADVICE}:\n{violations}");
    Ok(format!("{passed} tests of the client, {} requests, no violation on either side", requests(&prism)?))
}

/// Starts Prism as a proxy for a server.
pub(super) fn proxy(paths: &Paths, upstream: &str) -> Result<Server> {
    start(paths, "prism-proxy", &["proxy", "--errors", &paths.resolved.display().to_string(), upstream])
}

fn start(paths: &Paths, name: &str, arguments: &[&str]) -> Result<Server> {
    let command = tools::node(paths, "prism", [arguments, &["--host", "127.0.0.1", "--port", "0"]].concat());
    Server::start(paths, name, &command, |line| {
        line.split_once("Prism is listening on ").map(|(_, url)| url.trim().to_owned())
    })
}

/// Runs the tests of this module against Prism and returns how many passed.
fn tests(paths: &Paths, module: &str, prism: &Server) -> Result<u64> {
    let module = format!("conformance::{module}");
    let arguments = ["test", "--quiet", "--package", "akool-tests", "--test", "library", "--", "--ignored"];
    let command = cargo([&arguments[..], &[&module]].concat())
        .env("AKOOL_CONFORMANCE_URL", &prism.url)
        .env("RUST_BACKTRACE", "0");
    let (status, printed) = process::output(paths, "conformance-tests", &command)?;
    if !status.success() {
        bail!("{}\n\n{ADVICE}:\n{}", process::tail(&printed), violations(prism)?);
    }
    let passed = printed.lines().find_map(|line| {
        line.strip_prefix("test result: ok. ")?.split_once(" passed")?.0.parse::<u64>().ok()
    });
    passed.filter(|passed| *passed > 0).with_context(|| format!("no test ran:\n{}", process::tail(&printed)))
}

fn requests(prism: &Server) -> Result<usize> {
    Ok(prism.log()?.lines().filter(|line| line.ends_with("Request received")).count())
}

/// The warnings and errors in Prism's log.
fn violations(prism: &Server) -> Result<String> {
    let log = prism.log()?;
    let is_violation = |line: &&str| {
        let words = line.split_once('›').map_or("", |(_, rest)| rest);
        words.split_whitespace().any(|word| ["warn", "warning", "error", "fatal"].contains(&word))
    };
    Ok(log.lines().filter(is_violation).collect::<Vec<_>>().join("\n"))
}
