//! The description, compiled: [`Contract`].

use std::sync::LazyLock;

use http::{
    HeaderMap, Method, Request, Response,
    header::{CONTENT_ENCODING, CONTENT_TYPE},
};
use serde_json::Value;

use crate::{
    compile::{self, Answer, Media, Operation, Parameter},
    redact,
    report::{DriftKind, Report},
    schemas,
    shape::{Seen, Shapes, step},
};

static DESCRIBED: LazyLock<Contract> = LazyLock::new(|| built_in(include_str!("described.json")));
static RESOLVED: LazyLock<Contract> = LazyLock::new(|| built_in(include_str!("resolved.json")));

#[expect(clippy::expect_used, reason = "both documents are part of the crate; its tests compile them")]
fn built_in(text: &str) -> Contract {
    let document = serde_json::from_str(text).expect("code generation writes JSON");
    Contract::from_openapi(document).expect("code generation checks the description")
}

/// A description as a check on real messages.
///
/// ```
/// use akool_contract::{Contract, Verdict};
/// use http::{Request, Response};
///
/// let request = Request::get("/api/open/v3/content/video/infobymodelid?video_model_id=64dd")
///     .header("x-api-key", "key")
///     .body("")?;
/// let answer = Response::builder()
///     .header("content-type", "application/json")
///     .body(r#"{"code": 1000, "msg": "OK", "data": {"_id": "64dd", "video_status": "2"}}"#)?;
///
/// let contract = Contract::resolved();
/// assert!(contract.check_request(&request).is_conforming());
/// let report = contract.check_response(&request, &answer);
/// assert_eq!(report.verdict(), Verdict::Violating);
/// assert_eq!(report.violations[0].pointer, "/body/data/video_status");
/// assert_eq!(report.violations[0].expected, "an integer");
/// # Ok::<(), http::Error>(())
/// ```
#[derive(Debug)]
pub struct Contract {
    pub(crate) document: Value,
    pub(crate) operations: Vec<Operation>,
    pub(crate) callbacks: Vec<Operation>,
    pub(crate) schemas: Vec<(String, Media)>,
    pub(crate) sent: Shapes,
    pub(crate) received: Shapes,
}

/// A description that cannot be compiled to a check.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the description cannot be used as a check: {0}")]
pub struct InvalidDescription(pub(crate) String);

