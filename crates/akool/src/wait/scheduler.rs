//! Which job to poll next: a due queue and a throttle, both pure.
//!
//! Times count from the beginning of a set. Jobs are numbered by their slot in the set. The job that is overdue the
//! longest comes first, so that none is passed over for ever.

use std::{cmp::Reverse, collections::BinaryHeap, time::Duration};

/// The number of a job in its set.
pub(super) type Slot = u32;

/// What to do next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Next {
    /// Poll the job in this slot, which was due at this time.
    Poll(Slot, Duration),
    /// End the wait for the job in this slot: its timeout passed during a pause that the service asked for.
    Expire(Slot),
    /// Nothing before this time.
    NotBefore(Duration),
    /// Nothing until a poll ends or a job is inserted.
    Idle,
}

/// A pause that the service asked for.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pause {
    /// Nothing is sent before this time.
    pub(super) until: Duration,
    /// When this set resumes, unless a timeout passes first: a little later, so that sets do not resume in step.
    pub(super) continue_at: Duration,
}

impl Pause {
    pub(super) const NONE: Self = Self { until: Duration::ZERO, continue_at: Duration::ZERO };
}

/// The jobs that wait for their next poll, and the bound on polls per second.
#[derive(Debug, Default)]
pub(super) struct Scheduler {
    due: DueQueue,
    throttle: Option<Throttle>,
}

impl Scheduler {
    /// Spaces polls by this much on average. `None` does not.
    pub(super) fn set_spacing(&mut self, spacing: Option<Duration>) {
        self.throttle = spacing.map(|spacing| Throttle { spacing, next: Duration::ZERO });
    }

    /// Makes the job in this slot due at this time, instead of at any other.
    pub(super) fn schedule(&mut self, slot: Slot, at: Duration) {
        self.due.push(slot, at, at);
    }

    /// Takes the job in this slot out of the queue.
    pub(super) fn cancel(&mut self, slot: Slot) {
        self.due.cancel(slot);
    }

    /// Says what to do at this time. `timeout` returns when the wait in a slot times out: its last poll is then, if the
    /// pause is over.
    pub(super) fn next(
        &mut self,
        now: Duration,
        pause: Pause,
        timeout: impl Fn(Slot) -> Option<Duration>,
    ) -> Next {
        loop {
            let Some((slot, at, since)) = self.due.peek() else { return Next::Idle };
            if at > now {
                return Next::NotBefore(at);
            }
            if now < pause.continue_at {
                let until = timeout(slot).map_or(pause.continue_at, |timeout| timeout.min(pause.continue_at));
                if now < until {
                    self.due.pop();
                    // Keeps its place in the order of those that are overdue.
                    self.due.push(slot, until, since);
                    continue;
                }
                if now < pause.until {
                    self.due.pop();
                    return Next::Expire(slot);
                }
            }
            if let Some(Err(free)) = self.throttle.as_mut().map(|throttle| throttle.take(now)) {
                return Next::NotBefore(free);
            }
            self.due.pop();
            return Next::Poll(slot, since);
        }
    }
}

/// A priority queue of slots by time, in which a slot can be moved and cancelled.
///
/// A slot that is moved leaves an entry behind, which is skipped by its version.
#[derive(Debug, Default)]
pub(super) struct DueQueue {
    heap: BinaryHeap<Reverse<Entry>>,
    /// For each slot, the version of its entry, and whether it has one.
    slots: Vec<(u32, bool)>,
    stale: usize,
}

/// Ordered by time, and of two at the same time by how long they are due.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Entry {
    at: Nanos,
    since: Nanos,
    slot: Slot,
    version: u32,
}

/// A time in half the size of a [`Duration`]. Times after 584 years are cut off.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Nanos(u64);

impl From<Duration> for Nanos {
    fn from(duration: Duration) -> Self {
        Self(u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX))
    }
}

impl From<Nanos> for Duration {
    fn from(nanos: Nanos) -> Self {
        Self::from_nanos(nanos.0)
    }
}

impl DueQueue {
    /// Puts a slot at this time, instead of at any other. `since` orders those at the same time.
    pub(super) fn push(&mut self, slot: Slot, at: Duration, since: Duration) {
        self.cancel(slot);
        let index = slot as usize;
        if self.slots.len() <= index {
            self.slots.resize(index + 1, (0, false));
        }
        let (version, queued) = &mut self.slots[index];
        (*version, *queued) = (version.wrapping_add(1), true);
        self.heap.push(Reverse(Entry { at: at.into(), since: since.into(), slot, version: *version }));
    }

