//! What a test configures on a running [`MockServer`], and what it reads from it.

use std::time::{Duration, SystemTime};

use akool_contract::Fixture;
use bytes::Bytes;
use http::{Request, Response};

use crate::{
    fault::Fault,
    record::Exchange,
    server::MockServer,
    service_state::{CLIENT_ID, CreatedJob, Plan},
    timeline::Timeline,
    times::{Injected, Times},
    webhook_queue::{WebhookCall, WebhookFault},
};

/// Credentials.
impl MockServer {
    /// Returns the client id that can request a token. The API key is its secret.
    pub fn client_id(&self) -> String {
        CLIENT_ID.to_owned()
    }

    /// Returns the API key that the server accepts.
    pub fn api_key(&self) -> String {
        self.state().api_key.clone()
    }

    /// Returns the bearer token that the server accepts.
    pub fn token(&self) -> String {
        self.state().token.clone()
    }

    /// Invalidates every token that was issued. A request with one gets code 1101, and the next token request gets a
    /// new token.
    pub fn expire_token(&self) {
        let token = &mut self.state().token;
        let (name, number) = match token.rsplit_once("-renewed-") {
            Some((name, number)) => (name, number.parse().unwrap_or(0)),
            None => (token.as_str(), 0_u32),
        };
        *token = format!("{name}-renewed-{}", number + 1);
    }
}

/// The clock. Timelines, webhooks, dates and the lifetime of files follow it; faults of the connection take real time.
impl MockServer {
    /// Returns the time of the server's clock.
    pub fn now(&self) -> SystemTime {
        self.state().clock.now()
    }

    /// Stops the clock, so that only [`advance`](Self::advance) changes it.
    ///
    /// ```
    /// use std::time::Duration;
    /// use akool_mock::{MockServer, Timeline};
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() {
    /// let server = MockServer::start().await;
    /// server.stop_clock();
    /// server.job("64dd", Timeline::new().queueing(Duration::from_secs(2 * 60 * 60)).completed());
    /// // Poll here: it is queued. Two hours later, a poll returns that it is completed.
    /// server.advance(Duration::from_secs(2 * 60 * 60));
    /// # }
    /// ```
    pub fn stop_clock(&self) {
        self.state().clock.stop(SystemTime::now());
        self.service().wake();
    }

    /// Lets a stopped clock run on.
    pub fn start_clock(&self) {
        self.state().clock.start(SystemTime::now());
        self.service().wake();
    }

    /// Sets the clock forward. Webhook calls that become due are made.
    pub fn advance(&self, by: Duration) {
        self.state().clock.advance(by, SystemTime::now());
        self.service().wake();
    }
}

/// Credits.
impl MockServer {
    /// Sets the credits that the account has left (default: 1,000,000). A creation for which they are too few is
    /// rejected with code 1104.
    pub fn set_credits(&self, credits: f64) {
        self.state().credits = credits;
    }

    /// Returns the credits that the account has left. Each created job reduces them by what is held for it, and neither
    /// its completion nor its failure changes them.
    pub fn credits(&self) -> f64 {
        self.state().credits
    }

    /// Sets the credits that are held for each job from now on, and charged when it completes (default: 10).
    pub fn set_credits_per_job(&self, credits: u32) {
        self.state().credits_per_job = credits;
    }
}

/// Jobs and their files.
impl MockServer {
    /// Adds a job. An existing job with this id starts from the beginning.
    pub fn job(&self, id: impl Into<String>, timeline: Timeline) {
        self.state().add_job(id, timeline);
    }

    /// Lets a job continue on another timeline from now on. Its time of creation and its credits stay. Returns whether
    /// there is a job with this id.
    pub fn change_job(&self, id: &str, timeline: Timeline) -> bool {
        let changed = {
            let mut state = self.state();
            let now = state.clock.now();
            state.change_job(id, timeline, now)
        };
        self.service().wake();
        changed
    }

