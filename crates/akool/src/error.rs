//! What can go wrong in one call, and what to do about it: [`Error`].

use std::{error::Error as StdError, fmt, sync::Arc, time::Duration};

use akool_client::Transport;

use crate::{BusinessCode, JobId, Retry, redact};

/// Why one call failed: what was being done, on which job, what came, and what to do next.
///
/// Cheap to clone. It never holds a credential, nor the signed part of a link.
///
/// ```no_run
/// # async fn example(client: akool::Client) {
/// use akool::ErrorKind;
///
/// match client.job("64dd92c1f0b6684651e90e09").get().await {
///     Ok(snapshot) => println!("{}", snapshot.status()),
///     Err(error) if error.kind() == ErrorKind::UnknownJob => eprintln!("no such job"),
///     Err(error) if error.is_transient() => eprintln!("later: {error}"),
///     Err(error) => eprintln!("{error}"),
/// }
/// # }
/// ```
#[derive(Clone)]
pub struct Error(Arc<Inner>);

struct Inner {
    kind: ErrorKind,
    job: Option<JobId>,
    /// What came, in words.
    what: String,
    code: Option<BusinessCode>,
    http_status: Option<u16>,
    retry_after: Option<Duration>,
    /// Whether it is certain that nothing came of the request, whatever the error is.
    without_effect: bool,
    source: Option<Box<dyn StdError + Send + Sync>>,
}

/// What an [`Error`] means to whoever handles it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// No connection: refused, no such host, TLS failed, or not made in time.
    Connect,
    /// No complete answer within the time that a poll may take.
    Timeout,
    /// The connection broke.
    Interrupted,
    /// The service asks to come back later (HTTP 429 or code 1005).
    RateLimited,
    /// The service has trouble of its own (HTTP 408, 425 or 5xx without an envelope).
    Unavailable,
    /// The envelope has a code that the documents do not list.
    UnknownCode,
    /// The answer is not what the description promises: no JSON, no status, no job.
    Undecodable,
    /// The answer is larger than is kept.
    TooLarge,
    /// The job is completed, but the answer has no usable link to the video yet.
    MissingVideo,
    /// The key or token was refused (codes 1101, 1102, 1109 and 1200, or HTTP 401 and 403).
    CredentialsRefused,
    /// The service does not know the job (codes 1008 and 1014).
    UnknownJob,
    /// The service answered with a redirect. None is followed: it would carry the credential along.
    Redirected,
    /// Nothing is there (HTTP 404, 405 or 410 without an envelope): the base URL is not the service's.
    WrongAddress,
    /// The service refused the call for good.
    Rejected,
}

impl ErrorKind {
    /// Whether the same call may succeed a little later. A wait forgives these within its
    /// failure budget, and ends at once on the others.
    pub fn is_transient(self) -> bool {
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
            | Self::Rejected => false,
        }
    }

    /// The kind in lower-case words joined by underscores, such as `rate_limited`: for logs and
    /// programs.
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
        }
    }

    /// What to do about it, in one sentence.
    pub fn advice(self) -> &'static str {
        match self {
            Self::Connect => "check the network, the proxy settings and the base URL",
            Self::Timeout => "check the network, or allow a poll more time",
            Self::Interrupted => "try again",
            Self::RateLimited => "poll less often",
            Self::Unavailable => "try again later",
            Self::UnknownCode => {
                "try again later; if it stays, ask the service's support what the code means"
            }
            Self::Undecodable => {
                "check that the base URL is the service's and that no proxy answers in its place"
            }
            Self::TooLarge => {
                "check that the base URL is the service's and that no proxy answers in its place"
            }
            Self::MissingVideo => "poll again a little later",
            Self::CredentialsRefused => {
                "check the key or token and the account behind it, or make a new one in the service's console"
            }
            Self::UnknownJob => {
                "check the id (the `_id` that the creation answered) and that the key belongs to the same account"
            }
            Self::WrongAddress => "check the base URL: the service's API is not there",
            Self::Redirected => "set the base URL to where the service really is",
            Self::Rejected => {
                "change the call or the account as the message says; trying again does not help"
            }
        }
    }
}

impl Error {
    pub(crate) fn new(kind: ErrorKind, what: impl Into<String>) -> Self {
        Self(Arc::new(Inner {
            kind,
            job: None,
            what: what.into(),
            code: None,
            http_status: None,
            retry_after: None,
            without_effect: false,
            source: None,
        }))
    }

    /// The envelope says anything but success.
    pub(crate) fn business(code: BusinessCode, message: &str) -> Self {
        let kind = match (code.0, code.retry()) {
            (1008 | 1014, _) => ErrorKind::UnknownJob,
            (1101 | 1102 | 1109 | 1200, _) | (_, Retry::WithNewCredential) => ErrorKind::CredentialsRefused,
            (_, Retry::Never) => ErrorKind::Rejected,
            (_, Retry::Later) => ErrorKind::RateLimited,
            (_, Retry::Unknown) => ErrorKind::UnknownCode,
        };
        let mut what = format!("the service answered with code {code}");
        let message = redact::excerpt(message.trim());
        if !message.is_empty() {
            what += &format!(": \"{message}\"");
        }
        let mut error = Self::new(kind, what);
        error.edit(|inner| inner.code = Some(code));
        error
    }

