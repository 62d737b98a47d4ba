//! Answers requests: finds the operation, validates request and answer, applies faults, and writes the log.

use std::time::SystemTime;

use bytes::Bytes;
use http::{
    HeaderValue, Method, Request, Response, StatusCode,
    header::{ALLOW, DATE},
};

use crate::{
    answer::Outcome,
    fault::{Fault, Place},
    record::{Exchange, plain, short, shown},
    request::{CREATE_TRANSLATION, Call, FILES, GET_CREDITS, GET_TOKEN, GET_VIDEO_INFO, LIST_LANGUAGES},
    service_state::ServiceState,
    times::Injected,
    verify,
};

const KNOWN_OPERATIONS: &str = "GET /api/open/v3/content/video/infobymodelid?video_model_id=ID, \
                     POST /api/open/v3/content/video/createbytranslate, GET /api/open/v3/language/list, \
                     GET /api/open/v3/faceswap/quota/info, POST /api/open/v3/getToken and the links in answers";

impl ServiceState {
    /// Answers a request that arrives at this time.
    pub(crate) fn respond(&mut self, request: &Request<Bytes>, now: SystemTime) -> Response<Bytes> {
        let injected = self.next_fault(request.uri().path());
        let fault = injected.map(|injected| injected.fault);
        let report = request.uri().path().starts_with("/api/").then(|| verify::check(request));
        let call = Call {
            request,
            now,
            refusal: report.as_ref().and_then(verify::refusal),
            counts: injected.is_none_or(|injected| injected.advances),
            creates: !fault.is_some_and(Fault::rejects_creation),
        };
        let recorded = self.variation.recorded(request);
        let configured = recorded.is_some() || fault.is_some();
        let mut outcome = match recorded {
            Some(outcome) => outcome,
            None => self.answer(&call),
        };
        let mut violation = outcome.violation.clone();
        if let Some(report) = report.filter(|_| outcome.violation.is_none()) {
            // The test configured these answers to violate the description.
            let renamed = self.variation.rename(&mut outcome.response);
            let own = if configured || renamed { None } else { verify::answer(request, &outcome.response) };
            violation = own.or_else(|| verify::request(&report, request, self.allows_undocumented));
        }
        if outcome.violation.is_none()
            && let Some(fault) = fault
        {
            outcome.response = fault.apply(outcome.response, now);
            outcome.summary = format!("{}; fault: {}", outcome.summary, fault.description());
        }
        let violation =
            violation.map(|violation| violation.lines().map(plain).collect::<Vec<_>>().join("\n"));
        if let Some(violation) = &violation {
            self.report_violation(violation);
        }
        let exchange = Exchange::new(request, now, outcome.response.status());
        let exchange = Exchange { job: outcome.job, summary: outcome.summary, violation, ..exchange };
        let size = exchange.size();
        self.log.push(exchange, size);
        self.forget_oldest();
        let mut response = outcome.response;
        if let Ok(date) = HeaderValue::from_str(&httpdate::fmt_http_date(now)) {
            response.headers_mut().insert(DATE, date);
        }
        response
    }

    /// Dispatches a request to its operation.
    fn answer(&mut self, call: &Call<'_>) -> Outcome {
        let (request, now) = (call.request, call.now);
        let path = request.uri().path();
        match *request.method() {
            Method::GET if path == GET_VIDEO_INFO => self.get_video_info(call),
            Method::POST if path == CREATE_TRANSLATION => self.create_translation(call),
            Method::GET if path == LIST_LANGUAGES => self.list_languages(request),
            Method::GET if path == GET_CREDITS => self.get_credits(request),
            Method::POST if path == GET_TOKEN => self.get_token(call),
            Method::GET if path.starts_with(FILES) => self.serve_file(request, now),
            _ => match path {
                GET_VIDEO_INFO | LIST_LANGUAGES | GET_CREDITS => wrong_method(request, Method::GET),
                CREATE_TRANSLATION | GET_TOKEN => wrong_method(request, Method::POST),
                path if path.starts_with(FILES) => wrong_method(request, Method::GET),
                _ => unmatched(request),
            },
        }
    }

    /// Takes the fault for the next answer.
    fn next_fault(&mut self, path: &str) -> Option<Injected<Fault>> {
        let queue = match path {
            path if path.starts_with(FILES) => &mut self.file_faults,
            CREATE_TRANSLATION => &mut self.creation_faults,
            GET_VIDEO_INFO => &mut self.poll_faults,
            _ => return None,
        };
        queue.next().filter(|injected| injected.fault.place() != Place::Connection)
    }
}

/// Answers a request that matches no operation. The caller reads the known operations, and the test fails.
fn unmatched(request: &Request<Bytes>) -> Outcome {
    let target = shown(&request.uri().to_string());
    let what = format!("no operation matches {} {target}; known are {KNOWN_OPERATIONS}", request.method());
    let summary = "no operation matches".to_owned();
    Outcome { violation: Some(what.clone()), summary, ..Outcome::plain(StatusCode::NOT_IMPLEMENTED, &what) }
}

