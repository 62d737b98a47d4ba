//! HTTP to the ingress of a Restate cluster, over any of its addresses: [`Ingress`].

use std::{
    sync::atomic::{AtomicUsize, Ordering},
    time::Duration,
};

use restate_sdk::ingress::{Client, RequestExecutor};
use tokio::time::{Instant, sleep};
use url::Url;

use crate::error::FleetError;

/// The longest pause between two attempts.
const MAX_PAUSE: Duration = Duration::from_secs(2);

/// A server that has just started answers before it knows its services. Later, no worker is registered.
const STARTING: Duration = Duration::from_secs(3);

/// How long no address may answer before a call fails.
const DEFAULT_PATIENCE: Duration = Duration::from_secs(60);

/// A client for these ingress addresses of one cluster, with these settings for HTTP.
///
/// # Errors
/// If there is no address, or one that is not http or https, or the HTTP client cannot be built.
pub(crate) fn client(
    addresses: impl IntoIterator<Item = Url>,
    http: reqwest::ClientBuilder,
) -> Result<Client<Ingress>, FleetError> {
    let addresses: Vec<_> = addresses.into_iter().collect();
    if addresses.is_empty() {
        return Err(FleetError::Config("there is no ingress address".to_owned()));
    }
    if let Some(other) = addresses.iter().find(|url| !matches!(url.scheme(), "http" | "https")) {
        let shown = akool::redact::excerpt(other.as_str());
        return Err(FleetError::Config(format!("\"{shown}\" is not an http or https URL")));
    }
    let http = http.redirect(reqwest::redirect::Policy::none()).connect_timeout(Duration::from_secs(5));
    let http = http.tcp_keepalive(Duration::from_secs(15));
    let http = http.build().map_err(|error| FleetError::Config(error.to_string()))?;
    let ingress = Ingress::new(http, addresses, DEFAULT_PATIENCE);
    // Only its path is used; `Ingress` chooses the address.
    let client = Client::new("http://fleet".parse().map_err(config)?, ingress).map_err(config)?;
    Ok(client)
}

fn config(error: impl std::fmt::Display) -> FleetError {
    FleetError::Config(error.to_string())
}

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
        let (began, mut pause) = (Instant::now(), Duration::from_millis(50));
        let mut unanswered_since = began;
        loop {
            let mut source = None;
            let first = self.preferred.load(Ordering::Relaxed);
            for offset in 0..self.addresses.len() {
                let Some(address) = self.addresses.get((first + offset) % self.addresses.len()) else {
                    break;
                };
                let sent = Instant::now();
                match self.send(address, &request).await {
                    Ok(Some(response))
                        if began.elapsed() < STARTING.min(self.patience) && is_unregistered(&response) => {}
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

/// Whether the ingress itself does not know the service.
fn is_unregistered(response: &http::Response<bytes::Bytes>) -> bool {
    response.status() == http::StatusCode::NOT_FOUND
        && serde_json::from_slice(response.body())
            .is_ok_and(|answer: serde_json::Value| answer.get("source").is_some_and(|by| by == "ingress"))
}

#[cfg(test)]
mod tests {
    use tokio::{
        io::{AsyncReadExt as _, AsyncWriteExt as _},
        net::TcpListener,
    };

    use super::*;

    /// An address that answers each connection with one of these statuses. 0 closes it without an answer, and 1404 is a 404
    /// of the ingress itself.
    async fn address(statuses: &'static [u16]) -> Url {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/prefix/", listener.local_addr().unwrap());
        tokio::spawn(async move {
            for status in statuses {
                let (mut stream, _) = listener.accept().await.unwrap();
                let mut request = [0; 4096];
                let read = stream.read(&mut request).await.unwrap();
                let request = String::from_utf8_lossy(&request[..read]);
                assert!(request.starts_with("POST /prefix/restate/call/Job/a%20b/outcome?x=1 "), "{request}");
                if *status > 0 {
                    let body = if *status == 1404 { r#"{"code":404,"source":"ingress"}"# } else { "ok" };
                    let (status, length) = (status % 1000, body.len());
                    let head =
                        format!("HTTP/1.1 {status} S\r\nconnection: close\r\ncontent-length: {length}");
                    let answer = format!("{head}\r\n\r\n{body}");
                    stream.write_all(answer.as_bytes()).await.unwrap();
                }
            }
        });
        url.parse().unwrap()
    }

    async fn refused() -> Url {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        format!("http://{}/prefix", listener.local_addr().unwrap()).parse().unwrap()
    }

    fn request() -> http::Request<bytes::Bytes> {
        let uri = "http://fleet/restate/call/Job/a%20b/outcome?x=1";
        http::Request::post(uri).body(bytes::Bytes::new()).unwrap()
    }

    fn ingress(addresses: Vec<Url>, patience: Duration) -> Ingress {
        let http = reqwest::Client::builder().no_proxy().build().unwrap();
        Ingress::new(http, addresses, patience)
    }

    #[tokio::test]
    async fn an_address_that_does_not_answer_is_passed_over() {
        let addresses = vec![refused().await, address(&[503, 200]).await, address(&[0, 404]).await];
        let ingress = ingress(addresses, Duration::from_secs(10));
        // Refused, 503, closed; then 200 from the second.
        let answer = ingress.execute(request()).await.unwrap();
        assert_eq!((answer.status().as_u16(), &answer.body()[..]), (200, &b"ok"[..]));
        // The one that answered is tried first. It is gone, so the third one answers; 404 is an answer.
        assert_eq!(ingress.execute(request()).await.unwrap().status(), 404);
    }

    #[tokio::test]
    async fn a_server_that_has_just_started_does_not_know_its_services_yet() {
        let started = ingress(vec![address(&[1404, 200]).await], Duration::from_secs(10));
        assert_eq!(started.execute(request()).await.unwrap().status(), 200);
        // One without workers says so.
        let empty = ingress(vec![address(&[1404]).await], Duration::ZERO);
        assert_eq!(empty.execute(request()).await.unwrap().status(), 404);
    }

    #[tokio::test]
    async fn if_no_address_answers_the_error_names_all() {
        let (one, other) = (refused().await, refused().await);
        let ingress = ingress(vec![one.clone(), other.clone()], Duration::ZERO);
        let error = ingress.execute(request()).await.unwrap_err();
        assert!([one, other].iter().all(|url| error.to_string().contains(url.as_str())), "{error}");
        assert!(std::error::Error::source(&error).is_some());
    }
}
