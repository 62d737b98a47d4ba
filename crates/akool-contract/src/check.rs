//! Checks the parts of one message against a compiled document.

use http::{
    HeaderMap, Request,
    header::{CONTENT_ENCODING, CONTENT_TYPE},
};
use serde_json::Value;

use crate::{
    compiled::{Compiled, Messages},
    operation::{Media, Operation, Parameter, Schema, Scheme},
    pointer::step,
    redact,
    report::{DriftKind, Report},
    schemas,
};

/// How many bytes of an invalid body an excerpt is made from.
const EXCERPT_BYTES: usize = 1024;

/// A check of one message, with what it has found so far.
pub(crate) struct Check<'a> {
    compiled: &'a Compiled,
    pub(crate) report: Report,
}

impl<'a> Check<'a> {
    pub(crate) fn new(compiled: &'a Compiled) -> Self {
        Self { compiled, report: Report::default() }
    }

    /// The operation of a request, and the names and values of its path parameters.
    pub(crate) fn operation<B>(
        &mut self,
        request: &Request<B>,
    ) -> Option<(&'a Operation, Vec<(&'a str, String)>)> {
        let path = request.uri().path();
        let operations = self.compiled.operations.iter();
        let on_path: Vec<_> =
            operations.filter_map(|operation| Some((operation, operation.matches(path)?))).collect();
        // A path without parameters takes precedence over a template.
        let best = on_path
            .iter()
            .filter(|(operation, _)| operation.method == request.method().as_str())
            .min_by_key(|(_, values)| values.len());
        if let Some((operation, values)) = best {
            self.report.operation = operation.id.clone();
            return Some((operation, values.clone()));
        }
        match on_path.first() {
            Some((operation, _)) => {
                let methods: Vec<_> =
                    on_path.iter().map(|(operation, _)| operation.method.as_str()).collect();
                let actual = redact::excerpt(request.method().as_str());
                let at = operation.pointer.rsplit_once('/').map_or("/paths", |(path, _)| path);
                self.report.violation("/method", "method", methods.join(" or "), actual, at);
            }
            None => {
                self.report.violation("/path", "path", "a documented path", redact::excerpt(path), "/paths");
            }
        }
        None
    }

    pub(crate) fn parameters<B>(
        &mut self,
        operation: &Operation,
        request: &Request<B>,
        path: &[(&str, String)],
    ) {
        let query = query(request);
        for parameter in &operation.parameters {
            let name = &parameter.name;
            match parameter.location.as_str() {
                "query" => {
                    let values = query.iter().filter(|(own, _)| own == name).map(|(_, value)| value.as_str());
                    self.parameter(parameter, &step("/query", name), &values.collect::<Vec<_>>());
                }
                "header" => self.header(parameter, request.headers()),
                "path" => {
                    let value = path.iter().find(|(own, _)| own == name).map(|(_, value)| value.as_str());
                    self.parameter(parameter, "/path", value.as_slice());
                }
                _ => {}
            }
        }
        let names: Vec<_> = operation
            .parameters
            .iter()
            .filter(|parameter| parameter.location == "query")
            .map(|parameter| &parameter.name)
            .collect();
        for (name, value) in &query {
            if !names.contains(&name) && !operation.is_credential(name) {
                // The value may be a signature.
                let actual = redact::value(&Value::from(value.as_str()), true);
                let documented = redact::names(names.iter().copied());
                let at = step("/query", name);
                self.report.drift(DriftKind::UnknownParameter, &at, actual, documented, &operation.pointer);
            }
        }
    }

    /// A header of a request or a response.
    pub(crate) fn header(&mut self, header: &Parameter, headers: &HeaderMap) {
        let values = headers.get_all(header.name.as_str());
        let values: Vec<_> = values.iter().filter_map(|value| value.to_str().ok()).collect();
        self.parameter(header, &step("/headers", &header.name.to_ascii_lowercase()), &values);
    }

    fn parameter(&mut self, parameter: &Parameter, at: &str, values: &[&str]) {
        let (name, spec) = (&parameter.name, &parameter.pointer);
        if values.is_empty() {
            if parameter.required {
                self.report.violation(at, "required", format!("the parameter `{name}`"), "nothing", spec);
            }
        } else if values.len() > 1 && !parameter.is_list() {
            let actual = format!("it {} times", values.len());
            self.report.violation(at, "parameter", format!("`{name}` once"), actual, spec);
        } else if let Some(schema) = &parameter.schema {
            let Messages { schemas, shapes } = self.compiled.messages(schema);
            let secret = redact::is_secret(name) || shapes.holds_secrets(&schema.shape);
            let validator = schemas.validator(&schema.validator, &schema.pointer);
            for error in validator.iter_errors(&parameter.value(values)) {
                schemas::violation(&error, at, secret, &schemas.document, spec, &mut self.report);
            }
        }
    }

    /// Whether a credential is present; its value is not checked.
    pub(crate) fn security<B>(&mut self, operation: &Operation, request: &Request<B>) {
        let query = query(request);
        let in_query = |name: &str| query.iter().any(|(own, _)| own == name);
        let mut alternatives = operation.security.alternatives.iter();
        if operation.security.alternatives.is_empty()
            || alternatives
                .any(|schemes| schemes.iter().all(|scheme| scheme.is_met(request.headers(), in_query)))
        {
            return;
        }
        let shown: Vec<_> = operation
            .security
            .alternatives
            .iter()
            .map(|schemes| schemes.iter().map(Scheme::shown).collect::<Vec<_>>().join(" with "))
            .collect();
        let (expected, at) = (shown.join(" or "), &operation.security.pointer);
        self.report.violation("/headers", "security", expected, "no such credential", at);
    }

    pub(crate) fn request_body<B: AsRef<[u8]>>(&mut self, operation: &Operation, request: &Request<B>) {
        let bytes = request.body().as_ref();
        match &operation.body {
            None if bytes.is_empty() => {}
            None => {
                let actual = format!("{} bytes", bytes.len());
                let expected = "no body, because none is documented";
                self.report.violation("/body", "body", expected, actual, &operation.pointer);
            }
            Some(body) if bytes.is_empty() => {
                if body.required {
                    self.report.violation("/body", "body", "a body", "nothing", &body.pointer);
                }
            }
            Some(body) => self.body(&body.pointer, &body.content, request.headers(), bytes, true),
        }
    }

    /// `pointer`: the request body or response with this content. `typed`: whether the content type must be a
    /// documented one.
    pub(crate) fn body(
        &mut self,
        pointer: &str,
        content: &[Media],
        headers: &HeaderMap,
        bytes: &[u8],
        typed: bool,
    ) {
        let Some(first) = content.first() else { return };
        let text = |value: &http::HeaderValue| String::from_utf8_lossy(value.as_bytes()).into_owned();
        let encoding = headers.get(CONTENT_ENCODING).filter(|encoding| *encoding != "identity");
        if let Some(encoding) = encoding {
            let actual = redact::excerpt(&text(encoding));
            let expected = "an uncompressed body, because compression was not requested";
            self.report.violation("/headers/content-encoding", "content-encoding", expected, actual, pointer);
            return;
        }
        let kind = headers.get(CONTENT_TYPE).map(text);
        let media = kind.as_ref().and_then(|kind| content.iter().find(|media| media.covers(kind)));
        if typed && media.is_none() {
            let expected: Vec<_> = content.iter().map(|media| media.kind.as_str()).collect();
            let actual = kind.map_or_else(|| "no content type".to_owned(), |kind| redact::excerpt(&kind));
            let at = format!("{pointer}/content");
            self.report.violation(
                "/headers/content-type",
                "content-type",
                expected.join(" or "),
                actual,
                &at,
            );
        }
        // A body with a wrong content type is still checked.
        let media = media.unwrap_or(first);
        if media.is_json() {
            self.json(&media.schema, bytes);
        }
    }

    pub(crate) fn json(&mut self, schema: &Schema, bytes: &[u8]) {
        let Messages { schemas, shapes } = self.compiled.messages(schema);
        let Schema { pointer, shape, .. } = schema;
        let value = match parse(bytes) {
            Ok(value) => value,
            Err((rule, mut actual)) => {
                if !bytes.is_empty() && !shapes.holds_secrets(shape) {
                    let start = String::from_utf8_lossy(&bytes[..bytes.len().min(EXCERPT_BYTES)]);
                    actual = format!("{actual}, \"{}\"", redact::excerpt(&start));
                }
                return self.report.violation("/body", rule, "JSON", actual, pointer);
            }
        };
        // `iter_errors` is much slower than `is_valid`.
        let validator = schemas.validator(&schema.validator, pointer);
        if !validator.is_valid(&value) {
            for error in validator.iter_errors(&value) {
                let secret = shapes.is_secret(shape, schemas::path(&error));
                schemas::violation(&error, "/body", secret, &schemas.document, pointer, &mut self.report);
            }
        }
        shapes.check(shape, &value, &mut "/body".to_owned(), schemas, &mut self.report);
    }
}

fn query<B>(request: &Request<B>) -> Vec<(String, String)> {
    let query = request.uri().query().unwrap_or_default();
    url::form_urlencoded::parse(query.as_bytes()).into_owned().collect()
}

/// Parses JSON. The error is the rule that is broken, and what the body is instead.
pub(crate) fn parse(body: &[u8]) -> Result<Value, (&'static str, String)> {
    if body.is_empty() {
        return Err(("body", "an empty body".to_owned()));
    }
    if let Err(error) = std::str::from_utf8(body) {
        return Err(("utf-8", format!("a byte that is not UTF-8 at offset {}", error.valid_up_to())));
    }
    serde_json::from_slice(body)
        .map_err(|error| ("json", format!("{} bytes that are not valid JSON ({error})", body.len())))
}
