//! Whether a description is valid: OpenAPI 3.0 (`roas`), and each `example` against its own schema
//! (`jsonschema`).

use enumset::EnumSet;
use roas::{
    v3_0::spec::Spec,
    validation::{Options, Validate},
};
use serde_json::{Map, Value, json};
use serde_path_to_error::Segment;

use crate::{
    openapi::{DOCUMENT, each_child, is_true, members, pointer_step, reference},
    supported::Problem,
};

/// The problems of the document itself.
///
/// ```
/// # fn main() -> anyhow::Result<()> {
/// use openapi_keeper::{description, valid};
///
/// let document = description::parse(b"openapi: 3.0.3", "api.yaml")?;
/// let problems = valid::problems(&document);
/// assert!(!problems.is_empty(), "it has no `info` and no `paths`");
/// println!("{}", problems[0]);
/// # Ok(())
/// # }
/// ```
pub fn problems(document: &Value) -> Vec<Problem> {
    let mut problems = validity(document);
    let root = translated(document);
    // Shared by all examples: each is validated against a reference into it.
    let registry = jsonschema::Registry::new()
        .add(DOCUMENT, jsonschema::Draft::Draft4.create_resource(root))
        .and_then(jsonschema::RegistryBuilder::prepare);
    match registry {
        Ok(registry) => Examples { registry: &registry, problems: &mut problems }.walk(document, ""),
        Err(error) => problems.push(Problem {
            pointer: String::new(),
            cause: format!("its schemas cannot be read as JSON Schema: {error}"),
        }),
    }
    problems
}

/// The violations of OpenAPI 3.0.
fn validity(document: &Value) -> Vec<Problem> {
    let document = &without_formats(document);
    let spec: Spec = match serde_path_to_error::deserialize(document) {
        Ok(spec) => spec,
        Err(error) => {
            let pointer = error.path().iter().fold(String::new(), |at, step| match step {
                Segment::Seq { index } => format!("{at}/{index}"),
                Segment::Map { key } => pointer_step(&at, key),
                Segment::Enum { .. } | Segment::Unknown => at,
            });
            // The path may lead to a member that is missing.
            let mut pointer = pointer.as_str();
            while document.pointer(pointer).is_none() {
                pointer = pointer.rsplit_once('/').map_or("", |(parent, _)| parent);
            }
            let cause = format!("is not valid OpenAPI 3.0: {}", error.inner());
            return vec![Problem { pointer: pointer.to_owned(), cause }];
        }
    };
    let unused: EnumSet<Options> = Options::IgnoreUnusedSchemas
        | Options::IgnoreUnusedSecuritySchemes
        | Options::IgnoreUnusedParameters
        | Options::IgnoreUnusedResponses
        | Options::IgnoreUnusedTags
        | Options::IgnoreMissingTags;
    match spec.validate(unused, None) {
        Ok(()) => Vec::new(),
        Err(error) => error
            .errors
            .iter()
            .map(|error| Problem { pointer: pointer_of(&error.path, document), cause: error.message.clone() })
            .collect(),
    }
}

/// The document without `format`: the standard allows any value, and `roas` only those that it knows.
fn without_formats(value: &Value) -> Value {
    match value {
        Value::Object(object) => {
            let kept = object.iter().filter(|(key, value)| *key != "format" || !value.is_string());
            kept.map(|(key, value)| (key.clone(), without_formats(value))).collect()
        }
        Value::Array(list) => list.iter().map(without_formats).collect(),
        other => other.clone(),
    }
}

