//! A call of a tool ([`Call`]), and what all tools share ([`Server`]).

use std::{
    cell::{Cell, RefCell},
    collections::{BTreeMap, BTreeSet},
    path::Path,
    time::Duration,
};

use akool::{Client, JobId, Language, PollPolicy, Snapshot};
use akool_ledger::{Filter, Ledger};
use rmcp::model::CallToolResult;
use tokio::sync::{Notify, OwnedSemaphorePermit, oneshot, watch};

use crate::{args::Mcp, connect::Connection, fetch::Fetch, follow, ledger::api};

use super::{input::Request, limit::Limit};

/// How many calls run at a time.
pub(super) const MAX_CALLS: usize = 32;
/// Of how many jobs the age at the last poll is remembered.
const MAX_AGES: usize = 10_000;

/// A call of a tool.
pub(super) struct Call {
    pub(super) request: Request,
    /// What is known so far, for a progress notification.
    pub(super) progress: watch::Sender<String>,
    /// It is closed if the client has cancelled the call or does not wait any more.
    pub(super) reply: oneshot::Sender<CallToolResult>,
    /// Counts the call until it has ended.
    pub(super) slot: OwnedSemaphorePermit,
}

/// What all calls share.
pub(super) struct Server<'a> {
    pub(super) client: &'a Client,
    /// The API address under which the ledger has the jobs.
    pub(super) api: &'a str,
    pub(super) ledger: Ledger,
    /// Where files are saved, without symbolic links, and how.
    pub(super) fetch: Option<(&'a Path, &'a Fetch<'a>)>,
    pub(super) limit: Limit,
    /// After this time, `wait` and `download` return what is known.
    pub(super) max_wait: Duration,
    /// The jobs that are being downloaded.
    pub(super) downloading: RefCell<BTreeSet<JobId>>,
    /// One of these downloads has ended.
    pub(super) downloaded: Notify,
    is_sandbox: bool,
    is_creating: Cell<bool>,
    is_ending: Cell<bool>,
    /// How old jobs that had not ended were at the last poll.
    ages: RefCell<BTreeMap<JobId, Duration>>,
}

impl<'a> Server<'a> {
    pub(super) fn new(
        options: &Mcp,
        connection: &'a Connection,
        ledger: Ledger,
        fetch: Option<(&'a Path, &'a Fetch<'a>)>,
    ) -> Self {
        Self {
            client: &connection.client,
            api: api(connection),
            ledger,
            fetch,
            limit: Limit::new(options.max_credits),
            max_wait: options.max_wait * 7 / 8,
            downloading: RefCell::default(),
            downloaded: Notify::new(),
            is_sandbox: connection.is_sandbox(),
            is_creating: Cell::new(false),
            is_ending: Cell::new(false),
            ages: RefCell::default(),
        }
    }

    /// Whether a request that creates jobs is under way, so that jobs may exist whose ids are not recorded yet.
    pub(super) fn is_creating(&self) -> bool {
        self.is_creating.get()
    }

    pub(super) fn set_creating(&self, is_creating: bool) {
        self.is_creating.set(is_creating);
    }

    /// From now on, no more requests that create jobs are sent.
    pub(super) fn end(&self) {
        self.is_ending.set(true);
    }

    pub(super) fn is_ending(&self) -> bool {
        self.is_ending.get()
    }

    /// Records what a poll returned in the ledger, if the ledger has the job. A ledger that fails does not hide the status.
    pub(super) async fn record(&self, snapshot: &Snapshot) {
        let id = snapshot.id();
        let running_until = self.ages.borrow().get(id).copied();
        let _ = self.ledger.record(self.api, snapshot, running_until).await;
        let mut ages = self.ages.borrow_mut();
        match snapshot.age().filter(|_| !snapshot.status().is_terminal()) {
            Some(age) if ages.len() < MAX_AGES || ages.contains_key(id) => drop(ages.insert(id.clone(), age)),
            _ => drop(ages.remove(id)),
        }
    }

    /// The languages of a job, if the ledger has it.
    pub(super) async fn language(&self, id: &JobId) -> Option<String> {
        let jobs = self.ledger.jobs(&Filter::job(id.clone()).at(self.api)).await.ok()?;
        let codes: Vec<_> = jobs.iter().flat_map(|job| &job.language).map(Language::code).collect();
        (!codes.is_empty()).then(|| codes.join(", "))
    }

    /// When to poll.
    pub(super) async fn poll_policy(&self) -> PollPolicy {
        if self.is_sandbox {
            return PollPolicy::fixed(follow::SANDBOX_INTERVAL);
        }
        self.ledger.poll_policy(self.api).await.unwrap_or_default()
    }
}
