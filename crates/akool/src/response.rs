//! From a response to a value or an error: strict decoding first, then [`lenient`].
//!
//! Every response is decoded into its generated type by progenitor's own path. If that fails, the same bytes are
//! decoded again, field by field, into the same type. Then the envelope's `code` decides: HTTP 200 is not success.

use std::time::SystemTime;

use akool_client::{
    BodyEnd, Received, ResponseValue,
    types::{
        CreateTranslationResponse, GetCreditsResponse, GetVideoInfoResponse, ListLanguagesResponse,
        TokenResponse,
    },
};
use reqwest::header::{CONTENT_ENCODING, HeaderMap};
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};
use serde_path_to_error::Segment;
use tracing::Span;

use crate::{
    code::BusinessCode,
    error::{Error, page},
    http,
    kind::ErrorKind,
    redact,
};

/// A response type of the description: an envelope with a code and a message.
pub(crate) trait Envelope: DeserializeOwned {
    /// Whether errors may quote the body. It must not be quoted if it can have a credential.
    const QUOTABLE: bool = true;

    fn code(&self) -> Option<i64>;
    fn msg(&self) -> Option<&str>;

    /// Whether the response shows an effect of its request, whatever its code says.
    fn has_effect(&self) -> bool {
        false
    }
}

macro_rules! envelope {
    ($($response:ty { $($more:item)* })*) => {$(
        impl Envelope for $response {
            $($more)*

            fn code(&self) -> Option<i64> {
                self.code
            }

            fn msg(&self) -> Option<&str> {
                self.msg.as_deref()
            }
        }
    )*};
}
envelope! {
    CreateTranslationResponse {
        fn has_effect(&self) -> bool {
            let mut ids = self.all_results.iter().filter_map(|result| result.data.as_ref()?.id.as_ref());
            ids.next().is_some() || self.data.as_ref().is_some_and(|data| data.id.is_some())
        }
    }
    GetCreditsResponse {}
    GetVideoInfoResponse {}
    ListLanguagesResponse {}
    TokenResponse {
        const QUOTABLE: bool = false;
    }
}

/// A response, or the lack of one.
pub(crate) struct Reply<T> {
    /// What could be decoded, also of a response that is an error or broke off.
    pub(crate) value: Option<Decoded<T>>,
    /// Why the call failed. `None` if it succeeded; then there is a value.
    pub(crate) error: Option<Error>,
}

/// A decoded response.
pub(crate) struct Decoded<T> {
    pub(crate) value: T,
    pub(crate) http_status: u16,
    /// See [`Lenient::unexpected_fields`].
    pub(crate) unexpected_fields: Vec<String>,
    /// The service's clock, from the header `Date`.
    pub(crate) date: Option<SystemTime>,
}

impl<T> Reply<T> {
    pub(crate) fn failed(error: Error) -> Self {
        Self { value: None, error: Some(error) }
    }

    pub(crate) fn into_result(self) -> Result<Decoded<T>, Error> {
        match (self.error, self.value) {
            (Some(error), _) => Err(error),
            (None, Some(value)) => Ok(value),
            (None, None) => Err(lost()),
        }
    }
}

impl<T: Envelope> Reply<T> {
    /// Records the HTTP status and the business code in the current span, and logs an error. Numbers are `i64`, because
    /// OpenTelemetry has no others.
    pub(crate) fn trace(&self) {
        let span = Span::current();
        let (value, error) = (self.value.as_ref(), self.error.as_ref());
        let status = error.and_then(Error::http_status).or_else(|| value.map(|decoded| decoded.http_status));
        if let Some(status) = status {
            span.record("http.response.status_code", i64::from(status));
        }
        let code = error.and_then(Error::code).map(|code| code.0);
        if let Some(code) = code.or_else(|| value.and_then(|decoded| decoded.value.code())) {
            span.record("akool.code", code);
        }
        if let Some(error) = error {
            span.record("error.type", error.kind().name());
            tracing::debug!(kind = error.kind().name(), %error, "failed");
        }
    }

