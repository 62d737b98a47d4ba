//! Creating only what the ledger does not have: [`Ensure`].

use std::{
    fmt,
    future::{Future, IntoFuture},
    pin::Pin,
    time::Duration,
};

use akool::{CreateError, Created, Language, Translate};
use tokio::time::Instant;

use crate::{
    creation::{CreationOutcome, Intent},
    ensured::Ensured,
    error::{EnsureError, LedgerError},
    ledger::{Begun, Ledger, Request},
    plan::Plan,
    work::{EntryId, LedgerJob, Work},
};

/// How long to try to store ids that were paid for.
const MAX_RECORD_TIME: Duration = Duration::from_secs(30);
const RECORD_PAUSE: Duration = Duration::from_millis(500);

/// A request that creates only what the ledger does not have, made by [`Ledger::translate`].
///
/// Awaited, it returns the jobs of all languages, those that the ledger had first. [`run`](Self::run) returns more
/// details. If the future is dropped after the request was sent, the outcome is unknown, as after a crash.
///
/// ```no_run
/// # async fn example(client: akool::Client, ledger: akool_ledger::Ledger) -> Result<(), akool_ledger::EnsureError> {
/// let request = client.translate("https://example.com/talk.mp4").to(["es", "fr"]);
/// let ensured = ledger.translate(request).run().await;
/// println!("{} languages have been created before", ensured.known.len());
/// let jobs = ensured.into_jobs()?;
/// # Ok(())
/// # }
/// ```
#[must_use = "nothing is created until this is awaited"]
pub struct Ensure {
    ledger: Ledger,
    request: Translate,
    api: String,
    allow_duplicate: bool,
    staged: Vec<String>,
    on_event: Option<OnEvent>,
}

