//! `Translation`: creates the job of one work, at most once. The key is the work's id.

use std::{sync::Arc, time::Duration};

use akool::{CreateError, JobId};
use restate_sdk::prelude::*;
use serde::{Deserialize, Serialize};

use super::job::{JobClient, Start as StartJob};
use crate::{
    claim::{self, Claim, Permission, Start, Stored, Token},
    context::{Shared, refuse_pages, with_trace},
    model::{CreatedWork, Creation, NotCreated, Unknown, WaitOptions, WorkView, millis},
    permits::{Permit, now_ms},
    step::Origin,
    work::{Work, WorkId},
};

const STATE: &str = "work";

/// A request to create.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Create {
    pub(crate) work: Work,
    #[serde(default)]
    pub(crate) options: WaitOptions,
    /// Create and pay for another job if there is one already.
    #[serde(default)]
    pub(crate) allow_duplicate: bool,
}

/// What the engine stores of a work.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct WorkState {
    /// An attempt is, or was, between its claim and its outcome.
    pub(crate) is_claimed: bool,
    /// When it was claimed last, in milliseconds since the Unix epoch.
    pub(crate) claimed_ms: u64,
    /// The last outcome. Never [`Creation::NotCreated`], which does not stop a later creation.
    pub(crate) creation: Option<Creation>,
    /// All jobs that were created.
    pub(crate) jobs: Vec<JobId>,
    pub(crate) source: String,
    pub(crate) language: String,
    pub(crate) credential: Option<String>,
}

impl WorkState {
    fn stored(&self, allow_duplicate: bool) -> Option<Stored<Creation>> {
        match &self.creation {
            _ if self.is_claimed => Some(Stored::Claimed),
            Some(Creation::Created(_)) if allow_duplicate => None,
            Some(Creation::Created(created)) => {
                Some(Stored::Done(Creation::Created(CreatedWork { is_reused: true, ..created.clone() })))
            }
            other => other.clone().map(Stored::Done),
        }
    }

    pub(crate) fn unknown(&self, reason: &str) -> Unknown {
        Unknown {
            since_ms: self.claimed_ms,
            reason: reason.to_owned(),
            source: self.source.clone(),
            language: self.language.clone(),
        }
    }

    pub(crate) fn view(self, id: WorkId) -> WorkView {
        let creation = match (&self.creation, self.is_claimed) {
            (_, true) => None,
            (creation, false) => creation.clone(),
        };
        WorkView { id, creation, jobs: self.jobs }
    }

    fn origin(&self, id: &str, credits_held: Option<f64>) -> Origin {
        Origin {
            credential: self.credential.clone().unwrap_or_else(|| Origin::default().credential),
            work: Some(WorkId::from_text(id)),
            language: (!self.language.is_empty()).then(|| self.language.clone()),
            source: self.source.clone(),
            credits_held,
        }
    }
}

/// What became of one round.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Sent {
    Created(CreatedWork),
    NotCreated(NotCreated),
    Unknown(String),
}

pub(crate) struct Translation(pub(crate) Arc<Shared>);

