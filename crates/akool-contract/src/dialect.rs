//! OpenAPI 3.0's schemas as JSON Schema draft 4, at the same pointers.
//!
//! Draft 4 is the nearest: `exclusiveMinimum` is a boolean beside `minimum`, what stands beside
//! `$ref` is ignored, and `3.0` is no integer. What differs is translated: `nullable`, the formats
//! of numbers, `readOnly` and `writeOnly`. Everything that is no constraint is left out, so that no
//! example is taken for a schema.

use serde_json::{Map, Value, json};

/// Which way a message goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Direction {
    Request,
    Response,
}

/// The extension that holds what is promised under a condition: a list of `when` and `then`, both
/// schemas.
pub(crate) const PROMISES: &str = "x-promises";

/// The whole document, its schemas translated.
pub(crate) fn translated(document: &Value, direction: Direction) -> Value {
    Dialect { document, direction }.outside(document)
}

struct Dialect<'a> {
    document: &'a Value,
    direction: Direction,
}

impl Dialect<'_> {
    /// What is not a schema, but may hold some.
    fn outside(&self, value: &Value) -> Value {
        match value {
            Value::Object(object) => Value::Object(
                object
                    .iter()
                    .filter(|(key, _)| !matches!(key.as_str(), "example" | "examples"))
                    .map(|(key, member)| {
                        let translated = match (key.as_str(), member) {
                            ("schema", _) => self.schema(member),
                            ("schemas", Value::Object(schemas)) => self.each(schemas),
                            _ => self.outside(member),
                        };
                        (key.clone(), translated)
                    })
                    .collect(),
            ),
            Value::Array(list) => list.iter().map(|member| self.outside(member)).collect(),
            other => other.clone(),
        }
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
        number_format(&mut out);
        // `nullable` says something only beside `type`; an `enum` must list null itself.
        if object.get("nullable") == Some(&Value::Bool(true))
            && let Some(kind @ Value::String(_)) = out.get("type").cloned()
        {
            out.insert("type".to_owned(), json!([kind, "null"]));
        }
        Value::Object(out)
    }

    /// Whether a required property is required in this direction.
    fn travels(&self, object: &Map<String, Value>, name: &Value) -> bool {
        let property = name.as_str().and_then(|name| object.get("properties")?.get(name));
        let property = property.and_then(|property| resolve(self.document, property));
        let stays = match self.direction {
            Direction::Request => "readOnly",
            Direction::Response => "writeOnly",
        };
        property.and_then(|property| property.get(stays)) != Some(&Value::Bool(true))
    }
}

/// A schema, or what its `$ref` leads to.
fn resolve<'a>(document: &'a Value, mut value: &'a Value) -> Option<&'a Value> {
    for _ in 0..64 {
        match value.get("$ref").and_then(Value::as_str) {
            Some(reference) => value = document.pointer(reference.strip_prefix('#')?)?,
            None => return Some(value),
        }
    }
    None
}

/// `int32` and `int64` are ranges; no other format of a number constrains it.
fn number_format(schema: &mut Map<String, Value>) {
    let (least, most) = match schema.get("format").and_then(Value::as_str) {
        Some("int32") => (i64::from(i32::MIN), i64::from(i32::MAX)),
        Some("int64") => (i64::MIN, i64::MAX),
        _ => return,
    };
    if schema.get("type") != Some(&json!("integer")) {
        return;
    }
    if schema.get("minimum").and_then(Value::as_f64).is_none_or(|own| own < least as f64) {
        schema.insert("minimum".to_owned(), json!(least));
        schema.remove("exclusiveMinimum");
    }
    if schema.get("maximum").and_then(Value::as_f64).is_none_or(|own| own > most as f64) {
        schema.insert("maximum".to_owned(), json!(most));
        schema.remove("exclusiveMaximum");
    }
}

/// `byte`: base64 with padding.
pub(crate) fn is_base64(text: &str) -> bool {
    let digits = text.trim_end_matches('=');
    text.len().is_multiple_of(4)
        && text.len() - digits.len() <= 2
        && digits.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'+' || byte == b'/')
}

/// `date`: a day as RFC 3339 writes it.
pub(crate) fn is_date(text: &str) -> bool {
    let mut parts = text.split('-').map(|part| (part.len(), part.parse::<u32>().ok()));
    let (Some((4, Some(year))), Some((2, Some(month))), Some((2, Some(day))), None) =
        (parts.next(), parts.next(), parts.next(), parts.next())
    else {
        return false;
    };
    let leap = year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400));
    let days = match month {
        1 | 3 | 5 | 7 | 8 | 10 | 12 => 31,
        4 | 6 | 9 | 11 => 30,
        2 if leap => 29,
        2 => 28,
        _ => return false,
    };
    (1..=days).contains(&day) && text.bytes().all(|byte| byte.is_ascii_digit() || byte == b'-')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn schema(schema: Value) -> Value {
        let document = json!({ "components": { "schemas": { "A": schema } } });
        translated(&document, Direction::Response)["components"]["schemas"]["A"].clone()
    }

    #[test]
    fn what_is_no_constraint_is_left_out_and_a_property_of_that_name_is_not() {
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
    fn nullable_counts_beside_a_type_and_refs_stand_alone() {
        assert_eq!(schema(json!({"type": "string", "nullable": true})), json!({"type": ["string", "null"]}));
        assert_eq!(schema(json!({"nullable": true})), json!({}));
        assert_eq!(
            schema(json!({"$ref": "#/components/schemas/A", "nullable": true, "required": ["b"]})),
            json!({"$ref": "#/components/schemas/A"})
        );
    }

    #[test]
    fn formats_of_integers_are_ranges_unless_there_is_a_narrower_one() {
        let range =
            schema(json!({"type": "integer", "format": "int32", "minimum": 0, "exclusiveMinimum": true}));
        assert_eq!(range["minimum"], 0);
        assert_eq!(range["exclusiveMinimum"], true);
        assert_eq!(range["maximum"], i32::MAX);
        assert_eq!(schema(json!({"type": "integer", "format": "int64"}))["minimum"], i64::MIN);
        assert_eq!(schema(json!({"type": "string", "format": "int64"})).get("minimum"), None);
    }

    #[test]
    fn what_only_reads_or_only_writes_is_required_in_one_direction() {
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

    #[test]
    fn days_and_base64() {
        for (text, is) in [
            ("2024-02-29", true),
            ("2023-02-29", false),
            ("2023-1-01", false),
            ("", false),
            ("+023-01-01", false),
        ] {
            assert_eq!(is_date(text), is, "{text}");
        }
        for (text, is) in [("", true), ("YQ==", true), ("YQ=", false), ("====", false), ("Y-==", false)] {
            assert_eq!(is_base64(text), is, "{text}");
        }
    }
}
