//! Where jobs are created, recorded and waited for: [`Place`]. `translate`, `wait`, `jobs` and `status` work on it, and so on
//! this machine and on a fleet in the same way.

#[cfg(feature = "fleet")]
mod fleet;

use std::time::Duration;

use akool::{Client, JobId, Language, PollPolicy, Snapshot, Translate, Update, WaitSet};
use akool_ledger::{EnsureEvent, Ensured, EntryId, Filter, Ledger, Work};

use crate::{
    connect::Connection,
    ledger::{self, api},
    outcome::Outcome,
    reported::{Failure, Known},
};

/// A place where jobs are created, recorded and waited for.
pub(crate) enum Place {
    /// This machine: the ledger, if there is one, and waits in this process.
    Here { ledger: Option<Ledger>, client: Box<Client>, api: String },
    /// A fleet, which creates, records and waits itself.
    #[cfg(feature = "fleet")]
    Fleet(fleet::Remote),
}

/// Which works to list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Listed {
    All,
    Pending,
    /// Those whose files were not saved and are deleted soon.
    Expiring,
}

/// A request for jobs.
pub(crate) struct Wanted {
    pub(crate) request: Translate,
    pub(crate) allow_duplicate: bool,
    /// The objects in a store that its links lead to.
    pub(crate) staged: Vec<String>,
    /// How to wait for the jobs, for a place that begins to wait when it has created them.
    #[cfg_attr(not(feature = "fleet"), expect(dead_code, reason = "this machine begins to wait later"))]
    pub(crate) waits: WaitSettings,
}

/// What came of it. The failures are about one language each, and nothing was created in it.
#[derive(Default)]
pub(crate) struct Requested {
    pub(crate) ensured: Ensured,
    pub(crate) failed: Vec<(Language, Failure)>,
}

/// How to wait for jobs.
#[derive(Clone, Debug)]
pub(crate) struct WaitSettings {
    pub(crate) policy: PollPolicy,
    /// The interval in `policy`, if it is the same between all polls.
    #[cfg_attr(not(feature = "fleet"), expect(dead_code, reason = "it is in the policy"))]
    pub(crate) interval: Option<Duration>,
    pub(crate) timeout: Option<Duration>,
    pub(crate) max_polls_per_second: Option<f64>,
}

/// What a place knows of a job.
pub(crate) enum Polled {
    Snapshot(Box<Snapshot>),
    #[cfg_attr(not(feature = "fleet"), expect(dead_code, reason = "this machine polls the job itself"))]
    Known(Known),
}

/// What happens during a wait.
pub(crate) enum Event {
    Update(Box<Update>),
    /// The status has changed.
    #[cfg_attr(not(feature = "fleet"), expect(dead_code, reason = "this machine polls the job itself"))]
    Known(Known),
    /// The wait ended before the job, which continues.
    #[cfg_attr(not(feature = "fleet"), expect(dead_code, reason = "this machine polls the job itself"))]
    Failed(Failure),
}

/// The waits for many jobs.
pub(crate) enum Waits {
    Here(Box<WaitSet>),
    #[cfg(feature = "fleet")]
    Fleet(Box<fleet::Waits>),
}

impl Waits {
    pub(crate) fn insert(&mut self, job: JobId) {
        match self {
            Self::Here(set) => drop(set.insert(job)),
            #[cfg(feature = "fleet")]
            Self::Fleet(waits) => waits.insert(job),
        }
    }

    /// The next event, or `None` if no job is waited for. It can be dropped at any time.
    pub(crate) async fn next(&mut self) -> Option<(JobId, Event)> {
        match self {
            Self::Here(set) => set.next().await.map(|(job, update)| (job, Event::Update(Box::new(update)))),
            #[cfg(feature = "fleet")]
            Self::Fleet(waits) => waits.next().await,
        }
    }
}

impl Place {
    /// Opens the place to create jobs in it.
    ///
    /// # Errors
    /// If it cannot be used, or not be written to.
    pub(crate) async fn open_to_write(connection: &Connection) -> Result<Self, Failure> {
        #[cfg(feature = "fleet")]
        if let Some(fleet) = &connection.fleet {
            return fleet::Remote::open(fleet).await.map(Self::Fleet);
        }
        let ledger = ledger::open_to_write(connection).await.map_err(unusable)?;
        Ok(Self::here(connection, Some(ledger)))
    }

    /// Opens the place to read in it. On this machine, there need not be a ledger.
    ///
    /// # Errors
    /// If it cannot be used.
    pub(crate) async fn open(connection: &Connection) -> Result<Self, Failure> {
        #[cfg(feature = "fleet")]
        if let Some(fleet) = &connection.fleet {
            return fleet::Remote::open(fleet).await.map(Self::Fleet);
        }
        let ledger = ledger::open_existing(connection).await.map_err(unusable)?;
        Ok(Self::here(connection, ledger))
    }

    /// The same. On this machine, a ledger that cannot be used is passed to `note`, and left out.
    pub(crate) async fn open_if_usable(
        connection: &Connection,
        note: impl FnOnce(&Failure),
    ) -> Result<Self, Failure> {
        match Self::open(connection).await {
            Err(failure) if !connection.is_fleet() => {
                note(&failure);
                Ok(Self::here(connection, None))
            }
            opened => opened,
        }
    }

    fn here(connection: &Connection, ledger: Option<Ledger>) -> Self {
        Self::Here { ledger, client: Box::new(connection.client.clone()), api: api(connection).to_owned() }
    }

