#![no_main]
use libfuzzer_sys::fuzz_target;
use openapi_keeper::diff;
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
        assert!(diff::compare(one, one).is_empty());
        let (there, back) = (diff::compare(one, other), diff::compare(other, one));
        assert_eq!(there.is_empty(), back.is_empty());
        let _ = diff::print(&there, diff::Format::Markdown, &[]);
    }
});
