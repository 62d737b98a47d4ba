//! `Job`: the wait for one job, whose id is the key.

use std::sync::Arc;

use akool::JobId;
use restate_sdk::prelude::*;
use serde::{Deserialize, Serialize};
use tracing::{Instrument as _, debug_span};

use super::{
    deliver::{DeliverClient, Delivery},
    files::{FilesClient, Save},
};
use crate::{
    context::Shared,
    headers::{accepted, refuse_pages},
    model::{JobView, Outcome, WaitOptions},
    permits::{Permit, now_ms},
    step::{JobState, Origin, Step},
};

/// The state of the wait, and the awakeables of callers that wait for its end.
const STATE: &str = "job";
const WAITERS: &str = "waiters";
/// How many callers may wait for one job. Each one costs a little with every other.
const MAX_WAITERS: usize = 1_000;

/// How to begin a wait.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Start {
    pub(crate) options: WaitOptions,
    pub(crate) origin: Origin,
}

pub(crate) struct Job(pub(crate) Arc<Shared>);

#[restate_sdk::object(
    client_visibility = "pub(crate)",
    inactivity_timeout = "5s",
    abort_timeout = "2m",
    idempotency_retention = "10m",
    journal_retention = "0s",
    invocation_retry_policy(
        initial_interval = "100ms",
        factor = 2.0,
        max_interval = "10s",
        max_attempts = 1_000_000_000
    )
)]
impl Job {
    /// Begins the wait of a job that the fleet created.
    #[handler(ingress_private)]
    async fn start(&self, ctx: ObjectContext<'_>, start: Json<Start>) -> HandlerResult<()> {
        begin(&ctx, start.0).await
    }

    /// Begins a wait for any job. If there is one already that has not ended before its job, only an interval that is
    /// given changes it.
    #[handler]
    async fn watch(&self, ctx: ObjectContext<'_>, start: Json<Start>) -> HandlerResult<()> {
        refuse_pages(ctx.headers())?;
        let Start { options, origin } = start.0;
        begin(&ctx, Start { options: accepted(options, ctx.headers())?, origin }).await
    }

    /// Polls the job once. A call of an older generation is void: another one is scheduled.
    #[handler(ingress_private)]
    async fn poll(&self, ctx: ObjectContext<'_>, generation: u64) -> HandlerResult<()> {
        let Some(Json(state)) = ctx.get::<Json<JobState>>(STATE).await? else { return Ok(()) };
        if state.generation != generation || state.outcome.is_some() {
            return Ok(());
        }
        let job = JobId::from(ctx.key());
        // What is decided is journaled too, so that a later version may decide otherwise.
        let worker = Arc::clone(&self.0);
        let span = debug_span!(parent: None, "akool.fleet.poll", %job);
        let span = self.0.traced(span, state.options.traceparent.as_deref());
        let Json(step) = ctx.run(|| step(worker, job, state).instrument(span)).name("poll").await?;
        apply(&ctx, step).await
    }

    /// Polls the job soon, because it may have changed. For a job that is not waited for, nothing happens.
    #[handler(idempotency_retention = "1s")]
    async fn poll_now(&self, ctx: SharedObjectContext<'_>) -> HandlerResult<()> {
        refuse_pages(ctx.headers())?;
        let Some(Json(state)) = ctx.get::<Json<JobState>>(STATE).await? else { return Ok(()) };
        let generation = state.generation;
        // The poller decides here too, so that a flood of forged triggers ends here.
        let is_effective =
            ctx.run(async move || Ok(state.trigger(now_ms()).is_some())).name("decide").await?;
        if is_effective {
            ctx.object_client::<JobClient<'_>>(ctx.key()).trigger(generation).send();
        }
        Ok(())
    }

    /// Brings the next poll forward.
    #[handler(ingress_private)]
    async fn trigger(&self, ctx: ObjectContext<'_>, generation: u64) -> HandlerResult<()> {
        let Some(Json(state)) = ctx.get::<Json<JobState>>(STATE).await? else { return Ok(()) };
        if state.generation != generation {
            return Ok(());
        }
        let step = ctx.run(async move || Ok(Json(state.trigger(now_ms())))).name("decide").await?;
        match step {
            Json(Some(step)) => apply(&ctx, step).await,
            Json(None) => Ok(()),
        }
    }

