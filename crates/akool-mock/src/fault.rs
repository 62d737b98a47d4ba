//! What can go wrong between a client and the service: [`Fault`].

use std::{
    str::FromStr,
    time::{Duration, SystemTime},
};

use bytes::Bytes;
use http::{
    HeaderValue, Response, StatusCode,
    header::{CONTENT_ENCODING, CONTENT_TYPE, LOCATION, RETRY_AFTER},
};
use serde_json::{Value, json};

use crate::answer;

/// A kind of trouble, to be laid over any timeline with
/// [`MockServer::inject`](crate::MockServer::inject).
///
/// Exhaustive on purpose: a test that says what each of them comes to is told by the compiler when
/// there is a new one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Fault {
    /// Nobody listens.
    Refused,
    /// The host has no address. The client under test must be given a resolver that finds none.
    NameNotFound,
    /// What answers does not speak TLS.
    TlsFails,
    /// The connection is never made.
    ConnectHangs,
    /// The connection is closed before the answer.
    ClosedBeforeHeaders,
    /// The connection is reset before the answer.
    ResetBeforeHeaders,
    /// The connection is reset within the headers.
    ResetInHeaders,
    /// The connection is reset within the body.
    ResetInBody,
    /// The connection is closed before the body has its announced length.
    TruncatedBody,
    /// The request is taken, and never answered.
    NeverAnswers,
    /// The body comes a byte at a time.
    Trickle,
    /// This HTTP status, without an envelope.
    Http(u16),
    /// This HTTP status with an envelope that is not the service's: its `code` is the status, as some
    /// gateways have it.
    ForeignEnvelope(u16),
    /// HTTP 429 with `Retry-After: 1`.
    RetryAfterSeconds,
    /// HTTP 429 with the date of the next second but one in `Retry-After`.
    RetryAfterDate,
    /// HTTP 429 with a `Retry-After` of three hundred years.
    RetryAfterAbsurd,
    /// HTTP 429 with `Retry-After: -5`.
    RetryAfterNegative,
    /// This redirect, to another place of the same server.
    Redirect(u16),
    /// A page for people with HTTP status 200, as a hotel's network has it.
    Html,
    /// JSON that ends in the middle.
    TruncatedJson,
    /// No body at all, with HTTP status 200.
    EmptyBody,
    /// The right answer, called `text/plain`.
    WrongContentType,
    /// The right answer with bytes that are no UTF-8 in a text.
    NotUtf8,
    /// The right answer in UTF-16.
    Utf16,
    /// An answer compressed though nobody asked for it.
    Compressed,
    /// An answer of 8 MiB.
    TooLarge,
    /// This business code in the envelope, with HTTP status 200.
    Code(i64),
    /// There is no `code`.
    CodeMissing,
    /// The right code as a text: `"1000"`.
    CodeAsText,
    /// There is no `msg`.
    MessageMissing,
    /// `msg` is null.
    MessageNull,
    /// The right answer, alone in a list.
    EnvelopeInList,
    /// The right answer in the `data` of another envelope.
    EnvelopeTwice,
    /// `data` is null.
    DataNull,
    /// There is no `data`.
    DataMissing,
    /// `data` is a text.
    DataString,
    /// `data` is a list.
    DataArray,
    /// There is no `video_status`.
    StatusMissing,
    /// The right status under another name, `videoStatus`.
    StatusRenamed,
    /// `video_status` is null.
    StatusNull,
    /// `video_status` is this number, which is not documented.
    StatusNumber(i64),
    /// `video_status` is 1e30.
    StatusHuge,
    /// The right status as a text, such as `"3"`.
    StatusAsText,
    /// The right status as a fraction, such as `3.0`.
    StatusAsFraction,
    /// The status goes back to queueing.
    StatusGoesBack,
    /// Completed, without a link to the video.
    NoVideo,
    /// Completed, with a link that is none.
    VideoIsNoUrl,
    /// The right status beside fields of other types than described.
    OtherTypes,
    /// The service has forgotten the job: code 1014, "resource does not exist".
    Forgotten,
}

impl FromStr for Fault {
    type Err = String;