    /// Reads what the generated client returned, and what it received.
    pub(crate) fn new(
        result: Result<ResponseValue<T>, akool_client::Error>,
        received: Option<Received>,
    ) -> Self {
        let response = match (result, &received) {
            (Ok(response), _) => response,
            (Err(akool_client::Error::CommunicationError(error)), _) => {
                // The bytes that arrived before the connection broke may still say which jobs were created.
                let value = received.and_then(|received| Decoded::lenient(&received).ok());
                return Self { value, error: Some(Error::transport(error)) };
            }
            (Err(_), Some(received)) => return Self::lenient(received),
            (Err(error), None) => return Self::failed(not_sent(&error)),
        };
        match (response.code(), received) {
            (Some(code), Some(received)) => Self::strict(response, BusinessCode(code), &received),
            // Without a code, the error shows the start of the body.
            (None, Some(received)) => Self::lenient(&received),
            (_, None) => Self::failed(lost()),
        }
    }

    fn strict(response: ResponseValue<T>, code: BusinessCode, received: &Received) -> Self {
        let (http_status, date) = (received.status.as_u16(), http::date(&received.headers));
        let error = (code != BusinessCode::SUCCESS).then(|| {
            Error::business(code, response.msg().unwrap_or_default())
                .with_response(http_status, http::retry_after(&received.headers))
        });
        let value =
            Decoded { value: response.into_inner(), http_status, unexpected_fields: Vec::new(), date };
        Self { value: Some(value), error }
    }

    pub(crate) fn lenient(received: &Received) -> Self {
        let decoded = Decoded::<T>::lenient(received);
        let error = verdict(received, decoded.as_ref().map(|decoded| &decoded.value));
        let retry_after = http::retry_after(&received.headers);
        let error = error.map(|error| error.with_response(received.status.as_u16(), retry_after));
        Self { value: decoded.ok(), error }
    }
}

impl<T: DeserializeOwned> Decoded<T> {
    fn lenient(received: &Received) -> Result<Self, serde_json::Error> {
        let Lenient { value, unexpected_fields } = match lenient(&received.body) {
            Err(_) if received.end != BodyEnd::Complete => lenient(&completed(&received.body))?,
            decoded => decoded?,
        };
        let date = http::date(&received.headers);
        Ok(Self { value, http_status: received.status.as_u16(), unexpected_fields, date })
    }
}

fn lost() -> Error {
    Error::new(ErrorKind::Interrupted, "the response was lost")
}

const NO_CODE: &str = "the response has no readable `code`";

/// Why a response that the generated types refused is an error. `None` if it is a success all the same.
fn verdict<T: Envelope>(received: &Received, decoded: Result<&T, &serde_json::Error>) -> Option<Error> {
    let shown = if T::QUOTABLE { &received.body[..received.body.len().min(1024)] } else { &[] };
    let start = || String::from_utf8_lossy(shown);
    let code = decoded.ok().and_then(Envelope::code).map(BusinessCode);
    if let BodyEnd::TooLarge { limit } = received.end
        && received.status.is_success()
    {
        return Some(Error::new(ErrorKind::TooLarge, format!("the response is larger than {limit} bytes")));
    }
    match (code, decoded) {
        (Some(code), Ok(value)) if code != BusinessCode::SUCCESS => {
            Some(Error::business(code, value.msg().unwrap_or_default()))
        }
        _ if !received.status.is_success() => Some(Error::http(received.status.as_u16(), &start())),
        (Some(_), Ok(_)) => None,
        (_, Ok(_)) => Some(Error::undecodable(format!("{NO_CODE}; it starts with {}", quoted(&start())))),
        (_, Err(_)) if received.body.is_empty() => Some(Error::undecodable("the response is empty")),
        (_, Err(error)) => Some(Error::undecodable(match (coding(&received.headers), page(&start())) {
            (Some(coding), _) => {
                format!("the response is compressed ({coding}), which the client did not request")
            }
            (None, Some(page)) => format!("the response is {page}, not JSON"),
            (None, None) if error.is_data() => format!("{NO_CODE}; it starts with {}", quoted(&start())),
            (None, None) => {
                format!("the response is not JSON ({error}); it starts with {}", quoted(&start()))
            }
        })),
    }
}

