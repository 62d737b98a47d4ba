//! What holds for the comparison and the compilation of any descriptions.

use openapi_keeper::{
    contract, description,
    diff::{self, Verdict},
    openapi::{self, each_child},
};
use proptest::{prelude::*, test_runner::RngSeed};
use serde_json::{Value, json};

/// A description with the same schema in a request and a response.
fn with(schema: &Value) -> Value {
    let content = json!({"application/json": {"schema": schema}});
    json!({
        "openapi": "3.0.3",
        "info": {"title": "t", "version": "1"},
        "security": [{"Key": []}],
        "paths": {"/a": {"post": {
            "operationId": "a",
            "parameters": [{"name": "q", "in": "query", "schema": {"type": "string"}}],
            "requestBody": {"content": content},
            "responses": {"200": {"description": "d", "content": content}}
        }}},
        "components": {
            "schemas": {
                "Name": {"type": "string"},
                "Loop": {"properties": {"next": {"$ref": "#/components/schemas/Loop"}}}
            },
            "securitySchemes": {"Key": {"type": "apiKey", "in": "header", "name": "k"}}
        }
    })
}

/// Schemas of OpenAPI 3.0, and some that are not valid.
fn schema() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(json!({})),
        Just(json!({"$ref": "#/components/schemas/Name"})),
        Just(json!({"$ref": "#/components/schemas/Loop"})),
        Just(json!({"$ref": "#/nowhere"})),
        Just(json!("not a schema")),
        (0..4_usize, any::<bool>()).prop_map(|(kind, nullable)| {
            let kind = ["string", "integer", "number", "boolean"][kind];
            json!({"type": kind, "nullable": nullable})
        }),
        proptest::collection::vec(0..5_i64, 0..4).prop_map(|values| json!({"enum": values})),
    ];
    leaf.prop_recursive(3, 24, 4, |inner| {
        let fields = proptest::collection::btree_map("[a-c]|description|required", inner.clone(), 0..4);
        let required = proptest::collection::vec("[a-d]", 0..3);
        prop_oneof![
            (fields, required).prop_map(|(fields, required)| {
                json!({"type": "object", "properties": fields, "required": required})
            }),
            proptest::collection::vec(inner.clone(), 0..3).prop_map(|all| json!({"allOf": all})),
            proptest::collection::vec(inner.clone(), 0..3).prop_map(|any| json!({"oneOf": any})),
            proptest::collection::vec(inner.clone(), 0..3).prop_map(|any| json!({"anyOf": any})),
            inner.clone().prop_map(|items| json!({"type": "array", "items": items})),
            inner.prop_map(|entries| json!({"type": "object", "additionalProperties": entries})),
        ]
    })
}

fn document() -> impl Strategy<Value = Value> {
    (schema(), schema()).prop_map(|(one, name)| {
        let mut document = with(&one);
        document["components"]["schemas"]["Name"] = name;
        document
    })
}

/// The pointers to all schemas within a schema.
fn places(schema: &Value, at: &str, found: &mut Vec<String>) {
    found.push(at.to_owned());
    for key in ["properties", "oneOf", "anyOf"] {
        if let Some(value) = schema.get(key) {
            each_child(value, &format!("{at}/{key}"), |child, at| places(child, at, found));
        }
    }
    for key in ["items", "additionalProperties"] {
        if let Some(value) = schema.get(key).filter(|value| value.is_object()) {
            places(value, &format!("{at}/{key}"), found);
        }
    }
}

