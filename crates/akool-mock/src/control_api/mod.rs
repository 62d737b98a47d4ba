//! The control API under `/__sandbox/`: what a test in Rust configures through [`MockServer`](crate::MockServer), for any
//! language. `openapi/sandbox.yaml` describes it. Both call the same functions of [`ServiceState`].

mod access;
mod input;
mod view;

use std::time::{Duration, SystemTime};

use bytes::Bytes;
use http::{HeaderValue, Method, Request, Response, StatusCode, header};
use serde::de::DeserializeOwned;
use serde_json::{Map, Value, json};

pub(crate) use access::Access;

use crate::{
    config::{self, Injection},
    record::short,
    request,
    service::Service,
    service_state::ServiceState,
};
use input::{AccountInput, ClockInput, FaultInput, JobInput};

const PREFIX: &str = "/__sandbox/";
/// The longest id of a job, and the largest number of faults.
const MAX_ID: usize = 200;
const MAX_FAULTS: usize = 1_000;
/// The furthest that one request sets the clock forward.
const MAX_ADVANCE: Duration = Duration::from_secs(10 * 366 * 24 * 60 * 60);

/// Why a request is refused, with the methods that its path allows if its own is not.
struct Refusal {
    status: StatusCode,
    why: String,
    allow: Option<&'static str>,
}

fn refuse<T>(status: StatusCode, why: impl Into<String>) -> Result<T, Refusal> {
    Err(Refusal { status, why: why.into(), allow: None })
}

/// Answers a request to the control API. Returns `None` for other paths.
pub(crate) fn respond(
    access: &Access,
    service: &Service,
    request: &Request<Bytes>,
) -> Option<Response<Bytes>> {
    let path = request.uri().path().strip_prefix(PREFIX)?;
    if path == "health" && *request.method() == Method::GET {
        return Some(response(StatusCode::OK, &json!({ "status": "ok" })));
    }
    let answer = access.check(request).and_then(|()| {
        let (name, rest) = path.split_once('/').map_or((path, None), |(name, rest)| (name, Some(rest)));
        let answer =
            Call { state: &mut service.state(), request, real: SystemTime::now() }.answer(name, rest);
        service.wake();
        answer
    });
    Some(match answer {
        Ok((status, body)) => response(status, &body),
        Err(refusal) => {
            let mut response = response(refusal.status, &json!({ "error": refusal.why }));
            if let Some(allow) = refusal.allow {
                response.headers_mut().insert(header::ALLOW, HeaderValue::from_static(allow));
            }
            response
        }
    })
}

fn response(status: StatusCode, body: &Value) -> Response<Bytes> {
    let mut response = Response::new(Bytes::new());
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    if !body.is_null() {
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        *response.body_mut() = body.to_string().into();
    }
    response
}

type Answer = Result<(StatusCode, Value), Refusal>;

fn ok(body: Value) -> Answer {
    Ok((StatusCode::OK, body))
}

const DONE: (StatusCode, Value) = (StatusCode::NO_CONTENT, Value::Null);

/// One request to the control API.
struct Call<'a> {
    state: &'a mut ServiceState,
    request: &'a Request<Bytes>,
    /// The machine's time.
    real: SystemTime,
}

