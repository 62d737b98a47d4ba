//! `Deliver`: tells a handler or a URL an outcome. A service of its own, so that a target that does not answer, or is not
//! registered, does not block a job.

use std::{sync::Arc, time::Duration};

use restate_sdk::{context::RequestTarget, prelude::*};
use serde::{Deserialize, Serialize};

use crate::{
    context::{Shared, for_a_day},
    model::{Outcome, Target},
};

/// How long a callback may take.
const CALLBACK_TIMEOUT: Duration = Duration::from_secs(30);

#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Delivery {
    pub(crate) target: Target,
    pub(crate) outcome: Outcome,
    /// The trace of the caller that asked for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) traceparent: Option<String>,
}

const TRACEPARENT: &str = "traceparent";

pub(crate) struct Deliver(pub(crate) Arc<Shared>);

#[restate_sdk::service(
    client_visibility = "pub(crate)",
    ingress_private,
    inactivity_timeout = "5s",
    abort_timeout = "1m",
    journal_retention = "0s",
    invocation_retry_policy(
        initial_interval = "1s",
        factor = 2.0,
        max_interval = "1m",
        max_attempts = 1_000_000_000
    )
)]
impl Deliver {
    /// Tells the target.
    #[handler]
    async fn deliver(&self, ctx: Context<'_>, delivery: Json<Delivery>) -> HandlerResult<()> {
        let Delivery { target, outcome, traceparent } = delivery.0;
        let job = outcome.job.clone();
        match target {
            Target::Handler { service, key, handler } => {
                let target = match key {
                    Some(key) => RequestTarget::object(service, key.replace("{id}", job.as_str()), handler),
                    None => RequestTarget::service(service, handler),
                };
                let mut request = ctx.request::<_, ()>(target, Json(outcome)).idempotency_key(job.as_str());
                if let Some(traceparent) = traceparent {
                    request = request.header(TRACEPARENT.to_owned(), traceparent);
                }
                request.send();
                Ok(())
            }
            Target::Url(url) => {
                let http = self.0.http.clone();
                let call = ctx
                    .run(|| call_back(http, url, outcome, traceparent))
                    .name("callback")
                    .retry_policy(for_a_day());
                let call = call.await;
                if let Err(error) = &call {
                    tracing::error!(%job, %error, "the callback was given up");
                }
                Ok(call?)
            }
        }
    }
}

async fn call_back(
    http: reqwest::Client,
    url: url::Url,
    outcome: Outcome,
    traceparent: Option<String>,
) -> HandlerResult<()> {
    let mut request = http.post(url).timeout(CALLBACK_TIMEOUT);
    if let Some(traceparent) = traceparent {
        request = request.header(TRACEPARENT, traceparent);
    }
    let request = request.header("Idempotency-Key", outcome.job.as_str()).json(&outcome);
    let response = request.send().await.map_err(reqwest::Error::without_url)?;
    response.error_for_status().map_err(reqwest::Error::without_url)?;
    Ok(())
}