/// The JSON Pointer of a path in the format of `roas`: `#.paths[/a].get.parameters[0]`.
fn pointer_of(path: &str, document: &Value) -> String {
    let mut pointer = String::new();
    let mut rest = path.trim_start_matches('#');
    while let Some(letter) = rest.chars().next() {
        let step = match letter {
            '.' | '/' => {
                rest = &rest[1..];
                let end = rest.find(['.', '[']).unwrap_or(rest.len());
                let (step, after) = rest.split_at(end);
                rest = after;
                step
            }
            '[' => {
                let end = rest.find(']').unwrap_or(rest.len());
                let step = &rest[1..end];
                rest = rest.get(end + 1..).unwrap_or_default();
                step
            }
            _ => break,
        };
        let next = pointer_step(&pointer, step);
        if document.pointer(&next).is_none() {
            break;
        }
        pointer = next;
    }
    pointer
}

/// Validates every example against its own schema.
struct Examples<'a> {
    /// The document with its schemas as JSON Schema.
    registry: &'a jsonschema::Registry<'a>,
    problems: &'a mut Vec<Problem>,
}

impl Examples<'_> {
    fn walk(&mut self, value: &Value, at: &str) {
        if at.ends_with("/example") || at.ends_with("/examples") || at.ends_with("/default") {
            return;
        }
        // Media types and parameters have a schema; a schema is its own.
        let schema = match value.get("schema") {
            Some(_) => Some(format!("{at}/schema")),
            None => at.contains("/schema").then(|| at.to_owned()),
        };
        if let Some(schema) = &schema {
            if let Some(example) = value.get("example") {
                self.validate(example, schema, &format!("{at}/example"));
            }
            for (name, example) in members(value.get("examples")) {
                if let Some(example) = example.get("value") {
                    let at = pointer_step(&format!("{at}/examples"), name);
                    self.validate(example, schema, &format!("{at}/value"));
                }
            }
        }
        each_child(value, at, |child, at| self.walk(child, at));
    }

    /// Validates an example against the schema at this pointer.
    fn validate(&mut self, example: &Value, schema: &str, at: &str) {
        let schema = reference(schema);
        let options =
            jsonschema::options().with_draft(jsonschema::Draft::Draft4).with_registry(self.registry);
        let validator = match options.build(&schema) {
            Ok(validator) => validator,
            Err(error) => {
                let cause = format!("cannot be validated, because its schema is not valid: {error}");
                return self.problems.push(Problem { pointer: at.to_owned(), cause });
            }
        };
        for error in validator.iter_errors(example) {
            let pointer = format!("{at}{}", error.instance_path());
            self.problems
                .push(Problem { pointer, cause: format!("is not valid against its own schema: {error}") });
        }
    }
}

/// Translates schemas of OpenAPI 3.0 into JSON Schema draft 4. They differ in `nullable`, and in siblings
/// of `$ref`.
fn translated(value: &Value) -> Value {
    match value {
        Value::Object(object) => {
            if let Some(reference @ Value::String(_)) = object.get("$ref") {
                return json!({ "$ref": reference });
            }
            let mut schema: Map<_, _> = object
                .iter()
                .map(|(key, member)| {
                    let data = matches!(key.as_str(), "example" | "examples" | "default" | "enum");
                    (key.clone(), if data { member.clone() } else { translated(member) })
                })
                .collect();
            if is_true(schema.get("nullable")) {
                if let Some(kind @ Value::String(_)) = schema.get("type").cloned() {
                    schema.insert("type".to_owned(), json!([kind, "null"]));
                }
                if let Some(Value::Array(values)) = schema.get_mut("enum") {
                    values.push(Value::Null);
                }
            }
            Value::Object(schema)
        }
        Value::Array(list) => list.iter().map(translated).collect(),
        other => other.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_format_is_valid() {
        let with = |kind: &str| {
            json!({"openapi": "3.0.3", "info": {"title": "t", "version": "1"}, "paths": {}, "components": {"schemas": {
                "A": {"type": kind, "format": "timestamp", "properties": {"format": {"type": "string"}}}}}})
        };
        for kind in ["integer", "number", "string", "object"] {
            let found = problems(&with(kind));
            assert!(found.is_empty(), "{found:?}");
        }
        assert_eq!(problems(&with("integers"))[0].pointer, "/components/schemas/A");
    }
}
