//! From an OpenAPI document to what messages are held against.

use http::{HeaderMap, Method, header::AUTHORIZATION};
use jsonschema::Validator;
use serde_json::{Number, Value};

use crate::{
    contract::{Contract, method},
    dialect::Direction,
    schemas::{Schemas, registry},
    shape::{NodeId, Shapes, step},
};

/// A described operation, or a callback.
#[derive(Debug)]
pub(crate) struct Operation {
    /// Among all operations.
    pub(crate) index: usize,
    pub(crate) id: Option<String>,
    pub(crate) method: Method,
    pub(crate) template: Vec<Step>,
    pub(crate) pointer: String,
    pub(crate) parameters: Vec<Parameter>,
    /// One of these, all schemes of it. Empty where no credential is asked for.
    pub(crate) security: Vec<Vec<Scheme>>,
    pub(crate) security_pointer: String,
    pub(crate) body: Option<Body>,
    pub(crate) answers: Vec<(String, Answer)>,
}

/// One step of a path.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Step {
    Text(String),
    Parameter(String),
}

/// A parameter, or a header of an answer.
#[derive(Debug)]
pub(crate) struct Parameter {
    pub(crate) name: String,
    pub(crate) place: String,
    pub(crate) required: bool,
    pub(crate) pointer: String,
    pub(crate) media: Option<Media>,
    /// The type that its text stands for, and that of its elements.
    kind: String,
    items: String,
}

/// A scheme of credentials.
#[derive(Debug)]
pub(crate) struct Scheme {
    /// In words.
    pub(crate) shown: String,
    carrier: Carrier,
}

#[derive(Debug)]
enum Carrier {
    Header(String),
    Query(String),
    /// `Authorization` with this word before it.
    Authorization(Option<String>),
    /// A cookie, which is not checked.
    Unchecked,
}

/// A described body of a request.
#[derive(Debug)]
pub(crate) struct Body {
    pub(crate) required: bool,
    pub(crate) pointer: String,
    pub(crate) content: Vec<Media>,
}

/// A described answer.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) pointer: String,
    pub(crate) headers: Vec<Parameter>,
    pub(crate) content: Vec<Media>,
}

/// A media type and the schema of what it carries.
#[derive(Debug)]
pub(crate) struct Media {
    pub(crate) kind: String,
    pub(crate) pointer: String,
    pub(crate) validator: Validator,
    pub(crate) node: NodeId,
}

impl Operation {
    /// The steps that are parameters, decoded, where the path is this operation's.
    pub(crate) fn matches(&self, path: &str) -> Option<Vec<String>> {
        let steps: Vec<_> = path.trim_start_matches('/').split('/').collect();
        if steps.len() != self.template.len() {
            return None;
        }
        let mut parameters = Vec::new();
        for (own, step) in self.template.iter().zip(steps) {
            match own {
                Step::Text(text) if text == step => {}
                Step::Text(_) => return None,
                Step::Parameter(_) => parameters.push(decoded(step)),
            }
        }
        Some(parameters)
    }

    /// The described answer for an HTTP status, and whether it is for this one. Otherwise it is that of
    /// success.
    pub(crate) fn answer(&self, status: u16) -> Option<(&Answer, bool)> {
        let of = |wanted: &str| self.answers.iter().find(|(own, _)| own.eq_ignore_ascii_case(wanted));
        let exact =
            of(&status.to_string()).or_else(|| of(&format!("{}XX", status / 100))).or_else(|| of("default"));
        if let Some((_, answer)) = exact {
            return Some((answer, true));
        }
        let success = self.answers.iter().find(|(status, _)| status.starts_with('2'));
        Some((&success.or(self.answers.first())?.1, false))
    }

    /// The described statuses, in words.
    pub(crate) fn statuses(&self) -> String {
        self.answers.iter().map(|(status, _)| status.as_str()).collect::<Vec<_>>().join(", ")
    }

    pub(crate) fn is_credential_in_query(&self, name: &str) -> bool {
        self.security
            .iter()
            .flatten()
            .any(|scheme| matches!(&scheme.carrier, Carrier::Query(own) if own == name))
    }
}

