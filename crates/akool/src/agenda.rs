//! Whose turn it is: the pure half of [`WaitSet`](crate::WaitSet), without looks, sleep and clock.
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
    course::{Course, Next},
    pace::Pace,
    poller::Decision,
};

#[derive(Debug, Default)]
pub(crate) struct Agenda {
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
    course: Course,
    /// Tells this wait from an earlier one for the same job.
    ticket: u64,
    /// When the wait began.
    started: Duration,
    /// `None` while a look at it is under way.
    place: Option<Place>,
    /// There was a hint while a look was under way, which may have come too late for it.
    hinted: bool,
}

/// Where a job stands: in the agenda's `later`, or in `due` once the time has come.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Place {
    at: Duration,
    due: Duration,
}

/// A look that is under way.
#[derive(Clone, Debug)]
pub(crate) struct Look {
    pub(crate) job: JobId,
    /// The how-manieth at this job.
    pub(crate) attempt: u32,
    ticket: u64,
    began: Duration,
    due: Duration,
}

impl Look {
    /// When it began, since the beginning of the set.
    pub(crate) fn began(&self) -> Duration {
        self.began
    }
}

/// What to do now.
#[derive(Debug)]
pub(crate) enum Turn {
    /// Look at this job.
    Look(Look),
    /// Nothing until this time.
    NotBefore(Duration),
    /// Nothing until a look ends or a job is added.
    Nobody,
}

impl Agenda {
    /// Spaces looks by this on average; a `None` does not.
    pub(crate) fn set_spacing(&mut self, spacing: Option<Duration>) {
        self.rate = spacing.map(|spacing| Rate { spacing, next: Duration::ZERO });
    }

    /// Begins a wait, whose first look is due at once. Says whether the job is new.
    pub(crate) fn insert(
        &mut self,
        job: JobId,
        policy: Arc<PollPolicy>,
        deadline: Option<Duration>,
        now: Duration,
    ) -> bool {
        let hash_map::Entry::Vacant(vacant) = self.jobs.entry(job.clone()) else {
            return false;
        };
        self.tickets += 1;
        let course = Course::new(policy, deadline);
        let place = Some(Place { at: now, due: now });
        let entry = Entry { course, ticket: self.tickets, started: now, place, hinted: false };
        vacant.insert(Box::new(entry));
        self.due.insert((now, job));
        true
    }

    /// Ends a wait without a word. What a look at it that is under way sees is dropped.
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

    pub(crate) fn courses(&self) -> impl Iterator<Item = (&JobId, &Course)> {
        self.jobs.iter().map(|(job, entry)| (job, &entry.course))
    }

    /// Takes a hint that a job has changed, which may bring its look forward. Says whether it is there.
    pub(crate) fn hint(&mut self, job: &JobId, now: Duration) -> bool {
        let Some(entry) = self.jobs.get_mut(job) else {
            return false;
        };
        entry.hinted = entry.place.is_none();
        if let Some(Place { at, due }) = entry.place
            && self.later.contains(&(at, due, job.clone()))
            && let Decision::LookAt(sooner) = entry.course.hint(now.saturating_sub(entry.started))
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

    /// Whose turn it is, while the service allows no looks until `closed`. A last look at a deadline
    /// is made nevertheless.
    pub(crate) fn turn(&mut self, now: Duration, closed: Duration) -> Turn {
        while let Some((_, since, job)) = first_until(&mut self.later, now) {
            self.due.insert((since, job));
        }
        while let Some((since, job)) = self.due.pop_first() {
            let Some(entry) = self.jobs.get_mut(&job) else {
                // Each place belongs to a job.
                continue;
            };
            let deadline = entry.course.deadline().map(|span| entry.started.saturating_add(span));
            let closed = deadline.map_or(closed, |deadline| closed.min(deadline));
            if now < closed {
                entry.place = Some(Place { at: closed, due: since });
                self.later.insert((closed, since, job));
                continue;
            }
            if let Some(rate) = &mut self.rate
                && let Err(free) = rate.take(now)
            {
                self.due.insert((since, job));
                return Turn::NotBefore(free);
            }
            entry.place = None;
            let attempt = entry.course.begin_look();
            return Turn::Look(Look { job, attempt, ticket: entry.ticket, began: now, due: since });
        }
        self.later.first().map_or(Turn::Nobody, |(at, ..)| Turn::NotBefore(*at))
    }

    /// Takes what a look saw, and says what is to be told of it: an event, the end, or both. `None`
    /// where the wait is not there any more.
    pub(crate) fn observe(
        &mut self,
        look: Look,
        pace: &Pace,
        now: Duration,
        seen: Result<Snapshot, Error>,
    ) -> Option<(Option<Event>, Option<Event>)> {
        let entry = self.jobs.get_mut(&look.job).filter(|entry| entry.ticket == look.ticket)?;
        let since = |time: Duration| time.saturating_sub(entry.started);
        let (event, next) = entry.course.observe(&look.job, pace, since(look.began), since(now), seen);
        match next {
            Next::LookAt(at) => {
                let at = entry.started.saturating_add(at);
                let hinted = std::mem::take(&mut entry.hinted);
                entry.place = Some(Place { at, due: at });
                self.later.insert((at, at, look.job.clone()));
                if hinted {
                    self.hint(&look.job, now);
                }
                Some((event, None))
            }
            Next::Ended(mut end) => {
                if let Err(error) = &mut end
                    && let Some(early) = error.early_mut()
                    && early.last_error.is_none()
                {
                    let recalled = entry.course.trouble().map(Error::recalled);
                    early.last_error = recalled.map(|error| error.about(&look.job));
                }
                self.jobs.remove(&look.job);
                Some((event, Some(Event::Ended(end))))
            }
        }
    }

    /// Puts a job back in its place: what the look saw says nothing of the service.
    pub(crate) fn put_back(&mut self, look: Look) {
        if let Some(entry) = self.jobs.get_mut(&look.job)
            && entry.ticket == look.ticket
        {
            entry.place = Some(Place { at: look.due, due: look.due });
            self.due.insert((look.due, look.job));
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

/// A bound on looks per time: the generic cell rate algorithm.
#[derive(Debug)]
struct Rate {
    spacing: Duration,
    /// When the next look would be made if all came as late as they may.
    next: Duration,
}

impl Rate {
    /// Timers are no finer than a millisecond: what a late one missed is caught up, so far.
    const TOLERANCE: Duration = Duration::from_millis(10);

    /// Takes the place of one look, or says when there is one.
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
