//! The difference in meaning between two descriptions, with a verdict for callers.
//!
//! It compares normal forms (`normal.rs`), so order, references and `allOf` make no difference. Requests
//! and responses are judged separately: a new required field breaks the sender and not the receiver.

use std::{collections::BTreeSet, fmt};

use anyhow::Result;
use serde::Serialize;
use serde_json::{Map, Value};

use crate::{
    normal,
    openapi::{
        Direction::{self, Request, Response},
        elements, is_true, pointer_step,
    },
    semver,
};

use Verdict::{Additive, Breaking, Docs};

/// The effect of a change on a caller that was written for the old description.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Verdict {
    /// Only the documentation changes.
    Docs,
    /// The caller is not affected.
    Additive,
    /// The caller may send invalid requests, or receive responses that it does not expect.
    Breaking,
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Docs => "docs",
            Self::Additive => "additive",
            Self::Breaking => "breaking",
        })
    }
}

/// One change.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(crate) struct Change {
    /// A JSON Pointer into the normal form, in which references are resolved and parameters are keyed by
    /// location and name.
    pub(crate) pointer: String,
    pub(crate) verdict: Verdict,
    /// The reason for the verdict.
    pub(crate) reason: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) before: Option<Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) after: Option<Value>,
}

/// All changes between two descriptions, sorted by pointer.
pub(crate) fn changes(old: &Value, new: &Value) -> Vec<Change> {
    let (old, new) = (normal::document(old), normal::document(new));
    let mut diff = Diff { found: Vec::new() };
    diff.document(&old, &new);
    diff.found.sort_by(|a, b| a.pointer.cmp(&b.pointer));
    diff.found
}

/// The changes as JSON, and the changes in Rust or the reason why they are unknown.
pub(crate) fn to_json(changes: &[Change], rust: &Result<semver::Report>) -> Result<String> {
    let rust = match rust {
        Ok(report) => serde_json::to_value(report)?,
        Err(error) => serde_json::json!({ "error": format!("{error:#}") }),
    };
    let whole = serde_json::json!({ "changes": changes, "rust": rust });
    Ok(serde_json::to_string_pretty(&whole)? + "\n")
}

/// The changes in Rust as text.
pub(crate) fn rust_to_text(rust: &Result<semver::Report>) -> String {
    match rust {
        Ok(report) => {
            let mut text = format!(
                "Rust: {} ({} public items removed or changed, {} added)\n",
                report.step,
                report.broken.len(),
                report.added.len()
            );
            for item in &report.broken {
                text += &format!("  - {item}\n");
            }
            for item in &report.added {
                text += &format!("  + {item}\n");
            }
            text
        }
        Err(error) => {
            let text = format!("{error:#}");
            // There may be thousands of problems.
            let first: Vec<_> = text.lines().take(5).collect();
            format!(
                "Rust: cannot be compared, because code cannot be generated from both: {}\n",
                first.join("\n")
            )
        }
    }
}

/// The changes as text: the breaking ones first, and a line with the totals.
pub(crate) fn to_text(changes: &[Change]) -> String {
    let mut text = String::new();
    for verdict in [Breaking, Additive, Docs] {
        for change in changes.iter().filter(|change| change.verdict == verdict) {
            text += &format!("{verdict:<9} {}\n          {}", change.pointer, change.reason);
            match (&change.before, &change.after) {
                (Some(before), Some(after)) => text += &format!(": {} -> {}", short(before), short(after)),
                (Some(before), None) => text += &format!(": was {}", short(before)),
                (None, Some(after)) => text += &format!(": {}", short(after)),
                (None, None) => {}
            }
            text.push('\n');
        }
    }
    let count = |verdict| changes.iter().filter(|change| change.verdict == verdict).count();
    text + &format!("{} breaking, {} additive, {} docs\n", count(Breaking), count(Additive), count(Docs))
}

fn short(value: &Value) -> String {
    let text = value.to_string();
    match text.char_indices().nth(100) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text,
    }
}

