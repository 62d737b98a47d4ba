//! What the server may still spend: [`Limit`].
//!
//! What was spent is in the ledger: [`Limit`] only remembers which entries this server made. So a request whose outcome is
//! unknown counts until someone records the outcome, and credits that AKOOL names later count as soon as a poll has them.

use std::{
    collections::BTreeSet,
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use akool_ledger::{EntryId, Filter, Ledger, WorkOutcome};

use crate::text::{self, credits};

use super::output::Budget;

pub(super) struct Limit {
    max: Option<f64>,
    /// Held by the call that checks the limit, until what it created is recorded.
    pub(super) turn: tokio::sync::Mutex<()>,
    entries: Entries,
}

/// The requests of this server. Cheap to clone.
#[derive(Clone, Default)]
pub(super) struct Entries(Arc<Mutex<Vec<Entry>>>);

#[derive(Clone)]
struct Entry {
    id: EntryId,
    /// What a job of it is estimated to hold.
    estimate: Option<f64>,
}

/// Why nothing is created.
pub(super) enum Refused {
    NotAllowed,
    Over { max: f64, spent: f64, needed: Option<f64> },
    SpentUnknown,
    Ledger(String),
}

impl Entries {
    pub(super) fn add(&self, id: &EntryId, estimate: Option<f64>) {
        self.lock().push(Entry { id: id.clone(), estimate });
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Entry>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Limit {
    pub(super) fn new(max: Option<f64>) -> Self {
        Self { max, turn: tokio::sync::Mutex::const_new(()), entries: Entries::default() }
    }

    pub(super) fn entries(&self) -> Entries {
        self.entries.clone()
    }

    /// Whether this many jobs may be created, each of which is estimated to hold so many credits. If that is not known, the
    /// limit can be exceeded, by one job if only one is created.
    pub(super) async fn check(
        &self,
        ledger: &Ledger,
        jobs: usize,
        estimate: Option<f64>,
    ) -> Result<(), Refused> {
        let max = self.max.ok_or(Refused::NotAllowed)?;
        let spent = self.spent(ledger).await.map_err(Refused::Ledger)?.ok_or(Refused::SpentUnknown)?;
        let needed = estimate.map(|credits| credits * jobs as f64);
        let left = max - spent;
        // Rounding must not cost the last job: 0.1 + 0.2 is more than 0.3.
        if left <= 0.0 || needed.is_some_and(|needed| needed > left + 1e-9) {
            return Err(Refused::Over { max, spent, needed });
        }
        Ok(())
    }

    pub(super) async fn budget(&self, ledger: &Ledger) -> Budget {
        Budget { max_credits: self.max, spent: self.spent(ledger).await.ok().flatten() }
    }

    /// The credits that are held for what this server created, or may have created. `None`: not known.
    async fn spent(&self, ledger: &Ledger) -> Result<Option<f64>, String> {
        let entries = self.entries.lock().clone();
        let mut spent = 0.0;
        for Entry { id, estimate } in entries {
            let works = ledger.works(&Filter::entry(id)).await;
            let works = works.map_err(|error| text::with_causes(&error))?;
            let mut jobs = BTreeSet::new();
            for work in works {
                let credits = match &work.outcome {
                    // One job can stand for several languages.
                    WorkOutcome::Created(job) if jobs.insert(job.id.clone()) => job.credits_held.or(estimate),
                    WorkOutcome::Unknown { .. } | WorkOutcome::InFlight if !work.is_forgotten => estimate,
                    _ => continue,
                };
                match credits {
                    Some(credits) => spent += credits,
                    None => return Ok(None),
                }
            }
        }
        Ok(Some(spent))
    }
}

impl Refused {
    pub(super) fn kind(&self) -> &'static str {
        match self {
            Self::NotAllowed => "not_allowed",
            Self::Over { .. } => "over_budget",
            Self::SpentUnknown => "spent_unknown",
            Self::Ledger(_) => "ledger",
        }
    }

    pub(super) fn help(&self) -> &'static str {
        match self {
            Self::NotAllowed => {
                "Ask the person who runs this server to start it with `akool mcp --max-credits N`."
            }
            Self::Over { .. } => {
                "Ask for fewer languages, or ask the person who runs this server to start it again with another limit."
            }
            Self::SpentUnknown => {
                "Call `status` with the ids of the jobs, then repeat the call. If that does not help, a person has to \
                 check the account."
            }
            Self::Ledger(_) => "Ask the person who runs this server to check the ledger.",
        }
    }
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotAllowed => f.write_str("not created: this server was started without --max-credits"),
            Self::Over { max, spent, needed } => {
                let (max, spent) = (credits(*max), credits(*spent));
                write!(
                    f,
                    "not created: this server may spend {max} credits (--max-credits) and has spent {spent}"
                )?;
                match needed {
                    Some(needed) => write!(f, "; the jobs need about {}", credits(*needed)),
                    None => Ok(()),
                }
            }
            Self::SpentUnknown => {
                f.write_str("not created: it is not known how many credits the jobs of this server hold")
            }
            Self::Ledger(error) => write!(f, "not created: {error}"),
        }
    }
}
