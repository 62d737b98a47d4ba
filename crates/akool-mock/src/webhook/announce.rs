//! Announces changes of status: finds them, builds the messages and queues the calls.

use std::time::{Duration, SystemTime};

use serde_json::{Value, json};

use super::seal;
use crate::{
    answer,
    clock::later,
    service_state::{CLIENT_ID, ServiceState},
    timeline::State,
    verify,
    webhook_queue::{WebhookCall, WebhookFault},
};

/// The age of the timestamp in a stale call.
const STALE: Duration = Duration::from_secs(60 * 60);

impl ServiceState {
    /// Takes the calls that are due at this time, at most so many. The caller makes them, and reports each result with
    /// `Webhooks::call_ended`.
    pub(crate) fn calls_due(&mut self, now: SystemTime, most: usize) -> Vec<WebhookCall> {
        for (job, url, state, at) in self.changes(now) {
            self.queue_call(&job, &url, &state, at);
        }
        let mut free = most;
        let is_taken = |call: &mut WebhookCall| {
            let is_taken = call.at <= now && free > 0;
            free -= usize::from(is_taken);
            is_taken
        };
        let due: Vec<_> = self.webhooks.queue.extract_if(.., is_taken).collect();
        self.webhooks.queue_bytes -= due.iter().map(WebhookCall::size).sum::<usize>();
        due
    }

    /// Returns when the next call is due, as far as that does not depend on polls.
    pub(crate) fn next_call(&self) -> Option<SystemTime> {
        let changes =
            self.webhooks.hooks.keys().filter_map(|job| self.jobs.get(job).and_then(|job| job.next_step()));
        self.webhooks.queue.iter().map(|call| call.at).chain(changes).min()
    }

    /// Takes every change of status that was not announced yet, in order, with its time.
    fn changes(&mut self, now: SystemTime) -> Vec<(String, String, State, SystemTime)> {
        let mut changes = Vec::new();
        let jobs = &mut self.jobs;
        self.webhooks.hooks.retain(|id, hook| {
            let Some(job) = jobs.get_mut(id) else {
                return true;
            };
            let mut at = job.began();
            while let Some(time) = at {
                let Some(state) = job.peek(time) else { break };
                let (status, announced) = (state.status, hook.announced);
                hook.announced = status;
                if status != announced {
                    changes.push((id.clone(), hook.url.clone(), state, time));
                }
                if matches!(status, 3 | 4) {
                    return false;
                }
                at = job.next_step().filter(|next| *next <= now);
            }
            true
        });
        changes
    }

    /// Builds the message of a change, applies the next fault, and queues the call.
    fn queue_call(&mut self, job: &str, url: &str, state: &State, at: SystemTime) {
        let fault = self.webhooks.faults.next().map(|injected| injected.fault);
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
        // The documentation shows a string in one place and a number in another.
        let nonce = 1000 + serial.wrapping_mul(7919) % 9000;
        let nonce = if serial.is_multiple_of(2) { Value::from(nonce) } else { nonce.to_string().into() };
        let sent = if fault == Some(WebhookFault::Stale) { at.checked_sub(STALE).unwrap_or(at) } else { at };
        let signer = match fault {
            Some(WebhookFault::WrongSignature) => "another-client",
            _ => CLIENT_ID,
        };
        let secret = match fault {
            Some(WebhookFault::WrongKey) => self.api_key.chars().rev().chain(['!']).skip(1).collect(),
            _ => self.api_key.clone(),
        };
        let timestamp = answer::millis(sent);
        let Some(body) = seal::message(signer, CLIENT_ID, &secret, timestamp, &nonce, &event.to_string())
        else {
            self.report_violation(&format!(
                "cannot call the webhook of job {job}: the API key encrypts the messages, and it has {} bytes \
                 instead of 16, 24 or 32",
                secret.len()
            ));
            return;
        };
        if fault.is_none()
            && let Some(violation) = verify::webhook(body.as_bytes(), event.to_string().as_bytes())
        {
            self.report_violation(&violation);
        }
        let at = match fault {
            Some(WebhookFault::Delayed(by)) => later(at, by),
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
            self.webhooks.add(call.clone());
        }
        self.webhooks.add(call);
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use http::StatusCode;

    use super::*;
    use crate::{
        Polls, Times,
        service_state::DEFAULT_API_KEY,
        timeline::{JobTimeline, Timeline},
        webhook_queue::{MAX_ATTEMPTS, RETRY_PAUSE},
    };

    fn at(secs: u64) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(secs)
    }

    /// A service with a job that is created at 100 s and completes at 120 s.
    fn state() -> ServiceState {
        let secs = Duration::from_secs;
        let mut state = ServiceState::new("http://x");
        let timeline = Timeline::new().queueing(secs(10)).processing(secs(10)).completed();
        state.jobs.insert("a".to_owned(), JobTimeline::started(timeline, at(100)));
        state.webhooks.subscribe("a", "http://y");
        state
    }