struct Diff {
    found: Vec<Change>,
}

impl Diff {
    fn add(
        &mut self,
        pointer: &str,
        verdict: Verdict,
        reason: &'static str,
        before: Option<&Value>,
        after: Option<&Value>,
    ) {
        let (before, after) = (before.cloned(), after.cloned());
        self.found.push(Change { pointer: pointer.to_owned(), verdict, reason, before, after });
    }

    fn document(&mut self, old: &Value, new: &Value) {
        for (key, before, after) in pairs(Some(old), Some(new)) {
            match key {
                "paths" => self.paths(before, after),
                "components" => self.schemes(old.pointer(SCHEMES), new.pointer(SCHEMES)),
                _ => self.docs(&pointer_step("", key), before, after),
            }
        }
    }

    fn paths(&mut self, old: Option<&Value>, new: Option<&Value>) {
        for (path, before, after) in pairs(old, new) {
            let at = pointer_step("/paths", path);
            for (method, before, after) in pairs(before, after) {
                let at = pointer_step(&at, method);
                match (before, after) {
                    (Some(before), Some(after)) => self.operation(before, after, &at),
                    (Some(_), None) => self.add(&at, Breaking, "the operation was removed", None, None),
                    _ => self.add(&at, Additive, "the operation is new", None, None),
                }
            }
        }
    }

    fn schemes(&mut self, old: Option<&Value>, new: Option<&Value>) {
        for (name, before, after) in pairs(old, new) {
            let at = pointer_step(SCHEMES, name);
            match (before, after) {
                (Some(one), Some(other)) if normal::without_docs(one) == normal::without_docs(other) => {
                    self.docs(&at, before, after);
                }
                (Some(_), Some(_)) => {
                    self.add(&at, Breaking, "the credential is sent differently", before, after)
                }
                (Some(_), None) => self.add(&at, Breaking, "the security scheme was removed", before, after),
                _ => self.add(&at, Additive, "the security scheme is new", before, after),
            }
        }
    }

    fn operation(&mut self, old: &Value, new: &Value, at: &str) {
        for (key, before, after) in pairs(Some(old), Some(new)) {
            let at = pointer_step(at, key);
            match key {
                "parameters" => self.parameters(before, after, &at),
                "requestBody" => self.body(before, after, &at),
                "responses" => self.responses(before, after, &at),
                "security" => {
                    for (name, before, after) in pairs(before, after) {
                        let at = pointer_step(&at, name);
                        match before {
                            Some(_) => {
                                self.add(&at, Breaking, "this way to authenticate was removed", before, after)
                            }
                            None => self.add(&at, Additive, "this way to authenticate is new", before, after),
                        }
                    }
                }
                "servers" => {
                    for (url, before, after) in pairs(before, after) {
                        let at = pointer_step(&at, url);
                        match (before, after) {
                            (Some(_), Some(_)) => self.docs(&at, before, after),
                            (Some(_), None) => {
                                self.add(&at, Breaking, "the server was removed", before, after)
                            }
                            _ => self.add(&at, Additive, "the server is new", before, after),
                        }
                    }
                }
                "operationId" => {
                    self.add(&at, Docs, "only the name of the Rust method changes", before, after);
                }
                _ => self.docs(&at, before, after),
            }
        }
    }

    fn parameters(&mut self, old: Option<&Value>, new: Option<&Value>, at: &str) {
        for (name, before, after) in pairs(old, new) {
            let at = pointer_step(at, name);
            match (before, after) {
                (Some(before), Some(after)) => self.carrier(before, after, &at, Request),
                (Some(_), None) => self.add(&at, Breaking, "the parameter was removed", before, after),
                (None, Some(parameter)) if is_true(parameter.get("required")) => {
                    self.add(&at, Breaking, "the parameter is new and required", before, after);
                }
                _ => self.add(&at, Additive, "the parameter is new and optional", before, after),
            }
        }
    }

