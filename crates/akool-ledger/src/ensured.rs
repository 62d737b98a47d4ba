//! The result of an [`Ensure`](crate::Ensure): [`Ensured`].

use akool::Created;

use crate::{
    error::EnsureError,
    work::{LedgerJob, Work, WorkOutcome},
};

/// What the ledger had, and the result of the request for the rest.
#[derive(Debug, Default)]
#[non_exhaustive]
pub struct Ensured {
    /// The work that the ledger had already: jobs, or work whose outcome is unknown or not known yet.
    pub known: Vec<Work>,
    /// The result of the request for the rest. `None` if the ledger had everything.
    pub sent: Option<Result<Created, EnsureError>>,
}

impl Ensured {
    /// The jobs of all languages, those that the ledger had first.
    ///
    /// # Errors
    /// If there is not a job for every language: the rest was not created, or only in part, or an outcome is unknown.
    /// The ledger keeps the jobs that exist.
    pub fn into_jobs(self) -> Result<Vec<LedgerJob>, EnsureError> {
        let created = self.sent.transpose()?;
        if let Some(created) = created.as_ref().filter(|created| !created.is_complete()) {
            return Err(EnsureError::Partly(created.clone()));
        }
        if self.known.iter().any(|work| work.job().is_none()) {
            return Err(EnsureError::AlreadyThere(self.known));
        }
        let known = self.known.into_iter().filter_map(|work| match work.outcome {
            WorkOutcome::Created(job) => Some(job),
            _ => None,
        });
        let created = created.into_iter().flat_map(|created| created.jobs).map(LedgerJob::from);
        Ok(known.chain(created).collect())
    }
}
