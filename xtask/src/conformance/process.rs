//! Other programs: run to their end, or beside a row for as long as it takes. All of them are on a leash
//! (`tests/conformance/leash.py`), so that none outlives this command, however it ends.

use std::{
    fs::{self, File},
    path::PathBuf,
    process::{Child, ChildStdin, Command, ExitStatus, Stdio},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};

use super::Paths;

/// How long a server may take to say where it listens.
const START: Duration = Duration::from_secs(60);
/// How much of a log is shown.
const SHOWN: usize = 120;

/// The same command, on the leash, with its output in a log.
fn on_leash(paths: &Paths, name: &str, command: &Command) -> Result<(Command, PathBuf)> {
    let log = paths.work.join("logs").join(format!("{name}.log"));
    let file = File::create(&log).with_context(|| format!("cannot write {}", log.display()))?;
    let mut leash = Command::new("python3");
    leash.arg(paths.ours.join("leash.py")).arg(command.get_program()).args(command.get_args());
    for (name, value) in command.get_envs() {
        match value {
            Some(value) => leash.env(name, value),
            None => leash.env_remove(name),
        };
    }
    // A proxy of the environment does not lead to this machine's own ports.
    leash.env("NO_PROXY", "127.0.0.1,localhost").env("no_proxy", "127.0.0.1,localhost");
    leash
        .current_dir(command.get_current_dir().unwrap_or(&paths.root))
        .stdin(Stdio::piped())
        .stdout(file.try_clone().context("cannot share a log")?)
        .stderr(file);
    Ok((leash, log))
}

/// Runs it to its end and gives what it printed, however it ended.
pub(super) fn output(paths: &Paths, name: &str, command: &Command) -> Result<(ExitStatus, String)> {
    let (mut leash, log) = on_leash(paths, name, command)?;
    let mut child = leash.spawn().with_context(|| format!("cannot start {name}"))?;
    let _held = child.stdin.take();
    let status = child.wait().with_context(|| format!("cannot wait for {name}"))?;
    let printed = fs::read(&log).with_context(|| format!("cannot read {}", log.display()))?;
    Ok((status, String::from_utf8_lossy(&printed).into_owned()))
}

/// Runs it to its end; fails with what it printed when it fails.
pub(super) fn finish(paths: &Paths, name: &str, command: &mut Command) -> Result<String> {
    let (status, printed) = output(paths, name, command)?;
    if !status.success() {
        bail!("{name} failed ({status}):\n{}", tail(&printed));
    }
    Ok(printed)
}

/// The end of a long text.
pub(super) fn tail(text: &str) -> String {
    let lines: Vec<_> = text.lines().collect();
    let cut = lines.len().saturating_sub(SHOWN);
    let note = if cut == 0 { String::new() } else { format!("... {cut} lines before ...\n") };
    format!("{note}{}", lines[cut..].join("\n"))
}

/// A server beside a row, ended when it is dropped.
pub(super) struct Server {
    name: String,
    child: Child,
    held: Option<ChildStdin>,
    log: PathBuf,
    pub(super) url: String,
}

impl Server {
    /// Starts it, and waits until one of its lines says, by `listening`, where it listens.
    pub(super) fn start(
        paths: &Paths,
        name: &str,
        command: &Command,
        listening: impl Fn(&str) -> Option<String>,
    ) -> Result<Self> {
        let (mut leash, log) = on_leash(paths, name, command)?;
        let mut child = leash.spawn().with_context(|| format!("cannot start {name}"))?;
        let held = child.stdin.take();
        let mut server = Self { name: name.to_owned(), child, held, log, url: String::new() };
        let began = Instant::now();
        loop {
            let log = server.log()?;
            // A line that is not at its end yet may be half a URL.
            let whole = log.rfind('\n').map_or("", |end| &log[..end]);
            if let Some(url) = whole.lines().find_map(&listening) {
                server.url = url;
                return Ok(server);
            }
            let ended = server.child.try_wait().with_context(|| format!("cannot wait for {name}"))?;
            if ended.is_some() || began.elapsed() > START {
                bail!("{name} did not start:\n{}", tail(&log));
            }
            thread::sleep(Duration::from_millis(50));
        }
    }

    /// What it has printed so far.
    pub(super) fn log(&self) -> Result<String> {
        let bytes = fs::read(&self.log).with_context(|| format!("cannot read the log of {}", self.name))?;
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.held.take());
        let _ = self.child.wait();
    }
}

/// `akool sandbox` on a free port.
pub(super) fn sandbox(paths: &Paths) -> Result<Server> {
    ours(paths, "sandbox", &["akool-cli"], &["sandbox", "--listen", "127.0.0.1:0", "--json"])
}

/// A server of this workspace, which says by a line of JSON where it listens. It is built before, so
/// that a first build does not count as a start that hangs.
pub(super) fn ours(paths: &Paths, name: &str, package: &[&str], args: &[&str]) -> Result<Server> {
    let mut build = cargo();
    build.args(["build", "--quiet", "--package"]).args(package);
    finish(paths, "build", &mut build)?;
    let mut command = cargo();
    command.args(["run", "--quiet", "--package"]).args(package).arg("--").args(args);
    Server::start(paths, name, &command, listening)
}

/// Where a program of this workspace listens, by a line of its JSON.
fn listening(line: &str) -> Option<String> {
    let event: serde_json::Value = serde_json::from_str(line).ok()?;
    (event["event"] == "listening").then(|| event["url"].as_str().map(str::to_owned))?
}

/// The cargo that runs this.
pub(super) fn cargo() -> Command {
    Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
}
