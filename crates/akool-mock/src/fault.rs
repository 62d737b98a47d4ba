//! Errors between a client and the service: [`Fault`].

use std::str::FromStr;

/// An error that the mock server can produce, independent of the timeline; see
/// [`MockServer::inject`](crate::MockServer::inject).
///
/// This enum is exhaustive on purpose: if a test states the result of each fault, a new fault does not compile until
/// the test covers it.
///
/// ```
/// use akool_mock::{Fault, MockServer, RetryAfter, Times};
///
/// # #[tokio::main(flavor = "current_thread")] async fn main() {
/// let server = MockServer::start().await;
/// // Two polls fail, and the third one is asked to pause. Then polls are answered again.
/// server.inject(Fault::Http(503), Times::N(2));
/// server.inject(Fault::RateLimited { retry_after: RetryAfter::Seconds(1) }, Times::Once);
/// // All three have not happened yet.
/// assert!(!server.unmet_expectations().is_empty());
/// # }
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Fault {
    /// The connection is refused.
    Refused,
    /// The host name has no address. The client under test needs a resolver that finds none.
    NameNotFound,
    /// The TLS handshake fails.
    TlsFails,
    /// The connection is never established.
    ConnectHangs,
    /// The connection is closed before the answer.
    ClosedBeforeHeaders,
    /// The connection is reset before the answer.
    ResetBeforeHeaders,
    /// The connection is reset in the middle of the headers.
    ResetInHeaders,
    /// The connection is reset in the middle of the body.
    ResetInBody,
    /// The connection is closed before the body reaches its `Content-Length`.
    TruncatedBody,
    /// The request is received, but never answered.
    NeverAnswers,
    /// The body arrives one byte at a time, fast enough to complete within seconds.
    Trickle,
    /// The headers arrive one byte per second, forever.
    DrippingHeaders,
    /// The body arrives one byte per second, forever.
    DrippingBody,
    /// `HTTP/1.1 103 Early Hints` responses arrive ten times per second, forever.
    EndlessInformational,
    /// The headers are larger than clients accept: 1 MiB.
    OversizedHeaders,
    /// This HTTP status, without an envelope.
    Http(u16),
    /// This HTTP status with the envelope of a gateway, whose `code` is the HTTP status.
    ForeignEnvelope(u16),
    /// HTTP 429 with this `Retry-After`. Without one, it is [`Http(429)`](Self::Http).
    RateLimited {
        /// The value of the header.
        retry_after: RetryAfter,
    },
    /// This redirect, to another path of the same server.
    Redirect(u16),
    /// HTTP 200 with an HTML page, like the sign-in page of a public network.
    Html,
    /// JSON that ends in the middle.
    TruncatedJson,
    /// HTTP 200 with an empty body.
    EmptyBody,
    /// The correct answer with the content type `text/plain`.
    WrongContentType,
    /// The correct answer with a string that is not valid UTF-8.
    NotUtf8,
    /// The correct answer in UTF-16.
    Utf16,
    /// A compressed answer, although the client did not accept compression.
    Compressed,
    /// An answer of 8 MiB.
    TooLarge,
    /// HTTP 200 with this business code in the envelope.
    Code(i64),
    /// `code` is missing.
    CodeMissing,
    /// The correct code as a string: `"1000"`.
    CodeAsText,
    /// `msg` is missing.
    MessageMissing,
    /// `msg` is null.
    MessageNull,
    /// The correct answer, as the only element of an array.
    EnvelopeInList,
    /// The correct answer in the `data` of another envelope.
    EnvelopeTwice,
    /// `data` is null.
    DataNull,
    /// `data` is missing.
    DataMissing,
    /// `data` is a string.
    DataString,
    /// `data` is an array.
    DataArray,
    /// `video_status` is missing.
    StatusMissing,
    /// The correct status in a field with another name, `videoStatus`.
    StatusRenamed,
    /// `video_status` is null.
    StatusNull,
    /// `video_status` is this undocumented number.
    StatusNumber(i64),
    /// `video_status` is 1e30.
    StatusHuge,
    /// The correct status as a string, such as `"3"`.
    StatusAsText,
    /// The correct status as a decimal fraction, such as `3.0`.
    StatusAsFraction,
    /// The status goes back to queued.
    StatusGoesBack,
    /// Completed without a link to the video.
    NoVideo,
    /// Completed with a link that is not a URL.
    VideoInvalidUrl,
    /// The correct status, but other fields have undocumented types.
    OtherTypes,
    /// The job has expired: code 1014, "resource does not exist".
    ExpiredJob,
}

