//! A job and its id: [`Job`], [`JobId`].

use std::{
    fmt,
    sync::{Arc, Mutex, PoisonError},
};

use akool_client::Exchange;
use serde::{Deserialize, Serialize};
use tracing::{Instrument, debug_span};

use crate::{
    Client, Error, Snapshot,
    call::exchanged,
    decode,
    wait::{Updates, Wait},
};

/// The id of a job: `_id` in answers, `video_model_id` in requests.
///
/// Any text is taken, since the service promises no form. Cheap to clone.
///
/// ```
/// let id = akool::JobId::from("64dd92c1f0b6684651e90e09");
/// assert_eq!(id.as_str(), "64dd92c1f0b6684651e90e09");
/// ```
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(from = "String", into = "String")]
pub struct JobId(Arc<str>);

impl JobId {
    /// The id as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl From<&str> for JobId {
    fn from(id: &str) -> Self {
        Self(id.into())
    }
}

impl From<String> for JobId {
    fn from(id: String) -> Self {
        Self(id.into())
    }
}

impl From<&Self> for JobId {
    fn from(id: &Self) -> Self {
        id.clone()
    }
}

impl From<JobId> for String {
    fn from(id: JobId) -> Self {
        id.0.as_ref().to_owned()
    }
}

impl fmt::Display for JobId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // An id may come from anywhere: nothing in it reaches a terminal as a control character.
        if self.0.chars().any(char::is_control) {
            write!(f, "{}", self.0.escape_debug())
        } else {
            f.pad(&self.0)
        }
    }
}

impl fmt::Debug for JobId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "JobId({self})")
    }
}

/// One job of the service, by its id. Made by [`Client::job`], again at any time: nothing of a
/// job is kept here that could be lost.
#[derive(Clone, Debug)]
pub struct Job {
    pub(crate) client: Client,
    pub(crate) id: JobId,
}

impl Job {
    pub(crate) fn new(client: Client, id: JobId) -> Self {
        Self { client, id }
    }

    /// The job's id.
    pub fn id(&self) -> &JobId {
        &self.id
    }

    pub(crate) fn client(&self) -> &Client {
        &self.client
    }

    /// Polls at the job once. A job that failed is a snapshot like any other.
    ///
    /// # Errors
    /// When its state cannot be read: no connection, a refusal by the service (any code but
    /// 1000), or an answer without a status. [`Error::is_transient`] says whether to try again.
    ///
    /// ```no_run
    /// # async fn example(client: akool::Client) -> Result<(), akool::Error> {
    /// let snapshot = client.job("64dd92c1f0b6684651e90e09").get().await?;
    /// println!("{}", snapshot.status());
    /// # Ok(())
    /// # }
    /// ```
    pub async fn get(&self) -> Result<Snapshot, Error> {
        self.poll(1).await
    }

    /// Waits for the job's end: await it, or set a timeout and a policy first.
    ///
    /// ```no_run
    /// # async fn example(client: akool::Client) -> Result<(), akool::WaitError> {
    /// use std::time::Duration;
    ///
    /// let translation = client
    ///     .job("64dd92c1f0b6684651e90e09")
    ///     .wait()
    ///     .timeout(Duration::from_secs(30 * 60))
    ///     .await?;
    /// println!("{}", translation.video());
    /// # Ok(())
    /// # }
    /// ```
    pub fn wait(&self) -> Wait {
        Wait::new(self.clone())
    }

    /// The first poll, and every change from then on, as a stream; short for
    /// `wait().updates()`, see [`Wait::updates`].
    pub fn updates(&self) -> Updates {
        self.wait().updates()
    }

    /// One poll, the `attempt`th of a wait.
    pub(crate) async fn poll(&self, attempt: u32) -> Result<Snapshot, Error> {
        let span = debug_span!("akool.poll", job = %self.id, attempt);
        async {
            let seen = self.client.call(|| self.request(None)).await;
            let seen = seen.map_err(|error| error.scrubbed(&self.client.transport).about(&self.id));
            match &seen {
                Ok(snapshot) => tracing::debug!(status = %snapshot.status(), "seen"),
                Err(error) => tracing::debug!(kind = ?error.kind(), %error, "not seen"),
            }
            seen
        }
        .instrument(span)
        .await
    }

    /// Leaves the answer as it came in `kept`.
    pub(crate) async fn request(&self, kept: Option<&Mutex<Option<Exchange>>>) -> Result<Snapshot, Error> {
        let (client, recording) = self.client.api.undecoded();
        let sent = client.get_video_info().video_model_id(self.id.as_str()).send().await;
        let exchange = recording.take();
        if let Some(kept) = kept {
            kept.lock().unwrap_or_else(PoisonError::into_inner).clone_from(&exchange);
        }
        decode::snapshot(&self.id, &exchanged(sent, exchange)?)
    }
}
