//! Recorded exchanges in files: [`Fixture`].
//!
//! Only names and values that the description contains stay, so that nothing personal and no secret gets into a
//! repository. Types are kept: a redacted response has the same violations as the real one.

use std::collections::BTreeMap;

use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response, StatusCode, Uri};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::{
    contract::Contract,
    placeholder::{self, REDACTED},
    pointer::step,
    redact,
    report::{DriftKind, MAX_FINDINGS, Report},
};

/// The headers that are kept.
const HEADERS: [&str; 7] =
    ["authorization", "x-api-key", "accept", "content-type", "content-encoding", "retry-after", "location"];
/// Fields and parameters that hold an id. The same id has the same replacement throughout a fixture.
const IDS: [&str; 3] = ["_id", "video_model_id", "video_id"];
/// Fields that hold a number or a text about a person or a team.
const PERSONAL: [&str; 7] = ["uid", "user_id", "team_id", "email", "phone", "clientId", "name"];

/// Redacted exchanges with the service, in the order in which they were captured.
///
/// ```
/// use akool_contract::Fixture;
/// use http::{Request, Response};
///
/// let request = Request::get("/api/open/v3/content/video/infobymodelid?video_model_id=64dd")
///     .header("x-api-key", "MARKER")
///     .body("")?;
/// let response = Response::builder().header("content-type", "application/json").body(
///     r#"{"code": 1000, "msg": "OK", "data": {"_id": "64dd", "video_status": 3, "uid": 378337,
///         "video": "https://cdn.example/a/b.mp4?Signature=MARKER"}}"#,
/// )?;
/// let mut fixture = Fixture::new("a test");
/// fixture.capture(&request, &response);
/// let text = fixture.to_json();
/// assert!(!text.contains("MARKER") && !text.contains("378337") && !text.contains("64dd"));
/// assert_eq!(Fixture::from_json(text.as_bytes())?.exchanges().len(), 1);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Fixture {
    /// Where it was recorded, such as `sandbox`.
    origin: String,
    exchanges: Vec<Exchange>,
    /// Replacement by id.
    #[serde(skip)]
    ids: BTreeMap<String, String>,
    /// Replacement by undocumented name.
    #[serde(skip)]
    names: BTreeMap<String, String>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Exchange {
    request: RecordedRequest,
    response: RecordedResponse,
    /// The places of replaced values.
    #[serde(default)]
    redacted: Vec<String>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct RecordedRequest {
    method: String,
    /// Path and query.
    target: String,
    #[serde(default)]
    headers: BTreeMap<String, String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    json: Option<Value>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct RecordedResponse {
    status: u16,
    #[serde(default)]
    headers: BTreeMap<String, String>,
    /// The body if it is JSON.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    json: Option<Value>,
    /// A note in place of any other body.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    text: Option<String>,
}

/// A request and its response.
type Messages = (Request<Vec<u8>>, Response<Vec<u8>>);

/// A file that is not a fixture, or a fixture that cannot be replayed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a valid fixture: {0}")]
pub struct InvalidFixture(String);

impl Fixture {
    /// Returns a fixture without exchanges. `origin` is a note for the reader. Of a URL, only the host is kept.
    pub fn new(origin: impl Into<String>) -> Self {
        let origin = origin.into();
        let host = url::Url::parse(&origin).ok().and_then(|url| url.host_str().map(str::to_owned));
        Self { origin: host.unwrap_or(origin), ..Self::default() }
    }

    /// Redacts an exchange and appends it:
    ///
    /// - only headers that say how to read a body are kept, with values that are a media type, an integer or a date,
    ///   and the names of credentials;
    /// - ids are replaced by others, consistently throughout the fixture;
    /// - texts are replaced by placeholders, except for values that the description lists, codes of languages and the
    ///   message `OK`;
    /// - links are replaced by links to a placeholder;
    /// - personal numbers (`uid`, ...), undocumented values and undocumented names are replaced by placeholders, the
    ///   values by ones of the same type;
    /// - a body that is not JSON is dropped.
    pub fn capture<A: AsRef<[u8]>, B: AsRef<[u8]>>(&mut self, request: &Request<A>, response: &Response<B>) {
        let mut redacted = Vec::new();
        let target = self.target(request.uri(), &mut redacted);
        let contract = Contract::resolved();
        let sent = serde_json::from_slice(request.body().as_ref()).ok().map(|mut json| {
            let plain = Request::builder().method(request.method()).uri(request.uri());
            let plain = plain.header("content-type", "application/json").body(request.body().as_ref());
            let unknown =
                plain.map(|plain| undocumented(contract.check_request(&plain), true)).unwrap_or_default();
            let place = Place::body("/request", &unknown);
            self.value(&mut json, &place, &mut redacted);
            json
        });
        let body = response.body().as_ref();
        let (json, text) = match serde_json::from_slice(body) {
            Ok(mut json) => {
                let envelope = Value::get(&json, "code").is_some();
                let unknown = undocumented(contract.check_response(request, response), envelope);
                let place = Place::body("/response", &unknown);
                self.value(&mut json, &place, &mut redacted);
                (Some(json), None)
            }
            Err(_) if body.is_empty() => (None, None),
            Err(_) => (None, Some(format!("{} bytes that are not JSON", body.len()))),
        };
        self.exchanges.push(Exchange {
            request: RecordedRequest {
                method: request.method().to_string(),
                target,
                headers: headers(request.headers()),
                json: sent,
            },
            response: RecordedResponse {
                status: response.status().as_u16(),
                headers: headers(response.headers()),
                json,
                text,
            },
            redacted,
        });
    }

    /// The exchanges as messages.
    pub fn exchanges(&self) -> Vec<Messages> {
        self.exchanges.iter().filter_map(|exchange| exchange.messages().ok()).collect()
    }

    /// The text of a fixture file.
    pub fn to_json(&self) -> String {
        // Serialization cannot fail: all keys are strings.
        serde_json::to_string_pretty(self).unwrap_or_default() + "\n"
    }

    /// Reads the bytes of a fixture file.
    ///
    /// # Errors
    /// If it is not the JSON of a fixture, contains no exchange, or contains one that is not valid HTTP.
    pub fn from_json(bytes: &[u8]) -> Result<Self, InvalidFixture> {
        let fixture: Self =
            serde_json::from_slice(bytes).map_err(|error| InvalidFixture(error.to_string()))?;
        if fixture.exchanges.is_empty() {
            return Err(InvalidFixture("it has no exchanges".to_owned()));
        }
        for (index, exchange) in fixture.exchanges.iter().enumerate() {
            exchange
                .messages()
                .map_err(|error| InvalidFixture(format!("exchange {}: {error}", index + 1)))?;
        }
        Ok(fixture)
    }

    fn target(&mut self, uri: &Uri, redacted: &mut Vec<String>) -> String {
        let mut query = url::form_urlencoded::Serializer::new(String::new());
        for (name, value) in url::form_urlencoded::parse(uri.query().unwrap_or_default().as_bytes()) {
            let name = self.name(&name);
            redacted.push(step("/request/query", &name));
            if IDS.contains(&&*name) {
                query.append_pair(&name, &self.id(&value));
            } else {
                query.append_pair(&name, REDACTED);
            }
        }
        let query = query.finish();
        let path = placeholder::path(uri.path());
        if query.is_empty() { path.to_owned() } else { format!("{path}?{query}") }
    }

    /// A documented name, or the replacement for another one.
    fn name(&mut self, name: &str) -> String {
        if placeholder::is_documented(name) {
            return name.to_owned();
        }
        let next = self.names.len() + 1;
        self.names.entry(name.to_owned()).or_insert_with(|| format!("undocumented{next}")).clone()
    }

    /// The replacement for an id: 24 hexadecimal digits, like the service's own ids.
    fn id(&mut self, id: &str) -> String {
        let next = self.ids.len() + 1;
        self.ids.entry(id.to_owned()).or_insert_with(|| format!("{next:024x}")).clone()
    }

    fn value(&mut self, value: &mut Value, place: &Place<'_>, redacted: &mut Vec<String>) {
        let name = place.name;
        let hide = place.hide
            || PERSONAL.contains(&name)
            || redact::is_secret(name)
            || place.undocumented.contains(&place.at);
        let before = value.clone();
        match value {
            Value::Object(object) => {
                let mut replaced = Map::new();
                for (name, mut member) in std::mem::take(object) {
                    let shown = self.name(&name);
                    let place = place.member(&name, &shown, hide);
                    self.value(&mut member, &place, redacted);
                    replaced.insert(shown, member);
                }
                *object = replaced;
                return;
            }
            Value::Array(list) => {
                for (index, member) in list.iter_mut().enumerate() {
                    self.value(member, &place.element(index, hide), redacted);
                }
                return;
            }
            Value::String(text) if IDS.contains(&name) && !text.is_empty() => *text = self.id(text),
            Value::String(text) if hide && !text.is_empty() => REDACTED.clone_into(text),
            Value::String(text) => *text = placeholder::text(text, name),
            Value::Number(number) if hide && number.is_f64() => *value = serde_json::json!(0.5),
            Value::Number(_) if hide => *value = serde_json::json!(1),
            Value::Null | Value::Bool(_) | Value::Number(_) => {}
        }
        if *value != before {
            redacted.push(format!("{}{}", place.message, place.shown));
        }
    }
}

/// The places of a body that are undocumented or break the description: the whole body if the check did
/// not cover all of it. `envelope`: whether the check covers the body under an undocumented HTTP status.
fn undocumented(report: Report, envelope: bool) -> Vec<String> {
    let other_status = report.drift.iter().any(|drift| drift.kind == DriftKind::UnknownStatus);
    let places = report.violations.into_iter().map(|violation| violation.pointer);
    let fields = report.drift.into_iter().filter(|drift| drift.kind == DriftKind::UnknownField);
    let places: Vec<_> = places.chain(fields.map(|drift| drift.pointer)).collect();
    let incomplete = |pointer: &String| pointer == "/path" || pointer == "/method" || pointer.ends_with('…');
    if places.len() >= MAX_FINDINGS || places.iter().any(incomplete) || (other_status && !envelope) {
        return vec!["/body".to_owned()];
    }
    places
}

/// The place of a value.
struct Place<'a> {
    message: &'a str,
    /// Its pointer as in the message, and as in the fixture.
    at: String,
    shown: String,
    /// The name of the field that contains it.
    name: &'a str,
    undocumented: &'a [String],
    /// Whether everything below is hidden.
    hide: bool,
}

impl<'a> Place<'a> {
    fn body(message: &'a str, undocumented: &'a [String]) -> Self {
        let body = || "/body".to_owned();
        Self { message, at: body(), shown: body(), name: "", undocumented, hide: false }
    }

    fn member(&self, name: &'a str, shown: &str, hide: bool) -> Self {
        Self { at: step(&self.at, name), shown: step(&self.shown, shown), name, hide, ..*self }
    }

    fn element(&self, index: usize, hide: bool) -> Self {
        let (at, shown) = (format!("{}/{index}", self.at), format!("{}/{index}", self.shown));
        Self { at, shown, hide, ..*self }
    }
}

impl Exchange {
    fn messages(&self) -> Result<Messages, http::Error> {
        let bytes = |json: &Option<Value>| {
            json.as_ref().map(|json| json.to_string().into_bytes()).unwrap_or_default()
        };
        let mut request = Request::new(bytes(&self.request.json));
        *request.method_mut() = self.request.method.parse::<Method>()?;
        *request.uri_mut() = self.request.target.parse::<Uri>()?;
        append(request.headers_mut(), &self.request.headers)?;
        let body = match &self.response.text {
            Some(text) => text.clone().into_bytes(),
            None => bytes(&self.response.json),
        };
        let mut response = Response::new(body);
        *response.status_mut() = StatusCode::from_u16(self.response.status)?;
        append(response.headers_mut(), &self.response.headers)?;
        Ok((request, response))
    }
}

fn append(headers: &mut HeaderMap, recorded: &BTreeMap<String, String>) -> Result<(), http::Error> {
    for (name, value) in recorded {
        headers.append(name.parse::<HeaderName>()?, value.parse::<HeaderValue>()?);
    }
    Ok(())
}

fn headers(headers: &HeaderMap) -> BTreeMap<String, String> {
    let kept = HEADERS.into_iter().filter_map(|name| {
        let value = String::from_utf8_lossy(headers.get(name)?.as_bytes()).into_owned();
        Some((name.to_owned(), placeholder::header(name, &value)?))
    });
    kept.collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn poll() -> Request<Vec<u8>> {
        Request::get("/api/open/v3/content/video/infobymodelid?video_model_id=MARKER&x=MARKER")
            .header("authorization", "Bearer MARKER")
            .header("cookie", "MARKER")
            .body(Vec::new())
            .unwrap()
    }

    fn response(body: &Value) -> Response<Vec<u8>> {
        let response =
            Response::builder().header("content-type", "application/json").header("set-cookie", "MARKER");
        response.body(body.to_string().into_bytes()).unwrap()
    }

    #[test]
    fn personal_values_are_replaced_by_values_of_the_same_type() {
        let body = json!({ "code": 1000, "msg": "see https://a.example/?MARKER or MARKER@example.com", "data": {
            "_id": "MARKER", "video_status": 3, "uid": 378_337, "team_id": "MARKER", "video_lock_duration": 7.91,
            "video": "https://cdn.example/MARKER/a.mp4?Signature=MARKER",
            "audio_splits": { "original_srt_url": "https://cdn.example/MARKER.srt" },
            "owner": { "mail": "MARKER", "age": 42, "tags": ["MARKER"] },
        }});
        let mut fixture = Fixture::new("a test");
        fixture.capture(&poll(), &response(&body));
        let text = fixture.to_json();
        assert!(!text.contains("MARKER") && !text.contains("378337") && !text.contains("42"), "{text}");
        let kept = Fixture::from_json(text.as_bytes()).unwrap();
        let (request, response) = kept.exchanges().remove(0);
        let id = format!("{:024x}", 1);
        let query = format!("?video_model_id={id}&undocumented1=%5Bredacted%5D");
        assert!(request.uri().to_string().ends_with(&query), "{}", request.uri());
        assert_eq!(request.headers()["authorization"], "Bearer [redacted]");
        let body: Value = serde_json::from_slice(response.body()).unwrap();
        assert_eq!(body["data"]["_id"], id);
        assert_eq!(body["data"]["uid"], 1);
        assert_eq!(body["data"]["video_lock_duration"], 7.91);
        assert_eq!(body["data"]["video"], "https://redacted.example/video.mp4");
        let owner = body["data"]["undocumented2"].as_object().unwrap();
        let mut values: Vec<_> = owner.values().map(Value::to_string).collect();
        values.sort();
        assert_eq!(values, ["\"[redacted]\"", "1", "[\"[redacted]\"]"]);
        assert_eq!(body["msg"], "https://redacted.example/msg");
        // The verdict is the same as for the real response.
        let report = Contract::resolved().check_response(&request, &response);
        assert!(report.violations.is_empty(), "{report}");
        assert_eq!(report.drift.len(), 1);
    }

    #[test]
    fn violations_survive_redaction() {
        let mut fixture = Fixture::new("a test");
        fixture.capture(&poll(), &response(&json!({ "code": "1000", "msg": 5, "data": { "uid": "x" } })));
        let page = Response::builder().status(502).header("content-type", "text/html");
        fixture.capture(&poll(), &page.body(b"<p>MARKER".to_vec()).unwrap());
        let (request, response) = fixture.exchanges().remove(0);
        let report = Contract::resolved().check_response(&request, &response);
        let places: Vec<_> = report.violations.iter().map(|violation| violation.pointer.as_str()).collect();
        for place in ["/body/code", "/body/msg", "/body/data/uid"] {
            assert!(places.contains(&place), "{report}");
        }
        assert!(!fixture.to_json().contains("MARKER"));
    }

    #[test]
    fn a_body_that_the_check_does_not_cover_is_redacted_as_a_whole() {
        let many: Value = (0..500).map(|number| (format!("f{number}"), json!("MARKER"))).collect();
        let responses = [
            (200, json!({ "code": 1000, "msg": "OK", "data": many })),
            (
                200,
                json!({ "code": 1000, "msg": { "deep": ["MARKER"] }, "data": { "uid": { "a": "MARKER" } } }),
            ),
            (200, json!({ "x".repeat(1000): "MARKER" })),
            (200, json!(["MARKER"])),
            (500, json!({ "error": "MARKER" })),
        ];
        for (status, body) in responses {
            let mut response = response(&body);
            *response.status_mut() = StatusCode::from_u16(status).unwrap();
            let mut fixture = Fixture::new("a test");
            fixture.capture(&poll(), &response);
            let elsewhere = Request::get("/elsewhere").body(Vec::new()).unwrap();
            fixture.capture(&elsewhere, &response);
            assert!(!fixture.to_json().contains("MARKER"), "{}", fixture.to_json());
        }
    }

    #[test]
    fn secrets_in_a_request_are_not_recorded() {
        let request = Request::post("/api/open/v3/getToken")
            .header("content-type", "application/json")
            .body(json!({ "clientId": "MARKER", "clientSecret": "MARKER" }).to_string())
            .unwrap();
        let mut fixture = Fixture::new("a test");
        fixture.capture(&request, &response(&json!({ "code": 1000, "token": "MARKER" })));
        assert!(!fixture.to_json().contains("MARKER"), "{}", fixture.to_json());
    }

    #[test]
    fn an_invalid_fixture_is_an_error_that_names_the_reason() {
        let with = |request: &str, status: u16| {
            format!(
                r#"{{"origin": "x", "exchanges": [{{"request": {request}, "response": {{"status": {status}}}}}]}}"#
            )
        };
        for (text, says) in [
            (String::new(), "EOF"),
            ("{}".to_owned(), "origin"),
            (r#"{"origin": "x", "exchanges": []}"#.to_owned(), "no exchanges"),
            (with(r#"{"method": "GET", "target": "/a b"}"#, 200), "exchange 1: invalid uri"),
            (with(r#"{"method": "GET", "target": "/"}"#, 99), "exchange 1: invalid status"),
        ] {
            let error = Fixture::from_json(text.as_bytes()).unwrap_err().to_string();
            assert!(error.contains(says), "{error}");
        }
    }
}
