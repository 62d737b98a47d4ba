//! The one seam that all traffic passes: progenitor's [`ClientHooks`].
//!
//! The generated code knows nothing of credentials, reads bodies without bound and keeps no
//! bytes of an answer that it cannot decode. All three are recorded here, in `pre` and `exec`.

use std::{
    fmt,
    sync::{Arc, Mutex, PoisonError, RwLock},
    time::Duration,
};

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header::AUTHORIZATION};
use memchr::memmem;
use progenitor_client::{ClientHooks, Error, OperationInfo};
use reqwest::ResponseBuilderExt;
use secrecy::{ExposeSecret, SecretString};

use crate::Client;

/// The largest body that is read, unless [`Transport::body_limit`] says otherwise: 1 MiB. The
/// documented answers are about 1 KiB.
const BODY_LIMIT: usize = 1024 * 1024;

/// What stands for a credential that a server sent back, and the shortest that can be told from other
/// text.
const HIDDEN: &str = "[credential]";
const SHORTEST: usize = 4;

/// What accompanies every request of a [`Client`]: the credential, and the bounds of an answer.
#[derive(Clone, Debug)]
pub struct Transport {
    /// Shared by clones, so that a renewed credential reaches all of them.
    credential: Arc<RwLock<Option<Credential>>>,
    body_limit: usize,
    recording: Option<Recording>,
    /// The answer is not decoded, only recorded.
    undecoded: bool,
    timeout: Option<Duration>,
}

impl Transport {
    /// A transport with this credential, or with none for a mock server that asks for none.
    pub fn new(credential: Option<Credential>) -> Self {
        Self {
            credential: Arc::new(RwLock::new(credential)),
            body_limit: BODY_LIMIT,
            recording: None,
            undecoded: false,
            timeout: None,
        }
    }

    /// Replaces the credential, for all clones of this transport and their clients.
    pub fn set_credential(&self, credential: Credential) {
        *self.credential.write().unwrap_or_else(PoisonError::into_inner) = Some(credential);
    }

    /// Whether there is a credential.
    pub fn has_credential(&self) -> bool {
        self.credential.read().unwrap_or_else(PoisonError::into_inner).is_some()
    }

    /// A text without the credential in it, for what a server sent back.
    pub fn scrub(&self, text: &str) -> String {
        let credential = self.credential.read().unwrap_or_else(PoisonError::into_inner);
        match &*credential {
            Some(credential) => credential.scrub(text),
            None => text.to_owned(),
        }
    }

    /// Bytes without the credential in them: a server that sends it back does not get it into errors,
    /// whatever they cite.
    fn scrub_bytes(&self, bytes: Bytes) -> Bytes {
        let credential = self.credential.read().unwrap_or_else(PoisonError::into_inner);
        let secret = credential.as_ref().map_or(&[][..], |credential| credential.secret().as_bytes());
        // A searcher for the whole takes longer to make than a body to read: its beginning is looked for first.
        let Some(beginning) = secret.get(..SHORTEST) else { return bytes };
        if memmem::find(&bytes, beginning).is_none() || memmem::find(&bytes, secret).is_none() {
            return bytes;
        }
        let mut scrubbed = Vec::with_capacity(bytes.len());
        let mut rest = 0;
        for found in memmem::find_iter(&bytes, secret) {
            scrubbed.extend_from_slice(&bytes[rest..found]);
            scrubbed.extend_from_slice(HIDDEN.as_bytes());
            rest = found + secret.len();
        }
        scrubbed.extend_from_slice(&bytes[rest..]);
        scrubbed.into()
    }

    /// Sets the largest body that is read, in bytes (1 MiB unless set). A larger one ends in
    /// [`Ending::TooLarge`] and an error whose source is [`BodyTooLarge`].
    #[must_use]
    pub fn body_limit(mut self, bytes: usize) -> Self {
        self.body_limit = bytes;
        self
    }
}