    fn body(&mut self, old: Option<&Value>, new: Option<&Value>, at: &str) {
        match (old, new) {
            (Some(old), Some(new)) => self.carrier(old, new, at, Request),
            (Some(_), None) => self.add(at, Breaking, "the request body was removed", old, new),
            (None, Some(body)) if is_true(body.get("required")) => {
                self.add(at, Breaking, "the request body is new and required", old, new);
            }
            _ => self.add(at, Additive, "the request body is new and optional", old, new),
        }
    }

    fn responses(&mut self, old: Option<&Value>, new: Option<&Value>, at: &str) {
        for (status, before, after) in pairs(old, new) {
            let at = pointer_step(at, status);
            match (before, after) {
                (Some(before), Some(after)) => self.carrier(before, after, &at, Response),
                (Some(_), None) => self.add(&at, Breaking, "the response was removed", None, None),
                _ => self.add(&at, Additive, "the response is new", None, None),
            }
        }
    }

    /// A parameter, a body or a response: what carries schemas.
    fn carrier(&mut self, old: &Value, new: &Value, at: &str, direction: Direction) {
        for (key, before, after) in pairs(Some(old), Some(new)) {
            let at = pointer_step(at, key);
            match key {
                "schema" => self.maybe_schema(before, after, &at, direction),
                "content" | "headers" => {
                    for (name, before, after) in pairs(before, after) {
                        let at = pointer_step(&at, name);
                        match (before, after) {
                            (Some(before), Some(after)) => self.carrier(before, after, &at, direction),
                            (Some(_), None) => {
                                self.add(&at, Breaking, "the media type or header was removed", None, None)
                            }
                            _ => self.add(&at, Additive, "the media type or header is new", None, None),
                        }
                    }
                }
                "required" if direction == Request && is_true(after) => {
                    self.add(&at, Breaking, "it was optional and is required", before, after);
                }
                "required" => self.add(&at, Additive, "it was required and is optional", before, after),
                key if is_docs(key) => self.docs(&at, before, after),
                _ => self.add(&at, Breaking, "it is encoded differently", before, after),
            }
        }
    }

    fn maybe_schema(&mut self, old: Option<&Value>, new: Option<&Value>, at: &str, direction: Direction) {
        match (old, new) {
            (Some(old), Some(new)) => self.schema(old, new, at, direction),
            _ => self.add(at, Breaking, "a schema was added or removed", old, new),
        }
    }

    fn schema(&mut self, old: &Value, new: &Value, at: &str, direction: Direction) {
        if !(old.is_object() && new.is_object()) {
            return self.add(at, Breaking, "the schema changed", Some(old), Some(new));
        }
        for (key, before, after) in pairs(Some(old), Some(new)) {
            let at = pointer_step(at, key);
            match key {
                "properties" => self.properties(new, before, after, &at, direction),
                "required" => self.required((old, new), before, after, &at, direction),
                "enum" => self.values(before, after, &at, direction),
                "items" | "additionalProperties" | "not" if both_objects(before, after) => {
                    self.maybe_schema(before, after, &at, direction);
                }
                "type" => self.kind(before, after, &at, direction),
                "nullable" => {
                    let widened = is_true(after);
                    match (direction, widened) {
                        (Request, true) => self.add(&at, Additive, "null is allowed", before, after),
                        (Request, false) => {
                            self.add(&at, Breaking, "null is not allowed any more", before, after)
                        }
                        (Response, true) => self.add(&at, Breaking, "null can be received", before, after),
                        (Response, false) => {
                            self.add(&at, Additive, "null is not received any more", before, after)
                        }
                    }
                }
                key if is_docs(key) => self.docs(&at, before, after),
                _ => self.add(&at, Breaking, "the constraint changed", before, after),
            }
        }
    }