    /// An HTTP status other than success, without an envelope.
    pub(crate) fn http(status: u16, body_start: &str) -> Self {
        let kind = match status {
            300..=399 => ErrorKind::Redirected,
            401 | 403 => ErrorKind::CredentialsRefused,
            404 | 405 | 410 => ErrorKind::WrongAddress,
            429 => ErrorKind::RateLimited,
            408 | 425 | 500..=599 => ErrorKind::Unavailable,
            _ => ErrorKind::Rejected,
        };
        let mut what = format!("the service answered with HTTP status {status}");
        if kind == ErrorKind::Redirected {
            what += ", a redirect, which is not followed";
        } else if !body_start.trim().is_empty() {
            what += &format!(": {}", redact::excerpt(body_start.trim()));
        }
        let mut error = Self::new(kind, what);
        error.edit(|inner| inner.http_status = Some(status));
        error
    }

    /// Trouble of which nothing but its kind was kept.
    pub(crate) fn recalled(kind: ErrorKind) -> Self {
        Self::new(kind, format!("an earlier poll failed ({kind:?})"))
    }

    pub(crate) fn transport(error: reqwest::Error) -> Self {
        let kind = if error.is_connect() {
            ErrorKind::Connect
        } else if error.is_timeout() {
            ErrorKind::Timeout
        } else if error.is_builder() || error.is_redirect() {
            ErrorKind::Rejected
        } else {
            ErrorKind::Interrupted
        };
        // The address stands in the URL's host; the rest of the URL says nothing new.
        let host = error.url().map(|url| match url.port() {
            Some(port) => format!("{}:{port}", url.host_str().unwrap_or_default()),
            None => url.host_str().unwrap_or_default().to_owned(),
        });
        let host = host.as_deref().unwrap_or("the service");
        let what = match kind {
            ErrorKind::Timeout => format!("no complete answer from {host} in time"),
            ErrorKind::Connect => format!("cannot connect to {host}: {}", root_cause(&error)),
            ErrorKind::Rejected => format!("the request cannot be made: {}", root_cause(&error)),
            _ => format!("the connection to {host} broke: {}", root_cause(&error)),
        };
        let mut made = Self::new(kind, what);
        made.edit(|inner| {
            // Never connected, or never made.
            inner.without_effect = matches!(kind, ErrorKind::Connect | ErrorKind::Rejected);
            inner.source = Some(Box::new(error.without_url()));
        });
        made
    }

    /// The generated client refused to make the request. Its text is its own, not an answer's.
    pub(crate) fn unsent(error: &akool_client::Error) -> Self {
        let why = match error {
            akool_client::Error::InvalidRequest(why) | akool_client::Error::Custom(why) => why,
            _ => "the HTTP client gave no reason",
        };
        Self::new(ErrorKind::Rejected, format!("the request cannot be made: {}", redact::excerpt(why)))
            .without_effect()
    }

    /// Says that nothing came of the request: it was never made, or was refused before.
    pub(crate) fn without_effect(mut self) -> Self {
        if let Some(inner) = Arc::get_mut(&mut self.0) {
            inner.without_effect = true;
            return self;
        }
        // Shared, as an error of a credential source may be.
        let inner = &self.0;
        Self(Arc::new(Inner {
            kind: inner.kind,
            job: inner.job.clone(),
            what: inner.what.clone(),
            code: inner.code,
            http_status: inner.http_status,
            retry_after: inner.retry_after,
            without_effect: true,
            source: None,
        }))
    }

    pub(crate) fn is_without_effect(&self) -> bool {
        self.0.without_effect
    }

    pub(crate) fn about(mut self, job: &JobId) -> Self {
        self.edit(|inner| inner.job = Some(job.clone()));
        self
    }

    /// Adds to what came.
    pub(crate) fn and(mut self, more: &str) -> Self {
        self.edit(|inner| inner.what.push_str(&redact::excerpt(more)));
        self
    }

    /// Takes the credential out of what came, where the service sent it back.
    pub(crate) fn scrubbed(mut self, transport: &Transport) -> Self {
        self.edit(|inner| inner.what = transport.scrub(&inner.what));
        self
    }

    pub(crate) fn with_http(mut self, status: u16, retry_after: Option<Duration>) -> Self {
        self.edit(|inner| {
            inner.http_status = Some(status);
            inner.retry_after = retry_after;
        });
        self
    }

    /// Only ever called before the error is handed out, so there is one owner.
    fn edit(&mut self, change: impl FnOnce(&mut Inner)) {
        if let Some(inner) = Arc::get_mut(&mut self.0) {
            change(inner);
        }
    }

    /// What went wrong, without the job and the [advice](ErrorKind::advice).
    pub fn cause(&self) -> &str {
        &self.0.what
    }

    /// What the error means to whoever handles it.
    pub fn kind(&self) -> ErrorKind {
        self.0.kind
    }

    /// The job that the call was about.
    pub fn job(&self) -> Option<&JobId> {
        self.0.job.as_ref()
    }

    /// The envelope's code, where the answer had one.
    pub fn code(&self) -> Option<BusinessCode> {
        self.0.code
    }

    /// The HTTP status, where there was an answer.
    pub fn http_status(&self) -> Option<u16> {
        self.0.http_status
    }

    /// How long the service asks to wait, where it does.
    pub fn retry_after(&self) -> Option<Duration> {
        self.0.retry_after
    }

    /// Whether the same call may succeed a little later; see [`ErrorKind::is_transient`].
    pub fn is_transient(&self) -> bool {
        self.0.kind.is_transient()
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(job) = &self.0.job {
            write!(f, "job {job}: ")?;
        }
        write!(f, "{}; {}", self.0.what, self.0.kind.advice())
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Error({:?}: {self})", self.0.kind)
    }
}

impl StdError for Error {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.0.source.as_deref().map(|source| source as _)
    }
}

/// The last cause of a chain: the one that says something ("Connection refused").
pub(crate) fn root_cause(error: &dyn StdError) -> String {
    let mut cause = error;
    while let Some(source) = cause.source() {
        cause = source;
    }
    redact::excerpt(&cause.to_string())
}
