//! Durations as text: [`ShortDuration`].

use std::{fmt, time::Duration};

/// A duration for people, without fractions that say nothing.
///
/// ```
/// use std::time::Duration;
/// use akool::ShortDuration;
///
/// let text = |millis| ShortDuration(Duration::from_millis(millis)).to_string();
/// assert_eq!(text(500), "0.5 s");
/// assert_eq!(text(185_000), "3 min 5 s");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ShortDuration(pub Duration);

impl fmt::Display for ShortDuration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let secs = self.0.as_secs();
        match (secs / 3600, secs / 60 % 60, secs % 60) {
            (0, 0, 0..10) => write!(f, "{:.1} s", self.0.as_secs_f64()),
            (0, 0, s) => write!(f, "{s} s"),
            (0, m, s) => write!(f, "{m} min {s} s"),
            (h, m, _) => write!(f, "{h} h {m} min"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_rounded_for_people() {
        for (millis, wanted) in [
            (1_500, "1.5 s"),
            (9_940, "9.9 s"),
            (10_000, "10 s"),
            (59_900, "59 s"),
            (61_000, "1 min 1 s"),
            (3_599_000, "59 min 59 s"),
            (3_661_000, "1 h 1 min"),
            (90_061_000, "25 h 1 min"),
        ] {
            assert_eq!(ShortDuration(Duration::from_millis(millis)).to_string(), wanted);
        }
    }
}