    /// `new` is the whole new schema: a new property breaks the sender if it is required.
    fn properties(
        &mut self,
        new: &Value,
        old: Option<&Value>,
        now: Option<&Value>,
        at: &str,
        direction: Direction,
    ) {
        for (name, before, after) in pairs(old, now) {
            let at = pointer_step(at, name);
            let required = list(new.get("required")).contains(&&Value::from(name));
            match (before, after, direction) {
                (Some(before), Some(after), _) => self.schema(before, after, &at, direction),
                (Some(_), None, Request) => self.add(&at, Breaking, "the field was removed", before, None),
                (Some(_), None, Response) => self.add(&at, Breaking, "the field was removed", before, None),
                (None, _, Request) if required => {
                    self.add(&at, Breaking, "the field is new and required", None, after)
                }
                (None, _, Request) => self.add(&at, Additive, "the field is new and optional", None, after),
                (None, _, Response) => self.add(&at, Additive, "the field is new", None, after),
            }
        }
    }

    /// `whole` are the old and the new schema: new and removed fields are judged as properties.
    fn required(
        &mut self,
        whole: (&Value, &Value),
        before: Option<&Value>,
        after: Option<&Value>,
        at: &str,
        direction: Direction,
    ) {
        let (was, is) = (list(before), list(after));
        let has = |schema: &Value, name: &Value| {
            name.as_str().is_some_and(|name| schema["properties"].get(name).is_some())
        };
        let stays = |name: &&&Value| has(whole.0, name) == has(whole.1, name);
        for name in is.iter().filter(|name| !was.contains(name)).filter(stays) {
            let at = pointer_step(at, name.as_str().unwrap_or_default());
            match direction {
                Request => {
                    self.add(&at, Breaking, "the field was optional and is required", None, Some(name))
                }
                Response => self.add(&at, Additive, "the field is always present now", None, Some(name)),
            }
        }
        for name in was.iter().filter(|name| !is.contains(name)).filter(stays) {
            let at = pointer_step(at, name.as_str().unwrap_or_default());
            match direction {
                Request => {
                    self.add(&at, Additive, "the field was required and is optional", Some(name), None)
                }
                Response => self.add(
                    &at,
                    Breaking,
                    "the field was always present and can be missing",
                    Some(name),
                    None,
                ),
            }
        }
    }

    fn values(&mut self, before: Option<&Value>, after: Option<&Value>, at: &str, direction: Direction) {
        let (was, is) = (list(before), list(after));
        // No list allows every value.
        let widened = after.is_none() || (before.is_some() && is.iter().any(|value| !was.contains(value)));
        let narrowed = before.is_none() || (after.is_some() && was.iter().any(|value| !is.contains(value)));
        match (direction, widened, narrowed) {
            (Request, _, true) => self.add(at, Breaking, "values were removed", before, after),
            (Request, _, false) => self.add(at, Additive, "values were added", before, after),
            (Response, true, _) => self.add(at, Breaking, "other values can be received", before, after),
            (Response, false, _) => self.add(at, Additive, "fewer values can be received", before, after),
        }
    }

    fn kind(&mut self, before: Option<&Value>, after: Option<&Value>, at: &str, direction: Direction) {
        let text = |value: Option<&Value>| value.and_then(Value::as_str).unwrap_or_default().to_owned();
        match (text(before).as_str(), text(after).as_str(), direction) {
            // Every integer is a number.
            ("integer", "number", Request) => self.add(at, Additive, "fractions are allowed", before, after),
            ("number", "integer", Response) => {
                self.add(at, Additive, "fractions are not received any more", before, after)
            }
            _ => self.add(at, Breaking, "the type changed", before, after),
        }
    }

    fn docs(&mut self, at: &str, before: Option<&Value>, after: Option<&Value>) {
        self.add(at, Docs, "documentation only", before, after);
    }
}

const SCHEMES: &str = "/components/securitySchemes";

/// The members that differ between two objects.
fn pairs<'a>(
    old: Option<&'a Value>,
    new: Option<&'a Value>,
) -> Vec<(&'a str, Option<&'a Value>, Option<&'a Value>)> {
    let object = |value: Option<&'a Value>| value.and_then(Value::as_object);
    let (old, new) = (object(old), object(new));
    let keys: BTreeSet<&str> = old.into_iter().chain(new).flat_map(Map::keys).map(String::as_str).collect();
    keys.into_iter()
        .map(|key| (key, old.and_then(|old| old.get(key)), new.and_then(|new| new.get(key))))
        .filter(|(_, before, after)| before != after)
        .collect()
}

