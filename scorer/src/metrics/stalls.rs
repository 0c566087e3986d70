//! How long the machine stood still, and which late answers that explains.

use std::time::Duration;

use prometheus::{Counter, Gauge, IntCounter};

use super::Maker;

#[derive(Debug, Clone)]
pub(crate) struct StallMetrics {
    pub(crate) late_stalled: IntCounter,
    stalls: IntCounter,
    seconds: Counter,
    seconds_max: Gauge,
}

impl StallMetrics {
    pub(super) fn new(make: &Maker) -> Result<Self, prometheus::Error> {
        Ok(Self {
            late_stalled: make.counter(
                "late_stalled",
                "Late answers that are explained by stalls of the whole process; part of tollgate_late_total.",
            )?,
            stalls: make.counter(
                "stalls",
                "Times of ten milliseconds and more in which the machine ran nothing of the process.",
            )?,
            seconds: make.seconds("stall_seconds", "How long they took together.")?,
            seconds_max: make.seconds_gauge("stall_seconds_max", "How long the longest took.")?,
        })
    }

    pub(crate) fn note_stall(&self, stalled: Duration) {
        let seconds = stalled.as_secs_f64();
        self.stalls.inc();
        self.seconds.inc_by(seconds);
        // Only one thread sets it.
        self.seconds_max.set(self.seconds_max.get().max(seconds));
    }
}
