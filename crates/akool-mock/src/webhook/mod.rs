//! What the service sends to a job's webhook: which calls are due, without making them.

mod deliver;
mod seal;

use std::{
    collections::{BTreeMap, VecDeque},
    time::{Duration, SystemTime},
};

use bytes::Bytes;
use http::StatusCode;
use serde_json::{Value, json};

pub(crate) use self::deliver::{CallHook, Deliverer, Waker};
pub use self::seal::seal;
use crate::{
    ServiceState, Times, answer,
    service_state::{REMEMBERED, next_of},
    timeline::State,
    verify,
};

/// How often a call is made until it is answered with 200.
const ATTEMPTS: u32 = 6;
/// The pause before the second attempt; it doubles with each further one.
const PAUSE: Duration = Duration::from_millis(100);
/// How long ago a stale call says that it was sent.
const STALE: Duration = Duration::from_secs(60 * 60);

/// A call to a webhook: due, or made.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct WebhookCall {
    /// The job that it is about.
    pub job: String,
    /// The status that it tells.
    pub status: i64,
    /// Where it goes.
    pub url: String,
    /// The message.
    pub body: Bytes,
    /// Which attempt it is, from 1.
    pub attempt: u32,
    /// When it is due, or was made.
    pub at: SystemTime,
    /// What it was answered with. `None` while it is due, and where there was no answer.
    pub answer: Option<StatusCode>,
    /// Why there was no answer.
    pub failure: Option<String>,
}

/// A kind of trouble with the calls to webhooks, for
/// [`MockServer::inject_into_webhooks`](crate::MockServer::inject_into_webhooks).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum WebhookFault {
    /// It is never made.
    Lost,
    /// It is made twice, with the same message.
    Doubled,
    /// It is made this much later, with the time of when it should have been made.
    Delayed(Duration),
    /// Its message says that it was sent an hour ago, rightly signed.
    Stale,
    /// Its signature is that of another client id.
    WrongSignature,
    /// Rightly signed, but encrypted with another secret.
    WrongKey,
    /// Rightly signed and encrypted, but what it says is not true: the job is completed, with a link
    /// that leads nowhere. Whoever has seen an earlier message can come close to it.
    Untrue,
}

/// Which jobs have a webhook, and what is to be told.
#[derive(Clone, Debug, Default)]
pub(crate) struct Webhooks {
    hooks: BTreeMap<String, Hook>,
    queue: Vec<WebhookCall>,
    made: VecDeque<WebhookCall>,
    faults: VecDeque<(WebhookFault, Times)>,
    /// Counts the messages.
    serial: u32,
}

#[derive(Clone, Debug)]
struct Hook {
    url: String,
    /// The status that was told last, or need not be.
    told: i64,
}

impl Webhooks {
    pub(crate) fn clear_faults(&mut self) {
        self.faults.clear();
    }
}

impl ServiceState {
    /// Tells this link of a job's changes, as if its creation had said so. Its end is told too where it
    /// is reached before that is asked for.
    ///
    /// The service tells of each change but that into queueing, and again until it is answered with
    /// 200; here, six times within about three seconds, with the same message.
    pub fn webhook(&mut self, job: impl Into<String>, url: impl Into<String>) {
        self.webhooks.hooks.insert(job.into(), Hook { url: url.into(), told: 1 });
    }

    /// Lays a fault over the calls that are due from now on, one change of a job each.
    pub fn inject_into_webhooks(&mut self, fault: WebhookFault, times: Times) {
        self.webhooks.faults.push_back((fault, times));
    }

    /// The calls that were made, the last 10,000.
    pub fn webhook_calls(&self) -> impl Iterator<Item = &WebhookCall> {
        self.webhooks.made.iter()
    }

    /// The calls that are due at this time. Whoever makes one says how it went, with
    /// [`call_ended`](Self::call_ended).
    pub fn calls_due(&mut self, now: SystemTime) -> Vec<WebhookCall> {
        for (job, url, state, at) in self.news(now) {
            self.announce(&job, &url, &state, at);
        }
        let (due, later) = self.webhooks.queue.drain(..).partition(|call| call.at <= now);
        self.webhooks.queue = later;
        due
    }

    /// When the next call is due, as far as that is known without polls.
    pub fn next_call(&self) -> Option<SystemTime> {
        let changes =
            self.webhooks.hooks.keys().filter_map(|job| self.jobs.get(job).and_then(|job| job.next_step()));
        self.webhooks.queue.iter().map(|call| call.at).chain(changes).min()
    }