fn list(value: Option<&Value>) -> Vec<&Value> {
    elements(value).collect()
}

fn is_docs(key: &str) -> bool {
    normal::DOCS.contains(&key) || key.starts_with("x-")
}

fn both_objects(before: Option<&Value>, after: Option<&Value>) -> bool {
    before.is_some_and(Value::is_object) && after.is_some_and(Value::is_object)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

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
                "schemas": {"Name": {"type": "string"}},
                "securitySchemes": {"Key": {"type": "apiKey", "in": "header", "name": "k"}, "Bearer": {"type": "http", "scheme": "bearer"}}
            }
        })
    }

    fn object(properties: &Value, required: &Value) -> Value {
        json!({"type": "object", "properties": properties, "required": required})
    }

    /// The verdicts on the request and on the response; `None` without a change.
    fn verdicts(old: &Value, new: &Value) -> (Option<Verdict>, Option<Verdict>) {
        let found = changes(&with(old), &with(new));
        let worst = |part: &str| {
            found.iter().filter(|change| change.pointer.contains(part)).map(|change| change.verdict).max()
        };
        (worst("/requestBody"), worst("/responses"))
    }

    /// Every class of change: old schema, new schema, and the verdicts on the request and the response.
    #[test]
    fn each_change_of_a_schema_has_its_verdict() {
        let (s, i, n) = (json!({"type": "string"}), json!({"type": "integer"}), json!({"type": "number"}));
        let a = object(&json!({"x": s}), &json!([]));
        let (breaking, additive, docs) = (Some(Breaking), Some(Additive), Some(Docs));
        type Case = (&'static str, Value, Value, Option<Verdict>, Option<Verdict>);
        let cases: Vec<Case> = vec![
            ("nothing", a.clone(), a.clone(), None, None),
            (
                "a new optional field",
                a.clone(),
                object(&json!({"x": s, "y": i}), &json!([])),
                additive,
                additive,
            ),
            (
                "a new required field",
                a.clone(),
                object(&json!({"x": s, "y": i}), &json!(["y"])),
                breaking,
                additive,
            ),
            ("a field removed", object(&json!({"x": s, "y": i}), &json!([])), a.clone(), breaking, breaking),
            ("optional to required", a.clone(), object(&json!({"x": s}), &json!(["x"])), breaking, additive),
            ("required to optional", object(&json!({"x": s}), &json!(["x"])), a.clone(), additive, breaking),
            ("enum widened", json!({"enum": [1, 2]}), json!({"enum": [1, 2, 3]}), additive, breaking),
            ("enum narrowed", json!({"enum": [1, 2]}), json!({"enum": [1]}), breaking, additive),
            ("enum exchanged", json!({"enum": [1, 2]}), json!({"enum": [1, 3]}), breaking, breaking),
            ("enum removed", json!({"enum": [1]}), json!({}), additive, breaking),
            ("enum added", json!({}), json!({"enum": [1]}), breaking, additive),
            ("enum reordered", json!({"enum": [1, 2]}), json!({"enum": [2, 1]}), None, None),
            ("integer to number", i.clone(), n.clone(), additive, breaking),
            ("number to integer", n.clone(), i.clone(), breaking, additive),
            ("string to integer", s.clone(), i.clone(), breaking, breaking),
            ("null allowed", s.clone(), json!({"type": "string", "nullable": true}), additive, breaking),
            ("null forbidden", json!({"type": "string", "nullable": true}), s.clone(), breaking, additive),
            ("nullable: false added", s.clone(), json!({"type": "string", "nullable": false}), None, None),
            ("another format", json!({"type": "string", "format": "uri"}), s.clone(), breaking, breaking),
            ("a bound", i.clone(), json!({"type": "integer", "minimum": 1}), breaking, breaking),
            (
                "a field moved into a $ref",
                object(&json!({"x": s}), &json!([])),
                object(&json!({"x": {"$ref": "#/components/schemas/Name"}}), &json!([])),
                None,
                None,
            ),
            (
                "allOf reordered",
                json!({"allOf": [a, {"properties": {"y": i}}]}),
                json!({"allOf": [{"properties": {"y": i}}, a]}),
                None,
                None,
            ),
            (
                "allOf made flat",
                json!({"allOf": [a, {"properties": {"y": i}}]}),
                object(&json!({"x": s, "y": i}), &json!([])),
                None,
                None,
            ),
            ("a description", s.clone(), json!({"type": "string", "description": "d"}), docs, docs),
            (
                "a field named description",
                a.clone(),
                object(&json!({"x": s, "description": s}), &json!([])),
                additive,
                additive,
            ),
            (
                "items",
                json!({"type": "array", "items": i}),
                json!({"type": "array", "items": s}),
                breaking,
                breaking,
            ),
        ];
        for (what, old, new, sent, received) in cases {
            assert_eq!(verdicts(&old, &new), (sent, received), "{what}");
        }
    }

    /// A change of the document, and the verdicts on it.
    #[test]
    fn each_change_outside_of_schemas_has_its_verdict() {
        let edit = |change: &dyn Fn(&mut Value)| {
            let mut document = with(&json!({"type": "string"}));
            change(&mut document);
            document
        };
        let old = edit(&|_| {});
        let cases: Vec<(&str, Value, Vec<Verdict>)> = vec![
            (
                "path renamed",
                edit(&|d| {
                    let item = d["paths"]["/a"].take();
                    d["paths"] = json!({"/b": item});
                }),
                vec![Breaking, Additive],
            ),
            (
                "operation added",
                edit(&|d| d["paths"]["/a"]["get"] = json!({"responses": {}})),
                vec![Additive],
            ),
            (
                "security scheme removed",
                edit(&|d| {
                    d["components"]["securitySchemes"].as_object_mut().unwrap().remove("Bearer");
                }),
                vec![Breaking],
            ),
            (
                "security alternative added",
                edit(&|d| d["security"] = json!([{"Key": []}, {"Bearer": []}])),
                vec![Additive],
            ),
            ("security alternative removed", edit(&|d| d["security"] = json!([])), vec![Breaking]),
            (
                "key in another header",
                edit(&|d| d["components"]["securitySchemes"]["Key"]["name"] = "other".into()),
                vec![Breaking],
            ),
            (
                "parameter required",
                edit(&|d| d["paths"]["/a"]["post"]["parameters"][0]["required"] = true.into()),
                vec![Breaking],
            ),
            (
                "parameter added",
                edit(&|d| {
                    d["paths"]["/a"]["post"]["parameters"]
                        .as_array_mut()
                        .unwrap()
                        .push(json!({"name": "r", "in": "query", "schema": {}}))
                }),
                vec![Additive],
            ),
            (
                "parameter removed",
                edit(&|d| d["paths"]["/a"]["post"]["parameters"] = json!([])),
                vec![Breaking],
            ),
            ("server added", edit(&|d| d["servers"] = json!([{"url": "https://x"}])), vec![Additive]),
            (
                "operation renamed",
                edit(&|d| d["paths"]["/a"]["post"]["operationId"] = "b".into()),
                vec![Docs],
            ),
            ("title", edit(&|d| d["info"]["title"] = "u".into()), vec![Docs]),
            (
                "response added",
                edit(&|d| d["paths"]["/a"]["post"]["responses"]["202"] = json!({"description": "d"})),
                vec![Additive],
            ),
            (
                "response removed",
                edit(&|d| d["paths"]["/a"]["post"]["responses"] = json!({})),
                vec![Breaking],
            ),
            (
                "media type removed",
                edit(&|d| d["paths"]["/a"]["post"]["responses"]["200"]["content"] = json!({})),
                vec![Breaking],
            ),
        ];
        for (what, new, wanted) in cases {
            let mut found: Vec<_> = changes(&old, &new).into_iter().map(|change| change.verdict).collect();
            found.sort();
            let mut wanted = wanted;
            wanted.sort();
            assert_eq!(found, wanted, "{what}");
        }
    }

    #[test]
    fn the_difference_to_itself_is_empty_and_differences_are_symmetric() {
        let one = with(&object(&json!({"x": {"type": "string"}, "y": {"enum": [1]}}), &json!(["x"])));
        let other = with(&object(&json!({"x": {"type": "integer"}, "z": {"enum": [1, 2]}}), &json!([])));
        assert_eq!(changes(&one, &one), []);
        let there = changes(&one, &other);
        let back = changes(&other, &one);
        assert!(!there.is_empty());
        assert_eq!(there.len(), back.len());
        for (a, b) in there.iter().zip(&back) {
            assert_eq!((&a.pointer, &a.before, &a.after), (&b.pointer, &b.after, &b.before));
        }
    }

    mod properties {
        use proptest::prelude::*;

        use super::*;
        use crate::openapi::each_child;

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
                let fields =
                    proptest::collection::btree_map("[a-c]|description|required", inner.clone(), 0..4);
                let required = proptest::collection::vec("[a-d]", 0..3);
                prop_oneof![
                    (fields, required).prop_map(|(fields, required)| {
                        json!({"type": "object", "properties": fields, "required": required})
                    }),
                    proptest::collection::vec(inner.clone(), 0..3).prop_map(|all| json!({"allOf": all})),
                    proptest::collection::vec(inner.clone(), 0..3).prop_map(|any| json!({"oneOf": any})),
                    inner.prop_map(|items| json!({"type": "array", "items": items})),
                ]
            })
        }

        fn document() -> impl Strategy<Value = Value> {
            (schema(), schema()).prop_map(|(one, name)| {
                let mut document = with(&one);
                document["components"]["schemas"]["Name"] = name;
                document["components"]["schemas"]["Loop"] =
                    json!({"properties": {"next": {"$ref": "#/components/schemas/Loop"}}});
                document
            })
        }

        proptest! {
            // The same cases on every run; the fuzz targets explore.
            #![proptest_config(ProptestConfig { rng_seed: proptest::test_runner::RngSeed::Fixed(7), ..ProptestConfig::default() })]

            #[test]
            fn the_difference_to_itself_is_empty(document in document()) {
                prop_assert_eq!(changes(&document, &document), []);
                prop_assert_eq!(changes(&document, &normal::sorted(&document)), []);
            }

            #[test]
            fn an_exported_document_imports_without_changes(document in document()) {
                let exported = crate::description::to_yaml(&document).unwrap();
                let imported = crate::description::parse(exported.as_bytes(), "exported.yaml").unwrap();
                // The order must be the same as well.
                prop_assert_eq!(imported.to_string(), document.to_string());
                prop_assert_eq!(changes(&document, &imported), []);
            }

            #[test]
            fn differences_are_symmetric(one in document(), other in document()) {
                let (there, back) = (changes(&one, &other), changes(&other, &one));
                prop_assert_eq!(there.len(), back.len());
                for (a, b) in there.iter().zip(&back) {
                    prop_assert_eq!((&a.pointer, &a.before, &a.after), (&b.pointer, &b.after, &b.before));
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
                let mut places = Vec::new();
                fn walk(value: &Value, at: &str, places: &mut Vec<String>) {
                    places.push(at.to_owned());
                    each_child(value, at, |child, at| walk(child, at, places));
                }
                walk(&document, "", &mut places);
                *invalid.pointer_mut(&places[at % places.len()]).unwrap() = instead;
                let _ = (changes(&document, &invalid), changes(&invalid, &document));
                let _ = crate::supported::problems(&invalid);
            }
        }
    }
}
