//! The state of the mocked service, without transport and clock: [`ServiceState`].

use std::{
    collections::{BTreeMap, VecDeque},
    time::SystemTime,
};

use bytes::Bytes;
use http::{
    HeaderMap, HeaderValue, Method, Request, Response, StatusCode,
    header::{ALLOW, AUTHORIZATION, CONTENT_TYPE, DATE, HOST},
};
use serde_json::Value;

use crate::{
    answer,
    create::{CreatedJob, Plan},
    fault::{Fault, Place, Times},
    files,
    record::{Exchange, Log, short, shown},
    timeline::{JobTimeline, Timeline},
    variation::Variation,
    verify,
    webhook::Webhooks,
};

pub(crate) const GET_VIDEO_INFO: &str = "/api/open/v3/content/video/infobymodelid";
pub(crate) const CREATE_TRANSLATION: &str = "/api/open/v3/content/video/createbytranslate";
const LIST_LANGUAGES: &str = "/api/open/v3/language/list";
const GET_TOKEN: &str = "/api/open/v3/getToken";
const KNOWN_OPERATIONS: &str = "GET /api/open/v3/content/video/infobymodelid?video_model_id=ID, \
                     POST /api/open/v3/content/video/createbytranslate, GET /api/open/v3/language/list, \
                     POST /api/open/v3/getToken and the links in answers";
/// How many exchanges, violations, webhook calls and created jobs are kept.
pub(crate) const MAX_KEPT: usize = 10_000;

/// The state of the service. It takes a request and the time, and returns an answer.
///
/// ```
/// use std::time::SystemTime;
/// use akool_mock::{ServiceState, Timeline};
///
/// let mut state = ServiceState::new("http://127.0.0.1:1");
/// state.job("64dd", Timeline::default());
/// let request = http::Request::get("/api/open/v3/content/video/infobymodelid?video_model_id=64dd")
///     .header("x-api-key", state.api_key())
///     .body(bytes::Bytes::new())
///     .unwrap();
/// let answer = state.respond(&request, SystemTime::UNIX_EPOCH);
/// assert_eq!(answer.status(), 200);
/// ```
#[derive(Clone, Debug)]
pub struct ServiceState {
    pub(crate) base_url: String,
    pub(crate) client_id: String,
    pub(crate) api_key: String,
    pub(crate) token: String,
    pub(crate) jobs: BTreeMap<String, JobTimeline>,
    /// Whether the demo jobs were seeded. Then ids of jobs that an earlier sandbox created are known too.
    pub(crate) seeded: bool,
    /// The timeline of jobs that requests create.
    pub(crate) plan: Timeline,
    /// The same for single target languages.
    pub(crate) plans: BTreeMap<String, Plan>,
    pub(crate) omits_all_results: bool,
    pub(crate) only_listed_languages: bool,
    pub(crate) created: VecDeque<CreatedJob>,
    /// The number of jobs that requests created.
    pub(crate) serial: u32,
    pub(crate) webhooks: Webhooks,
    log: Log,
    violations: Vec<String>,
    poll_faults: VecDeque<(Fault, Times)>,
    file_faults: VecDeque<(Fault, Times)>,
    creation_faults: VecDeque<(Fault, Times)>,
    /// Overridden file contents, by job (`None` for all jobs) and file name.
    contents: BTreeMap<(Option<String>, String), Bytes>,
    pub(crate) variation: Variation,
    /// Descriptions of jobs, for people.
    pub(crate) notes: BTreeMap<String, String>,
    /// Whether requests may contain undocumented fields and parameters.
    allows_undocumented: bool,
}

/// An answer, and what the log records about it.
pub(crate) struct Outcome {
    pub(crate) response: Response<Bytes>,
    pub(crate) job: Option<String>,
    pub(crate) summary: String,
    /// A violation that fails the test.
    pub(crate) violation: Option<String>,
}

