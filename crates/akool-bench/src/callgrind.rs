//! Counts the instructions of this program's own probes with valgrind's callgrind, in user space.

use std::ffi::OsString;

use anyhow::{Context, Result};

/// Turns off the routines of the C library that it chooses by the processor, so that every machine runs the same ones.
const SAME_ROUTINES: (&str, &str) = (
    "GLIBC_TUNABLES",
    "glibc.cpu.hwcaps=-AVX,-AVX2,-AVX512F,-AVX512VL,-AVX512BW,-BMI1,-BMI2,-ERMS,-FSRM,-LZCNT,-MOVBE,-RTM,-SSE4_1,-SSE4_2,-SSSE3",
);

/// The instructions of a whole run of this program with these arguments.
pub(crate) fn instructions(arguments: &[&str]) -> Result<f64> {
    let folder = tempfile::tempdir()?;
    let out = folder.path().join("callgrind.out");
    let file = format!("--callgrind-out-file={}", out.display());
    let mut command =
        vec!["--quiet".into(), "--tool=callgrind".into(), file.into(), std::env::current_exe()?.into()];
    command.extend(arguments.iter().map(OsString::from));
    let counted = duct::cmd("valgrind", command).env(SAME_ROUTINES.0, SAME_ROUTINES.1).read();
    counted.context("cannot count instructions; install valgrind")?;
    let text = std::fs::read_to_string(&out)?;
    let total = text
        .lines()
        .find_map(|line| line.strip_prefix("totals: ").or_else(|| line.strip_prefix("summary: ")));
    Ok(total.context("callgrind printed no total")?.trim().parse()?)
}

/// The instructions of one operation: those of a probe that does `many` of them, minus those of one that does `few`.
/// The number is the probe's last argument.
pub(crate) fn instructions_each(probe: &[&str], few: usize, many: usize) -> Result<f64> {
    let count = |operations: usize| instructions(&[probe, &[&operations.to_string()]].concat());
    Ok((count(many)? - count(few)?) / (many - few) as f64)
}
