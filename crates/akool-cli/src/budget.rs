//! The limits of `--max-credits` and `--reserve`: [`Budget`].

use std::{collections::BTreeMap, fmt};

use akool::{BusinessCode, Created, JobId};
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
    /// What this run has held for one job of each row.
    of_rows: BTreeMap<usize, f64>,
}

/// The limit that a run has reached.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Reached {
    MaxCredits {
        max: f64,
        held: f64,
        next: Option<f64>,
    },
    Reserve {
        reserve: f64,
        balance: f64,
        next: Option<f64>,
    },
    HeldUnknown,
    /// AKOOL created nothing because of the account, such as too few credits.
    Account(BusinessCode),
}

impl<'a> Budget<'a> {
    pub(crate) fn new(limits: &'a Limits) -> Self {
        Self {
            limits,
            held: 0.0,
            is_held_unknown: false,
            first_balance: None,
            balance: None,
            of_rows: BTreeMap::new(),
        }
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

    /// How many jobs of a row may be created now. Until this run has created the first one, it is one: the video may have
    /// changed, and prices too, so that an estimate can be wrong. So a limit is exceeded by at most one job.
    ///
    /// # Errors
    /// The limit that allows none.
    pub(crate) fn room(&self, row: usize, estimate: Option<Estimate>) -> Result<usize, Reached> {
        if !self.is_limited() {
            return Ok(usize::MAX);
        }
        if self.is_held_unknown {
            return Err(Reached::HeldUnknown);
        }
        let known = self.of_rows.get(&row).copied();
        let next = known.or(estimate.map(|estimate| estimate.credits));
        let jobs = |left: f64| match next {
            _ if left <= 0.0 => 0,
            // Rounding must not cost the last job: 0.1 + 0.2 is more than 0.3.
            Some(next) if next > left + 1e-9 => 0,
            Some(next) if known.is_some() && next > 0.0 => (left / next + 1e-9) as usize,
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

    /// Counts what a request for this many languages of a row holds.
    pub(crate) fn add(
        &mut self,
        row: usize,
        sent: &Result<Created, EnsureError>,
        languages: usize,
        estimate: Option<Estimate>,
    ) {
        let estimate = self.of_rows.get(&row).copied().or(estimate.map(|estimate| estimate.credits));
        match sent {
            Ok(created) | Err(EnsureError::Unrecorded { created, .. }) => {
                let jobs: BTreeMap<&JobId, Option<f64>> =
                    created.jobs.iter().map(|job| (&job.id, job.credits_held.or(estimate))).collect();
                let most = jobs.values().flatten().copied().reduce(f64::max);
                if let Some(held) = most {
                    let known = self.of_rows.entry(row).or_insert(held);
                    *known = known.max(held);
                }
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

impl Reached {
    /// What to do next, as a sentence. `credits` is the command that prints the balance.
    pub(crate) fn help(&self, credits: &str) -> String {
        match self {
            Self::MaxCredits { .. } => "To create the rest, run the command with a higher limit.".to_owned(),
            Self::Reserve { .. } => "To create the rest, run the command with a lower reserve.".to_owned(),
            Self::HeldUnknown => format!("Check `{credits}`, then run the same command again."),
            Self::Account(_) => {
                format!("Check the account and `{credits}`, then run the same command again.")
            }
        }
    }
}

impl fmt::Display for Reached {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (next, what) = match self {
            Self::MaxCredits { max, held, next } => {
                let (max, held) = (credits(*max), credits(*held));
                write!(f, "stopped at --max-credits {max}: this run's jobs hold {held} credits")?;
                (next, "the next")
            }
            Self::Reserve { reserve, balance, next } => {
                let (reserve, balance) = (credits(*reserve), credits(*balance));
                write!(f, "stopped at --reserve {reserve}: the balance is {balance} credits")?;
                (next, "the next job")
            }
            Self::HeldUnknown => {
                return f.write_str(
                    "AKOOL did not say how many credits the last job holds, so no more jobs are created",
                );
            }
            Self::Account(code) => return write!(f, "AKOOL creates no more jobs: {code}"),
        };
        match next {
            Some(next) => write!(f, ", and {what} needs about {}", credits(*next)),
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

    /// A request that created a job for each of these credits.
    fn created(credits: &[Option<f64>], unknown: &[&str]) -> Result<Created, EnsureError> {
        let job = |(number, credits_held): (usize, &Option<f64>)| {
            let mut job = CreatedJob::new(number.to_string());
            job.credits_held = *credits_held;
            job
        };
        let jobs = credits.iter().enumerate().map(job).collect();
        Ok(Created::new(jobs, Vec::new(), unknown.iter().map(|code| (*code).into()).collect()))
    }

    #[test]
    fn the_first_job_of_a_row_says_what_the_others_need() {
        let limits = limits(Some(10.0), None);
        let mut budget = Budget::new(&limits);
        for estimate in [None, estimate(4.0, true), estimate(4.0, false), estimate(0.0, true)] {
            assert_eq!(budget.room(0, estimate), Ok(1));
        }
        let too_much = Reached::MaxCredits { max: 10.0, held: 0.0, next: Some(10.5) };
        assert_eq!(budget.room(0, estimate(10.5, false)), Err(too_much));
        budget.add(0, &created(&[Some(3.0)], &[]), 1, None);
        assert_eq!(budget.room(0, estimate(1.0, true)), Ok(2), "3 of 7 each");
        assert_eq!(budget.room(1, estimate(1.0, true)), Ok(1), "another row");
        budget.add(0, &created(&[Some(3.3), Some(3.3)], &[]), 2, None);
        assert_eq!(budget.room(0, None), Err(Reached::MaxCredits { max: 10.0, held: 9.6, next: Some(3.3) }));
        assert_eq!(budget.room(1, None), Ok(1), "exceeded by one job at most");
        budget.hold(Some(0.4));
        assert!(budget.room(1, None).is_err() && budget.room(1, estimate(0.0, true)).is_err());
        let mut budget = Budget::new(&limits);
        budget.add(0, &created(&[Some(0.1)], &[]), 1, None);
        budget.hold(Some(9.7));
        assert_eq!(budget.room(0, None), Ok(2), "0.1 + 0.2 is more than 0.3");
    }

    #[test]
    fn a_reserve_is_kept_whatever_the_service_counts() {
        let limits = limits(None, Some(100.0));
        let mut budget = Budget::new(&limits);
        budget.set_balance(112.0);
        assert_eq!(budget.room(0, estimate(4.0, true)), Ok(1));
        budget.add(0, &created(&[Some(4.0)], &[]), 1, None);
        assert_eq!(budget.room(0, None), Ok(2));
        budget.set_balance(112.0);
        assert_eq!(budget.room(0, None), Ok(2), "the service does not count what it holds");
        budget.set_balance(103.0);
        let reached = budget.room(0, None).unwrap_err();
        assert_eq!(
            reached.to_string(),
            "stopped at --reserve 100: the balance is 103 credits, and the next job needs about 4"
        );
        budget.set_balance(99.0);
        assert!(budget.room(1, None).is_err());
    }

    #[test]
    fn what_a_request_may_have_created_counts() {
        let limits = limits(Some(100.0), None);
        let held = |sent: &Result<Created, EnsureError>, estimate| {
            let mut budget = Budget::new(&limits);
            budget.add(0, sent, 2, estimate);
            (!budget.is_held_unknown).then_some(budget.held)
        };
        let mut twice = created(&[Some(6.0)], &[]).unwrap();
        twice.jobs.push(twice.jobs[0].clone());
        assert_eq!(held(&Ok(twice), None), Some(6.0), "one job for two languages");
        let silent = created(&[Some(6.0), None], &["fr"]);
        assert_eq!(held(&silent, None), None);
        assert_eq!(held(&silent, estimate(5.0, true)), Some(16.0));
        let mut budget = Budget::new(&limits);
        budget.add(0, &silent, 3, None);
        assert_eq!(budget.room(0, estimate(1.0, true)), Err(Reached::HeldUnknown));
    }
}
