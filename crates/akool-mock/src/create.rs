//! The operation that creates translations: it validates the request and creates one job for each language.

use std::{
    hash::{DefaultHasher, Hash, Hasher},
    time::{Duration, SystemTime},
};

use serde_json::{Value, json};

use crate::{
    account,
    answer::{self, Outcome},
    memory::size_of_json,
    request::Call,
    service_state::{CreatedJob, Plan, ServiceState},
    timeline::{FAILURE_CODE, JobTimeline, Timeline},
};

/// The service documents no limit. It supports about as many languages.
const MAX_LANGUAGES: usize = 200;
/// The longest URL of a webhook in bytes, which is remembered for each language.
const MAX_WEBHOOK_URL: usize = 2_000;

impl ServiceState {
    pub(crate) fn create_translation(&mut self, call: &Call<'_>) -> Outcome {
        let (request, now) = (call.request, call.now);
        if let Err((code, message)) = self.authorize(request.headers()) {
            return Outcome::rejected(code, message);
        }
        let body = match call.body() {
            Ok(body) => body,
            Err(refusal) => return Outcome::rejected(1003, &refusal),
        };
        if let Some(message) = undescribed_error(&body) {
            return Outcome::rejected(1003, message);
        }
        if languages(&body).nth(MAX_LANGUAGES).is_some() {
            let message =
                format!("language: this server accepts at most {MAX_LANGUAGES} languages in one request");
            return Outcome::rejected(1003, &message);
        }
        if body["webhookUrl"].as_str().is_some_and(|url| url.len() > MAX_WEBHOOK_URL) {
            let message = format!("webhookUrl: this server accepts at most {MAX_WEBHOOK_URL} bytes");
            return Outcome::rejected(1003, &message);
        }
        let size = size_of_json(&body);
        if !self.can_fetch(size) {
            return Outcome::rejected(1003, "url: too many sources wait until this server fetches them");
        }
        if !call.creates {
            // A fault rejects the request before jobs are created.
            return Outcome { summary: "nothing created".to_owned(), ..Outcome::rejected(1000, "OK") };
        }
        self.begin_fetch(&body, size);
        let mut results: Vec<Value> =
            languages(&body).map(|language| self.create_one(language, &body, size, now)).collect();

        let Some(first) = results.iter().find(|result| result["code"] == 1000) else {
            let (code, message) = (&results[0]["code"], &results[0]["msg"]);
            let (code, message) = (code.as_i64().unwrap_or(1003), message.as_str().unwrap_or_default());
            return Outcome::rejected(code, message);
        };
        let (id, held) = (first["data"]["_id"].clone(), &first["data"]["deduction_lock_duration"]);
        let mut answer = json!({
            "code": 1000,
            "msg": "OK",
            "data": {
                "_id": id,
                "video_status": 1,
                "video": "",
                "video_lock_duration": answer::video_length(),
                "deduction_lock_duration": held,
            },
        });
        let created = results.iter().filter(|result| result["code"] == 1000).count();
        let summary = format!("created {created} of {}", results.len());
        if !self.omits_all_results {
            // The order of the request is not documented to be kept: `openapi/overlays/30-create.yaml`.
            results.reverse();
            answer["all_results"] = results.into();
        }
        Outcome { job: id.as_str().map(str::to_owned), ..Outcome::json(&answer, summary) }
    }

    /// Creates the job for one language, and returns its entry in `all_results`. `size` is that of the request in memory, in bytes.
    fn create_one(&mut self, language: &str, request: &Value, size: usize, now: SystemTime) -> Value {
        let kind = Kind::of(request["url"].as_str().unwrap_or_default());
        let timeline = match self.plans.get(language) {
            Some(Plan::Reject(code, message)) => return answer::error(*code, message),
            Some(Plan::Create(timeline)) => timeline.clone(),
            None if !self.accepts_any_language && !account::lists(language) => {
                return answer::error(1003, "The language is not supported");
            }
            None if self.seeded => kind.timeline(),
            None => self.plan.clone(),
        };
        let held = self.credits_per_job;
        if self.credits < f64::from(held) {
            return answer::error(1104, "Insufficient credits");
        }
        self.credits -= f64::from(held);
        let id = self.next_id(now, kind);
        let timeline = self.until_fetched(&id, timeline);
        self.add_created(id.clone(), JobTimeline::started(timeline, now).holding(held));
        if let Some(url) = request["webhookUrl"].as_str().filter(|url| !url.is_empty()) {
            self.webhooks.subscribe(id.as_str(), url);
            self.grow_job(&id, url.len());
        }
        let created =
            CreatedJob { id: id.clone(), language: language.to_owned(), at: now, request: request.clone() };
        self.created.push(created, size);
        json!({
            "code": 1000,
            "msg": "OK",
            "data": {
                "_id": id,
                "language": language,
                "video_status": 1,
                "progress": 0,
                "video_lock_duration": answer::video_length(),
                "deduction_lock_duration": held,
            },
        })
    }

