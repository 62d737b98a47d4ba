//! What the generator does not support, and what this project does not allow, found before the
//! generator runs.
//!
//! progenitor reports some of these problems without a place and panics on others. Each [`Problem`] has
//! a JSON Pointer into the resolved description, a cause and a way to correct it.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
};

use heck::ToSnakeCase;
use serde_json::Value;

use crate::openapi::{
    Broken,
    Direction::{self, Request, Response},
    METHODS, each_child, elements, is_example, is_true, members, pointer_step, resolve,
};

/// A part of the description from which no code can be generated.
#[derive(Clone, Debug)]
pub struct Problem {
    /// The place as a JSON Pointer.
    pub pointer: String,
    /// What is wrong, and how to correct it.
    pub cause: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}\n    {}", self.pointer, self.cause)
    }
}

/// All problems of a resolved description, in document order.
///
/// ```
/// # fn main() -> anyhow::Result<()> {
/// use openapi_keeper::{description, supported};
///
/// let document = description::parse(br#"
/// openapi: 3.0.3
/// paths:
///   /talks:
///     get: {responses: {"200": {description: all}}}
/// "#, "api.yaml")?;
/// let problems = supported::problems(&document);
/// // The generator needs a name for each operation.
/// assert!(problems.iter().any(|problem| problem.cause.contains("operationId")));
/// # Ok(())
/// # }
/// ```
pub fn problems(document: &Value) -> Vec<Problem> {
    let mut check =
        Check { document, problems: Vec::new(), operation_ids: BTreeMap::new(), visited: BTreeSet::new() };
    check.document();
    check.problems
}

struct Check<'a> {
    document: &'a Value,
    problems: Vec<Problem>,
    /// Pointer by the name of the method in Rust.
    operation_ids: BTreeMap<String, String>,
    /// The references that were followed. A schema may contain itself.
    visited: BTreeSet<(Direction, String)>,
}

impl<'a> Check<'a> {
    fn problem(&mut self, pointer: &str, cause: impl Into<String>) {
        self.problems.push(Problem { pointer: pointer.to_owned(), cause: cause.into() });
    }