impl Step {
    pub(crate) fn parameter(&self) -> Option<&String> {
        match self {
            Self::Text(_) => None,
            Self::Parameter(name) => Some(name),
        }
    }
}

impl Parameter {
    pub(crate) fn is_list(&self) -> bool {
        self.kind == "array"
    }

    /// What came, as a value of the described type where it can be one.
    pub(crate) fn typed(&self, values: &[&str]) -> Value {
        let typed = |kind: &str, text: &str| match kind {
            "integer" | "number" => text.parse::<Number>().map_or_else(|_| Value::from(text), Value::Number),
            "boolean" if text == "true" || text == "false" => Value::from(text == "true"),
            _ => Value::from(text),
        };
        match values {
            // Lists are repeated in a query, and joined by commas elsewhere.
            [one] if self.is_list() && (self.place != "query" || one.contains(',')) => {
                one.split(',').map(|part| typed(&self.items, part.trim())).collect()
            }
            many if self.is_list() => many.iter().map(|value| typed(&self.items, value)).collect(),
            [one, ..] => typed(&self.kind, one),
            [] => Value::Null,
        }
    }
}

impl Scheme {
    /// Whether there is such a credential; not whether it is the right one.
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
            Carrier::Unchecked => true,
        }
    }
}

impl Media {
    /// Whether a content type is this one, whatever its parameters.
    pub(crate) fn covers(&self, content_type: &str) -> bool {
        let essence = |kind: &str| kind.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
        let (own, came) = (essence(&self.kind), essence(content_type));
        own == came
            || own == "*/*"
            || own.strip_suffix("/*").is_some_and(|main| came.split('/').next() == Some(main))
    }

    pub(crate) fn is_json(&self) -> bool {
        let kind = self.kind.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
        kind == "application/json" || kind.ends_with("+json") || kind.ends_with("/*")
    }
}

pub(crate) fn compile(document: Value) -> Result<Contract, String> {
    let (sent, received) =
        (registry(&document, Direction::Request)?, registry(&document, Direction::Response)?);
    let mut compiler = Compiler {
        document: &document,
        requests: Schemas::new(&document, &sent),
        answers: Schemas::new(&document, &received),
        sent: Shapes::default(),
        received: Shapes::default(),
    };
    let (mut operations, mut callbacks) = (Vec::new(), Vec::new());
    compiler.paths("/paths", &mut operations, &mut callbacks)?;
    let mut schemas = Vec::new();
    for name in keys(&document, "/components/schemas") {
        let pointer = step("/components/schemas", name);
        schemas.push((name.clone(), compiler.schema("application/json", &pointer, Direction::Response)?));
    }
    let Compiler { sent, received, .. } = compiler;
    Ok(Contract { operations, callbacks, schemas, sent, received, document })
}

struct Compiler<'a> {
    document: &'a Value,
    requests: Schemas<'a>,
    answers: Schemas<'a>,
    sent: Shapes,
    received: Shapes,
}

/// The keys of the object at a pointer.
fn keys<'a>(document: &'a Value, pointer: &str) -> Vec<&'a String> {
    let object = document.pointer(pointer).and_then(Value::as_object);
    object.into_iter().flat_map(|object| object.keys()).collect()
}

impl<'a> Compiler<'a> {
    /// The operations of a map of paths, and the callbacks in them.
    fn paths(
        &mut self,
        at: &str,
        operations: &mut Vec<Operation>,
        callbacks: &mut Vec<Operation>,
    ) -> Result<(), String> {
        for path in keys(self.document, at).into_iter().filter(|key| !key.starts_with("x-")) {
            let item = self.follow(&step(at, path))?;
            for name in keys(self.document, &item) {
                let Some(method) = method(name) else { continue };
                let pointer = step(&item, name);
                let operation = self.operation(operations.len(), method, path, &item, &pointer)?;
                operations.push(operation);
                let named = format!("{pointer}/callbacks");
                for name in keys(self.document, &named).into_iter().filter(|key| !key.starts_with("x-")) {
                    let at = self.follow(&step(&named, name))?;
                    let mut own = Vec::new();
                    self.paths(&at, &mut own, &mut Vec::new())?;
                    callbacks.append(&mut own);
                }
            }
        }
        Ok(())
    }

