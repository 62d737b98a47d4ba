//! The public entry points: [`Contract`].

use std::sync::LazyLock;

use http::{Request, Response};
use serde_json::Value;

use crate::{
    check::Check,
    compile::{self, Compiled},
    redact,
    report::{DriftKind, Report},
};

static VENDORED: LazyLock<Contract> = LazyLock::new(|| built_in(include_str!("vendored.json")));
static RESOLVED: LazyLock<Contract> = LazyLock::new(|| built_in(include_str!("resolved.json")));

#[expect(clippy::expect_used, reason = "both documents are part of the crate; its tests compile them")]
fn built_in(text: &str) -> Contract {
    let document = serde_json::from_str(text).expect("code generation writes JSON");
    Contract::from_openapi(document).expect("code generation checks the description")
}

/// An OpenAPI description that validates messages.
///
/// ```
/// use akool_contract::{Contract, Verdict};
/// use http::{Request, Response};
///
/// let request = Request::get("/api/open/v3/content/video/infobymodelid?video_model_id=64dd")
///     .header("x-api-key", "key")
///     .body("")?;
/// let response = Response::builder()
///     .header("content-type", "application/json")
///     .body(r#"{"code": 1000, "msg": "OK", "data": {"_id": "64dd", "video_status": "2"}}"#)?;
///
/// let contract = Contract::resolved();
/// assert!(contract.check_request(&request).is_conforming());
/// let report = contract.check_response(&request, &response);
/// assert_eq!(report.verdict(), Verdict::Violating);
/// assert_eq!(report.violations[0].pointer, "/body/data/video_status");
/// assert_eq!(report.violations[0].expected, "an integer");
/// # Ok::<(), http::Error>(())
/// ```
#[derive(Debug)]
pub struct Contract {
    pub(crate) compiled: Compiled,
}

/// A description that cannot be compiled.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the description cannot validate messages: {0}")]
pub struct InvalidDescription(String);

impl Contract {
    /// What the service really speaks: the vendor's description with this project's overlays.
    pub fn resolved() -> &'static Self {
        &RESOLVED
    }

    /// The vendor's description without overlays: one operation, with a closed list of statuses and
    /// without the fields that only other pages name.
    pub fn vendored() -> &'static Self {
        &VENDORED
    }

    /// Compiles any OpenAPI 3.0 description. It validates paths, parameters in path, query and headers,
    /// security, JSON bodies, headers of responses, and callbacks. It does not validate parameters in
    /// cookies, parameters that are objects, and bodies that are not JSON.
    ///
    /// # Errors
    /// If a reference cannot be resolved or a schema is not valid.
    pub fn from_openapi(document: Value) -> Result<Self, InvalidDescription> {
        let compiled = compile::compile(document).map_err(InvalidDescription)?;
        Ok(Self { compiled })
    }

    /// The description itself, into which [`spec_pointer`](crate::Violation::spec_pointer) points.
    pub fn document(&self) -> &Value {
        &self.compiled.document
    }

    /// Validates a request: path, method, parameters, the presence of a credential, and the body.
    pub fn check_request<B: AsRef<[u8]>>(&self, request: &Request<B>) -> Report {
        let mut check = Check::new(&self.compiled);
        if let Some((operation, path)) = check.operation(request) {
            check.parameters(operation, request, &path);
            check.security(operation, request);
            check.request_body(operation, request);
        }
        check.report
    }

    /// Validates the response to a request. Only method and path of the request are used.
    ///
    /// An undocumented HTTP status is drift and not a violation, because the service reports errors in
    /// the `code` of the envelope, and the HTTP status for each code is not documented. The body of such
    /// a response is validated if it is an envelope (an object with `code`).
    pub fn check_response<A, B: AsRef<[u8]>>(&self, request: &Request<A>, response: &Response<B>) -> Report {
        let mut check = Check::new(&self.compiled);
        let Some((operation, _)) = check.operation(request) else { return check.report };
        let (status, body) = (response.status(), response.body().as_ref());
        let Some((documented, exact)) = operation.response(status.as_u16()) else {
            let expected = "a documented response";
            check.report.violation("/status", "body", expected, status.as_str(), &operation.pointer);
            return check.report;
        };
        if !exact {
            check.report.drift(
                DriftKind::UnknownStatus,
                "/status",
                status.as_str(),
                operation.statuses(),
                &format!("{}/responses", operation.pointer),
            );
            if !serde_json::from_slice::<Value>(body).is_ok_and(|body| body.get("code").is_some()) {
                return check.report;
            }
        }
        for header in &documented.headers {
            check.header(header, response.headers());
        }
        check.body(&documented.content, response.headers(), body, exact);
        check.report
    }

    /// Validates the encrypted and signed message of a webhook. The service is the client here, and the
    /// receiver chooses the path.
    pub fn check_webhook<B: AsRef<[u8]>>(&self, request: &Request<B>) -> Report {
        let mut check = Check::new(&self.compiled);
        let Some(operation) = self.compiled.callbacks.first() else {
            check.report.violation("", "path", "a callback in the description", "a webhook", "/paths");
            return check.report;
        };
        check.report.operation = operation.id.clone();
        let (expected, actual) = (operation.method.as_str(), request.method().as_str());
        if expected != actual {
            check.report.violation("/method", "method", expected, actual, &operation.pointer);
        }
        check.request_body(operation, request);
        check.report
    }

    /// Validates the decrypted event of a webhook.
    pub fn check_webhook_event(&self, body: impl AsRef<[u8]>) -> Report {
        self.check_schema("WebhookEvent", body)
    }

    /// Validates JSON against a named schema of the description.
    pub fn check_schema(&self, name: &str, body: impl AsRef<[u8]>) -> Report {
        let mut check = Check::new(&self.compiled);
        match self.compiled.schemas.iter().find(|(own, _)| own == name) {
            Some((_, media)) => check.json(media, body.as_ref()),
            None => {
                let expected = "a schema of the description";
                check.report.violation("", "path", expected, redact::excerpt(name), "/components/schemas");
            }
        }
        check.report
    }
}