impl Contract {
    /// What the service really speaks: the vendor's description with this project's overlays.
    pub fn resolved() -> &'static Self {
        &RESOLVED
    }

    /// The vendor's description as it is: one operation, with a closed list of statuses and without
    /// the fields that only other pages name.
    pub fn described() -> &'static Self {
        &DESCRIBED
    }

    /// Any OpenAPI 3.0 description. What is checked of it: paths, parameters in path, query and
    /// headers, security, bodies of JSON, headers of answers, callbacks. Not checked: parameters in
    /// cookies, the style of parameters that are objects, bodies that are not JSON.
    ///
    /// # Errors
    /// When a reference leads nowhere, or what stands where a schema should is none.
    pub fn from_openapi(document: Value) -> Result<Self, InvalidDescription> {
        compile::compile(document).map_err(InvalidDescription)
    }

    /// The description itself; what [`described_at`](crate::Violation::described_at) points into.
    pub fn document(&self) -> &Value {
        &self.document
    }

    /// The names of the operations, as far as they have one.
    pub fn operations(&self) -> impl Iterator<Item = &str> {
        self.operations.iter().filter_map(|operation| operation.id.as_deref())
    }

    /// Checks a request: path, method, parameters, whether there is a credential, and the body. What
    /// the credential is, is not checked.
    pub fn check_request<B: AsRef<[u8]>>(&self, request: &Request<B>) -> Report {
        let mut report = Report::default();
        let Some((operation, steps)) = self.find(request, &mut report) else {
            return report;
        };
        self.parameters(operation, request, &steps, &mut report);
        security(operation, request.uri().query().unwrap_or_default(), request.headers(), &mut report);
        self.request_body(operation, request, &mut report);
        report
    }

    /// Checks an answer to a request. Of the request, method and path are read.
    ///
    /// An HTTP status that is not described is drift and not a violation: the service tells errors by
    /// the envelope's `code`, and which HTTP status goes with which is not documented. Its body is
    /// held against the described one where it is an envelope at all (an object with `code`).
    pub fn check_response<A, B: AsRef<[u8]>>(&self, request: &Request<A>, response: &Response<B>) -> Report {
        let mut report = Report::default();
        let Some((operation, _)) = self.find(request, &mut report) else {
            return report;
        };
        let body = response.body().as_ref();
        let Some((answer, exact)) = operation.answer(response.status().as_u16()) else {
            report.violation(
                "/status",
                "body",
                "a described answer",
                response.status().as_str(),
                &operation.pointer,
            );
            return report;
        };
        if !exact {
            let known = format!("described is {}", operation.statuses());
            let came = response.status().as_str().to_owned();
            report.drift(
                DriftKind::UnknownStatus,
                "/status",
                came,
                known,
                &format!("{}/responses", operation.pointer),
            );
            let envelope = serde_json::from_slice::<Value>(body).is_ok_and(|body| body.get("code").is_some());
            if !envelope {
                return report;
            }
        }
        self.headers(answer, response.headers(), &mut report);
        self.body(
            &answer.content,
            &self.received,
            response.headers(),
            body,
            exact,
            &answer.pointer,
            &mut report,
        );
        report
    }

    /// Checks the outer message of a webhook, as it comes: encrypted and signed. The service is the
    /// client here, and the path is the receiver's own.
    pub fn check_webhook<B: AsRef<[u8]>>(&self, request: &Request<B>) -> Report {
        let mut report = Report::default();
        let Some(operation) = self.callbacks.first() else {
            report.violation("", "path", "a callback in the description", "a call to a webhook", "/paths");
            return report;
        };
        report.operation = operation.id.clone();
        if request.method() != operation.method {
            let expected = operation.method.as_str();
            report.violation("/method", "method", expected, request.method().as_str(), &operation.pointer);
        }
        self.request_body(operation, request, &mut report);
        report
    }

    /// Checks what a webhook's message held after decryption.
    pub fn check_webhook_event(&self, body: impl AsRef<[u8]>) -> Report {
        self.check_schema("WebhookEvent", body)
    }

    /// Checks JSON against a schema of the description, by its name.
    pub fn check_schema(&self, name: &str, body: impl AsRef<[u8]>) -> Report {
        let mut report = Report::default();
        match self.schemas.iter().find(|(own, _)| own == name) {
            Some((_, media)) => self.json(media, &self.received, body.as_ref(), &mut report),
            None => {
                let expected = "a schema of the description";
                report.violation("", "path", expected, redact::excerpt(name), "/components/schemas");
            }
        }
        report
    }

    /// The operation of a request, and the steps of its path.
    pub(crate) fn find<B>(
        &self,
        request: &Request<B>,
        report: &mut Report,
    ) -> Option<(&Operation, Vec<String>)> {
        let path = request.uri().path();
        let on_path: Vec<_> = self
            .operations
            .iter()
            .filter_map(|operation| Some((operation, operation.matches(path)?)))
            .collect();
        // A path without parameters goes before one with some.
        let best = on_path
            .iter()
            .filter(|(operation, _)| operation.method == *request.method())
            .min_by_key(|(_, parameters)| parameters.len());
        if let Some((operation, parameters)) = best {
            report.operation = operation.id.clone();
            return Some((operation, parameters.clone()));
        }
        match on_path.first() {
            Some((operation, _)) => {
                let methods: Vec<_> =
                    on_path.iter().map(|(operation, _)| operation.method.as_str()).collect();
                let came = redact::excerpt(request.method().as_str());
                let at = operation.pointer.rsplit_once('/').map_or("/paths", |(path, _)| path);
                report.violation("/method", "method", methods.join(" or "), came, at);
            }
            None => report.violation("/path", "path", "a described path", redact::excerpt(path), "/paths"),
        }
        None
    }

    fn parameters<B>(
        &self,
        operation: &Operation,
        request: &Request<B>,
        steps: &[String],
        report: &mut Report,
    ) {
        let query = request.uri().query().unwrap_or_default();
        let query: Vec<(String, String)> =
            url::form_urlencoded::parse(query.as_bytes()).into_owned().collect();
        for parameter in &operation.parameters {
            let name = &parameter.name;
            let (at, values): (_, Vec<&str>) = match parameter.place.as_str() {
                "query" => {
                    let values = query.iter().filter(|(own, _)| own == name).map(|(_, value)| value.as_str());
                    (step("/query", name), values.collect())
                }
                "header" => {
                    let values = request.headers().get_all(name.as_str());
                    let values = values.iter().filter_map(|value| value.to_str().ok());
                    (step("/headers", &name.to_ascii_lowercase()), values.collect())
                }
                "path" => {
                    let index = operation
                        .template
                        .iter()
                        .filter_map(|step| step.parameter())
                        .position(|own| own == name);
                    let value = index.and_then(|index| steps.get(index)).map(String::as_str);
                    ("/path".to_owned(), value.into_iter().collect())
                }
                _ => continue,
            };
            self.parameter(parameter, &at, &values, report);
        }
        let documented = |name: &str| {
            let parameter = |own: &Parameter| own.place == "query" && own.name == name;
            operation.parameters.iter().any(parameter) || operation.is_credential_in_query(name)
        };
        for (name, value) in query.iter().filter(|(name, _)| !documented(name)) {
            let names: Vec<_> =
                operation.parameters.iter().filter(|own| own.place == "query").map(|own| &own.name).collect();
            let known = match names.is_empty() {
                true => "none is described".to_owned(),
                false => format!("described are {}", redact::names(names.into_iter())),
            };
            // What is not described may be a signature.
            let came = redact::value(&Value::from(value.as_str()), true);
            report.drift(DriftKind::UnknownParameter, &step("/query", name), came, known, &operation.pointer);
        }
    }

    fn parameter(&self, parameter: &Parameter, at: &str, values: &[&str], report: &mut Report) {
        let name = &parameter.name;
        if values.is_empty() {
            if parameter.required {
                report.violation(
                    at,
                    "required",
                    format!("the parameter `{name}`"),
                    "nothing",
                    &parameter.pointer,
                );
            }
            return;
        }
        if values.len() > 1 && !parameter.is_list() {
            let came = format!("it {} times", values.len());
            report.violation(at, "parameter", format!("`{name}` once"), came, &parameter.pointer);
            return;
        }
        if let Some(media) = &parameter.media {
            let secret = redact::is_secret(name) || self.sent.holds_secrets(media.node);
            for error in media.validator.iter_errors(&parameter.typed(values)) {
                schemas::violation(&error, at, secret, &self.document, &parameter.pointer, report);
            }
        }
    }

    fn request_body<B: AsRef<[u8]>>(&self, operation: &Operation, request: &Request<B>, report: &mut Report) {
        let body = request.body().as_ref();
        match &operation.body {
            None if body.is_empty() => {}
            None => {
                let came = format!("{} bytes", body.len());
                report.violation("/body", "body", "no body: none is described", came, &operation.pointer);
            }
            Some(described) if body.is_empty() => {
                if described.required {
                    report.violation("/body", "body", "a body", "nothing", &described.pointer);
                }
            }
            Some(described) => {
                self.body(
                    &described.content,
                    &self.sent,
                    request.headers(),
                    body,
                    true,
                    &described.pointer,
                    report,
                );
            }
        }
    }

    fn headers(&self, answer: &Answer, headers: &HeaderMap, report: &mut Report) {
        for header in &answer.headers {
            let values: Vec<_> = headers
                .get_all(header.name.as_str())
                .iter()
                .filter_map(|value| value.to_str().ok())
                .collect();
            self.parameter(header, &step("/headers", &header.name.to_ascii_lowercase()), &values, report);
        }
    }

    /// `typed`: whether the content type must be a described one.
    #[expect(clippy::too_many_arguments, reason = "one place for requests and answers")]
    fn body(
        &self,
        content: &[Media],
        shapes: &Shapes,
        headers: &HeaderMap,
        body: &[u8],
        typed: bool,
        described_at: &str,
        report: &mut Report,
    ) {
        let Some(first) = content.first() else { return };
        let encoding = headers.get(CONTENT_ENCODING).filter(|encoding| *encoding != "identity");
        if let Some(encoding) = encoding {
            let came = redact::excerpt(&String::from_utf8_lossy(encoding.as_bytes()));
            let expected = "a body that is not compressed: nobody asked for it, and it is checked as it came";
            report.violation("/headers/content-encoding", "content-encoding", expected, came, described_at);
            return;
        }
        let kind = headers.get(CONTENT_TYPE).map(|kind| String::from_utf8_lossy(kind.as_bytes()));
        let media = kind.as_ref().and_then(|kind| content.iter().find(|media| media.covers(kind)));
        if typed && media.is_none() {
            let kinds: Vec<_> = content.iter().map(|media| media.kind.as_str()).collect();
            let came =
                kind.as_ref().map_or_else(|| "no content type".to_owned(), |kind| redact::excerpt(kind));
            let at = format!("{described_at}/content");
            report.violation("/headers/content-type", "content-type", kinds.join(" or "), came, &at);
        }
        // A body that is called something else is still read as what is described.
        let media = media.unwrap_or(first);
        if media.is_json() {
            self.json(media, shapes, body, report);
        }
    }

    fn json(&self, media: &Media, shapes: &Shapes, body: &[u8], report: &mut Report) {
        let value = match parse(body) {
            Ok(value) => value,
            Err((rule, mut came)) => {
                if !body.is_empty() && !shapes.holds_secrets(media.node) {
                    came = format!(
                        "{came}, \"{}\"",
                        redact::excerpt(&String::from_utf8_lossy(&body[..body.len().min(1024)]))
                    );
                }
                return report.violation("/body", rule, "JSON", came, &media.pointer);
            }
        };
        if !media.validator.is_valid(&value) {
            for error in media.validator.iter_errors(&value) {
                let secret = shapes.is_secret(media.node, schemas::path(&error).iter().map(String::as_str));
                schemas::violation(&error, "/body", secret, &self.document, &media.pointer, report);
            }
        }
        shapes.walk(media.node, &value, &mut "/body".to_owned(), &self.document, report);
    }
}

