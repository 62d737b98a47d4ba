//! The one place that all traffic passes: progenitor's [`ClientHooks`].
//!
//! The generated code knows nothing of credentials, reads bodies without a bound, and drops the bytes of a
//! response whose connection broke. `exec` adds all three.

use std::{
    fmt,
    sync::{Arc, Mutex, PoisonError, RwLock},
    time::Duration,
};

use bytes::{Bytes, BytesMut};
use http::{
    HeaderMap, HeaderValue, StatusCode,
    header::{CONTENT_ENCODING, DATE, RETRY_AFTER},
};
use progenitor_client::{ClientHooks, OperationInfo};
use reqwest::{ResponseBuilderExt, Url};

use crate::{Client, Credential};

/// The largest body that is read, in bytes: 1 MiB. The documented responses have about 1 KiB.
const BODY_LIMIT: usize = 1024 * 1024;

/// How many URLs are kept.
const MAX_ENDPOINTS: usize = 64;

/// Everything that goes with the requests of a [`Client`]: the credential, and the bounds of a response.
#[derive(Clone)]
pub struct Transport {
    /// Shared by clones, so that a renewed credential reaches all of them.
    credential: Arc<RwLock<Option<Arc<Credential>>>>,
    /// Whether the credential is sent, and not only redacted.
    sends_credential: bool,
    timeout: Option<Duration>,
    on_response: Option<Arc<OnResponse>>,
    kept: Kept,
    endpoints: Arc<Endpoints>,
}

type OnResponse = dyn Fn(&Response<'_>) + Send + Sync;

impl Transport {
    /// A transport with this credential, or without any for a server that requires none.
    pub fn new(credential: Option<Credential>) -> Self {
        Self {
            credential: Arc::new(RwLock::new(credential.map(Arc::new))),
            sends_credential: true,
            timeout: None,
            on_response: None,
            kept: Kept(None),
            endpoints: Arc::default(),
        }
    }

    /// A transport that sends no credential, and redacts this one in responses: for a request that has it in its
    /// body.
    pub fn redacting(credential: Option<Credential>) -> Self {
        Self { sends_credential: false, ..Self::new(credential) }
    }

    /// Sets a function that is called once for each response, before it is decoded.
    #[must_use]
    pub fn on_response(mut self, call: impl Fn(&Response<'_>) + Send + Sync + 'static) -> Self {
        self.on_response = Some(Arc::new(call));
        self
    }

    /// Replaces the credential, for all clones of this transport and their clients.
    pub fn set_credential(&self, credential: Credential) {
        *self.credential.write().unwrap_or_else(PoisonError::into_inner) = Some(Arc::new(credential));
    }

    /// Whether there is a credential.
    pub fn has_credential(&self) -> bool {
        self.credential().is_some()
    }

    fn credential(&self) -> Option<Arc<Credential>> {
        self.credential.read().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl fmt::Debug for Transport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Transport").field("timeout", &self.timeout).finish_non_exhaustive()
    }
}

/// The URLs of operations, by base URL and path. Parsing one costs a tenth of a poll's instructions, so it is done once.
#[derive(Default)]
struct Endpoints(RwLock<Vec<(String, &'static str, Url)>>);

impl Endpoints {
    fn get(&self, base_url: &str, path: &'static str) -> Option<Url> {
        let known = self.0.read().unwrap_or_else(PoisonError::into_inner);
        known.iter().find(|(base, own, _)| *own == path && base == base_url).map(|(.., url)| url.clone())
    }

    fn add(&self, base_url: &str, path: &'static str, url: Url) {
        let mut known = self.0.write().unwrap_or_else(PoisonError::into_inner);
        // More than the operations of a few base URLs are not expected; then they are parsed each time.
        if known.len() < MAX_ENDPOINTS {
            known.push((base_url.to_owned(), path, url));
        }
    }
}

/// A response as received, for [`Transport::on_response`].
#[derive(Clone, Copy)]
#[non_exhaustive]
pub struct Response<'a> {
    /// The name of the operation: the description's `operationId` in snake case.
    pub operation: &'static str,
    /// Path and query of the request.
    pub target: &'a str,
    /// The HTTP status.
    pub status: StatusCode,
    /// All headers, without the credential.
    pub headers: &'a HeaderMap,
    /// The bytes of the body that arrived, without the credential. They may contain links.
    pub body: &'a [u8],
    /// Whether that is the whole body.
    pub end: BodyEnd,
}

impl fmt::Debug for Response<'_> {
    /// Without headers and bytes, which may contain links.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Response")
            .field("operation", &self.operation)
            .field("status", &self.status)
            .field("bytes", &self.body.len())
            .field("end", &self.end)
            .finish_non_exhaustive()
    }
}

/// How a body ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum BodyEnd {
    /// It was read to its end.
    Complete,
    /// The connection broke, or the timeout passed, before its end.
    Broken,
    /// It was larger than the client reads, and was cut off there.
    TooLarge {
        /// The limit, in bytes.
        limit: usize,
    },
}

/// What the errors of the generated client do not carry of a response; see [`Client::keeping`].
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Received {
    /// The HTTP status.
    pub status: StatusCode,
    /// The header `Retry-After`.
    pub retry_after: Option<HeaderValue>,
    /// The header `Date`.
    pub date: Option<HeaderValue>,
    /// The header `Content-Encoding`.
    pub content_encoding: Option<HeaderValue>,
    /// The bytes of the body that arrived, without the credential.
    pub body: Bytes,
    /// Whether that is the whole body.
    pub end: BodyEnd,
}