    /// From its [`name`](Self::name).
    fn from_str(text: &str) -> Result<Self, String> {
        let number = |prefix: &str| text.strip_prefix(prefix);
        let numbered = if let Some(status) = number("http-") {
            status.parse().ok().filter(|status| (100..=599).contains(status)).map(Self::Http)
        } else if let Some(status) = number("redirect-") {
            status.parse().ok().filter(|status| (300..=399).contains(status)).map(Self::Redirect)
        } else if let Some(code) = number("code-") {
            // Two of them begin with the word, without a number.
            code.parse().ok().map(Self::Code)
        } else if let Some(status) = number("status-number-") {
            status.parse().ok().map(Self::StatusNumber)
        } else {
            None
        };
        let named = || Self::all().into_iter().find(|fault| fault.name() == text);
        numbered.or_else(named).ok_or_else(|| {
            format!("{text:?} is no fault; it is one of akool_mock::Fault, in lower case with dashes, such as http-503, code-1005, html or truncated-json")
        })
    }
}

/// How often a [`Fault`] happens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Times {
    /// To the next request only.
    Once,
    /// To this many requests.
    Times(u32),
    /// Until [`MockServer::clear_faults`](crate::MockServer::clear_faults).
    Always,
    /// To each request with this probability, until [`MockServer::clear_faults`](crate::MockServer::clear_faults). The
    /// same seed strikes the same requests; what it does not strike goes to the faults laid after it.
    WithProbability {
        /// Of 100 requests, how many.
        percent: u8,
        /// Where chance begins.
        seed: u64,
    },
}

