//! JUnit XML, for the test reports of CI systems.

use quick_junit::{NonSuccessKind, Property, Report, SerializeError, TestCase, TestCaseStatus, TestSuite};

use crate::contract::checked::{Checked, Job};

const NAME: &str = "akool contract check";

/// A test case for each job. Violations are a failure, no response and an error code are an error, and drift is output.
pub(super) fn document(checked: &Checked) -> Result<String, SerializeError> {
    let mut suite = TestSuite::new(NAME);
    if let Some(fingerprint) = checked.fingerprint() {
        suite.add_property(Property::new("fingerprint", fingerprint));
    }
    suite.add_test_cases(checked.jobs.iter().map(case));
    let mut report = Report::new(NAME);
    report.add_test_suite(suite);
    // The schema of Jenkins has no such attribute at the root, and no test case is skipped.
    Ok(report.to_string()?.replacen(" skipped=\"0\"", "", 1))
}

fn case(job: &Job) -> TestCase {
    let findings = job.findings.as_ref();
    let lines: Vec<_> =
        findings.iter().flat_map(|findings| &findings.violations).map(ToString::to_string).collect();
    let status = match (lines.first(), &job.error) {
        (Some(first), _) => not_successful(NonSuccessKind::Failure, "violation", first, &lines.join("\n")),
        (None, Some(error)) => not_successful(NonSuccessKind::Error, "error", error, error),
        (None, None) => TestCaseStatus::success(),
    };
    let mut case = TestCase::new(job.name(), status);
    case.set_classname(job.operation().unwrap_or(NAME));
    let drift: Vec<_> =
        findings.iter().flat_map(|findings| &findings.drift).map(|drift| format!("drift  {drift}")).collect();
    if !drift.is_empty() {
        case.set_system_out(drift.join("\n"));
    }
    case
}

fn not_successful(kind: NonSuccessKind, what: &str, message: &str, text: &str) -> TestCaseStatus {
    let mut status = TestCaseStatus::non_success(kind);
    status.set_type(what).set_message(message).set_description(text);
    status
}
