//! Telling waits that it is time to poll: [`PollTriggers`].

use std::{
    collections::{HashMap, HashSet},
    fmt,
    future::Future,
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
};

use tokio::sync::Notify;

use crate::JobId;

/// Tells waits that a job may have changed, from wherever that is known: the handler of a webhook, a
/// queue, another process. Cheap to clone; clones are one.
///
/// A trigger is no news. It leads to a poll the job at once, and what that tells is what counts; so one
/// that is forged, doubled or lost changes nothing but when polls come. How far it may do that is
/// decided by [`Poller::trigger`](crate::poller::Poller::trigger), and never against what the service asked for.
///
/// Only ids that are waited for are kept, and of each at most one trigger: what anybody sends takes no
/// memory.
///
/// ```no_run
/// # async fn example(client: akool::Client) -> Result<(), akool::WaitError> {
/// use akool::{PollTriggers, PollPolicy};
///
/// let triggers = PollTriggers::new();
/// let told = triggers.clone();
/// // Where it is heard that the job has changed:
/// tokio::spawn(async move { told.poll_now("64dd92c1f0b6684651e90e09") });
///
/// let job = client.job("64dd92c1f0b6684651e90e09");
/// let translation = job.wait().triggers(&triggers).policy(PollPolicy::safety_net()).await?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Default)]
pub struct PollTriggers(Arc<Mutex<HashMap<JobId, Vec<Weak<TriggerQueue>>>>>);

/// Where the triggers for a listener arrive.
#[derive(Default)]
struct TriggerQueue {
    pending: Mutex<HashSet<JobId>>,
    news: Notify,
}

impl PollTriggers {
    /// PollTriggers that nobody listens to yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Says that this job may have changed. Returns whether a wait for it is under way; where none is,
    /// nothing is kept: a wait that begins later polls once anyway.
    pub fn poll_now(&self, job: impl Into<JobId>) -> bool {
        let job = job.into();
        let Some(queues) = self.table().get(&job).cloned() else {
            return false;
        };
        let mut heard = false;
        for queue in queues.iter().filter_map(Weak::upgrade) {
            queue.pending().insert(job.clone());
            queue.news.notify_one();
            heard = true;
        }
        heard
    }

    /// How many jobs are waited for, each counted once.
    pub fn waiting(&self) -> usize {
        self.table().len()
    }

    /// Somebody who hears the triggers for some jobs. Dropping it ends that.
    pub(crate) fn listener(&self) -> Listener {
        Listener { triggers: self.clone(), queue: Arc::default(), jobs: HashSet::new() }
    }

    fn table(&self) -> MutexGuard<'_, HashMap<JobId, Vec<Weak<TriggerQueue>>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for PollTriggers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PollTriggers").field("waiting", &self.waiting()).finish()
    }
}

impl TriggerQueue {
    fn pending(&self) -> MutexGuard<'_, HashSet<JobId>> {
        self.pending.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn take_any(&self) -> Option<JobId> {
        let mut pending = self.pending();
        let job = pending.iter().next().cloned()?;
        pending.take(&job)
    }
}

/// Hears the triggers for the jobs that it listens for: one for a wait, many for a set of them.
pub(crate) struct Listener {
    triggers: PollTriggers,
    queue: Arc<TriggerQueue>,
    jobs: HashSet<JobId>,
}

impl Listener {
    /// From now on, triggers for this job are heard.
    pub(crate) fn listen(&mut self, job: &JobId) {
        if self.jobs.insert(job.clone()) {
            self.triggers.table().entry(job.clone()).or_default().push(Arc::downgrade(&self.queue));
        }
    }

    /// PollTriggers for this job are not heard any more.
    pub(crate) fn forget(&mut self, job: &JobId) {
        if !self.jobs.remove(job) {
            return;
        }
        let mut table = self.triggers.table();
        if let Some(queues) = table.get_mut(job) {
            queues.retain(|queue| !std::ptr::eq(queue.as_ptr(), Arc::as_ptr(&self.queue)));
            if queues.is_empty() {
                table.remove(job);
            }
        }
        drop(table);
        self.queue.pending().remove(job);
    }

    /// The next job for which there is a trigger; never, without one. Nothing is lost when it is dropped.
    pub(crate) fn heard(&self) -> impl Future<Output = JobId> + Send + use<> {
        let queue = Arc::clone(&self.queue);
        async move {
            loop {
                if let Some(job) = queue.take_any() {
                    return job;
                }
                queue.news.notified().await;
            }
        }
    }

    /// Drops a trigger for this job that came before now: a poll that begins now serves it.
    pub(crate) fn served(&self, job: &JobId) {
        self.queue.pending().remove(job);
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        for job in self.jobs.clone() {
            self.forget(&job);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{future::Future, pin::pin, task::Context};

    use super::*;

    fn ready(listener: &Listener) -> Option<JobId> {
        let mut heard = pin!(listener.heard());
        match heard.as_mut().poll(&mut Context::from_waker(std::task::Waker::noop())) {
            std::task::Poll::Ready(job) => Some(job),
            std::task::Poll::Pending => None,
        }
    }

    #[test]
    fn each_listener_hears_of_its_own_jobs_once() {
        let triggers = PollTriggers::new();
        let (mut one, mut two) = (triggers.listener(), triggers.listener());
        one.listen(&"a".into());
        one.listen(&"a".into());
        one.listen(&"b".into());
        two.listen(&"a".into());
        assert!(!triggers.poll_now("unknown"));
        assert!((0..1000).all(|_| triggers.poll_now("a")));
        assert_eq!(ready(&one), Some("a".into()));
        assert_eq!(ready(&one), None);
        assert_eq!(ready(&two), Some("a".into()));
        assert!(triggers.poll_now("b"));
        assert_eq!(ready(&two), None);
        one.served(&"b".into());
        assert_eq!(ready(&one), None);
    }

    #[test]
    fn nothing_is_kept_but_what_is_waited_for() {
        let triggers = PollTriggers::new();
        for number in 0..1000 {
            assert!(!triggers.poll_now(number.to_string()));
        }
        let (mut one, mut two) = (triggers.listener(), triggers.listener());
        one.listen(&"a".into());
        two.listen(&"a".into());
        one.listen(&"b".into());
        assert_eq!(triggers.waiting(), 2);
        triggers.poll_now("b");
        one.forget(&"b".into());
        assert_eq!((triggers.waiting(), ready(&one)), (1, None));
        drop(one);
        assert_eq!(triggers.waiting(), 1);
        drop(two);
        assert_eq!(triggers.waiting(), 0);
    }
}
