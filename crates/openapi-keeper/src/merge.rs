//! Merges several documents into one description, in memory.
//!
//! Each document gives the operations that are taken from it, and the components that these use. If two
//! define one thing differently, someone has to choose.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
};

use serde_json::{Map, Value, json};

use crate::{
    diff::{self, Verdict},
    openapi::{METHODS, each_child, members, pointer_step, without_docs},
};

/// A document to merge.
pub struct Input<'a> {
    /// How messages call it.
    pub shown: String,
    /// The document.
    pub document: &'a Value,
    /// The operations to take from it, such as `GET /path`.
    pub operations: &'a [String],
}

/// The outcome of a merge.
#[derive(Debug, Default)]
pub struct Merged {
    /// The description.
    pub document: Value,
    /// Differences that need no decision.
    pub notes: Vec<String>,
    /// The definitions for which someone chose.
    pub choices: Vec<Choice>,
    /// The document that each definition comes from, by pointer.
    pub owners: BTreeMap<String, usize>,
}

/// A definition that two documents have, and the one that was taken.
#[derive(Debug, PartialEq, Eq)]
pub struct Choice {
    /// The place in the description.
    pub pointer: String,
    /// The index of the document that it was taken from.
    pub taken: usize,
    /// The index of the other one.
    pub left_out: usize,
}

/// Definitions that contradict each other.
#[derive(Debug)]
pub struct Conflicts(String);

impl fmt::Display for Conflicts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the sources define the same things differently; nothing was written\n{}", self.0)
    }
}

impl std::error::Error for Conflicts {}

/// Which of two documents defines the thing at a pointer; `None` if nobody decided.
pub type Prefer<'a> = &'a dyn Fn(&str, usize, usize) -> Option<usize>;

/// Merges all documents.
///
/// # Errors
/// If two of them define one thing differently, and `prefer` does not choose.
///
/// ```
/// # fn main() -> anyhow::Result<()> {
/// use openapi_keeper::{description, merge::{Input, merge}, source::operations};
///
/// let talks = description::parse(b"paths: {/talks: {get: {responses: {}}}}", "talks.yaml")?;
/// let users = description::parse(b"paths: {/users: {get: {responses: {}}}}", "users.yaml")?;
/// let taken = [operations(&talks), operations(&users)];
/// let inputs = [("talks.yaml", &talks, &taken[0]), ("users.yaml", &users, &taken[1])];
/// let inputs = inputs.map(|(shown, document, operations)| Input { shown: shown.to_owned(), document, operations });
/// // Nobody decides if two sources define one thing differently: that is an error.
/// let merged = merge(&inputs, &|_pointer, _first, _second| None)?;
/// assert_eq!(operations(&merged.document), ["GET /talks", "GET /users"]);
/// # Ok(())
/// # }
/// ```
pub fn merge(inputs: &[Input<'_>], prefer: Prefer<'_>) -> Result<Merged, Conflicts> {
    let mut document = Map::new();
    for (key, value) in inputs.first().into_iter().flat_map(|input| members(Some(input.document))) {
        match key.as_str() {
            "paths" | "components" => drop(document.insert(key.clone(), json!({}))),
            // An extension of the whole document may refer to what is not taken.
            key if key.starts_with("x-") => {}
            _ => drop(document.insert(key.clone(), value.clone())),
        }
    }
    let merged = Merged { document: Value::Object(document), ..Merged::default() };
    let mut merge = Merge { inputs, prefer, merged, conflicts: String::new() };
    for (index, input) in inputs.iter().enumerate().filter(|(_, input)| !input.operations.is_empty()) {
        for key in ["security", "servers"] {
            // Operations inherit these, so another value would change their meaning.
            merge.put(index, &[key]);
        }
        for (path, item) in members(input.document.get("paths")) {
            let taken: Vec<_> = METHODS.iter().filter(|method| takes(input, path, method)).collect();
            for method in &taken {
                merge.put(index, &["paths", path, method]);
            }
            let others = members(Some(item)).filter(|(key, _)| !METHODS.contains(&key.as_str()));
            for (key, _) in others.filter(|_| !taken.is_empty()) {
                merge.put(index, &["paths", path, key]);
            }
        }
    }
    for (index, input) in inputs.iter().enumerate() {
        let owned = merge.merged.owners.iter().filter(|(_, owner)| **owner == index);
        let operations = owned.filter(|(pointer, _)| pointer.starts_with("/paths/"));
        let used = used(
            input.document,
            operations.filter_map(|(pointer, _)| input.document.pointer(pointer)).collect(),
        );
        for (group, named) in members(input.document.get("components")) {
            for (name, _) in members(Some(named)) {
                let steps = ["components", group, name];
                if group == "securitySchemes" || used.contains(&pointer(&steps)) {
                    merge.put(index, &steps);
                }
            }
        }
    }
    if merge.conflicts.is_empty() { Ok(merge.merged) } else { Err(Conflicts(merge.conflicts)) }
}

fn takes(input: &Input<'_>, path: &str, method: &str) -> bool {
    input.document["paths"][path].get(method).is_some()
        && input.operations.contains(&format!("{} {path}", method.to_uppercase()))
}

struct Merge<'a> {
    inputs: &'a [Input<'a>],
    prefer: Prefer<'a>,
    merged: Merged,
    conflicts: String,
}

