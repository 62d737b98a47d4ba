//! Which findings there are, as a short text that stays the same as long as they do: [`Fingerprint`].

use std::{collections::BTreeSet, fmt};

use sha2::{Digest, Sha256};

use crate::report::{DriftKind, Report};

/// How many findings count. The traffic of a long run may have any number of undocumented names.
const MAX_FINDINGS: usize = 10_000;
/// How many bytes of the hash are shown.
const SHOWN_BYTES: usize = 8;

/// Identifies a set of findings: the same findings in another order, more often or with other values have the same
/// fingerprint.
///
/// A finding is a line `OPERATION SIDE RULE POINTER`: the `operationId` or `-`, `request` or `response`, the rule of a
/// violation or the kind of a drift, and the place in the message with `*` for each position in a list. The fingerprint is
/// the first 16 hexadecimal digits of the SHA-256 of these lines, sorted, each once and ended by a line feed.
///
/// A report has at most 100 findings of each kind, and a fingerprint at most 10,000. If there are more, their order decides
/// which ones count.
///
/// ```
/// use akool_contract::{Contract, Fingerprint};
/// use http::{Request, Response};
///
/// let request = Request::get("/api/open/v3/content/video/infobymodelid?video_model_id=64dd").body("")?;
/// let fingerprint = |body| {
///     let response = Response::builder().header("content-type", "application/json").body(body)?;
///     let mut fingerprint = Fingerprint::default();
///     fingerprint.response(&Contract::resolved().check_response(&request, &response));
///     Ok::<_, http::Error>(fingerprint)
/// };
/// let monday = fingerprint(r#"{"code": 1000, "msg": "OK", "data": {"_id": "64dd", "video_status": "2"}}"#)?;
/// let tuesday = fingerprint(r#"{"code": 1000, "msg": "OK", "data": {"_id": "71ef", "video_status": "3"}}"#)?;
/// assert_eq!(monday.to_string(), tuesday.to_string());
/// let valid = fingerprint(r#"{"code": 1000, "msg": "OK", "data": {"_id": "64dd", "video_status": 2}}"#)?;
/// assert!(valid.is_empty());
/// # Ok::<(), http::Error>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Fingerprint {
    findings: BTreeSet<String>,
}

impl Fingerprint {
    /// Adds the findings about a request.
    pub fn request(&mut self, report: &Report) {
        self.add(report, "request");
    }

    /// Adds the findings about a response.
    pub fn response(&mut self, report: &Report) {
        self.add(report, "response");
    }

    /// Whether there is no finding, so that the text means nothing.
    pub fn is_empty(&self) -> bool {
        self.findings.is_empty()
    }

    fn add(&mut self, report: &Report, side: &str) {
        let operation = report.operation.as_deref().unwrap_or("-");
        let violations =
            report.violations.iter().map(|finding| (finding.rule.as_str(), finding.pointer.as_str()));
        let drift = report.drift.iter().filter_map(|finding| {
            let kind = match finding.kind {
                DriftKind::UnknownField => "unknown_field",
                DriftKind::UnknownValue => "unknown_value",
                DriftKind::UnknownStatus => "unknown_status",
                DriftKind::UnknownParameter => "unknown_parameter",
                // Few messages contain everything.
                DriftKind::NotReceived => return None,
            };
            Some((kind, finding.pointer.as_str()))
        });
        for (rule, pointer) in violations.chain(drift) {
            if self.findings.len() >= MAX_FINDINGS {
                return;
            }
            self.findings.insert(format!("{operation} {side} {rule} {}", without_positions(pointer)));
        }
    }
}

/// A pointer with `*` for each position in a list.
fn without_positions(pointer: &str) -> String {
    let is_position = |step: &str| !step.is_empty() && step.bytes().all(|byte| byte.is_ascii_digit());
    pointer.split('/').map(|step| if is_position(step) { "*" } else { step }).collect::<Vec<_>>().join("/")
}

impl fmt::Display for Fingerprint {
    /// 16 hexadecimal digits.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut hash = Sha256::new();
        for finding in &self.findings {
            hash.update(finding);
            hash.update("\n");
        }
        hash.finalize().iter().take(SHOWN_BYTES).try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A report with findings at these places.
    fn report(operation: &str, places: &[(&str, &str)]) -> Report {
        let mut report = Report { operation: Some(operation.to_owned()), ..Report::default() };
        for (index, (pointer, rule)) in places.iter().enumerate() {
            report.violation(pointer, rule, "an integer", format!("value {index}"), "/somewhere");
        }
        report
    }

    fn of(reports: &[Report]) -> String {
        let mut fingerprint = Fingerprint::default();
        reports.iter().for_each(|report| fingerprint.response(report));
        fingerprint.to_string()
    }

    #[test]
    fn the_order_the_number_and_the_values_of_findings_do_not_matter() {
        let (a, b) = (("/body/a", "type"), ("/body/list/3/b", "type"));
        let first = of(&[report("x", &[a, b])]);
        assert_eq!(first, of(&[report("x", &[b]), report("x", &[a]), report("x", &[a])]));
        assert_eq!(first, of(&[report("x", &[("/body/list/12/b", "type"), a])]));
    }

    #[test]
    fn another_place_rule_operation_or_side_is_another_finding() {
        let first = of(&[report("x", &[("/body/a", "type")])]);
        for other in [
            of(&[report("x", &[("/body/b", "type")])]),
            of(&[report("x", &[("/body/a", "enum")])]),
            of(&[report("y", &[("/body/a", "type")])]),
            of(&[report("x", &[("/body/a", "type"), ("/body/b", "type")])]),
        ] {
            assert_ne!(first, other);
        }
        let mut request = Fingerprint::default();
        request.request(&report("x", &[("/body/a", "type")]));
        assert_ne!(first, request.to_string());
    }

    #[test]
    fn any_number_of_names_takes_bounded_memory() {
        let mut fingerprint = Fingerprint::default();
        for number in 0..MAX_FINDINGS + 5 {
            fingerprint.response(&report("x", &[(&format!("/body/x{number}"), "type")]));
        }
        assert_eq!(fingerprint.findings.len(), MAX_FINDINGS);
    }

    #[test]
    fn the_text_is_the_documented_hash_of_the_documented_lines() {
        // printf 'x response type /body/a\nx response unknown_field /body/list/*/b\n' | sha256sum | cut -c 1-16
        let mut report = report("x", &[("/body/a", "type")]);
        report.drift(DriftKind::UnknownField, "/body/list/0/b", "a", "b", "/somewhere");
        report.drift(DriftKind::NotReceived, "/body/c", "a", "b", "/somewhere");
        assert_eq!(of(&[report]), "bfdc7b68f7e8d87e");
    }
}
