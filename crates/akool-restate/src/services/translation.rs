//! `Translation`: creates the job of one work, at most once. The key is the work's id.

use std::{sync::Arc, time::Duration};

use akool::{CreateError, JobId, redact};
use restate_sdk::prelude::*;
use serde::{Deserialize, Serialize};
use tracing::{Instrument as _, debug_span};

use super::{
    job::{JobClient, Start as StartJob},
    work_state::{WorkState, adopted},
};
use crate::{
    claim::{self, Claim, Permission, Start, Stored, Token},
    context::Shared,
    headers::{accepted, refuse_pages},
    model::{CreatedWork, Creation, NotCreated, Replaced, WaitEnd, WaitOptions, WorkView, millis},
    permits::{Permit, now_ms},
    work::{Work, WorkId},
};

const STATE: &str = "work";
/// How far the clocks of workers may differ, in milliseconds.
const MAX_SKEW_MS: u64 = 5_000;

/// A request to create.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Create {
    pub(crate) work: Work,
    #[serde(default)]
    pub(crate) options: WaitOptions,
    /// Create and pay for another job if there is one already.
    #[serde(default)]
    pub(crate) allow_duplicate: bool,
    /// Differs between calls, and is the same if one is repeated, however late.
    #[serde(default)]
    pub(crate) call: String,
}

/// A request to forget.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Forget {
    /// Forget only this job.
    pub(crate) job: Option<JobId>,
}

/// What became of one round.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Sent {
    Created(CreatedWork),
    NotCreated(NotCreated),
    Unknown {
        reason: String,
        /// Until when another attempt may still send the request.
        #[serde(default)]
        late_until_ms: u64,
    },
}

impl Sent {
    fn unknown(reason: impl Into<String>) -> Self {
        Self::Unknown { reason: reason.into(), late_until_ms: 0 }
    }
}