type OnEvent = Box<dyn FnMut(EnsureEvent<'_>) + Send>;

/// What happens before the result of an [`Ensure`]; see [`Ensure::on_event`].
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub enum EnsureEvent<'a> {
    /// This job of the same work has failed, so the work is about to be created and paid for again.
    CreatingAgain(&'a LedgerJob),
    /// The intent is stored as this entry, and the request is about to be sent. [`Filter::entry`](crate::Filter::entry)
    /// selects what becomes of it.
    Requesting(&'a EntryId),
    /// Jobs were created, and could not be stored at once. Keep their ids: storing them is tried for 30 seconds more. If
    /// that fails too, the result is [`EnsureError::Unrecorded`].
    Unrecorded {
        /// The created jobs.
        created: &'a Created,
        /// Why they could not be stored.
        error: &'a LedgerError,
    },
}

impl Ledger {
    /// Makes sure that there is a job for each language of the request: reuses the jobs that the ledger has, and creates
    /// the others. The same call after a crash continues where it stopped, and pays only once. Await the result.
    pub fn translate(&self, request: Translate) -> Ensure {
        Ensure::new(self.clone(), request)
    }
}

impl Ensure {
    pub(crate) fn new(ledger: Ledger, request: Translate) -> Self {
        let api = request.client().base_url().to_owned();
        Self { ledger, request, api, allow_duplicate: false, staged: Vec::new(), on_event: None }
    }

    /// Creates and pays for the jobs even if the ledger has the same work already.
    pub fn allow_duplicate(mut self) -> Self {
        self.allow_duplicate = true;
        self
    }

    /// Sets the API address under which the work is stored, in place of the client's
    /// [`base_url`](akool::Client::base_url): for a server whose address changes.
    pub fn api(mut self, api: impl Into<String>) -> Self {
        self.api = api.into();
        self
    }

    /// Stores that the request leads to this [staged object](crate::Staged), which the service needs until the jobs have
    /// ended.
    pub fn uses_staged(mut self, url: impl Into<String>) -> Self {
        self.staged.push(url.into());
        self
    }

    /// Sets a function that is called for each [`EnsureEvent`].
    pub fn on_event(mut self, call: impl FnMut(EnsureEvent<'_>) + Send + 'static) -> Self {
        self.on_event = Some(Box::new(call));
        self
    }

    /// Creates what the ledger does not have, and returns what it had and the result of the request.
    pub async fn run(mut self) -> Ensured {
        let mut known: Vec<Work> = Vec::new();
        loop {
            match self.begin().await {
                Ok(Begun::Written(request, failed)) => {
                    for job in &failed {
                        self.report(EnsureEvent::CreatingAgain(job));
                    }
                    self.report(EnsureEvent::Requesting(&request.entry));
                    return Ensured { known, sent: Some(self.send(request).await) };
                }
                Ok(Begun::AlreadyThere(work)) => {
                    let is_known = |language: &Language| {
                        work.iter().any(|work| work.language.as_ref().is_some_and(|known| known.is(language)))
                    };
                    self.request = self.request.retain_languages(|language| !is_known(language));
                    known.extend(work);
                    if self.request.languages().is_empty() {
                        return Ensured { known, sent: None };
                    }
                }
                Err(error) => return Ensured { known, sent: Some(Err(error)) },
            }
        }
    }

    /// Returns what [`run`](Self::run) would do, without storing or sending anything.
    ///
    /// # Errors
    /// If the request is not valid, or the ledger cannot be read.
    pub async fn plan(self) -> Result<Plan, EnsureError> {
        let intent = self.intent()?;
        Ok(self.ledger.plan(intent).await?)
    }

    fn report(&mut self, event: EnsureEvent<'_>) {
        if let Some(call) = &mut self.on_event {
            call(event);
        }
    }

    /// Stores the intent.
    async fn begin(&mut self) -> Result<Begun, EnsureError> {
        let intent = self.intent()?;
        Ok(self.ledger.begin(intent).await?)
    }

    fn intent(&self) -> Result<Intent, EnsureError> {
        let invalid = |error: akool::InvalidTranslation| EnsureError::NotCreated(error.into());
        Ok(Intent {
            api: self.api.clone(),
            languages: self.request.languages().to_vec(),
            request: self.request.request().map_err(invalid)?,
            identity: self.request.identity().map_err(invalid)?,
            staged: self.staged.clone(),
            allow_duplicate: self.allow_duplicate,
        })
    }

    /// Sends the request, and stores its outcome.
    async fn send(&mut self, mut request: Request) -> Result<Created, EnsureError> {
        request.set_sent();
        let sent = self.request.clone().send().await;
        let outcome = CreationOutcome::of(&sent);
        let give_up = Instant::now() + MAX_RECORD_TIME;
        let mut recorded = self.ledger.record_outcome(&request.entry, &outcome).await;
        if let (Err(error), Ok(created)) = (&recorded, &sent) {
            self.report(EnsureEvent::Unrecorded { created, error });
        }
        while recorded.is_err() && sent.is_ok() && Instant::now() < give_up {
            tokio::time::sleep(RECORD_PAUSE).await;
            recorded = self.ledger.record_outcome(&request.entry, &outcome).await;
        }
        match (sent, recorded) {
            (Ok(created), Ok(())) => Ok(created),
            (Ok(created), Err(source)) => Err(EnsureError::Unrecorded { created, source }),
            (Err(source @ CreateError::OutcomeUnknown(_)), _) => {
                Err(EnsureError::OutcomeUnknown { entry: request.entry.clone(), source })
            }
            (Err(error), _) => Err(EnsureError::NotCreated(error)),
        }
    }
}

impl IntoFuture for Ensure {
    type Output = Result<Vec<LedgerJob>, EnsureError>;
    type IntoFuture = Pin<Box<dyn Future<Output = Self::Output> + Send>>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(async { self.run().await.into_jobs() })
    }
}

impl fmt::Debug for Ensure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ensure")
            .field("ledger", &self.ledger)
            .field("request", &self.request)
            .field("api", &self.api)
            .field("allow_duplicate", &self.allow_duplicate)
            .finish_non_exhaustive()
    }
}
