//! Waiting for a job: [`Wait`], a set of one.

mod error;
mod jobs;
#[cfg(feature = "metrics")]
mod meter;
mod policy;
mod poller;
mod scheduler;
mod set;
mod state;
mod update;

use std::{
    fmt,
    future::{Future, IntoFuture},
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use futures_core::Stream;

#[cfg(feature = "metrics")]
pub use self::meter::record_poll;
pub use self::{
    error::{JobFailed, LastKnown, WaitError},
    policy::{PollContext, PollPolicy},
    poller::{Decision, End, Observation, Poller},
    set::{DEFAULT_TIMEOUT, WaitSet},
    state::PollState,
    update::Update,
};
use crate::{client::Client, id::JobId, translation::Translation};

/// A wait for a job's end, made by [`Job::wait`](crate::Job::wait): await it for the result, or take its
/// [updates](Self::updates).
///
/// A wait ends before its job when its timeout passes, when too many polls in a row fail, or on an error that
/// retrying does not change. The job continues in all these cases, and a new wait from its id resumes. Dropping a
/// wait ends it at once and leaves nothing running.
///
/// It needs a tokio runtime with its timer enabled.
///
/// ```no_run
/// # async fn example(client: akool::Client) {
/// use akool::WaitError;
///
/// match client.job("64dd92c1f0b6684651e90e09").wait().await {
///     Ok(translation) => println!("{}", translation.video()),
///     Err(WaitError::JobFailed(failed)) => eprintln!("{failed}"),
///     Err(WaitError::Timeout { last, .. }) => eprintln!("after {} polls: {last}", last.attempts),
///     Err(error) => eprintln!("{error}"),
/// }
/// # }
/// ```
#[must_use = "a wait does nothing until it is awaited"]
pub struct Wait {
    set: WaitSet,
    job: JobId,
    triggers: Option<Triggers>,
}

type Triggers = Pin<Box<dyn Stream<Item = ()> + Send>>;

impl Wait {
    pub(crate) fn new(client: &Client, job: JobId) -> Self {
        Self { set: client.wait_set(), job, triggers: None }
    }

    #[cfg(feature = "blocking")]
    pub(crate) fn job(&self) -> &JobId {
        &self.job
    }

    /// Sets how long to wait ([`DEFAULT_TIMEOUT`], 2 hours, by default).
    ///
    /// A poll that is under way when the timeout passes is the last one. Otherwise one more poll begins then, also with
    /// a timeout of zero. The last poll is cut off 5 s later, whatever the server does. If the timeout passes during a
    /// pause that the service asked for, the wait ends without a last poll.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.set = self.set.timeout(timeout);
        self
    }

    /// Waits as long as the job takes.
    pub fn without_timeout(mut self) -> Self {
        self.set = self.set.without_timeout();
        self
    }

    /// Sets how often to poll, and how many failures to retry.
    pub fn policy(mut self, policy: PollPolicy) -> Self {
        self.set = self.set.policy(policy);
        self
    }

    /// Polls also when this stream has an item, because the job may have changed: from a webhook, a queue, another
    /// process. How soon, [`Poller::poll_now`] decides, so that forged items cost little. Polls in between can be rare
    /// then: [`PollPolicy::safety_net`].
    ///
    /// ```no_run
    /// # async fn example(client: akool::Client, webhook: tokio::sync::watch::Receiver<()>) -> Result<(), akool::WaitError> {
    /// use akool::PollPolicy;
    /// use futures_util::stream;
    ///
    /// let triggers = stream::unfold(webhook, |mut webhook| async {
    ///     webhook.changed().await.ok().map(|()| ((), webhook))
    /// });
    /// let job = client.job("64dd92c1f0b6684651e90e09");
    /// let translation = job.wait().poll_on(triggers).policy(PollPolicy::safety_net()).await?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn poll_on(mut self, triggers: impl Stream<Item = ()> + Send + 'static) -> Self {
        self.triggers = Some(Box::pin(triggers));
        self
    }

    /// Everything that happens, as a stream. The last item is [`Update::Finished`].
    ///
    /// ```no_run
    /// # async fn example(client: akool::Client) {
    /// use akool::Update;
    /// use futures_util::StreamExt;
    ///
    /// let mut updates = client.job("64dd92c1f0b6684651e90e09").wait().updates();
    /// while let Some(update) = updates.next().await {
    ///     if let Update::Polled { snapshot, changed: true, .. } = update {
    ///         println!("{}", snapshot.status());
    ///     }
    /// }
    /// # }
    /// ```
    pub fn updates(mut self) -> Updates {
        self.set.insert(self.job.clone());
        Updates(self)
    }
}

impl IntoFuture for Wait {
    type Output = Result<Translation, WaitError>;
    type IntoFuture = Waiting;

    fn into_future(self) -> Waiting {
        Waiting(self.updates())
    }
}

impl fmt::Debug for Wait {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Wait").field(&self.job).finish()
    }
}

/// The stream of a wait's [`Update`]s, made by [`Wait::updates`].
#[derive(Debug)]
#[must_use = "a stream does nothing until it is polled"]
pub struct Updates(Wait);

impl Stream for Updates {
    type Item = Update;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Update>> {
        /// A stream that always has items must not keep the wait from its work.
        const MAX_TRIGGERS: usize = 64;
        let Wait { set, job, triggers } = &mut self.0;
        for _ in 0..MAX_TRIGGERS {
            match triggers.as_mut().map(|triggers| triggers.as_mut().poll_next(cx)) {
                Some(Poll::Ready(Some(()))) => drop(set.poll_now(job)),
                Some(Poll::Ready(None)) => *triggers = None,
                Some(Poll::Pending) | None => break,
            }
        }
        let update = ready!(Pin::new(set).poll_next(cx));
        Poll::Ready(update.map(|(_, update)| update))
    }
}

/// The future of a [`Wait`].
#[derive(Debug)]
#[must_use = "a future does nothing until it is awaited"]
pub struct Waiting(Updates);

impl Future for Waiting {
    type Output = Result<Translation, WaitError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        loop {
            match ready!(Pin::new(&mut self.0).poll_next(cx)) {
                Some(Update::Finished(result)) => return Poll::Ready(result),
                Some(_) => {}
                // Polled again after its end, like any other future that does not panic.
                None => return Poll::Pending,
            }
        }
    }
}
