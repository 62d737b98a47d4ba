#![no_main]
#![allow(dead_code)]

#[path = "../../src/diff.rs"]
mod diff;
#[path = "../../src/normal.rs"]
mod normal;
#[path = "../../src/openapi.rs"]
mod openapi;
#[path = "../../src/semver.rs"]
mod semver;

use libfuzzer_sys::fuzz_target;
use serde_json::{Value, json};

fuzz_target!(|input: (&str, &str)| {
    let parse = |text: &str| {
        let schema: Value = serde_json::from_str(text).ok()?;
        // As a whole document, and as the schema of an operation, which the diff compares in detail.
        let around = json!({
            "openapi": "3.0.3",
            "paths": {"/a": {"post": {
                "requestBody": {"content": {"application/json": {"schema": schema}}},
                "responses": {"200": {"content": {"application/json": {"schema": schema}}}}
            }}},
            "components": {"schemas": {"A": schema}}
        });
        Some([schema, around])
    };
    let (Some(one), Some(other)) = (parse(input.0), parse(input.1)) else { return };
    for (one, other) in one.iter().zip(&other) {
        assert!(diff::changes(one, one).is_empty());
        let (there, back) = (diff::changes(one, other), diff::changes(other, one));
        assert_eq!(there.len(), back.len());
        let _ = diff::to_text(&there);
    }
});
