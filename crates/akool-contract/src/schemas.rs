//! From the description's schemas to validators, and from their errors to violations.

use jsonschema::{
    Draft, Registry, ValidationError, Validator,
    error::{TypeKind, ValidationErrorKind},
};
use serde_json::{Value, json};

use crate::{
    dialect::{self, Direction},
    redact,
    report::Report,
    shape::{list, step},
};

/// The name under which the translated document is known to validators. It is never fetched.
const DOCUMENT: &str = "urn:description";

/// The schemas of a document, while it is compiled.
pub(crate) struct Schemas<'a> {
    /// The document as it is.
    pub(crate) document: &'a Value,
    registry: &'a Registry<'a>,
}

/// The document's schemas as JSON Schema, for messages of one direction.
pub(crate) fn registry(document: &Value, direction: Direction) -> Result<Registry<'static>, String> {
    let translated = dialect::translated(document, direction);
    Registry::new()
        .add(DOCUMENT, Draft::Draft4.create_resource(translated))
        .and_then(jsonschema::RegistryBuilder::prepare)
        .map_err(|error| format!("its schemas cannot be read as JSON Schema: {error}"))
}

impl<'a> Schemas<'a> {
    pub(crate) fn new(document: &'a Value, registry: &'a Registry<'a>) -> Self {
        Self { document, registry }
    }

    /// The validator of the schema at this pointer.
    pub(crate) fn validator(&self, pointer: &str) -> Result<Validator, String> {
        let schema = json!({ "$ref": format!("{DOCUMENT}#{}", fragment(pointer)) });
        jsonschema::options()
            .with_draft(Draft::Draft4)
            .with_registry(self.registry)
            .should_validate_formats(true)
            .with_format("byte", dialect::is_base64)
            .with_format("date", dialect::is_date)
            .build(&schema)
            .map_err(|error| format!("{pointer} is no schema: {error}"))
    }
}

/// A JSON Pointer as a URI carries it (RFC 6901, section 6).
fn fragment(pointer: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"/-._~!$&'()*+,;=:@".contains(&byte);
    pointer
        .bytes()
        .map(|byte| if plain(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") })
        .collect()
}

/// The steps to the value that an error is about.
pub(crate) fn path(error: &ValidationError<'_>) -> Vec<String> {
    let path = error.instance_path().as_str();
    path.split('/').skip(1).map(|step| step.replace("~1", "/").replace("~0", "~")).collect()
}

/// Tells of an error at a value below `at`. Where its place in the description is not known, it is
/// `fallback`.
pub(crate) fn violation(
    error: &ValidationError<'_>,
    at: &str,
    secret: bool,
    description: &Value,
    fallback: &str,
    report: &mut Report,
) {
    let keyword = error.kind().keyword();
    let place = error.absolute_keyword_location().and_then(|uri| {
        let fragment = uri.fragment()?.as_str();
        let decoded = url::form_urlencoded::parse(format!("={}", fragment.replace('+', "%2B")).as_bytes())
            .next()
            .map(|(_, decoded)| decoded.into_owned());
        decoded.filter(|pointer| pointer.starts_with('/'))
    });
    let place = place.unwrap_or_else(|| fallback.to_owned());
    let (place, described) = nearest(description, &place);

    let mut pointer = format!("{at}{}", error.instance_path());
    let instance = error.instance();
    let mut came = redact::value(instance, secret);
    let expected = match error.kind() {
        ValidationErrorKind::Required { property } => {
            let name = property.as_str().unwrap_or_default();
            pointer = step(&pointer, name);
            came = match instance.as_object().filter(|object| !object.is_empty()) {
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
            came = redact::names(unexpected.iter());
            "no other fields than the described ones".to_owned()
        }
        ValidationErrorKind::OneOfNotValid { .. } | ValidationErrorKind::AnyOf { .. } => {
            "one of the described alternatives".to_owned()
        }
        ValidationErrorKind::OneOfMultipleValid { .. } => "only one of the described alternatives".to_owned(),
        _ => {
            let name = place.rsplit('/').next().unwrap_or(keyword);
            if described.is_object() || described.is_array() {
                format!("what `{name}` asks for")
            } else {
                format!("{name} {described}")
            }
        }
    };
    let expected = match condition(description, &place) {
        Some(when) => format!("{expected}, as promised {when}"),
        None => expected,
    };
    report.violation(&pointer, keyword, expected, came, &place);
}

/// The nearest place that the description has itself: a translated keyword stands for a format.
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

/// Under which condition something is promised, in words.
fn condition(description: &Value, place: &str) -> Option<String> {
    let start = place.find(&format!("/{}/", dialect::PROMISES))?;
    let rest = &place[start + dialect::PROMISES.len() + 2..];
    let index = rest.split('/').next()?;
    let promise = description.pointer(&format!("{}/{}/{index}", &place[..start], dialect::PROMISES))?;
    let fields: Vec<_> = promise["when"]["properties"]
        .as_object()?
        .iter()
        .map(|(name, schema)| match schema["enum"].as_array() {
            Some(values) => format!("`{name}` is {}", list(values)),
            None => format!("`{name}` is as described there"),
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
