//! Validates every request, and every answer and webhook call of the mock server, against the description with
//! [`akool_contract`].

use akool_contract::{Contract, DriftKind, Report};
use bytes::Bytes;
use http::{HeaderValue, Method, Request, Response, header::CONTENT_TYPE};

/// How many findings one message lists.
const MAX_FINDINGS: usize = 3;

/// Validates a request.
pub(crate) fn check(request: &Request<Bytes>) -> Report {
    Contract::resolved().check_request(request)
}

/// Returns the violation of a request. Undocumented fields and parameters count unless `undocumented` is true: the
/// service ignores them, so a typo in a name would change the translation without an error.
pub(crate) fn request(report: &Report, request: &Request<Bytes>, undocumented: bool) -> Option<String> {
    let mut findings: Vec<_> = report.violations.iter().map(ToString::to_string).collect();
    if !undocumented {
        findings.extend(report.drift.iter().map(ToString::to_string));
    }
    violation(&format!("{} does not match the description", name(report, request)), findings)
}

/// Returns why the service refuses a request: the first error in its parameters or its body. A credential is judged
/// separately, and undocumented fields are ignored.
pub(crate) fn refusal(report: &Report) -> Option<String> {
    let mut errors = report.violations.iter().filter_map(|violation| {
        let pointer = &violation.pointer;
        let is_own = ["/body", "/query", "/headers/content-"].iter().any(|start| pointer.starts_with(start));
        let name = pointer.strip_prefix("/body/").or_else(|| pointer.rsplit('/').next()).unwrap_or_default();
        is_own.then(|| format!("{name}: expected {}", violation.expected))
    });
    errors.next()
}

/// Validates an answer of the mock server, and returns the violation. Undocumented values of enumerations do not
/// count: only a test can configure them.
pub(crate) fn answer(request: &Request<Bytes>, response: &Response<Bytes>) -> Option<String> {
    let report = Contract::resolved().check_response(request, response);
    let what =
        format!("bug in akool-mock: its answer to {} does not match the description", name(&report, request));
    violation(&what, findings(&report))
}

/// Validates a webhook call of the mock server: its message, and the event that is encrypted in it.
pub(crate) fn webhook(message: &[u8], event: &[u8]) -> Option<String> {
    let mut request = Request::new(message);
    *request.method_mut() = Method::POST;
    request.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    let mut report = Contract::resolved().check_webhook(&request);
    report.extend(Contract::resolved().check_webhook_event(event));
    violation("bug in akool-mock: its webhook call does not match the description", findings(&report))
}

/// The findings that the mock server is responsible for.
fn findings(report: &Report) -> Vec<String> {
    let violations = report.violations.iter().map(ToString::to_string);
    let drift = report.drift.iter().filter(|drift| drift.kind != DriftKind::UnknownValue);
    violations.chain(drift.map(ToString::to_string)).collect()
}

fn name(report: &Report, request: &Request<Bytes>) -> String {
    match &report.operation {
        Some(operation) => format!("a request ({operation})"),
        None => format!("a request ({} {})", request.method(), crate::record::short(request.uri().path())),
    }
}

fn violation(what: &str, mut findings: Vec<String>) -> Option<String> {
    if findings.is_empty() {
        return None;
    }
    let more = findings.len().saturating_sub(MAX_FINDINGS);
    findings.truncate(MAX_FINDINGS);
    let more = if more > 0 { format!("\n    and {more} more") } else { String::new() };
    Some(format!("{what}:\n    {}{more}", findings.join("\n    ")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_invalid_own_answer_is_a_violation_with_a_bounded_message() {
        let poll = "/api/open/v3/content/video/infobymodelid?video_model_id=64dd";
        let request = Request::get(poll).body(Bytes::new()).unwrap();
        let violation_of = |body: String| {
            let response = Response::builder().header("content-type", "application/json");
            answer(&request, &response.body(body.into()).unwrap())
        };
        assert_eq!(violation_of(r#"{"code": 1008, "msg": "no"}"#.to_owned()), None);
        assert_eq!(violation_of(r#"{"code": 1, "msg": "a configured code"}"#.to_owned()), None);
        let missing = violation_of(r#"{"code": 1000, "msg": "OK"}"#.to_owned()).unwrap();
        assert_eq!(webhook(b"{}", b"{\"_id\": 1, \"status\": 9}").unwrap().lines().count(), 5);
        assert!(missing.contains("bug in akool-mock") && missing.contains("/body/data"), "{missing}");
        let fields: Vec<_> = (0..50).map(|number| format!("\"f{number}\": 1")).collect();
        let many = violation_of(format!(r#"{{"code": 1008, "msg": "no", {}}}"#, fields.join(","))).unwrap();
        assert!(many.ends_with("and 47 more") && many.len() < 2000, "{many}");
    }
}