    fn statuses(calls: &[WebhookCall]) -> Vec<(i64, u32)> {
        calls.iter().map(|call| (call.status, call.attempt)).collect()
    }

    #[test]
    fn each_change_except_to_queued_is_announced_when_it_is_due() {
        let mut state = state();
        assert_eq!((state.calls_due(at(100), usize::MAX).len(), state.next_call()), (0, Some(at(110))));
        assert_eq!(statuses(&state.calls_due(at(111), usize::MAX)), [(2, 1)]);
        assert_eq!((state.calls_due(at(112), usize::MAX).len(), state.next_call()), (0, Some(at(120))));
        assert_eq!(statuses(&state.calls_due(at(200), usize::MAX)), [(3, 1)]);
        assert_eq!((state.calls_due(at(999), usize::MAX).len(), state.next_call()), (0, None));
    }

    #[test]
    fn at_most_so_many_calls_are_taken_and_the_others_stay() {
        let mut state = state();
        assert_eq!(statuses(&state.calls_due(at(999), 1)), [(2, 1)]);
        assert!(state.calls_due(at(999), 0).is_empty());
        assert_eq!(statuses(&state.calls_due(at(999), 5)), [(3, 1)]);
    }

    #[test]
    fn missed_changes_are_announced_in_order() {
        assert_eq!(statuses(&state().calls_due(at(999), usize::MAX)), [(2, 1), (3, 1)]);
    }

    #[test]
    fn changes_by_polls_are_announced_after_the_poll() {
        let mut state = ServiceState::new("http://x");
        state.add_job("a", Timeline::new().queueing(Polls(1)).processing(Polls(1)).failed(1015, "no speech"));
        state.webhooks.subscribe("a", "http://y");
        assert!(state.calls_due(at(1), usize::MAX).is_empty());
        let request = http::Request::get("/api/open/v3/content/video/infobymodelid?video_model_id=a")
            .header("x-api-key", DEFAULT_API_KEY)
            .body(Bytes::new())
            .unwrap();
        let mut poll = || {
            state.respond(&request, at(2));
            statuses(&state.calls_due(at(2), usize::MAX))
        };
        assert_eq!([poll(), poll(), poll()], [vec![(2, 1)], vec![(4, 1)], vec![]]);
    }

    #[test]
    fn a_call_is_repeated_until_it_gets_200() {
        let mut state = state();
        let mut now = at(110);
        for attempt in 1..=MAX_ATTEMPTS {
            let mut calls = state.calls_due(now, usize::MAX);
            assert_eq!(statuses(&calls), [(2, attempt)]);
            let answer =
                if attempt % 2 == 0 { Ok(StatusCode::BAD_REQUEST) } else { Err("refused".to_owned()) };
            state.webhooks.call_ended(calls.remove(0), answer, now);
            now += RETRY_PAUSE * 2_u32.pow(attempt - 1);
        }
        assert!(state.calls_due(now, usize::MAX).is_empty());
        assert_eq!(state.webhooks.made.iter().len(), 6);

        let mut calls = state.calls_due(at(120), usize::MAX);
        state.webhooks.call_ended(calls.remove(0), Ok(StatusCode::OK), at(120));
        assert_eq!(state.next_call(), None);
    }

    #[test]
    fn each_fault_affects_one_change() {
        for (fault, wanted) in [
            (WebhookFault::Lost, vec![]),
            (WebhookFault::Doubled, vec![(2, 1), (2, 1)]),
            (WebhookFault::Untrue, vec![(3, 1)]),
            (WebhookFault::Stale, vec![(2, 1)]),
            (WebhookFault::Delayed(Duration::from_secs(2)), vec![]),
        ] {
            let mut state = state();
            state.webhooks.faults.push(fault, Times::Once);
            assert_eq!(statuses(&state.calls_due(at(110), usize::MAX)), wanted, "{fault:?}");
            let later = statuses(&state.calls_due(at(130), usize::MAX));
            assert_eq!(later.last(), Some(&(3, 1)), "{fault:?}");
            assert_eq!(
                later.len(),
                if matches!(fault, WebhookFault::Delayed(_)) { 2 } else { 1 },
                "{fault:?}"
            );
        }
    }

    #[test]
    fn a_call_that_is_delayed_for_ever_is_never_due() {
        let mut state = state();
        state.webhooks.faults.push("delayed-18446744073709551615".parse().unwrap(), Times::Once);
        assert!(state.calls_due(at(110), usize::MAX).is_empty());
        assert_eq!(statuses(&state.calls_due(at(130), usize::MAX)), [(3, 1)]);
    }

    #[test]
    fn an_api_key_of_invalid_length_is_a_violation() {
        let mut state = state();
        state.api_key = "short".to_owned();
        assert!(state.calls_due(at(110), usize::MAX).is_empty());
        assert!(state.violations.last().unwrap().contains("5 bytes"), "{:?}", state.violations);
    }
}
