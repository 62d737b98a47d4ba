//! Why nothing was created, or why the outcome is unknown: [`CreateError`].

use std::{error::Error as StdError, fmt};

use crate::{error::Error, kind::ErrorKind, translate::created::Rejection};

/// Why a request created nothing, or why its outcome is unknown.
#[derive(Debug)]
#[non_exhaustive]
pub enum CreateError {
    /// The request breaks a documented rule. Nothing was sent.
    Invalid(InvalidTranslation),
    /// Nothing was created: the request was rejected, or did not reach the service. The same request may be sent again.
    NotCreated(NotCreated),
    /// The request may have reached the service. Jobs may exist and be paid for, but their ids are not known. Do not send
    /// the same request again before you know.
    OutcomeUnknown(Error),
}

/// Nothing was created.
#[derive(Debug)]
#[non_exhaustive]
pub struct NotCreated {
    /// Each language and why it was rejected, if the service rejected all of them one by one. Empty if the request failed
    /// as a whole.
    pub rejected: Vec<Rejection>,
    /// Why the request failed: as a whole, or for the first language.
    pub error: Error,
}

impl CreateError {
    /// Decides whether jobs may exist after a request that failed in this way.
    ///
    /// It is certain that they do not if the request never left this machine, or if the service itself rejected it. A
    /// gateway's response says nothing about what the service behind it did.
    pub(super) fn of(error: Error) -> Self {
        let status = error.http_status().unwrap_or_default();
        // A gateway may have passed the request on before it answered with 408 or 499. A 302 or 303 may follow a
        // success.
        let rejected = match error.code() {
            // With the service's own envelope, the code decides, unless a gateway made up the response.
            Some(code) => !code.may_have_created() && !matches!(status, 408 | 499..),
            None => matches!(status, 301 | 307 | 308 | 400..=407 | 409..=498),
        };
        if error.is_without_effect() || rejected {
            Self::NotCreated(NotCreated { rejected: Vec::new(), error })
        } else {
            Self::OutcomeUnknown(error)
        }
    }

    /// Whether jobs may exist that were paid for, so that the same request must not simply be sent again.
    pub fn may_have_created(&self) -> bool {
        matches!(self, Self::OutcomeUnknown(_))
    }

    /// The call that failed, if the request was valid.
    pub fn error(&self) -> Option<&Error> {
        match self {
            Self::Invalid(_) => None,
            Self::NotCreated(NotCreated { error, .. }) | Self::OutcomeUnknown(error) => Some(error),
        }
    }

    /// What to do next, as a sentence without a capital letter and a full stop.
    pub fn help(&self) -> &'static str {
        match self {
            Self::Invalid(_) => "change the request",
            Self::NotCreated(NotCreated { error, .. }) => match error.kind() {
                ErrorKind::UnknownJob => {
                    "check that what the request names exists and belongs to this account"
                }
                ErrorKind::RateLimited | ErrorKind::UnknownCode => "try again later",
                kind => kind.help(),
            },
            Self::OutcomeUnknown(_) => {
                "look for the jobs in the service's console before you create them again"
            }
        }
    }
}

impl From<InvalidTranslation> for CreateError {
    fn from(invalid: InvalidTranslation) -> Self {
        Self::Invalid(invalid)
    }
}

impl fmt::Display for CreateError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Invalid(invalid) => invalid.fmt(f),
            Self::NotCreated(NotCreated { rejected, error }) if rejected.is_empty() => {
                write!(f, "nothing was created: {error}")
            }
            Self::NotCreated(NotCreated { rejected, .. }) => {
                f.write_str("nothing was created")?;
                rejected.iter().enumerate().try_for_each(|(index, rejection)| {
                    write!(f, "{} {rejection}", if index == 0 { ':' } else { ';' })
                })
            }
            Self::OutcomeUnknown(error) => {
                write!(f, "the outcome is unknown: {error}; jobs may have been created and paid for")
            }
        }
    }
}

impl StdError for CreateError {
    /// The cause of the failed call, whose own text is in `Display`.
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.error().and_then(StdError::source)
    }
}

/// Which documented rule a request breaks, and what to do about it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct InvalidTranslation(String);

impl InvalidTranslation {
    pub(super) fn new(message: impl Into<String>) -> Self {
        Self(message.into())
    }
}
