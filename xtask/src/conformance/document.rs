//! `docs/conformance.md`: what the rows show, written from the same tables that they run on.

use std::fs;

use anyhow::{Context, Result, ensure};

use super::{ALL, Paths, lint, mutation, mutation::Verdict, schemathesis};

const FILE: &str = "docs/conformance.md";

/// Writes it, or fails when it is out of date.
pub(super) fn record(paths: &Paths, seen: &mutation::Seen, write: bool) -> Result<()> {
    let text = text(paths, seen)?;
    let path = paths.root.join(FILE);
    let before = fs::read_to_string(&path).unwrap_or_default();
    if before == text {
        return Ok(());
    }
    ensure!(
        write,
        "{FILE} is out of date; `cargo xtask conformance --write` writes it. What differs:\n{}",
        similar::TextDiff::from_lines(&before, &text).unified_diff().context_radius(1)
    );
    fs::write(&path, text).with_context(|| format!("cannot write {FILE}"))?;
    println!("written: {FILE}");
    Ok(())
}

fn text(paths: &Paths, seen: &mutation::Seen) -> Result<String> {
    let mut text = String::from(HEAD);
    for row in ALL {
        text += &format!("| `{}` | {} | {} |\n", row.name(), row.tools_shown(), row.shows());
    }
    text += SCHEMATHESIS;
    for line in schemathesis::left_out() {
        text += &format!("{line}\n");
    }
    text += LINT;
    for entry in lint::allowed(paths)? {
        text += &format!("- `{}`, at {}: {}\n", entry.rule, count(entry.at.len(), "place"), entry.why.trim());
    }
    text += MUTATION;
    for mutant in &seen.mutants {
        let verdicts = [mutant.contract, mutant.prism, mutant.schemathesis].map(shown);
        text += &format!("| {} | {} |\n", mutant.what, verdicts.join(" | "));
    }
    let [contract, others, nobody] = seen.by_one();
    text += &format!("\n{} are seen by `akool-contract` and by an outside tool.\n\n", seen.by_both());
    for (who, those) in [
        ("Only `akool-contract` sees", contract),
        ("Only outside tools see", others),
        ("Nobody sees", nobody),
    ] {
        let list = if those.is_empty() { "nothing more".to_owned() } else { those.join("; ") };
        text += &format!("- {who}: {list}.\n");
    }
    text += WHY;
    Ok(text)
}

fn shown(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Sound => "-",
        Verdict::Odd => "odd",
        Verdict::Wrong => "wrong",
    }
}

fn count(number: usize, what: &str) -> String {
    format!("{number} {what}{}", if number == 1 { "" } else { "s" })
}

const HEAD: &str = "\
# What tools say that were not written here

<!-- Written by `cargo xtask conformance --write` from the tables that it runs on. CI fails when it is out of date. -->

Our own tests share our own mistakes. So the description, the client and the mock server are also held against
tools that others wrote:

```sh
cargo xtask conformance                # every row; any finding fails
cargo xtask conformance --only prism   # one row
```

It needs python3 with venv, Node.js 20.19 or later with npm, and the first time PyPI and npm. The tools go into
`target/conformance` in the versions below (pinned in `xtask/src/conformance/tools.rs`), with what they print
in `target/conformance/logs`. Every server listens on this machine, on a port of the system's choice, and ends
with the command, however that ends.

| row | tool | what it shows |
|---|---|---|
";

const SCHEMATHESIS: &str = "
## schemathesis against the sandbox

It makes requests from the description, the same on every run: documented examples, boundaries of each field,
random ones, and chains in which a job is created and then polled (by the link that
`openapi/overlays/34-links.yaml` describes). Some are as described, others break it on purpose. All of its
checks are on, but these:

";

const LINT: &str = "
In the second run a request that the mock server refuses though the description allows it (an empty id, say) would
count as a finding; `tests/conformance/narrow.yaml` lists these few.

## Prism

As a server, Prism validates what the client sends and answers with examples of the description; named ones for
each ending and each kind of error are added by `tests/conformance/examples.yaml`, and the linter holds them
against their schemas. As a proxy it validates both directions between the client and `akool sandbox`, and turns
each violation into an error. The client's side is `tests/library/conformance.rs`: create, poll, wait, languages, token,
and the typed errors.

Prism keeps no state, so a job does not move from status to status there; the proxy row has jobs that do. Prism
does not serve the result files, which are not described.

## The linter

Redocly CLI's recommended rules, over the resolved description. These findings stay
(`tests/conformance/lint-allowed.toml`; an entry that is no longer found fails):

";

const MUTATION: &str = "
## Broken on purpose

The mock server is broken in each of these ways, and every tool judges the same bytes. *wrong*: it says that the
description is broken. *odd*: it says that something is not described, but may come (`akool-contract` calls it
drift, Prism warns). An answer in which nothing is broken must be sound to all.

| broken | `akool-contract` | Prism | schemathesis |
|---|---|---|---|
";

const WHY: &str = "
What comes with success, and what each status comes with, stands in `openapi/overlays/40-promises.yaml`, which
OpenAPI 3.0 itself cannot say and only `akool-contract` reads; so does what it calls drift. Outside tools ask
for compression, so that a compressed answer is right to them. An answer that breaks off is told by the
connection: nothing whole is left that `akool-contract` could judge.
";