/// What has been seen of the answers to requests, for [`never_came`](Coverage::never_came).
///
/// ```
/// use akool_contract::Contract;
/// use http::{Request, Response};
///
/// let request = Request::get("/api/open/v3/content/video/infobymodelid?video_model_id=64dd").body("")?;
/// let answer = Response::new(r#"{"code": 1000, "msg": "OK", "data": {"_id": "64dd", "video_status": 2}}"#);
/// let mut coverage = Contract::resolved().coverage();
/// coverage.see(&request, &answer);
/// let report = coverage.never_came();
/// assert!(report.drift.iter().any(|drift| drift.pointer == "/body/data/audio_splits"));
/// assert!(!report.drift.iter().any(|drift| drift.pointer == "/body/data/_id"));
/// # Ok::<(), http::Error>(())
/// ```
#[derive(Debug)]
pub struct Coverage<'a> {
    contract: &'a Contract,
    /// For each operation, what of its answers came.
    seen: Vec<Option<Seen>>,
}

impl Contract {
    /// Begins to note which documented fields and values come.
    pub fn coverage(&self) -> Coverage<'_> {
        Coverage { contract: self, seen: self.operations.iter().map(|_| None).collect() }
    }
}

impl Coverage<'_> {
    /// Notes what is in an answer. One that belongs to no operation, or is no JSON, says nothing.
    pub fn see<A, B: AsRef<[u8]>>(&mut self, request: &Request<A>, response: &Response<B>) {
        let Some((operation, _)) = self.contract.find(request, &mut Report::default()) else { return };
        let Some((answer, _)) = operation.answer(response.status().as_u16()) else { return };
        let Some(media) = answer.content.first() else { return };
        let Ok(value) = parse(response.body().as_ref()) else { return };
        let seen = self.seen[operation.index].get_or_insert_default();
        self.contract.received.see(media.node, &value, &mut "/body".to_owned(), seen);
    }

    /// The documented fields and values that never came, of the operations that were asked. Below a
    /// field that never came, nothing is told.
    pub fn never_came(&self) -> Report {
        let mut report = Report::default();
        for (operation, seen) in self.contract.operations.iter().zip(&self.seen) {
            let Some(seen) = seen else { continue };
            if let Some((answer, _)) = operation.answer(200)
                && let Some(media) = answer.content.first()
            {
                report.operation = report.operation.take().or_else(|| operation.id.clone());
                self.contract.received.never_came(media.node, &mut "/body".to_owned(), seen, &mut report);
            }
        }
        report
    }
}

