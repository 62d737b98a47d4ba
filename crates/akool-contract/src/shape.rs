//! The checks that JSON Schema cannot express: undocumented fields, values beside an open list, and
//! promises under a condition.
//!
//! Schemas are merged once (`$ref`, `allOf`, and all branches of `anyOf` and `oneOf`) into a graph of
//! nodes, so that a check of a message does not read the description.

use std::{
    collections::{BTreeMap, BTreeSet},
    mem::discriminant,
};

use jsonschema::Validator;
use serde_json::Value;

use crate::{
    dialect::PROMISES,
    pointer::{follow, length, push_step, step},
    redact::{self, list},
    report::{DriftKind, Report},
    schemas::{self, Schemas},
};

/// The index of a node in [`Shapes`].
pub(crate) type NodeId = usize;

/// The nodes of all messages of one direction.
#[derive(Debug, Default)]
pub(crate) struct Shapes {
    nodes: Vec<Node>,
    /// Node by the pointers of the schemas that are merged in it.
    known: BTreeMap<Vec<String>, NodeId>,
}

#[derive(Debug, Default)]
struct Node {
    /// The first of the merged schemas.
    pointer: String,
    fields: BTreeMap<String, NodeId>,
    /// Whether other fields are undocumented. An object without `properties` may have any fields.
    closed: bool,
    /// The node of all other fields (`additionalProperties`).
    additional: Option<NodeId>,
    items: Option<NodeId>,
    /// Open lists of values (`x-extensible-enum`), each with its place.
    extensible: Vec<(Vec<Value>, String)>,
    promises: Vec<Promise>,
    /// Whether the value is a secret (`format: password`).
    secret: bool,
}

#[derive(Debug)]
struct Promise {
    when: Validator,
    then: Validator,
    pointer: String,
}

/// The pointers of received fields and values, with `*` for the elements of a list.
pub(crate) type Seen = BTreeSet<String>;

impl Shapes {
    /// Adds the schema at this pointer and everything below it.
    pub(crate) fn add(&mut self, schemas: &Schemas<'_>, pointer: &str) -> Result<NodeId, String> {
        self.merged(schemas, vec![pointer.to_owned()])
    }

    fn merged(&mut self, schemas: &Schemas<'_>, pointers: Vec<String>) -> Result<NodeId, String> {
        let mut parts = Vec::new();
        for pointer in &pointers {
            collect(schemas.document, pointer, &mut parts)?;
        }
        if let Some(id) = self.known.get(&parts) {
            return Ok(*id);
        }
        // The node is known before it is complete, because a schema may contain itself.
        let id = self.nodes.len();
        self.nodes.push(Node::default());
        self.known.insert(parts.clone(), id);

        let mut node = Node { pointer: parts.first().cloned().unwrap_or_default(), ..Node::default() };
        let mut fields: BTreeMap<String, Vec<String>> = BTreeMap::new();
        let (mut additional, mut items) = (Vec::new(), Vec::new());
        let mut open = false;
        for part in &parts {
            let Some(schema) = schemas.document.pointer(part).and_then(Value::as_object) else { continue };
            if let Some(Value::Object(properties)) = schema.get("properties") {
                node.closed |= !properties.is_empty();
                for name in properties.keys() {
                    fields.entry(name.clone()).or_default().push(step(&format!("{part}/properties"), name));
                }
            }
            match schema.get("additionalProperties") {
                Some(Value::Object(_)) => additional.push(format!("{part}/additionalProperties")),
                Some(Value::Bool(true)) => open = true,
                _ => {}
            }
            if schema.contains_key("items") {
                items.push(format!("{part}/items"));
            }
            if let Some(Value::Array(values)) = schema.get("x-extensible-enum") {
                node.extensible.push((values.clone(), format!("{part}/x-extensible-enum")));
            }
            node.secret |= schema.get("format").is_some_and(|format| format == "password");
            for index in 0..length(schemas.document, &format!("{part}/{PROMISES}")) {
                let pointer = format!("{part}/{PROMISES}/{index}");
                node.promises.push(Promise {
                    when: schemas.validator(&format!("{pointer}/when"))?,
                    then: schemas.validator(&format!("{pointer}/then"))?,
                    pointer,
                });
            }
        }
        node.closed &= !open;
        for (name, pointers) in fields {
            let field = self.merged(schemas, pointers)?;
            node.fields.insert(name, field);
        }
        if !additional.is_empty() {
            node.additional = Some(self.merged(schemas, additional)?);
        }
        if !items.is_empty() {
            node.items = Some(self.merged(schemas, items)?);
        }
        self.nodes[id] = node;
        Ok(id)
    }

    /// Whether the value at this path below the node is a secret.
    pub(crate) fn is_secret(&self, node: NodeId, path: impl Iterator<Item = String>) -> bool {
        let mut at = Some(node);
        let mut secret = false;
        for name in path {
            let node = at.map(|id| &self.nodes[id]);
            at = node.and_then(|node| node.fields.get(&name).copied().or(node.items).or(node.additional));
            secret |= redact::is_secret(&name) || at.is_some_and(|id| self.nodes[id].secret);
        }
        secret
    }

    /// Whether the value at the node, or any value below it, is a secret.
    pub(crate) fn holds_secrets(&self, node: NodeId) -> bool {
        let (mut open, mut done) = (vec![node], BTreeSet::new());
        while let Some(id) = open.pop() {
            if !done.insert(id) {
                continue;
            }
            let node = &self.nodes[id];
            if node.secret {
                return true;
            }
            open.extend(node.fields.values().chain(&node.additional).chain(&node.items));
        }
        false
    }

