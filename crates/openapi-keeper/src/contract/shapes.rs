//! The shapes of messages: what JSON Schema cannot express, with all schemas merged that describe the same value.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Result, bail};
use serde_json::{Map, Value, json};

use super::dialect::PROMISES;
use crate::openapi::{Direction, elements, follow, members, pointer_step};

/// The extension for open lists of values.
const OPEN_LIST: &str = "x-extensible-enum";

/// The shapes of all messages of one direction.
pub(super) struct Shapes<'a> {
    document: &'a Value,
    /// By name: the pointers of the schemas that describe the value.
    shapes: BTreeMap<String, Value>,
    /// The pointers of all schemas that a validator needs.
    schemas: BTreeSet<String>,
}

impl<'a> Shapes<'a> {
    pub(super) fn new(document: &'a Value) -> Self {
        Self { document, shapes: BTreeMap::new(), schemas: BTreeSet::new() }
    }

    /// The pointers of all schemas that a validator needs.
    pub(super) fn schemas(&self) -> impl Iterator<Item = &str> {
        self.schemas.iter().map(String::as_str)
    }

    /// Adds the shapes of other messages of the same description.
    pub(super) fn extend(&mut self, other: Self) {
        self.shapes.extend(other.shapes);
    }

    /// The shapes by name, without those that say nothing.
    pub(super) fn into_json(self) -> Value {
        self.shapes.into_iter().filter(|(_, shape)| shape != &json!({})).collect()
    }

    /// Adds the schema at this pointer and everything below it. Returns the schema as the result of the compilation has
    /// it.
    pub(super) fn add(&mut self, pointer: &str, direction: Direction) -> Result<Value> {
        self.schemas.insert(pointer.to_owned());
        let direction = if direction == Direction::Request { "request" } else { "response" };
        let shape = self.merged(&[pointer.to_owned()])?;
        Ok(json!({ "direction": direction, "pointer": pointer, "shape": shape }))
    }

    /// Adds the shape of the value that all these schemas describe. Returns its name.
    fn merged(&mut self, pointers: &[String]) -> Result<String> {
        let (mut roots, mut parts) = (Vec::new(), Vec::new());
        for pointer in pointers {
            let root = collect(self.document, pointer, &mut parts)?;
            if !roots.contains(&root) {
                roots.push(root);
            }
        }
        let name = roots.join(" + ");
        if self.shapes.contains_key(&name) {
            return Ok(name);
        }
        // The name is known before the shape is complete, because a schema may contain itself.
        self.shapes.insert(name.clone(), Value::Null);
        let mut shape = Map::new();
        if roots.len() > 1 {
            shape.insert("pointer".to_owned(), json!(roots.first()));
        }
        let schemas = parts.iter().filter_map(|part| Some((part, self.document.pointer(part)?.as_object()?)));
        let mut fields: BTreeMap<String, Vec<String>> = BTreeMap::new();
        let (mut additional, mut items, mut values, mut promises) = (vec![], vec![], vec![], vec![]);
        let (mut closed, mut open, mut secret) = (false, false, false);
        for (part, schema) in schemas {
            for (name, _) in members(schema.get("properties")) {
                // An object without `properties` may have any fields.
                closed = true;
                fields
                    .entry(name.clone())
                    .or_default()
                    .push(pointer_step(&format!("{part}/properties"), name));
            }
            match schema.get("additionalProperties") {
                Some(Value::Object(_)) => additional.push(format!("{part}/additionalProperties")),
                Some(Value::Bool(true)) => open = true,
                _ => {}
            }
            if schema.contains_key("items") {
                items.push(format!("{part}/items"));
            }
            if let Some(list @ Value::Array(_)) = schema.get(OPEN_LIST) {
                values.push(json!({ "pointer": format!("{part}/{OPEN_LIST}"), "values": list }));
            }
            secret |= schema.get("format").is_some_and(|format| format == "password");
            for (index, _) in elements(schema.get(PROMISES)).enumerate() {
                let pointer = format!("{part}/{PROMISES}/{index}");
                self.schemas.extend(["when", "then"].map(|key| format!("{pointer}/{key}")));
                promises.push(pointer);
            }
        }
        for (key, set) in [("closed", closed && !open), ("secret", secret)] {
            if set {
                shape.insert(key.to_owned(), json!(true));
            }
        }
        let fields = fields.into_iter().map(|(name, pointers)| Ok((name, json!(self.merged(&pointers)?))));
        let fields = fields.collect::<Result<Map<_, _>>>()?;
        for (key, pointers) in [("additional", additional), ("items", items)] {
            if !pointers.is_empty() {
                shape.insert(key.to_owned(), json!(self.merged(&pointers)?));
            }
        }
        for (key, member) in
            [("values", Value::from(values)), ("promises", promises.into()), ("fields", fields.into())]
        {
            if member != json!([]) && member != json!({}) {
                shape.insert(key.to_owned(), member);
            }
        }
        self.shapes.insert(name.clone(), shape.into());
        Ok(name)
    }
}