/// JSON, or the rule that is broken and what came.
fn parse(body: &[u8]) -> Result<Value, (&'static str, String)> {
    if body.is_empty() {
        return Err(("body", "an empty body".to_owned()));
    }
    if let Err(error) = std::str::from_utf8(body) {
        return Err(("utf-8", format!("a byte that is not UTF-8, the one after {}", error.valid_up_to())));
    }
    serde_json::from_slice(body)
        .map_err(|error| ("json", format!("{} bytes that are no JSON ({error})", body.len())))
}

fn security(operation: &Operation, query: &str, headers: &HeaderMap, report: &mut Report) {
    let has = |name: &str| url::form_urlencoded::parse(query.as_bytes()).any(|(own, _)| own == name);
    let met = |scheme: &compile::Scheme| scheme.is_met(headers, has);
    if operation.security.is_empty() || operation.security.iter().any(|schemes| schemes.iter().all(met)) {
        return;
    }
    let wanted: Vec<_> = operation
        .security
        .iter()
        .map(|schemes| schemes.iter().map(|scheme| scheme.shown.as_str()).collect::<Vec<_>>().join(" with "))
        .collect();
    report.violation(
        "/headers",
        "security",
        wanted.join(" or "),
        "no such credential",
        &operation.security_pointer,
    );
}

/// For [`compile`].
pub(crate) fn method(name: &str) -> Option<Method> {
    const METHODS: [&str; 8] = ["get", "put", "post", "delete", "options", "head", "patch", "trace"];
    METHODS.contains(&name).then(|| name.to_ascii_uppercase().parse().ok())?
}
