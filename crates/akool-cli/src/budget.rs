//! The limits of `--max-credits` and `--reserve`: [`Budget`].

use std::{collections::BTreeMap, fmt};

use akool::{Created, JobId};
use akool_ledger::{EnsureError, Estimate};

use crate::{args::Limits, text::credits};

/// What a run may still spend.
#[derive(Debug)]
pub(crate) struct Budget<'a> {
    limits: &'a Limits,
    /// The credits that are held for the jobs of this run.
    held: f64,
    /// It is not known how many credits were held for one of them.
    is_held_unknown: bool,
    /// The balance before the first job was created.
    first_balance: Option<f64>,
    /// The balance now, as far as it is known.
    balance: Option<f64>,
}

/// The limit that a run has reached.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Reached {
    MaxCredits { max: f64, held: f64, next: Option<f64> },
    Reserve { reserve: f64, balance: f64, next: Option<f64> },
    HeldUnknown,
}

impl<'a> Budget<'a> {
    pub(crate) fn new(limits: &'a Limits) -> Self {
        Self { limits, held: 0.0, is_held_unknown: false, first_balance: None, balance: None }
    }

    pub(crate) fn is_limited(&self) -> bool {
        self.limits.max_credits.is_some() || self.limits.reserve.is_some()
    }

    pub(crate) fn needs_balance(&self) -> bool {
        self.limits.reserve.is_some()
    }

    /// The service said that this is the balance now. It may not count yet what is held for the jobs of this run, so the
    /// smaller number counts.
    pub(crate) fn set_balance(&mut self, balance: f64) {
        let first = *self.first_balance.get_or_insert(balance);
        self.balance = Some(balance.min(first - self.held));
    }

    /// How many jobs may be created now, of which each needs this many credits. Without an estimate it is one, so that a
    /// limit is exceeded by at most one job. If the estimate is from other videos, it is one too.
    ///
    /// # Errors
    /// The limit that allows none.
    pub(crate) fn room(&self, estimate: Option<Estimate>) -> Result<usize, Reached> {
        if !self.is_limited() {
            return Ok(usize::MAX);
        }
        if self.is_held_unknown {
            return Err(Reached::HeldUnknown);
        }
        let next = estimate.map(|estimate| estimate.credits);
        let jobs = |left: f64| match estimate {
            _ if left <= 0.0 => 0,
            // Rounding must not cost the last job: 0.1 + 0.2 is more than 0.3.
            Some(estimate) if estimate.credits > left + 1e-9 => 0,
            Some(Estimate { credits, is_same_video: true, .. }) if credits > 0.0 => {
                (left / credits + 1e-9) as usize
            }
            _ => 1,
        };
        let mut room = usize::MAX;
        if let Some(max) = self.limits.max_credits {
            room = jobs(max - self.held);
            if room == 0 {
                return Err(Reached::MaxCredits { max, held: self.held, next });
            }
        }
        if let (Some(reserve), Some(balance)) = (self.limits.reserve, self.balance) {
            room = room.min(jobs(balance - reserve));
            if room == 0 {
                return Err(Reached::Reserve { reserve, balance, next });
            }
        }
        Ok(room)
    }

    /// Counts what a request for this many languages holds.
    pub(crate) fn add(
        &mut self,
        sent: &Result<Created, EnsureError>,
        languages: usize,
        estimate: Option<Estimate>,
    ) {
        let estimate = estimate.map(|estimate| estimate.credits);
        match sent {
            Ok(created) | Err(EnsureError::Unrecorded { created, .. }) => {
                let jobs: BTreeMap<&JobId, Option<f64>> =
                    created.jobs.iter().map(|job| (&job.id, job.credits_held.or(estimate))).collect();
                jobs.into_values().for_each(|held| self.hold(held));
                created.unknown.iter().for_each(|_| self.hold(estimate));
            }
            Err(EnsureError::OutcomeUnknown { .. }) => (0..languages).for_each(|_| self.hold(estimate)),
            Err(_) => {}
        }
    }

    /// Counts a job that holds this many credits.
    pub(crate) fn hold(&mut self, credits: Option<f64>) {
        match credits {
            Some(credits) => {
                self.held += credits;
                self.balance = self.balance.map(|balance| balance - credits);
            }
            None => self.is_held_unknown = true,
        }
    }
}