    /// Takes a slot out, if it is in.
    pub(super) fn cancel(&mut self, slot: Slot) {
        /// Below this, stale entries are not worth a pass over the heap.
        const FEW: usize = 64;
        if let Some((_, queued)) = self.slots.get_mut(slot as usize)
            && std::mem::take(queued)
        {
            self.stale += 1;
            if self.stale > FEW && self.stale > self.heap.len() / 2 {
                let slots = &self.slots;
                self.heap.retain(|Reverse(entry)| is_current(slots, entry));
                self.stale = 0;
            }
        }
    }

    /// The first slot, its time, and since when it is due.
    pub(super) fn peek(&mut self) -> Option<(Slot, Duration, Duration)> {
        while let Some(Reverse(entry)) = self.heap.peek().copied() {
            if is_current(&self.slots, &entry) {
                return Some((entry.slot, entry.at.into(), entry.since.into()));
            }
            self.heap.pop();
            self.stale = self.stale.saturating_sub(1);
        }
        None
    }

    /// Takes the first slot out.
    pub(super) fn pop(&mut self) -> Option<Slot> {
        let (slot, ..) = self.peek()?;
        self.heap.pop();
        self.slots[slot as usize].1 = false;
        Some(slot)
    }
}

fn is_current(slots: &[(u32, bool)], entry: &Entry) -> bool {
    slots[entry.slot as usize] == (entry.version, true)
}

/// A bound on polls per time: the generic cell rate algorithm.
#[derive(Debug)]
struct Throttle {
    spacing: Duration,
    /// When the next poll would begin if all began as late as they may.
    next: Duration,
}

impl Throttle {
    /// Timers are no finer than a millisecond. What a late one missed is made up for, up to this.
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
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    const fn secs(secs: u64) -> Duration {
        Duration::from_secs(secs)
    }

    fn next(scheduler: &mut Scheduler, now: u64) -> Next {
        scheduler.next(secs(now), Pause::NONE, |_| None)
    }

    #[test]
    fn the_job_that_is_overdue_the_longest_comes_first() {
        let mut scheduler = Scheduler::default();
        for (slot, at) in [(0, 5), (1, 3), (2, 9), (3, 4)] {
            scheduler.schedule(slot, secs(at));
        }
        assert_eq!(next(&mut scheduler, 2), Next::NotBefore(secs(3)));
        for (slot, due) in [(1, 3), (3, 4), (0, 5)] {
            assert_eq!(next(&mut scheduler, 6), Next::Poll(slot, secs(due)));
        }
        assert_eq!(next(&mut scheduler, 6), Next::NotBefore(secs(9)));
        scheduler.cancel(2);
        assert_eq!(next(&mut scheduler, 100), Next::Idle);
    }

    #[test]
    fn a_job_that_is_scheduled_again_is_due_at_the_new_time_only() {
        let mut scheduler = Scheduler::default();
        scheduler.schedule(0, secs(9));
        scheduler.schedule(0, secs(2));
        assert_eq!(next(&mut scheduler, 10), Next::Poll(0, secs(2)));
        assert_eq!(next(&mut scheduler, 10), Next::Idle);
        scheduler.schedule(0, secs(1));
        scheduler.schedule(0, secs(20));
        assert_eq!(next(&mut scheduler, 10), Next::NotBefore(secs(20)));
    }

    const PAUSE: Pause = Pause { until: secs(50), continue_at: secs(55) };

    #[test]
    fn a_timeout_right_after_a_pause_still_gets_its_last_poll() {
        let mut scheduler = Scheduler::default();
        scheduler.schedule(0, secs(1));
        let timeout = |_| Some(secs(52));
        assert_eq!(scheduler.next(secs(2), PAUSE, timeout), Next::NotBefore(secs(52)));
        assert_eq!(scheduler.next(secs(52), PAUSE, timeout), Next::Poll(0, secs(1)));
    }

    #[test]
    fn a_timeout_at_the_end_of_a_pause_still_gets_its_last_poll() {
        let mut scheduler = Scheduler::default();
        scheduler.schedule(0, secs(1));
        let timeout = |_| Some(secs(50));
        assert_eq!(scheduler.next(secs(2), PAUSE, timeout), Next::NotBefore(secs(50)));
        assert_eq!(scheduler.next(secs(50), PAUSE, timeout), Next::Poll(0, secs(1)));
    }

