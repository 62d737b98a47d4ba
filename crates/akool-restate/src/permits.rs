//! A worker's permits to call the service: [`Permits`], one for each credential. They are leased from the object
//! `Credential`, several at a time, over the ingress: outside of the journal, since a lost permit costs nothing.

use std::{
    sync::atomic::{AtomicU32, AtomicU64, Ordering},
    time::{Duration, SystemTime},
};

use tokio::{sync::Mutex, time::sleep};

use crate::{
    error::FleetError,
    leases::Leases,
    limit::{Lease, MAX_AHEAD_MS},
    model::millis,
};

/// A permit that is this old, in milliseconds, is dropped, so that permits do not add up to a burst.
const MAX_PERMIT_AGE_MS: f64 = 50.0;
/// How much work a worker keeps waiting for permits, in milliseconds at the full rate. More is sent back to the engine,
/// where it keeps no connection open.
const MAX_QUEUE_MS: f64 = 1_000.0;
/// How long work that is sent back stays there at least, in milliseconds.
const SEND_BACK_MS: u64 = 1_000;
/// How long work waits for a permit at most. A lease is itself work for a worker: it can be queued on a connection whose
/// streams are all held by work that waits for this lease, or at a worker that hangs. The engine asks an attempt that has
/// sent nothing for its inactivity timeout to suspend; between a claim and its outcome, that makes a creation unknown.
const MAX_WAIT: Duration = Duration::from_secs(3);

/// Milliseconds since the Unix epoch.
pub(crate) fn now_ms() -> u64 {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map(millis).unwrap_or_default()
}

/// Whether a call may be made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Permit {
    /// Now.
    Granted,
    /// Not before this time, in milliseconds since the Unix epoch: the service, or an operator, asked for a pause.
    Paused(u64),
    /// Not before this time: more work is waiting than the rate permits.
    Later(u64),
}

/// What was leased for one credential and is not used yet.
pub(crate) struct Permits {
    credential: String,
    leased: Mutex<Leased>,
    /// The end of the pause that was asked for last. Not in the lock, which is held during a call.
    paused_until_ms: AtomicU64,
    waiting: AtomicU32,
}

enum Leased {
    Nothing,
    Permits { left: u32, next_ms: f64, step_ms: f64 },
    UnlimitedUntil(u64),
}

/// One call that waits.
struct Waiting<'a>(&'a AtomicU32);

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Permits {
    pub(crate) fn new(credential: &str) -> Self {
        Self {
            credential: credential.to_owned(),
            leased: Mutex::new(Leased::Nothing),
            paused_until_ms: AtomicU64::new(0),
            waiting: AtomicU32::new(0),
        }
    }

    /// Waits for a permit, for a short time.
    pub(crate) async fn acquire(&self, leases: &Leases) -> Result<Permit, FleetError> {
        let permit = tokio::time::timeout(MAX_WAIT, self.wait(leases)).await;
        permit.unwrap_or_else(|_| Ok(Permit::Later(now_ms() + SEND_BACK_MS)))
    }

    async fn wait(&self, leases: &Leases) -> Result<Permit, FleetError> {
        let before = self.waiting.fetch_add(1, Ordering::Relaxed);
        let _waiting = Waiting(&self.waiting);
        loop {
            // Locked while a lease is asked for: one call for all that wait.
            let mut leased = self.leased.lock().await;
            let now = now_ms();
            if let Some(until) = self.paused_until(now) {
                return Ok(Permit::Paused(until));
            }
            match &mut *leased {
                Leased::Permits { step_ms, .. } if f64::from(before) * *step_ms > MAX_QUEUE_MS => {
                    return Ok(Permit::Later(now + SEND_BACK_MS));
                }
                Leased::Permits { left: left @ 1.., next_ms, step_ms } => {
                    let at_ms = *next_ms;
                    *left -= 1;
                    *next_ms += *step_ms;
                    drop(leased);
                    let ahead_ms = (at_ms - now as f64).max(0.0);
                    sleep(Duration::from_millis(ahead_ms as u64)).await;
                    let now = now_ms();
                    if let Some(until) = self.paused_until(now) {
                        return Ok(Permit::Paused(until));
                    }
                    // On a machine with much load, this may be late.
                    if now as f64 - at_ms <= MAX_PERMIT_AGE_MS {
                        return Ok(Permit::Granted);
                    }
                    continue;
                }
                Leased::UnlimitedUntil(until) if *until > now => return Ok(Permit::Granted),
                _ => {}
            }
            match leases.lease(&self.credential, now).await? {
                Lease::Permits { count, start_ms, step_ms } => {
                    *leased = Leased::Permits { left: count, next_ms: start_ms, step_ms };
                }
                Lease::Unlimited { until_ms } => *leased = Leased::UnlimitedUntil(until_ms),
                Lease::NotBefore { at_ms, is_pause: true } => {
                    *leased = Leased::Nothing;
                    self.paused_until_ms.store(at_ms, Ordering::Relaxed);
                }
                Lease::NotBefore { at_ms, is_pause: false } => {
                    sleep(Duration::from_millis(at_ms.saturating_sub(now).min(MAX_AHEAD_MS))).await;
                }
            }
        }
    }

    fn paused_until(&self, now_ms: u64) -> Option<u64> {
        Some(self.paused_until_ms.load(Ordering::Relaxed)).filter(|until| *until > now_ms)
    }

    /// Grants nothing before this time, because the service asked for a pause. What was leased will be too old then.
    pub(crate) fn pause(&self, until_ms: u64) {
        self.paused_until_ms.fetch_max(until_ms, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use tokio::net::TcpListener;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_lease_that_is_not_answered_sends_work_back_to_the_engine() {
        // Accepts connections, and answers nothing.
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        let ingress = crate::ingress::client([address.parse().unwrap()], reqwest::Client::builder()).unwrap();
        let leases = Leases(ingress);
        let permits = Permits::new("default");
        let (one, other) = tokio::join!(permits.acquire(&leases), permits.acquire(&leases));
        for permit in [one, other] {
            assert!(matches!(permit.unwrap(), Permit::Later(_)));
        }
    }
}