/// The generated client did not send the request. The text is its own, not a server's.
fn not_sent(error: &akool_client::Error) -> Error {
    let reason = match error {
        akool_client::Error::InvalidRequest(reason) | akool_client::Error::Custom(reason) => reason,
        _ => "the HTTP client gives no reason",
    };
    Error::new(ErrorKind::Rejected, format!("the request cannot be built: {}", redact::excerpt(reason)))
        .without_effect()
}

/// The encoding of the body, if it has one.
fn coding(headers: &HeaderMap) -> Option<String> {
    let coding = headers.get(CONTENT_ENCODING)?.to_str().ok()?;
    (coding != "identity").then(|| redact::excerpt(coding))
}

fn quoted(text: &str) -> String {
    format!("`{}`", redact::body(text.trim()))
}

/// What [`lenient`] decoded.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Lenient<T> {
    /// The value, without the fields that could not be read.
    pub value: T,
    /// JSON Pointers to the members that had an unexpected form and were left out, sorted.
    pub unexpected_fields: Vec<String>,
}

/// Decodes JSON field by field: a member that the type cannot take is left out and named.
///
/// Before a member is left out, the same number or text is tried in another form (`"3"` and `3.0` for 3, `17` for
/// `"17"`). A byte-order mark is skipped, and invalid UTF-8 is replaced. All fields of the type should be optional
/// or have a default: this function can only remove members.
///
/// # Errors
/// If the bytes are not JSON, if the outermost value does not fit the type, or if there are too many unexpected
/// members for a response of this size.
///
/// ```
/// #[derive(serde::Deserialize)]
/// struct Job { status: Option<i64>, progress: Option<u8> }
///
/// let job = akool::lenient::<Job>(br#"{"status": "3", "progress": [1]}"#)?;
/// assert_eq!((job.value.status, job.value.progress), (Some(3), None));
/// assert_eq!(job.unexpected_fields, ["/progress"]);
/// # Ok::<(), serde_json::Error>(())
/// ```
pub fn lenient<T: DeserializeOwned>(bytes: &[u8]) -> Result<Lenient<T>, serde_json::Error> {
    /// Each repair decodes the whole value again, up to four times. This many bytes are decoded at most, which takes
    /// about half a second.
    const MAX_DECODED_BYTES: usize = 64 * 1024 * 1024;

    let mut json = parse(bytes)?;
    let mut unexpected_fields = Vec::new();
    let mut last_error = None;
    for _ in 0..=(MAX_DECODED_BYTES / (4 * bytes.len().max(64))) {
        let error = match decode::<T>(&json) {
            Ok(value) => {
                unexpected_fields.sort();
                return Ok(Lenient { value, unexpected_fields });
            }
            Err(error) => error,
        };
        let path = path(&error);
        last_error = Some(error.into_inner());
        if path.is_empty() {
            break;
        }
        if let Some(left_out) = repair::<T>(&mut json, path) {
            let inside = format!("{left_out}/");
            unexpected_fields.retain(|field: &String| !field.starts_with(&inside));
            unexpected_fields.push(left_out);
        }
    }
    Err(last_error.unwrap_or_else(|| serde::de::Error::custom("no value")))
}

/// Changes the member at this path to another form that fits, or leaves it out and returns its pointer.
fn repair<T: DeserializeOwned>(json: &mut Value, mut path: Vec<String>) -> Option<String> {
    let parent = json.pointer(&pointer(&path[..path.len() - 1]));
    let original = json.pointer(&pointer(&path)).cloned().unwrap_or_default();
    if parent.is_some_and(Value::is_array) {
        // An empty object keeps the places of the other elements. If that does not fit either, the type does not
        // expect a list here: serde would take its elements for the fields of a struct.
        let placeholder = Value::Object(Map::new());
        if original == placeholder {
            path.pop();
            if path.is_empty() {
                *json = Value::Null;
                return None;
            }
        } else {
            *json.pointer_mut(&pointer(&path))? = placeholder;
            return (!original.is_null()).then(|| pointer(&path));
        }
    } else {
        for form in other_forms(&original) {
            *json.pointer_mut(&pointer(&path))? = form;
            if decode::<T>(json).err().is_none_or(|error| self::path(&error) != path) {
                return None;
            }
        }
    }
    let (name, parents) = path.split_last()?;
    let name = name.replace("~1", "/").replace("~0", "~");
    json.pointer_mut(&pointer(parents))?.as_object_mut()?.remove(&name);
    (!original.is_null()).then(|| pointer(&path))
}

