//! What the generator cannot take, and what this project does not want it to take, found before
//! the generator runs.
//!
//! progenitor reports some of these without a place and meets the others with a panic. Each
//! fault here has a JSON Pointer into the resolved description, a cause and a way out.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
};

use serde_json::Value;

use crate::description::pointer_step;

/// One thing in the description that code cannot be generated from.
#[derive(Debug)]
pub(crate) struct Fault {
    /// Where: a JSON Pointer into the resolved description.
    pub(crate) pointer: String,
    /// What is wrong, and what to do about it.
    pub(crate) cause: String,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}\n    {}", self.pointer, self.cause)
    }
}

const METHODS: [&str; 8] = ["get", "put", "post", "delete", "options", "head", "patch", "trace"];

/// All faults of a resolved description, in document order.
pub(crate) fn faults(document: &Value) -> Vec<Fault> {
    let mut check =
        Check { document, faults: Vec::new(), operation_ids: BTreeMap::new(), visited: BTreeSet::new() };
    check.document();
    check.faults
}

/// Which way a schema travels: what is sent must stay minimal, what is received must stay open.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Direction {
    Sent,
    Received,
}

struct Check<'a> {
    document: &'a Value,
    faults: Vec<Fault>,
    /// Method name in Rust, and where it was first seen.
    operation_ids: BTreeMap<String, String>,
    /// References that were followed, by direction: a schema may contain itself.
    visited: BTreeSet<(Direction, String)>,
}

impl<'a> Check<'a> {
    fn fault(&mut self, pointer: &str, cause: impl Into<String>) {
        self.faults.push(Fault { pointer: pointer.to_owned(), cause: cause.into() });
    }

    fn document(&mut self) {
        let document = self.document;
        match document.get("openapi").and_then(Value::as_str) {
            Some(version) if version.starts_with("3.0.") => {}
            Some(version) => {
                self.fault("/openapi", format!("is \"{version}\"; progenitor reads OpenAPI 3.0.x only"))
            }
            None => self.fault("/openapi", "is missing or no string; expected \"3.0.x\""),
        }
        self.references(document, "");
        self.bounds(document, "");
        if !self.faults.is_empty() {
            // Nothing below can be trusted while references lead nowhere.
            return;
        }
        let Some(paths) = document.get("paths").and_then(Value::as_object) else {
            return self.fault("/paths", "is missing; a description without operations generates nothing");
        };
        for (path, item) in paths {
            let at = pointer_step("/paths", path);
            if item.get("$ref").is_some() {
                self.fault(&at, "is a $ref; progenitor needs the path item in place");
                continue;
            }
            for method in METHODS {
                if let Some(operation) = item.get(method) {
                    self.operation(path, item, operation, &pointer_step(&at, method), &at);
                }
            }
        }
    }

    fn operation(&mut self, path: &str, item: &'a Value, operation: &'a Value, at: &str, item_at: &str) {
        match operation.get("operationId").and_then(Value::as_str) {
            None => self.fault(at, "has no operationId, and methods are named after it; add one by overlay"),
            Some(id) => {
                let name = snake_case(id);
                let here = format!("{at}/operationId");
                if let Some(first) = self.operation_ids.get(&name) {
                    let cause =
                        format!("\"{id}\" names the method `{name}`, as {first} does; rename one by overlay");
                    self.fault(&here, cause);
                } else {
                    self.operation_ids.insert(name, here);
                }
            }
        }

        let mut declared = BTreeSet::new();
        for (owner, owner_at) in [(item, item_at), (operation, at)] {
            let parameters = owner.get("parameters").and_then(Value::as_array);
            for (index, parameter) in parameters.into_iter().flatten().enumerate() {
                let (parameter, at) = self.resolve(parameter, format!("{owner_at}/parameters/{index}"));
                if parameter.get("in").and_then(Value::as_str) == Some("path") {
                    declared.extend(parameter.get("name").and_then(Value::as_str));
                }
                self.parameter(parameter, &at);
            }
        }
        for name in path.split('{').skip(1).filter_map(|rest| rest.split_once('}')) {
            if !declared.contains(name.0) {
                self.fault(at, format!("takes no path parameter named \"{}\", which its path has", name.0));
            }
        }

        if let Some(body) = operation.get("requestBody") {
            let (body, at) = self.resolve(body, format!("{at}/requestBody"));
            let content = body.get("content").and_then(Value::as_object);
            if content.is_some_and(|content| content.len() > 1) {
                self.fault(
                    &format!("{at}/content"),
                    "has several media types; progenitor takes one, remove the others by overlay",
                );
            }
            self.content(body, &at, Direction::Sent);
        }
        self.responses(operation, at);
    }