impl ServiceState {
    /// Creates a service without jobs. Links in its answers point to the request's `Host`, or to `base_url` if the
    /// request has none.
    pub fn new(base_url: impl Into<String>) -> Self {
        Self {
            base_url: base_url.into(),
            client_id: "sandbox-client".to_owned(),
            api_key: "sandbox-key-000000000000".to_owned(),
            token: "sandbox-token".to_owned(),
            jobs: BTreeMap::new(),
            seeded: false,
            plan: Timeline::default(),
            plans: BTreeMap::new(),
            omits_all_results: false,
            only_listed_languages: false,
            created: VecDeque::new(),
            serial: 0,
            webhooks: Webhooks::default(),
            log: Log::default(),
            violations: Vec::new(),
            poll_faults: VecDeque::new(),
            file_faults: VecDeque::new(),
            creation_faults: VecDeque::new(),
            contents: BTreeMap::new(),
            variation: Variation::default(),
            notes: BTreeMap::new(),
            allows_undocumented: false,
        }
    }

    /// Sets the API key that the service accepts. It is also the client secret, as in the real service.
    #[must_use]
    pub fn with_api_key(mut self, key: impl Into<String>) -> Self {
        self.api_key = key.into();
        self
    }

    /// Sets the bearer token that the service accepts.
    #[must_use]
    pub fn with_token(mut self, token: impl Into<String>) -> Self {
        self.token = token.into();
        self
    }

    /// Returns the client id that can request a token: `sandbox-client`. The API key is its secret.
    pub fn client_id(&self) -> &str {
        &self.client_id
    }

    /// Returns the API key that the service accepts.
    pub fn api_key(&self) -> &str {
        &self.api_key
    }

    /// Returns the bearer token that the service accepts.
    pub fn token(&self) -> &str {
        &self.token
    }

    /// Adds a job. An existing job with this id starts from the beginning.
    pub fn job(&mut self, id: impl Into<String>, timeline: Timeline) {
        self.jobs.insert(id.into(), JobTimeline::new(timeline));
    }

    /// Sets the description of a job on the page of the sandbox.
    pub fn note(&mut self, id: impl Into<String>, what: impl Into<String>) {
        self.notes.insert(id.into(), what.into());
    }

    /// Injects a fault into the answers to polls. Several faults happen one after the other, in the order of
    /// injection. Faults of the connection happen only at the base URL that
    /// [`MockServer::url_for`](crate::MockServer::url_for) returns.
    pub fn inject(&mut self, fault: Fault, times: Times) {
        self.poll_faults.push_back((fault, times));
    }

    /// Injects a fault into the answers to requests for files, as [`inject`](Self::inject) does for polls.
    pub fn inject_into_files(&mut self, fault: Fault, times: Times) {
        self.file_faults.push_back((fault, times));
    }

    /// Injects a fault into the answers to creation requests, as [`inject`](Self::inject) does for polls. A fault
    /// that rejects the request (a documented code, most HTTP 4xx statuses) creates no jobs. Under any other fault,
    /// the jobs are created and only the answer is damaged.
    pub fn inject_into_creations(&mut self, fault: Fault, times: Times) {
        self.creation_faults.push_back((fault, times));
    }

    /// Removes all injected faults.
    pub fn clear_faults(&mut self) {
        self.poll_faults.clear();
        self.file_faults.clear();
        self.creation_faults.clear();
        self.webhooks.clear_faults();
    }

    /// Sets the contents of a result file for all jobs. The name is `video.mp4`, `original.srt`, `translated.srt`
    /// or `no-captions.mp4`.
    pub fn file(&mut self, name: impl Into<String>, contents: impl Into<Bytes>) {
        self.contents.insert((None, name.into()), contents.into());
    }

    /// Sets the contents of a result file for one job. This overrides [`file`](Self::file).
    pub fn file_of(&mut self, id: impl Into<String>, name: impl Into<String>, contents: impl Into<Bytes>) {
        self.contents.insert((Some(id.into()), name.into()), contents.into());
    }

    /// Accepts fields and parameters that the description does not contain.
    pub fn allow_undocumented(&mut self) {
        self.allows_undocumented = true;
    }

    /// Returns the latest exchanges, oldest first: at most 10,000, and at most 32 MiB.
    pub fn exchanges(&self) -> impl Iterator<Item = &Exchange> {
        self.log.iter()
    }

