//! The ledger of the program: its file, and its contents as a row for each job.

use std::{
    path::PathBuf,
    sync::Arc,
    time::{Duration, SystemTime},
};

use akool::{BusinessCode, JobId, Language, Status};
use akool_ledger::{
    Begin, CreationOutcome, EntryId, Intent, Ledger, LedgerError, LedgerFile, LedgerFuture, Outcome,
};
use etcetera::BaseStrategy;

use crate::connect::Connection;

/// Stands for the base URL of a sandbox, whose port differs in each run.
const SANDBOX: &str = "sandbox";

/// How often to read the ledger while another process is creating jobs.
pub(crate) const IN_FLIGHT_INTERVAL: Duration = Duration::from_millis(200);

/// The file of the ledger. The sandbox has its own.
pub(crate) fn file(connection: &Connection) -> Result<LedgerFile, String> {
    let name = if connection.is_sandbox() { "sandbox.jsonl" } else { "ledger.jsonl" };
    Ok(LedgerFile::at(folder()?.join(name)))
}

fn folder() -> Result<PathBuf, String> {
    let strategy = etcetera::choose_base_strategy().map_err(|_| {
        "there is no folder for the ledger of created jobs: set XDG_STATE_HOME or HOME".to_owned()
    })?;
    Ok(strategy.state_dir().unwrap_or_else(|| strategy.data_dir()).join("akool"))
}

/// The ledger to use for creating jobs.
pub(crate) fn for_creation(file: &LedgerFile, connection: &Connection) -> Arc<dyn Ledger> {
    if connection.is_sandbox() { Arc::new(SandboxLedger(file.clone())) } else { Arc::new(file.clone()) }
}

/// A ledger that records the same base URL for every sandbox.
#[derive(Debug)]
struct SandboxLedger(LedgerFile);

impl Ledger for SandboxLedger {
    fn begin<'a>(&'a self, intent: &'a Intent) -> LedgerFuture<'a, Begin> {
        let mut intent = intent.clone();
        SANDBOX.clone_into(&mut intent.base_url);
        Box::pin(async move { self.0.begin(&intent).await })
    }

    fn record<'a>(&'a self, entry: &'a EntryId, outcome: &'a CreationOutcome) -> LedgerFuture<'a, ()> {
        self.0.record(entry, outcome)
    }
}

/// A job, or a language whose job is not known.
#[derive(Clone, Debug)]
pub(crate) struct Row {
    pub(crate) entry: EntryId,
    pub(crate) at: SystemTime,
    /// The URL of the source, without parts that may be secret.
    pub(crate) source: String,
    pub(crate) language: Option<Language>,
    pub(crate) job: Option<JobId>,
    pub(crate) state: State,
    pub(crate) seen: Option<SystemTime>,
    pub(crate) forgotten: bool,
}

/// The state of a row.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum State {
    /// A job, with its last known status.
    Job(Option<Status>),
    /// A job may have been created.
    Unknown { why: Option<String> },
    /// A running process is creating the job.
    InFlight,
    /// AKOOL rejected the language.
    Rejected(BusinessCode),
    /// Nothing was created.
    NotCreated { why: String },
}

impl Row {
    /// Whether the job has not ended, or may exist.
    pub(crate) fn is_pending(&self) -> bool {
        !self.forgotten
            && match &self.state {
                State::Job(status) => !status.is_some_and(Status::is_terminal),
                State::Unknown { .. } | State::InFlight => true,
                State::Rejected(_) | State::NotCreated { .. } => false,
            }
    }

    /// Whether `akool jobs` lists it without `--all`.
    pub(crate) fn is_listed(&self) -> bool {
        !self.forgotten && !matches!(self.state, State::Rejected(_) | State::NotCreated { .. })
    }
}

/// The rows of the ledger for this base URL.
pub(crate) struct Rows {
    /// Oldest first.
    pub(crate) rows: Vec<Row>,
    /// The first line of the ledger that cannot be read, as a message.
    pub(crate) damage: Option<String>,
}

/// Reads the rows of the ledger for this base URL.
pub(crate) fn rows(ledger: &LedgerFile, connection: &Connection) -> Result<Rows, LedgerError> {
    let base_url = if connection.is_sandbox() { SANDBOX } else { connection.client.base_url() };
    let contents = ledger.read()?;
    let damage = contents.unreadable.first().map(|line| {
        format!(
            "line {line} of the ledger {} cannot be read, and may be a request that was charged; repair or remove \
             the line",
            ledger.path().display()
        )
    });
    let mut rows = Vec::new();
    for entry in contents.entries {
        // An entry whose intent was lost has no base URL, and may belong to any service.
        if entry.base_url != base_url && !entry.base_url.is_empty() {
            continue;
        }
        let row = |language: Option<&Language>, state| Row {
            entry: entry.id.clone(),
            at: entry.at,
            source: entry.source(),
            language: language.cloned(),
            job: None,
            state,
            seen: None,
            forgotten: language.is_some_and(|language| entry.has_forgotten(language)),
        };
        match &entry.outcome {
            Outcome::InFlight => {
                rows.extend(entry.languages.iter().map(|language| row(Some(language), State::InFlight)));
            }
            Outcome::Unknown { why } => {
                let state = State::Unknown { why: why.clone() };
                rows.extend(entry.languages.iter().map(|language| row(Some(language), state.clone())));
            }
            Outcome::NotCreated { why } => {
                let state = State::NotCreated { why: why.clone() };
                rows.extend(entry.languages.iter().map(|language| row(Some(language), state.clone())));
            }
            Outcome::Created { jobs, rejected, unknown } => {
                rows.extend(jobs.iter().map(|job| Row {
                    job: Some(job.id.clone()),
                    seen: job.seen,
                    forgotten: job.forgotten,
                    ..row(job.language.as_ref(), State::Job(job.status))
                }));
                rows.extend(
                    rejected
                        .iter()
                        .map(|rejection| row(rejection.language.as_ref(), State::Rejected(rejection.code))),
                );
                // A job whose language is not known stands for all languages of the request.
                if jobs.iter().all(|job| job.language.is_some()) {
                    let state = || State::Unknown { why: Some("the response did not name a job".to_owned()) };
                    rows.extend(unknown.iter().map(|language| row(Some(language), state())));
                }
            }
            _ => {}
        }
    }
    Ok(Rows { rows, damage })
}

/// Passes on the language of each job that the ledger has. A ledger that cannot be read is ignored.
pub(crate) fn label_jobs(connection: &Connection, label: impl Fn(&JobId, Option<&Language>)) {
    let Ok(Ok(Rows { rows, .. })) = file(connection).map(|ledger| rows(&ledger, connection)) else { return };
    for row in rows {
        if let Some(job) = &row.job {
            label(job, row.language.as_ref());
        }
    }
}
