//! How much of a core writing takes: some hundred microseconds of work at a time, and then a rest.
//!
//! A low priority alone does not keep requests from waiting: one that wakes on the core at which a snapshot is being written may find
//! the scheduler unwilling to interrupt a slice that has begun, and all of them share memory and caches with it. So work is
//! done in slices that are short beside the time of a request, however long writing lasts for it. Once the service stops nothing
//! is asked any more, and there is no rest.

use std::cell::Cell;
use std::time::{Duration, Instant};

use super::Parts;
use crate::clock;

/// What is done without a rest: short beside a request, long beside what a rest costs.
const SLICE: Duration = Duration::from_micros(200);

/// Longer than any work between two rests takes: beyond, the thread was kept from working, by a disk for example, and that is
/// nothing to rest from.
const SLICE_MAX: Duration = Duration::from_millis(5);

pub(super) struct Pace<'p> {
    parts: &'p Parts,
    /// 100: without rests.
    core_percent: Cell<u32>,
    /// When the slice began.
    began: Cell<Instant>,
}

impl<'p> Pace<'p> {
    pub(super) fn new(parts: &'p Parts) -> Self {
        Self {
            parts,
            core_percent: Cell::new(parts.config.core_percent),
            began: Cell::new(clock::instant()),
        }
    }

    /// Goes on without rests, and returns whether it had any until now.
    pub(super) fn hurry(&self) -> bool {
        self.core_percent.replace(100) < 100
    }

    /// Between two pieces of work: rests if it is time to.
    pub(super) fn rest(&self) {
        let core_percent = self.core_percent.get();
        if core_percent >= 100 {
            return;
        }
        let worked = clock::instant().saturating_duration_since(self.began.get());
        if worked < SLICE {
            return;
        }
        if self.parts.is_ending() {
            self.core_percent.set(100);
            return;
        }
        std::thread::sleep(rest_from(worked, core_percent));
        self.began.set(clock::instant());
    }
}

/// How long to rest from so much work, so that it takes no more than so much of a core.
fn rest_from(worked: Duration, core_percent: u32) -> Duration {
    let core_percent = core_percent.clamp(1, 100);
    worked.min(SLICE_MAX) * (100 - core_percent) / core_percent
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rests_leave_work_its_share_of_a_core() {
        let micros = Duration::from_micros;
        assert_eq!(rest_from(micros(200), 100), Duration::ZERO);
        assert_eq!(rest_from(micros(200), 50), micros(200));
        assert_eq!(rest_from(micros(300), 25), micros(900));
        assert_eq!(rest_from(micros(200), 1), micros(19_800));
        let stuck = Duration::from_secs(60);
        assert_eq!(rest_from(stuck, 50), SLICE_MAX, "a disk that was stuck");
    }
}
