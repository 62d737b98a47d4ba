//! The instruction counts that CI compares with the committed ones in `results/instructions.json`.
//!
//! Counts do not depend on the load of the machine. They do depend on the compiler, so its version is recorded.

use std::{collections::BTreeMap, fs, path::PathBuf};

use anyhow::{Context, Result, bail};
use serde::{Deserialize, Serialize};

use crate::{
    contract,
    paths::{results, workspace},
    poll,
    row::number,
    set_cost,
};

/// How much a count may differ from the committed one, in both directions: an improvement is committed too.
const TOLERANCE: f64 = 0.02;
/// The waits in the set.
const WAITS: usize = 10_000;

#[derive(Deserialize, Serialize)]
struct Counts {
    toolchain: String,
    c_library: String,
    instructions: BTreeMap<String, f64>,
}

impl Counts {
    fn measure() -> Result<Self> {
        let mut instructions = BTreeMap::new();
        let mut add = |name: &str, count: f64| {
            println!("  {name}: {} instructions", number(count));
            instructions.insert(name.to_owned(), count.round());
        };
        add("poll", poll::instructions()?);
        for (operation, count) in set_cost::OPERATIONS.iter().zip(set_cost::instructions_each(WAITS)?) {
            add(&format!("waits ({}): {operation}", number(WAITS as f64)), count);
        }
        for (work, count) in contract::instructions()? {
            add(&format!("contract: {work}"), count);
        }
        Ok(Self {
            toolchain: first_line("rustc", "--version")?,
            c_library: first_line("ldd", "--version")?,
            instructions,
        })
    }
}

fn first_line(program: &str, argument: &str) -> Result<String> {
    let text = duct::cmd!(program, argument).dir(workspace()).read()?;
    Ok(text.lines().next().unwrap_or_default().to_owned())
}

fn path() -> Result<PathBuf> {
    Ok(results()?.join("instructions.json"))
}

/// Makes the present counts the committed ones.
pub(crate) fn accept() -> Result<()> {
    fs::write(path()?, serde_json::to_string_pretty(&Counts::measure()?)? + "\n")?;
    Ok(())
}

/// Fails if a count differs from the committed one.
pub(crate) fn check() -> Result<()> {
    let path = path()?;
    let committed = fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
    let committed: Counts = serde_json::from_str(&committed)?;
    let present = Counts::measure()?;
    for (what, committed, present) in [
        ("toolchain", &committed.toolchain, &present.toolchain),
        ("C library", &committed.c_library, &present.c_library),
    ] {
        if committed != present {
            println!("  the {what} is {present}; the committed counts are those of {committed}");
        }
    }
    let differences = differences(&committed.instructions, &present.instructions);
    if !differences.is_empty() {
        bail!(
            "instruction counts changed:\n  {}\nIf that is intended: cargo run --release -p akool-bench -- accept",
            differences.join("\n  ")
        );
    }
    Ok(())
}

/// One sentence for each count that differs by more than the tolerance.
fn differences(committed: &BTreeMap<String, f64>, present: &BTreeMap<String, f64>) -> Vec<String> {
    let names: std::collections::BTreeSet<&String> = committed.keys().chain(present.keys()).collect();
    let differs = |name: &&String| match (committed.get(*name), present.get(*name)) {
        (Some(before), Some(after)) => (after / before - 1.0).abs() > TOLERANCE,
        _ => true,
    };
    let shown = |counts: &BTreeMap<String, f64>, name| {
        counts.get(name).map_or("none".to_owned(), |count| number(*count))
    };
    names
        .into_iter()
        .filter(differs)
        .map(|name| format!("{name}: {} before, {} now", shown(committed, name), shown(present, name)))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_count_may_differ_by_two_percent_in_both_directions() {
        let counts = |poll: f64| BTreeMap::from([("poll".to_owned(), poll)]);
        for poll in [98_100.0, 100_000.0, 101_900.0] {
            assert!(differences(&counts(100_000.0), &counts(poll)).is_empty(), "{poll}");
        }
        assert_eq!(
            differences(&counts(100_000.0), &counts(102_100.0)),
            ["poll: 100,000 before, 102,100 now"]
        );
        assert_eq!(differences(&counts(100_000.0), &counts(97_900.0)).len(), 1);
        assert_eq!(differences(&counts(100_000.0), &BTreeMap::new()), ["poll: 100,000 before, none now"]);
    }
}
