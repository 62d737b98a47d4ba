//! One job: [`Job`].

use crate::{client::Client, error::Error, id::JobId, snapshot::Snapshot, wait::Wait};

/// One job of the service, made by [`Client::job`]. Only its id needs to be kept: it can be made again at any time.
#[derive(Clone, Debug)]
pub struct Job {
    client: Client,
    id: JobId,
}

impl Client {
    /// A job by its id: the `_id` that its creation returned. Sends nothing yet.
    pub fn job(&self, id: impl Into<JobId>) -> Job {
        Job { client: self.clone(), id: id.into() }
    }
}

impl Job {
    /// The job's id.
    pub fn id(&self) -> &JobId {
        &self.id
    }

    /// Polls the job once. A failed job is a snapshot like any other.
    ///
    /// # Errors
    /// If the status cannot be read: no connection, a code other than 1000, or a response without a status.
    /// [`Error::is_retryable`] says whether to try again. During a pause that the service asked for, nothing is sent,
    /// and the error has the remaining time.
    ///
    /// ```no_run
    /// # async fn example(client: akool::Client) -> Result<(), akool::Error> {
    /// let snapshot = client.job("64dd92c1f0b6684651e90e09").get().await?;
    /// println!("{}", snapshot.status());
    /// # Ok(())
    /// # }
    /// ```
    pub async fn get(&self) -> Result<Snapshot, Error> {
        self.client.poll(&self.id, 1).await
    }

    /// Waits for the job's end: await it, or set a timeout and a policy first.
    ///
    /// ```no_run
    /// # async fn example(client: akool::Client) -> Result<(), akool::WaitError> {
    /// use std::time::Duration;
    ///
    /// let translation =
    ///     client.job("64dd92c1f0b6684651e90e09").wait().timeout(Duration::from_secs(30 * 60)).await?;
    /// println!("{}", translation.video());
    /// # Ok(())
    /// # }
    /// ```
    pub fn wait(&self) -> Wait {
        Wait::new(&self.client, self.id.clone())
    }
}