/// Answers a request whose path exists with another method.
fn wrong_method(request: &Request<Bytes>, allowed: Method) -> Outcome {
    let path = short(request.uri().path());
    let what = format!("{path} accepts only {allowed}, not {}", request.method());
    let mut outcome = Outcome::plain(StatusCode::METHOD_NOT_ALLOWED, &what);
    if let Ok(allowed) = HeaderValue::from_str(allowed.as_str()) {
        outcome.response.headers_mut().insert(ALLOW, allowed);
    }
    Outcome { violation: Some(what), ..outcome }
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;
    use crate::{Polls, Timeline, recent::MAX_KEPT};

    fn get(state: &mut ServiceState, target: &str, headers: &[(&str, &str)]) -> (u16, String) {
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
            (Method::POST, GET_CREDITS, "GET"),
            (Method::GET, CREATE_TRANSLATION, "POST"),
            (Method::TRACE, GET_TOKEN, "POST"),
        ] {
            let request = Request::builder().method(method).uri(target).body(Bytes::new()).unwrap();
            let answer = state.respond(&request, SystemTime::UNIX_EPOCH);
            assert_eq!(
                (answer.status().as_u16(), &answer.headers()[ALLOW]),
                (405, &allowed.parse().unwrap())
            );
            assert!(state.violations.last().unwrap().contains(target));
        }
    }

    #[test]
    fn credentials_are_checked_as_documented() {
        let mut state = ServiceState::new("http://x");
        state.add_job("a", Timeline::new());
        let target = format!("{GET_VIDEO_INFO}?video_model_id=a");
        let mut code_of = |headers: &[_]| code(&get(&mut state, &target, headers));
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
        state.add_job("a", Timeline::new());
        let mut code_of = |query: &str| code(&get(&mut state, &format!("{GET_VIDEO_INFO}{query}"), &[KEY]));
        assert_eq!(code_of("?video_model_id=b"), 1008);
        for wrong in ["", "?video_model_id=", "?id=a", "?video_model_id=a&video_model_id=a"] {
            assert_eq!(code_of(wrong), 1003, "{wrong}");
        }
        // The description allows an empty id, so only three of the four are violations.
        assert_eq!(state.violations.iter().len(), 3, "{:?}", state.violations);
        let second = state.violations.iter().nth(1).unwrap();
        assert!(second.contains("/query/video_model_id"), "{second}");
    }

    #[test]
    fn a_request_that_matches_no_operation_gets_501_and_is_a_violation() {
        let mut state = ServiceState::new("http://x");
        let (status, text) = get(&mut state, "/api/open/v3/nowhere", &[KEY]);
        assert_eq!(status, 501);
        assert!(text.contains("/nowhere") && text.contains("infobymodelid"), "{text}");
        assert_eq!(state.violations.iter().len(), 1);
    }

    #[test]
    fn files_are_served_at_their_links_without_credentials() {
        let mut state = ServiceState::new("http://x");
        state.add_job("a b/ü+", Timeline::new().completed());
        let answer = get(&mut state, &format!("{GET_VIDEO_INFO}?video_model_id=a+b%2F%C3%BC%2B"), &[KEY]);
        let answer: Value = serde_json::from_str(&answer.1).unwrap();
        let link = answer["data"]["audio_splits"]["translated_srt_url"].as_str().unwrap();
        let target = link.strip_prefix("http://x").unwrap();
        let (status, text) = get(&mut state, target, &[]);
        assert_eq!(status, 200);
        assert!(text.contains("Buenos"), "{text}");
        assert_eq!(get(&mut state, &target.replace("translated", "other"), &[]).0, 404);
        assert_eq!(get(&mut state, target, &[("range", "bytes=2-")]).0, 206);
        assert_eq!(get(&mut state, target, &[("range", "bytes=2-"), ("if-range", "\"other\"")]).0, 200);
        assert_eq!(get(&mut state, target, &[("range", "bytes=99999-")]).0, 416);
        assert!(state.violations.last().is_none());
        assert_eq!(get(&mut state, target, &[KEY]).0, 400);
        assert_eq!(state.violations.iter().len(), 1);
    }

    #[test]
    fn the_flags_of_the_languages_are_served() {
        let mut state = ServiceState::new("http://x");
        let request =
            Request::get(LIST_LANGUAGES).header("x-api-key", &*state.api_key).body(Bytes::new()).unwrap();
        let answer = state.respond(&request, SystemTime::UNIX_EPOCH);
        let languages: serde_json::Value = serde_json::from_slice(answer.body()).unwrap();
        let link = languages["data"]["lang_list"][0]["url"].as_str().unwrap();
        let (status, body) = get(&mut state, link.strip_prefix("http://x").unwrap(), &[]);
        assert_eq!((status, state.violations.count()), (200, 0));
        assert!(body.contains("PNG"));
    }

    #[test]
    fn exchanges_and_violations_are_bounded() {
        let mut state = ServiceState::new("http://x");
        state.add_job("a", Timeline::new().queueing(Polls(1)));
        for _ in 0..MAX_KEPT + 5 {
            get(&mut state, "/nowhere", &[]);
        }
        assert_eq!(state.log.iter().count(), MAX_KEPT);
        assert_eq!(state.violations.iter().len(), MAX_KEPT);
    }
}