/// The inactivity timeout must not be zero: an attempt that waits for its claim to be journaled would be suspended, and
/// would resume as another attempt. A request takes at most 2 minutes, so an attempt that hangs is aborted after 4.
#[restate_sdk::object(
    client_visibility = "pub(crate)",
    inactivity_timeout = "1m",
    abort_timeout = "3m",
    idempotency_retention = "10m",
    journal_retention = "0s",
    invocation_retry_policy(
        initial_interval = "50ms",
        factor = 2.0,
        max_interval = "5s",
        max_attempts = 1_000_000_000
    )
)]
impl Translation {
    /// Creates the job, unless there is one, and begins its wait.
    #[handler]
    async fn create(&self, ctx: ObjectContext<'_>, create: Json<Create>) -> HandlerResult<Json<Creation>> {
        refuse_pages(ctx.headers())?;
        let Create { work, options, allow_duplicate } = create.0;
        let options = with_trace(options, ctx.headers());
        if work.id().as_str() != ctx.key() {
            return Err(TerminalError::new_with_code(400, "the work belongs to another key").into());
        }
        let mut state = ctx.get::<Json<WorkState>>(STATE).await?.unwrap_or_default().0;
        (state.source, state.language) = (work.source(), work.language().code().to_owned());
        state.credential = Some(work.credential().to_owned());
        let mut rounds = 0;
        loop {
            match claim::start(state.stored(allow_duplicate), false) {
                Start::Return(creation) => return Ok(Json(creation)),
                Start::OutcomeUnknown => {
                    count_unknown();
                    let reason = "an earlier call was ended between its claim and its outcome";
                    let unknown = Creation::OutcomeUnknown(state.unknown(reason));
                    (state.is_claimed, state.creation) = (false, Some(unknown.clone()));
                    ctx.set(STATE, Json(state));
                    return Ok(Json(unknown));
                }
                Start::Leave | Start::Claim => {}
            }
            // Not in the middle of a pause, and within the rate.
            state.claimed_ms = loop {
                let (worker, name) = (Arc::clone(&self.0), work.credential().to_owned());
                let Json((wait_ms, now_ms)) = ctx.run(|| permit(worker, name)).name("permit").await?;
                if wait_ms == 0 {
                    break now_ms;
                }
                ctx.sleep(Duration::from_millis(wait_ms)).await?;
            };
            let (under_way, is_draining) = self.0.creations.begin();
            if claim::start(state.stored(allow_duplicate), is_draining) == Start::Leave {
                // Another worker takes it, or this one when it has started again.
                return Err("this worker is about to stop".into());
            }
            let claim = Claim::new(fastrand::u64(..), self.0.now());
            let token = claim.token();
            state.is_claimed = true;
            ctx.set(STATE, Json(state.clone()));
            // This returns when the engine has stored it: an attempt that repeats this one gets this token.
            let Json(recorded) = ctx.run(async move || Ok(Json(token))).name("claim").await?;
            let (worker, sent_work) = (Arc::clone(&self.0), work.clone());
            let Json(sent) = ctx.run(|| send(worker, sent_work, claim, recorded)).name("create").await?;
            state.is_claimed = false;
            rounds += 1;
            let creation = match sent {
                Sent::Created(created) => {
                    state.jobs.push(created.job.clone());
                    let creation = Creation::Created(created.clone());
                    state.creation = Some(creation.clone());
                    let origin = state.origin(ctx.key(), created.credits_held);
                    ctx.set(STATE, Json(state));
                    let start = Json(StartJob { options, origin });
                    ctx.object_client::<JobClient<'_>>(created.job.as_str()).start(start).send();
                    return Ok(Json(creation));
                }
                Sent::Unknown(reason) => {
                    let creation = Creation::OutcomeUnknown(state.unknown(&reason));
                    state.creation = Some(creation.clone());
                    creation
                }
                Sent::NotCreated(not) => {
                    ctx.set(STATE, Json(state.clone()));
                    let retry_after = not.retry_after_ms.map(Duration::from_millis);
                    if not.is_retryable
                        && let Some(pause) = claim::pause_before_next(rounds, retry_after)
                    {
                        drop(under_way);
                        ctx.sleep(pause).await?;
                        continue;
                    }
                    if state.creation.is_none() {
                        ctx.clear(STATE);
                    }
                    return Ok(Json(Creation::NotCreated(not)));
                }
            };
            ctx.set(STATE, Json(state));
            return Ok(Json(creation));
        }
    }

    /// What is known of the work.
    #[handler]
    async fn status(&self, ctx: SharedObjectContext<'_>) -> HandlerResult<Json<WorkView>> {
        refuse_pages(ctx.headers())?;
        match ctx.get::<Json<WorkState>>(STATE).await? {
            Some(Json(state)) => Ok(Json(state.view(WorkId::from_text(ctx.key())))),
            None => Err(unknown_work().into()),
        }
    }

    /// Records the job that an operator found for a creation whose outcome is unknown, and begins its wait.
    #[handler]
    async fn adopt(&self, ctx: ObjectContext<'_>, job: String) -> HandlerResult<Json<Creation>> {
        refuse_pages(ctx.headers())?;
        let Some(Json(mut state)) = ctx.get::<Json<WorkState>>(STATE).await? else {
            return Err(unknown_work().into());
        };
        let job = JobId::from(job);
        // No other call runs, so one that left a claim has ended.
        let is_unknown = state.is_claimed || matches!(state.creation, Some(Creation::OutcomeUnknown(_)));
        if !is_unknown {
            let message = if state.jobs.contains(&job) {
                return Ok(Json(state.creation.unwrap_or_else(|| Creation::Created(adopted(job, 0)))));
            } else {
                "the outcome of this creation is not unknown"
            };
            return Err(TerminalError::new_with_code(409, message).into());
        }
        let creation = Creation::Created(adopted(job.clone(), state.claimed_ms));
        (state.is_claimed, state.creation) = (false, Some(creation.clone()));
        state.jobs.push(job.clone());
        let origin = state.origin(ctx.key(), None);
        ctx.set(STATE, Json(state));
        let start = Json(StartJob { options: WaitOptions::default(), origin });
        ctx.object_client::<JobClient<'_>>(job.as_str()).start(start).send();
        Ok(Json(creation))
    }