/// The value of the header `Retry-After`, for [`Fault::RateLimited`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum RetryAfter {
    /// This number of seconds. A client must survive absurd and negative ones.
    Seconds(i64),
    /// A date this many seconds ahead of the server's clock.
    Date(i64),
}

/// The prefixes of the names of [`Fault::RateLimited`].
const RATE_LIMITED: &str = "rate-limited-";
const DATE: &str = "date-";

impl FromStr for Fault {
    type Err = String;

    /// Parses a [`name`](Self::name).
    fn from_str(text: &str) -> Result<Self, String> {
        let number = |prefix: &str| text.strip_prefix(prefix);
        let numbered = if let Some(status) = number("http-") {
            status.parse().ok().filter(|status| (100..=599).contains(status)).map(Self::Http)
        } else if let Some(status) = number("redirect-") {
            status.parse().ok().filter(|status| (300..=399).contains(status)).map(Self::Redirect)
        } else if let Some(code) = number("code-") {
            // `code-missing` and `code-as-text` start with `code-` too.
            code.parse().ok().map(Self::Code)
        } else if let Some(value) = number(RATE_LIMITED) {
            let retry_after = match value.strip_prefix(DATE) {
                Some(seconds) => seconds.parse().map(RetryAfter::Date),
                None => value.parse().map(RetryAfter::Seconds),
            };
            retry_after.ok().map(|retry_after| Self::RateLimited { retry_after })
        } else if let Some(status) = number("status-number-") {
            status.parse().ok().map(Self::StatusNumber)
        } else {
            None
        };
        let named = || Self::all().into_iter().find(|fault| fault.name() == text);
        numbered.or_else(named).ok_or_else(|| {
            format!("{text:?} is not a fault; use a variant of akool_mock::Fault in lower case with dashes, such as http-503, rate-limited-2, code-1005, html or truncated-json")
        })
    }
}

/// The business codes that a poll can get, and one undocumented code (1299).
const CODES: &[i64] = &[
    1003, 1004, 1005, 1006, 1008, 1009, 1010, 1011, 1013, 1014, 1015, 1101, 1102, 1103, 1104, 1109, 1200,
    1202, 1203, 1204, 1205, 1207, 1208, 1209, 1210, 1213, 1221, 1299,
];

impl Fault {
    /// Whether a request that meets this fault ends only with its timeout.
    pub fn hangs(self) -> bool {
        matches!(
            self,
            Self::NeverAnswers
                | Self::Trickle
                | Self::DrippingHeaders
                | Self::DrippingBody
                | Self::EndlessInformational
                | Self::ConnectHangs
        )
    }

