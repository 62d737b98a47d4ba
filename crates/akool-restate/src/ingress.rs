//! HTTP to the ingress of a Restate cluster, over any of its addresses: [`Ingress`].

use std::{
    sync::atomic::{AtomicUsize, Ordering},
    time::Duration,
};

use restate_sdk::ingress::RequestExecutor;
use tokio::time::{Instant, sleep};
use url::Url;

/// The longest pause between two attempts.
const MAX_PAUSE: Duration = Duration::from_secs(2);

/// Sends requests to the first address that answers. A request is sent again if its connection breaks: every handler of
/// the fleet may be called twice with the same effect, if need be by its idempotency key.
pub(crate) struct Ingress {
    http: reqwest::Client,
    addresses: Vec<Url>,
    /// Counts up; the address that is tried first.
    preferred: AtomicUsize,
    /// How long no address may answer before a request fails.
    patience: Duration,
}

/// No address answered.
#[derive(Debug, thiserror::Error)]
#[error("no ingress address of the fleet answers (tried {tried})")]
pub(crate) struct NoAnswer {
    tried: String,
    source: Option<reqwest::Error>,
}

impl Ingress {
    pub(crate) fn new(http: reqwest::Client, addresses: Vec<Url>, patience: Duration) -> Self {
        Self { http, addresses, preferred: AtomicUsize::new(0), patience }
    }

    async fn send(
        &self,
        address: &Url,
        request: &http::Request<bytes::Bytes>,
    ) -> Result<Option<http::Response<bytes::Bytes>>, reqwest::Error> {
        let mut url = address.clone();
        let path = request.uri().path();
        url.set_path(&format!("{}{path}", address.path().trim_end_matches('/')));
        url.set_query(request.uri().query());
        let sent = self
            .http
            .request(request.method().clone(), url)
            .headers(request.headers().clone())
            .body(request.body().clone());
        let response = sent.send().await?;
        // A node that is starting, stopping or cut off from the others, or a proxy in front of one.
        if matches!(response.status().as_u16(), 502..=504) {
            return Ok(None);
        }
        let mut answer = http::Response::builder().status(response.status());
        if let Some(headers) = answer.headers_mut() {
            headers.clone_from(response.headers());
        }
        Ok(answer.body(response.bytes().await?).ok())
    }
}

impl RequestExecutor for Ingress {
    type Error = NoAnswer;

    async fn execute(
        &self,
        request: http::Request<bytes::Bytes>,
    ) -> Result<http::Response<bytes::Bytes>, NoAnswer> {
        let (mut unanswered_since, mut pause) = (Instant::now(), Duration::from_millis(50));
        loop {
            let mut source = None;
            let first = self.preferred.load(Ordering::Relaxed);
            for offset in 0..self.addresses.len() {
                let Some(address) = self.addresses.get((first + offset) % self.addresses.len()) else {
                    break;
                };
                let sent = Instant::now();
                match self.send(address, &request).await {
                    Ok(Some(response)) => {
                        self.preferred.store((first + offset) % self.addresses.len(), Ordering::Relaxed);
                        return Ok(response);
                    }
                    Ok(None) => {}
                    Err(error) => {
                        // A connection that lasted means that the address did answer.
                        if !error.is_connect() && sent.elapsed() > MAX_PAUSE {
                            (unanswered_since, pause) = (Instant::now(), Duration::from_millis(50));
                        }
                        source = Some(error.without_url());
                    }
                }
            }
            if unanswered_since.elapsed() >= self.patience {
                let tried: Vec<_> = self.addresses.iter().map(Url::as_str).collect();
                return Err(NoAnswer { tried: tried.join(", "), source });
            }
            sleep(pause).await;
            pause = (pause * 2).min(MAX_PAUSE);
        }
    }
}
