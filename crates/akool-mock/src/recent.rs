//! What the server remembers of one kind: [`Recent`] keeps the latest items, and counts their size.

use std::collections::VecDeque;

/// About how many bytes are remembered at a time, of everything.
pub(crate) const MAX_BYTES: usize = 256 * 1024 * 1024;
/// How many items are kept.
pub(crate) const MAX_KEPT: usize = 10_000;

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
        if self.items.len() > MAX_KEPT {
            self.forget_oldest();
        }
    }

    /// Removes the oldest item. Returns whether there was one.
    pub(crate) fn forget_oldest(&mut self) -> bool {
        let Some((_, bytes)) = self.items.pop_front() else { return false };
        self.bytes -= bytes;
        true
    }

    /// About how many bytes the items take.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
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
        assert_eq!(recent.bytes(), MAX_KEPT * (1 + size_of::<usize>()));
        while recent.forget_oldest() {}
        assert_eq!((recent.iter().len(), recent.bytes()), (0, 0));
    }
}