impl fmt::Display for Reached {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let next = match self {
            Self::MaxCredits { max, held, next } => {
                let (max, held) = (credits(*max), credits(*held));
                write!(f, "--max-credits {max} is reached: the jobs of this run hold {held} credits")?;
                next
            }
            Self::Reserve { reserve, balance, next } => {
                let (reserve, balance) = (credits(*reserve), credits(*balance));
                write!(f, "--reserve {reserve} is reached: the balance is {balance} credits")?;
                next
            }
            Self::HeldUnknown => {
                return f.write_str(
                    "it is not known how many credits the last job holds, so the limit cannot be kept",
                );
            }
        };
        match next {
            Some(next) => write!(f, ", and the next job needs about {}", credits(*next)),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use akool::CreatedJob;

    use super::*;

    fn limits(max_credits: Option<f64>, reserve: Option<f64>) -> Limits {
        Limits { max_credits, reserve }
    }

    fn estimate(credits: f64, is_same_video: bool) -> Option<Estimate> {
        Some(Estimate::new(credits, is_same_video))
    }

    #[test]
    fn a_limit_allows_as_many_jobs_as_fit() {
        let limits = limits(Some(10.0), None);
        let mut budget = Budget::new(&limits);
        assert_eq!(budget.room(estimate(4.0, true)), Ok(2));
        assert_eq!(budget.room(estimate(10.0, true)), Ok(1));
        assert_eq!(budget.room(estimate(4.0, false)), Ok(1), "another video may cost more");
        assert_eq!(budget.room(estimate(0.0, true)), Ok(1));
        assert_eq!(budget.room(None), Ok(1));
        let too_much = Reached::MaxCredits { max: 10.0, held: 0.0, next: Some(10.5) };
        assert_eq!(budget.room(estimate(10.5, false)), Err(too_much));
        for _ in 0..3 {
            budget.hold(Some(3.3));
        }
        assert_eq!(budget.room(estimate(0.1, true)), Ok(1), "0.1 are left");
        assert_eq!(budget.room(None), Ok(1), "exceeded by one job at most");
        budget.hold(Some(0.5));
        assert!(budget.room(None).is_err());
        assert!(budget.room(estimate(0.0, true)).is_err());
    }

    #[test]
    fn a_reserve_is_kept_whatever_the_service_counts() {
        let limits = limits(None, Some(100.0));
        let mut budget = Budget::new(&limits);
        budget.set_balance(108.0);
        assert_eq!(budget.room(estimate(4.0, true)), Ok(2));
        budget.hold(Some(4.0));
        assert_eq!(budget.room(estimate(4.0, true)), Ok(1));
        budget.set_balance(108.0);
        assert_eq!(budget.room(estimate(4.0, true)), Ok(1), "the service does not count what it holds");
        budget.set_balance(103.0);
        let reached = budget.room(estimate(4.0, true)).unwrap_err();
        assert_eq!(
            reached.to_string(),
            "--reserve 100 is reached: the balance is 103 credits, and the next job needs about 4"
        );
        budget.set_balance(99.0);
        assert!(budget.room(None).is_err());
    }

    #[test]
    fn what_a_request_may_have_created_counts() {
        let limits = limits(Some(100.0), None);
        let job = |id: &str, credits_held| {
            let mut job = CreatedJob::new(id);
            job.credits_held = credits_held;
            job
        };
        let created = |jobs: Vec<CreatedJob>, unknown: &[&str]| {
            Ok(Created::new(jobs, Vec::new(), unknown.iter().map(|code| (*code).into()).collect()))
        };
        let held = |sent: &Result<Created, EnsureError>, estimate| {
            let mut budget = Budget::new(&limits);
            budget.add(sent, 2, estimate);
            (!budget.is_held_unknown).then_some(budget.held)
        };
        let one_job = created(vec![job("a", Some(6.0)), job("a", Some(6.0))], &[]);
        assert_eq!(held(&one_job, None), Some(6.0), "one job for two languages");
        let silent = created(vec![job("a", Some(6.0)), job("b", None)], &["fr"]);
        assert_eq!(held(&silent, None), None);
        assert_eq!(held(&silent, estimate(5.0, true)), Some(16.0));
        let mut budget = Budget::new(&limits);
        budget.add(&silent, 3, None);
        assert_eq!(budget.room(estimate(1.0, true)), Err(Reached::HeldUnknown));
    }
}