    /// Makes an id for a job that no request creates.
    pub(crate) fn new_id(&mut self, now: SystemTime) -> String {
        self.next_id(now, Kind::Completes)
    }

    fn next_id(&mut self, now: SystemTime, kind: Kind) -> String {
        self.serial += 1;
        job_id(now, kind, &self.base_url, self.serial)
    }

    /// Restores a job that an earlier sandbox created. Its id contains the time of creation and its kind.
    pub(crate) fn restore(&self, id: &str) -> Option<JobTimeline> {
        let is_removed = self.removed.iter().any(|removed| removed == id);
        let (created, kind) = (self.seeded && !is_removed).then(|| read_id(id))??;
        Some(JobTimeline::started(kind.timeline(), created))
    }
}

/// How a job of the sandbox ends. A word in the URL of its source decides.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Completes = 0xa0,
    Fails = 0xa1,
    GetsStuck = 0xa2,
}

impl Kind {
    fn of(url: &str) -> Self {
        let file = url.rsplit('/').next().unwrap_or_default();
        match file {
            _ if file.contains("fail") => Self::Fails,
            _ if file.contains("stuck") => Self::GetsStuck,
            _ => Self::Completes,
        }
    }

    pub(crate) fn timeline(self) -> Timeline {
        let start = Timeline::new().queueing(Duration::from_millis(1500));
        let processing = Duration::from_millis(3500);
        match self {
            Self::Completes => start.processing(processing).completed(),
            Self::Fails => start
                .processing(Duration::from_millis(1500))
                .failed(FAILURE_CODE, "the voice could not be separated from the background"),
            Self::GetsStuck => start.stuck(2),
        }
    }
}

/// Makes an id of 24 hexadecimal digits, like the service's: seconds since 1970, kind, server and serial number.
fn job_id(now: SystemTime, kind: Kind, base_url: &str, serial: u32) -> String {
    let seconds = now.duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| since.as_secs());
    // The base URL contains the port, so servers that run at the same time make different ids.
    let mut hasher = DefaultHasher::new();
    base_url.hash(&mut hasher);
    format!(
        "{:08x}{:02x}{:08x}{:06x}",
        seconds as u32,
        kind as u8,
        hasher.finish() as u32,
        serial & 0xff_ffff
    )
}

fn read_id(id: &str) -> Option<(SystemTime, Kind)> {
    if id.len() != 24 || !id.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f')) {
        return None;
    }
    let seconds = u32::from_str_radix(&id[..8], 16).ok()?;
    let kind = match &id[8..10] {
        "a0" => Kind::Completes,
        "a1" => Kind::Fails,
        "a2" => Kind::GetsStuck,
        _ => return None,
    };
    Some((SystemTime::UNIX_EPOCH + Duration::from_secs(seconds.into()), kind))
}

/// Returns why a request is invalid although it matches the description, which does not say that the URL must not be
/// empty, and in which form the languages are.
fn undescribed_error(body: &Value) -> Option<&'static str> {
    if body["url"] == "" {
        return Some("url is empty");
    }
    let is_code = |code: &str| {
        !code.is_empty()
            && code.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'))
    };
    (!languages(body).all(is_code))
        .then_some("language is not a comma-separated list of language codes without blanks")
}

