//! The flat form of a schema: references followed, `allOf` merged, and spellings with the same meaning
//! made one. It is one level deep, so a description of any size can be compared piece by piece.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use crate::openapi::{DOCS, elements, is_true, members, resolve, sorted};

/// A schema in flat form.
#[derive(Default)]
pub(super) struct Flat {
    /// The keywords. `type` is a sorted list that includes `null`; a bound is exclusive if its `exclusive…` is true.
    pub(super) words: Map<String, Value>,
    /// The component that a keyword (`type`) or a field (`properties/NAME`) comes from, as a pointer.
    pub(super) origins: BTreeMap<String, String>,
}

/// The flat form of a schema in a document.
pub(super) fn flat(document: &Value, schema: &Value) -> Flat {
    let mut flat = Flat::default();
    absorb(document, schema, None, &mut Vec::new(), &mut flat);
    flat.words.retain(|key, value| !is_default(key, value));
    flat
}

impl Flat {
    /// The keyword, if it is there.
    pub(super) fn get(&self, key: &str) -> Option<&Value> {
        self.words.get(key)
    }

    /// The schema without its alternatives.
    pub(super) fn rest(&self) -> Value {
        let rest = self.words.iter().filter(|(key, _)| !CHOICE.contains(&key.as_str()));
        Value::Object(rest.map(|(key, value)| (key.clone(), value.clone())).collect())
    }

    /// The allowed types; `None` if all are.
    pub(super) fn types(&self) -> Option<Vec<&str>> {
        self.get("type").map(|types| elements(Some(types)).filter_map(Value::as_str).collect())
    }
}

/// The keywords of alternatives.
pub(super) const CHOICE: [&str; 3] = ["oneOf", "anyOf", "discriminator"];

/// Adds what a schema requires. `component` is the pointer of the component that contains it.
fn absorb<'a>(
    document: &'a Value,
    schema: &'a Value,
    component: Option<&str>,
    within: &mut Vec<&'a str>,
    into: &mut Flat,
) {
    let resolved = resolve(document, schema);
    if resolved.followed.iter().any(|target| within.contains(target)) {
        return;
    }
    let component = match resolved.followed.last() {
        Some(target) => Some(target.trim_start_matches('#')),
        None => component,
    };
    let depth = within.len();
    within.extend(&resolved.followed);
    let own = canonical(resolved.value);
    let nullable = is_true(resolved.value.get("nullable")) && !own.contains_key("type");
    let alternatives = own.contains_key("oneOf") || own.contains_key("anyOf");
    let mut words = Flat::default();
    for (key, value) in own {
        put(key, value, component, &mut words);
    }
    for member in elements(resolved.value.get("allOf")) {
        absorb(document, member, component, within, &mut words);
    }
    within.truncate(depth);
    // Beside `allOf`, `oneOf` and `anyOf`, authors write `nullable` for the whole, although it has no `type` of its own.
    if nullable && let Some(Value::Array(types)) = words.words.get_mut("type") {
        types.push("null".into());
        in_order(types);
    }
    if nullable && alternatives {
        put("nullable".to_owned(), true.into(), component, &mut words);
    }
    let Flat { words, origins } = words;
    for (key, value) in words {
        let prefix = format!("{key}/");
        let from = origins.iter().filter(|(place, _)| **place == key || place.starts_with(&prefix));
        let merged = into.words.contains_key(&key);
        for (place, origin) in from {
            let shared = match place.split_once('/') {
                Some((_, name)) => into.words.get(&key).is_some_and(|there| there.get(name).is_some()),
                None => merged,
            };
            if shared {
                into.origins.remove(place);
            } else {
                into.origins.insert(place.clone(), origin.clone());
            }
        }
        merge(key, value, &mut into.words);
    }
}

fn put(key: String, value: Value, component: Option<&str>, into: &mut Flat) {
    if let Some(component) = component {
        into.origins.insert(key.clone(), component.to_owned());
        if key == "properties" {
            for (name, _) in members(Some(&value)) {
                into.origins.insert(format!("properties/{name}"), component.to_owned());
            }
        }
    }
    merge(key, value, &mut into.words);
}

/// The keywords of one schema, spelled in one way.
fn canonical(schema: &Value) -> Map<String, Value> {
    let Some(object) = schema.as_object() else {
        return match schema {
            Value::Bool(true) => Map::new(),
            Value::Bool(false) => Map::from_iter([("not".to_owned(), json!({}))]),
            other => Map::from_iter([("$invalid".to_owned(), other.clone())]),
        };
    };
    let mut words = Map::new();
    for (key, value) in object {
        match key.as_str() {
            "allOf" | "nullable" | "type" => {}
            "const" => drop(words.insert("enum".to_owned(), json!([value]))),
            "required" | "enum" | "x-extensible-enum" => {
                let mut list: Vec<_> = elements(Some(value)).cloned().collect();
                in_order(&mut list);
                words.insert(key.clone(), list.into());
            }
            "exclusiveMaximum" | "exclusiveMinimum" if value.is_number() => {
                let bound = if key == "exclusiveMaximum" { "maximum" } else { "minimum" };
                // The tighter one of both bounds counts.
                let inclusive = object.get(bound).and_then(Value::as_f64);
                let exclusive = value.as_f64().unwrap_or_default();
                if inclusive
                    .is_none_or(|it| if bound == "maximum" { exclusive <= it } else { exclusive >= it })
                {
                    words.insert(bound.to_owned(), value.clone());
                    words.insert(key.clone(), true.into());
                }
            }
            _ => drop(words.entry(key.clone()).or_insert_with(|| value.clone())),
        }
    }
    let mut types: Vec<Value> = match object.get("type") {
        Some(Value::Array(types)) => types.clone(),
        Some(one) => vec![one.clone()],
        // A list of values says which types are allowed.
        None => elements(words.get("enum")).map(type_of).collect(),
    };
    if !types.is_empty() {
        if is_true(object.get("nullable")) {
            types.push("null".into());
        }
        in_order(&mut types);
        words.insert("type".to_owned(), types.into());
    }
    words
}

