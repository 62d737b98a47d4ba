#![no_main]
#![allow(dead_code, unused_imports, reason = "the program uses the rest of these modules")]

#[path = "../../src/args/mod.rs"]
mod args;
#[path = "../../src/env.rs"]
mod env;
#[path = "../../src/input.rs"]
mod input;
#[path = "../../src/outcome.rs"]
mod outcome;
#[path = "../../src/resume.rs"]
mod resume;
#[path = "../../src/rows.rs"]
mod rows;

use std::sync::LazyLock;

use args::{Cli, Command, Request};
use clap::Parser;
use libfuzzer_sys::{
    arbitrary::{self, Arbitrary},
    fuzz_target,
};

static DEFAULTS: LazyLock<Request> = LazyLock::new(|| {
    match Cli::parse_from(["akool", "translate", "--from-file", "-", "--to", "es"]).command {
        Command::Translate(translate) => translate.request,
        _ => unreachable!(),
    }
});

/// Names of columns and members, and one that is not known.
const NAMES: [&str; 12] = [
    "url",
    "to",
    "lipsync",
    "speakers",
    "style",
    "captions",
    "source-language",
    "keep_word",
    "translate-word",
    "pronounce-word",
    "Caption-File",
    "colour",
];

fn name(number: &u8) -> &'static str {
    NAMES[usize::from(*number) % NAMES.len()]
}

/// A file of any bytes; of CSV with these columns and this text below; or of JSON lines with these members.
#[derive(Debug, Arbitrary)]
enum File<'a> {
    Any(&'a [u8]),
    Csv(Vec<u8>, &'a str),
    Json(Vec<Vec<(u8, Result<&'a str, Vec<&'a str>>)>>),
}

impl File<'_> {
    fn bytes(&self) -> Vec<u8> {
        match self {
            Self::Any(bytes) => bytes.to_vec(),
            Self::Csv(columns, text) => {
                let names: Vec<_> = ["url"].into_iter().chain(columns.iter().map(name)).collect();
                format!("{}\n{text}", names.join(",")).into_bytes()
            }
            Self::Json(rows) => {
                let member = |(key, value): &(u8, Result<&str, Vec<&str>>)| {
                    let value = value
                        .as_ref()
                        .map_or_else(|list| serde_json::json!(list), |text| serde_json::json!(text));
                    format!("{:?}:{value}", name(key))
                };
                let line =
                    |row: &Vec<_>| format!("{{{}}}\n", row.iter().map(member).collect::<Vec<_>>().join(","));
                rows.iter().map(line).collect::<String>().into_bytes()
            }
        }
    }
}

fuzz_target!(|file: File<'_>| {
    let bytes = file.bytes();
    let Ok(rows) = rows::parse(&bytes, &DEFAULTS) else { return };
    let lines = bytes.iter().filter(|byte| **byte == b'\n').count() as u64 + 1;
    let mut before = 0;
    for (line, row) in rows {
        assert!(before <= line && (1..=lines).contains(&line), "{line} of {lines}");
        before = line;
        match row {
            Ok(row) => assert!(!row.url.is_empty()),
            Err(error) => assert!(!error.is_empty() && !error.contains('\n'), "{error:?}"),
        }
    }
});
