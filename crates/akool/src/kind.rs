//! The kinds of errors: [`ErrorKind`].

/// What an [`Error`](crate::Error) means to the code that handles it.
///
/// ```
/// use akool::{Error, ErrorKind};
///
/// fn report(error: &Error) {
///     match error.kind() {
///         ErrorKind::CredentialsRefused => eprintln!("replace the key: {error}"),
///         kind if kind.is_retryable() => eprintln!("later: {error}"),
///         kind => eprintln!("{error}; {}", kind.help()),
///     }
/// }
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize), serde(rename_all = "snake_case"))]
#[non_exhaustive]
pub enum ErrorKind {
    /// There is no connection: it was refused, the host name does not exist, TLS failed, or it took too long.
    Connect,
    /// There was no complete response within the request timeout.
    Timeout,
    /// The connection broke before the response was complete.
    Interrupted,
    /// The service asks to slow down (HTTP 429 or code 1005), or a pause that it asked for is not over yet.
    RateLimited,
    /// The service has a temporary problem of its own (HTTP 408, 425 or 5xx without an envelope).
    Unavailable,
    /// The envelope has a code that is not documented.
    UnknownCode,
    /// The response is not what is documented: it is not JSON, or lacks the code, the status or the data.
    Undecodable,
    /// The response is larger than the client reads.
    TooLarge,
    /// The job is completed, but the response has no usable link to the video yet.
    MissingVideo,
    /// The key or token was refused (codes 1101, 1102, 1109 and 1200, or HTTP 401 and 403).
    CredentialsRefused,
    /// The service does not know the job (codes 1008 and 1014).
    UnknownJob,
    /// The response is a redirect. The client follows none, because it would carry the credential along.
    Redirected,
    /// The address is not the service's (HTTP 404, 405 or 410 without an envelope).
    WrongAddress,
    /// The service refused the call for good.
    Rejected,
    /// The blocking client was called where a tokio runtime is active. Nothing was sent.
    AsyncContext,
}

impl ErrorKind {
    /// Whether the same call may succeed later. A wait retries these errors, and ends at once on the others.
    pub fn is_retryable(self) -> bool {
        match self {
            Self::Connect
            | Self::Timeout
            | Self::Interrupted
            | Self::RateLimited
            | Self::Unavailable
            | Self::UnknownCode
            | Self::Undecodable
            | Self::TooLarge
            | Self::MissingVideo => true,
            Self::CredentialsRefused
            | Self::UnknownJob
            | Self::Redirected
            | Self::WrongAddress
            | Self::Rejected
            | Self::AsyncContext => false,
        }
    }

    /// The kind in snake case, such as `rate_limited`: for logs and programs.
    pub fn name(self) -> &'static str {
        match self {
            Self::Connect => "connect",
            Self::Timeout => "timeout",
            Self::Interrupted => "interrupted",
            Self::RateLimited => "rate_limited",
            Self::Unavailable => "unavailable",
            Self::UnknownCode => "unknown_code",
            Self::Undecodable => "undecodable",
            Self::TooLarge => "too_large",
            Self::MissingVideo => "missing_video",
            Self::CredentialsRefused => "credentials_refused",
            Self::UnknownJob => "unknown_job",
            Self::Redirected => "redirected",
            Self::WrongAddress => "wrong_address",
            Self::Rejected => "rejected",
            Self::AsyncContext => "async_context",
        }
    }

    /// What to do about it, as a sentence without a capital letter and a full stop.
    pub fn help(self) -> &'static str {
        match self {
            Self::Connect => "check the network, the proxy settings and the base URL",
            Self::Timeout => "check the network, or set a longer request timeout",
            Self::Interrupted => "try again",
            Self::RateLimited => "wait until the pause is over, then send fewer requests",
            Self::Unavailable => "try again later",
            Self::UnknownCode => "try again later; if it persists, ask AKOOL's support about the code",
            Self::Undecodable | Self::TooLarge => {
                "check that the base URL is the service's, and that no proxy answers in its place"
            }
            Self::MissingVideo => "poll again later",
            Self::CredentialsRefused => {
                "check the key or token and its account, or create a new key in the service's console"
            }
            Self::UnknownJob => {
                "check the id (the `_id` that the creation returned), and that the key belongs to the same account"
            }
            Self::Redirected => "set the base URL to the address that the redirect leads to, if you trust it",
            Self::WrongAddress => "check the base URL: the service's API is not there",
            Self::Rejected => "correct what the message names; the same request will fail again",
            Self::AsyncContext => {
                "await akool::Client instead, or use the blocking client on a thread of its own"
            }
        }
    }
}
