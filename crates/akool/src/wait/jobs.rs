//! The jobs of a set: the pure half of [`WaitSet`](crate::WaitSet), without polls, sleep and clock.
//!
//! It holds one [`PollState`] for each job, asks the poller what to do after each poll, and the scheduler which job
//! to poll next. Times count from the beginning of the set.

use std::{
    hash::{BuildHasher, RandomState},
    sync::Arc,
    time::Duration,
};

use hashbrown::HashTable;

use crate::{
    error::Error,
    id::JobId,
    snapshot::Snapshot,
    wait::{
        error::WaitError,
        poller::{Decision, Observation, Poller},
        scheduler::{DueQueue, Next, Pause, Scheduler, Slot},
        state::PollState,
        update::{self, Update},
    },
};

/// How long the last poll may take after the timeout has passed.
pub(super) const LAST_POLL_LIMIT: Duration = Duration::from_secs(5);

#[derive(Default)]
pub(super) struct Jobs {
    entries: Vec<Option<Entry>>,
    slots: SlotsByJob,
    free: Vec<Slot>,
    scheduler: Scheduler,
    /// When each wait ends at the latest, also if its last poll cannot begin.
    expiry: DueQueue,
    last_wait: u32,
}

struct Entry {
    job: JobId,
    poller: Arc<Poller>,
    state: PollState,
    started: Duration,
    /// Distinguishes this wait from others in the same slot.
    wait: u32,
    /// Whether a poll is under way.
    polling: bool,
    /// A trigger arrived while a poll was under way, perhaps too late for it.
    triggered: bool,
}

impl Entry {
    fn timeout(&self) -> Option<Duration> {
        self.poller.timeout().map(|timeout| self.started.saturating_add(timeout))
    }
}

/// The slot of each job. Ids are not stored again: they are in the entries.
#[derive(Default)]
struct SlotsByJob {
    table: HashTable<Slot>,
    hasher: RandomState,
}

impl SlotsByJob {
    fn find(&self, job: &JobId, entries: &[Option<Entry>]) -> Option<Slot> {
        let is_job = |slot: &Slot| entries[*slot as usize].as_ref().is_some_and(|entry| entry.job == *job);
        self.table.find(self.hasher.hash_one(job), is_job).copied()
    }

    /// Adds a slot that is not there, and whose entry is.
    fn insert(&mut self, slot: Slot, entries: &[Option<Entry>]) {
        let hash = |slot: &Slot| {
            entries[*slot as usize].as_ref().map_or(0, |entry| self.hasher.hash_one(&entry.job))
        };
        self.table.insert_unique(hash(&slot), slot, hash);
    }

    fn remove(&mut self, slot: Slot, job: &JobId) {
        if let Ok(found) = self.table.find_entry(self.hasher.hash_one(job), |other| *other == slot) {
            found.remove();
        }
    }
}

/// A poll to be made.
#[derive(Clone, Debug)]
pub(super) struct Attempt {
    pub(super) job: JobId,
    /// Its number in the wait, from 1.
    pub(super) number: u32,
    /// When it is cut off, if the wait has a timeout.
    pub(super) limit: Option<Duration>,
    slot: Slot,
    wait: u32,
    due: Duration,
    began: Duration,
}

/// What to do now.
pub(super) enum Action {
    /// Make this poll.
    Poll(Attempt),
    /// Report this: a wait ended without a last poll.
    Report(JobId, Update),
    /// Nothing before this time, or until a poll ends.
    Sleep(Duration),
}

impl Jobs {
    pub(super) fn set_spacing(&mut self, spacing: Option<Duration>) {
        self.scheduler.set_spacing(spacing);
    }

    /// Begins a wait, whose first poll is due at once. Returns whether the job is new.
    pub(super) fn insert(&mut self, job: JobId, poller: Arc<Poller>, seed: u64, now: Duration) -> bool {
        if self.contains(&job) {
            return false;
        }
        let Some(slot) = self.free.pop().or_else(|| Slot::try_from(self.entries.len()).ok()) else {
            return false;
        };
        self.last_wait = self.last_wait.wrapping_add(1);
        let entry = Entry {
            job,
            poller,
            state: PollState::new(seed),
            started: now,
            wait: self.last_wait,
            polling: false,
            triggered: false,
        };
        self.scheduler.schedule(slot, now);
        if let Some(timeout) = entry.timeout() {
            let at = timeout.saturating_add(LAST_POLL_LIMIT);
            self.expiry.push(slot, at, at);
        }
        match self.entries.get_mut(slot as usize) {
            Some(place) => *place = Some(entry),
            None => self.entries.push(Some(entry)),
        }
        self.slots.insert(slot, &self.entries);
        true
    }

    /// Ends a wait without a report. The result of a poll that is under way will be ignored.
    pub(super) fn remove(&mut self, job: &JobId) -> bool {
        self.slots.find(job, &self.entries).and_then(|slot| self.take(slot)).is_some()
    }

    pub(super) fn contains(&self, job: &JobId) -> bool {
        self.slots.find(job, &self.entries).is_some()
    }

    pub(super) fn len(&self) -> usize {
        self.slots.table.len()
    }

    pub(super) fn states(&self) -> impl Iterator<Item = (&JobId, &PollState)> {
        self.entries.iter().flatten().map(|entry| (&entry.job, &entry.state))
    }

