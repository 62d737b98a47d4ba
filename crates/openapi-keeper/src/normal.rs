//! The normal form of a description: references are resolved, `allOf` is flattened, everything is sorted.
//!
//! Descriptions with the same meaning have the same normal form. Import and diff compare normal forms, so
//! neither has special cases for different spellings.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use crate::openapi::{METHODS, elements, members, pointer_step, resolve};

/// Keys that document and have no effect on messages.
pub const DOCS: [&str; 9] =
    ["description", "summary", "title", "example", "examples", "externalDocs", "tags", "deprecated", "xml"];

/// The normal form of a whole description. Parameters are keyed by location and name, and operations
/// include what they inherit from their path and from the document.
pub fn document(document: &Value) -> Value {
    let resolver = Resolver { document };
    let mut paths = Map::new();
    for (path, item) in members(document.get("paths")) {
        let item = resolver.follow(item);
        let mut operations = Map::new();
        for method in METHODS {
            if let Some(operation) = item.get(method) {
                operations.insert(method.to_owned(), resolver.operation(item, operation));
            }
        }
        paths.insert(path.clone(), Value::Object(operations));
    }
    let mut schemes = Map::new();
    for (name, scheme) in members(document.pointer("/components/securitySchemes")) {
        schemes.insert(name.clone(), sorted(resolver.follow(scheme)));
    }
    let mut normal = json!({ "paths": paths, "components": { "securitySchemes": schemes } });
    for key in ["openapi", "info"] {
        if let Some(value) = document.get(key) {
            normal[key] = sorted(value);
        }
    }
    sorted(&normal)
}

/// The normal form of one schema.
pub fn schema(document: &Value, schema: &Value) -> Value {
    sorted(&Resolver { document }.schema(schema, &mut Vec::new()))
}

struct Resolver<'a> {
    document: &'a Value,
}

