//! What the description knows of a value beyond JSON Schema: which fields there are, which values are
//! listed, what is promised under a condition.
//!
//! Schemas are merged once (`$ref`, `allOf`, and all branches of `anyOf` and `oneOf`) into nodes, so
//! that a message is walked without a poll the description.

use std::collections::{BTreeMap, BTreeSet};

use jsonschema::Validator;
use serde_json::Value;

use crate::{
    dialect::PROMISES,
    redact,
    report::{DriftKind, Report},
    schemas::{self, Schemas},
};

/// A node of [`Shapes`].
pub(crate) type NodeId = usize;

/// All nodes of a description's messages of one direction.
#[derive(Debug, Default)]
pub(crate) struct Shapes {
    nodes: Vec<Node>,
    /// By the pointers that are merged in it.
    known: BTreeMap<Vec<String>, NodeId>,
}

#[derive(Debug, Default)]
struct Node {
    /// The first of the merged schemas.
    pointer: String,
    fields: BTreeMap<String, NodeId>,
    /// Whether fields are described at all: an object of which nothing is said may hold anything.
    closed: bool,
    /// What all other fields are, where that is described.
    others: Option<NodeId>,
    items: Option<NodeId>,
    /// Values that are listed while others may come, and where.
    listed: Vec<(Vec<Value>, String)>,
    promises: Vec<Promise>,
    /// Whether it holds what nobody should read.
    secret: bool,
}

#[derive(Debug)]
struct Promise {
    when: Validator,
    then: Validator,
    /// Where it is described.
    pointer: String,
}

/// Where fields and values were seen, with `*` for the elements of a list.
pub(crate) type Seen = BTreeSet<String>;

impl Shapes {
    /// The node of the schema at this pointer.
    pub(crate) fn add(&mut self, schemas: &Schemas<'_>, pointer: &str) -> Result<NodeId, String> {
        self.merged(schemas, vec![pointer.to_owned()])
    }

    fn merged(&mut self, schemas: &Schemas<'_>, pointers: Vec<String>) -> Result<NodeId, String> {
        let mut parts = Vec::new();
        for pointer in &pointers {
            collect(schemas, pointer, &mut parts)?;
        }
        if let Some(id) = self.known.get(&parts) {
            return Ok(*id);
        }
        let id = self.nodes.len();
        self.nodes.push(Node { pointer: parts.first().cloned().unwrap_or_default(), ..Node::default() });
        self.known.insert(parts.clone(), id);

        let mut fields: BTreeMap<String, Vec<String>> = BTreeMap::new();
        let (mut others, mut items) = (Vec::new(), Vec::new());
        let mut node = Node { pointer: self.nodes[id].pointer.clone(), ..Node::default() };
        let mut open = false;
        for part in &parts {
            let Some(schema) = schemas.document.pointer(part).and_then(Value::as_object) else { continue };
            for name in
                schema.get("properties").and_then(Value::as_object).into_iter().flat_map(|map| map.keys())
            {
                node.closed = true;
                fields.entry(name.clone()).or_default().push(step(&format!("{part}/properties"), name));
            }
            match schema.get("additionalProperties") {
                Some(Value::Object(_)) => others.push(format!("{part}/additionalProperties")),
                Some(Value::Bool(true)) => open = true,
                _ => {}
            }
            if schema.contains_key("items") {
                items.push(format!("{part}/items"));
            }
            if let Some(Value::Array(values)) = schema.get("x-extensible-enum") {
                node.listed.push((values.clone(), format!("{part}/x-extensible-enum")));
            }
            node.secret |= schema.get("format").is_some_and(|format| format == "password");
            let promises = schema.get(PROMISES).and_then(Value::as_array).map_or(0, Vec::len);
            for index in 0..promises {
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
        if !others.is_empty() {
            node.others = Some(self.merged(schemas, others)?);
        }
        if !items.is_empty() {
            node.items = Some(self.merged(schemas, items)?);
        }
        self.nodes[id] = node;
        Ok(id)
    }

    /// Whether what stands at this path below the node is nothing to be read.
    pub(crate) fn is_secret<'a>(&self, node: NodeId, path: impl Iterator<Item = &'a str>) -> bool {
        let mut at = Some(node);
        let mut secret = false;
        for name in path {
            let node = at.map(|id| &self.nodes[id]);
            at = node.and_then(|node| node.fields.get(name).copied().or(node.items).or(node.others));
            secret |= redact::is_secret(name) || at.is_some_and(|id| self.nodes[id].secret);
        }
        secret
    }

    /// Whether anything at or below the node is nothing to be read.
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
            open.extend(node.fields.values().chain(&node.others).chain(&node.items));
        }
        false
    }

    /// Finds what JSON Schema cannot say. `at` is the place of the value, and is left as it was.
    pub(crate) fn walk(
        &self,
        id: NodeId,
        value: &Value,
        at: &mut String,
        description: &Value,
        report: &mut Report,
    ) {
        let node = &self.nodes[id];
        for (values, pointer) in &node.listed {
            // One of another type is JSON Schema's business.
            let same_type =
                values.iter().any(|listed| std::mem::discriminant(listed) == std::mem::discriminant(value));
            if same_type && !values.iter().any(|listed| same(listed, value)) {
                let known = format!("known are {}", list(values));
                let came = redact::value(value, node.secret);
                report.drift(DriftKind::UnknownValue, at, came, known, pointer);
            }
        }
        for promise in &node.promises {
            if !promise.then.is_valid(value) && promise.when.is_valid(value) {
                for error in promise.then.iter_errors(value) {
                    let secret = self.is_secret(id, schemas::path(&error).iter().map(String::as_str));
                    schemas::violation(&error, at, secret, description, &promise.pointer, report);
                }
            }
        }
        let length = at.len();
        match value {
            Value::Object(object) => {
                for (name, member) in object {
                    push_step(at, name);
                    match node.fields.get(name).copied().or(node.others) {
                        Some(field) => self.walk(field, member, at, description, report),
                        None if node.closed => {
                            let secret = redact::is_secret(name);
                            let mut fields: Vec<_> =
                                node.fields.keys().filter(|field| !object.contains_key(*field)).collect();
                            // Renamed or mistyped: what is most alike comes first.
                            fields.sort_by_key(|field| !alike(field, name));
                            let known = if fields.is_empty() {
                                "all that are described are there as well".to_owned()
                            } else {
                                format!("described and missing are {}", redact::names(fields.into_iter()))
                            };
                            report.drift(
                                DriftKind::UnknownField,
                                at,
                                redact::value(member, secret),
                                known,
                                &node.pointer,
                            );
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
                        self.walk(items, member, at, description, report);
                        at.truncate(length);
                    }
                }
            }
            _ => {}
        }
    }

    /// Notes which described fields and listed values are there.
    pub(crate) fn see(&self, id: NodeId, value: &Value, at: &mut String, seen: &mut Seen) {
        let node = &self.nodes[id];
        if node.listed.iter().any(|(values, _)| values.contains(value)) {
            seen.insert(format!("{at}={value}"));
        }
        let length = at.len();
        match value {
            Value::Object(object) => {
                for (name, member) in object {
                    let Some(field) = node.fields.get(name) else { continue };
                    push_step(at, name);
                    seen.insert(at.clone());
                    self.see(*field, member, at, seen);
                    at.truncate(length);
                }
            }
            Value::Array(list) => {
                for member in list.iter().filter(|_| node.items.is_some()) {
                    at.push_str("/*");
                    self.see(node.items.unwrap_or(id), member, at, seen);
                    at.truncate(length);
                }
            }
            _ => {}
        }
    }

    /// Tells what is described and not in `seen`; below what never came, nothing.
    pub(crate) fn never_came(&self, id: NodeId, at: &mut String, seen: &Seen, report: &mut Report) {
        let node = &self.nodes[id];
        for (values, pointer) in &node.listed {
            for value in values.iter().filter(|value| !seen.contains(&format!("{at}={value}"))) {
                report.drift(DriftKind::NeverCame, at, "nothing", format!("the value {value}"), pointer);
            }
        }
        let length = at.len();
        for (name, field) in &node.fields {
            push_step(at, name);
            if seen.contains(at.as_str()) {
                self.never_came(*field, at, seen, report);
            } else {
                let known = format!("the field `{name}`");
                report.drift(DriftKind::NeverCame, at, "nothing", known, &self.nodes[*field].pointer);
            }
            at.truncate(length);
        }
        let items = format!("{at}/*");
        if let Some(node) = node.items
            && seen.range(items.clone()..).next().is_some_and(|first| first.starts_with(&items))
        {
            at.push_str("/*");
            self.never_came(node, at, seen, report);
            at.truncate(length);
        }
    }
}