fn decode<T: DeserializeOwned>(json: &Value) -> Result<T, serde_path_to_error::Error<serde_json::Error>> {
    serde_path_to_error::deserialize(json)
}

/// Repairs truncated JSON: drops everything after the last complete member, and closes the open objects and arrays.
fn completed(prefix: &[u8]) -> Vec<u8> {
    let (end, _) = scan(prefix);
    let (_, open) = scan(&prefix[..end]);
    [&prefix[..end], &open.into_iter().rev().collect::<Vec<_>>()].concat()
}

/// The end of the last complete member, and what closes the objects and arrays that are open at the end.
fn scan(json: &[u8]) -> (usize, Vec<u8>) {
    let (mut end, mut open) = (0, Vec::new());
    let (mut in_string, mut escaped) = (false, false);
    for (index, byte) in json.iter().enumerate() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if in_string => escaped = true,
            b'"' => in_string = !in_string,
            _ if in_string => {}
            b'{' => open.push(b'}'),
            b'[' => open.push(b']'),
            b'}' | b']' => {
                open.pop();
                end = index + 1;
            }
            b',' => end = index,
            _ => {}
        }
    }
    (end, open)
}

/// JSON, also after a byte-order mark, and with bytes that are not valid UTF-8 in its strings.
fn parse(body: &[u8]) -> serde_json::Result<Value> {
    let body = body.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(body);
    serde_json::from_slice(body)
        .or_else(|error| serde_json::from_str(&String::from_utf8_lossy(body)).map_err(|_| error))
}

fn path(error: &serde_path_to_error::Error<serde_json::Error>) -> Vec<String> {
    let segments = error.path().iter().map_while(|segment| match segment {
        Segment::Seq { index } => Some(index.to_string()),
        Segment::Map { key } => Some(key.replace('~', "~0").replace('/', "~1")),
        Segment::Enum { .. } | Segment::Unknown => None,
    });
    segments.collect()
}

fn pointer(path: &[String]) -> String {
    path.iter().flat_map(|segment| ["/", segment]).collect()
}

