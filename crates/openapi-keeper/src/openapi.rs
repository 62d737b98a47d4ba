//! Facts about OpenAPI 3.0 that several modules need: methods, pointers and references.

use std::collections::BTreeMap;

use anyhow::{Result, bail};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::{Value, json};

/// The keys of a path item that are operations.
pub const METHODS: [&str; 8] = ["get", "put", "post", "delete", "options", "head", "patch", "trace"];

/// Keys that document and have no effect on messages.
pub const DOCS: [&str; 9] =
    ["description", "summary", "title", "example", "examples", "externalDocs", "tags", "deprecated", "xml"];

/// Keys below which keys are names and not keywords.
pub const NAMES: [&str; 8] =
    ["properties", "paths", "parameters", "responses", "content", "securitySchemes", "security", "servers"];

/// The direction of a message. Requests must stay minimal, and responses must stay open.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Direction {
    /// What callers send.
    Request,
    /// What callers receive.
    Response,
}

/// The base URI of references of JSON Schema into a document.
pub const DOCUMENT: &str = "urn:description";

/// What a URI fragment escapes. `/` separates the steps of a JSON Pointer.
const FRAGMENT: &AsciiSet = &NON_ALPHANUMERIC.remove(b'/');

/// The schema that refers to the one at this pointer of [`DOCUMENT`].
pub fn reference(pointer: &str) -> Value {
    json!({ "$ref": format!("{DOCUMENT}#{}", utf8_percent_encode(pointer, FRAGMENT)) })
}

/// Appends one step to a JSON Pointer (RFC 6901), escaped.
pub fn pointer_step(pointer: &str, key: &str) -> String {
    format!("{pointer}/{}", key.replace('~', "~0").replace('/', "~1"))
}

/// The members of an object; none for any other value.
pub fn members(value: Option<&Value>) -> impl Iterator<Item = (&String, &Value)> {
    value.and_then(Value::as_object).into_iter().flatten()
}

/// The elements of an array; none for any other value.
pub fn elements(value: Option<&Value>) -> impl Iterator<Item = &Value> {
    value.and_then(Value::as_array).into_iter().flatten()
}

/// Whether a value is `true`.
pub fn is_true(value: Option<&Value>) -> bool {
    value == Some(&Value::Bool(true))
}

/// Visits every member or element, with its pointer.
pub fn each_child<'a>(value: &'a Value, at: &str, mut visit: impl FnMut(&'a Value, &str)) {
    for (key, member) in members(Some(value)) {
        visit(member, &pointer_step(at, key));
    }
    for (index, element) in elements(Some(value)).enumerate() {
        visit(element, &format!("{at}/{index}"));
    }
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

/// Whether the value at a pointer is an example, which may contain keys that look like keywords.
pub fn is_example(at: &str) -> bool {
    at.ends_with("/example") || at.ends_with("/examples")
}

/// A value after its references were followed.
pub struct Resolved<'a> {
    /// The first value that is not a reference, or the reference that is broken.
    pub value: &'a Value,
    /// The references that were followed, in order.
    pub followed: Vec<&'a str>,
    /// The reference that cannot be followed.
    pub broken: Option<Broken<'a>>,
}

/// A reference that cannot be followed.
pub enum Broken<'a> {
    /// Nothing is there.
    Missing(&'a str),
    /// The references lead back to themselves.
    Cycle,
}

impl Resolved<'_> {
    /// The pointer to the value, if it was at `start` before.
    pub fn pointer(&self, start: &str) -> String {
        self.followed.last().map_or(start, |target| target.trim_start_matches('#')).to_owned()
    }
}

/// Follows `$ref` as far as possible.
///
/// ```
/// # fn main() -> anyhow::Result<()> {
/// use openapi_keeper::{description, openapi};
///
/// let document = description::parse(b"{talk: {$ref: '#/types/talk'}, types: {talk: {type: object}}}", "api.yaml")?;
/// let resolved = openapi::resolve(&document, &document["talk"]);
/// assert_eq!((resolved.pointer("/talk"), &resolved.value["type"]), ("/types/talk".to_owned(), &"object".into()));
/// # Ok(())
/// # }
/// ```
pub fn resolve<'a>(document: &'a Value, mut value: &'a Value) -> Resolved<'a> {
    let mut followed = Vec::new();
    let broken = loop {
        let Some(target) = value.get("$ref").and_then(Value::as_str) else { break None };
        if followed.contains(&target) {
            break Some(Broken::Cycle);
        }
        match target.strip_prefix('#').and_then(|pointer| document.pointer(pointer)) {
            Some(found) => value = found,
            None => break Some(Broken::Missing(target)),
        }
        followed.push(target);
    };
    Resolved { value, followed, broken }
}

/// Follows `$ref` from the value at `pointer` to the pointer of a value that is not a reference. Something that does
/// not exist is optional, unless a reference leads to it.
///
/// # Errors
/// If a reference cannot be followed.
pub fn follow(document: &Value, pointer: &str) -> Result<String> {
    let Some(value) = document.pointer(pointer) else { return Ok(pointer.to_owned()) };
    let resolved = resolve(document, value);
    match resolved.broken {
        None => Ok(resolved.pointer(pointer)),
        Some(Broken::Missing(target)) if !target.starts_with('#') => {
            bail!("{pointer}: {target} is outside of the document")
        }
        Some(Broken::Missing(target)) => {
            bail!("{pointer}: {} does not exist", target.trim_start_matches('#'))
        }
        Some(Broken::Cycle) => bail!("{pointer}: its references form a cycle"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pointers_escape_slashes_and_tildes() {
        assert_eq!(pointer_step("/paths", "/a~b"), "/paths/~1a~0b");
    }

    #[test]
    fn a_property_named_like_a_documentation_key_is_kept() {
        let value =
            json!({"description": "d", "properties": {"description": {"type": "string", "example": 1}}});
        assert_eq!(without_docs(&value), json!({"properties": {"description": {"type": "string"}}}));
    }
}
