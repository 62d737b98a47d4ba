//! A worker's permits to call the service: [`Permits`], one for each credential. They are leased from the object
//! `Credential`, several at a time, over the ingress: outside of the journal, since a lost permit costs nothing.

use std::time::{Duration, SystemTime};

use tokio::{sync::Mutex, time::sleep};

use crate::{
    fleet::Fleet,
    limit::{Lease, MAX_AHEAD_MS},
    model::millis,
};

/// A permit that is this old, in milliseconds, is dropped, so that permits do not add up to a burst.
const MAX_PERMIT_AGE_MS: f64 = 30.0;
/// How long a call waits for its permit before it gives up its place.
const MAX_WAIT: Duration = Duration::from_secs(2);

/// Milliseconds since the Unix epoch.
pub(crate) fn now_ms() -> u64 {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map(millis).unwrap_or_default()
}

/// Whether a call may be made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Permit {
    /// Now.
    Granted,
    /// Not before this time, in milliseconds since the Unix epoch.
    NotBefore(u64),
}

/// What was leased for one credential and is not used yet.
pub(crate) struct Permits {
    credential: String,
    leased: Mutex<Leased>,
}

enum Leased {
    Nothing,
    Permits { left: u32, next_ms: f64, step_ms: f64 },
    UnlimitedUntil(u64),
    PausedUntil(u64),
}

impl Permits {
    pub(crate) fn new(credential: &str) -> Self {
        Self { credential: credential.to_owned(), leased: Mutex::new(Leased::Nothing) }
    }

    /// Waits for a permit, for a short time.
    pub(crate) async fn acquire(&self, fleet: &Fleet) -> Result<Permit, crate::FleetError> {
        let began = tokio::time::Instant::now();
        loop {
            // Locked while a lease is asked for: one call for all that wait.
            let mut leased = self.leased.lock().await;
            let now = now_ms();
            match &mut *leased {
                Leased::Permits { left: left @ 1.., next_ms, step_ms } => {
                    let at = *next_ms;
                    *left -= 1;
                    *next_ms += *step_ms;
                    let ahead = at - now as f64;
                    if ahead < -MAX_PERMIT_AGE_MS {
                        continue;
                    }
                    drop(leased);
                    sleep(Duration::from_millis(ahead.max(0.0) as u64)).await;
                    return Ok(self.granted_unless_paused().await);
                }
                Leased::UnlimitedUntil(until) if *until > now => return Ok(Permit::Granted),
                Leased::PausedUntil(until) if *until > now => return Ok(Permit::NotBefore(*until)),
                _ => {}
            }
            match fleet.lease(&self.credential, now).await? {
                Lease::Permits { count, start_ms, step_ms } => {
                    *leased = Leased::Permits { left: count, next_ms: start_ms, step_ms };
                }
                Lease::Unlimited { until_ms } => *leased = Leased::UnlimitedUntil(until_ms),
                Lease::NotBefore { at_ms, is_pause: true } => *leased = Leased::PausedUntil(at_ms),
                Lease::NotBefore { at_ms, is_pause: false } => {
                    if began.elapsed() > MAX_WAIT {
                        // Others have the next second. A poll that comes back later keeps no connection open.
                        return Ok(Permit::NotBefore(at_ms + MAX_AHEAD_MS * 2));
                    }
                    sleep(Duration::from_millis(at_ms.saturating_sub(now).min(MAX_AHEAD_MS))).await;
                }
            }
        }
    }

    async fn granted_unless_paused(&self) -> Permit {
        match *self.leased.lock().await {
            Leased::PausedUntil(until) if until > now_ms() => Permit::NotBefore(until),
            _ => Permit::Granted,
        }
    }

    /// Drops what was leased, because the service asked for a pause.
    pub(crate) async fn pause(&self, until_ms: u64) {
        *self.leased.lock().await = Leased::PausedUntil(until_ms);
    }
}