/// A key or a token, sent in one header. Its value shows nowhere: not in `Debug`, and the header
/// is marked sensitive. The copy held here is wiped when it is dropped; those in HTTP buffers are
/// not.
#[derive(Clone)]
pub struct Credential {
    header: HeaderName,
    /// The whole value of the header.
    value: SecretString,
}

impl Credential {
    /// An API key, sent as `x-api-key`.
    ///
    /// # Errors
    /// When `key` is empty or holds what a header cannot carry.
    pub fn api_key(key: impl Into<SecretString>) -> Result<Self, InvalidCredential> {
        Self::new(HeaderName::from_static("x-api-key"), key.into())
    }

    /// A bearer token, sent as `Authorization: Bearer TOKEN`.
    ///
    /// # Errors
    /// When `token` is empty or holds what a header cannot carry.
    pub fn bearer(token: impl Into<SecretString>) -> Result<Self, InvalidCredential> {
        let token = token.into();
        check(&token)?;
        let value = SecretString::from(format!("Bearer {}", token.expose_secret()));
        Self::new(AUTHORIZATION, value)
    }

    fn new(header: HeaderName, value: SecretString) -> Result<Self, InvalidCredential> {
        check(&value)?;
        Ok(Self { header, value })
    }

    /// The text with `[credential]` where the key or token stood. One of less than 4 characters
    /// cannot be told from other text and is left.
    fn scrub(&self, text: &str) -> String {
        let secret = self.secret();
        if secret.len() < SHORTEST { text.to_owned() } else { text.replace(secret, HIDDEN) }
    }

    /// The key or token alone.
    fn secret(&self) -> &str {
        let value = self.value.expose_secret();
        value.strip_prefix("Bearer ").unwrap_or(value)
    }

    fn header_value(&self) -> Option<HeaderValue> {
        // `check` has seen to it that this is `Some`.
        let mut value = HeaderValue::from_str(self.value.expose_secret()).ok()?;
        value.set_sensitive(true);
        Some(value)
    }
}

fn check(value: &SecretString) -> Result<(), InvalidCredential> {
    let value = value.expose_secret();
    if value.is_empty() {
        return Err(InvalidCredential("is empty"));
    }
    if !value.bytes().all(|byte| matches!(byte, b' '..=b'~')) || value.trim() != value {
        return Err(InvalidCredential(
            "holds a line break, surrounding blanks or another character that a header cannot carry",
        ));
    }
    Ok(())
}

impl fmt::Debug for Credential {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Credential({}: [redacted])", self.header)
    }
}

/// A key or token that cannot be sent. Says why, and never shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InvalidCredential(&'static str);

impl InvalidCredential {
    /// What is wrong, as the end of a sentence whose subject is the credential.
    pub fn why(&self) -> &'static str {
        self.0
    }
}

impl fmt::Display for InvalidCredential {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the credential {}", self.0)
    }
}

impl std::error::Error for InvalidCredential {}

/// The answer to one request, as it came.
#[derive(Clone)]
#[non_exhaustive]
pub struct Exchange {
    /// The HTTP status.
    pub status: StatusCode,
    /// All headers of the answer.
    pub headers: HeaderMap,
    /// The body's bytes, as far as they were read.
    pub body: Bytes,
    /// Whether that is all of it.
    pub ending: Ending,
}

impl Exchange {
    /// An answer made by hand, to be decoded like one that came.
    pub fn new(status: StatusCode, headers: HeaderMap, body: impl Into<Bytes>, ending: Ending) -> Self {
        Self { status, headers, body: body.into(), ending }
    }
}

impl fmt::Debug for Exchange {
    /// Without headers and bytes: they may hold signed links.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Exchange")
            .field("status", &self.status)
            .field("bytes", &self.body.len())
            .field("ending", &self.ending)
            .finish_non_exhaustive()
    }
}