/// The target languages of a request.
fn languages(body: &Value) -> impl Iterator<Item = &str> {
    body["language"].as_str().unwrap_or_default().split(',')
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use http::Request;

    use super::*;
    use crate::{request::CREATE_TRANSLATION, verify};

    #[test]
    fn an_invalid_field_is_rejected_by_name() {
        let error = |name: &str, value: Value| {
            let mut body = json!({ "url": "u", "language": "es,fr" });
            body[name] = value;
            let request = Request::post(CREATE_TRANSLATION)
                .header("x-api-key", "k")
                .header("content-type", "application/json");
            let request = request.body(body.to_string().into()).unwrap();
            let refusal = verify::refusal(&verify::check(&request));
            refusal.or_else(|| undescribed_error(&body).map(str::to_owned))
        };
        for (name, good, bad) in [
            ("url", json!("u"), json!("")),
            ("language", json!("es"), json!("es, fr")),
            ("lipsync", json!(true), json!("true")),
            ("speaker_num", json!(11), json!(-1)),
            ("caption_type", json!(0), json!(1.5)),
            ("webhookUrl", json!(""), json!(null)),
            ("studio_voice", json!({"no_translate_words": ["a"], "style": "calm"}), json!({"style": "loud"})),
            ("studio_voice", json!({"fixed_words": {"a": "b"}}), json!({"fixed_words": {"a": 1}})),
        ] {
            assert_eq!(error(name, good), None, "{name}");
            let error = error(name, bad).unwrap();
            assert!(error.starts_with(name), "{error}");
        }
        assert_eq!(error("a_new_field", json!(1)), None);
    }

    #[test]
    fn one_request_cannot_use_all_memory() {
        let mut state = ServiceState::new("http://x");
        let mut create_with = |languages: usize, webhook: &str| {
            let languages = vec!["es"; languages].join(",");
            let url = "https://example.com/a.mp4";
            let body = json!({ "url": url, "language": languages, "webhookUrl": webhook }).to_string();
            let request = Request::post(CREATE_TRANSLATION)
                .header("x-api-key", &*state.api_key)
                .header("content-type", "application/json")
                .body(body.into())
                .unwrap();
            let answer = state.respond(&request, SystemTime::UNIX_EPOCH);
            serde_json::from_slice::<Value>(answer.body()).unwrap()["code"].as_i64().unwrap()
        };
        // It would be remembered for each language.
        let long = "x".repeat(MAX_WEBHOOK_URL + 1);
        assert_eq!((create_with(1, &long), create_with(1, &long[1..])), (1003, 1000));
        let mut create = |languages| create_with(languages, "");
        assert_eq!((create(MAX_LANGUAGES), create(MAX_LANGUAGES + 1), create(200_000)), (1000, 1003, 1003));
        assert_eq!(state.created.iter().len(), MAX_LANGUAGES + 1);
    }

    #[test]
    fn the_oldest_of_too_many_jobs_is_gone() {
        let mut state = ServiceState::new("http://x");
        state.add_job("kept", Timeline::default());
        for number in 0..200_001 {
            state.add_created(number.to_string(), JobTimeline::new(Timeline::default()));
        }
        assert_eq!(state.jobs.len(), 200_001);
        assert!(
            state.jobs.contains_key("kept") && !state.jobs.contains_key("0") && state.jobs.contains_key("1")
        );
        // A job that a poll restores counts, too.
        state.seeded = true;
        let id = job_id(SystemTime::UNIX_EPOCH, Kind::Completes, "", 1);
        let poll = format!("{}?video_model_id={id}", crate::request::GET_VIDEO_INFO);
        let poll = Request::get(poll).header("x-api-key", &*state.api_key).body(Bytes::new()).unwrap();
        state.respond(&poll, SystemTime::UNIX_EPOCH);
        assert_eq!(state.jobs.len(), 200_001);
        assert!(state.jobs.contains_key(&id) && !state.jobs.contains_key("1"));
    }

    #[test]
    fn an_id_contains_the_time_of_creation_and_the_kind() {
        let at = SystemTime::UNIX_EPOCH + Duration::from_secs(1_700_000_000);
        for (url, kind) in [
            ("https://example.com/talk.mp4", Kind::Completes),
            ("https://example.com/fail.mp4", Kind::Fails),
            ("https://fail.example.com/stuck.mp4", Kind::GetsStuck),
        ] {
            assert_eq!(Kind::of(url), kind);
            let id = job_id(at, kind, "http://127.0.0.1:1", 7);
            assert_eq!(read_id(&id), Some((at, kind)));
        }
        for other in ["", "64dd92c1f0b6684651e90e09", "6553f100a0", "é53f100a0000000000000007"] {
            assert_eq!(read_id(other), None, "{other}");
        }
    }
}
