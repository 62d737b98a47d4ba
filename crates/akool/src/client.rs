//! The client, and the one function through which all calls go: [`Client`].

use std::{
    fmt,
    future::Future,
    pin::pin,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use akool_client::{
    Credential, ResponseValue, Secret, Transport,
    types::{TokenRequest, TokenResponse},
};
use tokio::time::Instant;
use tracing::{Instrument, Span, field::Empty};

use crate::{
    credentials::{CredentialSource, Renewal},
    error::Error,
    kind::ErrorKind,
    meter,
    response::{Envelope, Reply},
};

/// The longest pause that the client makes for a `Retry-After`: 15 minutes.
pub const MAX_RETRY_AFTER: Duration = Duration::from_secs(15 * 60);

/// A client of the service. Cheap to clone. Clones share their connections, their credential, and a pause that the
/// service asked for.
///
/// ```no_run
/// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
/// use akool::Client;
///
/// let client = Client::from_env()?;
/// let translation = client.job("64dd92c1f0b6684651e90e09").wait().await?;
/// println!("{}", translation.video());
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct Client {
    pub(crate) api: akool_client::Client,
    /// The credential that `api` sends, to be renewed.
    transport: Transport,
    renewer: Option<Arc<Renewer>>,
    pause: Arc<Pause>,
    base_url: Arc<str>,
    create_timeout: Duration,
}

impl Client {
    pub(crate) fn assemble(
        base_url: String,
        http: reqwest::Client,
        transport: Transport,
        source: Option<Box<dyn CredentialSource>>,
        create_timeout: Duration,
    ) -> Self {
        Self {
            api: akool_client::Client::new_with_client(&base_url, http, transport.clone()),
            transport,
            renewer: source.map(|source| Arc::new(Renewer::new(source))),
            pause: Arc::default(),
            base_url: base_url.into(),
            create_timeout,
        }
    }

    /// The service's address.
    pub fn base_url(&self) -> &str {
        &self.base_url
    }

    /// The same client, with the timeout of a request that creates jobs.
    pub(crate) fn for_creation(&self) -> Self {
        Self { api: self.api.with_timeout(self.create_timeout), ..self.clone() }
    }

    /// Makes a call. All calls of all operations go through here.
    ///
    /// While the service asked for a pause, nothing is sent. If the credential is refused and there is a source of
    /// new ones, the call is repeated once with a new credential, unless the response shows that the request had an
    /// effect nevertheless.
    ///
    /// `span` makes the span of an attempt. It has fields for what [`attempt`](Self::attempt) records.
    pub(crate) async fn call<T: Envelope, F: Future<Output = Sent<T>>>(
        &self,
        span: impl Fn() -> Span,
        request: impl Fn() -> F,
    ) -> Reply<T> {
        if let Some(remaining) = self.pause.remaining() {
            return Reply::failed(Error::paused(remaining));
        }
        let reply = self.attempts(span, request).await;
        if let Some(pause) = reply.error.as_ref().and_then(Error::retry_after) {
            meter::throttled(self.pause.extend(pause.min(MAX_RETRY_AFTER)));
        }
        reply
    }

    /// Sends a request, and once more if its credential is refused and there is another one.
    async fn attempts<T: Envelope, F: Future<Output = Sent<T>>>(
        &self,
        span: impl Fn() -> Span,
        request: impl Fn() -> F,
    ) -> Reply<T> {
        let Some(renewer) = &self.renewer else {
            return self.attempt(span(), request).await;
        };
        let generation = renewer.generation();
        if !self.transport.has_credential() {
            return self.attempt_renewed(renewer, generation, span, request).await;
        }
        let refused = self.attempt(span(), &request).await;
        let is_refused = refused.error.as_ref().map(Error::kind) == Some(ErrorKind::CredentialsRefused);
        if !is_refused || refused.value.as_ref().is_some_and(|decoded| decoded.value.has_effect()) {
            return refused;
        }
        self.attempt_renewed(renewer, generation, span, request).await
    }

    /// Replaces the credential of this generation, and sends the request. So far, the request had no effect.
    async fn attempt_renewed<T: Envelope, F: Future<Output = Sent<T>>>(
        &self,
        renewer: &Renewer,
        generation: u64,
        span: impl Fn() -> Span,
        request: impl Fn() -> F,
    ) -> Reply<T> {
        if let Err(error) = renewer.renew(generation, &self.transport).await {
            tracing::debug!(kind = error.kind().name(), %error, "the credential was not renewed");
            return Reply::failed(error.without_effect());
        }
        // Another call may have been asked to pause meanwhile.
        match self.pause.remaining() {
            Some(remaining) => Reply::failed(Error::paused(remaining)),
            None => self.attempt(span(), request).await,
        }
    }

    /// Sends a request once, in this span.
    async fn attempt<T: Envelope, F: Future<Output = Sent<T>>>(
        &self,
        span: Span,
        request: impl Fn() -> F,
    ) -> Reply<T> {
        // Pinned here, so that the span wraps a pointer and does not move the future.
        let sent = pin!(request());
        let (result, received) = akool_client::receive(sent).instrument(span.clone()).await;
        let reply = Reply::new(result, received);
        if !span.is_disabled() {
            span.in_scope(|| reply.trace());
        }
        reply
    }

    /// Until when the service asked not to be called. It may be in the past.
    pub(crate) fn paused_until(&self) -> Option<Instant> {
        self.pause.until()
    }
}

/// The result of a request.
type Sent<T> = Result<ResponseValue<T>, akool_client::Error>;

/// Makes the span of an attempt of this operation.
pub(crate) fn call_span(operation: &'static str) -> impl Fn() -> Span {
    move || {
        tracing::debug_span!(
            "akool.call",
            operation,
            http.response.status_code = Empty,
            akool.code = Empty,
            error.type = Empty
        )
    }
}

/// A pause that the service asked for.
#[derive(Debug, Default)]
struct Pause(Mutex<Option<Instant>>);

impl Pause {
    /// Lengthens the pause so that it lasts this long from now. Returns by how much.
    fn extend(&self, pause: Duration) -> Duration {
        let now = Instant::now();
        let Some(until) = now.checked_add(pause) else { return Duration::ZERO };
        let mut current = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let ends = current.unwrap_or(now).max(now);
        *current = (*current).max(Some(until));
        until.saturating_duration_since(ends)
    }

    fn until(&self) -> Option<Instant> {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn remaining(&self) -> Option<Duration> {
        self.until()?.checked_duration_since(Instant::now()).filter(|remaining| !remaining.is_zero())
    }
}

/// A source of credentials, and which of its credentials is in use.
struct Renewer {
    source: Box<dyn CredentialSource>,
    /// Counts the credentials that were put to use.
    generation: AtomicU64,
    /// Locked while a new one is fetched.
    fetching: tokio::sync::Mutex<()>,
}

impl Renewer {
    fn new(source: Box<dyn CredentialSource>) -> Self {
        Self { source, generation: AtomicU64::new(0), fetching: tokio::sync::Mutex::new(()) }
    }

    fn generation(&self) -> u64 {
        self.generation.load(Ordering::Acquire)
    }

    /// Replaces the credential of this generation with a newer one: fetches it, or waits until another call has
    /// fetched it.
    async fn renew(&self, refused: u64, transport: &Transport) -> Result<(), Error> {
        let _fetching = self.fetching.lock().await;
        if self.generation() != refused {
            return Ok(());
        }
        let credential = self.source.renew().await.map_err(|error| match error.downcast::<Error>() {
            // Our own source failed in a way that may pass: the credential was not refused for good.
            Ok(error) if error.is_retryable() => *error,
            Ok(error) => renewal_failed(error),
            Err(error) => renewal_failed(error),
        })?;
        transport.set_credential(credential);
        self.generation.fetch_add(1, Ordering::AcqRel);
        Ok(())
    }
}

fn renewal_failed(source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Error {
    Error::new(
        ErrorKind::CredentialsRefused,
        "no valid credential, and no new one from the credential source",
    )
    .with_source(source)
}

impl fmt::Debug for Renewer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Renewer(generation {})", self.generation())
    }
}

/// Gets bearer tokens for a client id and its secret.
pub(crate) struct TokenSource {
    client: Client,
    id: String,
    secret: Secret,
}

impl TokenSource {
    pub(crate) fn new(base_url: String, http: reqwest::Client, id: String, secret: Secret) -> Self {
        // The service may send back what it was sent. The request itself carries no credential.
        let redacted = Credential::api_key(secret.expose()).ok();
        let client = Client::assemble(base_url, http, Transport::redacting(redacted), None, Duration::ZERO);
        Self { client, id, secret }
    }

    async fn token(&self) -> Result<Credential, Error> {
        let reply: Reply<TokenResponse> = self
            .client
            .call(call_span("get_token"), || {
                let body = TokenRequest::builder().client_id(&*self.id).client_secret(self.secret.clone());
                self.client.api.get_token().body_map(|_| body).send()
            })
            .await;
        let token = reply.into_result()?.value.token;
        let token = token.ok_or_else(|| Error::undecodable("the response has no `token`"))?;
        Credential::bearer(token.into_inner()).map_err(|error| {
            Error::undecodable(format!("the service returned a token that {}", error.reason()))
        })
    }
}

impl CredentialSource for TokenSource {
    fn renew(&self) -> Renewal<'_> {
        Box::pin(async { Ok(self.token().await?) })
    }
}
