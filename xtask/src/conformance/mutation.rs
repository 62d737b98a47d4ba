//! The row in which the mock server is broken on purpose, and every tool judges the same responses.
//!
//! `tests/conformance/mutants.rs` serves them. `tests/conformance/contract.rs` is the verdict of
//! `akool-contract`, and `tests/conformance/judge.py` those of Prism (as a proxy) and schemathesis.

use std::collections::BTreeMap;

use anyhow::{Context, Result, ensure};
use duct::Expression;
use serde_json::Value;

use super::{
    Paths, prism,
    process::{self, cargo},
    tools,
};

/// How many mutants `akool-contract` and an independent tool must both detect.
const MIN_DETECTED_BY_BOTH: usize = 20;

/// The judges, by their names in the output of the programs. The first is ours.
pub(super) const JUDGES: [&str; 3] = ["akool-contract", "Prism", "schemathesis"];

/// A response that is broken in one way, and the verdicts on it.
pub(super) struct Mutant {
    pub(super) what: String,
    pub(super) verdicts: [Verdict; JUDGES.len()],
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    Valid,
    Drift,
    Violation,
}

impl Verdict {
    /// The verdict in the output of a judge.
    pub(super) fn of(found: &Value) -> Self {
        match (found.get("violation"), found.get("drift")) {
            (Some(_), _) => Self::Violation,
            (None, Some(_)) => Self::Drift,
            (None, None) => Self::Valid,
        }
    }
}

impl Mutant {
    /// Whether `akool-contract` detects it, and whether an independent tool does.
    pub(super) fn detected(&self) -> (bool, bool) {
        let [ours, others @ ..] = self.verdicts.map(|verdict| verdict != Verdict::Valid);
        (ours, others.contains(&true))
    }
}

/// The mutants with the same [`Mutant::detected`].
pub(super) fn group(mutants: &[Mutant], detected: (bool, bool)) -> Vec<&str> {
    let those = mutants.iter().filter(|mutant| mutant.detected() == detected);
    those.map(|mutant| mutant.what.as_str()).collect()
}

pub(super) fn summary(mutants: &[Mutant]) -> String {
    let count = |detected| group(mutants, detected).len();
    format!(
        "{} mutants: {} detected by akool-contract and others, {} by akool-contract only, {} by others only, {} by none",
        mutants.len(),
        count((true, true)),
        count((true, false)),
        count((false, true)),
        count((false, false)),
    )
}

/// The verdicts as a table in Markdown, and the differences between `akool-contract` and the other tools.
pub(super) fn table(mutants: &[Mutant]) -> String {
    let mut text = format!("| mutant | {} |\n|---{}|\n", JUDGES.join(" | "), "|---".repeat(JUDGES.len()));
    for mutant in mutants {
        let verdicts = mutant.verdicts.map(|verdict| match verdict {
            Verdict::Valid => "-",
            Verdict::Drift => "drift",
            Verdict::Violation => "violation",
        });
        text += &format!("| {} | {} |\n", mutant.what, verdicts.join(" | "));
    }
    text += "\n";
    for (who, detected) in [
        ("`akool-contract` and an independent tool", (true, true)),
        ("`akool-contract` only", (true, false)),
        ("independent tools only", (false, true)),
        ("no tool", (false, false)),
    ] {
        let mutants = group(mutants, detected);
        let list = match detected {
            (true, true) => String::new(),
            _ if mutants.is_empty() => String::new(),
            _ => format!(" ({})", mutants.join("; ")),
        };
        text += &format!("- Detected by {who}: {}{list}.\n", mutants.len());
    }
    text
}

