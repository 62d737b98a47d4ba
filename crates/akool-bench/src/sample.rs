//! Other programs, and what they take: time, processor, memory. By GNU's `time`.

use std::{
    process::{Command, Stdio},
    time::Instant,
};

use anyhow::{Context, Result};

/// What a program and those that it started took.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Taken {
    pub(crate) seconds: f64,
    pub(crate) cpu_seconds: f64,
    /// Resident memory at most, of the largest of them.
    pub(crate) peak_mib: f64,
}

/// Runs a program to its end, quietly. Fails where it does.
pub(crate) fn run(command: &Command) -> Result<Taken> {
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
    let told = std::fs::read_to_string(report.path())?;
    let numbers: Vec<f64> = told.split_whitespace().filter_map(|number| number.parse().ok()).collect();
    let [user, system, kib] = numbers[..] else { anyhow::bail!("time said {told:?}") };
    Ok(Taken { seconds, cpu_seconds: user + system, peak_mib: kib / 1024.0 })
}

/// Runs programs in turn, so often, and not one after the other: what disturbs the machine disturbs all.
/// One round before warms up.
pub(crate) fn in_turn<const N: usize>(
    times: usize,
    run: [&dyn Fn() -> Result<Taken>; N],
) -> Result<[Vec<Taken>; N]> {
    for run in run {
        run()?;
    }
    in_turn_cold(times, run)
}

/// As [`in_turn`], without a round before.
pub(crate) fn in_turn_cold<const N: usize>(
    times: usize,
    run: [&dyn Fn() -> Result<Taken>; N],
) -> Result<[Vec<Taken>; N]> {
    let mut taken = [const { Vec::new() }; N];
    for _ in 0..times {
        for (taken, run) in taken.iter_mut().zip(run) {
            taken.push(run()?);
        }
    }
    Ok(taken)
}

/// One of the quantities of many samples.
pub(crate) fn each(taken: &[Taken], of: impl Fn(&Taken) -> f64) -> Vec<f64> {
    taken.iter().map(of).collect()
}