    /// Says how a call went: what it was answered with, or why it was not. It is made again later,
    /// unless the answer was 200 or it was made often enough.
    pub fn call_ended(&mut self, mut call: WebhookCall, answer: Result<StatusCode, String>, now: SystemTime) {
        call.at = now;
        match answer {
            Ok(status) => call.answer = Some(status),
            Err(why) => call.failure = Some(why),
        }
        if call.answer != Some(StatusCode::OK) && call.attempt < ATTEMPTS {
            let pause = PAUSE * 2_u32.pow(call.attempt - 1);
            let again = WebhookCall {
                attempt: call.attempt + 1,
                at: now + pause,
                answer: None,
                failure: None,
                ..call.clone()
            };
            self.webhooks.queue.push(again);
        }
        if self.webhooks.made.len() == REMEMBERED {
            self.webhooks.made.pop_front();
        }
        self.webhooks.made.push_back(call);
    }

    /// Every change since the last time, each in its turn, with its time.
    fn news(&mut self, now: SystemTime) -> Vec<(String, String, State, SystemTime)> {
        let mut news = Vec::new();
        let jobs = &mut self.jobs;
        self.webhooks.hooks.retain(|id, hook| {
            let Some(job_timeline) = jobs.get_mut(id) else {
                return true;
            };
            let mut at = job_timeline.began();
            while let Some(time) = at {
                let Some(state) = job_timeline.peek(time) else { break };
                let (status, told) = (state.status, hook.told);
                hook.told = status;
                if status != told {
                    news.push((id.clone(), hook.url.clone(), state, time));
                }
                if matches!(status, 3 | 4) {
                    return false;
                }
                at = job_timeline.next_step().filter(|next| *next <= now);
            }
            true
        });
        news
    }

    /// Makes the message, with the fault that is next.
    fn announce(&mut self, job: &str, url: &str, state: &State, at: SystemTime) {
        let fault = next_of(&mut self.webhooks.faults);
        if fault == Some(WebhookFault::Lost) {
            return;
        }
        self.webhooks.serial += 1;
        let serial = self.webhooks.serial;

        let mut status = state.status;
        let link = answer::job(job, state, &self.base_url)["data"]["video"].take();
        let mut event = json!({ "_id": job, "status": status, "type": "video translate", "url": link });
        if let Some((code, reason)) = &state.error {
            event["error_code"] = (*code).into();
            event["error_reason"] = reason.as_str().into();
        }
        if fault == Some(WebhookFault::Untrue) {
            status = 3;
            event["status"] = status.into();
            event["url"] = "http://127.0.0.1:1/untrue.mp4".into();
        }
        // The documents give it once as a text and once as a number.
        let nonce = 1000 + serial.wrapping_mul(7919) % 9000;
        let nonce = if serial.is_multiple_of(2) { Value::from(nonce) } else { nonce.to_string().into() };
        let sent = if fault == Some(WebhookFault::Stale) { at.checked_sub(STALE).unwrap_or(at) } else { at };
        let signer = match fault {
            Some(WebhookFault::WrongSignature) => "another-client",
            _ => &self.client_id,
        };
        let secret = match fault {
            Some(WebhookFault::WrongKey) => self.api_key.chars().rev().chain(['!']).skip(1).collect(),
            _ => self.api_key.clone(),
        };
        let timestamp = answer::millis(sent);
        let Some(body) =
            seal::message(signer, &self.client_id, &secret, timestamp, &nonce, &event.to_string())
        else {
            self.report_violation(format!(
                "the webhook of job {job} cannot be called: its messages are encrypted with the API key, which \
                 has {} bytes and not 16, 24 or 32",
                secret.len()
            ));
            return;
        };
        if fault.is_none()
            && let Some(violation) = verify::webhook(body.as_bytes(), event.to_string().as_bytes())
        {
            self.report_violation(violation);
        }
        let at = match fault {
            Some(WebhookFault::Delayed(by)) => at + by,
            _ => at,
        };
        let call = WebhookCall {
            job: job.to_owned(),
            status,
            url: url.to_owned(),
            body: body.into(),
            attempt: 1,
            at,
            answer: None,
            failure: None,
        };
        if fault == Some(WebhookFault::Doubled) {
            self.webhooks.queue.push(call.clone());
        }
        self.webhooks.queue.push(call);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Polls, Timeline, timeline::JobTimeline};

