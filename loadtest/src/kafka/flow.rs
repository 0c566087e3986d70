//! How far the publisher may run ahead of what the service has applied.
//!
//! The embedded broker keeps only about 5 MB per partition: history that is published faster than it is
//! consumed is lost. A window of records bounds what is on its way.

use std::sync::atomic::{AtomicU64, Ordering};

/// Counts what was published and what was applied since the start.
pub(crate) struct Flow {
    ahead_max: u64,
    /// What the service had applied before we began.
    baseline: u64,
    published: AtomicU64,
    applied: AtomicU64,
}

impl Flow {
    pub(crate) const fn new(ahead_max: u64, baseline: u64) -> Self {
        Self {
            ahead_max,
            baseline,
            published: AtomicU64::new(0),
            applied: AtomicU64::new(0),
        }
    }

    pub(crate) fn published(&self) -> u64 {
        self.published.load(Ordering::Relaxed)
    }

    pub(crate) fn applied(&self) -> u64 {
        self.applied.load(Ordering::Relaxed)
    }

    pub(crate) fn count_published(&self) {
        self.published.fetch_add(1, Ordering::Relaxed);
    }

    /// Takes a new reading of the service's counter. Readings may arrive out of order and never go back.
    pub(crate) fn observe(&self, counter: u64) {
        self.applied
            .fetch_max(counter.saturating_sub(self.baseline), Ordering::Relaxed);
    }

    /// Whether one more record may be published.
    pub(crate) fn has_room(&self) -> bool {
        self.published().saturating_sub(self.applied()) < self.ahead_max
    }

    /// Whether everything that was published has been applied.
    pub(crate) fn is_drained(&self) -> bool {
        self.applied() >= self.published()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_window_closes_when_full_and_opens_as_records_are_applied() {
        let flow = Flow::new(3, 100);
        assert!(flow.is_drained());
        for _ in 0..3 {
            assert!(flow.has_room());
            flow.count_published();
        }
        assert!(!flow.has_room());
        flow.observe(100);
        assert!(
            !flow.has_room(),
            "what was applied before the start does not count"
        );
        flow.observe(101);
        assert!(flow.has_room());
        assert!(!flow.is_drained());
        flow.observe(103);
        assert!(flow.is_drained());
    }

    #[test]
    fn an_old_reading_does_not_take_back_a_newer_one() {
        let flow = Flow::new(10, 5);
        flow.observe(9);
        flow.observe(7);
        assert_eq!(flow.applied(), 4);
        flow.observe(0);
        assert_eq!(flow.applied(), 4);
    }
}