/// How a body ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Ending {
    /// It was read to its end.
    Complete,
    /// The connection broke, or the timeout passed, before its end.
    Broken,
    /// It was larger than the limit, in bytes, and was not read on.
    TooLarge {
        /// The limit, in bytes.
        limit: usize,
    },
}

/// Where a [`Client`] made by [`Client::recording`] leaves its latest exchange.
#[derive(Clone, Debug, Default)]
pub struct Recording(Arc<Mutex<Option<Exchange>>>);

impl Recording {
    /// Takes the latest exchange; `None` when no answer's headers came since the last call.
    pub fn take(&self) -> Option<Exchange> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    /// The latest exchange, which stays to be taken.
    pub fn peek(&self) -> Option<Exchange> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn put(&self, exchange: Exchange) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(exchange);
    }
}

/// The body was larger than [`Transport::body_limit`]; it is the source of the HTTP client's
/// error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct BodyTooLarge {
    /// The limit, in bytes.
    pub limit: usize,
}

impl fmt::Display for BodyTooLarge {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the body is larger than {} bytes", self.limit)
    }
}

impl std::error::Error for BodyTooLarge {}

impl Client {
    /// The same client, and a place where it leaves the answer to its latest request: status,
    /// headers and bytes, also of an answer that the generated types refuse. Cheap: the
    /// connections are shared.
    pub fn recording(&self) -> (Self, Recording) {
        let recording = Recording::default();
        let mut client = self.clone();
        client.inner.recording = Some(recording.clone());
        (client, recording)
    }

    /// The same client, with this much time for each request in all, whatever its HTTP client has.
    #[must_use]
    pub fn timeout(&self, timeout: Duration) -> Self {
        let mut client = self.clone();
        client.inner.timeout = Some(timeout);
        client
    }

    /// As [`recording`](Self::recording), for whoever decodes the exchange: the generated types are
    /// left out, and a call that was answered ends in [`Error::Custom`] with an empty text.
    pub fn undecoded(&self) -> (Self, Recording) {
        let (mut client, recording) = self.recording();
        client.inner.undecoded = true;
        (client, recording)
    }
}

impl ClientHooks<Transport> for Client {
    /// Adds the credential.
    async fn pre<E>(&self, request: &mut reqwest::Request, _: &OperationInfo) -> Result<(), Error<E>> {
        if let Some(timeout) = self.inner.timeout {
            *request.timeout_mut() = Some(timeout);
        }
        let credential = self.inner.credential.read().unwrap_or_else(PoisonError::into_inner);
        if let Some(credential) = &*credential
            && let Some(value) = credential.header_value()
        {
            request.headers_mut().insert(credential.header.clone(), value);
        }
        Ok(())
    }

    async fn post<E>(
        &self,
        result: &reqwest::Result<reqwest::Response>,
        _: &OperationInfo,
    ) -> Result<(), Error<E>> {
        if self.inner.undecoded && result.is_ok() { Err(Error::Custom(String::new())) } else { Ok(()) }
    }