    fn parameter(&mut self, parameter: &'a Value, at: &str) {
        let place = parameter.get("in").and_then(Value::as_str).unwrap_or_default();
        let style = parameter.get("style").and_then(Value::as_str);
        match place {
            "cookie" => self.fault(at, "is a cookie parameter, which progenitor does not support"),
            "path" | "header" if style.is_some_and(|style| style != "simple") => {
                self.fault(&format!("{at}/style"), "must be \"simple\" here; progenitor knows no other");
            }
            "query" if style.is_some_and(|style| style != "form") => {
                self.fault(&format!("{at}/style"), "must be \"form\" here; progenitor knows no other");
            }
            "path" if parameter.get("required") != Some(&Value::Bool(true)) => {
                self.fault(at, "is a path parameter, so `required: true` must be said");
            }
            "path" | "query" | "header" => {}
            _ => self.fault(&format!("{at}/in"), "must be \"path\", \"query\" or \"header\""),
        }
        match parameter.get("schema") {
            Some(schema) => self.schema(schema, &format!("{at}/schema"), Direction::Sent),
            None => self.fault(at, "has no schema; progenitor does not support `content` here"),
        }
    }

    fn responses(&mut self, operation: &'a Value, at: &str) {
        let responses = operation.get("responses").and_then(Value::as_object);
        let mut successes = 0;
        for (status, response) in responses.into_iter().flatten() {
            let here = pointer_step(&format!("{at}/responses"), status);
            if !status.starts_with('2') {
                self.fault(
                    &here,
                    "is an error answer, which would change how progenitor decodes; errors are told \
                     by the envelope's `code` here, so remove it by overlay",
                );
                continue;
            }
            successes += 1;
            if successes > 1 {
                self.fault(
                    &here,
                    "is a second success answer; progenitor takes one type of answer for each operation",
                );
            }
            let (response, here) = self.resolve(response, here);
            self.content(response, &here, Direction::Received);
        }
    }

    fn content(&mut self, owner: &'a Value, at: &str, direction: Direction) {
        let content = owner.get("content").and_then(Value::as_object);
        for (media, value) in content.into_iter().flatten() {
            let at = pointer_step(&format!("{at}/content"), media);
            if value
                .get("encoding")
                .is_some_and(|encoding| encoding.as_object().is_none_or(|map| !map.is_empty()))
            {
                self.fault(&format!("{at}/encoding"), "is not supported by progenitor");
            }
            match value.get("schema") {
                Some(schema) => self.schema(schema, &format!("{at}/schema"), direction),
                None => self.fault(&at, "has no schema"),
            }
        }
    }

    /// Rules that hang on the direction in which a schema travels.
    fn schema(&mut self, schema: &'a Value, at: &str, direction: Direction) {
        if let Some(reference) = schema.get("$ref").and_then(Value::as_str) {
            if self.visited.insert((direction, reference.to_owned())) {
                let (schema, at) = self.resolve(schema, at.to_owned());
                self.schema(schema, &at, direction);
            }
            return;
        }
        if direction == Direction::Sent && schema.get("default").is_some() {
            self.fault(
                &format!("{at}/default"),
                "would always be sent by the generated client; say it in the description instead, by overlay",
            );
        }
        if direction == Direction::Received && schema.get("enum").is_some() {
            self.fault(
                &format!("{at}/enum"),
                "closes a type that the service may widen: one new value would make the whole answer \
                 undecodable; replace it by `x-extensible-enum` by overlay",
            );
        }
        if let Some(format @ ("date" | "date-time" | "uuid")) = schema.get("format").and_then(Value::as_str) {
            self.fault(
                &format!("{at}/format"),
                format!(
                    "\"{format}\" would pull a date or UUID library into the client; remove it by overlay"
                ),
            );
        }
        for key in ["allOf", "anyOf", "oneOf"] {
            let members = schema.get(key).and_then(Value::as_array);
            for (index, member) in members.into_iter().flatten().enumerate() {
                self.schema(member, &format!("{at}/{key}/{index}"), direction);
            }
        }
        for key in ["items", "not", "additionalProperties"] {
            if let Some(member) = schema.get(key).filter(|member| member.is_object()) {
                self.schema(member, &format!("{at}/{key}"), direction);
            }
        }
        let properties = schema.get("properties").and_then(Value::as_object);
        for (name, member) in properties.into_iter().flatten() {
            self.schema(member, &pointer_step(&format!("{at}/properties"), name), direction);
        }
    }

