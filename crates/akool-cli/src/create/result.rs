//! Notes and reports the results of requests.

use akool::{BusinessCode, JobId, Language};
use akool_ledger::{EnsureError, Ensured, Work};

use super::Creator;
use crate::{outcome::Outcome, spending::rejections, staging::Failure, targets::TargetStatus, text};

/// A parameter is wrong, such as a language that AKOOL does not support.
const PARAMETER: BusinessCode = BusinessCode(1003);

impl Creator<'_> {
    pub(super) fn report_not_uploaded(&self, row: usize, languages: &[String], failure: &Failure) {
        self.report.failure(None, "stage", &failure.text, failure.help);
        for code in languages {
            let language = Language::from(code.as_str());
            self.targets.borrow_mut().set(row, &language, TargetStatus::NotCreated, None);
        }
    }

    /// Notes the status of each language. Returns the jobs that are new in this run.
    pub(super) fn take(&self, row: usize, languages: &[String], ensured: &Ensured) -> Vec<JobId> {
        let mut new = Vec::new();
        let mut job = |id: &JobId, language: Option<&Language>| {
            self.report.label(id, language, Some(&self.plan.items[row].row.url));
            if self.jobs.borrow_mut().insert(id.clone()) {
                new.push(id.clone());
            }
        };
        let set = |language: &Language, status: TargetStatus, job: Option<&JobId>| {
            self.targets.borrow_mut().set(row, language, status, job);
        };
        for work in &ensured.known {
            let Some(language) = &work.language else { continue };
            match work.job() {
                Some(known) => {
                    set(language, TargetStatus::Active, Some(&known.id));
                    job(&known.id, Some(language));
                }
                None if work.is_in_flight() => {}
                None => set(language, TargetStatus::OutcomeUnknown, None),
            }
        }
        let known = |code: &String| {
            let language = Language::from(code.as_str());
            ensured.known.iter().any(|work| work.language.as_ref().is_some_and(|known| known.is(&language)))
        };
        let requested =
            || languages.iter().filter(|code| !known(code)).map(|code| Language::from(code.as_str()));
        match &ensured.sent {
            None => {}
            Some(Ok(created) | Err(EnsureError::Unrecorded { created, .. })) => {
                for unknown in &created.unknown {
                    set(unknown, TargetStatus::OutcomeUnknown, None);
                }
                for created in &created.jobs {
                    if let Some(language) = &created.language {
                        set(language, TargetStatus::Active, Some(&created.id));
                    }
                    job(&created.id, created.language.as_ref());
                }
                for rejected in &created.rejected {
                    let status = status_of(Some(rejected.code));
                    rejected.language.iter().for_each(|language| set(language, status, None));
                }
            }
            Some(Err(error)) => {
                let status = match error {
                    EnsureError::OutcomeUnknown { .. } => TargetStatus::OutcomeUnknown,
                    other => status_of(other.error().and_then(akool::Error::code)),
                };
                requested().for_each(|language| set(&language, status, None));
                for rejected in rejections(error) {
                    let status = status_of(Some(rejected.code));
                    rejected.language.iter().for_each(|language| set(language, status, None));
                }
            }
        }
        new
    }

    /// Reports the result of the request. Returns the outcome, and whether other requests can succeed.
    pub(super) async fn report_sent(&self, ensured: Ensured, languages: &[String]) -> (Outcome, bool) {
        let is_unknown = |work: &Work| work.job().is_none() && !work.is_in_flight();
        let known = if ensured.known.iter().any(is_unknown) { Outcome::Unknown } else { Outcome::Done };
        let (sent, goes_on) = match ensured.sent {
            None => (Outcome::Done, true),
            Some(Ok(created)) => (self.report_created(&created), true),
            // The ids have been printed.
            Some(Err(EnsureError::Unrecorded { created, source })) => {
                let text = format!(
                    "the ids above could not be recorded: {}; save them, nothing else has them",
                    text::with_causes(&source)
                );
                self.report.error(None, "ledger", text);
                (self.report_created(&created).max(Outcome::Unknown), false)
            }
            Some(Err(error)) => {
                if !self.report_unsupported(&error, languages).await {
                    self.report.not_created(&error, languages);
                }
                let outcome = Outcome::from(&error);
                let is_general =
                    matches!(error, EnsureError::Ledger(_)) || outcome == Outcome::CredentialsRefused;
                (outcome, !is_general)
            }
        };
        (known.max(sent), goes_on)
    }

    /// Names the languages that the service does not list, if it found a parameter wrong. Returns whether there are any.
    async fn report_unsupported(&self, error: &EnsureError, languages: &[String]) -> bool {
        if error.error().and_then(akool::Error::code) != Some(PARAMETER) {
            return false;
        }
        let Ok(listed) = self.connection.client.languages().await else { return false };
        let is_listed = |code: &&String| {
            let language = Language::from(code.as_str());
            listed.iter().any(|listed| listed.language.is(&language))
        };
        let unsupported: Vec<_> = languages.iter().filter(|code| !is_listed(code)).collect();
        for code in &unsupported {
            self.report.unsupported(code);
        }
        !unsupported.is_empty()
    }

    fn report_created(&self, created: &akool::Created) -> Outcome {
        for job in &created.jobs {
            self.report.created(&job.id, job.language.as_ref());
        }
        let mut outcome = Outcome::Done;
        for rejection in &created.rejected {
            self.report.rejected(rejection);
            outcome = outcome.max(Outcome::JobFailed);
        }
        if !created.unknown.is_empty() {
            self.report.unknown(&created.unknown, &created.jobs);
            outcome = outcome.max(Outcome::Unknown);
        }
        outcome
    }
}

/// The status of a language that was rejected with this code.
fn status_of(code: Option<BusinessCode>) -> TargetStatus {
    if code == Some(PARAMETER) { TargetStatus::Refused } else { TargetStatus::NotCreated }
}
