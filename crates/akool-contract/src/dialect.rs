//! Translates the schemas of OpenAPI 3.0 into JSON Schema draft 4 and keeps their pointers.
//!
//! Draft 4 is the closest draft: `exclusiveMinimum` is a boolean beside `minimum`, siblings of `$ref`
//! are ignored, and `3.0` is not an integer. The differences are translated: `nullable`, the formats
//! of numbers, `readOnly` and `writeOnly`. Everything that is not a constraint is left out, so that an
//! example is never taken for a schema.

use serde_json::{Map, Value, json};

use crate::pointer::{follow, is_true};

/// The direction of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Direction {
    Request,
    Response,
}

/// The extension for conditional promises: a list of `when` and `then`, both schemas.
pub(crate) const PROMISES: &str = "x-promises";

/// The whole document with its schemas translated.
pub(crate) fn translated(document: &Value, direction: Direction) -> Value {
    Dialect { document, direction }.outside(document)
}

struct Dialect<'a> {
    document: &'a Value,
    direction: Direction,
}

impl Dialect<'_> {
    /// A value outside of schemas, which may contain schemas.
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
        // `nullable` has an effect only beside `type`; an `enum` must list null itself.
        if object.get("nullable") == Some(&Value::Bool(true))
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
        let is_excluded = property.is_some_and(|property| {
            match property.get("$ref").and_then(Value::as_str).and_then(|target| target.strip_prefix('#')) {
                Some(target) => follow(self.document, target)
                    .is_ok_and(|target| is_true(self.document, &format!("{target}/{excluded}"))),
                None => property.get(excluded) == Some(&Value::Bool(true)),
            }
        });
        !is_excluded
    }
}

/// Translates the formats `int32` and `int64` into ranges. No other format constrains a number.
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

/// Whether a text is in the format `byte`: base64 with padding.
pub(crate) fn is_base64(text: &str) -> bool {
    let digits = text.trim_end_matches('=');
    text.len().is_multiple_of(4)
        && text.len() - digits.len() <= 2
        && digits.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'+' || byte == b'/')
}

/// Whether a text is in the format `date`: a full-date of RFC 3339.
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
        assert_eq!(schema(json!({"type": "integer", "format": "int64"}))["minimum"], i64::MIN);
        assert_eq!(schema(json!({"type": "string", "format": "int64"})).get("minimum"), None);
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

    #[test]
    fn dates_and_base64_are_recognized() {
        for (text, valid) in [
            ("2024-02-29", true),
            ("2023-02-29", false),
            ("2023-1-01", false),
            ("", false),
            ("+023-01-01", false),
        ] {
            assert_eq!(is_date(text), valid, "{text}");
        }
        for (text, valid) in [("", true), ("YQ==", true), ("YQ=", false), ("====", false), ("Y-==", false)] {
            assert_eq!(is_base64(text), valid, "{text}");
        }
    }
}
