//! Admission: how many are decided at once, how long they waited for it, and who was shed.

use std::time::Duration;

use prometheus::{Histogram, IntCounter, IntCounterVec, IntGauge};

use super::Maker;
use crate::admit::{Load, Priority, Shed};

#[derive(Debug, Clone)]
pub(crate) struct AdmissionMetrics {
    limit: IntGauge,
    in_progress: IntGauge,
    waiting: IntGauge,
    sheds: IntCounterVec,
    age: Histogram,
    pub(crate) priority_unknown: IntCounter,
}

impl AdmissionMetrics {
    /// A request of this age was admitted, or shed.
    pub(crate) fn note(&self, priority: Priority, age: Duration, shed: Option<&Shed>) {
        self.age.observe(age.as_secs_f64());
        if let Some(shed) = shed {
            let labels = [shed.name(), priority.name()];
            self.sheds.with_label_values(&labels).inc();
        }
    }

    pub(crate) fn note_load(&self, load: &Load) {
        let gauges = [
            (&self.limit, load.limit),
            (&self.in_progress, load.in_progress),
            (&self.waiting, load.waiting),
        ];
        for (gauge, value) in gauges {
            gauge.set(i64::try_from(value).unwrap_or(i64::MAX));
        }
    }

    pub(super) fn new(make: &Maker) -> Result<Self, prometheus::Error> {
        Ok(Self {
            limit: make.gauge("admission_limit", "How many decisions may be in progress at once.")?,
            in_progress: make.gauge("admission_in_progress", "Decisions in progress.")?,
            waiting: make.gauge("admission_waiting", "Requests that wait for a place among them.")?,
            sheds: make.counters_by(
                "sheds",
                "Requests answered from the request alone for want of capacity, by why and by priority.",
                &["reason", "priority"],
            )?,
            age: make.latency("admission", "From arrival to admitted or shed.")?,
            priority_unknown: make.counter(
                "priority_unknown",
                "Requests with a `tollgate-priority` other than high, normal and low, which is ignored.",
            )?,
        })
    }
}
