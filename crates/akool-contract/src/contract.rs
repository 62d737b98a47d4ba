//! The public entry points: [`Contract`].

use std::sync::LazyLock;

use http::{Request, Response};
use serde_json::Value;

use crate::{
    check::Check,
    compiled::Compiled,
    redact,
    report::{DriftKind, Report},
};

static VENDORED: LazyLock<Contract> = LazyLock::new(|| read(include_str!("vendored.json")));
static RESOLVED: LazyLock<Contract> = LazyLock::new(|| read(include_str!("resolved.json")));

#[expect(clippy::expect_used, reason = "both files are part of the crate; its tests read them")]
fn read(text: &str) -> Contract {
    Contract { compiled: serde_json::from_str(text).expect("code generation writes this format") }
}

/// A description that validates messages. The pointers of reports lead into it: `openapi/akool.resolved.yaml` and
/// `openapi/akool.yaml` in the repository.
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

    /// Validates a request: path, method, parameters, the presence of a credential, and the body.
    ///
    /// ```
    /// use akool_contract::Contract;
    /// use http::Request;
    ///
    /// let request = Request::get("/api/open/v3/content/video/infobymodelid").header("x-api-key", "key").body("")?;
    /// let report = Contract::resolved().check_request(&request);
    /// assert!(!report.is_conforming(), "the parameter video_model_id is missing");
    /// println!("{}", report.violations[0]);
    /// # Ok::<(), http::Error>(())
    /// ```
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
        check.body(&documented.pointer, &documented.content, response.headers(), body, exact);
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
    ///
    /// ```
    /// use akool_contract::{Contract, Verdict};
    ///
    /// let event = r#"{"_id": "64dd", "status": 3, "type": "video translate", "url": "https://example.com/a.mp4"}"#;
    /// assert_eq!(Contract::resolved().check_webhook_event(event).verdict(), Verdict::Conforming);
    /// ```
    pub fn check_webhook_event(&self, body: impl AsRef<[u8]>) -> Report {
        self.check_schema("WebhookEvent", body)
    }

    /// Validates JSON against a named schema of the description.
    pub fn check_schema(&self, name: &str, body: impl AsRef<[u8]>) -> Report {
        let mut check = Check::new(&self.compiled);
        match self.compiled.named.get(name) {
            Some(schema) => check.json(schema, body.as_ref()),
            None => {
                let expected = "a schema of the description";
                check.report.violation("", "path", expected, redact::excerpt(name), "/components/schemas");
            }
        }
        check.report
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// The contract of any OpenAPI 3.0 description.
    fn compiled(description: &Value) -> Contract {
        read(&openapi_keeper::contract::compile(description).unwrap().to_string())
    }

    #[test]
    fn a_validator_is_built_from_each_schema() {
        for contract in [Contract::resolved(), Contract::vendored()] {
            for name in contract.compiled.named.keys() {
                assert_ne!(contract.check_schema(name, "[]"), Report::default(), "{name}");
            }
            for operation in contract.compiled.operations.iter().chain(&contract.compiled.callbacks) {
                let responses = operation.responses.iter().flat_map(|response| &response.content);
                for media in operation.body.iter().flat_map(|body| &body.content).chain(responses) {
                    let mut check = Check::new(&contract.compiled);
                    check.json(&media.schema, b"[]");
                    assert_ne!(check.report, Report::default(), "{}", media.schema.pointer);
                }
            }
        }
    }

    #[test]
    fn the_contract_of_any_description_is_read() {
        let contract = compiled(&json!({
            "openapi": "3.0.3",
            "paths": {
                "/a/me": {"get": {"operationId": "me", "responses": {"200": {"description": ""}}}},
                "/a/{n}": {
                    "parameters": [{"name": "n", "in": "path", "required": true, "schema": {"type": "integer"}}],
                    "get": {
                        "operationId": "one",
                        "parameters": [
                            {"name": "tag", "in": "query", "schema": {"type": "array", "items": {"type": "integer"}}},
                            {"name": "X-When", "in": "header", "required": true, "schema": {"type": "string", "format": "date"}},
                        ],
                        "responses": {
                            "2XX": {"$ref": "#/components/responses/Tree"},
                            "default": {"description": "", "content": {"text/plain": {"schema": {"type": "string"}}}},
                        },
                    },
                },
            },
            "components": {
                "responses": {"Tree": {
                    "description": "",
                    "headers": {"X-Left": {"required": true, "schema": {"type": "integer"}}},
                    "content": {"application/json": {"schema": {"$ref": "#/components/schemas/Tree"}}},
                }},
                "schemas": {"Tree": {
                    "type": "object",
                    "properties": {
                        "value": {"type": "number", "minimum": 0, "exclusiveMinimum": true, "nullable": true},
                        "children": {"type": "array", "items": {"$ref": "#/components/schemas/Tree"}},
                        "free": {"type": "object"},
                    },
                }},
            },
        }));
        let ask = |target: &str, when: &str| {
            contract.check_request(&Request::get(target).header("x-when", when).body("").unwrap())
        };
        assert_eq!(
            ask("/a/me", "x").operation.as_deref(),
            Some("me"),
            "a path without parameters takes precedence"
        );
        assert!(ask("/a/5?tag=1&tag=2", "2024-02-29").is_conforming());
        assert_eq!(ask("/a/five", "2024-02-29").violations[0].pointer, "/path");
        assert_eq!(ask("/a/5?tag=1&tag=b", "2024-02-29").violations[0].pointer, "/query/tag/1");
        assert_eq!(ask("/a/5", "yesterday").violations[0].pointer, "/headers/x-when");

        let request = Request::get("/a/5").body("").unwrap();
        let check = |body: &str| {
            let response = Response::builder()
                .status(201)
                .header("x-left", "3")
                .header("content-type", "application/json");
            contract.check_response(&request, &response.body(body.to_owned()).unwrap())
        };
        assert!(check(r#"{"value": null, "children": [{"value": 1}], "free": {"any": 1}}"#).is_conforming());
        let report = check(r#"{"children": [{"children": [{"value": 0, "other": 1}]}]}"#);
        assert_eq!(report.violations[0].pointer, "/body/children/0/children/0/value");
        assert_eq!(report.violations[0].expected, "minimum 0");
        assert_eq!(report.drift[0].pointer, "/body/children/0/children/0/other");
        let bare = Response::builder().header("content-type", "application/json").body("{}").unwrap();
        assert_eq!(contract.check_response(&request, &bare).violations[0].pointer, "/headers/x-left");
    }

    #[test]
    fn a_broken_translated_rule_is_reported_as_the_description_has_it() {
        let contract = compiled(&json!({
            "paths": {},
            "components": {"schemas": {"A": {"properties": {
                "number": {"type": "integer", "format": "int32", "maximum": 5},
                "bytes": {"type": "string", "format": "byte"},
                "day": {"type": "string", "format": "date", "nullable": true},
            }}}},
        }));
        for (body, place, rule, expected) in [
            (r#"{"number": -3000000000}"#, "number/format", "minimum", "format \"int32\""),
            (r#"{"number": 6}"#, "number/maximum", "maximum", "maximum 5"),
            (r#"{"bytes": "YQ="}"#, "bytes/format", "pattern", "format \"byte\""),
            (r#"{"day": "2023-02-29"}"#, "day/format", "format", "format \"date\""),
            (r#"{"day": 1}"#, "day/type", "type", "null or a string"),
        ] {
            let report = contract.check_schema("A", body);
            assert_eq!(report.violations.len(), 1, "{report}");
            let violation = &report.violations[0];
            assert_eq!(violation.spec_pointer, format!("/components/schemas/A/properties/{place}"));
            assert_eq!((violation.rule.as_str(), violation.expected.as_str()), (rule, expected));
        }
        assert!(contract.check_schema("A", r#"{"bytes": "YQ==", "day": null}"#).is_conforming());
    }

    #[test]
    fn requests_and_responses_have_their_own_schemas_if_they_differ() {
        let user = json!({"$ref": "#/components/schemas/User"});
        let content = json!({"application/json": {"schema": user}});
        let contract = compiled(&json!({
            "paths": {"/a": {"post": {"requestBody": {"content": content}, "responses": {"200": {"content": content}}}}},
            "components": {"schemas": {"User": {
                "required": ["id", "key"],
                "properties": {"id": {"readOnly": true}, "key": {"writeOnly": true, "format": "password"}},
                "x-promises": [{"when": {}, "then": {"required": ["id"], "properties": {"id": {"readOnly": true}}}}],
            }}},
        }));
        let request = |body: &str| {
            let request = Request::post("/a").header("content-type", "application/json");
            request.body(body.to_owned()).unwrap()
        };
        let missing = |report: Report| -> Vec<String> {
            report.violations.into_iter().map(|violation| violation.pointer).collect()
        };
        assert_eq!(missing(contract.check_request(&request("{}"))), ["/body/key"]);
        let response = Response::builder().header("content-type", "application/json").body("{}").unwrap();
        let missing = missing(contract.check_response(&request(""), &response));
        assert_eq!(missing, ["/body/id"]);
    }
}
