//! The rate limit of one credential: [`Limit`]. It has no clock; all times are milliseconds since the Unix epoch.
//!
//! Permits are leased, several at a time, so that a permit does not cost a call. The state is one number: when the next
//! permit is due (the theoretical arrival time of GCRA).

use serde::{Deserialize, Serialize};

/// How many permits a lease has at most.
pub const MAX_PERMITS: u32 = 10;
/// How far ahead permits are leased, in milliseconds.
pub const MAX_AHEAD_MS: u64 = 500;
/// How long a worker may go on without asking, if there is no limit, in milliseconds.
pub const UNLIMITED_FOR_MS: u64 = 1_000;
/// After this part of a pause, in milliseconds, a worker asks again: an operator may have ended it.
pub const MAX_PAUSE_MS: u64 = 60_000;
/// How far the clocks of workers may differ, in milliseconds, before permits of one that is ahead are made void.
const MAX_SKEW_MS: f64 = 5_000.0;

/// The rate limit and the pause of a credential.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Limit {
    /// How many calls per second all workers make together. `None`: as many as they like.
    pub per_second: Option<f64>,
    /// Until when nothing is sent, because the service or an operator asked for a pause. It may be in the past.
    pub paused_until_ms: u64,
    /// When the next permit is due.
    next_permit_ms: f64,
}

/// What a worker may send.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Lease {
    /// This many calls: the first at `start_ms`, each of the others `step_ms` later.
    Permits {
        /// How many.
        count: u32,
        /// When the first call may be sent.
        start_ms: f64,
        /// The time between two calls.
        step_ms: f64,
    },
    /// Any number of calls, until this time.
    Unlimited {
        /// Until when.
        until_ms: u64,
    },
    /// None. Ask again at this time.
    NotBefore {
        /// When to ask again.
        at_ms: u64,
        /// Whether the service, or an operator, asked for a pause.
        is_pause: bool,
    },
}

impl Limit {
    /// A rate without a pause. `None`: no limit.
    pub fn new(per_second: Option<f64>) -> Self {
        Self { per_second, ..Self::default() }
    }

    /// Leases permits at this time.
    ///
    /// ```
    /// use akool_restate::limit::{Lease, Limit};
    ///
    /// let mut limit = Limit::new(Some(100.0));
    /// let Lease::Permits { count, start_ms, step_ms } = limit.lease(1_000) else { unreachable!() };
    /// assert_eq!((count, start_ms, step_ms), (10, 1_000.0, 10.0));
    /// ```
    pub fn lease(&mut self, now_ms: u64) -> Lease {
        if self.paused_until_ms > now_ms {
            let at_ms = self.paused_until_ms.min(now_ms.saturating_add(MAX_PAUSE_MS));
            return Lease::NotBefore { at_ms, is_pause: true };
        }
        let Some(per_second) = self.per_second.filter(|rate| rate.is_finite()).map(|rate| rate.max(0.01))
        else {
            return Lease::Unlimited { until_ms: now_ms.saturating_add(UNLIMITED_FOR_MS) };
        };
        let now = now_ms as f64;
        let step_ms = 1_000.0 / per_second;
        let max_ahead = MAX_AHEAD_MS as f64;
        // No lease reaches further. A clock that is wrong, or a forged one, must not stop all other workers.
        if self.next_permit_ms > now + max_ahead + step_ms.max(max_ahead) + MAX_SKEW_MS {
            self.next_permit_ms = now;
        }
        let start_ms = self.next_permit_ms.max(now);
        if start_ms - now > max_ahead {
            let at_ms = (start_ms as u64).saturating_sub(MAX_AHEAD_MS / 2).max(now_ms.saturating_add(1));
            return Lease::NotBefore { at_ms, is_pause: false };
        }
        let count = ((max_ahead / step_ms) as u32).clamp(1, MAX_PERMITS);
        self.next_permit_ms = start_ms + step_ms * f64::from(count);
        Lease::Permits { count, start_ms, step_ms }
    }

    /// Leases nothing until this time. A pause is never shortened by another one.
    pub fn pause(&mut self, until_ms: u64) {
        self.paused_until_ms = self.paused_until_ms.max(until_ms);
    }