/// Until when an attempt that was given up before this time may still send its request. The clocks of workers may differ.
fn late_until(now_ms: u64) -> u64 {
    now_ms.saturating_add(millis(claim::MAX_CLAIM_AGE)).saturating_add(MAX_SKEW_MS)
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
        let Create { work, options, allow_duplicate, call } = create.0;
        let options = accepted(options, ctx.headers())?;
        if work.id().as_str() != ctx.key() {
            return Err(TerminalError::new_with_code(400, "the work belongs to another key").into());
        }
        let mut state = ctx.get::<Json<WorkState>>(STATE).await?.unwrap_or_default().0;
        // A call that is repeated is not another one, even if the engine has forgotten its response.
        let is_repeated = !call.is_empty() && call == state.call;
        let mut replaces = None;
        if let Some(Stored::Done(Creation::Created(created))) = state.stored(false)
            && (!allow_duplicate || is_repeated)
        {
            let failed = existing(&ctx, &state, &created.job, &options).await?;
            replaces = failed.filter(|_| !is_repeated);
        }
        let is_again = !is_repeated && (allow_duplicate || replaces.is_some());
        (state.source, state.language) = (work.source(), work.language().code().to_owned());
        state.credential = Some(work.credential().to_owned());
        let mut rounds = 0;
        loop {
            match claim::start(state.stored(is_again), false) {
                Start::Return(creation) => return Ok(Json(creation)),
                Start::OutcomeUnknown => {
                    count_unknown();
                    state.late_until_ms = late_until(ctx.run(now).name("now").await?);
                    let reason = "an earlier call was ended between its claim and its outcome";
                    let unknown = state.record(Creation::OutcomeUnknown(state.unknown(reason)));
                    ctx.set(STATE, Json(state));
                    return Ok(Json(unknown));
                }
                Start::Leave | Start::Claim => {}
            }
            // Not in the middle of a pause, and within the rate.
            let mut sent_back = 0_u32;
            state.claimed_ms = loop {
                let (worker, name) = (Arc::clone(&self.0), work.credential().to_owned());
                let Json((wait_ms, now_ms)) = ctx.run(|| permit(worker, name)).name("permit").await?;
                if wait_ms == 0 {
                    break now_ms;
                }
                // Each wait adds to the journal, so that they get longer.
                ctx.sleep(Duration::from_millis(wait_ms.saturating_mul(1 << sent_back.min(4)))).await?;
                sent_back = sent_back.saturating_add(1);
            };
            let (under_way, is_draining) = self.0.creations.begin();
            if claim::start(state.stored(is_again), is_draining) == Start::Leave {
                // Another worker takes it, or this one when it has started again.
                return Err("this worker is about to stop".into());
            }
            let claim = Claim::new(fastrand::u64(..), self.0.now());
            let token = claim.token();
            tracing::debug!(source = state.source, "claiming");
            state.is_claimed = true;
            state.options.clone_from(&options);
            ctx.set(STATE, Json(state.clone()));
            // This returns when the engine has stored it: an attempt that repeats this one gets this token.
            let Json(recorded) = ctx.run(async move || Ok(Json(token))).name("claim").await?;
            let (worker, sent_work) = (Arc::clone(&self.0), work.clone());
            let span = debug_span!(parent: None, "akool.fleet.create", work = %work.id());
            let span = self.0.traced(span, options.traceparent.as_deref());
            let send = || send(worker, sent_work, claim, recorded).instrument(span);
            let Json(sent) = ctx.run(send).name("create").await?;
            tracing::debug!(source = state.source, "recorded");
            rounds += 1;
            match sent {
                Sent::Created(created) => {
                    state.call = call;
                    let created = CreatedWork { replaces, ..created };
                    let creation = state.record(Creation::Created(created.clone()));
                    let origin = state.origin(ctx.key(), created.credits_held);
                    ctx.set(STATE, Json(state));
                    let start = Json(StartJob { options, origin });
                    // Callers who get the id may wait for the job at once.
                    ctx.object_client::<JobClient<'_>>(created.job.as_str()).start(start).call().await?;
                    return Ok(Json(creation));
                }
                Sent::Unknown { reason, late_until_ms } => {
                    state.call = call;
                    let creation = state.record(Creation::OutcomeUnknown(state.unknown(&reason)));
                    state.late_until_ms = late_until_ms;
                    ctx.set(STATE, Json(state));
                    return Ok(Json(creation));
                }
                Sent::NotCreated(not) => {
                    state.is_claimed = false;
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
            }
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
        if job.is_empty() {
            return Err(TerminalError::new_with_code(400, "the id of the job is empty").into());
        }
        let job = JobId::from(job);
        // No other call runs, so one that left a claim has ended.
        let is_unknown = state.is_claimed || matches!(state.creation, Some(Creation::OutcomeUnknown(_)));
        if !is_unknown {
            if state.jobs().any(|known| *known == job) {
                return Ok(Json(state.creation.unwrap_or_else(|| Creation::Created(adopted(job, 0)))));
            }
            let message = "the outcome of this creation is not unknown";
            return Err(TerminalError::new_with_code(409, message).into());
        }
        let creation = state.record(Creation::Created(adopted(job.clone(), state.claimed_ms)));
        let origin = state.origin(ctx.key(), None);
        // The callers of the creation did not learn the id, so the fleet tells them the outcome as they asked.
        let start = Json(StartJob { options: state.options.clone(), origin });
        ctx.set(STATE, Json(state));
        ctx.object_client::<JobClient<'_>>(job.as_str()).start(start).call().await?;
        Ok(Json(creation))
    }

    /// Forgets the work, or one of its jobs, so that it can be created, and paid for, again. While an attempt may
    /// still send its request, this waits.
    #[handler]
    async fn forget(&self, ctx: ObjectContext<'_>, forget: Json<Forget>) -> HandlerResult<()> {
        refuse_pages(ctx.headers())?;
        let Some(Json(mut state)) = ctx.get::<Json<WorkState>>(STATE).await? else {
            return Err(unknown_work().into());
        };
        let job = forget.0.job;
        if job.is_none() && (state.is_claimed || state.late_until_ms > 0) {
            let now_ms = ctx.run(now).name("now").await?;
            let late_until_ms = if state.is_claimed { late_until(now_ms) } else { state.late_until_ms };
            let late_ms = late_until_ms.saturating_sub(now_ms).min(late_until(0));
            ctx.sleep(Duration::from_millis(late_ms)).await?;
            state.late_until_ms = 0;
        }
        match state.forget(job.as_ref()) {
            Some(state) => ctx.set(STATE, Json(state)),
            None => ctx.clear(STATE),
        }
        Ok(())
    }
}

async fn now() -> HandlerResult<u64> {
    Ok(now_ms())
}

/// Continues the wait of a job that exists. Returns the job if it has failed, so that nothing is held for it.
async fn existing(
    ctx: &ObjectContext<'_>,
    state: &WorkState,
    job: &JobId,
    options: &WaitOptions,
) -> HandlerResult<Option<Replaced>> {
    // This does not wait for a poll that is under way. An error means that nobody waits for the job.
    let view = ctx.object_client::<JobClient<'_>>(job.as_str()).outcome().call().await.ok();
    let outcome = view.map(|Json(view)| view.outcome);
    match outcome {
        Some(Some(outcome)) if outcome.end == WaitEnd::Failed => {
            let reason = outcome.snapshot.as_ref().and_then(|snapshot| snapshot.error_reason());
            let reason = reason.map(ToOwned::to_owned);
            return Ok(Some(Replaced { job: job.clone(), ended_ms: outcome.ended_ms, reason }));
        }
        Some(Some(outcome)) if outcome.end == WaitEnd::Completed => {}
        Some(None) if options.interval_ms.is_none() => {}
        // Forgotten, ended before the job, or with another interval.
        _ => {
            let start = StartJob { options: options.clone(), origin: state.origin(ctx.key(), None) };
            ctx.object_client::<JobClient<'_>>(job.as_str()).start(Json(start)).send();
        }
    }
    Ok(None)
}

/// Waits for a permit. Returns how long to wait if there is none soon, and the time, both in milliseconds. Without the
/// credential, `send` says so.
async fn permit(worker: Arc<Shared>, name: String) -> HandlerResult<Json<(u64, u64)>> {
    let Some(account) = worker.accounts.get(&name) else { return Ok(Json((0, now_ms()))) };
    let permit = worker.permit(account).await?;
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
        let message =
            format!("the worker has no credential named \"{}\"", redact::excerpt(work.credential()));
        let help = "name a credential that the workers have, or start workers with it";
        return Ok(Json(Sent::NotCreated(NotCreated { help: help.to_owned(), ..not_sent(&message) })));
    };
    let request = work.translate(&account.client);
    match claim.permission(recorded, worker.now()) {
        Permission::Send => tracing::debug!(source = work.source(), at_ms = now_ms(), "creating"),
        Permission::EarlierAttempt => {
            count_unknown();
            let reason =
                "an earlier attempt may have sent the request before its worker, or the engine, stopped";
            let late_until_ms = late_until(now_ms());
            return Ok(Json(Sent::Unknown { reason: reason.to_owned(), late_until_ms }));
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
                replaces: None,
            }),
            (None, Some(rejection)) => Sent::NotCreated(NotCreated {
                kind: akool::ErrorKind::Rejected.name().to_owned(),
                code: Some(rejection.code.0),
                message: rejection.to_string(),
                help: akool::ErrorKind::Rejected.help().to_owned(),
                is_retryable: false,
                retry_after_ms: None,
            }),
            (None, None) => Sent::unknown("the response names no job and no reason"),
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
        return Sent::unknown(error.to_string());
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

fn unknown_work() -> TerminalError {
    TerminalError::new_with_code(404, "the fleet knows no such work")
}