    /// Returns the number of requests since the start.
    pub fn count(&self) -> u64 {
        self.log.count()
    }

    /// Returns the unmet expectations: jobs that were never polled, and injected faults that have not happened as
    /// often as requested.
    pub fn unmet_expectations(&self) -> Vec<String> {
        let jobs = self.jobs.iter().filter(|(_, job)| !job.was_polled());
        let jobs = jobs.map(|(id, _)| format!("job {} was never polled", short(id)));
        let kinds = [
            ("polls", &self.poll_faults),
            ("file requests", &self.file_faults),
            ("creations", &self.creation_faults),
        ];
        let faults =
            kinds.into_iter().flat_map(|(kind, faults)| faults.iter().map(move |fault| (kind, fault)));
        let faults = faults.filter_map(|(kind, (fault, times))| {
            let left = times.remaining()?;
            Some(format!(
                "the fault \"{}\" for {kind} has not happened {left} more times",
                fault.description()
            ))
        });
        jobs.chain(faults).collect()
    }

    /// Returns the violations: requests that match no operation, requests that violate the description, and
    /// credentials that were sent to the CDN. An answer of the mock server that violates the description without
    /// being configured to is a violation too.
    pub fn violations(&self) -> &[String] {
        &self.violations
    }

    pub(crate) fn report_violation(&mut self, violation: String) {
        if self.violations.len() < MAX_KEPT {
            self.violations.push(violation);
        }
    }

    /// Answers a request that arrives at this time.
    pub fn respond(&mut self, request: &Request<Bytes>, now: SystemTime) -> Response<Bytes> {
        let faults = match request.uri().path() {
            path if path.starts_with("/files/") => &mut self.file_faults,
            CREATE_TRANSLATION => &mut self.creation_faults,
            GET_VIDEO_INFO => &mut self.poll_faults,
            _ => &mut VecDeque::new(),
        };
        let fault = next_fault(faults);
        let recorded = self.variation.recorded(request);
        let configured = recorded.is_some() || fault.is_some();
        let mut outcome = match recorded {
            Some(outcome) => outcome,
            None => self.answer(request, now, !fault.is_some_and(Fault::rejects_creation)),
        };
        let api = request.uri().path().starts_with("/api/");
        let mut violation = outcome.violation.clone();
        if api && outcome.violation.is_none() {
            // The test configured these answers to violate the description.
            let renamed = self.variation.rename(&mut outcome.response);
            let own = if configured || renamed { None } else { verify::answer(request, &outcome.response) };
            violation = own.or_else(|| verify::request(request, self.allows_undocumented));
        }
        if outcome.violation.is_none()
            && let Some(fault) = fault
        {
            outcome.response = fault.apply(outcome.response, now);
            outcome.summary = format!("{}; fault: {}", outcome.summary, fault.description());
        }
        if let Some(violation) = &violation {
            self.report_violation(violation.clone());
        }
        let exchange = Exchange::new(request, now, outcome.response.status());
        self.log.push(Exchange { job: outcome.job, summary: outcome.summary, violation, ..exchange });
        let mut response = outcome.response;
        if let Ok(date) = HeaderValue::from_str(&httpdate::fmt_http_date(now)) {
            response.headers_mut().insert(DATE, date);
        }
        response
    }

    /// Dispatches a request to its operation. `commit` says whether a creation creates jobs.
    fn answer(&mut self, request: &Request<Bytes>, now: SystemTime, commit: bool) -> Outcome {
        let path = request.uri().path();
        match *request.method() {
            Method::GET if path == GET_VIDEO_INFO => self.get_video_info(request, now),
            Method::POST if path == CREATE_TRANSLATION => self.create_translation(request, now, commit),
            Method::GET if path == LIST_LANGUAGES => self.list_languages(request),
            Method::POST if path == GET_TOKEN => self.get_token(request),
            Method::GET if path.starts_with("/files/") => self.serve_file(request, path),
            _ => match path {
                GET_VIDEO_INFO | LIST_LANGUAGES => wrong_method(request, Method::GET),
                CREATE_TRANSLATION | GET_TOKEN => wrong_method(request, Method::POST),
                path if path.starts_with("/files/") => wrong_method(request, Method::GET),
                _ => unmatched(request),
            },
        }
    }