    /// Returns every fault. Faults with a number occur once for each number that matters.
    ///
    /// ```
    /// use akool_mock::Fault;
    ///
    /// assert!(Fault::all().contains(&Fault::Code(1101)));
    /// ```
    pub fn all() -> Vec<Self> {
        let mut all = vec![
            Self::Refused,
            Self::NameNotFound,
            Self::TlsFails,
            Self::ConnectHangs,
            Self::ClosedBeforeHeaders,
            Self::ResetBeforeHeaders,
            Self::ResetInHeaders,
            Self::ResetInBody,
            Self::TruncatedBody,
            Self::NeverAnswers,
            Self::Trickle,
            Self::DrippingHeaders,
            Self::DrippingBody,
            Self::EndlessInformational,
            Self::OversizedHeaders,
        ];
        all.extend([400, 401, 403, 404, 408, 418, 425, 429, 500, 502, 503, 504].map(Self::Http));
        all.extend([Self::ForeignEnvelope(500), Self::ForeignEnvelope(504)]);
        // A second, a date, 300 years, and a negative number.
        let values = [1, 9_999_999_999, -5].map(RetryAfter::Seconds);
        all.extend(
            values
                .into_iter()
                .chain([RetryAfter::Date(2)])
                .map(|retry_after| Self::RateLimited { retry_after }),
        );
        all.extend([301, 302, 303, 307, 308].map(Self::Redirect));
        all.extend([
            Self::Html,
            Self::TruncatedJson,
            Self::EmptyBody,
            Self::WrongContentType,
            Self::NotUtf8,
            Self::Utf16,
            Self::Compressed,
            Self::TooLarge,
        ]);
        all.extend(CODES.iter().copied().map(Self::Code));
        all.extend([
            Self::CodeMissing,
            Self::CodeAsText,
            Self::MessageMissing,
            Self::MessageNull,
            Self::EnvelopeInList,
            Self::EnvelopeTwice,
            Self::DataNull,
            Self::DataMissing,
            Self::DataString,
            Self::DataArray,
            Self::StatusMissing,
            Self::StatusRenamed,
            Self::StatusNull,
            Self::StatusNumber(0),
            Self::StatusNumber(-1),
            Self::StatusNumber(5),
            Self::StatusHuge,
            Self::StatusAsText,
            Self::StatusAsFraction,
            Self::StatusGoesBack,
            Self::NoVideo,
            Self::VideoInvalidUrl,
            Self::OtherTypes,
            Self::ExpiredJob,
        ]);
        all
    }

    /// Returns the name of the fault in text, in lower case with dashes, such as `reset-in-body`, `http-503`,
    /// `code-1101`, `rate-limited-2` (in seconds) or `rate-limited-date-2`.
    ///
    /// ```
    /// use akool_mock::Fault;
    ///
    /// assert_eq!(Fault::Http(503).name(), "http-503");
    /// assert_eq!("http-503".parse(), Ok(Fault::Http(503)));
    /// ```
    pub fn name(self) -> String {
        match self {
            Self::RateLimited { retry_after: RetryAfter::Seconds(seconds) } => {
                return format!("{RATE_LIMITED}{seconds}");
            }
            Self::RateLimited { retry_after: RetryAfter::Date(seconds) } => {
                return format!("{RATE_LIMITED}{DATE}{seconds}");
            }
            _ => {}
        }
        let mut name = String::new();
        for letter in format!("{self:?}").chars() {
            match letter {
                'A'..='Z' => {
                    if !name.is_empty() {
                        name.push('-');
                    }
                    name.push(letter.to_ascii_lowercase());
                }
                '(' => name.push('-'),
                ')' => {}
                letter => name.push(letter),
            }
        }
        name
    }

