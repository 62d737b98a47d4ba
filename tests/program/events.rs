//! The events of `--json`: [`check`] validates those that the tests see, and docs/json.md lists them.

use std::{collections::BTreeMap, sync::LazyLock};

use jsonschema::Validator;
use serde_json::{Map, Value, json};

const SCHEMA: &str = include_str!("../../docs/events.schema.json");
const DOCUMENT: &str = "../../docs/json.md";

static EVENTS: LazyLock<Map<String, Value>> = LazyLock::new(|| {
    let schema: Value = serde_json::from_str(SCHEMA).unwrap();
    schema["$defs"].as_object().unwrap().clone()
});

static VALIDATORS: LazyLock<BTreeMap<&str, Validator>> = LazyLock::new(|| {
    let validator =
        |schema: &Value| jsonschema::options().should_validate_formats(true).build(schema).unwrap();
    EVENTS.iter().map(|(event, schema)| (event.as_str(), validator(schema))).collect()
});

/// Validates each complete line of stdout that is an event.
pub(crate) fn check(stdout: &[u8]) {
    let lines = stdout.split_inclusive(|byte| *byte == b'\n').filter(|line| line.ends_with(b"\n"));
    for line in lines.filter(|line| line.starts_with(b"{\"event\":")) {
        let object: Value = serde_json::from_slice(line).unwrap();
        let event = object["event"].as_str().unwrap();
        assert!(VALIDATORS.contains_key(event), "docs/events.schema.json lacks {event}");
        let validator = &VALIDATORS[event];
        let errors =
            validator.iter_errors(&object).map(|error| format!("{}: {error}", error.instance_path()));
        let errors: Vec<_> = errors.collect();
        assert!(errors.is_empty(), "not as docs/events.schema.json has it: {object}\n{}", errors.join("\n"));
    }
}

/// The names of the events, and the kinds of errors.
pub(crate) fn names() -> (Vec<&'static str>, Vec<&'static str>) {
    let kinds = EVENTS["error"]["properties"]["kind"]["enum"].as_array().unwrap();
    (EVENTS.keys().map(String::as_str).collect(), kinds.iter().map(|kind| kind.as_str().unwrap()).collect())
}

#[test]
fn the_schema_is_valid_and_has_every_event_as_an_alternative() {
    let schema: Value = serde_json::from_str(SCHEMA).unwrap();
    jsonschema::meta::validate(&schema).unwrap();
    let alternatives: Vec<_> =
        EVENTS.keys().map(|event| json!({ "$ref": format!("#/$defs/{event}") })).collect();
    assert_eq!(schema["oneOf"], json!(alternatives));
    let whole = jsonschema::validator_for(&schema).unwrap();
    assert!(whole.is_valid(&json!({ "event": "credits", "credits": 1.5 })));
    for wrong in [
        json!({ "event": "credits" }),
        json!({ "event": "new" }),
        json!({ "event": "credits", "credits": 1, "x": 1 }),
    ] {
        assert!(!whole.is_valid(&wrong), "{wrong}");
    }
}

#[test]
#[should_panic(expected = "credits")]
fn an_event_that_is_not_as_documented_fails_a_test() {
    check(b"{\"event\":\"credits\",\"credits\":null}\n");
}

#[test]
fn the_document_lists_the_events_of_the_schema() {
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join(DOCUMENT);
    let committed = std::fs::read_to_string(&path).unwrap();
    let (before, rest) = committed.split_once("| `event` |").unwrap();
    let (_, after) = rest.split_once("\n\n").unwrap();
    let rows: String = EVENTS.iter().map(|(event, schema)| row(event, schema)).collect();
    let document = format!("{before}| `event` | when | members |\n|---|---|---|\n{rows}\n{after}");
    if std::env::var_os("UPDATE_DOCS").is_some() {
        std::fs::write(path, &document).unwrap();
    }
    assert!(committed == document, "docs/json.md is out of date; run this test with UPDATE_DOCS=1");
}

/// A row of the table. The members that every event of a job has are in the text above it.
fn row(event: &str, schema: &Value) -> String {
    let properties = schema["properties"].as_object().unwrap();
    let job = EVENTS["update"]["properties"].as_object().unwrap();
    let has_job = job.keys().all(|name| properties.contains_key(name));
    let required = schema["required"].as_array().unwrap();
    let members =
        properties.iter().filter(|(name, _)| *name != "event" && !(has_job && job.contains_key(*name)));
    let (always, others): (Vec<_>, Vec<_>) = members.partition(|(name, _)| required.contains(&json!(name)));
    let list = |members: Vec<(&String, &Value)>| {
        // What several events have in common is in the text above the table.
        let is_common = |name: &String, meaning: &Value| {
            let events = EVENTS.values();
            events.filter(|event| event["properties"][name]["description"] == *meaning).count() > 1
        };
        let member = |(name, schema): (&String, &Value)| match schema["description"].as_str() {
            Some(meaning) if !is_common(name, &schema["description"]) => format!("`{name}` ({meaning})"),
            _ => format!("`{name}`"),
        };
        members.into_iter().map(member).collect::<Vec<_>>().join(", ")
    };
    let only_id = has_job && !required.contains(&json!("status"));
    let mut parts = Vec::new();
    if has_job {
        parts.push(if only_id { "if known the job members" } else { "the job members" }.to_owned());
    }
    if !always.is_empty() {
        parts.push(list(always));
    }
    if !others.is_empty() {
        parts.push(format!("in some cases {}", list(others)));
    }
    format!("| `{event}` | {} | {} |\n", schema["description"].as_str().unwrap(), parts.join("; "))
}