impl<'a> Resolver<'a> {
    /// The value behind a reference. A broken reference stays as it is.
    fn follow(&self, value: &'a Value) -> &'a Value {
        resolve(self.document, value).value
    }

    fn operation(&self, item: &'a Value, operation: &'a Value) -> Value {
        let mut normal = Map::new();
        for (key, value) in members(Some(operation)) {
            match key.as_str() {
                "parameters" | "requestBody" | "responses" | "security" | "servers" => {}
                _ => drop(normal.insert(key.clone(), value.clone())),
            }
        }
        let mut parameters = Map::new();
        for owner in [item, operation] {
            for parameter in elements(owner.get("parameters")) {
                let parameter = self.follow(parameter);
                let text = |key| parameter.get(key).and_then(Value::as_str).unwrap_or_default();
                parameters.insert(format!("{} {}", text("in"), text("name")), self.carrier(parameter));
            }
        }
        normal.insert("parameters".to_owned(), Value::Object(parameters));
        if let Some(body) = operation.get("requestBody") {
            normal.insert("requestBody".to_owned(), self.carrier(self.follow(body)));
        }
        let responses = members(operation.get("responses"))
            .map(|(status, response)| (status.clone(), self.carrier(self.follow(response))))
            .collect();
        normal.insert("responses".to_owned(), Value::Object(responses));
        // Alternatives are keyed by their content, and servers by their URL.
        let inherited = |key| operation.get(key).or_else(|| self.document.get(key));
        let security = elements(inherited("security"))
            .map(|alternative| (sorted(alternative).to_string(), sorted(alternative)))
            .collect();
        normal.insert("security".to_owned(), Value::Object(security));
        let servers = elements(
            operation.get("servers").or_else(|| item.get("servers")).or_else(|| self.document.get("servers")),
        )
        .map(|server| {
            (server.get("url").and_then(Value::as_str).unwrap_or_default().to_owned(), sorted(server))
        })
        .collect();
        normal.insert("servers".to_owned(), Value::Object(servers));
        Value::Object(normal)
    }

    /// A parameter, body, header or response: its schemas in normal form, the rest unchanged.
    fn carrier(&self, value: &'a Value) -> Value {
        let mut normal = Map::new();
        for (key, value) in members(Some(value)) {
            let value = match key.as_str() {
                "schema" => self.schema(value, &mut Vec::new()),
                "content" | "headers" => members(Some(value))
                    .map(|(name, member)| (name.clone(), self.carrier(self.follow(member))))
                    .collect(),
                _ => value.clone(),
            };
            normal.insert(key.clone(), value);
        }
        Value::Object(normal)
    }

    /// A schema without references and without `allOf`. `$recursive` marks the place where a schema
    /// contains itself.
    fn schema(&self, schema: &'a Value, within: &mut Vec<&'a str>) -> Value {
        let resolved = resolve(self.document, schema);
        if let Some(target) = resolved.followed.iter().find(|target| within.contains(target)) {
            return json!({ "$recursive": target });
        }
        let schema = resolved.value;
        let depth = within.len();
        within.extend(resolved.followed);
        let mut normal = Map::new();
        for (key, value) in members(Some(schema)) {
            let value = match key.as_str() {
                "allOf" => continue,
                "properties" => members(Some(value))
                    .map(|(name, member)| (name.clone(), self.schema(member, within)))
                    .collect(),
                "items" | "not" | "additionalProperties" if value.is_object() => self.schema(value, within),
                "anyOf" | "oneOf" => {
                    let mut members: Vec<_> =
                        elements(Some(value)).map(|member| sorted(&self.schema(member, within))).collect();
                    members.sort_by_key(Value::to_string);
                    members.into()
                }
                "required" | "enum" => {
                    let mut members: Vec<_> = elements(Some(value)).cloned().collect();
                    in_order(&mut members);
                    members.into()
                }
                _ => value.clone(),
            };
            normal.insert(key.clone(), value);
        }
        for member in elements(schema.get("allOf")) {
            let member = self.schema(member, within);
            merge(&mut normal, member);
        }
        within.truncate(depth);
        for (key, default) in
            [("nullable", json!(false)), ("required", json!([])), ("deprecated", json!(false))]
        {
            if normal.get(key) == Some(&default) {
                normal.remove(key);
            }
        }
        Value::Object(normal)
    }
}

/// Combines two schemas into one that requires both.
fn merge(into: &mut Map<String, Value>, member: Value) {
    let Value::Object(member) = member else {
        return;
    };
    for (key, value) in member {
        match (key.as_str(), into.get_mut(&key)) {
            (_, None) => drop(into.insert(key, value)),
            ("properties", Some(Value::Object(there))) => {
                for (name, value) in members(Some(&value)) {
                    match there.get_mut(name) {
                        Some(Value::Object(property)) => merge(property, value.clone()),
                        _ => drop(there.insert(name.clone(), value.clone())),
                    }
                }
            }
            ("required", Some(Value::Array(there))) => {
                there.extend(elements(Some(&value)).cloned());
                in_order(there);
            }
            ("enum", Some(Value::Array(there))) => {
                there.retain(|allowed| elements(Some(&value)).any(|v| v == allowed))
            }
            // The documentation of the outer schema takes precedence.
            (key, Some(_)) if DOCS.contains(&key) => {}
            (_, Some(there)) if *there == value => {}
            // One key cannot hold both, which may contradict each other: keep them in a fixed order.
            (_, Some(there)) => {
                let mut both = conjuncts(there);
                both.extend(conjuncts(&value));
                in_order(&mut both);
                *there = json!({ "$both": both });
            }
        }
    }
}

/// The values of a `$both`, or the value itself.
fn conjuncts(value: &Value) -> Vec<Value> {
    match value.get("$both").and_then(Value::as_array) {
        Some(both) => both.clone(),
        None => vec![value.clone()],
    }
}

/// Sorts a list whose order has no meaning, and removes duplicates.
fn in_order(list: &mut Vec<Value>) {
    for member in list.iter_mut() {
        *member = sorted(member);
    }
    list.sort_by_key(Value::to_string);
    list.dedup();
}

/// The same value with sorted keys in every object.
pub fn sorted(value: &Value) -> Value {
    match value {
        Value::Object(object) => {
            let ordered: BTreeMap<_, _> =
                object.iter().map(|(key, value)| (key.clone(), sorted(value))).collect();
            Value::Object(ordered.into_iter().collect())
        }
        Value::Array(list) => Value::Array(list.iter().map(sorted).collect()),
        other => other.clone(),
    }
}

/// The value without documentation.
pub fn without_docs(value: &Value) -> Value {
    fn strip(value: &Value, names: bool) -> Value {
        match value {
            Value::Object(object) => object
                .iter()
                .filter(|(key, _)| names || !(DOCS.contains(&key.as_str()) || key.starts_with("x-")))
                // Below `properties` and the like, keys are names and not keywords.
                .map(|(key, value)| (key.clone(), strip(value, !names && NAMES.contains(&key.as_str()))))
                .collect(),
            Value::Array(list) => Value::Array(list.iter().map(|value| strip(value, false)).collect()),
            other => other.clone(),
        }
    }
    strip(value, false)
}

/// Keys below which keys are names and not keywords.
pub const NAMES: [&str; 8] =
    ["properties", "paths", "parameters", "responses", "content", "securitySchemes", "security", "servers"];

/// The JSON Pointers to the differences of two values, as deep as both are objects.
pub fn differences(one: &Value, other: &Value) -> Vec<String> {
    fn walk(one: &Value, other: &Value, at: &str, found: &mut Vec<String>) {
        match (one, other) {
            (Value::Object(a), Value::Object(b)) => {
                let keys: std::collections::BTreeSet<_> = a.keys().chain(b.keys()).collect();
                for key in keys {
                    let at = pointer_step(at, key);
                    match (a.get(key), b.get(key)) {
                        (Some(a), Some(b)) => walk(a, b, &at, found),
                        _ => found.push(at),
                    }
                }
            }
            (one, other) if one == other => {}
            _ => found.push(at.to_owned()),
        }
    }
    let mut found = Vec::new();
    walk(one, other, "", &mut found);
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(schema: Value) -> Value {
        json!({
            "openapi": "3.0.3",
            "paths": {"/a": {"get": {"responses": {"200": {"content": {"application/json": {"schema": schema}}}}}}},
            "components": {"schemas": {
                "P": {"type": "object", "required": ["b", "a"], "properties": {"a": {"type": "string"}}},
                "Q": {"type": "object", "properties": {"b": {"type": "integer", "enum": [2, 1]}}},
                "R": {"type": "object", "properties": {"next": {"$ref": "#/components/schemas/R"}}}
            }}
        })
    }

    #[test]
    fn descriptions_with_the_same_meaning_have_the_same_normal_form() {
        let inline = json!({"required": ["a", "b"], "type": "object", "properties": {
            "b": {"enum": [1, 2], "type": "integer"}, "a": {"type": "string", "nullable": false}}});
        let p_and_q =
            json!({"allOf": [{"$ref": "#/components/schemas/P"}, {"$ref": "#/components/schemas/Q"}]});
        let q_and_p =
            json!({"allOf": [{"$ref": "#/components/schemas/Q"}, {"$ref": "#/components/schemas/P"}]});
        let nested = json!({"type": "object", "allOf": [p_and_q], "properties": {"a": {"type": "string"}}});
        let wanted = document(&with(inline));
        for same in [p_and_q, q_and_p, nested] {
            let normal = document(&with(same));
            assert_eq!(differences(&normal, &wanted), Vec::<String>::new());
            assert_eq!(normal.to_string(), wanted.to_string());
        }
    }

    #[test]
    fn a_schema_that_contains_itself_is_marked() {
        let recursive = json!({"$ref": "#/components/schemas/R"});
        let normal = schema(&with(json!({})), &recursive);
        assert_eq!(normal["properties"]["next"]["$recursive"], "#/components/schemas/R");
        let circle = json!({"components": {"schemas": {"A": {"$ref": "#/components/schemas/A"}}}});
        schema(&circle, &json!({"$ref": "#/components/schemas/A"}));
    }

    #[test]
    fn a_contradiction_is_kept_in_a_fixed_order() {
        let one = json!({"allOf": [{"type": "string"}, {"type": "integer"}]});
        let other = json!({"allOf": [{"type": "integer"}, {"type": "string"}]});
        assert_eq!(schema(&Value::Null, &one), schema(&Value::Null, &other));
        assert_ne!(schema(&Value::Null, &one), json!({"type": "string"}));
    }

    #[test]
    fn a_property_named_like_a_documentation_key_is_kept() {
        let value =
            json!({"description": "d", "properties": {"description": {"type": "string", "example": 1}}});
        assert_eq!(without_docs(&value), json!({"properties": {"description": {"type": "string"}}}));
    }
}
