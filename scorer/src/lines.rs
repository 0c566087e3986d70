//! Lines of the log that every request may cause. They are written where answers are waited for, and whoever reads them may be
//! slow, so the first few are written and then one for many.

use std::sync::atomic::{AtomicU64, Ordering};

/// Enough to see what it is that happens.
const FIRST: u64 = 10;

/// Of those after the first.
const PER_LINE: u64 = 1_000;

/// Counts what may be told of.
#[derive(Debug)]
pub(crate) struct Lines(AtomicU64);

impl Lines {
    pub(crate) const fn new() -> Self {
        Self(AtomicU64::new(0))
    }

    /// It has happened again. The how manieth time, if there is to be a line about it.
    pub(crate) fn next(&self) -> Option<u64> {
        let count = self.0.fetch_add(1, Ordering::Relaxed) + 1;
        is_told(count).then_some(count)
    }
}

/// Whether there is a line about what has happened for the `count`th time.
pub(crate) const fn is_told(count: u64) -> bool {
    count <= FIRST || count.is_multiple_of(PER_LINE)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_few_are_told_and_then_one_for_many() {
        let lines = Lines::new();
        let told: Vec<u64> = (0..2_500).filter_map(|_| lines.next()).collect();
        assert_eq!(told, [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 1_000, 2_000]);
    }
}