impl Times {
    /// Whether it happens to this request, counted.
    pub(crate) fn strikes(&mut self) -> bool {
        match self {
            Self::Once | Self::Always => true,
            Self::Times(0) => false,
            Self::Times(left) => {
                *left -= 1;
                true
            }
            Self::WithProbability { percent, seed } => {
                // SplitMix64: small, and the same on every machine.
                *seed = seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
                let mut drawn = *seed;
                drawn = (drawn ^ (drawn >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
                drawn = (drawn ^ (drawn >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
                (drawn ^ (drawn >> 31)) % 100 < u64::from(*percent)
            }
        }
    }

    /// Whether it does not happen again, after it has happened.
    pub(crate) fn is_spent(self) -> bool {
        matches!(self, Self::Once | Self::Times(0))
    }

    /// How often it is still to happen, where that is a number.
    pub(crate) fn left(self) -> Option<u32> {
        match self {
            Self::Once => Some(1),
            Self::Times(left) => Some(left).filter(|left| *left > 0),
            Self::Always | Self::WithProbability { .. } => None,
        }
    }
}

/// How the bytes of an answer go out, where not in one piece. In a response's extensions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Delivery {
    CloseBeforeHeaders,
    ResetBeforeHeaders,
    ResetInHeaders,
    ResetInBody,
    Truncate,
    Never,
    Trickle,
}

/// Business codes that a poll can meet, and one that nobody documented.
const CODES: [i64; 28] = [
    1003, 1004, 1005, 1006, 1008, 1009, 1010, 1011, 1013, 1014, 1015, 1101, 1102, 1103, 1104, 1109, 1200,
    1202, 1203, 1204, 1205, 1207, 1208, 1209, 1210, 1213, 1221, 1299,
];

impl Fault {
    /// Every kind of trouble, those with a number in all the shapes that matter.
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
        ];
        all.extend([400, 401, 403, 404, 408, 418, 425, 429, 500, 502, 503, 504].map(Self::Http));
        all.extend([
            Self::ForeignEnvelope(500),
            Self::ForeignEnvelope(504),
            Self::RetryAfterSeconds,
            Self::RetryAfterDate,
            Self::RetryAfterAbsurd,
            Self::RetryAfterNegative,
        ]);
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
        all.extend(CODES.map(Self::Code));
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
            Self::VideoIsNoUrl,
            Self::OtherTypes,
            Self::Forgotten,
        ]);
        all
    }

    /// Its name where it is given as text: in lower case with dashes, such as `reset-in-body`, `http-503`,
    /// `code-1101`.
    ///
    /// ```
    /// use akool_mock::Fault;
    ///
    /// assert_eq!(Fault::Http(503).name(), "http-503");
    /// assert_eq!("http-503".parse(), Ok(Fault::Http(503)));
    /// ```
    pub fn name(self) -> String {
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

    /// What happens, in a few words.
    pub fn description(self) -> String {
        match self {
            Self::Refused => "connection refused".into(),
            Self::NameNotFound => "host name not found (DNS)".into(),
            Self::TlsFails => "TLS handshake fails".into(),
            Self::ConnectHangs => "connection never made (connect timeout)".into(),
            Self::ClosedBeforeHeaders => "connection closed before the headers".into(),
            Self::ResetBeforeHeaders => "connection reset before the headers".into(),
            Self::ResetInHeaders => "connection reset within the headers".into(),
            Self::ResetInBody => "connection reset within the body".into(),
            Self::TruncatedBody => "connection closed before the announced length".into(),
            Self::NeverAnswers => "never answered (read timeout)".into(),
            Self::Trickle => "body trickles in".into(),
            Self::Http(status) => format!("HTTP {status} without an envelope"),
            Self::ForeignEnvelope(status) => format!("HTTP {status} with a gateway's envelope"),
            Self::RetryAfterSeconds => "HTTP 429, `Retry-After` in seconds".into(),
            Self::RetryAfterDate => "HTTP 429, `Retry-After` as a date".into(),
            Self::RetryAfterAbsurd => "HTTP 429, `Retry-After` of centuries".into(),
            Self::RetryAfterNegative => "HTTP 429, `Retry-After` negative".into(),
            Self::Redirect(status) => format!("HTTP {status}, a redirect"),
            Self::Html => "a page for people, HTTP 200".into(),
            Self::TruncatedJson => "truncated JSON".into(),
            Self::EmptyBody => "empty body".into(),
            Self::WrongContentType => "wrong content type".into(),
            Self::NotUtf8 => "a text that is not UTF-8".into(),
            Self::Utf16 => "UTF-16".into(),
            Self::Compressed => "compressed, unasked".into(),
            Self::TooLarge => "a body too large to keep".into(),
            Self::Code(code) => format!("code {code}"),
            Self::CodeMissing => "`code` missing".into(),
            Self::CodeAsText => "`code` as a text".into(),
            Self::MessageMissing => "`msg` missing".into(),
            Self::MessageNull => "`msg` null".into(),
            Self::EnvelopeInList => "the answer in a list".into(),
            Self::EnvelopeTwice => "the answer in an envelope of its own".into(),
            Self::DataNull => "`data` null".into(),
            Self::DataMissing => "`data` missing".into(),
            Self::DataString => "`data` a text".into(),
            Self::DataArray => "`data` a list".into(),
            Self::StatusMissing => "`video_status` missing".into(),
            Self::StatusRenamed => "`video_status` renamed".into(),
            Self::StatusNull => "`video_status` null".into(),
            Self::StatusNumber(number) => format!("`video_status` {number}"),
            Self::StatusHuge => "`video_status` 1e30".into(),
            Self::StatusAsText => "`video_status` as a text".into(),
            Self::StatusAsFraction => "`video_status` as a fraction".into(),
            Self::StatusGoesBack => "status goes back to queueing".into(),
            Self::NoVideo => "completed without a link to the video".into(),
            Self::VideoIsNoUrl => "completed with a link that is none".into(),
            Self::OtherTypes => "fields of other types than described".into(),
            Self::Forgotten => "an expired job (code 1014)".into(),
        }
    }

    /// Where in an exchange it happens.
    pub(crate) fn place(self) -> Place {
        match self {
            Self::Refused | Self::NameNotFound | Self::TlsFails | Self::ConnectHangs => Place::Connection,
            Self::ClosedBeforeHeaders
            | Self::ResetBeforeHeaders
            | Self::ResetInHeaders
            | Self::ResetInBody
            | Self::TruncatedBody
            | Self::NeverAnswers
            | Self::Trickle => Place::Delivery,
            _ => Place::Answer,
        }
    }

    /// Whether it turns a request away, so that nothing comes of it. What may also come of a request
    /// that was passed on, or has failed half-way, does not.
    pub(crate) fn turns_away(self) -> bool {
        match self {
            Self::Http(status) => matches!(status, 400..=407 | 409..=498),
            Self::Redirect(status) => matches!(status, 301 | 307 | 308),
            Self::RetryAfterSeconds
            | Self::RetryAfterDate
            | Self::RetryAfterAbsurd
            | Self::RetryAfterNegative
            | Self::Forgotten => true,
            Self::Code(code) => CODES.contains(&code) && !matches!(code, 1015 | 1205 | 1208 | 1299),
            _ => false,
        }
    }

    /// The answer with the fault in it. `state` is the answer that there would have been.
    pub(crate) fn spoil(self, mut response: Response<Bytes>, now: SystemTime) -> Response<Bytes> {
        let delivery = match self {
            Self::ClosedBeforeHeaders => Some(Delivery::CloseBeforeHeaders),
            Self::ResetBeforeHeaders => Some(Delivery::ResetBeforeHeaders),
            Self::ResetInHeaders => Some(Delivery::ResetInHeaders),
            Self::ResetInBody => Some(Delivery::ResetInBody),
            Self::TruncatedBody => Some(Delivery::Truncate),
            Self::NeverAnswers => Some(Delivery::Never),
            Self::Trickle => Some(Delivery::Trickle),
            _ => None,
        };
        if let Some(delivery) = delivery {
            response.extensions_mut().insert(delivery);
            return response;
        }
        match self {
            Self::Http(status) => bare(status, "<h1>No service here</h1>"),
            Self::ForeignEnvelope(status) => {
                let mut response = edit_json(response, |answer| {
                    *answer = answer::error(status.into(), "upstream request timeout");
                });
                *response.status_mut() =
                    StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
                response
            }
            Self::RetryAfterSeconds => retry_after("1"),
            Self::RetryAfterDate => retry_after(&httpdate::fmt_http_date(now + Duration::from_secs(2))),
            Self::RetryAfterAbsurd => retry_after("9999999999"),
            Self::RetryAfterNegative => retry_after("-5"),
            Self::Redirect(status) => {
                let mut response = bare(status, "");
                response.headers_mut().insert(LOCATION, HeaderValue::from_static("/elsewhere"));
                response
            }
            Self::Html => {
                let page = "<!doctype html><title>Welcome</title><p>Please sign in to the network.";
                let mut response = bare(200, page);
                response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/html"));
                response
            }
            Self::TruncatedJson => edit_bytes(response, |bytes| bytes.slice(..bytes.len() / 2)),
            Self::EmptyBody => edit_bytes(response, |_| Bytes::new()),
            Self::WrongContentType => {
                response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/plain"));
                response
            }
            Self::NotUtf8 => edit_bytes(response, |bytes| {
                let text = String::from_utf8_lossy(bytes).replacen("\"OK\"", "\"\u{1}\"", 1);
                text.bytes().map(|byte| if byte == 1 { 0xff } else { byte }).collect()
            }),
            Self::Utf16 => edit_bytes(response, |bytes| {
                String::from_utf8_lossy(bytes).encode_utf16().flat_map(u16::to_le_bytes).collect()
            }),
            Self::Compressed => {
                let mut response = edit_bytes(response, |_| Bytes::from_static(&GZIP));
                response.headers_mut().insert(CONTENT_ENCODING, HeaderValue::from_static("gzip"));
                response
            }
            Self::TooLarge => edit_bytes(response, |_| Bytes::from(vec![b' '; 8 * 1024 * 1024])),
            Self::Code(code) => {
                edit_json(response, |answer| *answer = answer::error(code, "as documented, or not"))
            }
            Self::Forgotten => {
                edit_json(response, |answer| *answer = answer::error(1014, "The resource does not exist"))
            }
            Self::CodeMissing => edit_json(response, |answer| {
                answer.as_object_mut().map(|answer| answer.remove("code"));
            }),
            Self::CodeAsText => {
                edit_json(response, |answer| answer["code"] = answer["code"].to_string().into())
            }
            Self::MessageMissing => edit_json(response, |answer| {
                answer.as_object_mut().map(|answer| answer.remove("msg"));
            }),
            Self::MessageNull => edit_json(response, |answer| answer["msg"] = Value::Null),
            Self::EnvelopeInList => edit_json(response, |answer| *answer = json!([answer.take()])),
            Self::EnvelopeTwice => edit_json(response, |answer| {
                *answer = json!({ "code": 1000, "msg": "OK", "data": answer.take() });
            }),
            Self::DataNull => edit_json(response, |answer| answer["data"] = Value::Null),
            Self::DataMissing => edit_json(response, |answer| {
                answer.as_object_mut().map(|answer| answer.remove("data"));
            }),
            Self::DataString => edit_json(response, |answer| answer["data"] = "none".into()),
            Self::DataArray => edit_json(response, |answer| answer["data"] = json!([answer["data"].clone()])),
            Self::StatusMissing => edit_json(response, |answer| {
                answer["data"].as_object_mut().map(|data| data.remove("video_status"));
            }),
            Self::StatusRenamed => edit_json(response, |answer| {
                if let Some(data) = answer["data"].as_object_mut()
                    && let Some(status) = data.remove("video_status")
                {
                    data.insert("videoStatus".to_owned(), status);
                }
            }),
            Self::StatusNull => edit_status(response, |_| Value::Null),
            Self::StatusNumber(number) => edit_status(response, |_| number.into()),
            Self::StatusHuge => edit_status(response, |_| json!(1e30)),
            Self::StatusAsText => edit_status(response, |status| status.to_string().into()),
            Self::StatusAsFraction => {
                edit_status(response, |status| status.as_f64().map_or(Value::Null, Value::from))
            }
            Self::StatusGoesBack => edit_status(response, |_| 1.into()),
            Self::NoVideo => edit_json(response, |answer| {
                answer["data"]["video_status"] = 3.into();
                answer["data"]["video"] = "".into();
            }),
            Self::VideoIsNoUrl => edit_json(response, |answer| {
                answer["data"]["video_status"] = 3.into();
                answer["data"]["video"] = "soon".into();
            }),
            Self::OtherTypes => edit_json(response, |answer| {
                answer["data"]["create_time"] = "yesterday".into();
                answer["data"]["progress"] = json!({"percent": 1});
                answer["data"]["uid"] = json!([1]);
            }),
            // A connection that is not there is not spoilt by an answer.
            _ => response,
        }
    }
}

