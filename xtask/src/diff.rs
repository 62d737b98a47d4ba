//! The difference in meaning between two descriptions, with a verdict for a caller.
//!
//! Works on the normal form (`normal.rs`) of both, so that order, references and `allOf` make no
//! difference. What we send and what we receive are told apart: a new required field breaks whoever
//! sends and helps whoever receives.

use std::{collections::BTreeSet, fmt};

use anyhow::Result;
use serde::Serialize;
use serde_json::{Map, Value};

use crate::{description::pointer_step, normal, semver};

/// What a change means to a caller that was written against the old description.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Verdict {
    /// Only readers see it.
    Docs,
    /// An old caller goes on as before.
    Additive,
    /// An old caller may send what is refused, or receive what it does not expect.
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
    /// Where: a JSON Pointer into the normal form, in which references are resolved and parameters
    /// are keyed by place and name.
    pub(crate) pointer: String,
    pub(crate) verdict: Verdict,
    /// Why it is judged so.
    pub(crate) why: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) before: Option<Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) after: Option<Value>,
}

/// All changes from one description to another, in the order of their pointers.
pub(crate) fn changes(old: &Value, new: &Value) -> Vec<Change> {
    let (old, new) = (normal::document(old), normal::document(new));
    let mut diff = Diff { found: Vec::new() };
    diff.document(&old, &new);
    diff.found.sort_by(|a, b| a.pointer.cmp(&b.pointer));
    diff.found
}

/// For programs: the changes, and what they mean in Rust or why that cannot be told.
pub(crate) fn to_json(changes: &[Change], rust: &Result<semver::Report>) -> Result<String> {
    let rust = match rust {
        Ok(report) => serde_json::to_value(report)?,
        Err(error) => serde_json::json!({ "error": format!("{error:#}") }),
    };
    let whole = serde_json::json!({ "changes": changes, "rust": rust });
    Ok(serde_json::to_string_pretty(&whole)? + "\n")
}

