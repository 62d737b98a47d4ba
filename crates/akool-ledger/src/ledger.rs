//! The ledger for its users: [`Ledger`] runs every operation on a thread for blocking work.

use std::{
    fmt,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use akool::{JobId, Language, PollPolicy, Snapshot};
use rusqlite::Connection;

use crate::{
    creation::{Begin, CreationOutcome, Intent},
    database,
    error::LedgerError,
    import::import,
    in_flight::InFlight,
    plan::Plan,
    store::{Seen, Store},
    work::{EntryId, Filter, LedgerJob, SavedFile, Work},
};

/// Remembers which translations were created, in a file that several processes can share. Cheap to clone.
///
/// Its methods need a tokio runtime, because SQLite works on a thread for blocking work.
///
/// ```no_run
/// # async fn example(client: akool::Client) -> Result<(), Box<dyn std::error::Error>> {
/// use akool_ledger::Ledger;
///
/// let ledger = Ledger::open("state/ledger.db")?;
/// // Reuses the jobs that exist, and creates and pays for the others.
/// let jobs = ledger.translate(client.translate("https://example.com/talk.mp4").to(["es"])).await?;
/// // After a restart: what has not ended yet.
/// for job in ledger.pending().await? {
///     let translation = client.job(&job.id).wait().await?;
///     ledger.record(client.base_url(), translation.snapshot(), None).await?;
/// }
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct Ledger(Arc<Inner>);

struct Inner {
    path: PathBuf,
    connection: Mutex<Connection>,
}

impl Ledger {
    /// Opens the ledger in this file, and creates the file and its folder if they do not exist, readable only by this
    /// user. This blocks, for a long time if the ledger of an earlier version is imported: that is a file of the same
    /// name that ends in `.jsonl`. It is renamed afterwards.
    ///
    /// # Errors
    /// If the file cannot be created, read or written, belongs to another program or to a later version of this one, is
    /// damaged, or is locked by another process for 30 seconds; or if a line of the ledger of an earlier version cannot
    /// be read.
    pub fn open(path: impl Into<PathBuf>) -> Result<Self, LedgerError> {
        let path = path.into();
        let mut connection = database::open(&path)?;
        import(&path, &mut connection)?;
        Store { path: &path, connection: &mut connection }.mark_dead()?;
        Ok(Self(Arc::new(Inner { path, connection: Mutex::new(connection) })))
    }

    /// The path of the file.
    pub fn path(&self) -> &Path {
        &self.0.path
    }

    /// Checks that the ledger can be written, without a change.
    ///
    /// # Errors
    /// If it cannot be written now.
    pub async fn check_writable(&self) -> Result<(), LedgerError> {
        self.run(|store| store.write(|_| Ok(()))).await
    }

    /// The jobs that have not ended.
    ///
    /// # Errors
    /// If the ledger cannot be read.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let server = akool_mock::MockServer::start().await;
    /// # server.job("64dd92c1f0b6684651e90e09", akool_mock::Timeline::new().completed());
    /// # let (base_url, key) = (server.url(), akool::Credential::api_key(server.api_key())?);
    /// # let client = akool::Client::builder().base_url(base_url).credential(key).build()?;
    /// # let temporary = tempfile::tempdir()?; let file = temporary.path().join("ledger.db");
    /// use akool_ledger::Ledger;
    ///
    /// let ledger = Ledger::open(&file)?;
    /// ledger.translate(client.translate("https://example.com/talk.mp4").to("es")).await?;
    /// // After a crash, another process continues here.
    /// let mut set = client.wait_set();
    /// set.extend(ledger.pending().await?.into_iter().map(|job| job.id));
    /// assert_eq!(set.len(), 1);
    /// # Ok(())
    /// # }
    /// ```
    pub async fn pending(&self) -> Result<Vec<LedgerJob>, LedgerError> {
        self.jobs(&Filter::pending()).await
    }

    /// The jobs that a filter selects, oldest first.
    ///
    /// # Errors
    /// If the ledger cannot be read.
    pub async fn jobs(&self, filter: &Filter) -> Result<Vec<LedgerJob>, LedgerError> {
        let works = self.works(filter).await?;
        Ok(works.into_iter().filter_map(|work| work.job().cloned()).collect())
    }

    /// The work that a filter selects, oldest first: jobs, and what was requested and has no job.
    ///
    /// # Errors
    /// If the ledger cannot be read.
    pub async fn works(&self, filter: &Filter) -> Result<Vec<Work>, LedgerError> {
        let filter = filter.clone();
        self.run(move |store| store.works(&filter)).await
    }

    /// Stores the status that a poll returned, if the ledger has the job. `api` is the [address](akool::Client::base_url)
    /// at which it was polled: a status from another service does not count. `running_until` is the age of the job at the
    /// last poll before its end, for [`poll_policy`](Self::poll_policy).
    ///
    /// # Errors
    /// If the ledger cannot be read or written.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let server = akool_mock::MockServer::start().await;
    /// # server.job("64dd92c1f0b6684651e90e09", akool_mock::Timeline::new().completed());
    /// # let (base_url, key) = (server.url(), akool::Credential::api_key(server.api_key())?);
    /// # let client = akool::Client::builder().base_url(base_url).credential(key).build()?;
    /// # let temporary = tempfile::tempdir()?; let file = temporary.path().join("ledger.db");
    /// # let ledger = akool_ledger::Ledger::open(&file)?;
    /// # server.on_create(akool_mock::Timeline::new().completed());
    /// let jobs = ledger.translate(client.translate("https://example.com/talk.mp4").to("es")).await?;
    /// let snapshot = client.job(&jobs[0].id).get().await?;
    /// ledger.record(&client.base_url(), &snapshot, None).await?;
    /// assert!(ledger.pending().await?.is_empty());
    /// # Ok(())
    /// # }
    /// ```
    pub async fn record(
        &self,
        api: &str,
        snapshot: &Snapshot,
        running_until: Option<Duration>,
    ) -> Result<(), LedgerError> {
        let (api, seen) = (api.to_owned(), Seen::new(snapshot, running_until));
        self.run(move |store| store.record(&api, &seen)).await
    }

    /// Stores that a file was saved, and forgets what was saved at this path before. The ledger need not have the job.
    ///
    /// # Errors
    /// If the path is not UTF-8, or the ledger cannot be written.
    pub async fn record_file(&self, file: &SavedFile) -> Result<(), LedgerError> {
        let file = file.clone();
        self.run(move |store| store.record_file(&file)).await
    }

    /// The files that were saved of a job, oldest first.
    ///
    /// # Errors
    /// If the ledger cannot be read.
    pub async fn files(&self, job: &JobId) -> Result<Vec<SavedFile>, LedgerError> {
        let job = job.clone();
        self.run(move |store| store.files(&job)).await
    }

    /// The file that was last saved at this absolute path.
    ///
    /// # Errors
    /// If the ledger cannot be read.
    pub async fn file_at(&self, path: &Path) -> Result<Option<SavedFile>, LedgerError> {
        let path = path.to_owned();
        self.run(move |store| store.file_at(&path)).await
    }

    /// Stores the job of a request whose outcome was unknown: use this when you have found the job. The language may be
    /// omitted if the outcome of only one language is unknown.
    ///
    /// # Errors
    /// If the ledger does not have the request, its outcome is not unknown, the language is omitted and several are
    /// unknown, or the ledger cannot be read or written.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let server = akool_mock::MockServer::start().await;
    /// # server.job("64dd92c1f0b6684651e90e09", akool_mock::Timeline::new().completed());
    /// # let (base_url, key) = (server.url(), akool::Credential::api_key(server.api_key())?);
    /// # let client = akool::Client::builder().base_url(base_url).credential(key).build()?;
    /// # let temporary = tempfile::tempdir()?; let file = temporary.path().join("ledger.db");
    /// # let ledger = akool_ledger::Ledger::open(&file)?;
    /// # server.inject_into_creations(akool_mock::Fault::ResetBeforeHeaders, akool_mock::Times::Once);
    /// use akool_ledger::{EnsureError, Filter, WorkOutcome};
    ///
    /// // The connection breaks: whether a job was created is unknown.
    /// let error = ledger.translate(client.translate("https://example.com/talk.mp4").to("es")).await.unwrap_err();
    /// assert!(error.may_have_created());
    /// // An operator finds the job on AKOOL's website.
    /// let work = ledger.works(&Filter::pending()).await?.remove(0);
    /// ledger.adopt(&work.entry, None, &"64dd92c1f0b6684651e90e09".into()).await?;
    /// assert_eq!(ledger.pending().await?.len(), 1);
    /// # Ok(())
    /// # }
    /// ```
    pub async fn adopt(
        &self,
        entry: &EntryId,
        language: Option<&Language>,
        job: &JobId,
    ) -> Result<(), LedgerError> {
        let (entry, language, job) = (entry.clone(), language.cloned(), job.clone());
        self.run(move |store| store.adopt(&entry, language.as_ref(), &job)).await
    }

    /// Removes the unknown outcomes of a request, or that of one language: use this when you have found out that nothing
    /// was created. The jobs of the request stay. Returns whether the ledger has the request.
    ///
    /// # Errors
    /// If a running process is making the request, no outcome or not that of the language is unknown, or the ledger cannot
    /// be read or written.
    pub async fn forget(&self, entry: &EntryId, language: Option<&Language>) -> Result<bool, LedgerError> {
        let (entry, language) = (entry.clone(), language.cloned());
        self.run(move |store| store.forget(&entry, language.as_ref())).await
    }

    /// Removes a job: it is not pending any more, and the same work may be created again. Returns whether the ledger has
    /// the job.
    ///
    /// # Errors
    /// If the ledger cannot be read or written.
    pub async fn forget_job(&self, job: &JobId) -> Result<bool, LedgerError> {
        let job = job.clone();
        self.run(move |store| store.forget_job(&job)).await
    }

    /// A policy that polls most often at the ages at which the jobs at this API address ended so far; see
    /// [`Durations::poll_policy`](crate::Durations::poll_policy). With fewer than 20 such jobs, it is the default policy.
    ///
    /// # Errors
    /// If the ledger cannot be read.
    pub async fn poll_policy(&self, api: &str) -> Result<PollPolicy, LedgerError> {
        let api = api.to_owned();
        Ok(self.run(move |store| store.durations(&api)).await?.poll_policy())
    }

    pub(crate) async fn begin(&self, intent: Intent) -> Result<Begun, LedgerError> {
        let ledger = self.clone();
        let begin = self.run(move |store| {
            let begin = store.begin(&intent)?;
            // Made here, so that an intent whose future is dropped meanwhile is withdrawn.
            Ok(match begin {
                Begin::AlreadyThere(work) => Begun::AlreadyThere(work),
                Begin::Written { entry, in_flight, failed } => {
                    let request = Request { ledger, entry, is_sent: false, in_flight: Some(in_flight) };
                    Begun::Written(request, failed)
                }
            })
        });
        begin.await
    }

    pub(crate) async fn plan(&self, intent: Intent) -> Result<Plan, LedgerError> {
        self.run(move |store| store.plan(&intent)).await
    }

    pub(crate) async fn record_outcome(
        &self,
        entry: &EntryId,
        outcome: &CreationOutcome,
    ) -> Result<(), LedgerError> {
        let (entry, outcome) = (entry.clone(), outcome.clone());
        self.run(move |store| store.record_outcome(&entry, &outcome)).await
    }

    pub(crate) async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut Store<'_>) -> Result<T, LedgerError> + Send + 'static,
    ) -> Result<T, LedgerError> {
        let ledger = self.clone();
        let done = tokio::task::spawn_blocking(move || ledger.0.with_store(work)).await;
        done.unwrap_or_else(|_| Err(LedgerError::new("the runtime is shutting down")))
    }
}