    fn get_video_info(&mut self, request: &Request<Bytes>, now: SystemTime) -> Outcome {
        if let Err((code, message)) = self.authorize(request.headers()) {
            return refused(code, message);
        }
        let query = request.uri().query().unwrap_or_default();
        let mut ids = url::form_urlencoded::parse(query.as_bytes())
            .filter(|(name, _)| name == "video_model_id")
            .map(|(_, id)| id.into_owned());
        let (Some(id), None) = (ids.next().filter(|id| !id.is_empty()), ids.next()) else {
            return refused(1003, "video_model_id is missing, empty or given twice");
        };
        if !self.jobs.contains_key(&id)
            && let Some(job) = self.restore(&id)
        {
            self.jobs.insert(id.clone(), job);
        }
        let Some(job) = self.jobs.get_mut(&id) else {
            return Outcome { job: Some(id), ..refused(1008, "The content does not exist") };
        };
        let state = job.poll(now);
        let summary = match (state.status, &state.error) {
            (1, _) => "queueing".to_owned(),
            (2, _) => format!("processing, {} %", state.progress),
            (3, _) => "completed".to_owned(),
            (4, Some((code, reason))) => format!("failed, {code} {reason}"),
            (other, _) => format!("status {other}"),
        };
        // The server may listen on all interfaces: links use the address that the caller used.
        let host = request.headers().get(HOST).and_then(|host| host.to_str().ok());
        let base_url = host.map_or_else(|| self.base_url.clone(), |host| format!("http://{host}"));
        Outcome {
            response: json(&answer::job(&id, &state, &base_url)),
            job: Some(id),
            summary,
            violation: None,
        }
    }

    /// Checks the credentials. As documented, `Authorization` takes precedence and hides an API key.
    pub(crate) fn authorize(&self, headers: &HeaderMap) -> Result<(), (i64, &'static str)> {
        if let Some(value) = headers.get(AUTHORIZATION) {
            let token = value.to_str().ok().and_then(|value| value.strip_prefix("Bearer "));
            return match token {
                Some(token) if token == self.token => Ok(()),
                _ => Err((1101, "The token is invalid or has expired")),
            };
        }
        match headers.get("x-api-key") {
            Some(key) if key.as_bytes() == self.api_key.as_bytes() => Ok(()),
            Some(_) => Err((1101, "The token is invalid or has expired")),
            None => Err((1102, "The token cannot be empty")),
        }
    }

    fn serve_file(&self, request: &Request<Bytes>, path: &str) -> Outcome {
        let headers = request.headers();
        if headers.contains_key(AUTHORIZATION) || headers.contains_key("x-api-key") {
            return Outcome {
                violation: Some(format!("a credential was sent to the CDN: GET {path}")),
                ..plain(StatusCode::BAD_REQUEST, "result files need no credentials; send none")
            };
        }
        let mut steps = path.trim_start_matches("/files/").splitn(2, '/');
        let id = steps.next().and_then(|step| {
            // A path segment is decoded like a query value, except for `+`.
            let (_, id) = url::form_urlencoded::parse(format!("={}", step.replace('+', "%2B")).as_bytes())
                .next()
                .map(|(name, id)| (name.into_owned(), id.into_owned()))?;
            Some(id)
        });
        let name = steps.next().unwrap_or_default();
        let file = files::ALL.into_iter().find(|file| file.name == name);
        let contents = |id: &str| {
            let of = |id: Option<&str>| self.contents.get(&(id.map(str::to_owned), name.to_owned()));
            of(Some(id)).or_else(|| of(None))
        };
        match (id.filter(|id| self.jobs.contains_key(id)), file) {
            _ if request.uri().query() != Some(files::SIGNATURE) => {
                plain(StatusCode::FORBIDDEN, "the link's signature is missing or has expired")
            }
            (Some(id), Some(file)) => Outcome {
                response: file.serve(headers, contents(&id)),
                summary: format!("file {name}"),
                job: Some(id),
                violation: None,
            },
            _ => plain(StatusCode::NOT_FOUND, "no such file"),
        }
    }
}

