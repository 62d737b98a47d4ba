//! Compiles a description into what a validator of messages needs: [`compile`].
//!
//! The result is JSON that is written to a file, so that the validator reads neither OpenAPI nor its dialect of JSON
//! Schema. All pointers lead into the description.
//!
//! - `operations` and `callbacks`: for each, its `id`, `method`, `path`, `pointer`, `parameters`, `security`, `body` and
//!   `responses`. The `schema` of each parameter and media type has a `direction`, a `pointer` and a `shape`.
//! - `named`: the schemas of `#/components/schemas`, as in responses.
//! - `response`: the `schemas` in JSON Schema draft 4, each in its place in the description (with the index of an array
//!   as a key), and their `shapes`. If a keyword of a schema translates another one, `x-translated-from` names that.
//! - `request`: the same for messages in the other direction, if they differ (`readOnly`, `writeOnly`).
//!
//! A shape is what JSON Schema cannot express: which `fields` are documented, whether there are no others (`closed`),
//! which `values` an open list has (`x-extensible-enum`), which values are `secret` (`format: password`), and the places
//! of conditional `promises` (`x-promises`). `$ref`, `allOf`, `anyOf` and `oneOf` are merged in it. A shape that is not
//! listed is one without any of that; its name is its pointer.
//!
//! Draft 4 is the draft that is closest to OpenAPI 3.0: `exclusiveMinimum` is a boolean beside `minimum`, siblings of
//! `$ref` are ignored, and `3.0` is not an integer.

mod dialect;
mod operations;
mod shapes;

use anyhow::{Context, Result, anyhow};
use jsonschema::{Draft, Registry};
use serde_json::{Map, Value, json};

use crate::openapi::{DOCUMENT, Direction, members, pointer_step, reference};
use operations::Operations;
use shapes::Shapes;

/// Compiles an OpenAPI 3.0 description. The result has paths, parameters in path, query, headers and cookies (but no
/// schemas of objects there, which can be written in too many styles), security, bodies, headers of responses, and
/// callbacks.
///
/// # Errors
/// If a reference cannot be resolved or a schema is not valid.
///
/// ```
/// use serde_json::json;
///
/// let contract = openapi_keeper::contract::compile(&json!({
///     "paths": {"/jobs": {"get": {"operationId": "list", "responses": {"200": {"content": {"application/json": {
///         "schema": {"type": "string", "nullable": true},
///     }}}}}}},
/// }))?;
/// assert_eq!(contract["operations"][0]["id"], "list");
/// let pointer = contract["operations"][0]["responses"][0]["content"][0]["schema"]["pointer"].as_str().unwrap();
/// assert_eq!(contract["response"]["schemas"].pointer(pointer).unwrap(), &json!({"type": ["string", "null"]}));
/// # Ok::<(), anyhow::Error>(())
/// ```
pub fn compile(document: &Value) -> Result<Value> {
    let mut operations = Operations::new(document);
    operations.paths("/paths")?;
    let Operations { operations, callbacks, requests, mut responses, .. } = operations;
    let schemas = "/components/schemas";
    let mut named = Map::new();
    for (name, _) in members(document.pointer(schemas)) {
        named.insert(name.clone(), responses.add(&pointer_step(schemas, name), Direction::Response)?);
    }

    let (request, response) = (
        dialect::translated(document, Direction::Request),
        dialect::translated(document, Direction::Response),
    );
    check(&request, &requests)?;
    check(&response, &responses)?;
    let mut contract = Map::new();
    contract.insert("operations".to_owned(), operations.into());
    contract.insert("callbacks".to_owned(), callbacks.into());
    contract.insert("named".to_owned(), named.into());
    if request == response {
        responses.extend(requests);
    } else {
        contract.insert("request".to_owned(), json!({ "schemas": request, "shapes": requests.into_json() }));
    }
    contract.insert("response".to_owned(), json!({ "schemas": response, "shapes": responses.into_json() }));
    Ok(contract.into())
}

/// Checks that a validator can be built from each schema.
fn check(schemas: &Value, shapes: &Shapes<'_>) -> Result<()> {
    let registry = Registry::new()
        .add(DOCUMENT, Draft::Draft4.create_resource_ref(schemas))
        .and_then(jsonschema::RegistryBuilder::prepare)
        .context("its schemas cannot be read as JSON Schema")?;
    for pointer in shapes.schemas() {
        let options = jsonschema::options().with_draft(Draft::Draft4).with_registry(&registry);
        options
            .build(&reference(pointer))
            .map_err(|error| anyhow!("{pointer} is not a valid schema: {error}"))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_invalid_description_is_an_error_that_names_the_place() {
        let schema = |schema: Value| json!({"paths": {}, "components": {"schemas": {"A": schema}}});
        for (wrong, says) in [
            (json!({"paths": {"/a": {"$ref": "#/nowhere"}}}), "/nowhere does not exist"),
            (schema(json!({"$ref": "#/nowhere"})), "/nowhere does not exist"),
            (schema(json!({"$ref": "other.yaml"})), "other.yaml is outside of the document"),
            (schema(json!({"$ref": "#/components/schemas/A"})), "its references form a cycle"),
            (schema(json!({"type": "text"})), "/components/schemas/A is not a valid schema"),
            (schema(json!({"properties": {"a": {"pattern": "("}}})), "/components/schemas/A"),
            (
                json!({"paths": {"/a": {"get": {"parameters": [{"in": "query"}]}}}}),
                "has no `name` or no `in`",
            ),
            (schema(json!({"x-promises": [{"when": {"type": "text"}, "then": {}}]})), "x-promises/0/when"),
        ] {
            let error = format!("{:#}", compile(&wrong).unwrap_err());
            assert!(error.contains(says), "{error}");
        }
        for odd in [json!(null), json!([]), json!({}), json!({"paths": [{"get": 1}], "components": 5})] {
            compile(&odd).unwrap();
        }
    }

    #[test]
    fn the_other_direction_is_written_only_if_it_differs() {
        let of = |property: Value| {
            let schema = json!({"required": ["a"], "properties": {"a": property}});
            compile(&json!({"components": {"schemas": {"A": schema}}})).unwrap()
        };
        assert_eq!(of(json!({"type": "string"})).get("request"), None);
        let contract = of(json!({"readOnly": true}));
        let required =
            |direction: &str| contract[direction]["schemas"]["components"]["schemas"]["A"].get("required");
        assert_eq!(required("request"), None);
        assert_eq!(required("response"), Some(&json!(["a"])));
    }
}