impl Merge<'_> {
    /// Adds one definition of a document, unless it exists already.
    fn put(&mut self, index: usize, steps: &[&str]) {
        let pointer = pointer(steps);
        let Some(&owner) = self.merged.owners.get(&pointer) else {
            self.set(index, steps, &pointer);
            return;
        };
        let (one, other) = (&self.inputs[owner], &self.inputs[index]);
        let changes = changes(one.document, other.document, steps);
        if changes.is_empty() {
            return;
        }
        if changes.iter().all(|(verdict, _)| *verdict == Verdict::Docs) {
            self.merged.notes.push(format!(
                "{pointer}: the documentation of {} is kept; {} differs in the documentation only",
                one.shown, other.shown
            ));
            return;
        }
        match (self.prefer)(&pointer, owner, index) {
            Some(taken) => {
                let left_out = if taken == owner { index } else { owner };
                self.merged.choices.push(Choice { pointer: pointer.clone(), taken, left_out });
                self.set(taken, steps, &pointer);
            }
            None => {
                self.conflicts += &format!("  {pointer}\n    in {}\n    and {}\n", one.shown, other.shown);
                for (_, what) in changes.iter().filter(|(verdict, _)| *verdict != Verdict::Docs) {
                    self.conflicts += &format!("      {what}\n");
                }
            }
        }
    }

    fn set(&mut self, index: usize, steps: &[&str], pointer: &str) {
        self.merged.owners.insert(pointer.to_owned(), index);
        let Some(value) = self.inputs[index].document.pointer(pointer) else { return };
        let mut place = &mut self.merged.document;
        for step in steps {
            place = &mut place[*step];
        }
        *place = value.clone();
    }
}

fn pointer(steps: &[&str]) -> String {
    steps.iter().fold(String::new(), |at, step| pointer_step(&at, step))
}

/// What differs between two definitions of one thing.
fn changes(one: &Value, other: &Value, steps: &[&str]) -> Vec<(Verdict, String)> {
    if let (Some(one), Some(other)) = (alone(one, steps), alone(other, steps)) {
        let findings = diff::compare(&one, &other).into_iter();
        // Security schemes are definitions of their own.
        let inside = findings.filter(|finding| finding.pointer.starts_with("/paths"));
        // What is sent and received is one definition.
        let all: BTreeSet<_> = inside
            .map(|finding| {
                let place = finding.component.unwrap_or(finding.pointer);
                (finding.verdict, format!("{place}: {}", finding.what))
            })
            .collect();
        return all.into_iter().collect();
    }
    let (one, other) = (one.pointer(&pointer(steps)), other.pointer(&pointer(steps)));
    let bare = |value: Option<&Value>| value.map(without_docs);
    match (one == other, bare(one) == bare(other)) {
        (true, _) => Vec::new(),
        (false, true) => vec![(Verdict::Docs, "documentation".to_owned())],
        (false, false) => vec![(Verdict::Breaking, "it is another one".to_owned())],
    }
}

/// A document with one definition only, and what it uses; `None` if it cannot stand alone.
fn alone(document: &Value, steps: &[&str]) -> Option<Value> {
    let reference = json!({ "$ref": format!("#{}", pointer(steps)) });
    let item = match steps {
        ["paths", path, method] if METHODS.contains(method) => {
            let item = &document["paths"][path];
            json!({ *method: item[method], "parameters": item.get("parameters").unwrap_or(&json!([])) })
        }
        ["components", group, _] => {
            let content = json!({ "application/json": { "schema": reference } });
            let operation = match *group {
                "schemas" => {
                    json!({ "requestBody": { "content": content }, "responses": { "200": { "content": content } } })
                }
                "parameters" => json!({ "parameters": [reference] }),
                "headers" => json!({ "responses": { "200": { "headers": { "X": reference } } } }),
                "requestBodies" => json!({ "requestBody": reference }),
                "responses" => json!({ "responses": { "200": reference } }),
                _ => return None,
            };
            json!({ "post": operation })
        }
        _ => return None,
    };
    let path = if steps[0] == "paths" { steps[1] } else { "/" };
    let mut alone = json!({ "paths": {}, "components": {} });
    for key in ["security", "servers"] {
        alone[key] = document.get(key).cloned().unwrap_or_else(|| json!([]));
    }
    for component in used(document, vec![&item]) {
        let mut names = component.split('/').skip(2);
        if let (Some(group), Some(name), Some(value)) =
            (names.next(), names.next(), document.pointer(&component))
        {
            alone["components"][group][name.replace("~1", "/").replace("~0", "~")] = value.clone();
        }
    }
    alone["paths"][path] = item;
    Some(alone)
}

