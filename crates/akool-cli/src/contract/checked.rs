//! What `akool contract check` found: [`Checked`].

use akool::{JobId, redact::excerpt};
use akool_contract::{Drift, Fingerprint, Report as Findings, Verdict};

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