    /// Brings the next poll of a job forward. Returns whether the job is there.
    pub(super) fn poll_now(&mut self, job: &JobId, now: Duration) -> bool {
        let Some(slot) = self.slots.find(job, &self.entries) else { return false };
        let Some(entry) = self.entries[slot as usize].as_mut() else { return false };
        if entry.polling {
            entry.triggered = true;
            return true;
        }
        let before = entry.state.next_poll();
        let next = entry.poller.poll_now(&mut entry.state, now.saturating_sub(entry.started));
        if next < before {
            self.scheduler.schedule(slot, entry.started.saturating_add(next));
        }
        true
    }

    /// Says what to do at this time. `may_poll`: there is room for one more poll.
    pub(super) fn next(&mut self, now: Duration, pause: Pause, may_poll: bool) -> Action {
        let mut wake = Duration::MAX;
        while let Some((slot, at, _)) = self.expiry.peek() {
            if at > now {
                wake = at;
                break;
            }
            self.expiry.pop();
            // A poll that is under way is cut off at the same time, and its error ends the wait.
            if self.entries[slot as usize].as_ref().is_some_and(|entry| !entry.polling)
                && let Some((job, update)) = self.expire(slot, now)
            {
                return Action::Report(job, update);
            }
        }
        if !may_poll {
            return Action::Sleep(wake);
        }
        loop {
            let timeout = |slot: Slot| self.entries[slot as usize].as_ref().and_then(Entry::timeout);
            match self.scheduler.next(now, pause, timeout) {
                Next::Poll(slot, due) => {
                    if let Some(attempt) = self.begin(slot, due, now) {
                        return Action::Poll(attempt);
                    }
                }
                Next::Expire(slot) => {
                    if let Some((job, update)) = self.expire(slot, now) {
                        return Action::Report(job, update);
                    }
                }
                Next::NotBefore(at) => return Action::Sleep(wake.min(at)),
                Next::Idle => return Action::Sleep(wake),
            }
        }
    }

    fn begin(&mut self, slot: Slot, due: Duration, now: Duration) -> Option<Attempt> {
        let entry = self.entries[slot as usize].as_mut()?;
        (entry.polling, entry.triggered) = (true, false);
        Some(Attempt {
            job: entry.job.clone(),
            number: entry.state.attempts().saturating_add(1),
            limit: entry.timeout().map(|timeout| timeout.saturating_add(LAST_POLL_LIMIT)),
            slot,
            wait: entry.wait,
            due,
            began: now,
        })
    }

    /// Takes the result of a poll. `None` if there is nothing to report: the wait is not there any more, or the poll is
    /// repeated, because nobody polled the set until `left_alone_until`.
    pub(super) fn observe(
        &mut self,
        attempt: Attempt,
        now: Duration,
        left_alone_until: Duration,
        result: Result<Snapshot, Error>,
    ) -> Option<(JobId, Update)> {
        let Attempt { job, slot, wait, due, began, .. } = attempt;
        let entry = self.entries.get_mut(slot as usize)?.as_mut().filter(|entry| entry.wait == wait)?;
        entry.polling = false;
        let timed_out = result.as_ref().is_err_and(Error::is_timeout);
        if timed_out && began < left_alone_until && entry.timeout().is_none_or(|timeout| now < timeout) {
            self.scheduler.schedule(slot, due);
            return None;
        }
        let since = |time: Duration| time.saturating_sub(entry.started);
        let (began, ended) = (since(began), since(now));
        let observation = Observation::of(&result);
        let before = (entry.state.status(), entry.state.progress());
        let decision = entry.poller.observe(&mut entry.state, began, ended, observation);
        let changed = (entry.state.status(), entry.state.progress()) != before;
        let next = match decision {
            Decision::PollAt(at) | Decision::TimeoutAt(at) => at,
            Decision::Finished(end) => {
                let update = Update::Finished(update::finish(&job, &entry.state, ended, end, result));
                self.take(slot);
                return Some((job, update));
            }
        };
        let next = if entry.triggered { entry.poller.poll_now(&mut entry.state, ended) } else { next };
        let attempt = entry.state.failures();
        self.scheduler.schedule(slot, entry.started.saturating_add(next));
        let next_poll_in = next.saturating_sub(ended);
        let update = match result {
            Ok(snapshot) if attempt == 0 => Update::Polled { snapshot, changed, next_poll_in },
            result => Update::Retrying { error: update::failure(&job, result), attempt, next_poll_in },
        };
        Some((job, update))
    }

    /// Ends a wait whose timeout passed without a last poll.
    fn expire(&mut self, slot: Slot, now: Duration) -> Option<(JobId, Update)> {
        let entry = self.take(slot)?;
        let last = entry.state.last_known(&entry.job, now.saturating_sub(entry.started));
        Some((entry.job, Update::Finished(Err(WaitError::Timeout { last, source: None }))))
    }

    fn take(&mut self, slot: Slot) -> Option<Entry> {
        let entry = self.entries[slot as usize].take()?;
        self.slots.remove(slot, &entry.job);
        self.scheduler.cancel(slot);
        self.expiry.cancel(slot);
        self.free.push(slot);
        Some(entry)
    }
}

#[cfg(test)]
mod tests;