/// The pointers of the components that values use, directly or through others.
fn used<'a>(document: &'a Value, mut next: Vec<&'a Value>) -> BTreeSet<String> {
    let mut used = BTreeSet::new();
    while let Some(value) = next.pop() {
        if let Some(path) = value.as_str().and_then(|text| text.strip_prefix("#/components/")) {
            let steps: Vec<_> = path.splitn(3, '/').take(2).collect();
            let pointer = format!("/components/{}", steps.join("/"));
            next.extend(document.pointer(&pointer).filter(|_| used.insert(pointer)));
        }
        each_child(value, "", |child, _| next.push(child));
    }
    used
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source::operations;

    fn document(path: &str, schema: Value, schemas: Value) -> Value {
        let content = json!({"application/json": {"schema": schema}});
        json!({"openapi": "3.0.3", "info": {"title": "t", "version": "1"},
            "paths": {path: {"get": {"responses": {"200": {"description": "d", "content": content}}}}},
            "components": {"schemas": schemas}})
    }

    fn merged(documents: &[&Value], prefer: Prefer<'_>) -> Result<Merged, Conflicts> {
        let operations: Vec<_> = documents.iter().map(|document| operations(document)).collect();
        let inputs = documents.iter().zip(&operations).enumerate().map(|(index, (document, operations))| {
            Input { shown: format!("{index}.yaml"), document, operations }
        });
        merge(&inputs.collect::<Vec<_>>(), prefer)
    }

    #[test]
    fn equal_definitions_are_merged_and_others_are_added() {
        let s = json!({"$ref": "#/components/schemas/S"});
        let one = document("/a", s.clone(), json!({"S": {"type": "string"}}));
        let other = document("/a", json!({"type": "string"}), json!({}));
        let third = document("/b", s, json!({"S": {"type": "string"}, "T": {"type": "integer"}}));
        let merged = merged(&[&one, &other, &third], &|_, _, _| None).unwrap();
        assert!(merged.notes.is_empty() && merged.choices.is_empty(), "{merged:?}");
        assert_eq!(operations(&merged.document), ["GET /a", "GET /b"]);
        assert_eq!(
            merged.document["components"]["schemas"],
            json!({"S": {"type": "string"}}),
            "T is not used"
        );
        assert_eq!(merged.owners["/paths/~1b/get"], 2);
    }

    #[test]
    fn different_definitions_are_a_conflict_unless_someone_chooses() {
        let (one, other) = (
            document("/a", json!({"type": "string"}), json!({})),
            document("/a", json!({"type": "integer"}), json!({})),
        );
        let error = merged(&[&one, &other], &|_, _, _| None).unwrap_err().to_string();
        for says in ["/paths/~1a/get", "0.yaml", "1.yaml", "/schema/type", "nothing was written"] {
            assert!(error.contains(says), "no {says} in {error}");
        }
        for (taken, wanted) in [(0, &one), (1, &other)] {
            let merged = merged(&[&one, &other], &|_, _, _| Some(taken)).unwrap();
            assert_eq!(merged.document["paths"], wanted["paths"]);
            let pointer = "/paths/~1a/get".to_owned();
            assert_eq!(merged.choices, [Choice { pointer, taken, left_out: 1 - taken }]);
        }
    }

    #[test]
    fn a_component_of_an_operation_that_is_not_taken_is_no_conflict() {
        let s = json!({"$ref": "#/components/schemas/S"});
        let one = document("/a", s.clone(), json!({"S": {"type": "string"}}));
        let other = document("/b", s, json!({"S": {"type": "integer"}}));
        let error = merged(&[&one, &other], &|_, _, _| None).unwrap_err().to_string();
        assert_eq!(
            error.matches("/components/schemas/S/type: the type is another one").count(),
            1,
            "{error}"
        );
        let input = |document, operations| Input { shown: "x".to_owned(), document, operations };
        let a = ["GET /a".to_owned()];
        let merged = merge(&[input(&one, &a), input(&other, &[])], &|_, _, _| None).unwrap();
        assert_eq!(merged.document["components"]["schemas"]["S"]["type"], "string");
    }

    #[test]
    fn different_documentation_is_a_note_and_not_a_conflict() {
        let one = document("/a", json!({"type": "string"}), json!({}));
        let other = document("/a", json!({"type": "string", "description": "x"}), json!({}));
        let notes = merged(&[&one, &other], &|_, _, _| None).unwrap().notes;
        assert!(notes.len() == 1 && notes[0].contains("in the documentation only"), "{notes:?}");
    }

    #[test]
    fn different_servers_are_a_conflict() {
        let mut one = document("/a", json!({}), json!({}));
        one["servers"] = json!([{"url": "https://a"}]);
        let error = merged(&[&one, &document("/b", json!({}), json!({}))], &|_, _, _| None).unwrap_err();
        assert!(error.to_string().contains("/servers"), "{error}");
    }
}