/// The schema at a pointer, and all that are merged into it.
fn collect(schemas: &Schemas<'_>, pointer: &str, parts: &mut Vec<String>) -> Result<(), String> {
    if parts.iter().any(|part| part == pointer) {
        return Ok(());
    }
    let Some(schema) = schemas.document.pointer(pointer) else {
        return Err(format!("{pointer} does not exist"));
    };
    if let Some(reference) = schema.get("$ref").and_then(Value::as_str) {
        let Some(target) = reference.strip_prefix('#') else {
            return Err(format!("{pointer}/$ref leads out of the document"));
        };
        return collect(schemas, target, parts);
    }
    parts.push(pointer.to_owned());
    for branches in ["allOf", "anyOf", "oneOf"] {
        let count = schema.get(branches).and_then(Value::as_array).map_or(0, Vec::len);
        for index in 0..count {
            collect(schemas, &format!("{pointer}/{branches}/{index}"), parts)?;
        }
    }
    Ok(())
}

/// Whether two names could mean the same: one holds the other, whatever the case and between the words.
fn alike(one: &str, other: &str) -> bool {
    let plain = |name: &str| name.replace(['_', '-'], "").to_ascii_lowercase();
    let (one, other) = (plain(one), plain(other));
    one.contains(&other) || other.contains(&one)
}

/// Whether two values are the same, `3` and `3.0` included.
fn same(one: &Value, other: &Value) -> bool {
    one == other || one.as_f64().is_some_and(|number| Some(number) == other.as_f64())
}

/// One step of a JSON Pointer (RFC 6901), escaped.
pub(crate) fn step(pointer: &str, name: &str) -> String {
    let mut pointer = pointer.to_owned();
    push_step(&mut pointer, name);
    pointer
}

fn push_step(at: &mut String, name: &str) {
    at.push('/');
    if name.contains(['~', '/']) {
        at.push_str(&name.replace('~', "~0").replace('/', "~1"));
    } else {
        at.push_str(name);
    }
}

/// Values of the description, which are shown as they are.
pub(crate) fn list(values: &[Value]) -> String {
    values.iter().map(Value::to_string).collect::<Vec<_>>().join(", ")
}