    fn operation(
        &mut self,
        index: usize,
        method: Method,
        path: &str,
        item: &str,
        pointer: &str,
    ) -> Result<Operation, String> {
        let get = |name: &str| self.document.pointer(&format!("{pointer}/{name}"));
        let id = get("operationId").and_then(Value::as_str).map(str::to_owned);
        let security_pointer = match get("security") {
            Some(_) => format!("{pointer}/security"),
            None => "/security".to_owned(),
        };
        let template = path
            .trim_start_matches('/')
            .split('/')
            .map(|step| match step.strip_prefix('{').and_then(|step| step.strip_suffix('}')) {
                Some(name) => Step::Parameter(name.to_owned()),
                None => Step::Text(step.to_owned()),
            })
            .collect();

        let mut parameters: Vec<Parameter> = Vec::new();
        for list in [format!("{pointer}/parameters"), format!("{item}/parameters")] {
            for index in 0..self.length(&list) {
                let parameter = self.parameter(&format!("{list}/{index}"))?;
                // An operation's own parameter stands before one of its path.
                if !parameters.iter().any(|own| own.name == parameter.name && own.place == parameter.place) {
                    parameters.push(parameter);
                }
            }
        }

        let body = match get("requestBody") {
            None => None,
            Some(_) => {
                let pointer = self.follow(&format!("{pointer}/requestBody"))?;
                let required =
                    self.document.pointer(&format!("{pointer}/required")) == Some(&Value::Bool(true));
                let content = self.content(&pointer, Direction::Request)?;
                Some(Body { required, pointer, content })
            }
        };
        let mut answers = Vec::new();
        let responses = format!("{pointer}/responses");
        for status in keys(self.document, &responses).into_iter().filter(|key| !key.starts_with("x-")) {
            let pointer = self.follow(&step(&responses, status))?;
            let mut headers = Vec::new();
            for name in keys(self.document, &format!("{pointer}/headers")) {
                // OpenAPI has this one described by `content`.
                if !name.eq_ignore_ascii_case("content-type") {
                    let at = self.follow(&step(&format!("{pointer}/headers"), name))?;
                    headers.push(self.described(&at, name, "header", Direction::Response)?);
                }
            }
            let content = self.content(&pointer, Direction::Response)?;
            answers.push((status.clone(), Answer { pointer, headers, content }));
        }
        let security = self.security(&security_pointer);
        Ok(Operation {
            index,
            id,
            method,
            template,
            pointer: pointer.to_owned(),
            parameters,
            security,
            security_pointer,
            body,
            answers,
        })
    }

    fn parameter(&mut self, pointer: &str) -> Result<Parameter, String> {
        let at = self.follow(pointer)?;
        let text = |name: &str| self.document.pointer(&format!("{at}/{name}")).and_then(Value::as_str);
        let (Some(name), Some(place)) = (text("name"), text("in")) else {
            return Err(format!("{at} has no `name` or no `in`"));
        };
        self.described(&at, name, place, Direction::Request)
    }

    fn described(
        &mut self,
        at: &str,
        name: &str,
        place: &str,
        direction: Direction,
    ) -> Result<Parameter, String> {
        let required = self.document.pointer(&format!("{at}/required")) == Some(&Value::Bool(true));
        let schema = format!("{at}/schema");
        let mut parameter = Parameter {
            name: name.to_owned(),
            place: place.to_owned(),
            required,
            pointer: at.to_owned(),
            media: None,
            kind: String::new(),
            items: String::new(),
        };
        if self.document.pointer(&schema).is_some() {
            let kind = |pointer: &str| {
                let target = self.follow(pointer).ok()?;
                self.document.pointer(&format!("{target}/type"))?.as_str().map(str::to_owned)
            };
            parameter.kind = kind(&schema).unwrap_or_default();
            let items = self.follow(&schema)? + "/items";
            parameter.items = kind(&items).unwrap_or_default();
            // The texts of objects come in too many styles.
            if parameter.kind != "object" {
                parameter.media = Some(self.schema("", &schema, direction)?);
            }
        }
        Ok(parameter)
    }

