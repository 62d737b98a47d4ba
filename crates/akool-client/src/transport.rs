//! The one place that all traffic passes: progenitor's [`ClientHooks`].
//!
//! The generated code knows nothing of credentials, reads bodies without a bound, and drops the bytes of a
//! response whose connection broke. `exec` adds all three.

use std::{
    cell::RefCell,
    fmt,
    pin::pin,
    sync::{Arc, PoisonError, RwLock},
    time::Duration,
};

use bytes::{Bytes, BytesMut};
use http::{HeaderMap, StatusCode};
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

/// What the errors of the generated client do not carry of a response; see [`receive`].
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Received {
    /// The HTTP status.
    pub status: StatusCode,
    /// All headers, without the credential.
    pub headers: HeaderMap,
    /// The bytes of the body that arrived, without the credential.
    pub body: Bytes,
    /// Whether that is the whole body.
    pub end: BodyEnd,
}

impl Received {
    /// A response made by hand, to be decoded like a received one.
    pub fn new(status: StatusCode, body: impl Into<Bytes>, end: BodyEnd) -> Self {
        Self { status, headers: HeaderMap::new(), body: body.into(), end }
    }
}

tokio::task_local! {
    static RECEIVED: RefCell<Option<Received>>;
}

/// Makes a call of a client, and also returns what the generated types and errors do not carry of its response. `None`
/// if its headers did not arrive. The call's own [`ResponseValue`](crate::ResponseValue) then has no headers.
///
/// ```no_run
/// # async fn example(client: akool_client::Client) {
/// let (result, received) = akool_client::receive(client.get_credits().send()).await;
/// if let (Err(error), Some(received)) = (result, received) {
///     println!("{error}: {:?}", received.body);
/// }
/// # }
/// ```
pub async fn receive<F: Future>(call: F) -> (F::Output, Option<Received>) {
    let mut call = pin!(RECEIVED.scope(RefCell::default(), call));
    let output = call.as_mut().await;
    (output, call.as_mut().take_value().and_then(RefCell::into_inner))
}

impl Client {
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
        let mut headers = Some(headers);
        let _ = RECEIVED.try_with(|received| {
            let headers = headers.take().unwrap_or_default();
            received.replace(Some(Received { status, headers, body: body.clone(), end }))
        });
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
        *rebuilt.headers_mut() = headers.unwrap_or_default();
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
