//! The section `watch`: what is said about models, and how much may be spent on it.

use std::ops::RangeInclusive;

use serde::{Deserialize, Serialize};
use tollgate_types::Span;

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct WatchConfig {
    /// Most reasons that the model adds to those of rules where the outcome is not approve; 0 adds none.
    pub reasons_max: usize,
    /// CPU that challengers may use together, as a share of one core in percent; beyond, they leave decisions out.
    pub challengers_cpu_percent: u32,
    /// How far back inputs and scores are compared with those of training.
    pub drift_window_s: u64,
}

impl Default for WatchConfig {
    fn default() -> Self {
        Self {
            reasons_max: 3,
            challengers_cpu_percent: 25,
            drift_window_s: 3_600,
        }
    }
}

impl WatchConfig {
    /// Holds each value against the range it may have.
    pub(super) fn ranges(&self, range: &mut impl FnMut(&str, u64, RangeInclusive<u64>)) {
        let reasons_max = u64::try_from(self.reasons_max).unwrap_or(u64::MAX);
        range("watch.reasons_max", reasons_max, 0..=20);
        let percent = self.challengers_cpu_percent.into();
        range("watch.challengers_cpu_percent", percent, 1..=10_000);
        range("watch.drift_window_s", self.drift_window_s, 60..=86_400);
    }

    /// Seconds of CPU per second.
    pub(crate) fn challengers_share(&self) -> f64 {
        f64::from(self.challengers_cpu_percent) / 100.0
    }

    pub(crate) fn drift_window(&self) -> Span {
        Span::from_seconds(i64::try_from(self.drift_window_s).unwrap_or(i64::MAX))
    }
}
