//! The operation that polls a job.

use http::header::HOST;

use crate::{
    answer::{self, Outcome},
    request::{Call, job_ids},
    service_state::ServiceState,
};

impl ServiceState {
    /// Answers a poll.
    pub(crate) fn get_video_info(&mut self, call: &Call<'_>) -> Outcome {
        let Call { request, now, refusal, counts, .. } = call;
        if let Err((code, message)) = self.authorize(request.headers()) {
            return Outcome::rejected(code, message);
        }
        if let Some(refusal) = refusal {
            return Outcome::rejected(1003, refusal);
        }
        // The description allows an empty id.
        let Some(id) = job_ids(request).next().filter(|id| !id.is_empty()) else {
            return Outcome::rejected(1003, "video_model_id is empty");
        };
        if !self.jobs.contains_key(&id)
            && let Some(job) = self.restore(&id)
        {
            self.add_created(id.clone(), job);
        }
        let Some(job) = self.jobs.get_mut(&id) else {
            return Outcome::rejected(1008, "The content does not exist").of_job(id);
        };
        let state = if *counts { job.poll(*now) } else { job.poll_without_effect(*now) };
        let summary = match (state.status, &state.error) {
            (1, _) => "queued".to_owned(),
            (2, _) => format!("processing, {} %", state.progress),
            (3, _) => "completed".to_owned(),
            (4, Some((code, reason))) => format!("failed, {code} {reason}"),
            (other, _) => format!("status {other}"),
        };
        // The server may listen on all interfaces: links use the address that the caller used.
        let host = request.headers().get(HOST).and_then(|host| host.to_str().ok());
        let base_url = host.map_or_else(|| self.base_url.clone(), |host| format!("http://{host}"));
        Outcome::json(&answer::job(&id, &state, &base_url), summary).of_job(id)
    }
}
