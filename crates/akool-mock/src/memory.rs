//! How much the server remembers: everything together stays below [`MAX_BYTES`].
//!
//! Jobs take at most half of it, and sources that wait to be fetched an eighth; further ones are refused or replace the
//! oldest. The rest is for what happened: requests, creations, violations and webhook calls. If there is more, the oldest
//! items of the largest of these are gone.

use serde_json::Value;

use crate::{recent::MAX_BYTES, service_state::ServiceState};

impl ServiceState {
    /// About how many bytes are remembered now.
    pub(crate) fn remembered_bytes(&self) -> usize {
        let happened = self.log.bytes() + self.created.bytes() + self.violations.bytes();
        self.job_bytes + self.removed.bytes() + happened + self.webhooks.bytes() + self.fetch_bytes()
    }

    fn fetch_bytes(&self) -> usize {
        self.fetches.iter().map(|fetch| fetch.bytes).sum()
    }

    /// Whether another request of this size can wait until its sources are fetched.
    pub(crate) fn can_fetch(&self, bytes: usize) -> bool {
        !self.fetches_sources || self.fetch_bytes() + bytes <= MAX_BYTES / 8
    }

    /// Forgets the oldest of what happened, until everything that is remembered is within the limit.
    pub(crate) fn forget_oldest(&mut self) {
        while self.remembered_bytes() > MAX_BYTES {
            let (log, created) = (self.log.bytes(), self.created.bytes());
            let (violations, calls) = (self.violations.bytes(), self.webhooks.made.bytes());
            let forgot = match log.max(created).max(violations).max(calls) {
                most if most == log => self.log.forget_oldest(),
                most if most == created => self.created.forget_oldest(),
                most if most == calls => self.webhooks.made.forget_oldest(),
                _ => self.violations.forget_oldest(),
            };
            if !forgot {
                break;
            }
        }
    }
}

/// About how many bytes a JSON value takes.
pub(crate) fn size_of_json(value: &Value) -> usize {
    let inner = match value {
        Value::String(text) => text.len(),
        Value::Array(items) => items.iter().map(size_of_json).sum(),
        Value::Object(fields) => {
            fields.iter().map(|(name, value)| size_of::<String>() + name.len() + size_of_json(value)).sum()
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => 0,
    };
    size_of::<Value>() + inner
}

#[cfg(test)]
mod tests {
    use std::time::SystemTime;

    use bytes::Bytes;
    use http::{Request, StatusCode};
    use serde_json::json;

    use super::*;
    use crate::{
        request::CREATE_TRANSLATION, service_state::CreatedJob, timeline::Timeline,
        webhook_queue::WebhookCall,
    };

    const MIB: usize = 1024 * 1024;

    #[test]
    fn everything_that_is_remembered_is_within_one_limit() {
        let mut state = ServiceState::new("http://x");
        state.add_job("a", Timeline::default());
        state.grow_job("a", 100 * MIB);
        for number in 0..200 {
            let (job, at) = (number.to_string(), SystemTime::UNIX_EPOCH);
            let created = CreatedJob { id: job.clone(), language: String::new(), at, request: json!(null) };
            state.created.push(created, MIB);
            let (url, body) = (String::new(), Bytes::from(vec![0; MIB]));
            let call = WebhookCall { job, status: 1, url, body, attempt: 6, at, answer: None, failure: None };
            state.webhooks.call_ended(call, Ok(StatusCode::OK), at);
            state.report_violation(&"x".repeat(2_000));
            state.forget_oldest();
        }
        assert!((250 * MIB..=MAX_BYTES).contains(&state.remembered_bytes()), "{}", state.remembered_bytes());
        // The newest are kept, and the kinds share what is left.
        assert_eq!(state.created.last().unwrap().id, "199");
        assert_eq!(state.webhooks.made.last().unwrap().job, "199");
        for count in [state.created.iter().len(), state.webhooks.made.iter().len()] {
            assert!((75..=79).contains(&count), "{count}");
        }
        assert_eq!(state.violations.iter().len(), 200);
    }

    #[test]
    fn a_request_that_takes_more_memory_than_bytes_is_counted_with_its_memory() {
        let mut state = ServiceState::new("http://x");
        state.accepts_any_language = true;
        let language = (0..200).map(|number| format!("l{number}")).collect::<Vec<_>>().join(",");
        let body = json!({ "url": "https://x/y.mp4", "language": language, "more": vec![1; 100_000] });
        let body = Bytes::from(body.to_string());
        for _ in 0..3 {
            let request = Request::post(CREATE_TRANSLATION)
                .header("x-api-key", &*state.api_key)
                .header("content-type", "application/json")
                .body(body.clone())
                .unwrap();
            let _ = state.respond(&request, SystemTime::UNIX_EPOCH);
        }
        // 600 creations with 3.2 MB each, or more.
        assert_eq!(state.created.count(), 600);
        assert!(state.created.iter().len() < 84, "{}", state.created.iter().len());
        assert!(state.remembered_bytes() <= MAX_BYTES);
    }
}
