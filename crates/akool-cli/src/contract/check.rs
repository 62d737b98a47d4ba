//! `akool contract check`: validates the responses to polls, and prints the result in one of the formats.

use akool::{Error, ErrorKind, Snapshot};
use akool_contract::{Contract, Fingerprint, Report as Findings, Verdict};

use super::{
    Poll,
    checked::{Checked, Job},
    format, no_response,
};
use crate::{args::ContractCheck, outcome::Outcome, report::Report, text::with_causes};

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
