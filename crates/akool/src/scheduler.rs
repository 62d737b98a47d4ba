//! Whose turn it is: the pure half of [`WaitSet`](crate::WaitSet), without polls, sleep and clock.
//!
//! Times count from the beginning of the set. Jobs stand in the order in which they fell due, so the
//! longest overdue is the next one, and none is passed over for ever.

use std::{
    collections::{BTreeSet, HashMap, hash_map},
    sync::Arc,
    time::Duration,
};

use crate::{
    Error, Event, JobId, PollPolicy, Snapshot,
    poll_state::{Next, PollState},
    poller::Decision,
    throttle::Throttle,
};

#[derive(Debug, Default)]
pub(crate) struct Scheduler {
    /// Boxed, so that what the map holds ready for more is small.
    jobs: HashMap<JobId, Box<Entry>>,
    /// Whose turn is yet to come: when, and since when the job is due then. The two differ where
    /// the service asked for a pause.
    later: BTreeSet<(Duration, Duration, JobId)>,
    /// Whose turn it is, and since when.
    due: BTreeSet<(Duration, JobId)>,
    tickets: u64,
    rate: Option<Rate>,
}

#[derive(Debug)]
struct Entry {
    poll_state: PollState,
    /// Tells this wait from an earlier one for the same job.
    ticket: u64,
    /// When the wait began.
    started: Duration,
    /// `None` while a poll it is under way.
    place: Option<Place>,
    /// There was a trigger while a poll was under way, which may have come too late for it.
    triggered: bool,
}

/// Where a job stands: in the scheduler's `later`, or in `due` once the time has come.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Place {
    at: Duration,
    due: Duration,
}

/// A poll that is under way.
#[derive(Clone, Debug)]
pub(crate) struct PendingPoll {
    pub(crate) job: JobId,
    /// The how-manieth at this job.
    pub(crate) attempt: u32,
    ticket: u64,
    began: Duration,
    due: Duration,
}

impl PendingPoll {
    /// When it began, since the beginning of the set.
    pub(crate) fn began(&self) -> Duration {
        self.began
    }
}

/// What to do now.
#[derive(Debug)]
pub(crate) enum NextPoll {
    /// Look at this job.
    Poll(PendingPoll),
    /// Nothing until this time.
    NotBefore(Duration),
    /// Nothing until a poll ends or a job is added.
    Nobody,
}

impl Scheduler {
    /// Spaces polls by this on average; a `None` does not.
    pub(crate) fn set_spacing(&mut self, spacing: Option<Duration>) {
        self.rate = spacing.map(|spacing| Rate { spacing, next: Duration::ZERO });
    }

    /// Begins a wait, whose first poll is due at once. Says whether the job is new.
    pub(crate) fn insert(
        &mut self,
        job: JobId,
        policy: Arc<PollPolicy>,
        timeout: Option<Duration>,
        now: Duration,
    ) -> bool {
        let hash_map::Entry::Vacant(vacant) = self.jobs.entry(job.clone()) else {
            return false;
        };
        self.tickets += 1;
        let poll_state = PollState::new(policy, timeout);
        let place = Some(Place { at: now, due: now });
        let entry = Entry { poll_state, ticket: self.tickets, started: now, place, triggered: false };
        vacant.insert(Box::new(entry));
        self.due.insert((now, job));
        true
    }

    /// Ends a wait without a word. What a poll it that is under way sees is dropped.
    pub(crate) fn remove(&mut self, job: &JobId) -> bool {
        let Some(entry) = self.jobs.remove(job) else {
            return false;
        };
        if let Some(Place { at, due }) = entry.place
            && !self.later.remove(&(at, due, job.clone()))
        {
            self.due.remove(&(due, job.clone()));
        }
        true
    }

    pub(crate) fn len(&self) -> usize {
        self.jobs.len()
    }

    pub(crate) fn contains(&self, job: &JobId) -> bool {
        self.jobs.contains_key(job)
    }

    pub(crate) fn poll_states(&self) -> impl Iterator<Item = (&JobId, &PollState)> {
        self.jobs.iter().map(|(job, entry)| (job, &entry.poll_state))
    }

    /// Takes a trigger that a job has changed, which may bring its look forward. Says whether it is there.
    pub(crate) fn trigger(&mut self, job: &JobId, now: Duration) -> bool {
        let Some(entry) = self.jobs.get_mut(job) else {
            return false;
        };
        entry.triggered = entry.place.is_none();
        if let Some(Place { at, due }) = entry.place
            && self.later.contains(&(at, due, job.clone()))
            && let Decision::PollAt(sooner) = entry.poll_state.trigger(now.saturating_sub(entry.started))
        {
            let sooner = entry.started.saturating_add(sooner);
            // Where the service asked for a pause, `at` is later than `due` and stays.
            if sooner < due && at == due {
                self.later.remove(&(at, due, job.clone()));
                self.later.insert((sooner, sooner, job.clone()));
                entry.place = Some(Place { at: sooner, due: sooner });
            }
        }
        true
    }