    fn document(&mut self) {
        let document = self.document;
        match document.get("openapi").and_then(Value::as_str) {
            Some(version) if version.starts_with("3.0.") => {}
            Some(version) => {
                self.problem("/openapi", format!("is \"{version}\"; progenitor supports OpenAPI 3.0.x only"))
            }
            None => self.problem("/openapi", "is missing or not a string; expected \"3.0.x\""),
        }
        self.references(document, "");
        self.keywords(document, "");
        if !self.problems.is_empty() {
            // The other checks follow references.
            return;
        }
        let Some(paths) = document.get("paths").and_then(Value::as_object) else {
            return self.problem("/paths", "is missing; a description needs operations");
        };
        for (path, item) in paths {
            let at = pointer_step("/paths", path);
            if item.get("$ref").is_some() {
                self.problem(&at, "is a $ref; progenitor supports inline path items only");
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
            None => self.problem(at, "has no operationId, which names the method; add one with an overlay"),
            Some(id) => {
                let name = id.to_snake_case();
                let here = format!("{at}/operationId");
                if let Some(first) = self.operation_ids.get(&name) {
                    let cause = format!(
                        "\"{id}\" names the method `{name}`, and so does {first}; rename one with an overlay"
                    );
                    self.problem(&here, cause);
                } else {
                    self.operation_ids.insert(name, here);
                }
            }
        }

        let mut declared = BTreeSet::new();
        for (owner, owner_at) in [(item, item_at), (operation, at)] {
            for (index, parameter) in elements(owner.get("parameters")).enumerate() {
                let (parameter, at) = self.resolve(parameter, &format!("{owner_at}/parameters/{index}"));
                if parameter.get("in").and_then(Value::as_str) == Some("path") {
                    declared.extend(parameter.get("name").and_then(Value::as_str));
                }
                self.parameter(parameter, &at);
            }
        }
        for (name, _) in path.split('{').skip(1).filter_map(|rest| rest.split_once('}')) {
            if !declared.contains(name) {
                self.problem(at, format!("has no path parameter \"{name}\", which is in its path"));
            }
        }

        if let Some(body) = operation.get("requestBody") {
            let (body, at) = self.resolve(body, &format!("{at}/requestBody"));
            if members(body.get("content")).count() > 1 {
                self.problem(
                    &format!("{at}/content"),
                    "has several media types; progenitor supports one, so remove the others with an overlay",
                );
            }
            self.content(body, &at, Request);
        }
        self.responses(operation, at);
    }

    fn parameter(&mut self, parameter: &'a Value, at: &str) {
        let location = parameter.get("in").and_then(Value::as_str).unwrap_or_default();
        let style = parameter.get("style").and_then(Value::as_str);
        match location {
            "cookie" => self.problem(at, "is a cookie parameter, which progenitor does not support"),
            "path" | "header" if style.is_some_and(|style| style != "simple") => {
                self.problem(
                    &format!("{at}/style"),
                    "must be \"simple\"; progenitor supports no other style",
                );
            }
            "query" if style.is_some_and(|style| style != "form") => {
                self.problem(&format!("{at}/style"), "must be \"form\"; progenitor supports no other style");
            }
            "path" if !is_true(parameter.get("required")) => {
                self.problem(at, "is a path parameter, which needs `required: true`");
            }
            "path" | "query" | "header" => {}
            _ => self.problem(&format!("{at}/in"), "must be \"path\", \"query\" or \"header\""),
        }
        match parameter.get("schema") {
            Some(schema) => self.schema(schema, &format!("{at}/schema"), Request),
            None => self.problem(at, "has no schema; progenitor does not support `content` in parameters"),
        }
    }

    fn responses(&mut self, operation: &'a Value, at: &str) {
        let mut successes = 0;
        for (status, response) in members(operation.get("responses")) {
            let here = pointer_step(&format!("{at}/responses"), status);
            if !status.starts_with('2') {
                self.problem(
                    &here,
                    "is an error response, which changes how progenitor decodes; remove it with an overlay",
                );
                continue;
            }
            successes += 1;
            if successes > 1 {
                self.problem(
                    &here,
                    "is a second success response; progenitor supports one response type for each operation",
                );
            }
            let (response, here) = self.resolve(response, &here);
            self.content(response, &here, Response);
        }
    }

    fn content(&mut self, owner: &'a Value, at: &str, direction: Direction) {
        for (media, value) in members(owner.get("content")) {
            let at = pointer_step(&format!("{at}/content"), media);
            let encoding = value.get("encoding");
            if encoding.is_some_and(|encoding| encoding.as_object().is_none_or(|map| !map.is_empty())) {
                self.problem(&format!("{at}/encoding"), "is not supported by progenitor");
            }
            match value.get("schema") {
                Some(schema) => self.schema(schema, &format!("{at}/schema"), direction),
                None => self.problem(&at, "has no schema"),
            }
        }
    }

    /// The rules for a schema that depend on the direction.
    fn schema(&mut self, schema: &'a Value, at: &str, direction: Direction) {
        if let Some(reference) = schema.get("$ref").and_then(Value::as_str) {
            if self.visited.insert((direction, reference.to_owned())) {
                let (schema, at) = self.resolve(schema, at);
                self.schema(schema, &at, direction);
            }
            return;
        }
        if direction == Request && schema.get("default").is_some() {
            self.problem(
                &format!("{at}/default"),
                "would always be sent by the generated client; move it to the `description` with an overlay",
            );
        }
        if direction == Response && schema.get("enum").is_some() {
            self.problem(
                &format!("{at}/enum"),
                "is a closed list in a response: a new value would make the whole response undecodable; replace \
                 it with `x-extensible-enum` with an overlay",
            );
        }
        if let Some(format @ ("date" | "date-time" | "uuid")) = schema.get("format").and_then(Value::as_str) {
            self.problem(
                &format!("{at}/format"),
                format!(
                    "\"{format}\" would add a date or UUID library to the client; remove it with an overlay"
                ),
            );
        }
        for key in ["allOf", "anyOf", "oneOf"] {
            for (index, member) in elements(schema.get(key)).enumerate() {
                self.schema(member, &format!("{at}/{key}/{index}"), direction);
            }
        }
        for key in ["items", "not", "additionalProperties"] {
            if let Some(member) = schema.get(key).filter(|member| member.is_object()) {
                self.schema(member, &format!("{at}/{key}"), direction);
            }
        }
        for (name, member) in members(schema.get("properties")) {
            self.schema(member, &pointer_step(&format!("{at}/properties"), name), direction);
        }
    }

    fn resolve(&self, value: &'a Value, at: &str) -> (&'a Value, String) {
        let resolved = resolve(self.document, value);
        (resolved.value, resolved.pointer(at))
    }

    /// Every reference must lead to a component, and not to itself.
    fn references(&mut self, value: &'a Value, at: &str) {
        if is_example(at) {
            return;
        }
        if let Some(target) = value.get("$ref").and_then(Value::as_str) {
            let at = format!("{at}/$ref");
            if !target.starts_with("#/components/") {
                let cause =
                    format!("\"{target}\" is outside of #/components/, which progenitor does not support");
                self.problem(&at, cause);
            } else {
                match resolve(self.document, value).broken {
                    None => {}
                    Some(Broken::Missing(target)) => {
                        self.problem(&at, format!("\"{target}\" does not exist"))
                    }
                    Some(Broken::Cycle) => self.problem(&at, format!("\"{target}\" refers to itself")),
                }
            }
        }
        each_child(value, at, |child, at| self.references(child, at));
    }

    /// Keywords on which progenitor panics, wherever they are.
    fn keywords(&mut self, value: &'a Value, at: &str) {
        if is_example(at) {
            return;
        }
        for (exclusive, bound) in [("exclusiveMinimum", "minimum"), ("exclusiveMaximum", "maximum")] {
            if is_true(value.get(exclusive)) && value.get(bound).is_none() {
                self.problem(&format!("{at}/{exclusive}"), format!("is set without `{bound}`"));
            }
        }
        let in_schema = at.contains("/schema") && !at.ends_with("/properties");
        if let Some(kind) = value.get("type").and_then(Value::as_str)
            && in_schema
            && !["boolean", "object", "array", "number", "string", "integer"].contains(&kind)
        {
            self.problem(&format!("{at}/type"), format!("\"{kind}\" is not a type of OpenAPI 3.0"));
        }
        each_child(value, at, |child, at| self.keywords(child, at));
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// A supported description, which each case changes in one place.
    fn supported() -> Value {
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
    fn a_supported_description_has_no_problems() {
        let found = problems(&supported());
        assert!(found.is_empty(), "{found:?}");
    }

    #[test]
    fn each_problem_is_reported_with_its_place() {
        let post = "/paths/~1a~1{id}/post";
        let b = "/components/schemas/B/properties/x";
        let c = "/components/schemas/C/properties/y";
        // Pointer and value to insert, and the pointer and the words of the problem.
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
            (format!("{post}/parameters/0/name"), json!("other"), post.into(), "no path parameter \"id\""),
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
            (format!("{post}/responses/404"), json!({}), format!("{post}/responses/404"), "error response"),
            (
                format!("{post}/responses/default"),
                json!({}),
                format!("{post}/responses/default"),
                "error response",
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
            (format!("{c}/type"), json!("float"), format!("{c}/type"), "not a type"),
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
                "refers to itself",
            ),
            (
                "/components/schemas/D".into(),
                json!({"$ref": "other.yaml"}),
                "/components/schemas/D/$ref".into(),
                "outside of",
            ),
            (
                "/paths/~1b".into(),
                json!({"get": {"operationId": "A", "responses": {}}}),
                "/paths/~1b/get/operationId".into(),
                "names the method `a`",
            ),
        ];
        for (at, value, found_at, says) in cases {
            let mut document = supported();
            let (parent, key) = at.rsplit_once('/').unwrap();
            let key = key.replace("~1", "/");
            document.pointer_mut(parent).unwrap()[key] = value;
            let found = problems(&document);
            assert!(
                found.iter().any(|problem| problem.pointer == found_at && problem.cause.contains(says)),
                "{at}: no `{says}` at {found_at} in {found:?}"
            );
        }
    }

    #[test]
    fn a_schema_that_contains_itself_is_supported() {
        let mut document = supported();
        document["components"]["schemas"]["C"]["properties"]["self"] =
            json!({"$ref": "#/components/schemas/C"});
        assert!(problems(&document).is_empty());
    }
}