    /// Forgets the work, so that it can be created, and paid for, again.
    #[handler]
    async fn forget(&self, ctx: ObjectContext<'_>) -> HandlerResult<()> {
        refuse_pages(ctx.headers())?;
        if ctx.get::<Json<WorkState>>(STATE).await?.is_none() {
            return Err(unknown_work().into());
        }
        ctx.clear(STATE);
        Ok(())
    }
}

/// Waits for a permit. Returns how long to wait if there is none soon, and the time, both in milliseconds.
async fn permit(worker: Arc<Shared>, name: String) -> HandlerResult<Json<(u64, u64)>> {
    let permit = worker.permit(worker.account(&name)?).await?;
    let now_ms = now_ms();
    Ok(Json(match permit {
        Permit::Granted => (0, now_ms),
        Permit::Paused(until_ms) | Permit::Later(until_ms) => {
            (until_ms.saturating_sub(now_ms).max(1), now_ms)
        }
    }))
}

/// Sends the request, if this attempt may. Every result is a value: an error would be retried.
async fn send(worker: Arc<Shared>, work: Work, claim: Claim, recorded: Token) -> HandlerResult<Json<Sent>> {
    let Some(account) = worker.accounts.get(work.credential()) else {
        return Ok(Json(Sent::NotCreated(not_sent("this worker has no credential of this name"))));
    };
    let request = work.translate(&account.client);
    match claim.permission(recorded, worker.now()) {
        Permission::Send => tracing::debug!(source = work.source(), at_ms = now_ms(), "creating"),
        Permission::EarlierAttempt => {
            count_unknown();
            let reason =
                "an earlier attempt may have sent the request before its worker, or the engine, stopped";
            return Ok(Json(Sent::Unknown(reason.to_owned())));
        }
        Permission::TooOld => {
            tracing::info!(source = work.source(), "the claim is too old, so nothing is sent");
            return Ok(Json(Sent::NotCreated(not_sent("the worker was held up before it sent the request"))));
        }
    }
    let sent = match request.send().await {
        Ok(created) => match (created.jobs.into_iter().next(), created.rejected.into_iter().next()) {
            (Some(job), _) => Sent::Created(CreatedWork {
                job: job.id,
                created_ms: now_ms(),
                status: job.status,
                credits_held: job.credits_held,
                video_length_ms: job.video_length.map(millis),
                is_reused: false,
            }),
            (None, Some(rejection)) => Sent::NotCreated(NotCreated {
                kind: akool::ErrorKind::Rejected.name().to_owned(),
                code: Some(rejection.code.0),
                message: rejection.to_string(),
                help: akool::ErrorKind::Rejected.help().to_owned(),
                is_retryable: false,
                retry_after_ms: None,
            }),
            (None, None) => Sent::Unknown("the response names no job and no reason".to_owned()),
        },
        Err(error) => {
            if let Some(error) = error.error() {
                worker.note_pause(work.credential(), account, error).await;
            }
            refused(&error)
        }
    };
    Ok(Json(sent))
}

fn refused(error: &CreateError) -> Sent {
    if error.may_have_created() {
        return Sent::Unknown(error.to_string());
    }
    let cause = error.error();
    Sent::NotCreated(NotCreated {
        kind: cause.map_or("invalid", |cause| cause.kind().name()).to_owned(),
        code: cause.and_then(akool::Error::code).map(|code| code.0),
        message: error.to_string(),
        help: error.help().to_owned(),
        is_retryable: cause.is_some_and(akool::Error::is_retryable),
        retry_after_ms: cause.and_then(akool::Error::retry_after).map(millis),
    })
}

/// Counts an outcome that is unknown and that no request returned.
fn count_unknown() {
    #[cfg(feature = "metrics")]
    akool::metrics::record_unknown(1);
}

fn not_sent(message: &str) -> NotCreated {
    NotCreated {
        kind: "not_sent".to_owned(),
        code: None,
        message: message.to_owned(),
        help: "try again".to_owned(),
        is_retryable: true,
        retry_after_ms: None,
    }
}

fn adopted(job: JobId, created_ms: u64) -> CreatedWork {
    CreatedWork { job, created_ms, status: None, credits_held: None, video_length_ms: None, is_reused: true }
}

fn unknown_work() -> TerminalError {
    TerminalError::new_with_code(404, "the fleet knows no such work")
}