    #[test]
    fn a_job_that_is_moved_often_leaves_few_entries_behind() {
        let mut queue = DueQueue::default();
        for time in 0..10_000 {
            queue.push(0, secs(time), secs(time));
            assert!(queue.heap.len() <= 67, "{}", queue.heap.len());
        }
    }

    #[test]
    fn a_pause_holds_back_all_and_keeps_their_order() {
        let mut scheduler = Scheduler::default();
        for (slot, at) in [(0, 20), (1, 10), (2, 30)] {
            scheduler.schedule(slot, secs(at));
        }
        let paused = |scheduler: &mut Scheduler, now| scheduler.next(secs(now), PAUSE, |_| None);
        assert_eq!(paused(&mut scheduler, 10), Next::NotBefore(secs(20)));
        assert_eq!(paused(&mut scheduler, 40), Next::NotBefore(secs(55)));
        for (slot, due) in [(1, 10), (0, 20), (2, 30)] {
            assert_eq!(paused(&mut scheduler, 55), Next::Poll(slot, secs(due)));
        }
    }

    #[test]
    fn a_timeout_during_a_pause_ends_the_wait_without_a_poll() {
        let mut scheduler = Scheduler::default();
        scheduler.schedule(0, secs(1));
        scheduler.schedule(1, secs(1));
        let timeout = |slot| (slot == 1).then_some(secs(30));
        assert_eq!(scheduler.next(secs(2), PAUSE, timeout), Next::NotBefore(secs(30)));
        assert_eq!(scheduler.next(secs(30), PAUSE, timeout), Next::Expire(1));
        assert_eq!(scheduler.next(secs(30), PAUSE, timeout), Next::NotBefore(secs(55)));
        assert_eq!(scheduler.next(secs(55), PAUSE, timeout), Next::Poll(0, secs(1)));
    }

    #[test]
    fn the_throttle_spaces_polls_and_makes_up_for_a_late_timer() {
        let mut scheduler = Scheduler::default();
        scheduler.set_spacing(Some(Duration::from_millis(100)));
        for slot in 0..4 {
            scheduler.schedule(slot, Duration::ZERO);
        }
        let mut at = |millis| scheduler.next(Duration::from_millis(millis), Pause::NONE, |_| None);
        assert!(matches!(at(0), Next::Poll(..)));
        assert_eq!(at(1), Next::NotBefore(Duration::from_millis(90)));
        assert!(matches!(at(95), Next::Poll(..)));
        assert_eq!(at(95), Next::NotBefore(Duration::from_millis(190)));
        assert!(matches!(at(500), Next::Poll(..)));
        assert_eq!(at(500), Next::NotBefore(Duration::from_millis(590)));
    }

    #[test]
    fn times_that_are_far_away_do_no_harm() {
        let mut scheduler = Scheduler::default();
        scheduler.schedule(0, Duration::MAX);
        assert!(matches!(next(&mut scheduler, 0), Next::NotBefore(at) if at > secs(1 << 33)));
        scheduler.set_spacing(Some(Duration::MAX));
        scheduler.schedule(1, secs(0));
        scheduler.schedule(2, secs(0));
        assert!(matches!(next(&mut scheduler, 0), Next::Poll(..)));
        assert!(matches!(next(&mut scheduler, 0), Next::NotBefore(_)));
    }

    proptest! {
        /// Against a map that is searched in full.
        #[test]
        fn the_queue_is_a_priority_queue_that_forgets_nothing(
            steps in proptest::collection::vec((0..12_u32, proptest::option::of(0..50_u64)), 1..600),
        ) {
            let mut queue = DueQueue::default();
            let mut model: BTreeMap<Slot, Duration> = BTreeMap::new();
            for (slot, step) in steps {
                match step {
                    Some(at) => {
                        queue.push(slot, secs(at), secs(at));
                        model.insert(slot, secs(at));
                    }
                    None if slot < 6 => {
                        queue.cancel(slot);
                        model.remove(&slot);
                    }
                    None => {
                        let first = model.iter().min_by_key(|(slot, at)| (**at, **slot)).map(|(slot, _)| *slot);
                        prop_assert_eq!(queue.pop(), first);
                        first.map(|slot| model.remove(&slot));
                    }
                }
                prop_assert!(queue.heap.len() <= 2 * model.len() + 65, "stale entries pile up");
            }
            while let Some(slot) = queue.pop() {
                prop_assert!(model.remove(&slot).is_some());
            }
            prop_assert!(model.is_empty(), "jobs were lost");
        }
    }
}