    /// Removes everything that was configured, received and created since the start, or since
    /// [`keep_as_initial`](Self::keep_as_initial). Credentials stay, and the clock runs with the machine's again.
    pub fn reset(&self) {
        self.state().reset();
    }

    /// Makes the present state the one to which [`reset`](Self::reset) returns.
    pub fn keep_as_initial(&self) {
        self.state().keep_as_initial();
    }

    /// Sets the timeline of jobs that requests create. It starts with the creation. By default, such a job is queued
    /// for one poll, processing for two, and then completed.
    pub fn on_create(&self, timeline: Timeline) {
        self.state().plan = timeline;
    }

    /// Sets the timeline of jobs that requests create for one target language.
    pub fn on_create_in(&self, language: impl Into<String>, timeline: Timeline) {
        self.state().plans.insert(language.into(), Plan::Create(timeline));
    }

    /// Rejects one target language with this code and message. Jobs for the other languages are created.
    pub fn reject_language(&self, language: impl Into<String>, code: i64, message: impl Into<String>) {
        self.state().plans.insert(language.into(), Plan::Reject(code, message.into()));
    }

    /// Accepts target languages that the list of languages does not contain. By default they are rejected, as the
    /// service does, but the server lists fewer languages than the service.
    pub fn accept_any_language(&self) {
        self.state().accepts_any_language = true;
    }

    /// Omits `all_results` from answers to creations, as the service may: only the first job is in the answer.
    pub fn omit_all_results(&self) {
        self.state().omits_all_results = true;
    }

    /// Sets the contents of a result file for all jobs. The name is `video.mp4`, `original.srt`, `translated.srt` or
    /// `no-captions.mp4`.
    pub fn file(&self, name: impl Into<String>, contents: impl Into<Bytes>) {
        self.state().contents.insert((None, name.into()), contents.into());
    }

    /// Sets the contents of a result file for one job. This overrides [`file`](Self::file).
    pub fn file_of(&self, id: impl Into<String>, name: impl Into<String>, contents: impl Into<Bytes>) {
        self.state().contents.insert((Some(id.into()), name.into()), contents.into());
    }

    /// Sets the webhook of a job, as `webhookUrl` in a creation does. If the job has already ended, its end is
    /// announced too.
    ///
    /// The service announces each change of status except the change to queued, and repeats a call until it gets
    /// HTTP 200. The mock server makes at most six attempts within about three seconds, with the same message.
    /// Messages are signed with [`client_id`](Self::client_id) and encrypted with [`api_key`](Self::api_key). Only
    /// `http` URLs on the loopback interface are called; [`Builder::call_webhooks_anywhere`] allows other hosts.
    ///
    /// [`Builder::call_webhooks_anywhere`]: crate::Builder::call_webhooks_anywhere
    pub fn webhook(&self, job: impl Into<String>, url: impl Into<String>) {
        self.state().webhooks.subscribe(job, url);
        self.service().wake();
    }
}

/// Faults and changed answers.
impl MockServer {
    /// Injects a fault into the answers to polls. Several faults happen one after the other, in the order of
    /// injection. Faults of the connection need the base URL that [`url_for`](Self::url_for) returns.
    ///
    /// A poll that meets a fault does not count in the job's [`Timeline`];
    /// [`inject_advancing`](Self::inject_advancing) changes this.
    pub fn inject(&self, fault: Fault, times: Times) {
        self.state().poll_faults.push(fault, times);
    }

    /// Injects a fault into the answers to polls, as [`inject`](Self::inject) does, but the polls count in the job's
    /// [`Timeline`]: the service received them, and only its answer is damaged.
    pub fn inject_advancing(&self, fault: Fault, times: Times) {
        self.state().poll_faults.add(Injected { fault, times, advances: true });
    }

    /// Injects a fault into the answers to requests for files, as [`inject`](Self::inject) does for polls.
    pub fn inject_into_files(&self, fault: Fault, times: Times) {
        self.state().file_faults.push(fault, times);
    }

