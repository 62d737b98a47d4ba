//! Creating only what the ledger does not have: [`ensure()`].

use std::{
    future::{Future, IntoFuture},
    pin::Pin,
};

use akool::{CreateError, Created, JobId, Language, Translate};

use crate::{
    error::{EnsureError, LedgerError},
    intent::Intent,
    store::{Begin, CreationOutcome, Ledger},
    work::{EntryId, KnownWork},
};

/// Makes sure that there is a job for each language of the request: reuses the jobs that the ledger has,
/// and creates the others. The same call after a crash continues where it stopped, and pays only once.
/// Await the result.
///
/// The ledger stores the intent before the request is sent, and the outcome after it. If the future is
/// dropped after the request was sent, the ledger keeps the entry with an unknown outcome.
///
/// ```no_run
/// # async fn example(client: akool::Client) -> Result<(), akool_ledger::EnsureError> {
/// use akool_ledger::{LedgerFile, ensure};
///
/// let ledger = LedgerFile::at("state/ledger.jsonl");
/// let translate = client.translate("https://example.com/talk.mp4").to(["es", "fr"]);
/// let ensured = ensure(&ledger, translate).await;
/// println!("{} languages have been created before", ensured.known.len());
/// let jobs = ensured.into_jobs()?;
/// # Ok(())
/// # }
/// ```
pub fn ensure(ledger: &dyn Ledger, translate: Translate) -> Ensure<'_> {
    Ensure { ledger, translate, allow_duplicate: false }
}

/// A request made by [`ensure()`].
#[derive(Clone, Debug)]
#[must_use = "nothing is created until this is awaited"]
pub struct Ensure<'a> {
    ledger: &'a dyn Ledger,
    translate: Translate,
    allow_duplicate: bool,
}

impl Ensure<'_> {
    /// Creates and pays for the jobs even if the ledger has the same work already.
    pub fn allow_duplicate(mut self) -> Self {
        self.allow_duplicate = true;
        self
    }

    async fn run(mut self) -> Ensured {
        let mut known: Vec<KnownWork> = Vec::new();
        let sent = loop {
            match self.begin().await {
                Ok(Begin::Written(entry)) => break Some(self.send(entry).await),
                Ok(Begin::AlreadyThere(work)) => {
                    let before = self.translate.languages().len();
                    let is_known = |language: &Language| work.iter().any(|work| work.language.is(language));
                    self.translate = self.translate.retain_languages(|language| !is_known(language));
                    let left = self.translate.languages().len();
                    known.extend(work);
                    if left == 0 {
                        break None;
                    }
                    if left == before {
                        let error = "the ledger returned work in other languages than the requested ones";
                        break Some(Err(LedgerError::new(error).into()));
                    }
                }
                Err(error) => break Some(Err(error)),
            }
        };
        Ensured { known, sent }
    }

    /// Stores the intent.
    async fn begin(&self) -> Result<Begin, EnsureError> {
        let intent = Intent::of(&self.translate, self.allow_duplicate)?;
        Ok(self.ledger.begin(&intent).await?)
    }

    /// Sends the request, and stores its outcome.
    async fn send(self, entry: EntryId) -> Result<Created, EnsureError> {
        let mut guard = Guard { request: Some((self.ledger, &entry)) };
        let sent = self.translate.send().await;
        guard.request = None;
        drop(guard);
        let recorded = self.ledger.record(&entry, &CreationOutcome::of(&sent)).await;
        match (sent, recorded) {
            (Ok(created), Ok(())) => Ok(created),
            (Ok(created), Err(error)) => Err(EnsureError::Unrecorded { created, source: error }),
            (Err(error @ CreateError::OutcomeUnknown(_)), _) => {
                Err(EnsureError::OutcomeUnknown { entry, source: error })
            }
            (Err(error), _) => Err(EnsureError::NotCreated(error)),
        }
    }
}

impl<'a> IntoFuture for Ensure<'a> {
    type Output = Ensured;
    type IntoFuture = Pin<Box<dyn Future<Output = Ensured> + Send + 'a>>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(self.run())
    }
}

/// Tells the ledger if the future is dropped while the request is being made.
struct Guard<'a> {
    request: Option<(&'a dyn Ledger, &'a EntryId)>,
}

impl Drop for Guard<'_> {
    fn drop(&mut self) {
        if let Some((ledger, entry)) = self.request {
            ledger.abandon(entry);
        }
    }
}

/// The result of [`ensure()`].
#[derive(Debug)]
#[non_exhaustive]
pub struct Ensured {
    /// The work that the ledger had already: jobs, or work whose outcome is unknown or not known yet.
    pub known: Vec<KnownWork>,
    /// The result of the request for the rest. `None` if the ledger had everything.
    pub sent: Option<Result<Created, EnsureError>>,
}

impl Ensured {
    /// Returns the ids of all jobs, those that the ledger had first.
    ///
    /// # Errors
    /// If there is not a job for every language: the rest was not created, or only in part, or an
    /// outcome is unknown. The ledger keeps the jobs that exist.
    pub fn into_jobs(self) -> Result<Vec<JobId>, EnsureError> {
        let created = self.sent.transpose()?;
        if let Some(created) = created.as_ref().filter(|created| !created.is_complete()) {
            return Err(EnsureError::Partly(created.clone()));
        }
        if self.known.iter().any(|work| work.job.is_none()) {
            return Err(EnsureError::AlreadyThere(self.known));
        }
        let created = created.into_iter().flat_map(|created| created.jobs).map(|job| job.id);
        Ok(self.known.into_iter().filter_map(|work| work.job).chain(created).collect())
    }
}
