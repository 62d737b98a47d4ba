//! Translates the schemas of OpenAPI 3.0 into JSON Schema draft 4.
//!
//! The differences are translated: `nullable`, the formats of numbers and of base64, `readOnly` and `writeOnly`.
//! Everything that is not a constraint is left out, so that an example is never taken for a schema.

use anyhow::Result;
use serde_json::{Map, Value, json};

use crate::openapi::{Direction, follow, is_true};

/// The extension for conditional promises: a list of `when` and `then`, both schemas.
pub(super) const PROMISES: &str = "x-promises";

/// In a translated schema: the keyword of the description for each keyword that it does not have.
const TRANSLATED_FROM: &str = "x-translated-from";

/// Base64 with padding, the format `byte`.
const BASE64: &str = "^(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?$";

/// The schemas of a document, translated, each in its place. Nothing else of the document is left.
pub(super) fn translated(document: &Value, direction: Direction) -> Value {
    Dialect { document, direction }.outside(document).unwrap_or_else(|| json!({}))
}

struct Dialect<'a> {
    document: &'a Value,
    direction: Direction,
}

impl Dialect<'_> {
    /// A value outside of schemas. `None` if it contains no schema.
    fn outside(&self, value: &Value) -> Option<Value> {
        let members: Map<_, _> = match value {
            Value::Object(object) => object
                .iter()
                .filter(|(key, _)| !matches!(key.as_str(), "example" | "examples"))
                .filter_map(|(key, member)| {
                    let translated = match (key.as_str(), member) {
                        ("schema", _) => self.schema(member),
                        ("schemas", Value::Object(schemas)) => self.each(schemas),
                        _ => self.outside(member)?,
                    };
                    Some((key.clone(), translated))
                })
                .collect(),
            Value::Array(list) => {
                let members = list.iter().enumerate();
                members
                    .filter_map(|(index, member)| Some((index.to_string(), self.outside(member)?)))
                    .collect()
            }
            _ => return None,
        };
        (!members.is_empty()).then_some(Value::Object(members))
    }

    fn each(&self, schemas: &Map<String, Value>) -> Value {
        Value::Object(schemas.iter().map(|(name, schema)| (name.clone(), self.schema(schema))).collect())
    }

    fn schema(&self, schema: &Value) -> Value {
        let Some(object) = schema.as_object() else {
            return schema.clone();
        };
        if let Some(reference @ Value::String(_)) = object.get("$ref") {
            return json!({ "$ref": reference });
        }
        let mut out = Map::new();
        for (key, member) in object {
            let member = match (key.as_str(), member) {
                ("properties", Value::Object(properties)) => self.each(properties),
                ("allOf" | "anyOf" | "oneOf", Value::Array(list)) => {
                    list.iter().map(|member| self.schema(member)).collect()
                }
                ("items" | "not" | "additionalProperties", _) => self.schema(member),
                ("required", Value::Array(names)) => {
                    let names: Vec<_> = names.iter().filter(|name| self.travels(object, name)).collect();
                    if names.is_empty() {
                        continue;
                    }
                    json!(names)
                }
                (PROMISES, Value::Array(promises)) => promises
                    .iter()
                    .map(|promise| {
                        json!({
                            "when": self.schema(&promise["when"]),
                            "then": self.schema(&promise["then"]),
                        })
                    })
                    .collect(),
                (
                    "type" | "enum" | "format" | "pattern" | "minimum" | "maximum" | "exclusiveMinimum"
                    | "exclusiveMaximum" | "multipleOf" | "minLength" | "maxLength" | "minItems" | "maxItems"
                    | "uniqueItems" | "minProperties" | "maxProperties",
                    _,
                ) => member.clone(),
                _ => continue,
            };
            out.insert(key.clone(), member);
        }
        format(&mut out);
        // `nullable` has an effect only beside `type`; an `enum` must list null itself.
        if is_true(object.get("nullable"))
            && let Some(kind @ Value::String(_)) = out.get("type").cloned()
        {
            out.insert("type".to_owned(), json!([kind, "null"]));
        }
        Value::Object(out)
    }

    /// Whether a required property is required in this direction.
    fn travels(&self, object: &Map<String, Value>, name: &Value) -> bool {
        let excluded = match self.direction {
            Direction::Request => "readOnly",
            Direction::Response => "writeOnly",
        };
        let property = name.as_str().and_then(|name| object.get("properties")?.get(name));
        let is_excluded = |property: &Value| -> Result<bool> {
            Ok(
                match property.get("$ref").and_then(Value::as_str).and_then(|target| target.strip_prefix('#'))
                {
                    Some(target) => {
                        let target = follow(self.document, target)?;
                        is_true(self.document.pointer(&target).and_then(|target| target.get(excluded)))
                    }
                    None => is_true(property.get(excluded)),
                },
            )
        };
        !property.is_some_and(|property| is_excluded(property).unwrap_or_default())
    }
}

