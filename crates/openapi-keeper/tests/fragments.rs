//! The verdict on each fragment of `fragments.yaml`, in both directions.

use std::fmt::Write as _;

use openapi_keeper::{
    description,
    diff::{self, Finding, Verdict},
};
use serde_json::{Value, json};

const FRAGMENTS: &str = include_str!("fragments.yaml");

/// The base document with a schema in a request or a response.
fn with_schema(base: &Value, schema: &Value, sent: bool) -> Value {
    let mut document = base.clone();
    let operation = &mut document["paths"]["/a"]["post"];
    let content = json!({ "application/json": { "schema": schema } });
    let carrier = if sent { &mut operation["requestBody"] } else { &mut operation["responses"]["200"] };
    carrier["content"] = content;
    document
}

/// JSON Merge Patch (RFC 7396).
fn merged(target: &Value, patch: &Value) -> Value {
    let Some(patch) = patch.as_object() else { return patch.clone() };
    let mut whole = target.as_object().cloned().unwrap_or_default();
    for (key, value) in patch {
        if value.is_null() {
            whole.remove(key);
        } else {
            let there = whole.get(key).unwrap_or(&Value::Null);
            whole.insert(key.clone(), merged(there, value));
        }
    }
    Value::Object(whole)
}

fn verdict(findings: &[Finding]) -> String {
    diff::worst(findings).map_or("none".to_owned(), |verdict| verdict.to_string())
}

/// The name of a rule without the direction.
fn short(rule: &str) -> String {
    rule.strip_prefix("request-").or_else(|| rule.strip_prefix("response-")).unwrap_or(rule).to_owned()
}

/// The names of the rules without the direction.
fn rules(findings: &[Finding]) -> Vec<String> {
    findings.iter().map(|finding| short(&finding.rule)).collect()
}

fn list(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}

fn sorted(mut names: Vec<String>) -> Value {
    names.sort();
    names.dedup();
    json!(names)
}

#[test]
fn each_fragment_has_its_verdict_in_both_directions() {
    let table = description::parse(FRAGMENTS.as_bytes(), "fragments.yaml").unwrap();
    let base = &table["base"];
    let mut wrong = String::new();
    let mut count = 0;
    for fragment in list(&table["schemas"]) {
        for (way, from, to) in [("there", "before", "after"), ("back", "after", "before")] {
            let found = |sent| {
                let document = |key: &str| with_schema(base, &fragment[key], sent);
                diff::compare(&document(from), &document(to))
            };
            let (sent, received) = (found(true), found(false));
            let all = [rules(&sent), rules(&received)].concat();
            let actual =
                json!({"sent": verdict(&sent), "received": verdict(&received), "rules": sorted(all)});
            if actual != fragment[way] {
                writeln!(wrong, "{} ({way}): {actual}, not {}", fragment["name"], fragment[way]).unwrap();
            }
        }
        count += 1;
    }
    for fragment in list(&table["documents"]) {
        for (way, from, to) in [("there", "before", "after"), ("back", "after", "before")] {
            let document = |key: &str| merged(base, &fragment[key]);
            let found = diff::compare(&document(from), &document(to));
            let all = found.iter().map(|finding| finding.rule.clone()).collect();
            let actual = json!({"verdict": verdict(&found), "rules": sorted(all)});
            if actual != fragment[way] {
                writeln!(wrong, "{} ({way}): {actual}, not {}", fragment["name"], fragment[way]).unwrap();
            }
        }
        count += 1;
    }
    assert!(wrong.is_empty(), "{wrong}");
    assert!(count >= 150, "the table has {count} fragments only");
}

#[test]
fn a_change_is_reported_in_both_directions() {
    let table = description::parse(FRAGMENTS.as_bytes(), "fragments.yaml").unwrap();
    for fragment in list(&table["schemas"]) {
        let verdict = |way: &str, side: &str| fragment[way][side].as_str().unwrap_or_default().to_owned();
        // Nobody can be affected by one direction only if nothing changed.
        let none = |way| verdict(way, "sent") == "none" && verdict(way, "received") == "none";
        assert_eq!(none("there"), none("back"), "{}", fragment["name"]);
    }
}

#[test]
fn every_rule_has_a_fragment() {
    // A schema that is not an object.
    const WITHOUT: [&str; 1] = ["schema-changed"];
    let table = description::parse(FRAGMENTS.as_bytes(), "fragments.yaml").unwrap();
    let fragments = list(&table["schemas"]).chain(list(&table["documents"]));
    let used: Vec<String> = fragments
        .flat_map(|fragment| ["there", "back"].map(|way| fragment[way]["rules"].clone()))
        .flat_map(|rules| {
            list(&rules).map(|rule| short(rule.as_str().unwrap_or_default())).collect::<Vec<_>>()
        })
        .collect();
    let missing: std::collections::BTreeSet<String> = diff::rules()
        .into_iter()
        .map(|rule| short(&rule.name))
        .filter(|name| !used.contains(name) && !WITHOUT.contains(&&name[..]))
        .collect();
    assert_eq!(missing, std::collections::BTreeSet::new());
}

#[test]
fn the_names_of_rules_are_unique() {
    let mut names: Vec<_> = diff::rules().into_iter().map(|rule| rule.name).collect();
    let count = names.len();
    names.sort();
    names.dedup();
    assert_eq!(names.len(), count);
}

