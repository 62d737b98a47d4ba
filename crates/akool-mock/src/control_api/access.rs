//! Who may use the control API: [`Access`].

use bytes::Bytes;
use http::{
    Request, StatusCode,
    header::{AUTHORIZATION, HOST, ORIGIN},
};

use super::{Refusal, refuse};

/// Protects the control API. On the loopback interface anyone on this machine may use it, but no web page; elsewhere only
/// those who know the token.
#[derive(Clone, Debug)]
pub(crate) struct Access {
    pub(crate) is_loopback: bool,
    pub(crate) token: Option<String>,
}

impl Access {
    pub(super) fn check(&self, request: &Request<Bytes>) -> Result<(), Refusal> {
        let header = |name| request.headers().get(name).and_then(|value| value.to_str().ok());
        // A browser names the page that a request comes from. The caller checked `Host`.
        if request.headers().contains_key(ORIGIN) {
            let origin = header(ORIGIN).unwrap_or_default();
            let own = header(HOST).unwrap_or_default();
            if origin.strip_prefix("http://") != Some(own) {
                let why = "a page of another origin cannot use the control API";
                return refuse(StatusCode::FORBIDDEN, why);
            }
        }
        match &self.token {
            Some(token) if header(AUTHORIZATION).and_then(bearer) == Some(token) => Ok(()),
            Some(_) => {
                refuse(StatusCode::UNAUTHORIZED, "send `Authorization: Bearer` with the control token")
            }
            None if self.is_loopback => Ok(()),
            None => {
                let why = "the control API needs a token on an address that is not loopback: start the sandbox with \
                           --control-token";
                refuse(StatusCode::FORBIDDEN, why)
            }
        }
    }
}

fn bearer(value: &str) -> Option<&str> {
    value.strip_prefix("Bearer ")
}