    /// Follows references until something stands in place. `references` has proven that they end.
    fn resolve(&self, mut value: &'a Value, mut at: String) -> (&'a Value, String) {
        while let Some(target) = value.get("$ref").and_then(Value::as_str) {
            let pointer = target.trim_start_matches('#');
            match self.document.pointer(pointer) {
                Some(found) => {
                    value = found;
                    at = pointer.to_owned();
                }
                None => break,
            }
        }
        (value, at)
    }

    /// Every reference is local, leads somewhere, and not to itself.
    fn references(&mut self, value: &'a Value, at: &str) {
        if is_example(at) {
            return;
        }
        if let Some(target) = value.get("$ref").and_then(Value::as_str) {
            let at = format!("{at}/$ref");
            if !target.starts_with("#/components/") {
                self.fault(
                    &at,
                    format!("\"{target}\" leads out of #/components/, where progenitor does not follow"),
                );
            } else if let Err(cause) = self.ends(target) {
                self.fault(&at, cause);
            }
        }
        each_member(value, at, |member, at| self.references(member, at));
    }

    fn ends(&self, first: &str) -> Result<(), String> {
        let mut seen = BTreeSet::new();
        let mut target = first;
        loop {
            if !seen.insert(target) {
                return Err(format!("\"{first}\" leads back to itself"));
            }
            match self.document.pointer(target.trim_start_matches('#')) {
                None => return Err(format!("\"{target}\" does not exist")),
                Some(found) => match found.get("$ref").and_then(Value::as_str) {
                    Some(next) => target = next,
                    None => return Ok(()),
                },
            }
        }
    }

    /// Shapes that progenitor meets with a panic, wherever they stand.
    fn bounds(&mut self, value: &'a Value, at: &str) {
        if is_example(at) {
            return;
        }
        for (exclusive, bound) in [("exclusiveMinimum", "minimum"), ("exclusiveMaximum", "maximum")] {
            if value.get(exclusive) == Some(&Value::Bool(true)) && value.get(bound).is_none() {
                self.fault(&format!("{at}/{exclusive}"), format!("is set without `{bound}`"));
            }
        }
        let in_schema = at.contains("/schema") && !at.ends_with("/properties");
        if let Some(kind) = value.get("type").and_then(Value::as_str)
            && in_schema
            && !["boolean", "object", "array", "number", "string", "integer"].contains(&kind)
        {
            self.fault(&format!("{at}/type"), format!("\"{kind}\" is no type of OpenAPI 3.0"));
        }
        each_member(value, at, |member, at| self.bounds(member, at));
    }
}

/// Examples are data: what looks like a keyword in them is none.
fn is_example(at: &str) -> bool {
    at.ends_with("/example") || at.ends_with("/examples")
}

fn each_member<'a>(value: &'a Value, at: &str, mut visit: impl FnMut(&'a Value, &str)) {
    match value {
        Value::Object(members) => {
            for (key, member) in members {
                visit(member, &pointer_step(at, key));
            }
        }
        Value::Array(members) => {
            for (index, member) in members.iter().enumerate() {
                visit(member, &format!("{at}/{index}"));
            }
        }
        _ => {}
    }
}

