//! How often, after which pauses, and for how long a download is retried: [`Retry`] and [`Stall`].

use std::time::Duration;

use akool::MAX_RETRY_AFTER;
use tokio::time::{Instant, timeout};

/// The shortest pause, so that a download never spins.
const MIN_PAUSE: Duration = Duration::from_millis(10);
/// The longest pause that the downloader makes on its own.
const MAX_PAUSE: Duration = Duration::from_secs(60);

/// The retry settings of a downloader.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Retry {
    pub(crate) max_failures: u32,
    pub(crate) first_pause: Duration,
    pub(crate) stall_timeout: Duration,
}

impl Default for Retry {
    fn default() -> Self {
        Self {
            max_failures: 5,
            first_pause: Duration::from_secs(1),
            stall_timeout: Duration::from_secs(2 * 60),
        }
    }
}

impl Retry {
    /// Returns the pause after the `failures`th failed attempt in a row, from 1. `random` is from 0 to 1
    /// and varies the pause by a tenth, so that several downloads do not retry in step.
    pub(crate) fn pause(&self, failures: u32, retry_after: Option<Duration>, random: f64) -> Duration {
        let first = self.first_pause.max(MIN_PAUSE);
        let doubled = first.saturating_mul(1 << failures.saturating_sub(1).min(16));
        let longest = MAX_PAUSE.max(first);
        let varied = doubled.min(longest).as_secs_f64() * (0.9 + 0.2 * random);
        // Only a pause of ages is not a valid duration.
        let pause = Duration::try_from_secs_f64(varied).unwrap_or(longest).clamp(first, longest);
        pause.max(retry_after.unwrap_or_default().min(MAX_RETRY_AFTER))
    }
}

/// The stall timeout of one download. It counts only the time spent waiting for the server, so that a slow disk does
/// not stall a download.
pub(crate) struct Stall {
    timeout: Duration,
    left: Duration,
    furthest: u64,
}

/// The stall timeout has expired.
pub(crate) struct Stalled;

impl Stall {
    pub(crate) fn new(timeout: Duration, position: u64) -> Self {
        Self { timeout, left: timeout, furthest: position }
    }

    /// Records the position up to which data has arrived.
    pub(crate) fn reached(&mut self, position: u64) {
        if position > self.furthest {
            self.furthest = position;
            self.left = self.timeout;
        }
    }

    /// Waits for the server, at most until the timeout expires.
    pub(crate) async fn wait<T>(&mut self, event: impl Future<Output = T>) -> Result<T, Stalled> {
        let start = Instant::now();
        let result = timeout(self.left, event).await.map_err(|_| Stalled);
        self.left = self.left.saturating_sub(start.elapsed());
        result
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn secs(secs: u64) -> Duration {
        Duration::from_secs(secs)
    }

    #[test]
    fn pauses_double_up_to_a_minute() {
        let retry = Retry::default();
        assert_eq!([1, 2, 3, 9].map(|failures| retry.pause(failures, None, 0.5)), [1, 2, 4, 60].map(secs));
        assert!(retry.pause(3, None, 0.0) < retry.pause(3, None, 1.0));
        assert_eq!(retry.pause(u32::MAX, None, 1.0), secs(60));
        let long = Retry { first_pause: Duration::MAX, ..retry };
        assert_eq!([0.0, 1.0].map(|random| long.pause(1, None, random)), [Duration::MAX; 2]);
    }

    #[test]
    fn the_servers_retry_after_is_honoured_up_to_15_minutes() {
        let retry = Retry::default();
        assert_eq!(retry.pause(1, Some(secs(30)), 0.5), secs(30));
        assert_eq!(retry.pause(1, Some(Duration::MAX), 0.5), secs(900));
        assert_eq!(retry.pause(3, Some(secs(1)), 0.5), secs(4));
    }

    #[tokio::test(start_paused = true)]
    async fn only_bytes_beyond_the_furthest_position_extend_the_stall_timeout() {
        let mut stall = Stall::new(secs(10), 100);
        let mut wait = async |position: u64, seconds| {
            stall.reached(position);
            stall.wait(tokio::time::sleep(secs(seconds))).await.is_ok()
        };
        assert!(wait(50, 6).await);
        assert!(wait(101, 6).await);
        assert!(wait(101, 3).await);
        assert!(wait(102, 9).await);
        assert!(!wait(102, 2).await);
    }
}