fn type_of(value: &Value) -> Value {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Number(number) if number.is_f64() => "number",
        Value::Number(_) => "integer",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    }
    .into()
}

/// Combines two keywords into one that requires both.
fn merge(key: String, value: Value, into: &mut Map<String, Value>) {
    let Some(there) = into.get_mut(&key) else {
        into.insert(key, value);
        return;
    };
    if *there == value {
        return;
    }
    let tighter = |less: bool| match (there.as_f64(), value.as_f64()) {
        (Some(a), Some(b)) => (b < a) == less,
        _ => false,
    };
    match key.as_str() {
        "properties" => {
            for (name, value) in members(Some(&value)) {
                match there.get_mut(name) {
                    Some(field) => *field = both(field, value),
                    None => there[name] = value.clone(),
                }
            }
        }
        "required" => {
            if let (Value::Array(there), Value::Array(value)) = (there, value) {
                there.extend(value);
                in_order(there);
            }
        }
        "enum" => {
            if let Value::Array(there) = there {
                there.retain(|allowed| elements(Some(&value)).any(|other| other == allowed));
            }
        }
        "type" => *there = common_types(there, &value),
        "maximum" | "maxLength" | "maxItems" | "maxProperties" if tighter(true) => *there = value,
        "minimum" | "minLength" | "minItems" | "minProperties" if tighter(false) => *there = value,
        "maximum" | "maxLength" | "maxItems" | "maxProperties" | "minimum" | "minLength" | "minItems"
        | "minProperties" => {}
        "uniqueItems" | "readOnly" | "writeOnly" | "deprecated" | "exclusiveMaximum" | "exclusiveMinimum" => {
            if is_true(Some(&value)) {
                *there = value;
            }
        }
        "additionalProperties" if *there == Value::Bool(false) || is_true(Some(&value)) => {}
        "additionalProperties" if is_true(Some(there)) || value == Value::Bool(false) => *there = value,
        "items" | "additionalProperties" => *there = both(there, &value),
        // The outer schema takes precedence.
        key if DOCS.contains(&key) || matches!(key, "default" | "discriminator") => {}
        // One key cannot hold both: keep them in a fixed order.
        _ => {
            let mut all = conjuncts(there);
            all.extend(conjuncts(&value));
            in_order(&mut all);
            *there = json!({ "$all": all });
        }
    }
}

/// The values of a `$all`, or the value itself.
fn conjuncts(value: &Value) -> Vec<Value> {
    match value.get("$all").and_then(Value::as_array) {
        Some(all) => all.clone(),
        None => vec![value.clone()],
    }
}

/// A schema that requires two others.
pub(super) fn both(one: &Value, other: &Value) -> Value {
    let mut all = Vec::new();
    for schema in [one, other] {
        match schema.get("allOf").and_then(Value::as_array) {
            Some(members) if schema.as_object().is_some_and(|object| object.len() == 1) => {
                all.extend(members.iter().cloned());
            }
            _ => all.push(schema.clone()),
        }
    }
    let mut kept: Vec<Value> = Vec::new();
    all.retain(|schema| {
        let new = !kept.contains(schema);
        kept.push(schema.clone());
        new
    });
    match &all[..] {
        [only] => only.clone(),
        _ => json!({ "allOf": all }),
    }
}

fn common_types(one: &Value, other: &Value) -> Value {
    let has = |list: &Value, name: &str| {
        elements(Some(list)).any(|it| it == name || (name == "integer" && it == "number"))
    };
    let mut common: Vec<Value> = elements(Some(one))
        .chain(elements(Some(other)))
        .filter(|it| it.as_str().is_some_and(|name| has(one, name) && has(other, name)))
        .cloned()
        .collect();
    // `number` includes `integer`.
    if common.contains(&"number".into()) {
        common.retain(|it| it != "integer");
    }
    in_order(&mut common);
    common.into()
}

/// Whether a keyword says what holds without it.
fn is_default(key: &str, value: &Value) -> bool {
    match key {
        "minLength" | "minItems" | "minProperties" => value.as_f64() == Some(0.0),
        "uniqueItems" | "deprecated" | "readOnly" | "writeOnly" | "exclusiveMaximum" | "exclusiveMinimum" => {
            *value == Value::Bool(false)
        }
        "required" | "properties" => value.as_array().is_some_and(Vec::is_empty) || *value == json!({}),
        "additionalProperties" => *value == Value::Bool(true) || *value == json!({}),
        "items" => *value == json!({}),
        "pattern" => matches!(value.as_str(), Some("" | ".*" | "^.*$")),
        _ => false,
    }
}

/// Sorts a list whose order has no meaning, and removes duplicates.
fn in_order(list: &mut Vec<Value>) {
    list.sort_by_cached_key(|value| sorted(value).to_string());
    list.dedup();
}
