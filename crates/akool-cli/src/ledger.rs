//! Where the program keeps its ledger, and what is in it, a row for each job.

use std::{path::PathBuf, sync::Arc, time::SystemTime};

use akool::{
    BusinessCode, JobId, Language, Status,
    ledger::{
        Begin, CreationOutcome, EntryId, Intent, Ledger, LedgerError, LedgerFile, LedgerFuture, Outcome,
    },
};
use etcetera::BaseStrategy;

use crate::{connect::Connection, report::Report};

/// What the ledger says instead of the address of a sandbox, which is another one each time.
const SANDBOX: &str = "sandbox";

/// The ledger's file. A sandbox has one of its own.
pub(crate) fn file(connection: &Connection) -> Result<LedgerFile, String> {
    let name = if connection.is_sandbox() { "sandbox.jsonl" } else { "ledger.jsonl" };
    Ok(LedgerFile::at(folder()?.join(name)))
}

fn folder() -> Result<PathBuf, String> {
    let strategy = etcetera::choose_base_strategy().map_err(|_| {
        "cannot tell where to keep the ledger of created jobs: set XDG_STATE_HOME or HOME".to_owned()
    })?;
    Ok(strategy.state_dir().unwrap_or_else(|| strategy.data_dir()).join("akool"))
}

/// The ledger as creation takes it.
pub(crate) fn for_creation(file: &LedgerFile, connection: &Connection) -> Arc<dyn Ledger> {
    if connection.is_sandbox() { Arc::new(SandboxLedger(file.clone())) } else { Arc::new(file.clone()) }
}

/// A ledger for which every sandbox is the same service.
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

/// A job, or a language of which no job is known.
#[derive(Clone, Debug)]
pub(crate) struct Row {
    pub(crate) entry: EntryId,
    pub(crate) at: SystemTime,
    /// The link to the source, without what may be secret in it.
    pub(crate) source: String,
    pub(crate) language: Option<Language>,
    pub(crate) job: Option<JobId>,
    pub(crate) state: State,
    pub(crate) seen: Option<SystemTime>,
    pub(crate) forgotten: bool,
}

/// What is known of a row.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum State {
    /// A job; where it stood when it was last seen.
    Job(Option<Status>),
    /// Nobody knows what became of it.
    Unknown { why: Option<String> },
    /// A process that lives is asking for it.
    InFlight,
    /// The service refused the language.
    Refused(BusinessCode),
    /// Nothing was created.
    NotCreated { why: String },
}

impl Row {
    /// Whether there is something to wait for, or to find out.
    pub(crate) fn is_pending(&self) -> bool {
        !self.forgotten
            && match &self.state {
                State::Job(status) => !status.is_some_and(Status::is_terminal),
                State::Unknown { .. } | State::InFlight => true,
                State::Refused(_) | State::NotCreated { .. } => false,
            }
    }

    /// Whether it is worth a line unless everything is asked for.
    pub(crate) fn is_of_interest(&self) -> bool {
        !self.forgotten && !matches!(self.state, State::Refused(_) | State::NotCreated { .. })
    }
}

/// What the ledger has for this service.
pub(crate) struct Rows {
    /// Oldest first.
    pub(crate) rows: Vec<Row>,
    /// What is wrong with the ledger itself.
    pub(crate) damage: Option<String>,
}

/// Reads what the ledger has for this service.
pub(crate) fn rows(ledger: &LedgerFile, connection: &Connection) -> Result<Rows, LedgerError> {
    let base_url = if connection.is_sandbox() { SANDBOX } else { connection.client.base_url() };
    let contents = ledger.read()?;
    let damage = contents.unreadable.first().map(|line| {
        format!(
            "line {line} of the ledger {} cannot be read, and may be a request that was paid for; mend or remove \
             the line",
            ledger.path().display()
        )
    });
    let mut rows = Vec::new();
    for entry in contents.entries {
        // One whose intent was lost has no address: it may be anybody's.
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
            Outcome::Created { jobs, refused, unclear } => {
                rows.extend(jobs.iter().map(|job| Row {
                    job: Some(job.id.clone()),
                    seen: job.seen,
                    forgotten: job.forgotten,
                    ..row(job.language.as_ref(), State::Job(job.status))
                }));
                rows.extend(
                    refused
                        .iter()
                        .map(|refusal| row(refusal.language.as_ref(), State::Refused(refusal.code))),
                );
                // One job for several languages is shown as a job: its language is to be found out.
                if jobs.iter().all(|job| job.language.is_some()) {
                    let unknown = || State::Unknown { why: Some("the answer did not tell".to_owned()) };
                    rows.extend(unclear.iter().map(|language| row(Some(language), unknown())));
                }
            }
            _ => {}
        }
    }
    Ok(Rows { rows, damage })
}

/// Says which language each job is for, as far as the ledger has it.
pub(crate) fn label_jobs(connection: &Connection, report: &Report) {
    // A job needs no ledger to be looked at.
    let Ok(Ok(Rows { rows, .. })) = file(connection).map(|ledger| rows(&ledger, connection)) else { return };
    for row in rows {
        if let Some(job) = &row.job {
            report.label(job, row.language.as_ref());
        }
    }
}
