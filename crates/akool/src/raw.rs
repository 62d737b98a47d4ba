//! An answer as it came: [`RawAnswer`].

use std::{
    fmt,
    sync::{Mutex, PoisonError},
};

use akool_client::Ending;
use reqwest::header::HeaderMap;

use crate::{Error, Job, Snapshot};

/// The answer to one poll as it came, and what it was decoded to: for whoever compares the service with its
/// description.
#[non_exhaustive]
pub struct RawAnswer {
    /// The HTTP status.
    pub status: u16,
    /// All headers.
    pub headers: HeaderMap,
    /// The whole body. It may hold signed links.
    pub body: Vec<u8>,
    /// What [`Job::get`] makes of it.
    pub decoded: Result<Snapshot, Error>,
}

impl fmt::Debug for RawAnswer {
    /// Without headers and bytes: they may hold signed links.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RawAnswer")
            .field("status", &self.status)
            .field("bytes", &self.body.len())
            .finish_non_exhaustive()
    }
}

impl Job {
    /// Polls at the job once, as [`get`](Self::get) does, and hands on the bytes too, whatever they say: an
    /// answer that refuses or cannot be decoded is still an answer.
    ///
    /// # Errors
    /// When there was no whole answer: no connection, a timeout, a body beyond the limit.
    ///
    /// ```no_run
    /// # async fn example(client: akool::Client) -> Result<(), akool::Error> {
    /// let answer = client.job("64dd92c1f0b6684651e90e09").raw().await?;
    /// println!("HTTP {}, {} bytes", answer.status, answer.body.len());
    /// # Ok(())
    /// # }
    /// ```
    pub async fn raw(&self) -> Result<RawAnswer, Error> {
        let kept = Mutex::new(None);
        let decoded = self.client.call(|| self.request(Some(&kept))).await;
        let decoded = decoded.map_err(|error| error.scrubbed(&self.client.transport).about(&self.id));
        let kept = kept.into_inner().unwrap_or_else(PoisonError::into_inner);
        match (kept, decoded) {
            (Some(exchange), decoded) if exchange.ending == Ending::Complete => Ok(RawAnswer {
                status: exchange.status.as_u16(),
                headers: exchange.headers,
                body: exchange.body.to_vec(),
                decoded,
            }),
            (_, Err(error)) => Err(error),
            // A decoded answer is a whole one.
            (_, Ok(_)) => Err(Error::new(crate::ErrorKind::Interrupted, "the answer was not kept")),
        }
    }
}