impl Call<'_> {
    fn answer(&mut self, name: &str, rest: Option<&str>) -> Answer {
        let now = self.state.clock.at(self.real);
        match (name, rest, self.request.method()) {
            ("state", None, &Method::GET) => ok(view::state(self.state, now)),
            ("reset", None, &Method::POST) => {
                self.state.reset();
                Ok(DONE)
            }
            ("jobs", None, &Method::GET) => ok(view::jobs(self.state, now)),
            ("jobs", None, &Method::POST) => self.create_job(now),
            ("jobs", Some(id), &Method::GET) => {
                let id = self.known(id)?;
                ok(view::job(self.state, &id, now))
            }
            ("jobs", Some(id), &Method::PUT) => self.put_job(id, now),
            ("jobs", Some(id), &Method::PATCH) => {
                let id = self.known(id)?;
                let input = self.job_body(&id)?;
                let timeline = input.timeline().or_else(|why| refuse(StatusCode::BAD_REQUEST, why))?;
                self.check_room(&id)?;
                self.state.change_job(&id, timeline, now);
                self.describe(&id, input.description, input.webhook_url);
                ok(view::job(self.state, &id, now))
            }
            ("jobs", Some(id), &Method::DELETE) => {
                let id = self.known(id)?;
                self.state.remove_job(&id);
                Ok(DONE)
            }
            ("faults", None, &Method::GET) => ok(view::faults(self.state)),
            ("faults", None, &Method::POST) => self.inject(),
            ("faults", None, &Method::DELETE) => {
                self.state.clear_faults();
                Ok(DONE)
            }
            ("requests", None, &Method::GET) => {
                let job = request::query_value(self.request, "job");
                ok(view::requests(self.state, job.as_deref()))
            }
            ("violations", None, &Method::GET) => {
                ok(json!({ "violations": self.state.violations.iter().collect::<Vec<_>>() }))
            }
            ("unmet-expectations", None, &Method::GET) => {
                ok(json!({ "unmet_expectations": self.state.unmet_expectations() }))
            }
            ("clock", None, &Method::GET) => ok(view::clock(self.state, now)),
            ("clock", None, &Method::PATCH) => self.set_clock(),
            ("account", None, &Method::GET) => ok(view::account(self.state)),
            ("account", None, &Method::PATCH) => {
                let input = self.body::<AccountInput>()?;
                if input.credits.is_some_and(|credits| credits < 0.0) {
                    return refuse(StatusCode::BAD_REQUEST, "`credits` is negative");
                }
                self.state.credits = input.credits.unwrap_or(self.state.credits);
                self.state.credits_per_job = input.credits_per_job.unwrap_or(self.state.credits_per_job);
                ok(view::account(self.state))
            }
            (name, rest, _) => match allowed(name, rest.is_some()) {
                Some(allow) => {
                    let why = format!("{PREFIX}{name} accepts only {allow}");
                    Err(Refusal { status: StatusCode::METHOD_NOT_ALLOWED, why, allow: Some(allow) })
                }
                None => {
                    let why = "no such path; openapi/sandbox.yaml describes the control API: state, jobs, faults, requests, \
                               violations, unmet-expectations, clock, account and reset";
                    refuse(StatusCode::NOT_FOUND, why)
                }
            },
        }
    }

    fn create_job(&mut self, now: SystemTime) -> Answer {
        let job: JobInput = self.body()?;
        let id = job.id.clone().unwrap_or_else(|| self.state.new_id(now));
        if self.state.jobs.contains_key(&id) {
            return refuse(StatusCode::CONFLICT, "there is already a job with this id; PUT replaces it");
        }
        self.add_job(id, job, now)
    }

    fn put_job(&mut self, id: &str, now: SystemTime) -> Answer {
        let id = decode(id)?;
        let is_new = !self.state.jobs.contains_key(&id);
        let input = self.job_body(&id)?;
        let (_, job) = self.add_job(id, input, now)?;
        Ok((if is_new { StatusCode::CREATED } else { StatusCode::OK }, job))
    }

    fn add_job(&mut self, id: String, input: JobInput, now: SystemTime) -> Answer {
        if id.is_empty() || id.chars().count() > MAX_ID {
            return refuse(StatusCode::BAD_REQUEST, format!("`id` has 1 to {MAX_ID} characters"));
        }
        let timeline = input.timeline().or_else(|why| refuse(StatusCode::BAD_REQUEST, why))?;
        self.check_room(&id)?;
        // Nothing is left of a job that this one replaces.
        self.state.notes.remove(&id);
        self.state.webhooks.hooks.remove(&id);
        self.state.add_job(&*id, timeline);
        self.describe(&id, input.description, input.webhook_url);
        Ok((StatusCode::CREATED, view::job(self.state, &id, now)))
    }

    /// Refuses a job, or a change of one, that cannot be remembered.
    fn check_room(&self, id: &str) -> Result<(), Refusal> {
        if self.state.has_room(!self.state.jobs.contains_key(id), self.request.body().len()) {
            return Ok(());
        }
        refuse(StatusCode::INSUFFICIENT_STORAGE, "there are too many jobs: remove some, or reset the sandbox")
    }

    fn describe(&mut self, id: &str, description: Option<String>, webhook: Option<String>) {
        if let Some(description) = description {
            self.state.grow_job(id, description.len());
            self.state.notes.insert(id.to_owned(), short(&description));
        }
        if let Some(url) = webhook {
            self.state.grow_job(id, url.len());
            self.state.webhooks.subscribe(id, url);
        }
    }

    fn inject(&mut self) -> Answer {
        let input = self.body::<FaultInput>()?;
        let bad = |why: String| Refusal { status: StatusCode::BAD_REQUEST, why, allow: None };
        let injection =
            Injection::parse(input.on, &input.fault).map_err(|why| bad(format!("`fault`: {why}")))?;
        let times =
            config::times(input.times, input.percent, input.seed).map_err(|why| bad(why.to_owned()))?;
        if self.state.injected() >= MAX_FAULTS {
            let why = format!("there are {MAX_FAULTS} faults already; clear them");
            return refuse(StatusCode::INSUFFICIENT_STORAGE, why);
        }
        self.state.inject(injection, times, input.advances_timeline);
        Ok((StatusCode::CREATED, view::faults(self.state)))
    }

    fn set_clock(&mut self) -> Answer {
        let input = self.body::<ClockInput>()?;
        let advance = match input.advance_seconds.map(Duration::try_from_secs_f64) {
            None => Duration::ZERO,
            Some(Ok(advance)) if advance <= MAX_ADVANCE => advance,
            Some(_) => {
                let why = "`advance_seconds` is from 0 to 316224000 (10 years)";
                return refuse(StatusCode::BAD_REQUEST, why);
            }
        };
        match input.stopped {
            Some(true) => self.state.clock.stop(self.real),
            Some(false) => self.state.clock.start(self.real),
            None => {}
        }
        self.state.clock.advance(advance, self.real);
        ok(view::clock(self.state, self.state.clock.at(self.real)))
    }

    /// Returns the id of a job that exists.
    fn known(&self, id: &str) -> Result<String, Refusal> {
        let id = decode(id)?;
        if self.state.jobs.contains_key(&id) {
            return Ok(id);
        }
        refuse(StatusCode::NOT_FOUND, "there is no job with this id")
    }

    /// Reads the job with this id.
    fn job_body(&self, id: &str) -> Result<JobInput, Refusal> {
        let input: JobInput = self.body()?;
        if input.id.as_ref().is_some_and(|own| own != id) {
            return refuse(StatusCode::BAD_REQUEST, "`id` is not the id in the path");
        }
        Ok(input)
    }

    /// Reads the JSON body. A page of another origin cannot send this content type without asking first.
    fn body<T: DeserializeOwned>(&self) -> Result<T, Refusal> {
        if !request::is_json(self.request.headers()) {
            let why = "the body must be JSON, with the content type application/json";
            return refuse(StatusCode::UNSUPPORTED_MEDIA_TYPE, why);
        }
        let bad = |error: serde_json::Error| Refusal {
            status: StatusCode::BAD_REQUEST,
            why: short(&error.to_string()),
            allow: None,
        };
        // A struct can be read from an array too.
        let object: Map<String, Value> = serde_json::from_slice(self.request.body()).map_err(bad)?;
        serde_json::from_value(object.into()).map_err(bad)
    }
}

