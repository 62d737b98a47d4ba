//! The parts of an operation, and how a message is matched with them.

use std::sync::OnceLock;

use http::{HeaderMap, header::AUTHORIZATION};
use jsonschema::Validator;
use serde::Deserialize;
use serde_json::{Number, Value};

use crate::{pointer::percent_decoded, shape::Link};

/// A documented operation or callback.
#[derive(Debug, Deserialize)]
pub(crate) struct Operation {
    pub(crate) id: Option<String>,
    pub(crate) method: String,
    /// With parameters as `{name}`.
    pub(crate) path: String,
    pub(crate) pointer: String,
    pub(crate) parameters: Vec<Parameter>,
    pub(crate) security: Security,
    pub(crate) body: Option<RequestBody>,
    pub(crate) responses: Vec<Response>,
}

/// A parameter of a request, or a header of a response.
#[derive(Debug, Deserialize)]
pub(crate) struct Parameter {
    pub(crate) name: String,
    /// `path`, `query`, `header` or `cookie`.
    #[serde(rename = "in")]
    pub(crate) location: String,
    pub(crate) required: bool,
    pub(crate) pointer: String,
    /// `None` without a schema, and for objects.
    pub(crate) schema: Option<Schema>,
    /// The type of its value.
    #[serde(default, rename = "type")]
    kind: String,
    /// The type of the elements if the value is a list.
    #[serde(default, rename = "items")]
    item_kind: String,
}

#[derive(Debug, Deserialize)]
pub(crate) struct Security {
    pub(crate) pointer: String,
    /// Each with all schemes that it needs. Empty if no credential is required.
    pub(crate) alternatives: Vec<Vec<Scheme>>,
}

/// The part of a request that carries a credential.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Scheme {
    Header(String),
    Query(String),
    /// `Authorization`, with this word before the credential.
    Authorization(Option<String>),
    /// A cookie, which is not checked.
    Cookie(String),
}

#[derive(Debug, Deserialize)]
pub(crate) struct RequestBody {
    pub(crate) pointer: String,
    pub(crate) required: bool,
    pub(crate) content: Vec<Media>,
}

#[derive(Debug, Deserialize)]
pub(crate) struct Response {
    /// The HTTP status, `4XX` or `default`.
    status: String,
    pub(crate) pointer: String,
    pub(crate) headers: Vec<Parameter>,
    pub(crate) content: Vec<Media>,
}

/// A media type with its schema.
#[derive(Debug, Deserialize)]
pub(crate) struct Media {
    #[serde(rename = "type")]
    pub(crate) kind: String,
    pub(crate) schema: Schema,
}

/// A schema that messages are validated against.
#[derive(Debug, Deserialize)]
pub(crate) struct Schema {
    pub(crate) direction: Direction,
    pub(crate) pointer: String,
    pub(crate) shape: Link,
    /// Built on first use.
    #[serde(skip)]
    pub(crate) validator: OnceLock<Validator>,
}

/// The direction of a message.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Direction {
    Request,
    Response,
}

impl Operation {
    /// The names and decoded values of the path parameters, if the path belongs to this operation.
    pub(crate) fn matches(&self, path: &str) -> Option<Vec<(&str, String)>> {
        let segments = |path: &'_ str| path.trim_start_matches('/').split('/').count();
        if segments(&self.path) != segments(path) {
            return None;
        }
        let own = self.path.trim_start_matches('/').split('/');
        let mut values = Vec::new();
        for (own, segment) in own.zip(path.trim_start_matches('/').split('/')) {
            match own.strip_prefix('{').and_then(|rest| rest.strip_suffix('}')) {
                Some(name) => values.push((name, percent_decoded(segment))),
                None if own == segment => {}
                None => return None,
            }
        }
        Some(values)
    }

