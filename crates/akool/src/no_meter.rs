//! In place of `meter.rs` in a client without the feature `metrics`: nothing is recorded.

use std::time::Duration;

#[inline(always)]
pub(crate) fn requested(_created: impl IntoIterator<Item = Option<f64>>, _unknown: usize) {}

#[inline(always)]
pub(crate) fn polled() {}

#[inline(always)]
pub(crate) fn throttled(_pause: Duration) {}

pub(crate) struct Waiting;

impl Waiting {
    #[inline(always)]
    pub(crate) fn begin() -> Self {
        Self
    }
}