    fn content(&mut self, at: &str, direction: Direction) -> Result<Vec<Media>, String> {
        let content = format!("{at}/content");
        let mut media = Vec::new();
        for kind in keys(self.document, &content) {
            let pointer = step(&content, kind) + "/schema";
            if self.document.pointer(&pointer).is_some() {
                media.push(self.schema(kind, &pointer, direction)?);
            }
        }
        Ok(media)
    }

    fn schema(&mut self, kind: &str, pointer: &str, direction: Direction) -> Result<Media, String> {
        let (schemas, shapes) = match direction {
            Direction::Request => (&self.requests, &mut self.sent),
            Direction::Response => (&self.answers, &mut self.received),
        };
        Ok(Media {
            kind: kind.to_owned(),
            pointer: pointer.to_owned(),
            validator: schemas.validator(pointer)?,
            node: shapes.add(schemas, pointer)?,
        })
    }

    fn security(&self, pointer: &str) -> Vec<Vec<Scheme>> {
        let list = self.document.pointer(pointer).and_then(Value::as_array);
        let alternatives: Vec<Vec<Scheme>> = list
            .into_iter()
            .flatten()
            .filter_map(Value::as_object)
            .map(|schemes| schemes.keys().map(|name| self.scheme(name)).collect())
            .collect();
        // An empty one allows to come without.
        if alternatives.iter().any(Vec::is_empty) { Vec::new() } else { alternatives }
    }

    fn scheme(&self, name: &str) -> Scheme {
        let at = step("/components/securitySchemes", name);
        let text = |name: &str| self.document.pointer(&format!("{at}/{name}")).and_then(Value::as_str);
        let key = text("name").unwrap_or_default().to_owned();
        match (text("type"), text("in")) {
            (Some("apiKey"), Some("header")) => {
                Scheme { shown: format!("the header `{key}`"), carrier: Carrier::Header(key) }
            }
            (Some("apiKey"), Some("query")) => {
                Scheme { shown: format!("the parameter `{key}`"), carrier: Carrier::Query(key) }
            }
            (Some("apiKey"), _) => {
                Scheme { shown: format!("the cookie `{key}`"), carrier: Carrier::Unchecked }
            }
            (Some("http"), _) => {
                let word = text("scheme").unwrap_or("bearer");
                let mut letters = word.chars();
                let first = letters.next().map(|letter| letter.to_ascii_uppercase());
                let shown = format!("`Authorization: {}{} ...`", first.unwrap_or_default(), letters.as_str());
                Scheme { shown, carrier: Carrier::Authorization(Some(word.to_owned())) }
            }
            _ => Scheme { shown: "`Authorization`".to_owned(), carrier: Carrier::Authorization(None) },
        }
    }

    fn length(&self, pointer: &str) -> usize {
        self.document.pointer(pointer).and_then(Value::as_array).map_or(0, Vec::len)
    }

    /// Where something really stands, past all `$ref`.
    fn follow(&self, pointer: &str) -> Result<String, String> {
        let mut at = pointer.to_owned();
        for _ in 0..64 {
            let Some(value) = self.document.pointer(&at) else {
                // What is not there has no references either; its reader finds nothing.
                return if at == pointer { Ok(at) } else { Err(format!("{pointer}: there is no {at}")) };
            };
            match value.get("$ref").and_then(Value::as_str) {
                None => return Ok(at),
                Some(reference) => match reference.strip_prefix('#') {
                    Some(target) => at = target.to_owned(),
                    None => return Err(format!("{at}/$ref leads out of the document")),
                },
            }
        }
        Err(format!("{pointer}: its references go round in a circle"))
    }
}

/// A step of a path, decoded.
fn decoded(step: &str) -> String {
    let text = format!("={}", step.replace('+', "%2B"));
    url::form_urlencoded::parse(text.as_bytes())
        .next()
        .map(|(_, value)| value.into_owned())
        .unwrap_or_default()
}
