//! Answers that are not the mock server's own: fields under other names, and recorded exchanges.

use std::collections::{BTreeMap, VecDeque};

use akool_contract::Fixture;
use bytes::Bytes;
use http::{Method, Request, Response};
use serde_json::Value;

use crate::{ServiceState, service_state::Outcome};

/// What is answered in place of the mock server's own.
#[derive(Clone, Debug, Default)]
pub(crate) struct Variation {
    /// Place and new name of fields.
    renames: Vec<(String, String)>,
    recorded: BTreeMap<(Method, String), VecDeque<Response<Bytes>>>,
}

impl ServiceState {
    /// Gives a field of all answers another name from then on, as a vendor may do overnight. `pointer` is
    /// its place in the answer, such as `/data/video_status`.
    ///
    /// Such answers are no longer as described. It is what [`akool_contract`] is there to find.
    pub fn rename_field(&mut self, pointer: impl Into<String>, name: impl Into<String>) {
        self.variation.renames.push((pointer.into(), name.into()));
    }

    /// Answers the requests of a fixture as they were answered when it was recorded: in their order, and
    /// the last one again from then on. Requests are told apart by method, path and query; credentials
    /// are not checked, for none were kept.
    pub fn replay(&mut self, fixture: &Fixture) {
        for (request, response) in fixture.exchanges() {
            let target = request.uri().to_string();
            let answers = self.variation.recorded.entry((request.method().clone(), target)).or_default();
            answers.push_back(response.map(Bytes::from));
        }
    }
}

impl Variation {
    /// The recorded answer to a request.
    pub(crate) fn recorded(&mut self, request: &Request<Bytes>) -> Option<Outcome> {
        if self.recorded.is_empty() {
            return None;
        }
        let answers = self.recorded.get_mut(&(request.method().clone(), request.uri().to_string()))?;
        let next = answers.front().cloned()?;
        if answers.len() > 1 {
            answers.pop_front();
        }
        let query = request.uri().query().unwrap_or_default();
        let job = url::form_urlencoded::parse(query.as_bytes())
            .find(|(name, _)| name == "video_model_id")
            .map(|(_, id)| id.into_owned());
        Some(Outcome { response: next, job, summary: "as recorded".to_owned(), violation: None })
    }

    /// The answer with the new names of fields. Whether there are any.
    pub(crate) fn rename(&self, response: &mut Response<Bytes>) -> bool {
        let Ok(mut body) = serde_json::from_slice::<Value>(response.body()) else { return false };
        let mut changed = false;
        for (pointer, name) in &self.renames {
            let Some((parent, field)) = pointer.rsplit_once('/') else { continue };
            let field = field.replace("~1", "/").replace("~0", "~");
            let parent = body.pointer_mut(parent).and_then(Value::as_object_mut);
            if let Some(parent) = parent
                && let Some(value) = parent.remove(&field)
            {
                parent.insert(name.clone(), value);
                changed = true;
            }
        }
        if changed {
            *response.body_mut() = Bytes::from(body.to_string());
        }
        changed
    }
}
