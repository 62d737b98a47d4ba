//! Runs other programs: probes of this one, tools that are built or installed first, servers, and samples whose time and
//! memory GNU time measures.

use std::{
    fs,
    net::TcpStream,
    ops::Deref,
    path::PathBuf,
    process::{Child, Command, Stdio},
    thread::sleep,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use duct::cmd;
use serde::de::DeserializeOwned;

use crate::{
    paths::{target, workspace},
    row::Row,
};

/// A server's process. Dropping this ends it.
pub(crate) struct Running(Child);

impl Running {
    pub(crate) fn start(command: &mut Command) -> Result<Self> {
        let program = command.get_program().to_owned();
        Ok(Self(command.spawn().with_context(|| format!("cannot run {program:?}; install it"))?))
    }

    /// Waits until a port of this machine accepts connections.
    pub(crate) fn listens(self, port: u16) -> Result<Self> {
        let began = Instant::now();
        while TcpStream::connect(("127.0.0.1", port)).is_err() {
            ensure!(began.elapsed() < Duration::from_secs(30), "nothing listens on port {port}");
            sleep(Duration::from_millis(10));
        }
        Ok(self)
    }

    pub(crate) fn output(&mut self) -> Result<std::process::ChildStdout> {
        self.0.stdout.take().context("there is no output")
    }
}

impl Deref for Running {
    type Target = Child;

    fn deref(&self) -> &Child {
        &self.0
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Runs a part of this program in a process of its own, and reads the JSON that it prints.
pub(crate) fn probe<T: DeserializeOwned>(arguments: &[&str]) -> Result<T> {
    Ok(serde_json::from_str(&cmd(std::env::current_exe()?, arguments).read()?)?)
}

/// Builds a program of the workspace.
pub(crate) fn build(profile: &str, package: &str, program: &str) -> Result<PathBuf> {
    cmd!("cargo", "build", "--quiet", "--profile", profile, "-p", package).dir(workspace()).run()?;
    Ok(target()?.join(profile).join(program))
}

/// The folder of packages from npm; installs them below the target folder.
pub(crate) fn npm(name: &str, packages: &[&str], options: &[&str]) -> Result<PathBuf> {
    let folder = target()?.join("akool-bench-tools").join(name);
    fs::create_dir_all(&folder)?;
    let install = ["install", "--prefer-offline", "--silent", "--no-fund", "--no-audit", "--prefix", "."];
    let installed = cmd("npm", [&install, options, packages].concat()).dir(&folder).run();
    installed.context("cannot install packages of npm")?;
    Ok(folder.join("node_modules"))
}

/// What a program and its child processes used.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Usage {
    pub(crate) seconds: f64,
    pub(crate) cpu_seconds: f64,
    /// Peak resident memory of the largest process.
    pub(crate) peak_mib: f64,
}

/// Runs a program to its end without output. A program that fails is an error.
pub(crate) fn run(command: &Command) -> Result<Usage> {
    let report = tempfile::NamedTempFile::new()?;
    let mut timed = Command::new("/usr/bin/time");
    timed.args(["-q", "-f", "%U %S %M", "-o"]).arg(report.path()).arg(command.get_program());
    timed.args(command.get_args()).stdin(Stdio::null()).stdout(Stdio::null());
    for (name, value) in command.get_envs() {
        match value {
            Some(value) => timed.env(name, value),
            None => timed.env_remove(name),
        };
    }
    if let Some(folder) = command.get_current_dir() {
        timed.current_dir(folder);
    }
    let began = Instant::now();
    let output = timed.output().context("cannot run /usr/bin/time; install GNU time")?;
    let seconds = began.elapsed().as_secs_f64();
    ensure!(
        output.status.success(),
        "{command:?} failed: {}",
        String::from_utf8_lossy(&output.stderr).trim()
    );
    let report = fs::read_to_string(report.path())?;
    let numbers: Vec<f64> = report.split_whitespace().filter_map(|number| number.parse().ok()).collect();
    let [user, system, kib] = numbers[..] else { anyhow::bail!("unexpected output of GNU time: {report:?}") };
    Ok(Usage { seconds, cpu_seconds: user + system, peak_mib: kib / 1024.0 })
}

/// Like [`run`], with the wall time of a second run, without GNU time.
pub(crate) fn run_twice(command: &mut Command) -> Result<Usage> {
    let usage = run(command)?;
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    let began = Instant::now();
    let status = command.status()?;
    let seconds = began.elapsed().as_secs_f64();
    ensure!(status.success(), "{command:?} failed: {status}");
    Ok(Usage { seconds, ..usage })
}

/// Runs programs alternately, so many times each, so that a disturbance affects all of them. The first round
/// warms up and is not counted.
pub(crate) fn alternate<const N: usize>(
    times: usize,
    run: [&dyn Fn() -> Result<Usage>; N],
) -> Result<[Vec<Usage>; N]> {
    for run in run {
        run()?;
    }
    alternate_cold(times, run)
}

/// Like [`alternate`], without the round that warms up.
pub(crate) fn alternate_cold<const N: usize>(
    times: usize,
    run: [&dyn Fn() -> Result<Usage>; N],
) -> Result<[Vec<Usage>; N]> {
    let mut usages = [const { Vec::new() }; N];
    for _ in 0..times {
        for (usages, run) in usages.iter_mut().zip(run) {
            usages.push(run()?);
        }
    }
    Ok(usages)
}

/// One quantity of each sample.
pub(crate) fn each(usages: &[Usage], quantity: impl Fn(&Usage) -> f64) -> Vec<f64> {
    usages.iter().map(quantity).collect()
}

impl Row {
    /// Adds the peak memory of samples, and returns its median.
    pub(crate) fn add_memory(&mut self, case: &str, variant: &str, usages: &[Usage]) -> f64 {
        self.add(case, variant, "peak memory", "MiB", &each(usages, |usage| usage.peak_mib))
    }

    /// Adds the processor time of samples.
    pub(crate) fn add_cpu(&mut self, case: &str, variant: &str, usages: &[Usage]) {
        self.add(case, variant, "CPU", "s", &each(usages, |usage| usage.cpu_seconds));
    }

    /// Adds the wall time of samples in milliseconds, and returns its median.
    pub(crate) fn add_ms(&mut self, case: &str, variant: &str, usages: &[Usage]) -> f64 {
        self.add(case, variant, "wall time", "ms", &each(usages, |usage| usage.seconds * 1e3))
    }
}