    /// The documented response for an HTTP status, and whether the status is documented. If it is not,
    /// the response is the one of success.
    pub(crate) fn response(&self, status: u16) -> Option<(&Response, bool)> {
        let find = |key: &str| self.responses.iter().find(|own| own.status.eq_ignore_ascii_case(key));
        let documented = find(&status.to_string())
            .or_else(|| find(&format!("{}XX", status / 100)))
            .or_else(|| find("default"));
        if let Some(response) = documented {
            return Some((response, true));
        }
        let success = self.responses.iter().find(|own| own.status.starts_with('2'));
        Some((success.or(self.responses.first())?, false))
    }

    /// The documented statuses, in words.
    pub(crate) fn statuses(&self) -> String {
        self.responses.iter().map(|own| own.status.as_str()).collect::<Vec<_>>().join(", ")
    }

    /// Whether a credential is sent in this query parameter.
    pub(crate) fn is_credential(&self, query_parameter: &str) -> bool {
        let mut schemes = self.security.alternatives.iter().flatten();
        schemes.any(|scheme| matches!(scheme, Scheme::Query(own) if own == query_parameter))
    }
}

impl Parameter {
    pub(crate) fn is_list(&self) -> bool {
        self.kind == "array"
    }

    /// The received texts as a value of the documented type, or as text if that is not possible.
    pub(crate) fn value(&self, texts: &[&str]) -> Value {
        let typed = |kind: &str, text: &str| match kind {
            "integer" | "number" => text.parse::<Number>().map_or_else(|_| Value::from(text), Value::Number),
            "boolean" if text == "true" || text == "false" => Value::from(text == "true"),
            _ => Value::from(text),
        };
        match texts {
            // A list is repeated in a query, and separated by commas elsewhere.
            [one] if self.is_list() && (self.location != "query" || one.contains(',')) => {
                one.split(',').map(|part| typed(&self.item_kind, part.trim())).collect()
            }
            many if self.is_list() => many.iter().map(|text| typed(&self.item_kind, text)).collect(),
            [one, ..] => typed(&self.kind, one),
            [] => Value::Null,
        }
    }
}

impl Scheme {
    /// The scheme in words.
    pub(crate) fn shown(&self) -> String {
        match self {
            Self::Header(name) => format!("the header `{name}`"),
            Self::Query(name) => format!("the parameter `{name}`"),
            Self::Cookie(name) => format!("the cookie `{name}`"),
            Self::Authorization(None) => "`Authorization`".to_owned(),
            Self::Authorization(Some(word)) => {
                let (first, rest) = word.split_at_checked(1).unwrap_or_default();
                format!("`Authorization: {}{rest} ...`", first.to_ascii_uppercase())
            }
        }
    }

    /// Whether a request carries such a credential. Its value is not checked.
    pub(crate) fn is_met(&self, headers: &HeaderMap, in_query: impl Fn(&str) -> bool) -> bool {
        match self {
            Self::Header(name) => headers.get(name.as_str()).is_some_and(|value| !value.is_empty()),
            Self::Query(name) => in_query(name),
            Self::Authorization(word) => {
                let value =
                    headers.get(AUTHORIZATION).and_then(|value| value.to_str().ok()).unwrap_or_default();
                let (own, rest) = value.split_once(' ').unwrap_or((value, ""));
                match word {
                    Some(word) => own.eq_ignore_ascii_case(word) && !rest.trim().is_empty(),
                    None => !value.is_empty(),
                }
            }
            Self::Cookie(_) => true,
        }
    }
}

impl Media {
    /// Whether it includes this content type, regardless of the parameters of both.
    pub(crate) fn covers(&self, content_type: &str) -> bool {
        let (own, other) = (essence(&self.kind), essence(content_type));
        own == other
            || own == "*/*"
            || own.strip_suffix("/*").is_some_and(|main| other.split('/').next() == Some(main))
    }

    pub(crate) fn is_json(&self) -> bool {
        let kind = essence(&self.kind);
        kind == "application/json" || kind.ends_with("+json") || kind.ends_with("/*")
    }
}

/// A media type without its parameters.
fn essence(kind: &str) -> String {
    kind.split(';').next().unwrap_or_default().trim().to_ascii_lowercase()
}
