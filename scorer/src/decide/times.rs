//! When a decision was how far: for the decision log, which says how long each step took.

use std::time::{Duration, Instant};

use super::ModelTimings;

/// Moments of one decision; those of steps that were not taken are absent.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Times {
    /// There was capacity for it.
    pub(crate) admitted: Option<Instant>,
    /// The request was laid out, counted, and answered from itself alone.
    pub(crate) begun: Option<Instant>,
    /// Histories were read and named features computed.
    pub(crate) features_read: Option<Instant>,
    /// The rules that need no score were asked.
    pub(crate) rules_asked: Option<Instant>,
}

impl Times {
    /// From laying out the request to knowing its features.
    pub(crate) fn features(&self) -> Option<Duration> {
        between(self.begun, self.features_read)
    }

    /// For asking the rules that need no score.
    pub(crate) fn rules(&self) -> Option<Duration> {
        between(self.features_read.or(self.begun), self.rules_asked)
    }

    /// From an arrival until there was capacity.
    pub(crate) fn until_admitted(&self, arrived: Instant) -> Option<Duration> {
        between(Some(arrived), self.admitted)
    }
}

impl ModelTimings {
    /// From asking to the answer.
    pub(crate) fn length(self) -> Duration {
        self.answered.saturating_duration_since(self.asked)
    }
}

fn between(from: Option<Instant>, to: Option<Instant>) -> Option<Duration> {
    Some(to?.saturating_duration_since(from?))
}
