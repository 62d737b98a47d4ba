//! The mock server's word that it keeps to the description, and that it says who does not: every request
//! and every answer of its own is held against [`akool_contract`].

use akool_contract::{Contract, DriftKind, Report};
use bytes::Bytes;
use http::{HeaderValue, Method, Request, Response, header::CONTENT_TYPE};

/// How many findings of one message are told.
const REPORTED: usize = 3;

/// What is wrong with a request to the API. Fields and parameters that are not described count, unless
/// `undocumented` is allowed: the service ignores them, and a typo in one may cost a translation.
pub(crate) fn request(request: &Request<Bytes>, undocumented: bool) -> Option<String> {
    let report = Contract::resolved().check_request(request);
    let mut findings: Vec<_> = report.violations.iter().map(ToString::to_string).collect();
    if !undocumented {
        findings.extend(report.drift.iter().map(ToString::to_string));
    }
    told(&format!("{} is not as described", name(&report, request)), findings)
}

/// What is wrong with an answer of the mock server itself, to which nobody asked for something else. Values
/// beside the listed ones are asked for by name wherever they come from.
pub(crate) fn answer(request: &Request<Bytes>, response: &Response<Bytes>) -> Option<String> {
    let report = Contract::resolved().check_response(request, response);
    let what =
        format!("akool-mock has a fault: its answer to {} is not as described", name(&report, request));
    told(&what, own(&report))
}

/// The same for a call to a webhook: its message, and the event that is encrypted in it.
pub(crate) fn webhook(message: &[u8], event: &[u8]) -> Option<String> {
    let mut request = Request::new(message);
    *request.method_mut() = Method::POST;
    request.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    let mut report = Contract::resolved().check_webhook(&request);
    report.extend(Contract::resolved().check_webhook_event(event));
    told("akool-mock has a fault: its call to a webhook is not as described", own(&report))
}

/// What the mock server answers for.
fn own(report: &Report) -> Vec<String> {
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

fn told(what: &str, mut findings: Vec<String>) -> Option<String> {
    if findings.is_empty() {
        return None;
    }
    let more = findings.len().saturating_sub(REPORTED);
    findings.truncate(REPORTED);
    let more = if more > 0 { format!("\n    and {more} more") } else { String::new() };
    Some(format!("{what}:\n    {}{more}", findings.join("\n    ")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_of_its_own_that_is_not_as_described_is_told_and_bounded() {
        let poll = "/api/open/v3/content/video/infobymodelid?video_model_id=64dd";
        let request = Request::get(poll).body(Bytes::new()).unwrap();
        let told = |body: String| {
            let response = Response::builder().header("content-type", "application/json");
            answer(&request, &response.body(body.into()).unwrap())
        };
        assert_eq!(told(r#"{"code": 1008, "msg": "no"}"#.to_owned()), None);
        assert_eq!(told(r#"{"code": 1, "msg": "a code that was asked for by its number"}"#.to_owned()), None);
        let missing = told(r#"{"code": 1000, "msg": "OK"}"#.to_owned()).unwrap();
        assert_eq!(webhook(b"{}", b"{\"_id\": 1, \"status\": 9}").unwrap().lines().count(), 5);
        assert!(missing.contains("akool-mock has a fault") && missing.contains("/body/data"), "{missing}");
        let fields: Vec<_> = (0..50).map(|number| format!("\"f{number}\": 1")).collect();
        let many = told(format!(r#"{{"code": 1008, "msg": "no", {}}}"#, fields.join(","))).unwrap();
        assert!(many.ends_with("and 47 more") && many.len() < 2000, "{many}");
    }
}