/// What the changes mean in Rust, for people.
pub(crate) fn rust_to_text(rust: &Result<semver::Report>) -> String {
    match rust {
        Ok(report) => {
            let mut text = format!(
                "Rust: {} ({} public items gone or different, {} new)\n",
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
            // The first few of what may be thousands of faults.
            let first: Vec<_> = text.lines().take(5).collect();
            format!(
                "Rust: cannot be compared, for code cannot be generated from both: {}\n",
                first.join("\n")
            )
        }
    }
}

/// For people: the heaviest first, and a line that counts them.
pub(crate) fn to_text(changes: &[Change]) -> String {
    let mut text = String::new();
    for verdict in [Breaking, Additive, Docs] {
        for change in changes.iter().filter(|change| change.verdict == verdict) {
            text += &format!("{verdict:<9} {}\n          {}", change.pointer, change.why);
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

#[derive(Clone, Copy, PartialEq, Eq)]
enum Direction {
    Sent,
    Received,
}

use Direction::{Received, Sent};
use Verdict::{Additive, Breaking, Docs};

struct Diff {
    found: Vec<Change>,
}

impl Diff {
    fn add(
        &mut self,
        pointer: &str,
        verdict: Verdict,
        why: &'static str,
        before: Option<&Value>,
        after: Option<&Value>,
    ) {
        let (before, after) = (before.cloned(), after.cloned());
        self.found.push(Change { pointer: pointer.to_owned(), verdict, why, before, after });
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
                    (Some(_), None) => self.add(&at, Breaking, "the operation is gone", None, None),
                    _ => self.add(&at, Additive, "a new operation", None, None),
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
                    self.add(&at, Breaking, "the credential is sent in another way", before, after)
                }
                (Some(_), None) => self.add(&at, Breaking, "a security scheme is gone", before, after),
                _ => self.add(&at, Additive, "a new security scheme", before, after),
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
                                self.add(&at, Breaking, "a way to authenticate is gone", before, after)
                            }
                            None => self.add(&at, Additive, "another way to authenticate", before, after),
                        }
                    }
                }
                "servers" => {
                    for (url, before, after) in pairs(before, after) {
                        let at = pointer_step(&at, url);
                        match (before, after) {
                            (Some(_), Some(_)) => self.docs(&at, before, after),
                            (Some(_), None) => self.add(&at, Breaking, "a server is gone", before, after),
                            _ => self.add(&at, Additive, "another server", before, after),
                        }
                    }
                }
                "operationId" => {
                    self.add(
                        &at,
                        Docs,
                        "nothing on the wire; the Rust method has another name",
                        before,
                        after,
                    );
                }
                _ => self.docs(&at, before, after),
            }
        }
    }

    fn parameters(&mut self, old: Option<&Value>, new: Option<&Value>, at: &str) {
        for (name, before, after) in pairs(old, new) {
            let at = pointer_step(at, name);
            match (before, after) {
                (Some(before), Some(after)) => self.carrier(before, after, &at, Sent),
                (Some(_), None) => {
                    self.add(&at, Breaking, "a parameter that may be sent is gone", before, after)
                }
                (None, Some(parameter)) if is_true(parameter.get("required")) => {
                    self.add(&at, Breaking, "a new parameter that must be sent", before, after);
                }
                _ => self.add(&at, Additive, "a new parameter that may be sent", before, after),
            }
        }
    }

    fn body(&mut self, old: Option<&Value>, new: Option<&Value>, at: &str) {
        match (old, new) {
            (Some(old), Some(new)) => self.carrier(old, new, at, Sent),
            (Some(_), None) => self.add(at, Breaking, "the request has no body any more", old, new),
            (None, Some(body)) if is_true(body.get("required")) => {
                self.add(at, Breaking, "a new body that must be sent", old, new);
            }
            _ => self.add(at, Additive, "a new body that may be sent", old, new),
        }
    }

    fn responses(&mut self, old: Option<&Value>, new: Option<&Value>, at: &str) {
        for (status, before, after) in pairs(old, new) {
            let at = pointer_step(at, status);
            match (before, after) {
                (Some(before), Some(after)) => self.carrier(before, after, &at, Received),
                (Some(_), None) => self.add(&at, Breaking, "a described answer is gone", None, None),
                _ => self.add(&at, Additive, "another answer is described", None, None),
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
                                self.add(&at, Breaking, "a form of the content is gone", None, None)
                            }
                            _ => self.add(&at, Additive, "another form of the content", None, None),
                        }
                    }
                }
                "required" if direction == Sent && is_true(after) => {
                    self.add(&at, Breaking, "what could be left out must be sent", before, after);
                }
                "required" => self.add(&at, Additive, "what had to be sent may be left out", before, after),
                key if is_docs(key) => self.docs(&at, before, after),
                _ => self.add(&at, Breaking, "it is sent in another form", before, after),
            }
        }
    }

    fn maybe_schema(&mut self, old: Option<&Value>, new: Option<&Value>, at: &str, direction: Direction) {
        match (old, new) {
            (Some(old), Some(new)) => self.schema(old, new, at, direction),
            _ => {
                self.add(at, Breaking, "a shape is described that was not, or the other way round", old, new)
            }
        }
    }

    fn schema(&mut self, old: &Value, new: &Value, at: &str, direction: Direction) {
        if !(old.is_object() && new.is_object()) {
            return self.add(at, Breaking, "the shape has changed", Some(old), Some(new));
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
                        (Sent, true) => self.add(&at, Additive, "null may be sent", before, after),
                        (Sent, false) => {
                            self.add(&at, Breaking, "null may not be sent any more", before, after)
                        }
                        (Received, true) => self.add(&at, Breaking, "null may come", before, after),
                        (Received, false) => {
                            self.add(&at, Additive, "null does not come any more", before, after)
                        }
                    }
                }
                key if is_docs(key) => self.docs(&at, before, after),
                _ => self.add(&at, Breaking, "a constraint has changed", before, after),
            }
        }
    }

    /// `new` is the whole new schema: what it requires decides whether a new property breaks.
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
                (Some(_), None, Sent) => {
                    self.add(&at, Breaking, "a field that may be sent is gone", before, None)
                }
                (Some(_), None, Received) => {
                    self.add(&at, Breaking, "a field that came is gone", before, None)
                }
                (None, _, Sent) if required => {
                    self.add(&at, Breaking, "a new field that must be sent", None, after)
                }
                (None, _, Sent) => self.add(&at, Additive, "a new field that may be sent", None, after),
                (None, _, Received) => self.add(&at, Additive, "a new field comes", None, after),
            }
        }
    }

    /// `whole` are the schemas around: a field that is new or gone altogether is judged as a
    /// property and not here.
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
                Sent => self.add(&at, Breaking, "what could be left out must be sent", None, Some(name)),
                Received => self.add(&at, Additive, "what could be missing always comes", None, Some(name)),
            }
        }
        for name in was.iter().filter(|name| !is.contains(name)).filter(stays) {
            let at = pointer_step(at, name.as_str().unwrap_or_default());
            match direction {
                Sent => self.add(&at, Additive, "what had to be sent may be left out", Some(name), None),
                Received => self.add(&at, Breaking, "what always came may be missing", Some(name), None),
            }
        }
    }

    fn values(&mut self, before: Option<&Value>, after: Option<&Value>, at: &str, direction: Direction) {
        let (was, is) = (list(before), list(after));
        // Without a list, everything is allowed.
        let widened = after.is_none() || (before.is_some() && is.iter().any(|value| !was.contains(value)));
        let narrowed = before.is_none() || (after.is_some() && was.iter().any(|value| !is.contains(value)));
        match (direction, widened, narrowed) {
            (Sent, _, true) => self.add(at, Breaking, "values that could be sent are refused", before, after),
            (Sent, _, false) => self.add(at, Additive, "more values may be sent", before, after),
            (Received, true, _) => {
                self.add(at, Breaking, "values may come that nobody expects", before, after)
            }
            (Received, false, _) => self.add(at, Additive, "fewer values come", before, after),
        }
    }

    fn kind(&mut self, before: Option<&Value>, after: Option<&Value>, at: &str, direction: Direction) {
        let text = |value: Option<&Value>| value.and_then(Value::as_str).unwrap_or_default().to_owned();
        match (text(before).as_str(), text(after).as_str(), direction) {
            // Every integer is a number.
            ("integer", "number", Sent) => self.add(at, Additive, "fractions may be sent", before, after),
            ("number", "integer", Received) => {
                self.add(at, Additive, "fractions do not come any more", before, after)
            }
            _ => self.add(at, Breaking, "another type", before, after),
        }
    }

    fn docs(&mut self, at: &str, before: Option<&Value>, after: Option<&Value>) {
        self.add(at, Docs, "only readers see it", before, after);
    }
}

