//! Builds validators from the description's schemas and turns their errors into violations.

use jsonschema::{
    Draft, Registry, ValidationError, Validator,
    error::{TypeKind, ValidationErrorKind},
};
use serde_json::{Value, json};

use crate::{
    dialect::{self, Direction, PROMISES},
    pointer::{percent_decoded, step, steps, to_fragment},
    redact::{self, list},
    report::Report,
};

/// The URI of the translated document in validators. It is never fetched.
const DOCUMENT: &str = "urn:description";

/// The schemas of a document for messages of one direction, while it is compiled.
pub(crate) struct Schemas<'a> {
    /// The untranslated document.
    pub(crate) document: &'a Value,
    registry: Registry<'static>,
}

impl<'a> Schemas<'a> {
    pub(crate) fn new(document: &'a Value, direction: Direction) -> Result<Self, String> {
        let registry = Registry::new()
            .add(DOCUMENT, Draft::Draft4.create_resource(dialect::translated(document, direction)))
            .and_then(jsonschema::RegistryBuilder::prepare)
            .map_err(|error| format!("its schemas cannot be read as JSON Schema: {error}"))?;
        Ok(Self { document, registry })
    }

    /// The validator for the schema at this pointer.
    pub(crate) fn validator(&self, pointer: &str) -> Result<Validator, String> {
        jsonschema::options()
            .with_draft(Draft::Draft4)
            .with_registry(&self.registry)
            .should_validate_formats(true)
            .with_format("byte", dialect::is_base64)
            .with_format("date", dialect::is_date)
            .build(&json!({ "$ref": format!("{DOCUMENT}#{}", to_fragment(pointer)) }))
            .map_err(|error| format!("{pointer} is not a valid schema: {error}"))
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
    description: &Value,
    fallback: &str,
    report: &mut Report,
) {
    let keyword = error.kind().keyword();
    let place = error
        .absolute_keyword_location()
        .and_then(|uri| Some(percent_decoded(uri.fragment()?.as_str())))
        .filter(|pointer| pointer.starts_with('/'))
        .unwrap_or_else(|| fallback.to_owned());
    let (place, rule) = nearest(description, &place);

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
    if let Some(condition) = condition(description, &place) {
        expected = format!("{expected}, as promised {condition}");
    }
    report.violation(&pointer, keyword, expected, actual, &place);
}

/// The nearest place that exists in the description. A translated keyword stands for a `format`.
fn nearest<'a>(description: &'a Value, pointer: &str) -> (String, &'a Value) {
    let mut at = pointer;
    loop {
        if let Some(value) = description.pointer(at) {
            let format = format!("{at}/format");
            return match description.pointer(&format) {
                Some(value) if at != pointer => (format, value),
                _ => (at.to_owned(), value),
            };
        }
        at = at.rsplit_once('/').map_or("", |(parent, _)| parent);
    }
}

/// The condition of the promise that contains this place, in words.
fn condition(description: &Value, place: &str) -> Option<String> {
    let (schema, rest) = place.split_once(&format!("/{PROMISES}/"))?;
    let index = rest.split('/').next()?;
    let promise = description.pointer(&format!("{schema}/{PROMISES}/{index}"))?;
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