    /// Makes all that would fall due until `then` due now: the machine slept for that long.
    pub(crate) fn hurry_all(&mut self, now: Duration, then: Duration) {
        while let Some((_, due, job)) = first_until(&mut self.later, then) {
            if let Some(entry) = self.jobs.get_mut(&job) {
                let due = due.min(now);
                entry.place = Some(Place { at: due, due });
                self.due.insert((due, job));
            }
        }
    }

    /// Whose turn it is, while the service allows no polls until `closed`. A last poll a timeout
    /// is made nevertheless.
    pub(crate) fn turn(&mut self, now: Duration, closed: Duration) -> NextPoll {
        while let Some((_, since, job)) = first_until(&mut self.later, now) {
            self.due.insert((since, job));
        }
        while let Some((since, job)) = self.due.pop_first() {
            let Some(entry) = self.jobs.get_mut(&job) else {
                // Each place belongs to a job.
                continue;
            };
            let timeout = entry.poll_state.timeout().map(|span| entry.started.saturating_add(span));
            let closed = timeout.map_or(closed, |timeout| closed.min(timeout));
            if now < closed {
                entry.place = Some(Place { at: closed, due: since });
                self.later.insert((closed, since, job));
                continue;
            }
            if let Some(rate) = &mut self.rate
                && let Err(free) = rate.take(now)
            {
                self.due.insert((since, job));
                return NextPoll::NotBefore(free);
            }
            entry.place = None;
            let attempt = entry.poll_state.begin_poll();
            return NextPoll::Poll(PendingPoll {
                job,
                attempt,
                ticket: entry.ticket,
                began: now,
                due: since,
            });
        }
        self.later.first().map_or(NextPoll::Nobody, |(at, ..)| NextPoll::NotBefore(*at))
    }

    /// Takes what a poll saw, and says what is to be told of it: an event, the end, or both. `None`
    /// where the wait is not there any more.
    pub(crate) fn observe(
        &mut self,
        poll: PendingPoll,
        pace: &Throttle,
        now: Duration,
        seen: Result<Snapshot, Error>,
    ) -> Option<(Option<Event>, Option<Event>)> {
        let entry = self.jobs.get_mut(&poll.job).filter(|entry| entry.ticket == poll.ticket)?;
        let since = |time: Duration| time.saturating_sub(entry.started);
        let (event, next) = entry.poll_state.observe(&poll.job, pace, since(poll.began), since(now), seen);
        match next {
            Next::PollAt(at) => {
                let at = entry.started.saturating_add(at);
                let triggered = std::mem::take(&mut entry.triggered);
                entry.place = Some(Place { at, due: at });
                self.later.insert((at, at, poll.job.clone()));
                if triggered {
                    self.trigger(&poll.job, now);
                }
                Some((event, None))
            }
            Next::Ended(mut end) => {
                if let Err(error) = &mut end
                    && let Some(early) = error.last_known_mut()
                    && early.last_error.is_none()
                {
                    let recalled = entry.poll_state.trouble().map(Error::recalled);
                    early.last_error = recalled.map(|error| error.about(&poll.job));
                }
                self.jobs.remove(&poll.job);
                Some((event, Some(Event::Ended(end))))
            }
        }
    }

    /// Puts a job back in its place: what the poll saw says nothing of the service.
    pub(crate) fn put_back(&mut self, poll: PendingPoll) {
        if let Some(entry) = self.jobs.get_mut(&poll.job)
            && entry.ticket == poll.ticket
        {
            entry.place = Some(Place { at: poll.due, due: poll.due });
            self.due.insert((poll.due, poll.job));
        }
    }
}

/// Takes out the first whose time comes until `then`.
fn first_until(
    later: &mut BTreeSet<(Duration, Duration, JobId)>,
    then: Duration,
) -> Option<(Duration, Duration, JobId)> {
    if later.first()?.0 <= then { later.pop_first() } else { None }
}

/// A bound on polls per time: the generic cell rate algorithm.
#[derive(Debug)]
struct Rate {
    spacing: Duration,
    /// When the next poll would be made if all came as late as they may.
    next: Duration,
}

impl Rate {
    /// Timers are no finer than a millisecond: what a late one missed is caught up, so far.
    const TOLERANCE: Duration = Duration::from_millis(10);

    /// Takes the place of one poll, or says when there is one.
    fn take(&mut self, now: Duration) -> Result<(), Duration> {
        let free = self.next.saturating_sub(Self::TOLERANCE);
        if now < free {
            return Err(free);
        }
        self.next = self.next.max(now).saturating_add(self.spacing);
        Ok(())
    }
}

#[cfg(test)]
mod tests;