    /// What is known of the job. Does not wait.
    #[handler]
    async fn outcome(&self, ctx: SharedObjectContext<'_>) -> HandlerResult<Json<JobView>> {
        refuse_pages(ctx.headers())?;
        let Some(Json(state)) = ctx.get::<Json<JobState>>(STATE).await? else {
            return Err(unknown(ctx.key()).into());
        };
        let has_files = state.options.save && state.outcome.is_some();
        let mut view = state.view(ctx.key().into());
        if has_files {
            view.saved = ctx.object_client::<FilesClient<'_>>(ctx.key()).saved().call().await?.into_inner();
        }
        Ok(Json(view))
    }

    /// Waits for the end of the job's wait.
    #[handler]
    async fn wait(&self, ctx: SharedObjectContext<'_>) -> HandlerResult<Json<Outcome>> {
        refuse_pages(ctx.headers())?;
        let Some(Json(state)) = ctx.get::<Json<JobState>>(STATE).await? else {
            return Err(unknown(ctx.key()).into());
        };
        if let Some(outcome) = state.outcome {
            return Ok(Json(outcome));
        }
        let (id, outcome) = ctx.awakeable::<Json<Outcome>>();
        ctx.object_client::<JobClient<'_>>(ctx.key()).add_waiter(id).send();
        Ok(outcome.await?)
    }

    /// Adds a caller that waits.
    #[handler(ingress_private)]
    async fn add_waiter(&self, ctx: ObjectContext<'_>, id: String) -> HandlerResult<()> {
        let state = ctx.get::<Json<JobState>>(STATE).await?;
        match state.map(|state| state.0.outcome) {
            None => ctx.reject_awakeable(&id, unknown(ctx.key())),
            Some(Some(outcome)) => ctx.resolve_awakeable(&id, Json(outcome)),
            Some(None) => {
                let mut waiters = ctx.get::<Json<Vec<String>>>(WAITERS).await?.unwrap_or_default().0;
                if waiters.len() < MAX_WAITERS {
                    waiters.push(id);
                    ctx.set(WAITERS, Json(waiters));
                } else {
                    let message = "too many callers wait for this job; ask for its outcome instead";
                    ctx.reject_awakeable(&id, TerminalError::new_with_code(429, message));
                }
            }
        }
        Ok(())
    }

    /// Ends the wait without an outcome, and removes what is known of the job. The job itself continues.
    #[handler]
    async fn forget(&self, ctx: ObjectContext<'_>) -> HandlerResult<()> {
        refuse_pages(ctx.headers())?;
        let Some(Json(state)) = ctx.get::<Json<JobState>>(STATE).await? else {
            return Err(unknown(ctx.key()).into());
        };
        if state.options.save {
            ctx.object_client::<FilesClient<'_>>(ctx.key()).forget().send();
        }
        for id in ctx.get::<Json<Vec<String>>>(WAITERS).await?.unwrap_or_default().0 {
            ctx.reject_awakeable(&id, unknown(ctx.key()));
        }
        ctx.clear_all();
        Ok(())
    }
}

/// Polls once, and says what follows.
async fn step(worker: Arc<Shared>, job: JobId, state: JobState) -> HandlerResult<Json<Step>> {
    if state.is_expired() {
        return Ok(Json(state.expire(&job, now_ms())));
    }
    let name = state.origin.credential.clone();
    let account = worker.account(&name)?;
    match worker.permit(account).await? {
        Permit::Granted => {}
        Permit::Paused(until_ms) => return Ok(Json(state.defer(now_ms(), until_ms))),
        Permit::Later(until_ms) => return Ok(Json(state.send_back(now_ms(), until_ms, fastrand::f64()))),
    }
    let began_ms = now_ms();
    let result = account.client.job(&job).get().await;
    let ended_ms = now_ms();
    if let Err(error) = &result {
        worker.note_pause(&name, account, error).await;
    }
    Ok(Json(state.observe(&job, began_ms, ended_ms, result)))
}

