//! `cargo xtask spec check`: whether code can be generated from a description. Each problem has its
//! place and line.
//!
//! - It must be valid OpenAPI 3.0 (`roas`).
//! - The generator must support it (`supported.rs`).
//! - Every `example` must be valid against its own schema (`jsonschema`).
//! - For the vendored description, every overlay action must match something, and redundant ones are
//!   reported.

use std::{fs, path::Path};

use anyhow::{Context, Result, bail};
use openapi_keeper::{
    description,
    lines::Lines,
    project::{Project, Vendored},
    redundant::redundant,
    supported::{self, Problem},
    valid,
};

/// Checks one file, or the vendored description with its overlays.
pub(crate) fn run(root: &Path, file: Option<&Path>) -> Result<()> {
    let Some(file) = file else {
        let project = crate::import::project(root)?;
        return vendored(&project, &project.vendored()?);
    };
    let shown = file.display().to_string();
    let bytes = fs::read(file).with_context(|| format!("cannot read {shown}"))?;
    let document = description::parse(&bytes, &shown)?;
    let lines = Lines::of(&bytes);
    let problems = [valid::problems(&document), supported::problems(&document)].concat();
    report(&shown, problems, |pointer| (shown.clone(), lines.line(pointer)))
}

/// Checks the vendored description, and what the generator gets. Problems are located in the sources.
pub(crate) fn vendored(project: &Project, vendored: &Vendored) -> Result<()> {
    let resolved = project.resolve()?.document;
    for action in redundant(&project.overlays(), &vendored.document)? {
        println!("redundant: {action}");
    }
    let problems = [valid::problems(&vendored.document), supported::problems(&resolved)].concat();
    report("the vendored description", problems, |pointer| vendored.locate(pointer))
}

/// Prints that there are no problems, or fails with all of them.
fn report(shown: &str, mut problems: Vec<Problem>, place: impl Fn(&str) -> (String, usize)) -> Result<()> {
    problems.sort_by_cached_key(|problem| place(&problem.pointer));
    problems.dedup_by(|a, b| a.pointer == b.pointer && a.cause == b.cause);
    if problems.is_empty() {
        println!("{shown} is ready for code generation");
        return Ok(());
    }
    let list = problems.iter().map(|problem| {
        let pointer = if problem.pointer.is_empty() { "(the whole document)" } else { &problem.pointer };
        let (file, line) = place(&problem.pointer);
        format!("\n{file}:{line}: {pointer}\n    {}", problem.cause)
    });
    bail!("{shown} has {} problems{}", problems.len(), list.collect::<String>())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const VENDORED: &str = include_str!("../../openapi/akool.yaml");

    fn found(text: &str) -> Vec<(usize, String, String)> {
        let document = description::parse(text.as_bytes(), "x.yaml").unwrap();
        let lines = Lines::of(text.as_bytes());
        let mut problems = valid::problems(&document);
        problems.extend(supported::problems(&document));
        problems
            .into_iter()
            .map(|problem| (lines.line(&problem.pointer), problem.pointer, problem.cause))
            .collect()
    }

    #[test]
    fn the_vendored_description_lacks_only_what_the_overlays_add() {
        let found = found(VENDORED);
        assert!(!found.is_empty());
        assert!(
            found
                .iter()
                .all(|(_, _, cause)| cause.contains("operationId") || cause.contains("x-extensible-enum")),
            "{found:?}"
        );
    }

    #[test]
    fn each_problem_has_its_place_and_line() {
        // Original text, replacement, the end of the pointer, and a part of the cause.
        let cases = [
            ("video_status: 2\n", "video_status: 9\n", "/example/data/video_status", "not valid against"),
            (
                "msg: OK\n                data:",
                "msg: 5\n                data:",
                "/example/msg",
                "not valid against",
            ),
            ("example: 1000", "example: many", "/properties/code/example", "not valid against"),
            (
                "$ref: '#/components/schemas/AudioSplits'",
                "$ref: '#/components/schemas/Nothing'",
                "/audio_splits/$ref",
                "does not exist",
            ),
            (
                "            type: string\n          description: >-\n            Video db",
                "            type: text\n          description: >-\n            Video db",
                "/schema/type",
                "not a type of OpenAPI 3.0",
            ),
            ("in: query", "in: cookie", "/parameters/0", "cookie"),
        ];
        for (original, replacement, end, says) in cases {
            assert!(VENDORED.contains(original), "{original}");
            let text = VENDORED.replacen(original, replacement, 1);
            let found = found(&text);
            let there =
                found.iter().find(|(_, pointer, cause)| pointer.ends_with(end) && cause.contains(says));
            let Some((line, pointer, _)) = there else { panic!("{replacement}: {found:?}") };
            let changed = text.lines().zip(VENDORED.lines()).position(|(a, b)| a != b).unwrap() + 1;
            assert!(line.abs_diff(changed) <= 1, "{pointer} at line {line}, but line {changed} was changed");
        }
    }

    #[test]
    fn an_invalid_document_has_a_place_and_a_line() {
        for (text, line, pointer) in [
            ("openapi: 3.0.3\ninfo: 3\npaths: {}\n", 2, "/info"),
            (
                "openapi: 3.0.3\ninfo: {title: t, version: '1'}\npaths:\n  /a:\n    get: 5\n",
                5,
                "/paths/~1a/get",
            ),
            ("openapi: 3.0.3\ninfo: {title: t, version: '1'}\nservers: 7\npaths: {}\n", 3, "/servers"),
        ] {
            let found = found(text);
            assert!(found.iter().any(|(at, place, _)| *at == line && place == pointer), "{text}: {found:?}");
        }
    }

    #[test]
    fn a_null_example_is_valid_only_if_null_is_allowed() {
        let text = "openapi: 3.0.3\ninfo: {title: t, version: '1'}\npaths: {}\ncomponents:\n  schemas:\n    \
                    A: {type: string, nullable: true, example: null}\n    B: {type: string, example: null}\n";
        let found = found(text);
        assert!(found.iter().all(|(_, pointer, _)| !pointer.contains("/A/")), "{found:?}");
        assert!(
            found.iter().any(|(line, pointer, _)| *line == 7 && pointer.contains("/B/example")),
            "{found:?}"
        );
    }

    #[test]
    fn an_action_that_changes_nothing_is_redundant() {
        let folder = tempfile::tempdir().unwrap();
        let overlays = folder.path().join("overlays");
        fs::create_dir(&overlays).unwrap();
        let text = include_str!("../../openapi/overlays/20-documented.yaml");
        fs::write(overlays.join("20-documented.yaml"), text).unwrap();
        let mut document = description::parse(VENDORED.as_bytes(), "x").unwrap();
        assert_eq!(redundant(&overlays, &document).unwrap(), []);
        // The vendor adds one of the fields with another description.
        document["components"]["schemas"]["VideoInfoResult"]["properties"]["progress"] =
            json!({"type": "integer", "description": "percent"});
        let found = redundant(&overlays, &document).unwrap();
        assert_eq!(found.len(), 1, "{found:?}");
        assert!(found[0].to_string().contains("20-documented.yaml, action 2"), "{found:?}");
    }
}