    /// Injects a fault into the answers to creation requests, as [`inject`](Self::inject) does for polls. A fault that
    /// rejects the request (a documented code, most HTTP 4xx statuses) creates no jobs. Under any other fault, the
    /// jobs are created and only the answer is damaged.
    pub fn inject_into_creations(&self, fault: Fault, times: Times) {
        self.state().creation_faults.push(fault, times);
    }

    /// Injects a fault into webhook calls. It is applied once for each change of status.
    pub fn inject_into_webhooks(&self, fault: WebhookFault, times: Times) {
        self.state().webhooks.faults.push(fault, times);
    }

    /// Removes all injected faults.
    pub fn clear_faults(&self) {
        self.state().clear_faults();
    }

    /// Renames a field in all answers, as a vendor may do without notice. `pointer` is the JSON Pointer of the field,
    /// such as `/data/video_status`.
    ///
    /// Such answers violate the description on purpose, for tests of code that must detect this.
    pub fn rename_field(&self, pointer: impl Into<String>, name: impl Into<String>) {
        self.state().variation.rename_field(pointer.into(), name.into());
    }

    /// Answers the requests of a fixture with the recorded answers, in their order. The last answer repeats. Requests
    /// are matched by method, path and query. Credentials are not checked, because fixtures contain none.
    pub fn replay(&self, fixture: &Fixture) {
        self.state().variation.replay(fixture);
    }
}

/// Requests and results.
impl MockServer {
    /// Answers a request as if it arrived at this time, without a connection. This way, a test can let hours pass.
    ///
    /// ```
    /// use std::time::{Duration, SystemTime};
    /// use akool_mock::{MockServer, Span, Timeline};
    /// use bytes::Bytes;
    /// use http::Request;
    ///
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let server = MockServer::start().await;
    /// let hour = Duration::from_secs(60 * 60);
    /// server.job("64dd", Timeline::new().processing(hour).completed());
    /// let poll = Request::get("/api/open/v3/content/video/infobymodelid?video_model_id=64dd")
    ///     .header("x-api-key", server.api_key())
    ///     .body(Bytes::new())?;
    /// let status = |after| -> serde_json::Result<serde_json::Value> {
    ///     let response = server.respond(&poll, SystemTime::now() + after);
    ///     Ok(serde_json::from_slice::<serde_json::Value>(response.body())?["data"]["video_status"].take())
    /// };
    /// assert_eq!(status(Duration::ZERO)?, 2);
    /// assert_eq!(status(2 * hour)?, 3);
    /// # Ok(())
    /// # }
    /// ```
    pub fn respond(&self, request: &Request<Bytes>, now: SystemTime) -> Response<Bytes> {
        self.service().respond(request, now)
    }

    /// Returns the latest exchanges, oldest first: at most 10,000, and at most 32 MiB.
    pub fn exchanges(&self) -> Vec<Exchange> {
        self.state().log.iter().cloned().collect()
    }

    /// Returns the time of each poll of this job.
    pub fn polls_of(&self, id: &str) -> Vec<SystemTime> {
        let state = self.state();
        let polls =
            state.log.iter().filter(|exchange| exchange.is_poll() && exchange.job.as_deref() == Some(id));
        polls.map(|exchange| exchange.at).collect()
    }

    /// Returns the jobs that requests created, oldest first: at most the latest 10,000.
    pub fn created(&self) -> Vec<CreatedJob> {
        self.state().created.iter().cloned().collect()
    }

    /// Returns the webhook calls that were made: at most the latest 10,000.
    pub fn webhook_calls(&self) -> Vec<WebhookCall> {
        self.state().webhooks.made.iter().cloned().collect()
    }

    /// Returns the violations: requests that match no operation, requests that violate the description, and
    /// credentials that were sent to the CDN. An answer of the mock server that violates the description without
    /// being configured to is a violation too.
    pub fn violations(&self) -> Vec<String> {
        self.state().violations.iter().cloned().collect()
    }

    /// Returns the unmet expectations: jobs that were never polled, and injected faults that have not happened as
    /// often as requested.
    pub fn unmet_expectations(&self) -> Vec<String> {
        self.state().unmet_expectations()
    }
}