/// The methods of a path.
fn allowed(name: &str, has_id: bool) -> Option<&'static str> {
    Some(match (name, has_id) {
        ("jobs", false) => "GET, POST",
        ("jobs", true) => "GET, PUT, PATCH, DELETE",
        ("faults", false) => "GET, POST, DELETE",
        ("clock" | "account", false) => "GET, PATCH",
        ("health" | "state" | "requests" | "violations" | "unmet-expectations", false) => "GET",
        ("reset", false) => "POST",
        _ => return None,
    })
}

/// Decodes a path segment.
fn decode(segment: &str) -> Result<String, Refusal> {
    match request::segment(segment) {
        Some(id) if !segment.contains('/') => Ok(id),
        _ => refuse(StatusCode::NOT_FOUND, "there is no job with this id"),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use super::*;
    use crate::{Timeline, webhook::Deliverer};

    struct Server {
        access: Access,
        service: Service,
        _deliverer: Deliverer,
    }

    fn server(access: Access) -> Server {
        let state = Arc::new(Mutex::new(ServiceState::new("http://127.0.0.1:1")));
        let deliverer = Deliverer::start(Arc::clone(&state), false, None);
        Server { access, service: Service::new(state, None, deliverer.waker()), _deliverer: deliverer }
    }

    fn local() -> Server {
        server(Access { is_loopback: true, token: None })
    }

    impl Server {
        fn request(&self, method: &str, path: &str, headers: &[(&str, &str)], body: &str) -> (u16, Value) {
            let mut request = Request::builder().method(method).uri(path).header("host", "127.0.0.1:1");
            for (name, value) in headers {
                request = request.header(*name, *value);
            }
            let request = request.body(Bytes::from(body.to_owned())).unwrap();
            let now = self.service.state().clock.now();
            let response = respond(&self.access, &self.service, &request)
                .unwrap_or_else(|| self.service.respond(&request, now));
            let body = serde_json::from_slice(response.body()).unwrap_or(Value::Null);
            (response.status().as_u16(), body)
        }

        fn send(&self, method: &str, path: &str, body: &Value) -> (u16, Value) {
            let headers = [("content-type", "application/json")];
            self.request(method, &format!("{PREFIX}{path}"), &headers, &body.to_string())
        }

        fn get(&self, path: &str) -> Value {
            let (status, body) = self.request("GET", &format!("{PREFIX}{path}"), &[], "");
            assert_eq!(status, 200, "{path}: {body}");
            body
        }

        fn poll(&self, id: &str) -> (u16, Value) {
            let path = format!("{}?video_model_id={id}", request::GET_VIDEO_INFO);
            let (status, answer) = self.request("GET", &path, &[("x-api-key", crate::DEFAULT_API_KEY)], "");
            (status, answer["data"]["video_status"].clone())
        }
    }

    #[test]
    fn two_hours_of_a_job_pass_at_once() {
        let server = local();
        assert_eq!(server.send("PATCH", "clock", &json!({ "stopped": true })).1["stopped"], true);
        let job = json!({ "id": "64dd", "steps": [
            { "status": "queueing", "for": "2h" }, { "status": "processing", "for": "1 poll" }] });
        assert_eq!(server.send("POST", "jobs", &job).0, 201);
        let fault = json!({ "on": "polls", "fault": "rate-limited-2" });
        assert_eq!(server.send("POST", "faults", &fault).1["faults"][0]["times"], 1);
        assert_eq!(server.poll("64dd"), (429, Value::Null));
        assert_eq!(server.poll("64dd"), (200, 1.into()));
        server.send("PATCH", "clock", &json!({ "advance_seconds": 7200 }));
        assert_eq!((server.poll("64dd"), server.poll("64dd")), ((200, 2.into()), (200, 3.into())));

        let job = server.get("jobs/64dd");
        assert_eq!((&job["status"], &job["progress"], &job["polls"]), (&3.into(), &100.into(), &4.into()));
        assert_eq!(server.get("requests?job=64dd")["requests"].as_array().unwrap().len(), 4);
        assert_eq!(server.get("requests?job=other")["requests"], json!([]));
        assert_eq!(server.get("violations"), json!({ "violations": [] }));
        assert_eq!(server.get("unmet-expectations"), json!({ "unmet_expectations": [] }));
    }

    #[test]
    fn a_running_job_can_be_changed_and_everything_can_be_reset() {
        let server = local();
        let stuck = json!({ "end": "processing", "description": "stuck" });
        assert_eq!(server.send("PUT", "jobs/a%2Fb%20+", &stuck).0, 201);
        assert_eq!(server.send("PUT", "jobs/a%2Fb%20+", &stuck).0, 200);
        assert_eq!(server.poll("a%2Fb%20%2B"), (200, 2.into()));
        let failed = json!({ "end": "failed", "error": { "code": 7, "reason": "no" } });
        let changed = server.send("PATCH", "jobs/a%2Fb%20+", &failed).1;
        assert_eq!((&changed["status"], &changed["error"]["code"]), (&4.into(), &7.into()));
        assert_eq!(server.poll("a%2Fb%20%2B"), (200, 4.into()));
        assert_eq!(server.send("PATCH", "account", &json!({ "credits": 7.5 })).1["credits"], 7.5);
        assert_eq!(server.send("DELETE", "jobs/other", &json!({})).0, 404);

        let id = server.send("POST", "jobs", &json!({})).1["id"].clone();
        server.send("POST", "reset", &json!(null));
        assert_eq!(server.get("state")["jobs"], 0);
        assert_eq!(server.get("account")["credits"], 1_000_000.0);
        assert_ne!(server.send("POST", "jobs", &json!({})).1["id"], id, "no id occurs twice");
    }

    #[test]
    fn invalid_requests_are_refused_with_the_reason() {
        let server = local();
        server.send("PUT", "jobs/a", &json!({}));
        for (method, path, body, status, reason) in [
            ("GET", "nothing", json!(null), 404, "no such path"),
            ("POST", "state", json!(null), 405, "accepts only GET"),
            ("GET", "jobs/none", json!(null), 404, "no job"),
            ("PUT", "jobs/a", json!({ "id": "b" }), 400, "`id` is not the id in the path"),
            ("PUT", "jobs/", json!({}), 400, "`id` has 1 to 200"),
            ("PUT", "jobs/b", json!({ "step": [] }), 400, "unknown field `step`"),
            ("PUT", "jobs/b", json!({ "end": "done" }), 400, "\"done\" is not a status"),
            ("PUT", "jobs/b", json!({ "error": { "code": 1, "reason": "" } }), 400, "only valid with"),
            ("PUT", "jobs/b", json!({ "description": "x".repeat(3000) }), 400, "`description` is longer"),
            (
                "PUT",
                "jobs/b",
                json!({ "steps": vec![json!({ "status": 1, "for": "1s" }); 1001] }),
                400,
                "`steps` has more",
            ),
            ("POST", "jobs", json!({ "id": "a" }), 409, "already a job"),
            ("POST", "jobs", json!([1, 2]), 400, "invalid"),
            ("POST", "faults", json!({ "on": "polls", "fault": "htlm" }), 400, "is not a fault"),
            (
                "POST",
                "faults",
                json!({ "on": "polls", "fault": "refused" }),
                400,
                "before there is a request",
            ),
            ("POST", "faults", json!({ "on": "webhooks", "fault": "html" }), 400, "not a fault of webhooks"),
            ("POST", "faults", json!({ "on": "polls", "fault": "html", "times": 0 }), 400, "`times`"),
            (
                "POST",
                "faults",
                json!({ "on": "polls", "fault": "html", "percent": 101 }),
                400,
                "more than 100",
            ),
            ("PATCH", "clock", json!({ "advance_seconds": -1 }), 400, "`advance_seconds`"),
            ("PATCH", "clock", json!({ "advance_seconds": 1e300 }), 400, "`advance_seconds`"),
            ("PATCH", "account", json!({ "credits": -1 }), 400, "negative"),
        ] {
            let (got, answer) = server.send(method, path, &body);
            let error = answer["error"].as_str().unwrap_or_default();
            assert!(got == status && error.contains(reason), "{method} {path} {body}: {got} {answer}");
        }
        let (status, answer) =
            server.request("POST", "/__sandbox/jobs", &[("content-type", "text/plain")], "{}");
        assert_eq!((status, answer["error"].as_str().unwrap().contains("application/json")), (415, true));
    }

    #[test]
    fn only_those_with_access_control_the_server() {
        let state = "/__sandbox/state";
        let status_of = |server: &Server, headers: &[_]| server.request("GET", state, headers, "").0;
        let own = local();
        assert_eq!(status_of(&own, &[]), 200);
        assert_eq!(status_of(&own, &[("origin", "http://127.0.0.1:1")]), 200);
        for origin in ["null", "https://127.0.0.1:1", "http://127.0.0.1:2", "http://attacker.example", ""] {
            assert_eq!(status_of(&own, &[("origin", origin)]), 403, "{origin}");
        }
        assert_eq!(status_of(&server(Access { is_loopback: false, token: None }), &[]), 403);
        let token = server(Access { is_loopback: false, token: Some("t".into()) });
        for (header, status) in [("Bearer t", 200), ("Bearer x", 401), ("t", 401), ("", 401)] {
            assert_eq!(status_of(&token, &[("authorization", header)]), status, "{header}");
        }
        assert_eq!(status_of(&token, &[]), 401);
    }

    #[test]
    fn a_removed_job_is_gone_also_if_its_id_is_that_of_an_earlier_sandbox() {
        let server = local();
        server.service.state().seeded = true;
        let id = server.send("POST", "jobs", &json!({})).1["id"].as_str().unwrap().to_owned();
        assert_eq!(server.poll(&id), (200, 3.into()));
        assert_eq!(server.send("DELETE", &format!("jobs/{id}"), &json!(null)).0, 204);
        assert_eq!(server.poll(&id), (200, Value::Null));
    }

    #[test]
    fn a_replaced_job_leaves_nothing_behind() {
        let server = local();
        let old = json!({ "description": "old", "webhook_url": "http://127.0.0.1:1/" });
        server.send("PUT", "jobs/a", &old);
        let new = server.send("PUT", "jobs/a", &json!({})).1;
        assert_eq!(new["description"], Value::Null);
        assert!(server.service.state().webhooks.hooks.is_empty());
    }

    #[test]
    fn what_is_remembered_of_jobs_is_bounded() {
        let server = local();
        let size = || server.service.state().job_bytes;
        let steps = json!({ "steps": vec![json!({ "status": 1, "for": "1s" }); 1000] });
        let texts = json!({ "description": "x".repeat(2000), "webhook_url": "x".repeat(2000) });
        let mut before = 0;
        for (method, path, body) in
            [("PUT", "jobs/a", &steps), ("PATCH", "jobs/a", &steps), ("POST", "jobs", &texts)]
        {
            server.send(method, path, body);
            assert!(size() > before + 4_000, "{method}");
            before = size();
        }
        server.service.state().grow_job("a", 128 * 1024 * 1024 - before - 1_000);
        for (method, path) in [("POST", "jobs"), ("PUT", "jobs/b"), ("PUT", "jobs/a"), ("PATCH", "jobs/a")] {
            assert_eq!(server.send(method, path, &texts).0, 507, "{method} {path}");
        }
        // A request still creates its job.
        let id = "6b0ac2d3a2f9a803df000001";
        let job = crate::timeline::JobTimeline::new(Timeline::new());
        server.service.state().add_created(id.to_owned(), job);
        assert_eq!(server.get(&format!("jobs/{id}"))["id"], id);
        server.send("DELETE", "jobs/a", &json!(null));
        assert!(size() < before, "{}", size());
        assert_eq!(server.send("POST", "jobs", &texts).0, 201);
        server.send("POST", "reset", &json!(null));
        assert_eq!(size(), 0);
    }

    #[test]
    fn faults_are_bounded() {
        let server = local();
        let fault = json!({ "on": "files", "fault": "html", "times": "always" });
        for _ in 0..MAX_FAULTS {
            assert_eq!(server.send("POST", "faults", &fault).0, 201);
        }
        assert_eq!(server.send("POST", "faults", &fault).0, 507);
        assert_eq!(server.send("DELETE", "faults", &json!(null)).0, 204);
        assert_eq!(server.get("faults")["faults"], json!([]));
    }
}
