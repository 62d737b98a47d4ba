//! What the server remembers: [`Recent`] keeps the latest items within a number and a size.

use std::collections::VecDeque;

/// How many items are kept.
pub(crate) const MAX_KEPT: usize = 10_000;
/// How many bytes of them are kept.
const MAX_BYTES: usize = 32 * 1024 * 1024;

/// The latest items.
#[derive(Clone, Debug)]
pub(crate) struct Recent<T> {
    items: VecDeque<(T, usize)>,
    bytes: usize,
    /// How many were added since the start.
    count: u64,
}

impl<T> Default for Recent<T> {
    fn default() -> Self {
        Self { items: VecDeque::new(), bytes: 0, count: 0 }
    }
}

impl<T> Recent<T> {
    /// Adds an item of about this many bytes.
    pub(crate) fn push(&mut self, item: T, bytes: usize) {
        let bytes = bytes + size_of::<T>();
        self.bytes += bytes;
        self.count += 1;
        self.items.push_back((item, bytes));
        while self.items.len() > MAX_KEPT || self.bytes > MAX_BYTES {
            let Some((_, bytes)) = self.items.pop_front() else { break };
            self.bytes -= bytes;
        }
    }

    /// The items, oldest first.
    pub(crate) fn iter(&self) -> impl DoubleEndedIterator<Item = &T> + ExactSizeIterator {
        self.items.iter().map(|(item, _)| item)
    }

    pub(crate) fn last(&self) -> Option<&T> {
        self.items.back().map(|(item, _)| item)
    }

    pub(crate) fn count(&self) -> u64 {
        self.count
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_items_go_first() {
        let mut recent = Recent::default();
        for number in 0..MAX_KEPT + 5 {
            recent.push(number, 1);
        }
        assert_eq!(
            (recent.iter().len(), recent.iter().next(), recent.last()),
            (MAX_KEPT, Some(&5), Some(&10_004))
        );
        assert_eq!(recent.count(), 10_005);
        for number in 0..100 {
            recent.push(number, 1024 * 1024);
        }
        assert!(recent.bytes <= MAX_BYTES && recent.iter().len() == 31, "{}", recent.iter().len());
        recent.push(7, 2 * MAX_BYTES);
        assert_eq!((recent.iter().len(), recent.bytes), (0, 0));
    }
}