/// Edits one schema within a schema, as a vendor would.
fn edit(schema: &Value, place: usize, kind: usize, number: i64) -> Value {
    let mut whole = schema.clone();
    let mut all = Vec::new();
    places(schema, "", &mut all);
    let Some(Value::Object(target)) = whole.pointer_mut(&all[place % all.len()]) else { return whole };
    let has = |target: &serde_json::Map<String, Value>, kind: &str| target.get("type") == Some(&kind.into());
    let name = ["a", "b", "c", "d"][usize::try_from(number).unwrap_or_default() % 4];
    match kind {
        0 if has(target, "string") => drop(target.insert("maxLength".into(), (number + 1).into())),
        1 if has(target, "string") => drop(target.insert("minLength".into(), number.into())),
        2 if has(target, "integer") => drop(target.insert("maximum".into(), number.into())),
        3 if has(target, "integer") => drop(target.insert("minimum".into(), number.into())),
        4 if has(target, "integer") => drop(target.insert("type".into(), "number".into())),
        5 if has(target, "number") => drop(target.insert("type".into(), "integer".into())),
        6 if target.contains_key("type") => drop(target.insert("nullable".into(), (number % 2 == 0).into())),
        7 => drop(target.remove("maxLength")),
        8 => drop(target.remove("maximum")),
        9 if has(target, "object") => {
            let fields = target.entry("properties").or_insert_with(|| json!({}));
            fields[name] =
                if number % 2 == 0 { json!({"type": "string"}) } else { json!({"type": "integer"}) };
        }
        10 => {
            if let Some(Value::Object(fields)) = target.get_mut("properties") {
                fields.remove(name);
            }
        }
        11 if has(target, "object") => drop(target.insert("required".into(), json!([name]))),
        12 => drop(target.remove("required")),
        13 if has(target, "object") => drop(target.insert("additionalProperties".into(), false.into())),
        14 if has(target, "object") => {
            drop(target.insert("additionalProperties".into(), json!({"type": "string"})));
        }
        15 => drop(target.remove("additionalProperties")),
        16 => {
            if let Some(Value::Array(values)) = target.get_mut("enum") {
                values.push(number.into());
            }
        }
        17 => {
            if let Some(Value::Array(values)) = target.get_mut("enum") {
                values.retain(|value| *value != number);
            }
        }
        18 if has(target, "string") => drop(target.insert("pattern".into(), format!("^{name}").into())),
        19 => drop(target.remove("pattern")),
        20 if has(target, "string") => {
            drop(target.insert("format".into(), ["uri", "email"][usize::from(number % 2 == 0)].into()))
        }
        21 => drop(target.remove("format")),
        22 => {
            if let Some(Value::Array(any)) = target.get_mut("anyOf") {
                any.push(json!({"type": "object", "properties": {name: {"type": "string"}, "z": {}}}));
            }
        }
        23 => {
            if let Some(Value::Array(any)) = target.get_mut("anyOf") {
                any.truncate(1);
            }
        }
        24 if has(target, "integer") => drop(target.insert("multipleOf".into(), (number + 1).into())),
        25 => drop(target.remove("multipleOf")),
        26 if target.contains_key("type") => drop(target.insert("default".into(), number.into())),
        27 => drop(target.remove("default")),
        28 => drop(target.insert("readOnly".into(), (number % 2 == 0).into())),
        29 => drop(target.insert("writeOnly".into(), (number % 2 == 0).into())),
        _ => {}
    }
    whole
}

type Edit = (usize, usize, i64);

fn edits() -> impl Strategy<Value = Vec<Edit>> {
    proptest::collection::vec((0..12_usize, 0..30_usize, 0..6_i64), 1..3)
}

fn edited(schema: &Value, edits: &[Edit]) -> Value {
    edits.iter().fold(schema.clone(), |schema, (place, kind, number)| edit(&schema, *place, *kind, *number))
}

/// The verdicts on the request and on the response.
fn verdicts(old: &Value, new: &Value) -> [Option<Verdict>; 2] {
    let found = diff::compare(&with(old), &with(new));
    ["request-", "response-"].map(|side| {
        found.iter().filter(|finding| finding.rule.starts_with(side)).map(|finding| finding.verdict).max()
    })
}

/// The name of a rule without what tells it from its inverse.
fn class(rule: &str) -> String {
    const PAIRS: [(&str, &str); 20] = [
        ("required-property-", "property-"),
        ("required-read-only", "read-only"),
        ("one-of-became-any-of", "any-of-or-one-of"),
        ("any-of-became-one-of", "any-of-or-one-of"),
        ("alternative-split", "alternative"),
        ("alternative-merged", "alternative"),
        ("-forbidden", ""),
        ("-allowed", ""),
        ("-restricted", ""),
        ("-opened", ""),
        ("-became-required", "-need"),
        ("-became-optional", "-need"),
        ("-increased", ""),
        ("-decreased", ""),
        ("-widened", ""),
        ("-narrowed", ""),
        ("-added", ""),
        ("-removed", ""),
        ("undeprecated", "deprecated"),
        ("-changed", ""),
    ];
    PAIRS.iter().fold(rule.to_owned(), |rule, (from, to)| rule.replace(from, to))
}