/// Translates `int32` and `int64` into ranges and `byte` into a pattern, unless the schema is narrower itself. No other
/// format constrains a number, and validators know those of texts.
fn format(schema: &mut Map<String, Value>) {
    let kind = schema.get("type").and_then(Value::as_str).map(str::to_owned);
    let (least, most) = match (schema.get("format").and_then(Value::as_str), kind.as_deref()) {
        (Some("int32"), Some("integer")) => (i64::from(i32::MIN), i64::from(i32::MAX)),
        (Some("int64"), Some("integer")) => (i64::MIN, i64::MAX),
        (Some("byte"), _) if !schema.contains_key("pattern") => {
            schema.insert("pattern".to_owned(), json!(BASE64));
            schema.insert(TRANSLATED_FROM.to_owned(), json!({ "pattern": "format" }));
            return;
        }
        _ => return,
    };
    let mut translated = Map::new();
    for (key, exclusive, bound) in
        [("minimum", "exclusiveMinimum", least), ("maximum", "exclusiveMaximum", most)]
    {
        let own = schema.get(key).and_then(Value::as_f64);
        let is_wider = |own: f64| if bound < 0 { own < bound as f64 } else { own > bound as f64 };
        if own.is_none_or(is_wider) {
            schema.insert(key.to_owned(), json!(bound));
            schema.remove(exclusive);
            translated.insert(key.to_owned(), json!("format"));
        }
    }
    if !translated.is_empty() {
        schema.insert(TRANSLATED_FROM.to_owned(), translated.into());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn schema(schema: Value) -> Value {
        let document = json!({ "components": { "schemas": { "A": schema } } });
        translated(&document, Direction::Response)["components"]["schemas"]["A"].clone()
    }

    #[test]
    fn only_schemas_are_left_each_in_its_place() {
        let parameters = json!([
            {"name": "schema", "in": "query", "description": "d"},
            {"name": "b", "schema": {"type": "string", "title": "t"}, "example": {"schema": {"type": "integer"}}},
        ]);
        let document = json!({"openapi": "3.0.3", "servers": [{"url": "u"}], "paths": {"/a": {"get": {"parameters": parameters}}}});
        let wanted = json!({"paths": {"/a": {"get": {"parameters": {"1": {"schema": {"type": "string"}}}}}}});
        assert_eq!(translated(&document, Direction::Request), wanted);
        assert_eq!(translated(&json!({"paths": {}}), Direction::Request), json!({}));
    }

    #[test]
    fn keywords_that_do_not_constrain_are_left_out_and_properties_of_the_same_name_are_kept() {
        let given = json!({
            "type": "object", "description": "d", "example": {"$ref": "#/nothing"}, "x-a": 1, "default": {},
            "properties": { "example": {"type": "string", "title": "t"}, "$ref": {"type": "integer"} },
        });
        let wanted = json!({
            "type": "object",
            "properties": { "example": {"type": "string"}, "$ref": {"type": "integer"} },
        });
        assert_eq!(schema(given), wanted);
    }

    #[test]
    fn nullable_needs_a_type_and_siblings_of_a_reference_are_ignored() {
        assert_eq!(schema(json!({"type": "string", "nullable": true})), json!({"type": ["string", "null"]}));
        assert_eq!(schema(json!({"nullable": true})), json!({}));
        assert_eq!(
            schema(json!({"$ref": "#/components/schemas/A", "nullable": true, "required": ["b"]})),
            json!({"$ref": "#/components/schemas/A"})
        );
    }

    #[test]
    fn integer_formats_become_ranges_unless_a_narrower_one_is_given() {
        let range =
            schema(json!({"type": "integer", "format": "int32", "minimum": 0, "exclusiveMinimum": true}));
        assert_eq!(range["minimum"], 0);
        assert_eq!(range["exclusiveMinimum"], true);
        assert_eq!(range["maximum"], i32::MAX);
        assert_eq!(range[TRANSLATED_FROM], json!({"maximum": "format"}));
        let wide =
            schema(json!({"type": "integer", "format": "int32", "maximum": 1e300, "exclusiveMaximum": true}));
        assert_eq!(wide["maximum"], i32::MAX);
        assert_eq!(wide.get("exclusiveMaximum"), None);
        assert_eq!(schema(json!({"type": "integer", "format": "int64"}))["minimum"], i64::MIN);
        assert_eq!(schema(json!({"type": "string", "format": "int64"})).get("minimum"), None);
    }

    #[test]
    fn the_format_byte_becomes_a_pattern_unless_there_is_one() {
        let byte = schema(json!({"type": "string", "format": "byte"}));
        assert_eq!(byte[TRANSLATED_FROM], json!({"pattern": "format"}));
        let validator = jsonschema::draft4::new(&byte).unwrap();
        for (text, valid) in [
            ("", true),
            ("YQ==", true),
            ("Y+/=", true),
            ("YQ=", false),
            ("====", false),
            ("Y-==", false),
            ("YQ==\n", false),
        ] {
            assert_eq!(validator.is_valid(&json!(text)), valid, "{text}");
        }
        let own = json!({"type": "string", "format": "byte", "pattern": "^Y"});
        assert_eq!(schema(own.clone()), own);
    }

    #[test]
    fn read_only_and_write_only_properties_are_required_in_one_direction() {
        let document = json!({ "components": { "schemas": {
            "Id": {"type": "string", "readOnly": true},
            "A": {
                "required": ["id", "secret", "name"],
                "properties": {
                    "id": {"$ref": "#/components/schemas/Id"},
                    "secret": {"type": "string", "writeOnly": true},
                    "name": {},
                },
            },
        } } });
        let required =
            |direction| translated(&document, direction)["components"]["schemas"]["A"]["required"].clone();
        assert_eq!(required(Direction::Request), json!(["secret", "name"]));
        assert_eq!(required(Direction::Response), json!(["id", "name"]));
    }
}
