//! Makes every field that is read optional, in the copy of the description that progenitor gets.
//!
//! A lenient decoder can only remove a member that cannot be read. With a required member, the whole response
//! would be lost. The resolved description itself, and with it the contract, stays strict.

use std::collections::BTreeSet;

use serde_json::Value;

use openapi_keeper::openapi::members;

/// Removes `required` from every schema that is not sent.
pub(crate) fn responses(document: &mut Value) {
    let sent = sent(document);
    for item in document.get_mut("paths").and_then(Value::as_object_mut).into_iter().flatten() {
        for operation in item.1.as_object_mut().into_iter().flatten() {
            operation.1.get_mut("responses").map(remove_required);
        }
    }
    let schemas = document.pointer_mut("/components/schemas").and_then(Value::as_object_mut);
    schemas
        .into_iter()
        .flatten()
        .filter(|(name, _)| !sent.contains(*name))
        .for_each(|(_, schema)| remove_required(schema));
}

/// The names of the schemas that a request uses, at any depth.
fn sent(document: &Value) -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    for (_, item) in members(document.get("paths")) {
        for (_, operation) in members(Some(item)) {
            for part in ["parameters", "requestBody"] {
                collect(document, &operation[part], &mut names);
            }
        }
    }
    names
}

fn collect(document: &Value, value: &Value, names: &mut BTreeSet<String>) {
    match value {
        Value::Object(members) => {
            let name = members.get("$ref").and_then(Value::as_str);
            if let Some(name) = name.and_then(|path| path.strip_prefix("#/components/schemas/"))
                && names.insert(name.to_owned())
            {
                collect(document, &document["components"]["schemas"][name], names);
            }
            members.values().for_each(|member| collect(document, member, names));
        }
        Value::Array(items) => items.iter().for_each(|item| collect(document, item, names)),
        _ => {}
    }
}

fn remove_required(value: &mut Value) {
    match value {
        Value::Object(members) => {
            // A property of that name is an object.
            if members.get("required").is_some_and(Value::is_array) {
                members.remove("required");
            }
            members.values_mut().for_each(remove_required);
        }
        Value::Array(items) => items.iter_mut().for_each(remove_required),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn fields_that_are_read_become_optional_and_fields_that_are_sent_do_not() {
        let object = json!({"type": "object", "required": ["a"], "properties": {"a": {"type": "string"}}});
        let reference = |name: &str| json!({"$ref": format!("#/components/schemas/{name}")});
        let mut document = json!({
            "paths": {"/p": {"post": {
                "requestBody": {"content": {"application/json": {"schema": reference("Sent")}}},
                "responses": {"200": {"content": {"application/json": {
                    "schema": {"allOf": [reference("Read"), object.clone()]}}}}},
            }}},
            "components": {"schemas": {
                "Sent": {"type": "object", "required": ["b"], "properties": {"b": reference("Inner")}},
                "Inner": object.clone(),
                "Read": object.clone(),
                "Unused": object.clone(),
            }},
        });
        responses(&mut document);
        let required = |pointer: &str| document.pointer(pointer).unwrap().get("required").is_some();
        for (pointer, wanted) in [
            ("/components/schemas/Sent", true),
            ("/components/schemas/Inner", true),
            ("/components/schemas/Read", false),
            ("/components/schemas/Unused", false),
            ("/paths/~1p/post/responses/200/content/application~1json/schema/allOf/1", false),
        ] {
            assert_eq!(required(pointer), wanted, "{pointer}");
        }
    }
}