fn classes(old: &Value, new: &Value) -> Vec<String> {
    let mut all: Vec<_> = diff::compare(old, new).iter().map(|finding| class(&finding.rule)).collect();
    all.sort();
    // Two alternatives can lead to one pointer.
    all.dedup();
    all
}

proptest! {
    // The same cases on every run; the fuzz targets explore.
    #![proptest_config(ProptestConfig { rng_seed: RngSeed::Fixed(7), failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_difference_to_itself_is_empty(document in document()) {
        prop_assert_eq!(diff::compare(&document, &document), []);
        prop_assert_eq!(diff::compare(&document, &openapi::sorted(&document)), []);
    }

    #[test]
    fn an_exported_document_imports_without_changes(document in document()) {
        let exported = description::to_yaml(&document).unwrap();
        let imported = description::parse(exported.as_bytes(), "exported.yaml").unwrap();
        // The order must be the same as well.
        prop_assert_eq!(imported.to_string(), document.to_string());
        prop_assert_eq!(diff::compare(&document, &imported), []);
    }

    #[test]
    fn the_way_back_reverses_each_change(one in document(), other in document()) {
        prop_assert_eq!(classes(&one, &other), classes(&other, &one));
    }

    #[test]
    fn the_way_back_reverses_each_edit(schema in schema(), edits in edits()) {
        let (one, other) = (with(&schema), with(&edited(&schema, &edits)));
        prop_assert_eq!(classes(&one, &other), classes(&other, &one));
    }

    #[test]
    fn two_steps_are_at_most_as_bad_as_the_worse_one(schema in schema(), first in edits(), second in edits()) {
        let middle = edited(&schema, &first);
        let last = edited(&middle, &second);
        let (there, on, whole) =
            (verdicts(&schema, &middle), verdicts(&middle, &last), verdicts(&schema, &last));
        for side in 0..2 {
            prop_assert!(
                whole[side] <= there[side].max(on[side]),
                "side {}: {:?} {:?} {:?}\n{}\n{}\n{}\n{}", side, there[side], on[side], whole[side], schema, middle, last,
                diff::print(&diff::compare(&with(&schema), &with(&last)), diff::Format::Text, &[]).unwrap(),
            );
        }
    }

    #[test]
    fn a_compiled_schema_stands_where_the_description_has_it(document in document()) {
        // A schema that cannot be fulfilled, such as an empty `anyOf`, is an error.
        let contract = contract::compile(&document);
        prop_assume!(contract.is_ok());
        let contract = contract.unwrap();
        for messages in ["request", "response"].iter().filter_map(|direction| contract.get(direction)) {
            let shapes = messages["shapes"].as_object().unwrap();
            prop_assert!(shapes.keys().all(|name| document.pointer(name.split(" + ").next().unwrap()).is_some()));
            let fields = shapes.values().filter_map(|shape| shape["fields"].as_object()).flatten();
            for (_, field) in fields {
                let field = field.as_str().unwrap();
                prop_assert!(shapes.contains_key(field) || messages["schemas"].pointer(field).is_some(), "{}", field);
            }
        }
        for named in contract["named"].as_object().unwrap().values() {
            prop_assert!(contract["response"]["schemas"].pointer(named["pointer"].as_str().unwrap()).is_some());
        }
    }

    #[test]
    fn an_invalid_document_does_not_panic(
        document in document(),
        at in 0..40_usize,
        instead in prop_oneof![Just(json!(null)), Just(json!([])), Just(json!({})), Just(json!("x")), Just(json!(7))],
    ) {
        let mut invalid = document.clone();
        // Replace the value at one place.
        let mut all = Vec::new();
        fn walk(value: &Value, at: &str, places: &mut Vec<String>) {
            places.push(at.to_owned());
            each_child(value, at, |child, at| walk(child, at, places));
        }
        walk(&document, "", &mut all);
        *invalid.pointer_mut(&all[at % all.len()]).unwrap() = instead;
        let _ = (diff::compare(&document, &invalid), diff::compare(&invalid, &document));
        let _ = contract::compile(&invalid);
    }
}
