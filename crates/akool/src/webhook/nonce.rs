//! Which messages came before: [`NonceStore`], [`MemoryNonces`].

use std::{
    collections::{BTreeSet, HashSet},
    fmt,
    sync::{Arc, Mutex, PoisonError},
    time::SystemTime,
};

/// Remembers the messages that came, so that each is taken once.
///
/// A message is known by its signature, which covers the nonce, the time and the content: how long
/// nonces are, and whether two messages may share one, is not documented.
///
/// It is called within [`verify`](super::WebhookVerifier::verify), for messages whose signature and
/// content are right only. Several processes need one store between them to take a message once; where
/// that is not worth a call over the network, do without: an event is a trigger, and a second one
/// changes nothing.
pub trait NonceStore: Send + Sync {
    /// Remembers a message at least until this time, in one step with the question whether it was
    /// there. `true` where it was not: the message is new.
    fn remember(&self, message: &str, now: SystemTime, until: SystemTime) -> bool;
}

impl<S: NonceStore + ?Sized> NonceStore for Arc<S> {
    fn remember(&self, message: &str, now: SystemTime, until: SystemTime) -> bool {
        (**self).remember(message, now, until)
    }
}

/// A [`NonceStore`] in the memory of this process, with a bound.
///
/// Where it is full of messages that have not expired, the one that expires first is forgotten: then
/// a repeated message may count as new, which costs a poll.
///
/// ```
/// use std::time::{Duration, SystemTime};
/// use akool::webhook::{MemoryNonces, NonceStore};
///
/// let nonces = MemoryNonces::new(10_000);
/// let now = SystemTime::now();
/// let until = now + Duration::from_secs(300);
/// assert!(nonces.remember("a message", now, until));
/// assert!(!nonces.remember("a message", now, until));
/// ```
pub struct MemoryNonces {
    capacity: usize,
    seen: Mutex<Seen>,
}

#[derive(Default)]
struct Seen {
    messages: HashSet<Arc<str>>,
    by_end: BTreeSet<(SystemTime, Arc<str>)>,
}

impl MemoryNonces {
    /// Remembers at most this many messages, of some 200 bytes each; at least one.
    pub fn new(capacity: usize) -> Self {
        Self { capacity: capacity.max(1), seen: Mutex::default() }
    }
}

impl NonceStore for MemoryNonces {
    fn remember(&self, message: &str, now: SystemTime, until: SystemTime) -> bool {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        while seen.by_end.first().is_some_and(|(end, _)| *end < now) {
            seen.forget_first();
        }
        if seen.messages.contains(message) {
            return false;
        }
        if seen.messages.len() >= self.capacity {
            seen.forget_first();
        }
        let message: Arc<str> = message.into();
        seen.messages.insert(Arc::clone(&message));
        seen.by_end.insert((until, message));
        true
    }
}

impl Seen {
    fn forget_first(&mut self) {
        if let Some((_, message)) = self.by_end.pop_first() {
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
    fn memory_is_bounded_and_the_first_to_expire_goes() {
        let nonces = MemoryNonces::new(2);
        assert!(nonces.remember("late", at(0), at(9)));
        assert!(nonces.remember("soon", at(0), at(5)));
        assert!(nonces.remember("third", at(0), at(7)));
        assert!(!nonces.remember("late", at(0), at(9)));
        assert!(nonces.remember("soon", at(0), at(5)));
        for number in 0..1000 {
            nonces.remember(&number.to_string(), at(0), at(9));
        }
        let seen = nonces.seen.lock().unwrap();
        assert_eq!((seen.messages.len(), seen.by_end.len()), (2, 2));
    }
}