/// Where in an exchange a fault happens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    /// Before there is one.
    Connection,
    /// In how the bytes go out, which takes a front of our own.
    Delivery,
    /// In what is answered.
    Answer,
}

/// `{"code":1000,"msg":"OK","data":{"video_status":2}}` by gzip.
const GZIP: [u8; 70] = [
    0x1f, 0x8b, 0x8, 0x0, 0x0, 0x0, 0x0, 0x0, 0x2, 0x3, 0xab, 0x56, 0x4a, 0xce, 0x4f, 0x49, 0x55, 0xb2, 0x32,
    0x34, 0x30, 0x30, 0xd0, 0x51, 0xca, 0x2d, 0x4e, 0x57, 0xb2, 0x52, 0xf2, 0xf7, 0x56, 0xd2, 0x51, 0x4a,
    0x49, 0x2c, 0x49, 0x54, 0xb2, 0xaa, 0x56, 0x2a, 0xcb, 0x4c, 0x49, 0xcd, 0x8f, 0x2f, 0x2e, 0x49, 0x2c,
    0x29, 0x2d, 0x56, 0xb2, 0x32, 0xaa, 0xad, 0x5, 0x0, 0x5b, 0xc1, 0xb3, 0xbd, 0x32, 0x0, 0x0, 0x0,
];

fn bare(status: u16, body: &'static str) -> Response<Bytes> {
    let mut response = Response::new(Bytes::from_static(body.as_bytes()));
    *response.status_mut() = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    response
}

fn retry_after(value: &str) -> Response<Bytes> {
    let mut response = bare(429, "slow down");
    if let Ok(value) = HeaderValue::from_str(value) {
        response.headers_mut().insert(RETRY_AFTER, value);
    }
    response
}

fn edit_bytes(mut response: Response<Bytes>, edit: impl FnOnce(&Bytes) -> Bytes) -> Response<Bytes> {
    let bytes = edit(response.body());
    *response.body_mut() = bytes;
    response
}

fn edit_json(response: Response<Bytes>, edit: impl FnOnce(&mut Value)) -> Response<Bytes> {
    edit_bytes(response, |bytes| {
        let mut answer = serde_json::from_slice(bytes).unwrap_or(Value::Null);
        edit(&mut answer);
        Bytes::from(answer.to_string())
    })
}

fn edit_status(response: Response<Bytes>, edit: impl FnOnce(&Value) -> Value) -> Response<Bytes> {
    edit_json(response, |answer| {
        let status = edit(&answer["data"]["video_status"]);
        answer["data"]["video_status"] = status;
    })
}