impl Inner {
    fn with_store<T>(&self, work: impl FnOnce(&mut Store<'_>) -> T) -> T {
        // A panic while it was locked has rolled its transaction back.
        let mut connection = self.connection.lock().unwrap_or_else(PoisonError::into_inner);
        work(&mut Store { path: &self.path, connection: &mut connection })
    }
}

impl fmt::Debug for Ledger {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Ledger").field(&self.0.path).finish()
    }
}

/// The result of [`Ledger::begin`].
pub(crate) enum Begun {
    Written(Request, Vec<LedgerJob>),
    AlreadyThere(Vec<Work>),
}

/// A request whose intent is stored. As long as it lives, the request is in flight. If it is dropped before it was sent,
/// the intent is withdrawn; if it is dropped after that, the outcome is unknown.
pub(crate) struct Request {
    ledger: Ledger,
    pub(crate) entry: EntryId,
    is_sent: bool,
    in_flight: Option<InFlight>,
}

impl Request {
    /// From now on, the request may have an effect.
    pub(crate) fn set_sent(&mut self) {
        self.is_sent = true;
    }
}

impl Drop for Request {
    fn drop(&mut self) {
        if !self.is_sent {
            // On the thread for blocking work: nobody awaits the result of `begin` any more. If this fails, the outcome
            // is unknown.
            let _ = self.ledger.0.with_store(|store| store.withdraw(&self.entry));
        }
        self.in_flight = None;
    }
}