    fn at(secs: u64) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(secs)
    }

    /// A job that is created at 100 s and completes at 120 s.
    fn machine() -> ServiceState {
        let secs = Duration::from_secs;
        let mut machine = ServiceState::new("http://x");
        let timeline = Timeline::new().queueing(secs(10)).processing(secs(10)).completed();
        machine.jobs.insert("a".to_owned(), JobTimeline::started(timeline, at(100)));
        machine.webhook("a", "http://y");
        machine
    }

    fn told(calls: &[WebhookCall]) -> Vec<(i64, u32)> {
        calls.iter().map(|call| (call.status, call.attempt)).collect()
    }

    #[test]
    fn each_change_but_queueing_is_told_when_it_comes() {
        let mut machine = machine();
        assert_eq!((machine.calls_due(at(100)).len(), machine.next_call()), (0, Some(at(110))));
        assert_eq!(told(&machine.calls_due(at(111))), [(2, 1)]);
        assert_eq!((machine.calls_due(at(112)).len(), machine.next_call()), (0, Some(at(120))));
        assert_eq!(told(&machine.calls_due(at(200))), [(3, 1)]);
        assert_eq!((machine.calls_due(at(999)).len(), machine.next_call()), (0, None));
    }

    #[test]
    fn changes_that_passed_meanwhile_are_told_in_their_order() {
        assert_eq!(told(&machine().calls_due(at(999))), [(2, 1), (3, 1)]);
    }

    #[test]
    fn changes_by_polls_are_told_after_the_poll() {
        let mut machine = ServiceState::new("http://x");
        machine.job("a", Timeline::new().queueing(Polls(1)).processing(Polls(1)).failed(1015, "no speech"));
        machine.webhook("a", "http://y");
        assert!(machine.calls_due(at(1)).is_empty());
        let request = http::Request::get("/api/open/v3/content/video/infobymodelid?video_model_id=a")
            .header("x-api-key", machine.api_key())
            .body(Bytes::new())
            .unwrap();
        let mut poll = || {
            machine.respond(&request, at(2));
            told(&machine.calls_due(at(2)))
        };
        assert_eq!([poll(), poll(), poll()], [vec![(2, 1)], vec![(4, 1)], vec![]]);
    }

    #[test]
    fn a_call_is_made_again_until_it_is_answered_with_200() {
        let mut machine = machine();
        let mut now = at(110);
        for attempt in 1..=ATTEMPTS {
            let mut calls = machine.calls_due(now);
            assert_eq!(told(&calls), [(2, attempt)]);
            let answer =
                if attempt % 2 == 0 { Ok(StatusCode::BAD_REQUEST) } else { Err("refused".to_owned()) };
            machine.call_ended(calls.remove(0), answer, now);
            now += PAUSE * 2_u32.pow(attempt - 1);
        }
        assert!(machine.calls_due(now).is_empty());
        assert_eq!(machine.webhook_calls().count(), 6);

        let mut calls = machine.calls_due(at(120));
        machine.call_ended(calls.remove(0), Ok(StatusCode::OK), at(120));
        assert_eq!(machine.next_call(), None);
    }

    #[test]
    fn faults_happen_to_one_change_each() {
        for (fault, wanted) in [
            (WebhookFault::Lost, vec![]),
            (WebhookFault::Doubled, vec![(2, 1), (2, 1)]),
            (WebhookFault::Untrue, vec![(3, 1)]),
            (WebhookFault::Stale, vec![(2, 1)]),
            (WebhookFault::Delayed(Duration::from_secs(2)), vec![]),
        ] {
            let mut machine = machine();
            machine.inject_into_webhooks(fault, Times::Once);
            assert_eq!(told(&machine.calls_due(at(110))), wanted, "{fault:?}");
            let later = told(&machine.calls_due(at(130)));
            assert_eq!(later.last(), Some(&(3, 1)), "{fault:?}");
            assert_eq!(
                later.len(),
                if matches!(fault, WebhookFault::Delayed(_)) { 2 } else { 1 },
                "{fault:?}"
            );
        }
    }

    #[test]
    fn a_key_that_encrypts_nothing_is_told_loudly() {
        let mut machine = machine().with_api_key("short");
        assert!(machine.calls_due(at(110)).is_empty());
        assert!(machine.violations()[0].contains("5 bytes"), "{:?}", machine.violations());
    }
}