    /// Sets how many calls per second are made. `None` removes the limit.
    pub fn set_rate(&mut self, per_second: Option<f64>) {
        self.per_second = per_second;
        // Permits at a low rate may lie far ahead.
        self.next_permit_ms = 0.0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The times of all permits that are leased when several workers ask every few milliseconds.
    fn permits(limit: &mut Limit, from_ms: u64, to_ms: u64) -> Vec<f64> {
        let mut times = vec![];
        for now in (from_ms..to_ms).step_by(7) {
            if let Lease::Permits { count, start_ms, step_ms } = limit.lease(now) {
                times.extend((0..count).map(|number| start_ms + step_ms * f64::from(number)));
            }
        }
        times
    }

    #[test]
    fn the_rate_holds_in_every_second() {
        for rate in [0.5, 3.0, 100.0, 999.0] {
            let mut limit = Limit::new(Some(rate));
            let times = permits(&mut limit, 5_000, 65_000);
            let expected = rate * 60.0;
            assert!(
                (times.len() as f64 - expected).abs() <= expected * 0.02 + 2.0,
                "{rate}: {}",
                times.len()
            );
            for pair in times.windows(2) {
                assert!(pair[1] - pair[0] >= 1_000.0 / rate - 0.001, "{rate}: {pair:?}");
            }
        }
    }

    #[test]
    fn time_that_nobody_used_is_not_made_up_for() {
        let mut limit = Limit::new(Some(10.0));
        limit.lease(1_000);
        let Lease::Permits { start_ms, .. } = limit.lease(60_000) else { panic!() };
        assert_eq!(start_ms, 60_000.0);
    }

    #[test]
    fn nothing_is_leased_during_a_pause_and_it_is_not_shortened() {
        let mut limit = Limit::new(Some(10.0));
        limit.pause(9_000);
        limit.pause(5_000);
        assert_eq!(limit.lease(8_999), Lease::NotBefore { at_ms: 9_000, is_pause: true });
        assert!(matches!(limit.lease(9_000), Lease::Permits { .. }));
    }

    #[test]
    fn a_long_pause_is_asked_for_again_so_that_its_end_is_noticed() {
        let mut limit = Limit::new(Some(10.0));
        limit.pause(9_000_000);
        let again = Lease::NotBefore { at_ms: 1_000 + MAX_PAUSE_MS, is_pause: true };
        assert_eq!(limit.lease(1_000), again);
        limit.paused_until_ms = 0;
        assert!(matches!(limit.lease(1_000 + MAX_PAUSE_MS), Lease::Permits { .. }));
    }

    #[test]
    fn a_clock_that_is_far_ahead_does_not_stop_the_others() {
        for rate in [0.01, 10.0, 1_000.0] {
            for wrong in [10_000_000, u64::MAX] {
                let mut limit = Limit::new(Some(rate));
                limit.lease(wrong);
                let Lease::Permits { start_ms, .. } = limit.lease(5_000) else { panic!("{rate}, {wrong}") };
                assert_eq!(start_ms, 5_000.0);
            }
        }
        // Without a limit either.
        assert_eq!(Limit::default().lease(u64::MAX), Lease::Unlimited { until_ms: u64::MAX });
    }

    #[test]
    fn without_a_limit_a_worker_asks_once_a_second() {
        assert_eq!(Limit::default().lease(7), Lease::Unlimited { until_ms: 1_007 });
        let nonsense = Limit::new(Some(f64::NAN)).lease(7);
        assert_eq!(nonsense, Lease::Unlimited { until_ms: 1_007 });
        // A rate of zero or less is the lowest rate.
        let mut lowest = Limit::new(Some(-1.0));
        assert!(matches!(lowest.lease(7), Lease::Permits { count: 1, .. }));
    }

    #[test]
    fn stored_state_of_other_versions_is_read() {
        let limit: Limit = serde_json::from_str(r#"{"per_second":5.0,"burst":3}"#).unwrap();
        assert_eq!(limit, Limit::new(Some(5.0)));
    }
}
