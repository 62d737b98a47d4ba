//! `Credential`: the rate limit and the pause of one credential, for all workers.

use restate_sdk::prelude::*;
use serde::{Deserialize, Serialize};

use crate::{
    headers::refuse_pages,
    limit::{Lease, Limit},
};

const STATE: &str = "limit";

/// What an operator changes.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Change {
    /// Set the rate to this. `Some(None)` removes the limit.
    #[serde(deserialize_with = "given", skip_serializing_if = "Option::is_none")]
    pub(crate) per_second: Option<Option<f64>>,
    /// Set the end of the pause to this, in milliseconds since the Unix epoch.
    pub(crate) paused_until_ms: Option<u64>,
}

/// Tells a member that is null from one that is missing.
fn given<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Option<Option<f64>>, D::Error> {
    Option::deserialize(deserializer).map(Some)
}

pub(crate) struct Credential;

/// All creations and polls wait for a lease, which takes no time: one that a worker holds up is given to another one soon.
#[restate_sdk::object(
    client_visibility = "pub(crate)",
    inactivity_timeout = "1s",
    abort_timeout = "3s",
    idempotency_retention = "1m",
    journal_retention = "0s",
    invocation_retry_policy(
        initial_interval = "50ms",
        factor = 2.0,
        max_interval = "5s",
        max_attempts = 1_000_000_000
    )
)]
impl Credential {
    /// Leases permits. `now_ms` is the worker's clock.
    #[handler]
    async fn lease(&self, ctx: ObjectContext<'_>, now_ms: u64) -> HandlerResult<Json<Lease>> {
        refuse_pages(ctx.headers())?;
        let mut limit = limit(&ctx).await?;
        let lease = limit.lease(now_ms);
        ctx.set(STATE, Json(limit));
        Ok(Json(lease))
    }

    /// The service asked for a pause until this time, in milliseconds since the Unix epoch.
    #[handler]
    async fn closed(&self, ctx: ObjectContext<'_>, until_ms: u64) -> HandlerResult<()> {
        refuse_pages(ctx.headers())?;
        let mut limit = limit(&ctx).await?;
        limit.pause(until_ms);
        ctx.set(STATE, Json(limit));
        Ok(())
    }

    /// The limits.
    #[handler]
    async fn limits(&self, ctx: SharedObjectContext<'_>) -> HandlerResult<Json<Limit>> {
        refuse_pages(ctx.headers())?;
        let limit = ctx.get::<Json<Limit>>(STATE).await?;
        Ok(limit.unwrap_or_default())
    }

    /// Changes the limits, and returns them.
    #[handler]
    async fn set_limits(&self, ctx: ObjectContext<'_>, change: Json<Change>) -> HandlerResult<Json<Limit>> {
        refuse_pages(ctx.headers())?;
        let mut limit = limit(&ctx).await?;
        if let Some(per_second) = change.0.per_second {
            limit.set_rate(per_second);
        }
        if let Some(until_ms) = change.0.paused_until_ms {
            limit.paused_until_ms = until_ms;
        }
        ctx.set(STATE, Json(limit));
        Ok(Json(limit))
    }
}

async fn limit(ctx: &ObjectContext<'_>) -> HandlerResult<Limit> {
    let limit = ctx.get::<Json<Limit>>(STATE).await?;
    Ok(limit.unwrap_or_default().0)
}