    pub(crate) fn is_fleet(&self) -> bool {
        !matches!(self, Self::Here { .. })
    }

    /// The ledger of this machine, for what only this machine does: limits on credits, staged files, learned durations.
    pub(crate) fn ledger(&self) -> Option<&Ledger> {
        match self {
            Self::Here { ledger, .. } => ledger.as_ref(),
            #[cfg(feature = "fleet")]
            Self::Fleet(_) => None,
        }
    }

    /// Creates what does not exist. `on_event` gets what happens before there is a result.
    pub(crate) async fn create(
        &self,
        wanted: Wanted,
        on_event: impl FnMut(EnsureEvent<'_>) + Send + 'static,
    ) -> Requested {
        match self {
            Self::Here { ledger: None, .. } => Requested::default(),
            Self::Here { ledger: Some(ledger), api, .. } => {
                let ensure = ledger.translate(wanted.request).api(api);
                let ensure = if wanted.allow_duplicate { ensure.allow_duplicate() } else { ensure };
                let ensure = wanted.staged.into_iter().fold(ensure, akool_ledger::Ensure::uses_staged);
                Requested { ensured: ensure.on_event(on_event).run().await, failed: Vec::new() }
            }
            #[cfg(feature = "fleet")]
            Self::Fleet(fleet) => fleet.create(wanted, on_event).await,
        }
    }

    /// What was requested.
    pub(crate) async fn works(&self, listed: Listed) -> Result<Vec<Work>, Failure> {
        match self {
            Self::Here { ledger: None, .. } => Ok(Vec::new()),
            Self::Here { ledger: Some(ledger), api, .. } => {
                let filter = match listed {
                    Listed::All => Filter::all(),
                    Listed::Pending => Filter::pending(),
                    Listed::Expiring => Filter::expiring(),
                };
                Ok(ledger.works(&filter.at(api)).await?)
            }
            #[cfg(feature = "fleet")]
            Self::Fleet(fleet) => fleet.works(listed).await,
        }
    }

    /// Records a job for an entry whose outcome is unknown. Returns the languages that this job is recorded for, or `None`
    /// if there is no such entry.
    pub(crate) async fn adopt(
        &self,
        entry: &EntryId,
        language: Option<&Language>,
        job: &JobId,
    ) -> Result<Option<Vec<Language>>, Failure> {
        match self {
            Self::Here { ledger: None, .. } => Ok(None),
            Self::Here { ledger: Some(ledger), .. } => {
                ledger.adopt(entry, language, job).await?;
                let jobs = ledger.jobs(&Filter::job(job.clone())).await?;
                Ok(Some(jobs.into_iter().filter_map(|job| job.language).collect()))
            }
            #[cfg(feature = "fleet")]
            Self::Fleet(fleet) => fleet.adopt(entry, language, job).await,
        }
    }

    /// Removes a job, or an entry whose outcome is unknown. Returns whether there was one.
    pub(crate) async fn forget(
        &self,
        name: &str,
        entry: &EntryId,
        language: Option<&Language>,
    ) -> Result<bool, Failure> {
        match self {
            Self::Here { ledger: None, .. } => Ok(false),
            Self::Here { ledger: Some(ledger), .. } => {
                Ok(ledger.forget_job(&name.into()).await? || ledger.forget(entry, language).await?)
            }
            #[cfg(feature = "fleet")]
            Self::Fleet(fleet) => fleet.forget(name, entry, language).await,
        }
    }

    /// Passes on language and source of each of these jobs that is known. What cannot be read is ignored.
    pub(crate) async fn label(
        &self,
        ids: impl IntoIterator<Item = JobId>,
        label: impl Fn(&JobId, Option<&Language>, Option<&str>),
    ) {
        match self {
            Self::Here { ledger: None, .. } => {}
            Self::Here { ledger: Some(ledger), api, .. } => ledger::label(ledger, api, ids, label).await,
            #[cfg(feature = "fleet")]
            Self::Fleet(fleet) => fleet.label(ids, label).await,
        }
    }

    /// The status of a job.
    pub(crate) async fn poll(&self, job: &JobId) -> Result<Polled, Failure> {
        match self {
            Self::Here { client, .. } => {
                let snapshot = client.job(job).get().await;
                snapshot.map(|snapshot| Polled::Snapshot(Box::new(snapshot))).map_err(|error| (&error).into())
            }
            #[cfg(feature = "fleet")]
            Self::Fleet(fleet) => fleet.poll(job).await,
        }
    }

    /// Waits, to which jobs are added.
    pub(crate) fn waits(&self, settings: WaitSettings) -> Waits {
        match self {
            Self::Here { client, .. } => {
                let waits = client.wait_set().policy(settings.policy);
                let waits = match settings.timeout {
                    Some(timeout) => waits.timeout(timeout),
                    None => waits.without_timeout(),
                };
                Waits::Here(Box::new(match settings.max_polls_per_second {
                    Some(rate) => waits.max_polls_per_second(rate),
                    None => waits,
                }))
            }
            #[cfg(feature = "fleet")]
            Self::Fleet(fleet) => Waits::Fleet(Box::new(fleet.waits(&settings))),
        }
    }
}

/// The ledger cannot be used.
fn unusable(text: String) -> Failure {
    Failure { kind: "ledger".to_owned(), text, help: None, outcome: Outcome::Usage }
}