/// Takes the fault for the next answer.
fn next_fault(faults: &mut VecDeque<(Fault, Times)>) -> Option<Fault> {
    next_of(faults).filter(|fault| fault.place() != Place::Connection)
}

/// Takes the next fault of a queue. A fault with a probability that does not happen this time leaves the request
/// to the faults behind it.
pub(crate) fn next_of<F: Copy>(faults: &mut VecDeque<(F, Times)>) -> Option<F> {
    let struck = faults.iter_mut().position(|(_, times)| times.fires())?;
    let (fault, times) = faults.get(struck).copied()?;
    if times.is_exhausted() {
        faults.remove(struck);
    }
    Some(fault)
}

pub(crate) fn refused(code: i64, message: &str) -> Outcome {
    Outcome {
        response: json(&answer::error(code, message)),
        job: None,
        summary: format!("code {code}, {message}"),
        violation: None,
    }
}

/// Answers a request that matches no operation. The caller reads the known operations, and the test fails.
fn unmatched(request: &Request<Bytes>) -> Outcome {
    let target = shown(&request.uri().to_string());
    let what = format!("no operation matches {} {target}; known are {KNOWN_OPERATIONS}", request.method());
    let summary = "no operation matches".to_owned();
    Outcome { violation: Some(what.clone()), summary, ..plain(StatusCode::NOT_IMPLEMENTED, &what) }
}

/// Answers a request whose path exists with another method.
fn wrong_method(request: &Request<Bytes>, allowed: Method) -> Outcome {
    let path = short(request.uri().path());
    let what = format!("{path} accepts only {allowed}, not {}", request.method());
    let mut outcome = plain(StatusCode::METHOD_NOT_ALLOWED, &what);
    if let Ok(allowed) = HeaderValue::from_str(allowed.as_str()) {
        outcome.response.headers_mut().insert(ALLOW, allowed);
    }
    Outcome { violation: Some(what), ..outcome }
}

fn plain(status: StatusCode, text: &str) -> Outcome {
    let mut response = Response::new(Bytes::from(format!("akool-mock: {text}\n")));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    Outcome { response, job: None, summary: text.to_owned(), violation: None }
}

