//! A fleet as a [`Place`](super::Place): [`Remote`]. It creates, records and polls; this process only asks it.

use std::{
    sync::Arc,
    time::{Duration, SystemTime},
};

use akool::{
    BusinessCode, Created, CreatedJob, End, ErrorKind, JobId, Language, LastKnown, PollState, Rejection,
    Snapshot, Status, Update, WaitError,
};
use akool_ledger::{EnsureEvent, EntryId, LedgerJob, Work, WorkOutcome};
use akool_restate::{
    Creation, Fleet, FleetError, JobView, NotCreated, Outcome as FleetOutcome, WaitEnd, WaitOptions, WorkId,
    WorkView,
};
use futures_util::{
    StreamExt, TryStreamExt,
    future::{BoxFuture, join_all},
    stream::{self, FuturesUnordered},
};
use tokio::{
    sync::{Semaphore, mpsc},
    time::{Instant, sleep_until, timeout_at},
};

use super::{Event, Listed, Polled, Requested, WaitSettings, Wanted};
use crate::{
    connect::Addressed,
    outcome::Outcome,
    reported::{Failure, Known},
    text::with_causes,
};

/// How many calls of the fleet are under way at a time.
const MAX_CALLS: usize = 16;
/// How long an ingress address may take to answer when the program starts.
const START: Duration = Duration::from_secs(10);
/// A job is asked for again when its next poll is due, and this much later.
const AFTER_POLL: Duration = Duration::from_millis(100);
const SHORTEST: Duration = Duration::from_millis(200);
/// A webhook may have brought the next poll forward.
const LONGEST: Duration = Duration::from_secs(30);
/// A request takes at most so long, so that an older one has no worker any more.
const LONGEST_REQUEST: Duration = Duration::from_secs(180);

pub(crate) struct Remote(Fleet);

impl Remote {
    /// Checks that an address answers, so that a wrong one is known at once.
    pub(super) async fn open(fleet: &Addressed) -> Result<Self, Failure> {
        let Addressed { fleet, http, addresses } = fleet;
        let answers = addresses.iter().map(async |address| {
            let mut url = address.clone();
            url.set_path(&format!("{}/restate/health", address.path().trim_end_matches('/')));
            http.get(url).timeout(START).send().await.err()
        });
        let errors: Option<Vec<_>> = join_all(answers).await.into_iter().collect();
        let Some(error) = errors.and_then(|errors| errors.into_iter().next()) else {
            return Ok(Self(fleet.clone()));
        };
        let tried: Vec<_> = addresses.iter().map(akool::redact::link).collect();
        Err(Failure {
            kind: ErrorKind::Connect.name().to_owned(),
            text: format!(
                "no address of the fleet answers ({}): {}",
                tried.join(", "),
                with_causes(&error.without_url())
            ),
            help: Some(
                "check that the Restate server runs, and the ingress addresses of --fleet or AKOOL_FLEET"
                    .to_owned(),
            ),
            outcome: Outcome::Unreachable,
        })
    }

