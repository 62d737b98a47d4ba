//! `akool contract check`: validates the responses to polls, and prints the result in one of the formats.

use akool::{Error, ErrorKind, JobId, Snapshot, redact::excerpt};
use akool_contract::{Contract, Drift, Fingerprint, Report as Findings, Verdict};

use super::{Poll, format, no_response};
use crate::{args::ContractCheck, outcome::Outcome, report::Report, text::with_causes};

/// What a check found.
pub(super) struct Checked {
    /// In the order of the arguments.
    pub(super) jobs: Vec<Job>,
    /// Documented fields and values that were in no response.
    pub(super) not_received: Vec<Drift>,
    pub(super) fingerprint: Fingerprint,
}

/// The poll of one job.
pub(super) struct Job {
    pub(super) id: JobId,
    /// `None` without a complete response.
    pub(super) findings: Option<Findings>,
    /// Why there is no response, or the error that a valid response reports.
    pub(super) error: Option<String>,
    /// Whether the error is that the service was not reachable.
    pub(super) is_unreachable: bool,
}

impl Job {
    /// The id on one line, for a document.
    pub(super) fn name(&self) -> String {
        excerpt(self.id.as_str())
    }

    /// The `operationId`. The vendor's description has none.
    pub(super) fn operation(&self) -> Option<&str> {
        self.findings.as_ref()?.operation.as_deref()
    }
}

impl Checked {
    /// How many complete responses arrived.
    pub(super) fn responses(&self) -> usize {
        self.findings().count()
    }

    pub(super) fn violations(&self) -> usize {
        self.findings().map(|findings| findings.violations.len()).sum()
    }

    pub(super) fn drift(&self) -> usize {
        self.findings().map(|findings| findings.drift.len()).sum()
    }

    /// How many jobs have no response, or a response that reports an error.
    pub(super) fn errors(&self) -> usize {
        self.jobs.iter().filter(|job| job.error.is_some()).count()
    }

    /// The verdict on all responses; `None` without any.
    pub(super) fn verdict(&self) -> Option<Verdict> {
        self.findings().map(Findings::verdict).max()
    }

    /// `None` without a finding.
    pub(super) fn fingerprint(&self) -> Option<String> {
        (!self.fingerprint.is_empty()).then(|| self.fingerprint.to_string())
    }

    /// The verdict and the counts, as a sentence without a full stop.
    pub(super) fn summary(&self) -> String {
        let count =
            |number: usize, what: &str| format!("{number} {what}{}", if number == 1 { "" } else { "s" });
        let Some(verdict) = self.verdict() else {
            return "received no response, so there is nothing to validate".to_owned();
        };
        let mut text = format!(
            "{verdict}: {}, {}, {} undocumented",
            count(self.responses(), "response"),
            count(self.violations(), "violation"),
            self.drift()
        );
        if self.errors() > 0 {
            text += &format!(", {}", count(self.errors(), "error"));
        }
        text
    }

    fn findings(&self) -> impl Iterator<Item = &Findings> {
        self.jobs.iter().filter_map(|job| job.findings.as_ref())
    }
}

pub(super) fn check(options: &ContractCheck, polls: Vec<Poll>, report: &Report) -> Outcome {
    let contract = if options.vendored { Contract::vendored() } else { Contract::resolved() };
    let mut coverage = contract.coverage();
    let mut outcome = Outcome::Done;
    let mut checked =
        Checked { jobs: Vec::new(), not_received: Vec::new(), fingerprint: Fingerprint::default() };
    for Poll { id, request, response, result } in polls {
        let error = result.as_ref().err();
        let mut job = Job { id, findings: None, error: None, is_unreachable: false };
        if let Some(response) = response {
            coverage.record(&request, &response);
            let findings = contract.check_response(&request, &response);
            let judged = judge(&findings, &result);
            checked.fingerprint.response(&findings);
            format::response(&job.id, &findings, report, options);
            if let Some(error) = error
                && !matches!(judged, Outcome::Violating | Outcome::Drifting)
            {
                report.call_failed(Some(&job.id), error);
                job.error = Some(with_causes(error));
            }
            job.findings = Some(findings);
            outcome = outcome.max(judged);
        } else {
            outcome = outcome.max(no_response(&job.id, &result, report));
            job.error =
                Some(error.map_or_else(|| "the response was lost".to_owned(), |error| with_causes(error)));
        }
        job.is_unreachable = error.is_some_and(|error| Outcome::from(error) == Outcome::Unreachable);
        checked.jobs.push(job);
    }
    checked.not_received = coverage.not_received().drift;
    format::end(&checked, report, options);
    outcome
}

/// The outcome of a response. A valid response may still be an error.
fn judge(findings: &Findings, result: &Result<Snapshot, Error>) -> Outcome {
    let verdict = match findings.verdict() {
        Verdict::Violating => return Outcome::Violating,
        Verdict::Drifting => Outcome::Drifting,
        Verdict::Conforming => Outcome::Done,
    };
    match result {
        Ok(_) => verdict,
        // An undocumented code is drift, not an outage.
        Err(error) if error.kind() == ErrorKind::UnknownCode => verdict,
        Err(error) => verdict.max(Outcome::from(error)),
    }
}