    /// Sends the request and reads the whole answer, within the bound.
    async fn exec(&self, request: reqwest::Request, _: &OperationInfo) -> reqwest::Result<reqwest::Response> {
        let limit = self.inner.body_limit;
        let mut response = self.client.execute(request).await?;
        let status = response.status();
        let headers = std::mem::take(response.headers_mut());

        let mut body = Collected::default();
        let announced = response.content_length().unwrap_or(0);
        let mut ending = if announced > limit as u64 { Ending::TooLarge { limit } } else { Ending::Complete };
        let mut broken = None;
        while ending == Ending::Complete {
            match response.chunk().await {
                Ok(Some(mut chunk)) => {
                    if chunk.len() > limit - body.len() {
                        chunk.truncate(limit - body.len());
                        ending = Ending::TooLarge { limit };
                    }
                    body.push(chunk);
                }
                Ok(None) => break,
                Err(error) => {
                    ending = Ending::Broken;
                    broken = Some(error);
                }
            }
        }
        let body = self.inner.scrub_bytes(body.into_bytes());
        match &self.inner.recording {
            Some(recording) if self.inner.undecoded => {
                recording.put(Exchange { status, headers, body, ending });
                return broken.map_or(Ok(response), Err);
            }
            Some(recording) => {
                recording.put(Exchange { status, headers: headers.clone(), body: body.clone(), ending });
            }
            None => {}
        }
        if let Some(error) = broken {
            return Err(error);
        }

        let body = match ending {
            Ending::TooLarge { limit } => {
                reqwest::Body::wrap_stream(futures_util::stream::iter([Err::<Bytes, _>(BodyTooLarge {
                    limit,
                })]))
            }
            Ending::Complete | Ending::Broken => reqwest::Body::from(body),
        };
        // Without the address it came from, a made-up one would be parsed for each answer.
        let mut builder = http::Response::builder().status(status);
        if let Some(extensions) = builder.extensions_mut() {
            *extensions = std::mem::take(response.extensions_mut());
        }
        let answer = builder.url(response.url().clone()).body(body);
        let mut answer = answer.unwrap_or_else(|_| http::Response::new(reqwest::Body::default()));
        *answer.headers_mut() = headers;
        Ok(answer.into())
    }
}

/// What has come of a body. Most come in one piece, which is kept as it is.
#[derive(Default)]
struct Collected {
    first: Bytes,
    all: Vec<u8>,
}

impl Collected {
    fn len(&self) -> usize {
        self.all.len().max(self.first.len())
    }

    fn push(&mut self, chunk: Bytes) {
        if self.len() == 0 {
            self.first = chunk;
        } else {
            if self.all.is_empty() {
                self.all.extend_from_slice(&self.first);
            }
            self.all.extend_from_slice(&chunk);
        }
    }

    fn into_bytes(self) -> Bytes {
        if self.all.is_empty() { self.first } else { self.all.into() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_credential_shows_nowhere() {
        let key = Credential::api_key("MARKER").unwrap();
        let token = Credential::bearer("MARKER").unwrap();
        let shown = format!("{key:?} {token:?} {:?}", Transport::new(Some(key.clone())));
        assert!(!shown.contains("MARKER"), "{shown}");
        let value = token.header_value().unwrap();
        assert_eq!(value, "Bearer MARKER");
        assert!(value.is_sensitive() && key.header_value().unwrap().is_sensitive());
    }

    #[test]
    fn what_a_server_sends_back_is_scrubbed() {
        let transport = Transport::new(Some(Credential::bearer("MARKER").unwrap()));
        assert_eq!(transport.scrub("got MARKER!"), "got [credential]!");
        transport.clone().set_credential(Credential::api_key("OTHER").unwrap());
        assert_eq!(transport.scrub("got OTHER"), "got [credential]");
        assert_eq!(Transport::new(None).scrub("a"), "a");
        assert_eq!(
            transport.scrub_bytes(Bytes::from_static(b"\xffOTHER, OTHER.")),
            &b"\xff[credential], [credential]."[..]
        );
        assert_eq!(transport.scrub_bytes(Bytes::from_static(b"OTHE")), &b"OTHE"[..]);
        // A key whose beginning comes again within itself, behind more of the same.
        transport.set_credential(Credential::api_key("aaaab").unwrap());
        assert_eq!(transport.scrub_bytes(Bytes::from_static(b"aaaaaab!")), &b"aa[credential]!"[..]);
    }

    #[test]
    fn what_a_header_cannot_carry_is_refused_without_showing_it() {
        for bad in ["", "MARKER\n", " MARKER", "MARKER\r\nx: y", "MARKÉR"] {
            let error = Credential::api_key(bad).unwrap_err().to_string();
            assert!(!error.contains("MARK"), "{error}");
        }
        assert!(Credential::bearer("").is_err());
    }
}
