//! The row in which the mock server is broken on purpose, and every tool judges the same answers.
//!
//! `tests/conformance/mutants.rs` serves them, `contract.rs` beside it asks `akool-contract`, `judge.py` asks
//! Prism, in front of them as a validating proxy, and schemathesis.

use std::{collections::BTreeMap, process::Command};

use anyhow::{Context, Result, anyhow, ensure};
use serde_json::Value;

use super::{
    Paths, prism,
    process::{self, cargo},
    tools,
};

/// As many must be seen by `akool-contract` and by an outside tool.
const MIN_SAMPLES: usize = 20;

/// What the tools said of each mutant.
pub(super) struct Seen {
    pub(super) mutants: Vec<Mutant>,
}

pub(super) struct Mutant {
    /// What is broken.
    pub(super) what: String,
    pub(super) contract: Verdict,
    pub(super) prism: Verdict,
    pub(super) schemathesis: Verdict,
}

/// What a tool makes of an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// Nothing is wrong.
    Sound,
    /// It is not wrong, but not as described either.
    Odd,
    /// It breaks the description.
    Wrong,
}

impl Mutant {
    fn by_contract(&self) -> bool {
        self.contract != Verdict::Sound
    }

    fn by_others(&self) -> bool {
        self.prism != Verdict::Sound || self.schemathesis != Verdict::Sound
    }
}

impl Seen {
    pub(super) fn by_both(&self) -> usize {
        self.mutants.iter().filter(|mutant| mutant.by_contract() && mutant.by_others()).count()
    }

    /// Those that only `akool-contract` sees, that only outside tools see, and that nobody sees.
    pub(super) fn by_one(&self) -> [Vec<&str>; 3] {
        let those = |contract: bool, others: bool| {
            let seen = self.mutants.iter();
            let seen = seen.filter(|mutant| (mutant.by_contract(), mutant.by_others()) == (contract, others));
            seen.map(|mutant| mutant.what.as_str()).collect()
        };
        [those(true, false), those(false, true), those(false, false)]
    }

    pub(super) fn summary(&self) -> String {
        let [contract, others, nobody] = self.by_one();
        format!(
            "{} mutants: {} seen by akool-contract and others, {} by akool-contract only, {} by others only, {} by \
             nobody",
            self.mutants.len(),
            self.by_both(),
            contract.len(),
            others.len(),
            nobody.len()
        )
    }
}

pub(super) fn run(paths: &Paths) -> Result<Seen> {
    let mutants = process::ours(paths, "mutants", &["akool-tests", "--example", "mutants"], &[])?;
    let events: Vec<Value> =
        mutants.log()?.lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
    let of = |event: &str| events.iter().filter(move |line| line["event"] == event).collect::<Vec<_>>();
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let names: Vec<_> =
        of("mutant").iter().map(|mutant| (text(&mutant["name"]), text(&mutant["what"]))).collect();
    let start = *of("listening").first().ok_or_else(|| anyhow!("the mutants do not say where they are"))?;
    let (key, job) = (text(&start["key"]), text(&start["job"]));

    let prism = prism::proxy(paths, &mutants.url)?;
    let mut judge = tools::python_program(paths, "python");
    judge.arg(paths.ours.join("judge.py")).arg(&paths.resolved);
    judge.args([&mutants.url, &prism.url, &key, &job]).args(names.iter().map(|(name, _)| name));
    let others = verdicts(paths, "judge", &mut judge)?;
    let mut contract = cargo();
    contract.args(["run", "--quiet", "--package", "akool-tests", "--example", "contract", "--"]);
    contract.args([&mutants.url, &key, &job]).args(names.iter().map(|(name, _)| name));
    let ours = verdicts(paths, "contract", &mut contract)?;

    let mut mutants = Vec::new();
    for (name, what) in names {
        let verdict = |said: &BTreeMap<String, Value>, tool: &str| -> Result<Verdict> {
            let line = said.get(&name).ok_or_else(|| anyhow!("{tool} does not speak of {name}"))?;
            Ok(match (line[tool]["wrong"].as_str(), line[tool]["odd"].as_str()) {
                (Some(_), _) => Verdict::Wrong,
                (None, Some(_)) => Verdict::Odd,
                (None, None) => Verdict::Sound,
            })
        };
        mutants.push(Mutant {
            what,
            contract: verdict(&ours, "akool-contract")?,
            prism: verdict(&others, "Prism")?,
            schemathesis: verdict(&others, "schemathesis")?,
        });
    }
    recorded(mutants)
}

/// What each tool said, by the mutant's name.
fn verdicts(paths: &Paths, name: &str, command: &mut Command) -> Result<BTreeMap<String, Value>> {
    let printed = process::finish(paths, name, command)?;
    let lines = printed.lines().filter(|line| line.starts_with('{'));
    lines
        .map(|line| {
            let said: Value = serde_json::from_str(line).with_context(|| format!("{name} says {line}"))?;
            Ok((said["name"].as_str().unwrap_or_default().to_owned(), said))
        })
        .collect()
}

/// The first mutant is none: whoever sees something wrong with it sees ghosts.
fn recorded(mut mutants: Vec<Mutant>) -> Result<Seen> {
    ensure!(!mutants.is_empty(), "there are no mutants");
    let sound = mutants.remove(0);
    ensure!(
        !sound.by_contract() && !sound.by_others(),
        "an answer in which nothing is broken is called broken; see target/conformance/logs"
    );
    let seen = Seen { mutants };
    let both = seen.by_both();
    ensure!(
        both >= MIN_SAMPLES,
        "only {both} mutants are seen by akool-contract and by an outside tool, not {MIN_SAMPLES}"
    );
    Ok(seen)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mutant(contract: Verdict, prism: Verdict) -> Mutant {
        Mutant { what: format!("{contract:?} {prism:?}"), contract, prism, schemathesis: Verdict::Sound }
    }

    #[test]
    fn an_answer_without_a_fault_must_be_sound_to_all() {
        let rest = || (0..MIN_SAMPLES).map(|_| mutant(Verdict::Wrong, Verdict::Wrong));
        let all = |first| std::iter::once(first).chain(rest()).collect();
        assert_eq!(recorded(all(mutant(Verdict::Sound, Verdict::Sound))).unwrap().by_both(), MIN_SAMPLES);
        assert!(recorded(all(mutant(Verdict::Odd, Verdict::Sound))).is_err());
        assert!(recorded(all(mutant(Verdict::Sound, Verdict::Wrong))).is_err());
    }

    #[test]
    fn too_few_that_are_seen_by_both_are_a_finding() {
        let sound = || mutant(Verdict::Sound, Verdict::Sound);
        let few = vec![sound(), mutant(Verdict::Wrong, Verdict::Wrong)];
        assert!(recorded(few).is_err());
        assert!(recorded(Vec::new()).is_err());
    }

    #[test]
    fn what_only_one_sees_is_listed() {
        let mutants = vec![
            mutant(Verdict::Odd, Verdict::Sound),
            mutant(Verdict::Sound, Verdict::Wrong),
            mutant(Verdict::Sound, Verdict::Sound),
        ];
        let seen = Seen { mutants };
        assert_eq!(seen.by_one(), [vec!["Odd Sound"], vec!["Sound Wrong"], vec!["Sound Sound"]]);
    }
}