/// Collects the schema at a pointer and all schemas that are merged into it. Returns the pointer of the schema itself.
fn collect(document: &Value, pointer: &str, parts: &mut Vec<String>) -> Result<String> {
    let root = follow(document, pointer)?;
    let Some(schema) = document.pointer(&root) else { bail!("{root} does not exist") };
    if parts.contains(&root) {
        return Ok(root);
    }
    parts.push(root.clone());
    for branches in ["allOf", "anyOf", "oneOf"] {
        for (index, _) in elements(schema.get(branches)).enumerate() {
            collect(document, &format!("{root}/{branches}/{index}"), parts)?;
        }
    }
    Ok(root)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn schemas_of_the_same_value_are_merged_also_if_they_contain_themselves() {
        let document = json!({"components": {"schemas": {
            "Tree": {"properties": {"children": {"items": {"$ref": "#/components/schemas/Tree"}}, "label": {}}},
            "Named": {"allOf": [{"$ref": "#/components/schemas/Tree"}, {"properties": {
                "children": {"items": {"$ref": "#/components/schemas/Named"}},
                "name": {"type": "string", "format": "password", "x-extensible-enum": ["a"]},
            }}]},
            "Free": {"type": "object", "additionalProperties": {"$ref": "#/components/schemas/Tree"}},
            "Open": {"properties": {"a": {}}, "additionalProperties": true, "x-promises": [{"when": {}, "then": {}}]},
        }}});
        let mut shapes = Shapes::new(&document);
        let at = |rest: &str| format!("/components/schemas/{rest}");
        for name in ["Named", "Tree", "Free", "Open"] {
            assert_eq!(shapes.add(&at(name), Direction::Response).unwrap()["shape"], at(name));
        }
        assert!(shapes.schemas().any(|schema| schema == at("Open/x-promises/0/then")));
        let children = at("Tree/properties/children") + " + " + &at("Named/allOf/1/properties/children");
        let both = at("Tree") + " + " + &at("Named");
        let name = at("Named/allOf/1/properties/name");
        let fields = json!({"children": children, "label": at("Tree/properties/label"), "name": name});
        let own = at("Tree/properties/children");
        let wanted = json!({
            (at("Named")): {"closed": true, "fields": fields},
            (both.as_str()): {"pointer": at("Tree"), "closed": true, "fields": fields},
            (children.as_str()): {"pointer": own, "items": both},
            (name.as_str()): {"secret": true, "values": [{"pointer": format!("{name}/x-extensible-enum"), "values": ["a"]}]},
            (at("Tree")): {"closed": true, "fields": {"children": own, "label": at("Tree/properties/label")}},
            (own.as_str()): {"items": at("Tree")},
            (at("Free")): {"additional": at("Tree")},
            (at("Open")): {"promises": [at("Open/x-promises/0")], "fields": {"a": at("Open/properties/a")}},
        });
        assert_eq!(shapes.into_json(), wanted);
    }
}