    /// Describes the fault in a few words.
    pub fn description(self) -> String {
        match self {
            Self::Refused => "connection refused".into(),
            Self::NameNotFound => "host name not found (DNS)".into(),
            Self::TlsFails => "TLS handshake fails".into(),
            Self::ConnectHangs => "connection never established (connect timeout)".into(),
            Self::ClosedBeforeHeaders => "connection closed before the headers".into(),
            Self::ResetBeforeHeaders => "connection reset before the headers".into(),
            Self::ResetInHeaders => "connection reset in the headers".into(),
            Self::ResetInBody => "connection reset in the body".into(),
            Self::TruncatedBody => "connection closed before the end of the body".into(),
            Self::NeverAnswers => "never answered (read timeout)".into(),
            Self::Trickle => "body arrives byte by byte".into(),
            Self::DrippingHeaders => "endless headers, one byte per second".into(),
            Self::DrippingBody => "endless body, one byte per second".into(),
            Self::EndlessInformational => "endless HTTP 103 responses".into(),
            Self::OversizedHeaders => "headers of 1 MiB".into(),
            Self::Http(status) => format!("HTTP {status} without an envelope"),
            Self::ForeignEnvelope(status) => format!("HTTP {status} with a gateway's envelope"),
            Self::RateLimited { retry_after: RetryAfter::Seconds(seconds) } => {
                format!("HTTP 429, `Retry-After: {seconds}`")
            }
            Self::RateLimited { retry_after: RetryAfter::Date(seconds) } => {
                format!("HTTP 429, `Retry-After` with a date {seconds} seconds ahead")
            }
            Self::Redirect(status) => format!("HTTP {status}, a redirect"),
            Self::Html => "HTML page, HTTP 200".into(),
            Self::TruncatedJson => "truncated JSON".into(),
            Self::EmptyBody => "empty body".into(),
            Self::WrongContentType => "wrong content type".into(),
            Self::NotUtf8 => "invalid UTF-8 in a string".into(),
            Self::Utf16 => "UTF-16".into(),
            Self::Compressed => "unrequested compression".into(),
            Self::TooLarge => "body too large".into(),
            Self::Code(code) => format!("code {code}"),
            Self::CodeMissing => "`code` missing".into(),
            Self::CodeAsText => "`code` as a string".into(),
            Self::MessageMissing => "`msg` missing".into(),
            Self::MessageNull => "`msg` is null".into(),
            Self::EnvelopeInList => "the response in an array".into(),
            Self::EnvelopeTwice => "the response in another envelope".into(),
            Self::DataNull => "`data` is null".into(),
            Self::DataMissing => "`data` missing".into(),
            Self::DataString => "`data` is a string".into(),
            Self::DataArray => "`data` is an array".into(),
            Self::StatusMissing => "`video_status` missing".into(),
            Self::StatusRenamed => "`video_status` renamed".into(),
            Self::StatusNull => "`video_status` is null".into(),
            Self::StatusNumber(number) => format!("`video_status` is {number}"),
            Self::StatusHuge => "`video_status` is 1e30".into(),
            Self::StatusAsText => "`video_status` as a string".into(),
            Self::StatusAsFraction => "`video_status` as a decimal fraction".into(),
            Self::StatusGoesBack => "status goes back to queued".into(),
            Self::NoVideo => "completed without a link to the video".into(),
            Self::VideoInvalidUrl => "completed with an invalid link".into(),
            Self::OtherTypes => "fields with undocumented types".into(),
            Self::ExpiredJob => "expired job (code 1014)".into(),
        }
    }

    /// The part of the exchange that the fault affects.
    pub(crate) fn place(self) -> Place {
        match self {
            Self::Refused | Self::NameNotFound | Self::TlsFails | Self::ConnectHangs => Place::Connection,
            Self::ClosedBeforeHeaders
            | Self::ResetBeforeHeaders
            | Self::ResetInHeaders
            | Self::ResetInBody
            | Self::TruncatedBody
            | Self::NeverAnswers
            | Self::Trickle
            | Self::DrippingHeaders
            | Self::DrippingBody
            | Self::EndlessInformational => Place::Delivery,
            _ => Place::Answer,
        }
    }

    /// Whether a creation with this fault is certainly rejected. Faults that can also follow a request that was
    /// processed, completely or in part, do not count.
    pub(crate) fn rejects_creation(self) -> bool {
        match self {
            Self::Http(status) => matches!(status, 400..=407 | 409..=498),
            Self::Redirect(status) => matches!(status, 301 | 307 | 308),
            Self::RateLimited { .. } | Self::ExpiredJob => true,
            Self::Code(code) => CODES.contains(&code) && !matches!(code, 1015 | 1205 | 1208 | 1299),
            _ => false,
        }
    }
}

/// The part of an exchange that a fault affects.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    /// The connection, before the request.
    Connection,
    /// The transmission of the answer.
    Delivery,
    /// The contents of the answer.
    Answer,
}
