//! The server's clock: it runs with the machine's, until a test stops it or sets it forward.

use std::time::{Duration, SystemTime};

/// A clock that can be stopped and advanced. It never goes back.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Clock {
    /// The time that was set, and the machine's time at which the clock ran on from there (`None` if it is stopped).
    set: Option<(SystemTime, Option<SystemTime>)>,
}

impl Clock {
    /// Returns the time. `real` is the machine's.
    pub(crate) fn at(&self, real: SystemTime) -> SystemTime {
        match self.set {
            None => real,
            Some((time, None)) => time,
            Some((time, Some(since))) => later(time, real.duration_since(since).unwrap_or_default()),
        }
    }

    pub(crate) fn now(&self) -> SystemTime {
        self.at(SystemTime::now())
    }

    pub(crate) fn is_stopped(&self) -> bool {
        matches!(self.set, Some((_, None)))
    }

    pub(crate) fn stop(&mut self, real: SystemTime) {
        self.set = Some((self.at(real), None));
    }

    pub(crate) fn start(&mut self, real: SystemTime) {
        self.set = Some((self.at(real), Some(real)));
    }

    pub(crate) fn advance(&mut self, by: Duration, real: SystemTime) {
        let since = (!self.is_stopped()).then_some(real);
        self.set = Some((later(self.at(real), by), since));
    }
}

/// Adds a duration. A time that cannot be written in a header (after the year 9999) is not exceeded.
pub(crate) fn later(time: SystemTime, by: Duration) -> SystemTime {
    const END: Duration = Duration::from_secs(253_402_300_799);
    let end = SystemTime::UNIX_EPOCH + END;
    time.checked_add(by).map_or(end, |later| later.min(end.max(time)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_stops_advances_and_runs_on_without_a_jump() {
        let at = |seconds| SystemTime::UNIX_EPOCH + Duration::from_secs(seconds);
        let mut clock = Clock::default();
        assert_eq!(clock.at(at(5)), at(5));
        clock.stop(at(10));
        assert_eq!(clock.at(at(100)), at(10));
        clock.advance(Duration::from_secs(7200), at(100));
        assert_eq!(clock.at(at(200)), at(7210));
        clock.start(at(200));
        assert_eq!((clock.at(at(201)), clock.at(at(199))), (at(7211), at(7210)));
        clock.advance(Duration::from_secs(9), at(201));
        assert_eq!(clock.at(at(202)), at(7221));
        clock.advance(Duration::MAX, at(202));
        assert_eq!(clock.at(at(203)), at(253_402_300_799));
        assert!(!clock.is_stopped());
    }
}
