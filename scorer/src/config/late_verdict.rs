//! The section `late_verdict`: full decisions on what was answered without one.

use std::ops::RangeInclusive;
use std::time::Duration;

use serde::{Deserialize, Serialize};

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct LateVerdictConfig {
    pub enabled: bool,
    /// Transactions that may wait, some kilobyte each; beyond, they get no late verdict, and that is counted.
    pub backlog_max: usize,
    /// One that is older than this is given up.
    pub age_max_s: u64,
    /// How long one waits for the model.
    pub model_wait_ms: u64,
    /// Most late verdicts per second, so that catching up after a bad minute is not the next one.
    pub per_second_max: u64,
}

impl Default for LateVerdictConfig {
    fn default() -> Self {
        Self {
            enabled: true,
            backlog_max: 20_000,
            age_max_s: 120,
            model_wait_ms: 1_000,
            per_second_max: 500,
        }
    }
}

impl LateVerdictConfig {
    /// Holds each value against the range it may have. `in_flight_expires_s` is how long an unconfirmed transaction is
    /// among the events.
    pub(super) fn ranges(
        &self,
        in_flight_expires_s: u64,
        range: &mut impl FnMut(&str, u64, RangeInclusive<u64>),
    ) {
        let backlog_max = u64::try_from(self.backlog_max).unwrap_or(u64::MAX);
        range("late_verdict.backlog_max", backlog_max, 1..=10_000_000);
        // Without its echo it is counted no longer than that, and would be decided as if it had not happened.
        let age_max = 1..=in_flight_expires_s.max(1);
        range("late_verdict.age_max_s", self.age_max_s, age_max);
        range("late_verdict.model_wait_ms", self.model_wait_ms, 1..=60_000);
        range(
            "late_verdict.per_second_max",
            self.per_second_max,
            1..=100_000,
        );
    }

    pub(crate) const fn age_max(&self) -> Duration {
        Duration::from_secs(self.age_max_s)
    }

    pub(crate) const fn model_wait(&self) -> Duration {
        Duration::from_millis(self.model_wait_ms)
    }

    /// Least time between two of them.
    pub(crate) fn pause(&self) -> Duration {
        Duration::from_nanos(1_000_000_000 / self.per_second_max.max(1))
    }
}
