//! What a [`Fault`] does to an answer.

use std::time::{Duration, SystemTime};

use bytes::Bytes;
use http::{
    HeaderName, HeaderValue, Response, StatusCode,
    header::{CONTENT_ENCODING, CONTENT_TYPE, LOCATION, RETRY_AFTER},
};
use serde_json::{Value, json};

use crate::{
    answer,
    fault::{Fault, Place, RetryAfter},
};

impl Fault {
    /// Applies the fault to the correct answer.
    pub(crate) fn apply(self, mut response: Response<Bytes>, now: SystemTime) -> Response<Bytes> {
        if self.place() == Place::Delivery {
            // The connection reads the extension.
            response.extensions_mut().insert(self);
            return response;
        }
        match self {
            Self::OversizedHeaders => {
                let value = HeaderValue::from_bytes(&[b'x'; 1024 * 1024]);
                response
                    .headers_mut()
                    .extend(value.map(|value| (HeaderName::from_static("x-oversized"), value)));
                response
            }
            Self::Http(status) => bare(status, "<h1>Service unavailable</h1>"),
            Self::ForeignEnvelope(status) => {
                let mut response = edit_json(response, |answer| {
                    *answer = answer::error(status.into(), "upstream request timeout");
                });
                *response.status_mut() =
                    StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
                response
            }
            Self::RateLimited { retry_after } => rate_limited(retry_after, now),
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
                edit_json(response, |answer| *answer = answer::error(code, "injected by the test"))
            }
            Self::ExpiredJob => {
                edit_json(response, |answer| *answer = answer::error(1014, "The resource does not exist"))
            }
            Self::CodeMissing => edit_json(response, |answer| remove(answer, "code")),
            Self::CodeAsText => {
                edit_json(response, |answer| answer["code"] = answer["code"].to_string().into())
            }
            Self::MessageMissing => edit_json(response, |answer| remove(answer, "msg")),
            Self::MessageNull => edit_json(response, |answer| answer["msg"] = Value::Null),
            Self::EnvelopeInList => edit_json(response, |answer| *answer = json!([answer.take()])),
            Self::EnvelopeTwice => edit_json(response, |answer| {
                *answer = json!({ "code": 1000, "msg": "OK", "data": answer.take() });
            }),
            Self::DataNull => edit_json(response, |answer| answer["data"] = Value::Null),
            Self::DataMissing => edit_json(response, |answer| remove(answer, "data")),
            Self::DataString => edit_json(response, |answer| answer["data"] = "none".into()),
            Self::DataArray => edit_json(response, |answer| answer["data"] = json!([answer["data"].clone()])),
            Self::StatusMissing => edit_json(response, |answer| remove(&mut answer["data"], "video_status")),
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
            Self::VideoInvalidUrl => edit_json(response, |answer| {
                answer["data"]["video_status"] = 3.into();
                answer["data"]["video"] = "soon".into();
            }),
            Self::OtherTypes => edit_json(response, |answer| {
                answer["data"]["create_time"] = "yesterday".into();
                answer["data"]["progress"] = json!({"percent": 1});
                answer["data"]["uid"] = json!([1]);
            }),
            // Faults of the connection do not change the answer.
            _ => response,
        }
    }
}

/// `{"code":1000,"msg":"OK","data":{"video_status":2}}`, compressed with gzip.
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

fn rate_limited(retry_after: RetryAfter, now: SystemTime) -> Response<Bytes> {
    let value = match retry_after {
        RetryAfter::Seconds(seconds) => seconds.to_string(),
        RetryAfter::Date(seconds) => {
            let distance = Duration::from_secs(seconds.unsigned_abs());
            let date = if seconds < 0 { now.checked_sub(distance) } else { now.checked_add(distance) };
            httpdate::fmt_http_date(date.filter(|date| is_http_date(*date)).unwrap_or(now))
        }
    };
    let mut response = bare(429, "slow down");
    if let Ok(value) = HeaderValue::from_str(&value) {
        response.headers_mut().insert(RETRY_AFTER, value);
    }
    response
}

/// Whether a date can be written in a header: it is between 1970 and 9999.
fn is_http_date(date: SystemTime) -> bool {
    const END: Duration = Duration::from_secs(253_402_300_799);
    date.duration_since(SystemTime::UNIX_EPOCH).is_ok_and(|since| since <= END)
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

fn remove(object: &mut Value, name: &str) {
    object.as_object_mut().map(|object| object.remove(name));
}