    /// Creates the job of each language that has none.
    pub(super) async fn create(
        &self,
        wanted: Wanted,
        mut on_event: impl FnMut(EnsureEvent<'_>),
    ) -> Requested {
        let Wanted { request, allow_duplicate, waits, .. } = wanted;
        let options = options(&waits);
        let mut requested = Requested::default();
        let works = match akool_restate::Work::of(&request) {
            Ok(works) => works,
            Err(invalid) => {
                let failure = Failure {
                    kind: "usage".to_owned(),
                    text: invalid.to_string(),
                    help: None,
                    outcome: Outcome::Usage,
                };
                let languages = request.languages().iter().cloned();
                requested.failed = languages.map(|language| (language, failure.clone())).collect();
                return requested;
            }
        };
        let creations = works.iter().map(async |work| {
            let created = match allow_duplicate {
                true => self.0.create_duplicate(work, options.clone()).await,
                false => self.0.create(work, options.clone()).await,
            };
            (work, created)
        });
        let mut created = Created::new(Vec::new(), Vec::new(), Vec::new());
        for (work, creation) in join_all(creations).await {
            let language = work.language();
            let entry = EntryId::from(work.id().as_str());
            match creation {
                Ok(Creation::Created(new)) if new.is_reused => {
                    let requested_at = time(new.created_ms);
                    let mut job = LedgerJob::from(CreatedJob::new(new.job));
                    (job.language, job.created_at) = (Some(language.clone()), requested_at);
                    (job.status, job.credits_held) = (new.status, new.credits_held);
                    let outcome = WorkOutcome::Created(job);
                    let known = Work::new(entry, Some(language), work.source(), requested_at, outcome);
                    requested.ensured.known.push(known);
                }
                Ok(Creation::Created(new)) => {
                    if let Some(replaced) = new.replaces {
                        let mut failed = LedgerJob::from(CreatedJob::new(replaced.job));
                        (failed.language, failed.created_at) =
                            (Some(language.clone()), time(replaced.ended_ms));
                        failed.error_reason = replaced.reason;
                        on_event(EnsureEvent::CreatingAgain(&failed));
                    }
                    let mut job = CreatedJob::new(new.job);
                    (job.language, job.status, job.credits_held) =
                        (Some(language), new.status, new.credits_held);
                    created.jobs.push(job);
                }
                Ok(Creation::OutcomeUnknown(unknown)) => {
                    let outcome = WorkOutcome::Unknown { why: Some(unknown.reason) };
                    let known =
                        Work::new(entry, Some(language), work.source(), time(unknown.since_ms), outcome);
                    requested.ensured.known.push(known);
                }
                Ok(Creation::NotCreated(NotCreated { code: Some(code), message, .. })) => {
                    let mut rejection = Rejection::new(BusinessCode(code), message);
                    rejection.language = Some(language);
                    created.rejected.push(rejection);
                }
                Ok(Creation::NotCreated(not)) => requested.failed.push((language, not_created(not))),
                Ok(_) => requested.failed.push((language, newer_release())),
                Err(error) => requested.failed.push((language, failure(&error))),
            }
        }
        if !(created.jobs.is_empty() && created.rejected.is_empty()) {
            requested.ensured.sent = Some(Ok(created));
        }
        requested
    }

    /// The fleet's jobs, and the works whose outcome is unknown.
    pub(super) async fn works(&self, listed: Listed) -> Result<Vec<Work>, Failure> {
        let (jobs, unknown) = (self.0.jobs().await.map_err(error)?, self.0.unknown().await.map_err(error)?);
        let unknown = stream::iter(unknown).map(async |view| {
            let is_claimed = self.0.creation(&view.id).await?.is_some_and(|view| view.creation.is_none());
            Ok(of_unknown(view, is_claimed))
        });
        let unknown: Vec<_> = unknown.buffered(MAX_CALLS).try_collect().await.map_err(error)?;
        let works = jobs.into_iter().map(of_job).chain(unknown);
        let mut works: Vec<_> = works.filter(|work| listed == Listed::All || work.is_pending()).collect();
        works.sort_by_key(|work| std::cmp::Reverse(work.requested_at));
        Ok(works)
    }

    pub(super) async fn adopt(
        &self,
        entry: &EntryId,
        language: Option<&Language>,
        job: &JobId,
    ) -> Result<Option<Vec<Language>>, Failure> {
        let work = WorkId::from_text(entry.as_str());
        let Some(view) = self.0.creation(&work).await.map_err(error)? else { return Ok(None) };
        if !is_in(&view, language) {
            return Ok(None);
        }
        self.0.adopt(&work, job).await.map_err(error)?;
        Ok(Some(language_of(&view).into_iter().collect()))
    }

    pub(super) async fn forget(
        &self,
        name: &str,
        entry: &EntryId,
        language: Option<&Language>,
    ) -> Result<bool, Failure> {
        let job = JobId::from(name);
        if let Some(view) = self.0.job(&job).await.map_err(error)? {
            self.0.forget_job(&job).await.map_err(error)?;
            // Otherwise the same work would find this job again. It still finds its other jobs.
            if let Some(work) = view.work {
                self.0.forget_job_of(&work, &job).await.map_err(error)?;
            }
            return Ok(true);
        }
        let work = WorkId::from_text(entry.as_str());
        match self.0.creation(&work).await.map_err(error)? {
            Some(view) if is_in(&view, language) => self.0.forget_work(&work).await.map_err(error),
            _ => Ok(false),
        }
    }

    pub(super) async fn label(
        &self,
        ids: impl IntoIterator<Item = JobId>,
        label: impl Fn(&JobId, Option<&Language>, Option<&str>),
    ) {
        let views = stream::iter(ids).map(async |id| self.0.job(&id).await);
        let mut views = std::pin::pin!(views.buffered(MAX_CALLS));
        while let Some(view) = views.next().await {
            if let Ok(Some(JobView { job, language, source, .. })) = view {
                let source = Some(source).filter(|source| !source.is_empty());
                label(&job, language.map(Language::from).as_ref(), source.as_deref());
            }
        }
    }

    pub(super) async fn poll(&self, job: &JobId) -> Result<Polled, Failure> {
        let Some(view) = self.0.job(job).await.map_err(error)? else {
            return Err(Failure {
                kind: ErrorKind::UnknownJob.name().to_owned(),
                text: format!("job {job}: the fleet does not know it"),
                help: Some(format!(
                    "check the id; `akool wait {job}` with the same fleet makes it wait for the job"
                )),
                outcome: Outcome::Unexpected,
            });
        };
        let (status, progress) = (view.status, view.progress);
        Ok(match view.outcome.and_then(|outcome| outcome.snapshot) {
            Some(snapshot) => Polled::Snapshot(Box::new(snapshot)),
            None => Polled::Known(Known { status, progress }),
        })
    }

    pub(super) fn waits(&self, settings: &WaitSettings) -> Waits {
        let (sender, events) = mpsc::unbounded_channel();
        Waits {
            job: Waiting {
                fleet: self.0.clone(),
                options: options(settings),
                timeout: settings.timeout,
                calls: Arc::new(Semaphore::new(MAX_CALLS)),
                events: sender,
            },
            running: FuturesUnordered::new(),
            events,
        }
    }
}

/// The waits of this process, each of which asks the fleet when the next poll of its job was due.
pub(crate) struct Waits {
    job: Waiting,
    running: FuturesUnordered<BoxFuture<'static, ()>>,
    events: mpsc::UnboundedReceiver<(JobId, Event)>,
}

/// What each of them needs.
#[derive(Clone)]
struct Waiting {
    fleet: Fleet,
    options: WaitOptions,
    timeout: Option<Duration>,
    calls: Arc<Semaphore>,
    events: mpsc::UnboundedSender<(JobId, Event)>,
}

impl Waits {
    pub(super) fn insert(&mut self, job: JobId) {
        let waiting = self.job.clone();
        self.running.push(Box::pin(async move {
            let end = match waiting.end_of(&job).await {
                Ok(event) => event,
                Err(error) => Event::Failed(failure(&error)),
            };
            let _ = waiting.events.send((job, end));
        }));
    }