pub(super) fn run(paths: &Paths) -> Result<Vec<Mutant>> {
    let server = process::workspace_server(
        paths,
        "mutants",
        &["--package", "akool-tests", "--example", "mutants"],
        &[],
    )?;
    let events: Vec<Value> =
        server.log()?.lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let mutants: Vec<_> = events
        .iter()
        .filter(|event| event["event"] == "mutant")
        .map(|event| (text(&event["name"]), text(&event["what"])))
        .collect();
    let listening = events.iter().find(|event| event["event"] == "listening");
    let listening = listening.context("the mutants do not print their address")?;
    let (key, job) = (text(&listening["key"]), text(&listening["job"]));
    let names = mutants.iter().map(|(name, _)| name.as_str());

    let prism = prism::proxy(paths, &server.url)?;
    let judge = paths.inputs.join("judge.py").display().to_string();
    let description = paths.resolved.display().to_string();
    let arguments = [&judge, &description, &server.url, &prism.url, &key, &job].map(String::as_str);
    let others = tools::python(paths, "python", arguments.into_iter().chain(names.clone()));
    let run = ["run", "--quiet", "--package", "akool-tests", "--example", "contract", "--"];
    let ours = cargo(run.into_iter().chain([&*server.url, &key, &job]).chain(names).collect());
    let (ours, others) = (judged(paths, "contract", &ours)?, judged(paths, "judge", &others)?);

    let mut all = Vec::new();
    for (name, what) in mutants {
        let mut verdicts = [Verdict::Valid; JUDGES.len()];
        for (judge, verdict) in JUDGES.into_iter().zip(&mut verdicts) {
            let lines = if judge == JUDGES[0] { &ours } else { &others };
            let found = &lines
                .get(&name)
                .with_context(|| format!("there is no verdict of {judge} on {name}"))?[judge];
            *verdict = Verdict::of(found);
        }
        all.push(Mutant { what, verdicts });
    }
    validated(all)
}

/// The output of a judge, by the name of the mutant.
pub(super) fn judged(paths: &Paths, name: &str, command: &Expression) -> Result<BTreeMap<String, Value>> {
    let printed = process::finish(paths, name, command)?;
    let lines = printed.lines().filter(|line| line.starts_with('{'));
    lines
        .map(|line| {
            let line: Value =
                serde_json::from_str(line).with_context(|| format!("{name} printed invalid JSON: {line}"))?;
            Ok((line["name"].as_str().unwrap_or_default().to_owned(), line))
        })
        .collect()
}

/// Removes the first mutant, which is a valid response and must be valid for all judges.
fn validated(mut mutants: Vec<Mutant>) -> Result<Vec<Mutant>> {
    ensure!(!mutants.is_empty(), "there are no mutants");
    ensure!(
        mutants.remove(0).detected() == (false, false),
        "a tool calls a valid response invalid; see target/conformance/logs"
    );
    let both = group(&mutants, (true, true)).len();
    ensure!(
        both >= MIN_DETECTED_BY_BOTH,
        "only {both} mutants are detected by akool-contract and an independent tool; expected {MIN_DETECTED_BY_BOTH}"
    );
    Ok(mutants)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mutant(contract: Verdict, prism: Verdict) -> Mutant {
        let what = format!("{contract:?} {prism:?}");
        Mutant { what, verdicts: [contract, prism, Verdict::Valid] }
    }

    #[test]
    fn a_valid_response_must_be_valid_for_all_judges() {
        let rest = || (0..MIN_DETECTED_BY_BOTH).map(|_| mutant(Verdict::Violation, Verdict::Violation));
        let all = |first| std::iter::once(first).chain(rest()).collect();
        assert!(validated(all(mutant(Verdict::Valid, Verdict::Valid))).is_ok());
        assert!(validated(all(mutant(Verdict::Drift, Verdict::Valid))).is_err());
        assert!(validated(all(mutant(Verdict::Valid, Verdict::Violation))).is_err());
    }

    #[test]
    fn too_few_mutants_that_are_detected_by_both_are_an_error() {
        let few =
            vec![mutant(Verdict::Valid, Verdict::Valid), mutant(Verdict::Violation, Verdict::Violation)];
        assert!(validated(few).is_err());
        assert!(validated(Vec::new()).is_err());
    }

    #[test]
    fn mutants_that_only_one_side_detects_are_listed() {
        let mutants = [
            mutant(Verdict::Drift, Verdict::Valid),
            mutant(Verdict::Valid, Verdict::Violation),
            mutant(Verdict::Valid, Verdict::Valid),
        ];
        let groups = [(true, false), (false, true), (false, false)].map(|detected| group(&mutants, detected));
        assert_eq!(groups, [vec!["Drift Valid"], vec!["Valid Violation"], vec!["Valid Valid"]]);
    }
}