impl Received {
    /// A response made by hand, to be decoded like a received one.
    pub fn new(status: StatusCode, body: impl Into<Bytes>, end: BodyEnd) -> Self {
        Self { status, retry_after: None, date: None, content_encoding: None, body: body.into(), end }
    }
}

/// The latest response, if it is kept. Clones do not share it.
struct Kept(Option<Mutex<Option<Received>>>);

impl Clone for Kept {
    fn clone(&self) -> Self {
        Self(self.0.as_ref().map(|_| Mutex::default()))
    }
}

impl Client {
    /// The same client, which keeps what the generated types and errors do not carry of a response. For one call at a
    /// time. Connections are shared; what is kept is not shared with clones, nor with what [`with_timeout`] returns.
    ///
    /// [`with_timeout`]: Self::with_timeout
    #[must_use]
    pub fn keeping(&self) -> Self {
        let mut client = self.clone();
        client.inner.kept = Kept(Some(Mutex::default()));
        client
    }

    /// Takes the response to the latest call, if this client [keeps](Self::keeping) it. `None` if its headers did not
    /// arrive.
    pub fn take_received(&self) -> Option<Received> {
        self.inner.kept.0.as_ref()?.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    /// The URL of an operation whose path has no parameters. The generated code calls this.
    pub(crate) fn endpoint(&self, path: &'static str) -> Result<Url, String> {
        if let Some(url) = self.inner.endpoints.get(&self.baseurl, path) {
            return Ok(url);
        }
        let url = Url::parse(&format!("{}{path}", self.baseurl)).map_err(|error| error.to_string())?;
        self.inner.endpoints.add(&self.baseurl, path, url.clone());
        Ok(url)
    }

    /// The same client, with this timeout for each whole request instead of that of its HTTP client.
    #[must_use]
    pub fn with_timeout(&self, timeout: Duration) -> Self {
        let mut client = self.clone();
        client.inner.timeout = Some(timeout);
        client
    }
}

impl ClientHooks<Transport> for Client {
    /// Adds the credential, sends the request, and reads the body within its limit.
    async fn exec(
        &self,
        mut request: reqwest::Request,
        operation: &OperationInfo,
    ) -> reqwest::Result<reqwest::Response> {
        self.take_received();
        let target = self.inner.on_response.as_ref().map(|_| {
            let url = request.url();
            url.query().map_or_else(|| url.path().to_owned(), |query| format!("{}?{query}", url.path()))
        });
        if let Some(timeout) = self.inner.timeout {
            *request.timeout_mut() = Some(timeout);
        }
        // Kept, so that the one that was sent is redacted: it may be replaced meanwhile.
        let credential = self.inner.credential();
        if self.inner.sends_credential
            && let Some((name, value)) = credential.as_ref().and_then(|credential| credential.header())
        {
            request.headers_mut().insert(name, value);
        }
        let mut response = self.client.execute(request).await?;
        let (mut body, end, broken) = read_body(&mut response, BODY_LIMIT).await;
        let status = response.status();
        let mut headers = std::mem::take(response.headers_mut());
        if let Some(credential) = credential {
            body = credential.redact(body);
            for value in headers.values_mut() {
                credential.redact_header(value);
            }
        }
        if let (Some(on_response), Some(target)) = (&self.inner.on_response, &target) {
            let operation = operation.operation_id;
            on_response(&Response { operation, target, status, headers: &headers, body: &body, end });
        }
        if let Some(kept) = &self.inner.kept.0 {
            let header = |name| headers.get(name).cloned();
            *kept.lock().unwrap_or_else(PoisonError::into_inner) = Some(Received {
                status,
                retry_after: header(RETRY_AFTER),
                date: header(DATE),
                content_encoding: header(CONTENT_ENCODING),
                body: body.clone(),
                end,
            });
        }
        if let Some(error) = broken {
            return Err(error);
        }
        let mut rebuilt = http::Response::builder().status(status);
        if let Some(extensions) = rebuilt.extensions_mut() {
            *extensions = std::mem::take(response.extensions_mut());
        }
        // Without its URL, reqwest would parse a made-up one.
        let rebuilt = rebuilt.url(response.url().clone()).body(body);
        let mut rebuilt = rebuilt.unwrap_or_default().map(reqwest::Body::from);
        if self.inner.kept.0.is_none() {
            *rebuilt.headers_mut() = headers;
        }
        Ok(rebuilt.into())
    }
}

/// Reads a body up to a limit, and keeps what arrived of one that was cut off.
async fn read_body(
    response: &mut reqwest::Response,
    limit: usize,
) -> (Bytes, BodyEnd, Option<reqwest::Error>) {
    let mut body = Bytes::new();
    loop {
        match response.chunk().await {
            Ok(None) => return (body, BodyEnd::Complete, None),
            Ok(Some(chunk)) if chunk.len() > limit - body.len() => {
                let chunk = chunk.slice(..limit - body.len());
                return (joined(body, chunk), BodyEnd::TooLarge { limit }, None);
            }
            Ok(Some(chunk)) => body = joined(body, chunk),
            Err(error) => return (body, BodyEnd::Broken, Some(error)),
        }
    }
}

/// Most bodies come in one piece, which is kept without a copy.
fn joined(body: Bytes, chunk: Bytes) -> Bytes {
    if body.is_empty() {
        return chunk;
    }
    let mut joined = BytesMut::from(body);
    joined.extend_from_slice(&chunk);
    joined.freeze()
}
