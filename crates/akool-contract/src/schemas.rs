//! Builds validators from the schemas and turns their errors into violations.

use std::sync::OnceLock;

use jsonschema::{
    Draft, Registry, ValidationError, Validator,
    error::{TypeKind, ValidationErrorKind},
};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::{
    pointer::{percent_decoded, step, steps, to_fragment},
    redact::{self, list},
    report::Report,
};

/// The URI of the schemas in validators. It is never fetched.
const DOCUMENT: &str = "urn:description";
/// The extension for conditional promises: a list of `when` and `then`, both schemas.
const PROMISES: &str = "x-promises";

/// JSON Schemas, each in its place in the description.
#[derive(Debug, Deserialize)]
#[serde(from = "Value")]
pub(crate) struct Schemas {
    pub(crate) document: Value,
    /// Built on first use.
    registry: OnceLock<Registry<'static>>,
}

impl From<Value> for Schemas {
    fn from(document: Value) -> Self {
        Self { document, registry: OnceLock::new() }
    }
}

impl Schemas {
    /// The validator for the schema at this pointer, which is built on first use.
    #[expect(clippy::expect_used, reason = "code generation builds each validator once")]
    pub(crate) fn validator<'a>(&self, built: &'a OnceLock<Validator>, pointer: &str) -> &'a Validator {
        built.get_or_init(|| {
            let registry = self.registry.get_or_init(|| {
                Registry::new()
                    .add(DOCUMENT, Draft::Draft4.create_resource(self.document.clone()))
                    .and_then(jsonschema::RegistryBuilder::prepare)
                    .expect("code generation writes JSON Schema")
            });
            jsonschema::options()
                .with_draft(Draft::Draft4)
                .with_registry(registry)
                .should_validate_formats(true)
                .build(&json!({ "$ref": format!("{DOCUMENT}#{}", to_fragment(pointer)) }))
                .expect("code generation writes valid schemas")
        })
    }
}

/// The steps from the root of the message to the invalid value.
pub(crate) fn path(error: &ValidationError<'_>) -> impl Iterator<Item = String> {
    steps(error.instance_path().as_str())
}

/// Reports a validation error below `at`. `fallback` is its place in the description if the validator
/// does not report one.
pub(crate) fn violation(
    error: &ValidationError<'_>,
    at: &str,
    secret: bool,
    schemas: &Value,
    fallback: &str,
    report: &mut Report,
) {
    let keyword = error.kind().keyword();
    let place = error
        .absolute_keyword_location()
        .and_then(|uri| Some(percent_decoded(uri.fragment()?.as_str())))
        .filter(|pointer| pointer.starts_with('/'))
        .unwrap_or_else(|| fallback.to_owned());
    let (place, rule) = original(schemas, place);

    let mut pointer = format!("{at}{}", error.instance_path());
    let instance = error.instance();
    let mut actual = redact::value(instance, secret);
    let mut expected = match error.kind() {
        ValidationErrorKind::Required { property } => {
            let name = property.as_str().unwrap_or_default();
            pointer = step(&pointer, name);
            actual = match instance.as_object().filter(|object| !object.is_empty()) {
                Some(object) => format!(
                    "nothing (beside it: {})",
                    redact::names(object.keys().collect::<Vec<_>>().into_iter())
                ),
                None => "nothing".to_owned(),
            };
            format!("the field `{name}`")
        }
        ValidationErrorKind::Type { kind: TypeKind::Single(kind) } => article(&kind.to_string()),
        ValidationErrorKind::Type { kind: TypeKind::Multiple(kinds) } => {
            kinds.iter().map(|kind| article(&kind.to_string())).collect::<Vec<_>>().join(" or ")
        }
        ValidationErrorKind::Enum { options } => match options.as_array() {
            Some(options) => format!("one of {}", list(options)),
            None => "one of the listed values".to_owned(),
        },
        ValidationErrorKind::AdditionalProperties { unexpected } => {
            actual = redact::names(unexpected.iter());
            "only documented fields".to_owned()
        }
        ValidationErrorKind::OneOfNotValid { .. } | ValidationErrorKind::AnyOf { .. } => {
            "one of the documented alternatives".to_owned()
        }
        ValidationErrorKind::OneOfMultipleValid { .. } => {
            "exactly one of the documented alternatives".to_owned()
        }
        _ => {
            let name = place.rsplit('/').next().unwrap_or(keyword);
            if rule.is_object() || rule.is_array() {
                format!("a value that `{name}` allows")
            } else {
                format!("{name} {rule}")
            }
        }
    };
    if let Some(condition) = condition(schemas, &place) {
        expected = format!("{expected}, as promised {condition}");
    }
    report.violation(&pointer, keyword, expected, actual, &place);
}

/// The place and the value of the keyword in the description, whose translation is at `place`.
fn original(schemas: &Value, place: String) -> (String, &Value) {
    static NONE: Value = Value::Null;
    let original = place.rsplit_once('/').and_then(|(schema, keyword)| {
        let original = schemas.pointer(schema)?.get("x-translated-from")?.get(keyword)?.as_str()?;
        Some(format!("{schema}/{original}"))
    });
    let place = original.unwrap_or(place);
    let value = schemas.pointer(&place).unwrap_or(&NONE);
    (place, value)
}

/// The condition of the promise that contains this place, in words.
fn condition(schemas: &Value, place: &str) -> Option<String> {
    let (schema, rest) = place.split_once(&format!("/{PROMISES}/"))?;
    let index = rest.split('/').next()?;
    let promise = schemas.pointer(&format!("{schema}/{PROMISES}/{index}"))?;
    let fields: Vec<_> = promise["when"]["properties"]
        .as_object()?
        .iter()
        .map(|(name, schema)| match schema["enum"].as_array() {
            Some(values) => format!("`{name}` is {}", list(values)),
            None => format!("`{name}` fits its condition"),
        })
        .collect();
    (!fields.is_empty()).then(|| format!("when {}", fields.join(" and ")))
}

fn article(kind: &str) -> String {
    match kind {
        "null" => kind.to_owned(),
        "array" => "a list".to_owned(),
        "integer" | "object" => format!("an {kind}"),
        _ => format!("a {kind}"),
    }
}
