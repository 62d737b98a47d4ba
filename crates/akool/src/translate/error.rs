//! Why nothing was created, or why the outcome is unknown: [`CreateError`].

use std::{error::Error as StdError, fmt};

use crate::{error::Error, kind::ErrorKind, translate::created::Rejection};

/// Why a request created nothing, or why its outcome is unknown.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use akool::{Client, CreateError, Credential};
///
/// let client = Client::new(Credential::api_key("the key")?)?;
/// match client.translate("talk.mp4").to("es").send().await {
///     Ok(created) => println!("{} jobs", created.jobs.len()),
///     Err(CreateError::OutcomeUnknown(error)) => eprintln!("find out whether jobs exist: {error}"),
///     // Here: the path of a file is not a URL. Nothing was sent.
///     Err(error) => {
///         assert!(!error.may_have_created());
///         eprintln!("{error}; {}", error.help());
///     }
/// }
/// # Ok(())
/// # }
/// ```
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
    pub(crate) fn of(error: Error) -> Self {
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{BusinessCode, Language, Rejection};

    #[test]
    fn the_code_and_the_status_decide_whether_jobs_may_exist() {
        let code =
            |code: i64, status: u16| Error::business(BusinessCode(code), "").with_response(status, None);
        let http = |status: u16| Error::http(status, "").with_response(status, None);
        for (error, may_have_created) in [
            (code(1006, 200), false),
            (code(1006, 400), false),
            (code(1006, 408), true),
            (code(1006, 499), true),
            (code(1006, 502), true),
            (code(1015, 200), true),
            (code(4711, 200), true),
            (http(302), true),
            (http(307), false),
            (http(401), false),
            (http(408), true),
            (http(409), false),
            (http(498), false),
            (http(499), true),
            (http(503), true),
            (Error::new(ErrorKind::Interrupted, "x"), true),
            (Error::new(ErrorKind::Interrupted, "x").without_effect(), false),
        ] {
            let shown = format!("{error:?}");
            assert_eq!(CreateError::of(error).may_have_created(), may_have_created, "{shown}");
        }
    }

    #[test]
    fn each_error_says_what_happened_why_and_what_to_do() {
        let cause = || Error::new(ErrorKind::Connect, "cannot connect").with_source("refused");
        let unknown = CreateError::OutcomeUnknown(cause());
        assert!(unknown.to_string().starts_with("the outcome is unknown: cannot connect; jobs may"));
        assert!(unknown.help().contains("console"));
        assert_eq!(StdError::source(&unknown).unwrap().to_string(), "refused");
        assert_eq!(unknown.error().unwrap().kind(), ErrorKind::Connect);

        let not_created =
            |rejected, kind| CreateError::NotCreated(NotCreated { rejected, error: Error::new(kind, "no") });
        let plain = not_created(Vec::new(), ErrorKind::Connect);
        assert_eq!(plain.to_string(), "nothing was created: no");
        assert_eq!(plain.help(), ErrorKind::Connect.help());
        assert!(not_created(Vec::new(), ErrorKind::UnknownJob).help().contains("belongs to this account"));
        for kind in [ErrorKind::RateLimited, ErrorKind::UnknownCode] {
            assert_eq!(not_created(Vec::new(), kind).help(), "try again later");
        }
        let rejection = |code: &str| {
            let mut rejection = Rejection::new(BusinessCode(1003), "unsupported");
            rejection.language = Some(Language::from(code));
            rejection
        };
        let text = not_created(vec![rejection("x"), rejection("y")], ErrorKind::Rejected).to_string();
        assert!(text.starts_with("nothing was created: x: ") && text.contains("; y: "), "{text}");

        let invalid = CreateError::from(InvalidTranslation::new("no URL"));
        assert_eq!((invalid.to_string().as_str(), invalid.help()), ("no URL", "change the request"));
        assert!(invalid.error().is_none() && StdError::source(&invalid).is_none());
    }
}