    /// Checks a value and everything below it. `at` is its pointer and is the same afterwards.
    pub(crate) fn check(
        &self,
        id: NodeId,
        value: &Value,
        at: &mut String,
        description: &Value,
        report: &mut Report,
    ) {
        let node = &self.nodes[id];
        for (values, pointer) in &node.extensible {
            // A value of another type already breaks the schema.
            let same_type = values.iter().any(|listed| discriminant(listed) == discriminant(value));
            if same_type && !values.iter().any(|listed| is_equal(listed, value)) {
                let actual = redact::value(value, node.secret);
                report.drift(DriftKind::UnknownValue, at, actual, list(values), pointer);
            }
        }
        for promise in &node.promises {
            if !promise.then.is_valid(value) && promise.when.is_valid(value) {
                for error in promise.then.iter_errors(value) {
                    let secret = self.is_secret(id, schemas::path(&error));
                    schemas::violation(&error, at, secret, description, &promise.pointer, report);
                }
            }
        }
        let length = at.len();
        match value {
            Value::Object(object) => {
                for (name, member) in object {
                    push_step(at, name);
                    match node.fields.get(name).copied().or(node.additional) {
                        Some(field) => self.check(field, member, at, description, report),
                        None if node.closed => {
                            // The old name of a renamed field comes first.
                            let mut missing: Vec<_> =
                                node.fields.keys().filter(|field| !object.contains_key(*field)).collect();
                            missing.sort_by_key(|field| !is_similar(field, name));
                            let actual = redact::value(member, redact::is_secret(name));
                            let missing = redact::names(missing.into_iter());
                            report.drift(DriftKind::UnknownField, at, actual, missing, &node.pointer);
                        }
                        None => {}
                    }
                    at.truncate(length);
                }
            }
            Value::Array(list) => {
                if let Some(items) = node.items {
                    for (index, member) in list.iter().enumerate() {
                        at.push_str(&format!("/{index}"));
                        self.check(items, member, at, description, report);
                        at.truncate(length);
                    }
                }
            }
            _ => {}
        }
    }

    /// Notes which documented fields and listed values are present.
    pub(crate) fn record(&self, id: NodeId, value: &Value, at: &mut String, seen: &mut Seen) {
        let node = &self.nodes[id];
        if node.extensible.iter().any(|(values, _)| values.contains(value)) {
            seen.insert(format!("{at}={value}"));
        }
        let length = at.len();
        match value {
            Value::Object(object) => {
                for (name, member) in object {
                    let Some(field) = node.fields.get(name) else { continue };
                    push_step(at, name);
                    seen.insert(at.clone());
                    self.record(*field, member, at, seen);
                    at.truncate(length);
                }
            }
            Value::Array(list) => {
                if let Some(items) = node.items {
                    at.push_str("/*");
                    for member in list {
                        self.record(items, member, at, seen);
                    }
                    at.truncate(length);
                }
            }
            _ => {}
        }
    }

    /// Reports what is documented and not in `seen`, but nothing below a field that is not in `seen`.
    pub(crate) fn not_received(&self, id: NodeId, at: &mut String, seen: &Seen, report: &mut Report) {
        let node = &self.nodes[id];
        for (values, pointer) in &node.extensible {
            for value in values.iter().filter(|value| !seen.contains(&format!("{at}={value}"))) {
                let documented = format!("the value {value}");
                report.drift(DriftKind::NotReceived, at, "nothing", documented, pointer);
            }
        }
        let length = at.len();
        for (name, field) in &node.fields {
            push_step(at, name);
            if seen.contains(at.as_str()) {
                self.not_received(*field, at, seen, report);
            } else {
                let documented = format!("the field `{name}`");
                let pointer = &self.nodes[*field].pointer;
                report.drift(DriftKind::NotReceived, at, "nothing", documented, pointer);
            }
            at.truncate(length);
        }
        if let Some(items) = node.items {
            at.push_str("/*");
            if seen.range(at.clone()..).next().is_some_and(|first| first.starts_with(at.as_str())) {
                self.not_received(items, at, seen, report);
            }
            at.truncate(length);
        }
    }
}

/// Collects the schema at a pointer and all schemas that are merged into it.
fn collect(document: &Value, pointer: &str, parts: &mut Vec<String>) -> Result<(), String> {
    let pointer = follow(document, pointer)?;
    if document.pointer(&pointer).is_none() {
        return Err(format!("{pointer} does not exist"));
    }
    if parts.contains(&pointer) {
        return Ok(());
    }
    parts.push(pointer.clone());
    for branches in ["allOf", "anyOf", "oneOf"] {
        let branches = format!("{pointer}/{branches}");
        for index in 0..length(document, &branches) {
            collect(document, &format!("{branches}/{index}"), parts)?;
        }
    }
    Ok(())
}

/// Whether one name contains the other, regardless of case and word separators.
fn is_similar(one: &str, other: &str) -> bool {
    let plain = |name: &str| name.replace(['_', '-'], "").to_ascii_lowercase();
    let (one, other) = (plain(one), plain(other));
    one.contains(&other) || other.contains(&one)
}

/// Whether two values are equal, including `3` and `3.0`.
fn is_equal(one: &Value, other: &Value) -> bool {
    one == other || one.as_f64().is_some_and(|number| Some(number) == other.as_f64())
}
