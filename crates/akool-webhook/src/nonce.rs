//! The messages that were already received: [`NonceStore`], [`MemoryNonces`].

use std::{
    collections::{BTreeSet, HashSet},
    fmt,
    sync::{Arc, Mutex, PoisonError},
    time::SystemTime,
};

/// Remembers the received messages, so that each one is accepted only once.
///
/// A message is identified by its signature, which covers the nonce, the time and the content. The
/// nonce alone is not enough: its length, and whether two messages may share one, is not documented.
///
/// [`verify`](crate::WebhookVerifier::verify) calls the store, and only for valid messages. Several
/// processes that must accept a message only once have to share a store. If that is not worth a network
/// call, use no store: an event is only a trigger, and a second one changes nothing.
///
/// ```
/// use std::{collections::HashSet, sync::Mutex, time::SystemTime};
/// use akool_webhook::{NonceStore, WebhookVerifier};
///
/// /// For tests: remembers everything, and never forgets.
/// #[derive(Default)]
/// struct Everything(Mutex<HashSet<String>>);
///
/// impl NonceStore for Everything {
///     fn remember(&self, message: &str, _now: SystemTime, _until: SystemTime) -> bool {
///         self.0.lock().is_ok_and(|mut messages| messages.insert(message.to_owned()))
///     }
/// }
///
/// let verifier = WebhookVerifier::new("client-id", "sandbox-secret-24-bytes!")?.nonces(Everything::default());
/// # Ok::<(), akool_webhook::InvalidWebhookKey>(())
/// ```
pub trait NonceStore: Send + Sync {
    /// Remembers a message at least until `until`, and returns whether it is new. Both must happen in
    /// one atomic step.
    fn remember(&self, message: &str, now: SystemTime, until: SystemTime) -> bool;
}

impl<S: NonceStore + ?Sized> NonceStore for Arc<S> {
    fn remember(&self, message: &str, now: SystemTime, until: SystemTime) -> bool {
        (**self).remember(message, now, until)
    }
}

/// A [`NonceStore`] of limited size in the memory of this process.
///
/// If it is full of messages that have not expired, it forgets the one that expires first. A repeated
/// message may then count as new, which costs one poll.
///
/// ```
/// use std::time::{Duration, SystemTime};
/// use akool_webhook::{MemoryNonces, NonceStore};
///
/// let nonces = MemoryNonces::new(10_000);
/// let now = SystemTime::now();
/// let until = now + Duration::from_secs(300);
/// assert!(nonces.remember("a message", now, until));
/// assert!(!nonces.remember("a message", now, until));
/// ```
pub struct MemoryNonces {
    capacity: usize,
    received: Mutex<Received>,
}

#[derive(Default)]
struct Received {
    messages: HashSet<Arc<str>>,
    by_expiry: BTreeSet<(SystemTime, Arc<str>)>,
}

impl MemoryNonces {
    /// Creates a store for at most `capacity` messages (at least 1) of about 200 bytes each.
    pub fn new(capacity: usize) -> Self {
        Self { capacity: capacity.max(1), received: Mutex::default() }
    }
}

impl NonceStore for MemoryNonces {
    fn remember(&self, message: &str, now: SystemTime, until: SystemTime) -> bool {
        let mut received = self.received.lock().unwrap_or_else(PoisonError::into_inner);
        while received.by_expiry.first().is_some_and(|(end, _)| *end < now) {
            received.forget_first();
        }
        if received.messages.contains(message) {
            return false;
        }
        if received.messages.len() >= self.capacity {
            received.forget_first();
        }
        let message: Arc<str> = message.into();
        received.messages.insert(Arc::clone(&message));
        received.by_expiry.insert((until, message));
        true
    }
}

impl Received {
    fn forget_first(&mut self) {
        if let Some((_, message)) = self.by_expiry.pop_first() {
            self.messages.remove(&message);
        }
    }
}

impl fmt::Debug for MemoryNonces {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MemoryNonces").field("capacity", &self.capacity).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn at(secs: u64) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(secs)
    }

    #[test]
    fn a_message_is_new_once_until_it_expires() {
        let nonces = MemoryNonces::new(10);
        assert!(nonces.remember("a", at(0), at(5)));
        assert!(!nonces.remember("a", at(5), at(5)));
        assert!(nonces.remember("a", at(6), at(11)));
    }

    #[test]
    fn a_full_store_forgets_the_message_that_expires_first() {
        let nonces = MemoryNonces::new(2);
        assert!(nonces.remember("late", at(0), at(9)));
        assert!(nonces.remember("soon", at(0), at(5)));
        assert!(nonces.remember("third", at(0), at(7)));
        assert!(!nonces.remember("late", at(0), at(9)));
        assert!(nonces.remember("soon", at(0), at(5)));
        for number in 0..1000 {
            nonces.remember(&number.to_string(), at(0), at(9));
        }
        let received = nonces.received.lock().unwrap();
        assert_eq!((received.messages.len(), received.by_expiry.len()), (2, 2));
    }
}
