//! Why a creation failed, and whether jobs may exist all the same: [`CreateError`].

use std::fmt;

use super::Rejection;
use crate::{Error, ErrorKind, Retry};

/// Why [`Translate::send`](crate::Translate::send) failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CreateError {
    /// The request breaks a documented rule. Nothing was sent.
    #[error(transparent)]
    Invalid(#[from] InvalidTranslation),
    /// The request was rejected, or did not reach the service. Nothing was created, and the same request
    /// may be sent again.
    #[error("nothing was created: {}; {}", .0.cause(), advice(.0))]
    NotCreated(Error),
    /// The service rejected every language on its own. Nothing was created.
    #[error("nothing was created: {}", list(.0))]
    AllRejected(Vec<Rejection>),
    /// The request may have reached the service, so jobs may have been created and paid for, but their
    /// ids are unknown. The request is not sent again.
    #[error(
        "the outcome is unknown: {}; jobs may have been created and paid for. Look for them in the \
         service's console before you send the request again",
        .0.cause()
    )]
    OutcomeUnknown(#[source] Error),
}

impl CreateError {
    /// Decides whether a failed request may have created jobs. It certainly has not if it never left
    /// this machine, or if the service itself rejected it. A response of a gateway does not tell what
    /// the service behind it has done.
    pub(super) fn of(error: Error) -> Self {
        let status = error.http_status().unwrap_or_default();
        // 408 and 499 may come from a gateway that has passed the request on; 302 and 303 may follow a
        // success.
        let rejected_by_status = matches!(status, 301 | 307 | 308 | 400..=407 | 409..=498);
        let rejected_by_code = error.code().is_some_and(|code| {
            let processing_failed = matches!(code.0, 1015 | 1205 | 1208);
            let by_a_gateway = matches!(status, 408 | 499..);
            code.retry() != Retry::Unknown && !processing_failed && !by_a_gateway
        });
        if error.is_without_effect() || rejected_by_status || rejected_by_code {
            Self::NotCreated(error)
        } else {
            Self::OutcomeUnknown(error)
        }
    }

    /// Returns whether jobs may exist that were paid for, so that the same request must not simply be
    /// sent again.
    pub fn may_have_created(&self) -> bool {
        matches!(self, Self::OutcomeUnknown(_))
    }

    /// Returns the error of the failed request, if one was sent.
    pub fn call(&self) -> Option<&Error> {
        match self {
            Self::NotCreated(error) | Self::OutcomeUnknown(error) => Some(error),
            _ => None,
        }
    }
}

/// Which documented rule a request breaks, and how to correct it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InvalidTranslation(String);

impl InvalidTranslation {
    pub(super) fn new(why: impl Into<String>) -> Self {
        Self(why.into())
    }
}

impl fmt::Display for InvalidTranslation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for InvalidTranslation {}

fn list(rejected: &[Rejection]) -> String {
    let rejected: Vec<_> = rejected.iter().map(ToString::to_string).collect();
    rejected.join("; ")
}

/// Returns the next step after a request that created nothing.
fn advice(error: &Error) -> &'static str {
    match error.kind() {
        ErrorKind::UnknownJob => "check that what the request names exists, and belongs to this account",
        ErrorKind::RateLimited | ErrorKind::UnknownCode => "try again a little later",
        ErrorKind::Timeout => "check the network, or allow more time",
        kind => kind.advice(),
    }
}