    pub(super) async fn next(&mut self) -> Option<(JobId, Event)> {
        loop {
            if let Ok(event) = self.events.try_recv() {
                return Some(event);
            }
            if self.running.is_empty() {
                return None;
            }
            tokio::select! {
                biased;
                Some(event) = self.events.recv() => return Some(event),
                _ = self.running.next() => {}
            }
        }
    }
}

impl Waiting {
    async fn end_of(&self, job: &JobId) -> Result<Event, FleetError> {
        let began = Instant::now();
        let deadline = self.timeout.and_then(|timeout| began.checked_add(timeout));
        // It may not know the job, or its wait may have ended before the job. While a poll fails again and again, it does
        // not answer this.
        let watch = self.call(self.fleet.watch(job, self.options.clone()));
        match deadline {
            None => watch.await?,
            Some(deadline) => match timeout_at(deadline.max(began + START), watch).await {
                Ok(watched) => watched?,
                Err(_) => return Ok(timed_out(job, began.elapsed(), |_| {})),
            },
        }
        let mut last = Known { status: None, progress: None };
        loop {
            let Some(view) = self.call(self.fleet.job(job)).await? else {
                return Err(FleetError::NotFound(format!("job {job}: someone removed it from the fleet")));
            };
            if let Some(outcome) = view.outcome {
                return Ok(ended(job, outcome));
            }
            let known = Known { status: view.status, progress: view.progress };
            if known != last {
                let _ = self.events.send((job.clone(), Event::Known(known)));
                last = known;
            }
            let now = Instant::now();
            if deadline.is_some_and(|deadline| deadline <= now) {
                return Ok(timed_out(job, now - began, |last| {
                    (last.attempts, last.status, last.progress) = (view.attempts, view.status, view.progress);
                    last.last_error = view.last_error;
                }));
            }
            let due = view.next_poll_ms.map_or(Duration::ZERO, |due| {
                time(due).duration_since(SystemTime::now()).unwrap_or_default()
            });
            let next = now + due.saturating_add(AFTER_POLL).clamp(SHORTEST, LONGEST);
            sleep_until(deadline.map_or(next, |deadline| next.min(deadline))).await;
        }
    }