/// The same number or text in other forms.
fn other_forms(value: &Value) -> Vec<Value> {
    /// Up to here an `f64` has every whole number.
    const EXACT: f64 = 9_007_199_254_740_992.0;
    let number = match value {
        Value::Number(number) => number.as_f64(),
        Value::String(text) => {
            if let Ok(whole) = text.trim().parse::<i64>() {
                return vec![whole.into(), (whole as f64).into()];
            }
            text.trim().parse().ok()
        }
        _ => None,
    };
    let whole = number.filter(|number| number.fract() == 0.0 && number.abs() <= EXACT);
    let text = value.as_number().map(|number| Value::from(number.to_string()));
    [whole.map(|whole| Value::from(whole as i64)), number.map(Value::from), text]
        .into_iter()
        .flatten()
        .collect()
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    use super::*;

    #[derive(Debug, Default, Deserialize, PartialEq)]
    struct Sample {
        number: Option<i64>,
        fraction: Option<f64>,
        text: Option<String>,
        inner: Option<Box<Sample>>,
        #[serde(default)]
        list: Vec<Sample>,
    }

    fn number(json: &str) -> Option<i64> {
        lenient::<Sample>(format!("{{\"number\": {json}}}").as_bytes()).unwrap().value.number
    }

    #[test]
    fn whole_numbers_are_read_in_every_form() {
        for (json, wanted) in [
            ("3", Some(3)),
            ("3.0", Some(3)),
            ("\"3\"", Some(3)),
            ("\"3.0\"", Some(3)),
            ("\" 3 \"", Some(3)),
            ("-1", Some(-1)),
            ("9223372036854775807", Some(i64::MAX)),
            ("\"9223372036854775807\"", Some(i64::MAX)),
            ("3.5", None),
            ("1e30", None),
            ("null", None),
            ("\"\"", None),
            ("[3]", None),
            ("true", None),
            ("1e15", Some(1_000_000_000_000_000)),
        ] {
            assert_eq!(number(json), wanted, "{json}");
        }
    }

    #[test]
    fn each_unexpected_member_is_left_out_and_named() {
        let json = br#"{"number": 1, "fraction": "2.5", "text": 17, "inner": {"number": [], "text": "kept"},
            "list": [{"number": 1}, [], {"number": {}, "a/b~c": 1}, null, {"text": "kept"}], "more": 1}"#;
        let Lenient { value, unexpected_fields } = lenient::<Sample>(json).unwrap();
        assert_eq!((value.number, value.fraction, value.text.as_deref()), (Some(1), Some(2.5), Some("17")));
        assert_eq!(value.inner.unwrap().text.as_deref(), Some("kept"));
        assert_eq!(value.list.len(), 5, "elements keep their places");
        assert_eq!(value.list[4].text.as_deref(), Some("kept"));
        assert_eq!(unexpected_fields, ["/inner/number", "/list/1", "/list/2/number"]);
    }

    #[test]
    fn a_byte_order_mark_and_invalid_utf_8_are_tolerated() {
        let value = lenient::<Sample>(b"\xEF\xBB\xBF{\"text\": \"a\xffb\"}").unwrap().value;
        assert_eq!(value.text.as_deref(), Some("a\u{fffd}b"));
    }

    #[test]
    fn a_hostile_body_costs_a_bounded_time() {
        let body = format!("{{\"list\": [{}1]}}", "1,".repeat(400_000));
        assert!(lenient::<Sample>(body.as_bytes()).is_err());
        let body = format!("{{\"list\": [{}1]}}", "1,".repeat(200));
        assert_eq!(lenient::<Sample>(body.as_bytes()).unwrap().unexpected_fields.len(), 201);
    }

    #[test]
    fn a_list_is_not_taken_for_the_fields_of_an_object() {
        for list in ["[1, 2]", "[\"x\"]", "[[]]"] {
            let decoded =
                lenient::<Sample>(format!("{{\"inner\": {list}, \"number\": 1}}").as_bytes()).unwrap();
            assert_eq!((decoded.value.inner, decoded.value.number), (None, Some(1)), "{list}");
            assert_eq!(decoded.unexpected_fields, ["/inner"]);
        }
        assert!(lenient::<Sample>(br#"[{"number": 1}]"#).is_err());
    }

    #[test]
    fn a_value_that_does_not_fit_at_all_is_an_error() {
        for body in ["", "[]", "3", "\"x\"", "{", "{} {}"] {
            assert!(lenient::<Sample>(body.as_bytes()).is_err(), "{body}");
        }
    }

    /// The kind and the message of the error that a response becomes.
    fn error_of(received: &Received) -> Option<(ErrorKind, String)> {
        let error = Reply::<GetVideoInfoResponse>::lenient(received).error?;
        assert_eq!(error.http_status(), Some(received.status.as_u16()));
        Some((error.kind(), error.message().to_owned()))
    }

    #[test]
    fn the_code_decides_then_the_http_status_then_the_form_of_the_body() {
        use ErrorKind::{Rejected, TooLarge, Unavailable, Undecodable, UnknownJob};
        const OK: &str = r#"{"code": "1000", "data": {"video_status": 2}}"#;
        let whole = BodyEnd::Complete;
        let cut = BodyEnd::TooLarge { limit: 9 };
        for (status, body, end, wanted) in [
            (200, OK, whole, None),
            (202, OK, whole, None),
            (503, OK, whole, Some((Unavailable, "HTTP status 503: {\"code\""))),
            (
                200,
                r#"{"code": 1008, "msg": [1]}"#,
                whole,
                Some((UnknownJob, "code 1008 (content does not exist)")),
            ),
            (500, r#"{"code": 1003, "msg": "no"}"#, whole, Some((Rejected, ": \"no\""))),
            (200, OK, cut, Some((TooLarge, "larger than 9 bytes"))),
            (503, "", cut, Some((Unavailable, "HTTP status 503"))),
            (200, "", whole, Some((Undecodable, "the response is empty"))),
            (200, "{}", whole, Some((Undecodable, "no readable `code`; it starts with `{}`"))),
            (200, "[3]", whole, Some((Undecodable, "no readable `code`; it starts with `[3]`"))),
            (
                200,
                "nonsense",
                whole,
                Some((
                    Undecodable,
                    "is not JSON (expected ident at line 1 column 2); it starts with `nonsense`",
                )),
            ),
            (200, " <html>", whole, Some((Undecodable, "a page for browsers, not JSON"))),
            (502, "<html>", whole, Some((Unavailable, "HTTP status 502 and a page for browsers"))),
        ] {
            let received = Received::new(reqwest::StatusCode::from_u16(status).unwrap(), body, end);
            match (error_of(&received), wanted) {
                (None, None) => {}
                (Some((kind, message)), Some((wanted, part))) => {
                    assert_eq!(kind, wanted, "{status} {body}");
                    assert!(message.contains(part), "no `{part}` in: {message}");
                }
                (error, _) => panic!("{status} {body}: {error:?}"),
            }
        }
    }

    #[test]
    fn a_compressed_body_is_named_if_it_cannot_be_read() {
        let mut received = Received::new(reqwest::StatusCode::OK, &b"\x1f\x8b"[..], BodyEnd::Complete);
        for (coding, part) in [("gzip", "compressed (gzip)"), ("identity", "not JSON")] {
            received.headers.insert(CONTENT_ENCODING, coding.parse().unwrap());
            let (_, message) = error_of(&received).unwrap();
            assert!(message.contains(part), "no `{part}` in: {message}");
        }
    }

    #[test]
    fn a_token_in_a_response_that_cannot_be_read_is_not_quoted() {
        for (status, body) in [
            (200, r#"{"token": "MARKER"}"#),
            (200, r#"{"code": "ok", "data": {"token": "MARKER"}}"#),
            (503, r#"{"token": "MARKER"#),
        ] {
            let status = reqwest::StatusCode::from_u16(status).unwrap();
            let received = Received::new(status, body, BodyEnd::Complete);
            let error = Reply::<TokenResponse>::lenient(&received).error.unwrap();
            assert!(!format!("{error:?} {error}").contains("MARKER"), "{error:?}");
        }
    }

    #[test]
    fn what_is_complete_of_a_body_that_broke_off_is_kept() {
        for (prefix, wanted) in [
            (r#"{"a": 1, "b": [{"c": "x,]"}, {"d"#, r#"{"a": 1, "b": [{"c": "x,]"}]}"#),
            (r#"{"a": 1, "b": "\\\"x"#, r#"{"a": 1}"#),
            (r#"{"a": [1, 2"#, r#"{"a": [1]}"#),
            (r#"{"a": [1], "b": {"c": 2}"#, r#"{"a": [1], "b": {"c": 2}}"#),
            (r#"{"a": 1, "b": "\",c"#, r#"{"a": 1}"#),
            (r#"{"a": 1, "b": "{[,", "c"#, r#"{"a": 1, "b": "{[,"}"#),
            (r#"{"a": [1]}"#, r#"{"a": [1]}"#),
            (r#"{"a"#, ""),
            ("", ""),
        ] {
            assert_eq!(String::from_utf8(completed(prefix.as_bytes())).unwrap(), wanted);
        }
    }

    #[test]
    fn a_request_that_was_not_built_had_no_effect() {
        let refused = akool_client::Error::InvalidRequest("no id".to_owned());
        let error = Reply::<GetVideoInfoResponse>::new(Err(refused), None).error.unwrap();
        assert_eq!(error.to_string(), "the request cannot be built: no id");
        assert!(error.is_without_effect());
    }
}
