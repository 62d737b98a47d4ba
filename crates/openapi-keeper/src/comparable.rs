//! A copy of a description for which code can be generated, only to compare the code of two descriptions.
//!
//! A description that was not prepared for a generator has features that it rejects. The same edits on both
//! sides keep what can be compared: operations, parameters, bodies, and the responses of success.

use serde_json::{Map, Value};

use crate::openapi::{METHODS, each_child};

/// The copy: without error responses, defaults and formats that need a library, with one media type and one
/// success response for each operation, and with a name for each operation.
///
/// ```
/// # fn main() -> anyhow::Result<()> {
/// use openapi_keeper::{comparable, description};
///
/// let document = description::parse(b"paths: {/talks: {get: {responses: {'200': {}, default: {}}}}}", "api.yaml")?;
/// let copy = comparable::copy(&document);
/// assert_eq!((comparable::operations(&copy), &copy["paths"]["/talks"]["get"]["responses"]["default"]), (1, &().into()));
/// # Ok(())
/// # }
/// ```
pub fn copy(document: &Value) -> Value {
    let mut copy = document.clone();
    if let Some(document) = copy.as_object_mut() {
        document.remove("servers");
    }
    if let Some(Value::Object(paths)) = copy.get_mut("paths") {
        for (path, item) in paths {
            for method in METHODS {
                if let Some(Value::Object(operation)) = item.get_mut(method) {
                    prepare(operation, method, path);
                }
            }
        }
    }
    simplify(&mut copy, false);
    copy
}

/// The number of operations.
pub fn operations(document: &Value) -> usize {
    let mut count = 0;
    if let Some(paths) = document.get("paths") {
        each_child(paths, "", |item, _| {
            count += METHODS.iter().filter(|method| item.get(method).is_some()).count()
        });
    }
    count
}

fn prepare(operation: &mut Map<String, Value>, method: &str, path: &str) {
    let name = format!("{method} {}", path.replace(['{', '}'], ""));
    operation.entry("operationId").or_insert_with(|| name.into());
    operation.remove("callbacks");
    if let Some(Value::Object(responses)) = operation.get_mut("responses") {
        let success = responses.keys().filter(|status| status.starts_with('2')).min().cloned();
        responses.retain(|status, _| Some(status) == success.as_ref());
    }
    let content = operation.get_mut("requestBody").and_then(|body| body.get_mut("content"));
    if let Some(Value::Object(content)) = content {
        let json = content.keys().find(|name| name.contains("json")).or(content.keys().next()).cloned();
        content.retain(|name, _| Some(name) == json.as_ref());
    }
}

/// Removes keywords. `names` means that the keys are names.
fn simplify(value: &mut Value, names: bool) {
    match value {
        Value::Object(object) => {
            if !names {
                let library = |format: &Value| matches!(format.as_str(), Some("date" | "date-time" | "uuid"));
                object.retain(|key, value| match key.as_str() {
                    "default" | "encoding" | "example" | "examples" => false,
                    "format" => !library(value),
                    _ => true,
                });
            }
            for (key, value) in object {
                simplify(value, !names && matches!(key.as_str(), "properties" | "schemas" | "responses"));
            }
        }
        Value::Array(list) => list.iter_mut().for_each(|value| simplify(value, false)),
        _ => {}
    }
}
