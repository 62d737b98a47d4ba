//! `Deliver`: tells a handler or a URL an outcome. A service of its own, so that a target that does not answer, or is not
//! registered, does not block a job.

use std::{sync::Arc, time::Duration};

use restate_sdk::{context::RequestTarget, prelude::*};
use serde::{Deserialize, Serialize};
use tracing::{Instrument as _, debug_span};

use crate::{
    context::{Shared, for_a_day},
    model::{Outcome, Target, WaitEnd},
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

/// A job ends once, so its id is the key of that outcome. A wait that ended before its job may begin again, so each such
/// outcome has a key of its own: the receiver must not take the job's end for a repetition of it.
fn idempotency_key(outcome: &Outcome) -> String {
    let job = outcome.job.as_str();
    match outcome.end {
        WaitEnd::Completed | WaitEnd::Failed => job.to_owned(),
        _ => format!("{job}.{}", outcome.ended_ms),
    }
}

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
                let key = idempotency_key(&outcome);
                let mut request = ctx.request::<_, ()>(target, Json(outcome)).idempotency_key(key);
                if let Some(traceparent) = traceparent {
                    request = request.header(TRACEPARENT.to_owned(), traceparent);
                }
                request.send();
                Ok(())
            }
            Target::Url(url) => {
                let http = self.0.http.clone();
                let span = debug_span!(parent: None, "akool.fleet.callback", %job);
                let span = self.0.traced(span, traceparent.as_deref());
                let call = || call_back(http, url, outcome, traceparent).instrument(span);
                let call = ctx.run(call).name("callback").retry_policy(for_a_day()).await;
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
    let request = request.header("Idempotency-Key", idempotency_key(&outcome)).json(&outcome);
    let response = request.send().await.map_err(reqwest::Error::without_url)?;
    // A redirect is not followed, and so nobody was told.
    match response.status() {
        status if status.is_success() => Ok(()),
        status => Err(format!("the callback answered with HTTP status {status}").into()),
    }
}

#[cfg(test)]
mod tests {
    use tokio::{
        io::{AsyncReadExt as _, AsyncWriteExt as _},
        net::TcpListener,
    };

    use super::*;

    fn outcome(end: &str, ended_ms: u64) -> Outcome {
        serde_json::from_value(serde_json::json!({ "job": "ab", "end": end, "ended_ms": ended_ms })).unwrap()
    }

    /// Calls back a server that answers with this status, and returns whether that counts, and the request.
    async fn call(status: u16) -> (bool, String) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/", listener.local_addr().unwrap()).parse().unwrap();
        let redirect = reqwest::redirect::Policy::none();
        let http = reqwest::Client::builder().no_proxy().redirect(redirect).build().unwrap();
        let called = tokio::spawn(call_back(http, url, outcome("completed", 7), None));
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut request = [0; 4096];
        let read = stream.read(&mut request).await.unwrap();
        let head = "connection: close\r\nlocation: /elsewhere\r\ncontent-length: 0\r\n\r\n";
        stream.write_all(format!("HTTP/1.1 {status} S\r\n{head}").as_bytes()).await.unwrap();
        (called.await.unwrap().is_ok(), String::from_utf8_lossy(&request[..read]).into_owned())
    }

    #[tokio::test]
    async fn only_a_status_of_success_ends_a_callback() {
        for (status, is_done) in
            [(200, true), (204, true), (301, false), (308, false), (404, false), (503, false)]
        {
            let (called, request) = call(status).await;
            assert_eq!(called, is_done, "{status}");
            assert!(request.to_lowercase().contains("\r\nidempotency-key: ab\r\n"), "{request}");
        }
    }

    #[test]
    fn the_end_of_a_job_is_not_taken_for_the_timeout_before_it() {
        assert_eq!(idempotency_key(&outcome("completed", 7)), "ab");
        assert_eq!(idempotency_key(&outcome("failed", 7)), "ab");
        let early: Vec<_> =
            [("timeout", 7), ("timeout", 8), ("rejected", 9)].map(|(end, ms)| outcome(end, ms)).into();
        let keys: Vec<_> = early.iter().map(idempotency_key).collect();
        assert_eq!(keys, ["ab.7", "ab.8", "ab.9"]);
    }
}
