//! How often faults happen: [`Times`], and the queue of injected faults.

use std::collections::VecDeque;

/// How often a [`Fault`](crate::Fault) happens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Times {
    /// To the next request only.
    Once,
    /// To this many requests.
    N(u32),
    /// Until [`MockServer::clear_faults`](crate::MockServer::clear_faults).
    Always,
    /// To each request with this probability, until [`MockServer::clear_faults`](crate::MockServer::clear_faults). The
    /// same seed selects the same requests. Other requests get the faults that were injected later.
    WithProbability {
        /// The probability in percent.
        percent: u8,
        /// The seed of the random numbers.
        seed: u64,
    },
}

impl Times {
    /// Decides whether the fault happens to this request, and counts it.
    pub(crate) fn fires(&mut self) -> bool {
        match self {
            Self::Once | Self::Always => true,
            Self::N(0) => false,
            Self::N(left) => {
                *left -= 1;
                true
            }
            Self::WithProbability { percent, seed } => {
                // SplitMix64: small, and reproducible on every platform.
                *seed = seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
                let mut drawn = *seed;
                drawn = (drawn ^ (drawn >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
                drawn = (drawn ^ (drawn >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
                (drawn ^ (drawn >> 31)) % 100 < u64::from(*percent)
            }
        }
    }

    /// Whether the fault is used up, after it has happened.
    pub(crate) fn is_exhausted(self) -> bool {
        matches!(self, Self::Once | Self::N(0))
    }

    /// How often the fault must still happen, if that is limited.
    pub(crate) fn remaining(self) -> Option<u32> {
        match self {
            Self::Once => Some(1),
            Self::N(left) => Some(left).filter(|left| *left > 0),
            Self::Always | Self::WithProbability { .. } => None,
        }
    }
}

/// A fault, and how often it happens.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Injected<F> {
    pub(crate) fault: F,
    pub(crate) times: Times,
    /// Whether the request counts in the timeline of its job.
    pub(crate) advances: bool,
}

/// Injected faults, in the order of injection.
#[derive(Clone, Debug)]
pub(crate) struct FaultQueue<F>(VecDeque<Injected<F>>);

impl<F> Default for FaultQueue<F> {
    fn default() -> Self {
        Self(VecDeque::new())
    }
}

impl<F: Copy> FaultQueue<F> {
    pub(crate) fn push(&mut self, fault: F, times: Times) {
        self.add(Injected { fault, times, advances: false });
    }

    pub(crate) fn add(&mut self, injected: Injected<F>) {
        self.0.push_back(injected);
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Injected<F>> {
        self.0.iter()
    }

    pub(crate) fn clear(&mut self) {
        self.0.clear();
    }

    /// Takes the next fault. A fault with a probability that does not happen this time leaves the request to the
    /// faults behind it.
    pub(crate) fn next(&mut self) -> Option<Injected<F>> {
        let position = self.0.iter_mut().position(|injected| injected.times.fires())?;
        let injected = self.0.get(position).copied()?;
        if injected.times.is_exhausted() {
            self.0.remove(position);
        }
        Some(injected)
    }

    /// Returns the faults that must still happen a number of times.
    pub(crate) fn remaining(&self) -> impl Iterator<Item = (F, u32)> {
        self.0.iter().filter_map(|injected| Some((injected.fault, injected.times.remaining()?)))
    }
}