    async fn call<T>(&self, call: impl Future<Output = Result<T, FleetError>>) -> Result<T, FleetError> {
        // The semaphore is never closed.
        let _permit = self.calls.acquire().await;
        call.await
    }
}

/// How the fleet is to wait. It decides itself how many polls it makes per second.
fn options(settings: &WaitSettings) -> WaitOptions {
    let options =
        WaitOptions::default().timeout(settings.timeout).max_failures(settings.policy.max_failures());
    match settings.interval {
        Some(interval) => options.interval(interval),
        None => options,
    }
}

/// The event of a wait that the fleet has ended.
fn ended(job: &JobId, outcome: FleetOutcome) -> Event {
    let waited = Duration::from_millis(outcome.waited_ms);
    let finished = |end: End, snapshot: Snapshot| {
        let result = end.result(job, &PollState::new(0), waited, Some(Ok(snapshot)));
        Event::Update(Box::new(Update::Finished(result)))
    };
    match (outcome.end, outcome.snapshot) {
        (WaitEnd::Completed, Some(snapshot)) => finished(End::Completed, snapshot),
        (WaitEnd::Failed, Some(snapshot)) => finished(End::Failed, snapshot),
        (WaitEnd::Timeout, _) => timed_out(job, waited, |last| {
            (last.attempts, last.failures) = (outcome.attempts, outcome.failures);
            (last.status, last.progress) = (outcome.status, outcome.progress);
        }),
        (end, _) => {
            let outcome_of_run = match (end, outcome.error_kind.as_deref()) {
                (WaitEnd::RetriesExhausted, _) => Outcome::Unreachable,
                (_, Some("credentials_refused")) => Outcome::CredentialsRefused,
                _ => Outcome::Unexpected,
            };
            Event::Failed(Failure {
                kind: outcome.error_kind.unwrap_or_else(|| "not_completed".to_owned()),
                text: outcome.message.unwrap_or_else(|| format!("job {job}: the wait of the fleet ended")),
                help: outcome.help,
                outcome: outcome_of_run,
            })
        }
    }
}

/// The event of a wait whose timeout passed. `set` sets what is known of the job.
fn timed_out(job: &JobId, waited: Duration, set: impl FnOnce(&mut LastKnown)) -> Event {
    let mut result = End::Timeout.result(job, &PollState::new(0), waited, None);
    if let Err(WaitError::Timeout { last, .. }) = &mut result {
        set(last);
    }
    Event::Update(Box::new(Update::Finished(result)))
}

fn of_job(view: JobView) -> Work {
    let began = time(view.began_ms);
    let mut job = LedgerJob::from(CreatedJob::new(view.job.clone()));
    job.language = view.language.map(Language::from);
    (job.created_at, job.status, job.credits_held) = (began, view.status, view.credits_held);
    if let Some(outcome) = &view.outcome {
        job.changed_at = Some(time(outcome.ended_ms));
        if let Some(snapshot) = &outcome.snapshot {
            job.error_reason = snapshot.error_reason().map(ToOwned::to_owned);
            job.credits_charged =
                snapshot.credits_charged().filter(|_| snapshot.status() == Status::Completed);
        }
    }
    let entry = view.work.as_ref().map_or(view.job.as_str(), WorkId::as_str);
    Work::new(entry, job.language.clone(), view.source, began, WorkOutcome::Created(job))
}

/// `is_claimed`: a request is under way, or its worker died.
fn of_unknown(view: WorkView, is_claimed: bool) -> Work {
    let language = language_of(&view);
    let entry = EntryId::from(view.id.as_str());
    match view.creation {
        Some(Creation::OutcomeUnknown(unknown)) => {
            let since = time(unknown.since_ms);
            let is_recent = since.elapsed().is_ok_and(|age| age < LONGEST_REQUEST);
            let outcome = match is_claimed && is_recent {
                true => WorkOutcome::InFlight,
                false => WorkOutcome::Unknown { why: Some(unknown.reason) },
            };
            Work::new(entry, language, unknown.source, since, outcome)
        }
        _ => Work::new(entry, language, "", SystemTime::now(), WorkOutcome::InFlight),
    }
}

fn language_of(view: &WorkView) -> Option<Language> {
    match &view.creation {
        Some(Creation::OutcomeUnknown(unknown)) if !unknown.language.is_empty() => {
            Some(Language::from(unknown.language.as_str()))
        }
        _ => None,
    }
}

/// Whether the work is in this language. A work has only one, so that it need not be named.
fn is_in(view: &WorkView, language: Option<&Language>) -> bool {
    match (language, language_of(view)) {
        (Some(named), Some(own)) => own.is(named),
        _ => true,
    }
}

fn time(ms: u64) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_millis(ms)
}

