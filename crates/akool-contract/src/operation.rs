//! The compiled parts of an operation, and how a message is matched with them.

use http::{HeaderMap, Method, header::AUTHORIZATION};
use jsonschema::Validator;
use serde_json::{Number, Value};

use crate::{dialect::Direction, pointer::percent_decoded, shape::NodeId};

/// A documented operation or callback.
#[derive(Debug)]
pub(crate) struct Operation {
    /// Its position among all operations.
    pub(crate) index: usize,
    pub(crate) id: Option<String>,
    pub(crate) method: Method,
    pub(crate) template: Vec<Segment>,
    pub(crate) pointer: String,
    pub(crate) parameters: Vec<Parameter>,
    /// Alternatives, each with all schemes that it needs. Empty if no credential is required.
    pub(crate) security: Vec<Vec<Scheme>>,
    pub(crate) security_pointer: String,
    pub(crate) body: Option<RequestBody>,
    /// By HTTP status, `4XX` or `default`.
    pub(crate) responses: Vec<(String, Response)>,
}

/// One segment of a path template.
#[derive(Debug)]
pub(crate) enum Segment {
    Text(String),
    Parameter(String),
}

/// A parameter of a request, or a header of a response.
#[derive(Debug)]
pub(crate) struct Parameter {
    pub(crate) name: String,
    /// `in`: `path`, `query`, `header` or `cookie`.
    pub(crate) location: String,
    pub(crate) required: bool,
    pub(crate) pointer: String,
    /// `None` without a schema, and for objects.
    pub(crate) media: Option<Media>,
    /// The type of its value.
    pub(crate) kind: String,
    /// The type of the elements if the value is a list.
    pub(crate) item_kind: String,
}

/// A security scheme.
#[derive(Debug)]
pub(crate) struct Scheme {
    /// The scheme in words.
    pub(crate) shown: String,
    pub(crate) carrier: Carrier,
}

/// The part of a request that carries a credential.
#[derive(Debug)]
pub(crate) enum Carrier {
    Header(String),
    Query(String),
    /// `Authorization`, with this word before the credential.
    Authorization(Option<String>),
    /// A cookie, which is not checked.
    Cookie,
}

#[derive(Debug)]
pub(crate) struct RequestBody {
    pub(crate) required: bool,
    pub(crate) content: Content,
}

#[derive(Debug)]
pub(crate) struct Response {
    pub(crate) headers: Vec<Parameter>,
    pub(crate) content: Content,
}

/// The documented bodies of a request or a response.
#[derive(Debug)]
pub(crate) struct Content {
    /// The request body or response that they belong to.
    pub(crate) pointer: String,
    pub(crate) media: Vec<Media>,
}

/// A media type with its schema.
#[derive(Debug)]
pub(crate) struct Media {
    /// The media type; empty for parameters and named schemas.
    pub(crate) kind: String,
    pub(crate) direction: Direction,
    pub(crate) pointer: String,
    pub(crate) validator: Validator,
    pub(crate) node: NodeId,
}

impl Operation {
    /// The decoded values of the path parameters, if the path belongs to this operation.
    pub(crate) fn matches(&self, path: &str) -> Option<Vec<String>> {
        let segments: Vec<_> = path.trim_start_matches('/').split('/').collect();
        if segments.len() != self.template.len() {
            return None;
        }
        let mut values = Vec::new();
        for (own, segment) in self.template.iter().zip(segments) {
            match own {
                Segment::Text(text) if text == segment => {}
                Segment::Text(_) => return None,
                Segment::Parameter(_) => values.push(percent_decoded(segment)),
            }
        }
        Some(values)
    }

    /// The position of a path parameter among the values that [`matches`](Self::matches) returns.
    pub(crate) fn path_index(&self, name: &str) -> Option<usize> {
        let names = self.template.iter().filter_map(|segment| match segment {
            Segment::Parameter(name) => Some(name),
            Segment::Text(_) => None,
        });
        names.into_iter().position(|own| own == name)
    }

    /// The documented response for an HTTP status, and whether the status is documented. If it is not,
    /// the response is the one of success.
    pub(crate) fn response(&self, status: u16) -> Option<(&Response, bool)> {
        let find = |key: &str| self.responses.iter().find(|(own, _)| own.eq_ignore_ascii_case(key));
        let documented = find(&status.to_string())
            .or_else(|| find(&format!("{}XX", status / 100)))
            .or_else(|| find("default"));
        if let Some((_, response)) = documented {
            return Some((response, true));
        }
        let success = self.responses.iter().find(|(status, _)| status.starts_with('2'));
        Some((&success.or(self.responses.first())?.1, false))
    }

    /// The documented statuses, in words.
    pub(crate) fn statuses(&self) -> String {
        self.responses.iter().map(|(status, _)| status.as_str()).collect::<Vec<_>>().join(", ")
    }

    /// Whether a credential is sent in this query parameter.
    pub(crate) fn is_credential(&self, query_parameter: &str) -> bool {
        let mut schemes = self.security.iter().flatten();
        schemes.any(|scheme| matches!(&scheme.carrier, Carrier::Query(own) if own == query_parameter))
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
    /// Whether a request carries such a credential. Its value is not checked.
    pub(crate) fn is_met(&self, headers: &HeaderMap, in_query: impl Fn(&str) -> bool) -> bool {
        match &self.carrier {
            Carrier::Header(name) => headers.get(name.as_str()).is_some_and(|value| !value.is_empty()),
            Carrier::Query(name) => in_query(name),
            Carrier::Authorization(word) => {
                let value =
                    headers.get(AUTHORIZATION).and_then(|value| value.to_str().ok()).unwrap_or_default();
                let (own, rest) = value.split_once(' ').unwrap_or((value, ""));
                match word {
                    Some(word) => own.eq_ignore_ascii_case(word) && !rest.trim().is_empty(),
                    None => !value.is_empty(),
                }
            }
            Carrier::Cookie => true,
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