const SCHEMES: &str = "/components/securitySchemes";

/// Each member of two objects that is not the same in both.
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
    value.and_then(Value::as_array).into_iter().flatten().collect()
}

fn is_true(value: Option<&Value>) -> bool {
    value == Some(&Value::Bool(true))
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

    /// A description in which the same schema is sent and received.
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

    /// The verdicts of what is sent and of what is received; `None` where there is no change.
    fn verdicts(old: &Value, new: &Value) -> (Option<Verdict>, Option<Verdict>) {
        let found = changes(&with(old), &with(new));
        let worst = |part: &str| {
            found.iter().filter(|change| change.pointer.contains(part)).map(|change| change.verdict).max()
        };
        (worst("/requestBody"), worst("/responses"))
    }

    /// Every class of change of a schema: what it was, what it is, and what that means to whoever
    /// sends and to whoever receives.
    #[test]
    fn each_class_of_change_has_its_verdict() {
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
            ("enum taken away", json!({"enum": [1]}), json!({}), additive, breaking),
            ("enum introduced", json!({}), json!({"enum": [1]}), breaking, additive),
            ("enum reordered", json!({"enum": [1, 2]}), json!({"enum": [2, 1]}), None, None),
            ("integer to number", i.clone(), n.clone(), additive, breaking),
            ("number to integer", n.clone(), i.clone(), breaking, additive),
            ("string to integer", s.clone(), i.clone(), breaking, breaking),
            ("null allowed", s.clone(), json!({"type": "string", "nullable": true}), additive, breaking),
            ("null forbidden", json!({"type": "string", "nullable": true}), s.clone(), breaking, additive),
            ("nullable: false said", s.clone(), json!({"type": "string", "nullable": false}), None, None),
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

    /// What is changed in the document, and the one change that comes of it.
    #[test]
    fn changes_around_schemas_have_their_verdict() {
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
                "answer added",
                edit(&|d| d["paths"]["/a"]["post"]["responses"]["202"] = json!({"description": "d"})),
                vec![Additive],
            ),
            ("answer removed", edit(&|d| d["paths"]["/a"]["post"]["responses"] = json!({})), vec![Breaking]),
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
    fn a_description_does_not_differ_from_itself_and_differences_mirror() {
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

        /// Any schema that OpenAPI 3.0 can say, and some that it cannot.
        fn schema() -> impl Strategy<Value = Value> {
            let leaf = prop_oneof![
                Just(json!({})),
                Just(json!({"$ref": "#/components/schemas/Name"})),
                Just(json!({"$ref": "#/components/schemas/Loop"})),
                Just(json!({"$ref": "#/nowhere"})),
                Just(json!("no schema")),
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
            // The same cases on every run: what explores is the fuzz targets.
            #![proptest_config(ProptestConfig { rng_seed: proptest::test_runner::RngSeed::Fixed(7), ..ProptestConfig::default() })]

            #[test]
            fn nothing_differs_from_itself(document in document()) {
                prop_assert_eq!(changes(&document, &document), []);
                prop_assert_eq!(changes(&document, &normal::sorted(&document)), []);
            }

            #[test]
            fn importing_what_was_exported_changes_nothing(document in document()) {
                let exported = crate::description::to_yaml(&document).unwrap();
                let imported = crate::description::parse(exported.as_bytes(), "exported.yaml").unwrap();
                // In the same order, too: the bytes are what is recorded.
                prop_assert_eq!(imported.to_string(), document.to_string());
                prop_assert_eq!(changes(&document, &imported), []);
            }

            #[test]
            fn differences_mirror(one in document(), other in document()) {
                let (there, back) = (changes(&one, &other), changes(&other, &one));
                prop_assert_eq!(there.len(), back.len());
                for (a, b) in there.iter().zip(&back) {
                    prop_assert_eq!((&a.pointer, &a.before, &a.after), (&b.pointer, &b.after, &b.before));
                }
            }

            #[test]
            fn anything_gives_a_difference_or_none_and_no_panic(
                document in document(),
                at in 0..40_usize,
                instead in prop_oneof![Just(json!(null)), Just(json!([])), Just(json!({})), Just(json!("x")), Just(json!(7))],
            ) {
                let mut spoilt = document.clone();
                // The `at`th place of the document becomes something else.
                let mut places = Vec::new();
                fn walk(value: &Value, at: &str, places: &mut Vec<String>) {
                    places.push(at.to_owned());
                    match value {
                        Value::Object(object) => object.iter().for_each(|(key, value)| walk(value, &pointer_step(at, key), places)),
                        Value::Array(list) => list.iter().enumerate().for_each(|(i, value)| walk(value, &format!("{at}/{i}"), places)),
                        _ => {}
                    }
                }
                walk(&document, "", &mut places);
                *spoilt.pointer_mut(&places[at % places.len()]).unwrap() = instead;
                let _ = (changes(&document, &spoilt), changes(&spoilt, &document));
                let _ = crate::supported::faults(&spoilt);
            }
        }
    }
}
