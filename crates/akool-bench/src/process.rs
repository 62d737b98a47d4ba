//! Runs other programs, and measures their time and memory with GNU time.

use std::{
    process::{Command, Stdio},
    time::Instant,
};

use anyhow::{Context, Result};

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
    anyhow::ensure!(
        output.status.success(),
        "{command:?} failed: {}",
        String::from_utf8_lossy(&output.stderr).trim()
    );
    let report = std::fs::read_to_string(report.path())?;
    let numbers: Vec<f64> = report.split_whitespace().filter_map(|number| number.parse().ok()).collect();
    let [user, system, kib] = numbers[..] else { anyhow::bail!("unexpected output of GNU time: {report:?}") };
    Ok(Usage { seconds, cpu_seconds: user + system, peak_mib: kib / 1024.0 })
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
