//! One pace for all waits of a client: told to slow down, they do as a whole.

use std::{
    sync::{Mutex, PoisonError},
    time::Duration,
};

use tokio::time::Instant;

/// Until when the service asked not to be looked at. Shared by the clones of a client.
#[derive(Debug, Default)]
pub(crate) struct Throttle(Mutex<Option<Instant>>);

impl Throttle {
    /// The service asks all polls of this client to wait this long.
    pub(crate) fn pause_for(&self, pause: Duration) {
        let until = Instant::now().checked_add(pause);
        let mut pace = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        *pace = (*pace).max(until);
    }

    /// Until when the service asked not to be looked at, be it past.
    pub(crate) fn until(&self) -> Option<Instant> {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How long a poll has to wait still.
    pub(crate) fn remaining(&self) -> Duration {
        self.until().map_or(Duration::ZERO, |until| until.saturating_duration_since(Instant::now()))
    }
}