#[test]
fn the_committed_document_matches_the_rules() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/spec-diff.md");
    let document = diff::page();
    if std::env::var_os("UPDATE_DOCS").is_some() {
        std::fs::write(path, &document).unwrap();
    }
    let committed = std::fs::read_to_string(path).unwrap_or_default();
    assert!(committed == document, "docs/spec-diff.md is out of date; run this test with UPDATE_DOCS=1");
}

#[test]
fn a_changed_component_is_one_finding_with_its_places() {
    let schema = |kind: &str| {
        let reference =
            json!({"content": {"application/json": {"schema": {"$ref": "#/components/schemas/A"}}}});
        let item = json!({"get": {"responses": {"200": reference, "404": reference}}});
        json!({
            "paths": {"/a": item, "/b": item},
            "components": {"schemas": {
                "A": {"properties": {"b": {"$ref": "#/components/schemas/B"}, "c": {"$ref": "#/components/schemas/B"}}},
                "B": {"allOf": [{"$ref": "#/components/schemas/C"}]},
                "C": {"properties": {"d": {"type": kind}}}
            }}
        })
    };
    let found = diff::compare(&schema("string"), &schema("integer"));
    let [only] = &found[..] else { panic!("{found:#?}") };
    assert_eq!(only.component.as_deref(), Some("/components/schemas/C/properties/d/type"));
    assert_eq!(only.places, 4);
    assert_eq!(
        only.pointer,
        "/paths/~1a/get/responses/200/content/application~1json/schema/properties/b/properties/d/type"
    );
}

#[test]
fn accepted_findings_do_not_count() {
    let table = description::parse(FRAGMENTS.as_bytes(), "fragments.yaml").unwrap();
    let schema = |name: &str| {
        with_schema(&table["base"], &json!({"$ref": format!("#/components/schemas/{name}")}), false)
    };
    let mut found = diff::compare(&schema("Cat"), &schema("Dog"));
    assert_eq!(diff::worst(&found), Some(Verdict::Breaking));
    let list = |pointer: &str, reason: &str| {
        format!(
            "[[accepted]]\nrule = 'response-property-removed'\npointer = '{pointer}'\nreason = '{reason}'\n"
        )
    };
    let pointer = "/components/schemas/Cat/properties/purrs";
    let text = list(pointer, "no cat purrs") + &list("/paths/~1b", "gone");
    let unused = diff::Accepted::parse(&text).unwrap().apply(&mut found);
    assert_eq!(unused, ["`response-property-removed` at /paths/~1b"]);
    assert_eq!(diff::worst(&found), Some(Verdict::Additive), "{found:#?}");
    let printed = diff::print(&found, diff::Format::Text, &[]).unwrap();
    assert!(printed.contains("(accepted: no cat purrs)") && printed.contains("1 accepted"), "{printed}");
    for (text, says) in [
        (list(pointer, " "), "has no reason"),
        (list(pointer, "x").replace("property-removed", "nothing"), "`response-nothing` is not a rule"),
        ("[[accepted]]\nrule = 'x'\n".to_owned(), "pointer"),
    ] {
        let error = format!("{:#}", diff::Accepted::parse(&text).unwrap_err());
        assert!(error.contains(says), "{error}");
    }
}

#[test]
fn each_format_names_rule_place_and_reason() {
    let document = |max: u8| {
        json!({"paths": {"/a|b": {"get": {"parameters": [
        {"name": "q", "in": "query", "schema": {"type": "string", "maxLength": max}}
    ], "responses": {}}}}})
    };
    let found = diff::compare(&document(5), &document(4));
    for (format, says) in [
        (
            diff::Format::Text,
            "breaking  /paths/~1a|b/get/parameters/query q/schema/maxLength\n          request-max-length-decreased: \
             the maximum length is lower: 5 -> 4; what callers send may be rejected\n1 breaking, 0 additive, 0 docs\n",
        ),
        (diff::Format::Json, "\"rule\": \"request-max-length-decreased\""),
        (
            diff::Format::Markdown,
            "| `/paths/~1a\\|b/get/parameters/query q/schema/maxLength` | `request-max-length",
        ),
        (diff::Format::Github, "::error title=request-max-length-decreased::/paths/~1a|b/get"),
    ] {
        let text = diff::print(&found, format, &[]).unwrap();
        assert!(text.contains(says), "{text}");
    }
}

#[test]
fn text_of_the_vendor_is_only_in_code_in_markdown() {
    let document = |text: &str| {
        json!({"paths": {"/a": {"get": {"responses": {"200": {"content": {"application/json": {"schema": {
            "type": "string", "description": text}}}}}}}}})
    };
    let found = diff::compare(&document("a"), &document("@team `<b> [x](https://example.com)|"));
    let text = diff::print(&found, diff::Format::Markdown, &[]).unwrap();
    assert!(text.contains("`\"@team '<b> [x](https://example.com)\\|\"`"), "{text}");
}

#[test]
fn a_name_of_the_vendor_starts_no_line_and_no_control_sequence() {
    let document = json!({"paths": {"/a\r\n# b`\u{1b}[31m": {"get": {}}}});
    let found = diff::compare(&document, &json!({}));
    for (format, lines) in [(diff::Format::Text, 3), (diff::Format::Markdown, 7)] {
        let text = diff::print(&found, format, &[]).unwrap();
        assert!(!text.contains(['\r', '\u{1b}']) && text.lines().count() == lines, "{text:?}");
    }
}
