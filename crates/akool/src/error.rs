//! Why one call failed: [`Error`].

use std::{error::Error as StdError, fmt, time::Duration};

use crate::{code::BusinessCode, id::JobId, kind::ErrorKind, redact};

/// Why one call failed.
///
/// `Display` says what failed, on which job, and why. [`source`](std::error::Error::source) has the error of the
/// HTTP client or of a credential source, if there is one; its text is not repeated in `Display`.
/// [`help`](Self::help) says what to do next. An error never contains a credential or the query of a link.
///
/// ```no_run
/// # async fn example(client: akool::Client) {
/// use akool::ErrorKind;
///
/// match client.job("64dd92c1f0b6684651e90e09").get().await {
///     Ok(snapshot) => println!("{}", snapshot.status()),
///     Err(error) if error.kind() == ErrorKind::UnknownJob => eprintln!("no such job"),
///     Err(error) if error.is_retryable() => eprintln!("later: {error}"),
///     Err(error) => eprintln!("{error}; {}", error.help()),
/// }
/// # }
/// ```
#[derive(Debug, thiserror::Error)]
#[error(transparent)]
pub struct Error(Box<Inner>);

#[derive(Debug)]
struct Inner {
    kind: ErrorKind,
    job: Option<JobId>,
    message: String,
    code: Option<BusinessCode>,
    http_status: Option<u16>,
    retry_after: Option<Duration>,
    without_effect: bool,
    source: Option<Box<dyn StdError + Send + Sync>>,
}

impl fmt::Display for Inner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.job {
            Some(job) => write!(f, "job {job}: {}", self.message),
            None => f.write_str(&self.message),
        }
    }
}

impl StdError for Inner {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.source.as_deref().map(|source| source as _)
    }
}

impl Error {
    pub(crate) fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self(Box::new(Inner {
            kind,
            job: None,
            message: message.into(),
            code: None,
            http_status: None,
            retry_after: None,
            without_effect: false,
            source: None,
        }))
    }

    /// The response is not what is documented.
    pub(crate) fn undecodable(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Undecodable, message)
    }

    /// The envelope has a code other than success.
    pub(crate) fn business(code: BusinessCode, message: &str) -> Self {
        let quoted = match redact::excerpt(message.trim()) {
            message if message.is_empty() => String::new(),
            message => format!(": \"{message}\""),
        };
        let mut error = Self::new(code.kind(), format!("the service answered with code {code}{quoted}"));
        error.0.code = Some(code);
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
        let detail = match (body_start.trim(), page(body_start)) {
            _ if kind == ErrorKind::Redirected => ", a redirect, which the client does not follow".to_owned(),
            (_, Some(page)) => format!(" and {page}"),
            ("", None) => String::new(),
            (start, None) => format!(": {}", redact::body(start)),
        };
        Self::new(kind, format!("the service answered with HTTP status {status}{detail}"))
    }

    /// The HTTP client failed.
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
        let host = error.url().and_then(|url| Some((url.host_str()?, url.port())));
        let host = match host {
            Some((host, Some(port))) => format!("{host}:{port}"),
            Some((host, None)) => host.to_owned(),
            None => "the service".to_owned(),
        };
        let message = match kind {
            ErrorKind::Connect => format!("cannot connect to {host}"),
            ErrorKind::Timeout => format!("no complete response from {host} in time"),
            ErrorKind::Rejected => "the request cannot be built".to_owned(),
            _ => format!("the connection to {host} broke before the response was complete"),
        };
        let mut made = Self::new(kind, message).with_source(error.without_url());
        made.0.without_effect = matches!(kind, ErrorKind::Connect | ErrorKind::Rejected);
        made
    }

    /// A pause that the service asked for is not over yet.
    pub(crate) fn paused(remaining: Duration) -> Self {
        let seconds = remaining.as_secs_f64().ceil();
        let message =
            format!("the service asked for a pause, which lasts another {seconds} s; nothing was sent");
        let mut error = Self::new(ErrorKind::RateLimited, message).without_effect();
        error.0.retry_after = Some(remaining);
        error
    }

    pub(crate) fn with_source(mut self, source: impl Into<Box<dyn StdError + Send + Sync>>) -> Self {
        self.0.source = Some(source.into());
        self
    }

    pub(crate) fn with_job(mut self, job: &JobId) -> Self {
        self.0.job = Some(job.clone());
        self
    }

    pub(crate) fn with_response(mut self, status: u16, retry_after: Option<Duration>) -> Self {
        self.0.http_status = Some(status);
        self.0.retry_after = retry_after;
        self
    }

    /// Marks that the request certainly had no effect: it was not sent, or it was refused.
    pub(crate) fn without_effect(mut self) -> Self {
        self.0.without_effect = true;
        self
    }

    pub(crate) fn is_without_effect(&self) -> bool {
        self.0.without_effect
    }

    /// Whether time ran out, also while connecting.
    pub(crate) fn is_timeout(&self) -> bool {
        let source = self.0.source.as_ref().and_then(|source| source.downcast_ref::<reqwest::Error>());
        self.kind() == ErrorKind::Timeout || source.is_some_and(reqwest::Error::is_timeout)
    }

    /// The kind of error: what it means to the code that handles it.
    pub fn kind(&self) -> ErrorKind {
        self.0.kind
    }

    /// Whether the same call may succeed later; see [`ErrorKind::is_retryable`].
    pub fn is_retryable(&self) -> bool {
        self.0.kind.is_retryable()
    }

    /// What to do next, as a sentence without a capital letter and a full stop.
    pub fn help(&self) -> &'static str {
        self.0.kind.help()
    }

    /// What failed and why, without the job. `Display` adds the job.
    pub fn message(&self) -> &str {
        &self.0.message
    }

    /// The job that the call was about.
    pub fn job(&self) -> Option<&JobId> {
        self.0.job.as_ref()
    }

    /// The code in the envelope, if the response had one.
    pub fn code(&self) -> Option<BusinessCode> {
        self.0.code
    }

    /// The HTTP status, if there was a response.
    pub fn http_status(&self) -> Option<u16> {
        self.0.http_status
    }

    /// How long the service asks to pause, from when the response arrived (the header `Retry-After`). The client
    /// honours at most [`MAX_RETRY_AFTER`](crate::MAX_RETRY_AFTER) of it.
    pub fn retry_after(&self) -> Option<Duration> {
        self.0.retry_after
    }
}

/// What to say of a body that is HTML or XML: its title, because the rest is not for people. `None` for other bodies.
pub(crate) fn page(body: &str) -> Option<String> {
    if !body.trim_start_matches('\u{feff}').trim_start().starts_with('<') {
        return None;
    }
    let title = body.split_once("<title>").and_then(|(_, rest)| rest.split_once("</title>"));
    let title = title.map(|(title, _)| redact::excerpt(title.trim())).filter(|title| !title.is_empty());
    Some(title.map_or_else(
        || "a page for browsers".to_owned(),
        |title| format!("a page for browsers (\"{title}\")"),
    ))
}
