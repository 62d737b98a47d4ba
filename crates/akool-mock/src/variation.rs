//! Answers that differ from the documented ones: renamed fields, and recorded exchanges.

use std::collections::{BTreeMap, VecDeque};

use akool_contract::Fixture;
use bytes::Bytes;
use http::{Method, Request, Response};
use serde_json::Value;

use crate::{answer::Outcome, request};

/// Configured differences from the documented answers.
#[derive(Clone, Debug, Default)]
pub(crate) struct Variation {
    /// JSON Pointer and new name of each renamed field.
    renames: Vec<(String, String)>,
    recorded: BTreeMap<(Method, String), VecDeque<Response<Bytes>>>,
}

impl Variation {
    pub(crate) fn rename_field(&mut self, pointer: String, name: String) {
        self.renames.push((pointer, name));
    }

    pub(crate) fn replay(&mut self, fixture: &Fixture) {
        for (request, response) in fixture.exchanges() {
            let target = request.uri().to_string();
            let answers = self.recorded.entry((request.method().clone(), target)).or_default();
            answers.push_back(response.map(Bytes::from));
        }
    }

    /// Takes the next recorded answer to a request.
    pub(crate) fn recorded(&mut self, request: &Request<Bytes>) -> Option<Outcome> {
        if self.recorded.is_empty() {
            return None;
        }
        let answers = self.recorded.get_mut(&(request.method().clone(), request.uri().to_string()))?;
        let next = answers.front().cloned()?;
        if answers.len() > 1 {
            answers.pop_front();
        }
        let job = request::job_ids(request).next();
        Some(Outcome { response: next, job, summary: "recorded answer".to_owned(), violation: None })
    }

    /// Renames fields of an answer. Returns whether any field was renamed.
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
