//! Runs other programs: to their end, or as a server for as long as a row needs it.

use std::{
    fs,
    path::{Path, PathBuf},
    process::ExitStatus,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};
use duct::{Expression, Handle, cmd};

use super::Paths;

/// How long a server may take until it listens.
const START_TIMEOUT: Duration = Duration::from_secs(60);
/// How many lines of a log an error shows.
const LOG_LINES: usize = 120;

/// Adds what all commands have in common. Returns the log to which the output goes, too.
fn logged(paths: &Paths, name: &str, command: &Expression) -> (Expression, PathBuf) {
    let log = paths.work.join("logs").join(format!("{name}.log"));
    let command = command
        .dir(&paths.root)
        // Our servers listen on this machine, and a proxy cannot reach them.
        .env("NO_PROXY", "127.0.0.1,localhost")
        .env("no_proxy", "127.0.0.1,localhost")
        .stdin_null()
        .stderr_to_stdout()
        .stdout_path(&log)
        .unchecked();
    (command, log)
}

fn read(log: &Path) -> Result<String> {
    let bytes = fs::read(log).with_context(|| format!("cannot read {}", log.display()))?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// Runs a command to its end and returns its output.
pub(super) fn output(paths: &Paths, name: &str, command: &Expression) -> Result<(ExitStatus, String)> {
    let (command, log) = logged(paths, name, command);
    let output = command.run().with_context(|| format!("cannot run {name}"))?;
    Ok((output.status, read(&log)?))
}

/// Runs a command to its end and returns its output. Its failure is an error.
pub(super) fn finish(paths: &Paths, name: &str, command: &Expression) -> Result<String> {
    let (status, printed) = output(paths, name, command)?;
    if !status.success() {
        bail!("{name} failed ({status}):\n{}", tail(&printed));
    }
    Ok(printed)
}

/// The last lines of a text.
pub(super) fn tail(text: &str) -> String {
    let lines: Vec<_> = text.lines().collect();
    let omitted = lines.len().saturating_sub(LOG_LINES);
    let note = if omitted == 0 { String::new() } else { format!("... {omitted} lines omitted ...\n") };
    format!("{note}{}", lines[omitted..].join("\n"))
}

/// A running server. Dropping it stops it.
pub(super) struct Server {
    handle: Handle,
    log: PathBuf,
    pub(super) url: String,
}

impl Server {
    /// Starts a server and waits until `listening` finds its URL in a line of its output.
    pub(super) fn start(
        paths: &Paths,
        name: &str,
        command: &Expression,
        listening: impl Fn(&str) -> Option<String>,
    ) -> Result<Self> {
        let (command, log) = logged(paths, name, command);
        let handle = command.start().with_context(|| format!("cannot start {name}"))?;
        let mut server = Self { handle, log, url: String::new() };
        let start = Instant::now();
        loop {
            let log = server.log()?;
            // The last line may be incomplete.
            let complete = log.rfind('\n').map_or("", |end| &log[..end]);
            if let Some(url) = complete.lines().find_map(&listening) {
                server.url = url;
                return Ok(server);
            }
            let exited = server.handle.try_wait().with_context(|| format!("cannot wait for {name}"))?;
            if exited.is_some() || start.elapsed() > START_TIMEOUT {
                bail!("{name} did not start:\n{}", tail(&log));
            }
            thread::sleep(Duration::from_millis(50));
        }
    }

    /// The output so far.
    pub(super) fn log(&self) -> Result<String> {
        read(&self.log)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.handle.kill();
        let _ = self.handle.wait();
    }
}

/// Starts `akool sandbox` on a free port.
pub(super) fn sandbox(paths: &Paths) -> Result<Server> {
    let arguments = ["--", "sandbox", "--listen", "127.0.0.1:0", "--json"];
    workspace_server(paths, "sandbox", &["--package", "akool-cli"], &arguments)
}

/// Starts `akool contract proxy` on a free port.
pub(super) fn contract_proxy(paths: &Paths, upstream: &str) -> Result<Server> {
    let arguments = ["--", "contract", "proxy", "--listen", "127.0.0.1:0", "--json", "--upstream", upstream];
    workspace_server(paths, "contract-proxy", &["--package", "akool-cli"], &arguments)
}

/// Starts a server of this workspace, which prints its URL as a JSON event. The build comes first, so that
/// it does not count towards the timeout.
pub(super) fn workspace_server(
    paths: &Paths,
    name: &str,
    target: &[&str],
    arguments: &[&str],
) -> Result<Server> {
    finish(paths, "build", &cargo([&["build", "--quiet"], target].concat()))?;
    let run = cargo([&["run", "--quiet"], target, arguments].concat());
    Server::start(paths, name, &run, |line| {
        let event: serde_json::Value = serde_json::from_str(line).ok()?;
        (event["event"] == "listening").then(|| event["url"].as_str().map(str::to_owned))?
    })
}

/// A command of the cargo that runs this program.
pub(super) fn cargo(arguments: Vec<&str>) -> Expression {
    cmd(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()), arguments)
}