pub(crate) fn json(value: &Value) -> Response<Bytes> {
    let mut response = Response::new(Bytes::from(value.to_string()));
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json; charset=utf-8"));
    response
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Polls;

    fn ask(state: &mut ServiceState, target: &str, headers: &[(&str, &str)]) -> (u16, String) {
        let mut request = Request::get(target);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let answer = state.respond(&request.body(Bytes::new()).unwrap(), SystemTime::UNIX_EPOCH);
        (answer.status().as_u16(), String::from_utf8_lossy(answer.body()).into_owned())
    }

    fn code(answer: &(u16, String)) -> i64 {
        assert_eq!(answer.0, 200);
        serde_json::from_str::<Value>(&answer.1).unwrap()["code"].as_i64().unwrap()
    }

    const KEY: (&str, &str) = ("x-api-key", "sandbox-key-000000000000");

    #[test]
    fn a_wrong_method_gets_405_with_the_allowed_one_and_is_a_violation() {
        let mut state = ServiceState::new("http://127.0.0.1:1");
        for (method, target, allowed) in [
            (Method::POST, GET_VIDEO_INFO, "GET"),
            (Method::HEAD, LIST_LANGUAGES, "GET"),
            (Method::DELETE, "/files/64dd/video.mp4", "GET"),
            (Method::GET, CREATE_TRANSLATION, "POST"),
            (Method::TRACE, GET_TOKEN, "POST"),
        ] {
            let request = Request::builder().method(method).uri(target).body(Bytes::new()).unwrap();
            let answer = state.respond(&request, SystemTime::UNIX_EPOCH);
            assert_eq!(
                (answer.status().as_u16(), &answer.headers()[ALLOW]),
                (405, &allowed.parse().unwrap())
            );
            assert!(state.violations().last().unwrap().contains(target));
        }
    }

    #[test]
    fn credentials_are_checked_as_documented() {
        let mut state = ServiceState::new("http://x");
        state.job("a", Timeline::new());
        let target = format!("{GET_VIDEO_INFO}?video_model_id=a");
        let mut code_of = |headers: &[_]| code(&ask(&mut state, &target, headers));
        assert_eq!(code_of(&[]), 1102);
        assert_eq!(code_of(&[("x-api-key", "wrong")]), 1101);
        assert_eq!(code_of(&[KEY]), 1000);
        assert_eq!(code_of(&[("authorization", "Bearer sandbox-token")]), 1000);
        assert_eq!(
            code_of(&[("authorization", "Bearer wrong"), KEY]),
            1101,
            "the token takes precedence over the key"
        );
        assert_eq!(code_of(&[("authorization", "Basic sandbox-token")]), 1101);
    }

    #[test]
    fn an_invalid_poll_gets_a_business_code() {
        let mut state = ServiceState::new("http://x");
        state.job("a", Timeline::new());
        let mut code_of = |query: &str| code(&ask(&mut state, &format!("{GET_VIDEO_INFO}{query}"), &[KEY]));
        assert_eq!(code_of("?video_model_id=b"), 1008);
        for wrong in ["", "?video_model_id=", "?id=a", "?video_model_id=a&video_model_id=a"] {
            assert_eq!(code_of(wrong), 1003, "{wrong}");
        }
        // The description allows an empty id, so only three of the four are violations.
        assert_eq!(state.violations().len(), 3, "{:?}", state.violations());
        assert!(state.violations()[1].contains("/query/video_model_id"), "{:?}", state.violations());
    }

    #[test]
    fn a_request_that_matches_no_operation_gets_501_and_is_a_violation() {
        let mut state = ServiceState::new("http://x");
        let (status, text) = ask(&mut state, "/api/open/v3/nowhere", &[KEY]);
        assert_eq!(status, 501);
        assert!(text.contains("/nowhere") && text.contains("infobymodelid"), "{text}");
        assert_eq!(state.violations().len(), 1);
    }

    #[test]
    fn files_are_served_at_their_links_without_credentials() {
        let mut state = ServiceState::new("http://x");
        state.job("a b/ü+", Timeline::new().completed());
        let answer = ask(&mut state, &format!("{GET_VIDEO_INFO}?video_model_id=a+b%2F%C3%BC%2B"), &[KEY]);
        let answer: Value = serde_json::from_str(&answer.1).unwrap();
        let link = answer["data"]["audio_splits"]["translated_srt_url"].as_str().unwrap();
        let target = link.strip_prefix("http://x").unwrap();
        let (status, text) = ask(&mut state, target, &[]);
        assert_eq!(status, 200);
        assert!(text.contains("Buenos"), "{text}");
        assert_eq!(ask(&mut state, target.split('?').next().unwrap(), &[]).0, 403);
        assert_eq!(ask(&mut state, target, &[("range", "bytes=2-")]).0, 206);
        assert_eq!(ask(&mut state, target, &[("range", "bytes=2-"), ("if-range", "\"other\"")]).0, 200);
        assert_eq!(ask(&mut state, target, &[("range", "bytes=99999-")]).0, 416);
        assert!(state.violations().is_empty());
        assert_eq!(ask(&mut state, target, &[KEY]).0, 400);
        assert_eq!(state.violations().len(), 1);
    }

    #[test]
    fn exchanges_and_violations_are_bounded() {
        let mut state = ServiceState::new("http://x");
        state.job("a", Timeline::new().queueing(Polls(1)));
        for _ in 0..MAX_KEPT + 5 {
            ask(&mut state, "/nowhere", &[]);
        }
        assert_eq!(state.exchanges().count(), MAX_KEPT);
        assert_eq!(state.violations().len(), MAX_KEPT);
    }
}
