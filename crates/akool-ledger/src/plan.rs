//! What awaiting an [`Ensure`](crate::Ensure) does, without doing it: [`Plan`].

use akool::{JobId, Language};
use rusqlite::params;

use crate::{
    creation::{Existing, Intent, existing, options_hash, source_hash},
    ensured::Ensured,
    error::{LedgerError, failed},
    store::Store,
    work::{LedgerJob, Work},
};

/// How many rows of jobs an estimate is made from.
const ESTIMATED_FROM: u32 = 200;

/// What an [`Ensure`](crate::Ensure) does when it is awaited, as [`Ensure::plan`](crate::Ensure::plan) found it.
#[derive(Debug)]
#[non_exhaustive]
pub struct Plan {
    /// The work that the ledger has: it is reused, or its outcome is unknown or not known yet.
    pub known: Vec<Work>,
    /// The jobs that have failed, whose languages are created again.
    pub failed: Vec<LedgerJob>,
    /// The languages that are created.
    pub missing: Vec<Language>,
    /// The credits that the service holds for each job, estimated. `None` if the ledger has no job with the same options
    /// whose credits are known.
    pub estimate: Option<Estimate>,
}

impl Plan {
    /// What the ledger has, without creating the rest.
    pub fn into_known(self) -> Ensured {
        Ensured { known: self.known, sent: None }
    }
}

/// What a job will cost, from the earlier jobs at the same API address that had the same options.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub struct Estimate {
    /// The credits of one job. Of the same video, it is the largest number that was held; otherwise it is the average.
    pub credits: f64,
    /// Whether there are jobs of the same video. Otherwise its length may differ, and with it the credits.
    pub is_same_video: bool,
}

impl Estimate {
    /// An estimate of this many credits.
    pub fn new(credits: f64, is_same_video: bool) -> Self {
        Self { credits, is_same_video }
    }
}

impl Store<'_> {
    pub(crate) fn plan(&mut self, intent: &Intent) -> Result<Plan, LedgerError> {
        let found = existing(self.path, self.connection, intent);
        let Existing { known, failed, missing } = found.map_err(|error| failed(self.path, "read", error))?;
        Ok(Plan { known, failed, missing, estimate: self.estimate(intent)? })
    }

    fn estimate(&mut self, intent: &Intent) -> Result<Option<Estimate>, LedgerError> {
        let (options, source) = (options_hash(&intent.api, &intent.identity), source_hash(&intent.identity));
        let read = |row: &rusqlite::Row<'_>| Ok((JobId::from(row.get::<_, String>(0)?), row.get(1)?));
        let same = select_held("requests.source = ? AND requests.options = ?");
        let same = by_language(&self.read(&same, params![source, options], read)?);
        if let Some(credits) = same.iter().copied().reduce(f64::max) {
            return Ok(Some(Estimate { credits, is_same_video: true }));
        }
        let all = by_language(&self.read(&select_held("requests.options = ?"), params![options], read)?);
        let average = all.iter().sum::<f64>() / all.len() as f64;
        Ok((!all.is_empty()).then_some(Estimate { credits: average, is_same_video: false }))
    }
}

/// Selects the credits of jobs, the latest first.
pub(crate) fn select_held(condition: &str) -> String {
    format!(
        "SELECT job, credits_held FROM requests JOIN jobs ON jobs.request = requests.id WHERE {condition} AND \
         credits_held IS NOT NULL ORDER BY requested_at DESC LIMIT {ESTIMATED_FROM}"
    )
}

/// The credits of each language. A job that stands for several has its credits in the row of each.
fn by_language(rows: &[(JobId, f64)]) -> Vec<f64> {
    let of = |job: &JobId| rows.iter().filter(|(other, _)| other == job).count();
    rows.iter().map(|(job, credits)| credits / of(job) as f64).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_job_that_stands_for_several_languages_is_shared_by_them() {
        let rows = [("a", 6.0), ("b", 4.0), ("a", 6.0)].map(|(job, credits)| (job.into(), credits));
        assert_eq!(by_language(&rows), [3.0, 4.0, 3.0]);
    }
}
