//! The documents agree with the program.

use std::{collections::BTreeSet, env, fmt::Write, fs, path::Path};

use crate::{
    events,
    support::{akool, code, stdout},
};

const JSON: &str = include_str!("../../docs/json.md");

/// Adds the help of a command, and of the commands below it.
fn add_help(command: &[&str], document: &mut String) {
    let output = akool(&[command, &["--help"]].concat()).env("COLUMNS", "100").output().unwrap();
    assert_eq!(code(&output), 0);
    let help = stdout(&output);
    let name = [&["akool"], command].concat().join(" ");
    let help_text = help.trim_end();
    writeln!(document, "\n## `{name}`\n\n```text\n{help_text}\n```").unwrap();
    let commands = help.lines().skip_while(|line| *line != "Commands:").skip(1);
    for line in commands.take_while(|line| line.starts_with("  ")) {
        let below = line.split_whitespace().next().unwrap();
        if below != "help" {
            add_help(&[command, &[below]].concat(), document);
        }
    }
}

#[test]
fn the_command_reference_is_the_help_of_all_commands() {
    let mut document = "\
# Command reference

<!-- Printed from the help of the program; run this test with UPDATE_DOCS=1 to accept a change. -->

The first section has the global options, the exit codes and the environment variables.
"
    .to_owned();
    add_help(&[], &mut document);
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/commands.md");
    if env::var_os("UPDATE_DOCS").is_some() {
        fs::write(&path, &document).unwrap();
    }
    let committed = fs::read_to_string(&path).unwrap_or_default();
    assert!(committed == document, "docs/commands.md is out of date; run this test with UPDATE_DOCS=1");
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