fn error(error: FleetError) -> Failure {
    failure(&error)
}

fn failure(error: &FleetError) -> Failure {
    let (kind, outcome) = match error {
        FleetError::NoAnswer(_) => ("connect", Outcome::Unreachable),
        FleetError::NoWorker(_) => ("unavailable", Outcome::Unreachable),
        FleetError::NotFound(_) => ("unknown_job", Outcome::Unexpected),
        FleetError::Refused { .. } => ("rejected", Outcome::Unexpected),
        FleetError::Config(_) => ("usage", Outcome::Usage),
        _ => ("undecodable", Outcome::Unreachable),
    };
    let help = Some(error.help().to_owned());
    Failure { kind: kind.to_owned(), text: with_causes(error), help, outcome }
}

fn not_created(not: NotCreated) -> Failure {
    let outcome = match not.kind.as_str() {
        "credentials_refused" => Outcome::CredentialsRefused,
        "invalid" => Outcome::Usage,
        _ if not.is_retryable => Outcome::Unreachable,
        _ => Outcome::Unexpected,
    };
    let help = Some(not.help).filter(|help| !help.is_empty());
    let kind = match not.kind.as_str() {
        "invalid" => "usage".to_owned(),
        "not_sent" => ErrorKind::Unavailable.name().to_owned(),
        _ => not.kind,
    };
    Failure { kind, text: not.message, help, outcome }
}

fn newer_release() -> Failure {
    Failure {
        kind: "undecodable".to_owned(),
        text: "the fleet answered with something that this release does not know".to_owned(),
        help: Some("use the release of the workers".to_owned()),
        outcome: Outcome::Unexpected,
    }
}
