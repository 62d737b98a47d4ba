//! The key or token that goes with a request: [`Credential`].

use std::fmt;

use bytes::Bytes;
use http::{HeaderName, HeaderValue, header::AUTHORIZATION};
use memchr::memmem;
use secrecy::{ExposeSecret, SecretString};

/// Replaces a credential that a server sent back.
const REDACTED: &str = "[credential]";
/// A shorter credential cannot be distinguished from other text, and is not redacted.
const MIN_REDACTED_LEN: usize = 4;

/// An API key or a bearer token, sent in one header.
///
/// Its value appears nowhere: `Debug` hides it, and the header is marked sensitive. The copy in here is
/// wiped when it is dropped; those in HTTP buffers are not.
///
/// ```
/// use akool_client::Credential;
///
/// let key = Credential::api_key("the key")?;
/// assert_eq!(format!("{key:?}"), "Credential(x-api-key: [redacted])");
/// # Ok::<(), akool_client::InvalidCredential>(())
/// ```
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
    /// If `key` is empty or has a character that a header cannot carry.
    pub fn api_key(key: impl Into<SecretString>) -> Result<Self, InvalidCredential> {
        Self::new(HeaderName::from_static("x-api-key"), key.into())
    }

    /// A bearer token, sent as `Authorization: Bearer TOKEN`.
    ///
    /// # Errors
    /// If `token` is empty or has a character that a header cannot carry.
    pub fn bearer(token: impl Into<SecretString>) -> Result<Self, InvalidCredential> {
        let token = token.into();
        validate(&token)?;
        let value = SecretString::from(format!("Bearer {}", token.expose_secret()));
        Self::new(AUTHORIZATION, value)
    }

    fn new(header: HeaderName, value: SecretString) -> Result<Self, InvalidCredential> {
        validate(&value)?;
        Ok(Self { header, value })
    }

    /// The header that carries the credential. `None` cannot happen: [`validate`] checked the value.
    pub(crate) fn header(&self) -> Option<(HeaderName, HeaderValue)> {
        let mut value = HeaderValue::from_str(self.value.expose_secret()).ok()?;
        value.set_sensitive(true);
        Some((self.header.clone(), value))
    }

    /// The bytes with `[credential]` in place of the key or token.
    pub(crate) fn redact(&self, bytes: Bytes) -> Bytes {
        let secret = self.secret();
        if !is_in(secret, &bytes) {
            return bytes;
        }
        let mut redacted = Vec::with_capacity(bytes.len());
        let mut rest = 0;
        for found in memmem::find_iter(&bytes, secret) {
            redacted.extend_from_slice(&bytes[rest..found]);
            redacted.extend_from_slice(REDACTED.as_bytes());
            rest = found + secret.len();
        }
        redacted.extend_from_slice(&bytes[rest..]);
        redacted.into()
    }

    /// The same for the value of a header.
    pub(crate) fn redact_header(&self, value: &mut HeaderValue) {
        if is_in(self.secret(), value.as_bytes()) {
            let redacted = self.redact(Bytes::copy_from_slice(value.as_bytes()));
            *value = HeaderValue::from_maybe_shared(redacted).unwrap_or(HeaderValue::from_static(REDACTED));
        }
    }

    /// The key or token itself.
    fn secret(&self) -> &[u8] {
        let value = self.value.expose_secret();
        value.strip_prefix("Bearer ").unwrap_or(value).as_bytes()
    }
}

/// Building a searcher for the whole secret costs more than reading a small body, so this first searches for its
/// first bytes.
fn is_in(secret: &[u8], bytes: &[u8]) -> bool {
    secret
        .get(..MIN_REDACTED_LEN)
        .is_some_and(|start| memmem::find(bytes, start).is_some() && memmem::find(bytes, secret).is_some())
}

fn validate(value: &SecretString) -> Result<(), InvalidCredential> {
    let value = value.expose_secret();
    if value.is_empty() {
        return Err(InvalidCredential("is empty"));
    }
    if !value.bytes().all(|byte| matches!(byte, b' '..=b'~')) || value.trim() != value {
        return Err(InvalidCredential(
            "has a line break, surrounding blanks or another character that a header cannot carry",
        ));
    }
    Ok(())
}

impl fmt::Debug for Credential {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Credential({}: [redacted])", self.header)
    }
}

/// A key or token that cannot be sent. It says why, and never shows the value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InvalidCredential(&'static str);

impl InvalidCredential {
    /// The reason, as the end of a sentence whose subject is the credential: "is empty".
    pub fn reason(&self) -> &'static str {
        self.0
    }
}

impl fmt::Display for InvalidCredential {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the credential {}", self.0)
    }
}

impl std::error::Error for InvalidCredential {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debug_and_headers_hide_the_value() {
        let key = Credential::api_key("MARKER").unwrap();
        let token = Credential::bearer("MARKER").unwrap();
        assert!(!format!("{key:?} {token:?}").contains("MARKER"));
        let (_, value) = token.header().unwrap();
        assert_eq!(value, "Bearer MARKER");
        assert!(value.is_sensitive() && key.header().unwrap().1.is_sensitive());
    }

    #[test]
    fn a_credential_that_a_server_sends_back_is_redacted() {
        let token = Credential::bearer("MARKER").unwrap();
        let redact = |bytes: &'static [u8]| token.redact(Bytes::from_static(bytes));
        assert_eq!(redact(b"\xffMARKER, MARKER."), &b"\xff[credential], [credential]."[..]);
        assert_eq!(redact(b"MARKE"), &b"MARKE"[..]);
        for (value, wanted) in [("a MARKER", "a [credential]"), ("another", "another")] {
            let mut value = HeaderValue::from_static(value);
            token.redact_header(&mut value);
            assert_eq!(value, wanted);
        }
        // The start of this key occurs again inside it.
        let key = Credential::api_key("aaaab").unwrap();
        assert_eq!(key.redact(Bytes::from_static(b"aaaaaab!")), &b"aa[credential]!"[..]);
        let short = Credential::api_key("abc").unwrap();
        assert_eq!(short.redact(Bytes::from_static(b"abc")), &b"abc"[..]);
    }

    #[test]
    fn a_value_that_a_header_cannot_carry_is_an_error_that_hides_it() {
        for bad in ["", "MARKER\n", " MARKER", "MARKER\r\nx: y", "MARKÉR"] {
            let error = Credential::api_key(bad).unwrap_err().to_string();
            assert!(!error.contains("MARK"), "{error}");
        }
        assert!(Credential::bearer("").is_err());
    }
}