/// Roughly how progenitor names a method: good enough to see two operations meet.
fn snake_case(id: &str) -> String {
    let mut name = String::new();
    let mut after_lower = false;
    for letter in id.chars() {
        if letter.is_alphanumeric() {
            if letter.is_uppercase() && after_lower {
                name.push('_');
            }
            after_lower = letter.is_lowercase() || letter.is_numeric();
            name.extend(letter.to_lowercase());
        } else {
            if !name.ends_with('_') {
                name.push('_');
            }
            after_lower = false;
        }
    }
    name
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// A description that is fine, to be spoilt in one place by each case.
    fn fine() -> Value {
        json!({
            "openapi": "3.0.3",
            "paths": {"/a/{id}": {"post": {
                "operationId": "a",
                "parameters": [{"name": "id", "in": "path", "required": true, "schema": {"type": "string"}}],
                "requestBody": {"content": {"application/json": {"schema": {"$ref": "#/components/schemas/B"}}}},
                "responses": {"200": {"content": {"application/json": {"schema": {"$ref": "#/components/schemas/C"}}}}}
            }}},
            "components": {"schemas": {
                "B": {"type": "object", "properties": {"x": {"type": "integer", "enum": [1]}}},
                "C": {"type": "object", "properties": {"y": {"type": "integer", "default": 1}}}
            }}
        })
    }

    #[test]
    fn a_description_without_faults_has_none() {
        let found = faults(&fine());
        assert!(found.is_empty(), "{found:?}");
    }

    #[test]
    fn each_fault_is_found_at_its_place() {
        let post = "/paths/~1a~1{id}/post";
        let b = "/components/schemas/B/properties/x";
        let c = "/components/schemas/C/properties/y";
        // Where to put what, and where the fault must be found with which words.
        let cases: Vec<(String, Value, String, &str)> = vec![
            ("/openapi".into(), json!("3.1.0"), "/openapi".into(), "3.0.x only"),
            (format!("{post}/operationId"), Value::Null, post.into(), "no operationId"),
            (format!("{post}/parameters/0/in"), json!("cookie"), format!("{post}/parameters/0"), "cookie"),
            (
                format!("{post}/parameters/0/required"),
                json!(false),
                format!("{post}/parameters/0"),
                "required: true",
            ),
            (
                format!("{post}/parameters/0/name"),
                json!("other"),
                post.into(),
                "no path parameter named \"id\"",
            ),
            (
                format!("{post}/parameters/0/style"),
                json!("matrix"),
                format!("{post}/parameters/0/style"),
                "simple",
            ),
            (
                format!("{post}/requestBody/content/text~1plain"),
                json!({"schema": {}}),
                format!("{post}/requestBody/content"),
                "several media types",
            ),
            (format!("{post}/responses/404"), json!({}), format!("{post}/responses/404"), "error answer"),
            (
                format!("{post}/responses/default"),
                json!({}),
                format!("{post}/responses/default"),
                "error answer",
            ),
            (format!("{post}/responses/201"), json!({}), format!("{post}/responses/201"), "second success"),
            (format!("{b}/default"), json!(1), format!("{b}/default"), "always be sent"),
            (format!("{c}/enum"), json!([1]), format!("{c}/enum"), "x-extensible-enum"),
            (format!("{c}/format"), json!("date-time"), format!("{c}/format"), "library"),
            (
                format!("{c}/exclusiveMinimum"),
                json!(true),
                format!("{c}/exclusiveMinimum"),
                "without `minimum`",
            ),
            (format!("{c}/type"), json!("float"), format!("{c}/type"), "no type"),
            (
                "/components/schemas/C/properties/z".into(),
                json!({"$ref": "#/components/schemas/No"}),
                "/components/schemas/C/properties/z/$ref".into(),
                "does not exist",
            ),
            (
                "/components/schemas/D".into(),
                json!({"$ref": "#/components/schemas/D"}),
                "/components/schemas/D/$ref".into(),
                "back to itself",
            ),
            (
                "/components/schemas/D".into(),
                json!({"$ref": "other.yaml"}),
                "/components/schemas/D/$ref".into(),
                "leads out",
            ),
            (
                "/paths/~1b".into(),
                json!({"get": {"operationId": "A", "responses": {}}}),
                "/paths/~1b/get/operationId".into(),
                "names the method `a`",
            ),
        ];
        for (put_at, what, found_at, says) in cases {
            let mut document = fine();
            let (parent, key) = put_at.rsplit_once('/').unwrap();
            let key = key.replace("~1", "/");
            document.pointer_mut(parent).unwrap()[key] = what;
            let found = faults(&document);
            assert!(
                found.iter().any(|fault| fault.pointer == found_at && fault.cause.contains(says)),
                "{put_at}: wanted `{says}` at {found_at}, found {found:?}"
            );
        }
    }

    #[test]
    fn a_schema_that_contains_itself_is_no_fault_and_no_endless_loop() {
        let mut document = fine();
        document["components"]["schemas"]["C"]["properties"]["self"] =
            json!({"$ref": "#/components/schemas/C"});
        assert!(faults(&document).is_empty());
    }
}