async fn begin(ctx: &ObjectContext<'_>, start: Start) -> HandlerResult<()> {
    let Start { mut options, mut origin } = start;
    let mut generation = 0;
    if let Some(Json(mut state)) = ctx.get::<Json<JobState>>(STATE).await? {
        let added = state.learn(&options, &origin);
        if !state.has_ended_before_its_job() {
            if let Some(added) = added {
                if let Some(outcome) = &state.outcome {
                    tell(ctx, outcome, &added, &state.origin.credential);
                }
                ctx.set(STATE, Json(state.clone()));
            }
            return go_on(ctx, state, options.interval_ms).await;
        }
        // A timer of the old wait stays void, and who was to be told still is.
        options = options.or_told(&state.options);
        (origin, generation) = (state.origin, state.generation + 1);
    }
    let seed = ctx.random_seed();
    let begin =
        async move || Ok(Json(JobState { generation, ..JobState::new(now_ms(), seed, options, origin) }));
    let state = ctx.run(begin).name("begin").await?;
    let generation = state.0.generation;
    ctx.set(STATE, state);
    ctx.object_client::<JobClient<'_>>(ctx.key()).poll(generation).send();
    Ok(())
}

/// Sets the interval of a wait that has begun before, and replaces a timer that may be lost.
async fn go_on(ctx: &ObjectContext<'_>, state: JobState, interval_ms: Option<u64>) -> HandlerResult<()> {
    if state.outcome.is_some() {
        return Ok(());
    }
    let generation = state.generation;
    let decide = async move || {
        let now_ms = now_ms();
        Ok(Json((state.is_late(now_ms), state.set_interval(interval_ms, now_ms))))
    };
    match ctx.run(decide).name("decide").await? {
        Json((_, Some(step))) => apply(ctx, step).await?,
        Json((true, None)) => {
            ctx.object_client::<JobClient<'_>>(ctx.key()).poll(generation).send();
        }
        Json((false, None)) => {}
    }
    Ok(())
}

/// Stores what follows from a step, and does it.
async fn apply(ctx: &ObjectContext<'_>, step: Step) -> HandlerResult<()> {
    let Step { state, next_in_ms } = step;
    if let Some(next_in_ms) = next_in_ms {
        let generation = state.generation;
        ctx.set(STATE, Json(state));
        let delay = std::time::Duration::from_millis(next_in_ms);
        ctx.object_client::<JobClient<'_>>(ctx.key()).poll(generation).send_after(delay);
        return Ok(());
    }
    let (outcome, options) = (state.outcome.clone(), state.options.clone());
    let credential = state.origin.credential.clone();
    ctx.set(STATE, Json(state));
    let Some(outcome) = outcome else { return Ok(()) };
    for id in ctx.get::<Json<Vec<String>>>(WAITERS).await?.unwrap_or_default().0 {
        ctx.resolve_awakeable(&id, Json(outcome.clone()));
    }
    ctx.clear(WAITERS);
    tell(ctx, &outcome, &options, &credential);
    Ok(())
}

/// Tells an outcome to those who asked for it.
fn tell(ctx: &ObjectContext<'_>, outcome: &Outcome, options: &WaitOptions, credential: &str) {
    if options.save && outcome.translation().is_some() {
        let (credential, traceparent) = (credential.to_owned(), options.traceparent.clone());
        let save = Save { outcome: outcome.clone(), credential, traceparent };
        ctx.object_client::<FilesClient<'_>>(ctx.key()).save(Json(save)).send();
    }
    if let Some(target) = options.deliver.clone() {
        let traceparent = options.traceparent.clone();
        let delivery = Delivery { target, outcome: outcome.clone(), traceparent };
        ctx.service_client::<DeliverClient<'_>>().deliver(Json(delivery)).send();
    }
}

fn unknown(key: &str) -> TerminalError {
    let job = JobId::from(key);
    TerminalError::new_with_code(404, format!("the fleet does not wait for job {job}"))
}
