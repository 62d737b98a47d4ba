//! The documents agree with the program.

use std::{collections::BTreeSet, fs, path::Path};

use crate::{
    events,
    support::{akool, code, stdout},
};

const README: &str = include_str!("../../README.md");
const JSON: &str = include_str!("../../docs/json.md");

/// The lines of a section of the help text, as pairs of a term and its meaning.
fn section(help: &str, heading: &str) -> Vec<(String, String)> {
    let lines = help.lines().skip_while(|line| *line != heading).skip(1);
    let lines = lines.take_while(|line| line.starts_with("  "));
    let pairs = lines.filter_map(|line| line.trim().split_once("  "));
    pairs.map(|(term, meaning)| (term.to_owned(), meaning.trim().to_owned())).collect()
}

#[test]
fn the_readme_has_the_exit_codes_and_variables_of_the_help_text() {
    let help = akool(&["--help"]).output().unwrap();
    assert_eq!(code(&help), 0);
    let help = stdout(&help);
    let (codes, variables) = (section(&help, "Exit codes:"), section(&help, "Environment:"));
    assert_eq!((codes.len(), variables.len()), (12, 14), "{help}");
    for (code, meaning) in codes {
        let row = format!("| {code} | {meaning} |");
        assert!(README.contains(&row), "README.md lacks: {row}");
    }
    for (name, meaning) in variables {
        let row = format!("| `{name}` | {meaning} |");
        assert!(README.contains(&row), "README.md lacks: {row}");
    }
    let precedence = help.lines().find(|line| line.starts_with("If several apply")).unwrap();
    assert!(README.contains(precedence), "README.md lacks: {precedence}");
}

/// The string literals that follow one of these patterns in the sources of the program, ignoring whitespace.
fn literals(patterns: &[&str]) -> BTreeSet<String> {
    let mut folders = vec![Path::new(env!("CARGO_MANIFEST_DIR")).join("src")];
    let mut literals = BTreeSet::new();
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
                continue;
            }
            let mut source = fs::read_to_string(&path).unwrap();
            source.retain(|letter| !letter.is_whitespace());
            for pattern in patterns {
                let rest = source.split(pattern).skip(1);
                literals.extend(rest.map(|rest| rest.split('"').next().unwrap().to_owned()));
            }
        }
    }
    literals
}

#[test]
fn every_event_and_kind_of_error_is_in_the_schema() {
    let (events, kinds) = events::names();
    let used = literals(&[r#""event":""#, r#"event:""#, r#".of(""#]);
    assert!(used.len() > 15, "{used:?}");
    for event in used {
        assert!(events.contains(&event.as_str()), "docs/events.schema.json lacks {event}");
    }
    let errors =
        [r#".error(None,""#, r#".error(Some(&id),""#, r#".error(Some(id),""#, r#".failure(Some(id),""#];
    let used = literals(&errors);
    assert!(used.contains("not_completed") && used.contains("usage"), "{used:?}");
    for kind in used {
        assert!(kinds.contains(&kind.as_str()), "docs/events.schema.json lacks {kind}");
        assert!(JSON.contains(&format!("`{kind}`")), "docs/json.md lacks {kind}");
    }
}

#[test]
fn the_code_in_the_page_about_the_sandbox_is_that_of_the_examples() {
    let examples = Path::new(env!("CARGO_MANIFEST_DIR")).join("../akool-mock/examples");
    let page = include_str!("../../docs/sandbox.md");
    for (language, folder, blocks) in [("python", "python", 2), ("ts", "typescript", 2), ("bash", "shell", 2)]
    {
        let files = fs::read_dir(examples.join(folder)).unwrap().map(|entry| entry.unwrap().path());
        let sources: Vec<_> = files.filter(|path| path.is_file()).map(fs::read_to_string).collect();
        let found: Vec<_> = page.split(&format!("```{language}\n")).skip(1).collect();
        assert_eq!(found.len(), blocks, "{language}");
        for block in found {
            let code = block.split("```").next().unwrap();
            let is_used = sources.iter().any(|source| source.as_ref().is_ok_and(|text| text.contains(code)));
            assert!(is_used, "docs/sandbox.md has code that is not in examples/{folder}:\n{code}");
        }
    }
}
