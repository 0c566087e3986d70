//! Metrics of late verdicts.

use prometheus::{IntCounterVec, IntGauge};
use tollgate_types::Outcome;

use super::Maker;

/// What became of a transaction that was answered without the full decision.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum LateResult {
    /// Its late verdict was handed to the decision log.
    Written,
    /// As many waited as may.
    BacklogFull,
    /// The decision log had no room for it.
    LogFull,
    /// It became too old, and until then there was no room beside requests.
    TooOldNoRoom,
    /// It became too old, and until then ingest was behind.
    TooOldFeaturesLagging,
    /// It became too old, and until then the model was not well, or had too much to do.
    TooOldModel,
    /// The model did not answer it, though well.
    ModelFailed,
    /// The code of the decision failed, or the live policy, which was to make it, does not take the transaction.
    Internal,
    /// The service stopped.
    Stopped,
}

impl LateResult {
    const fn name(self) -> &'static str {
        match self {
            Self::Written => "written",
            Self::BacklogFull => "backlog_full",
            Self::LogFull => "log_full",
            Self::TooOldNoRoom => "too_old_no_room",
            Self::TooOldFeaturesLagging => "too_old_features_lagging",
            Self::TooOldModel => "too_old_model",
            Self::ModelFailed => "model_failed",
            Self::Internal => "internal",
            Self::Stopped => "stopped",
        }
    }
}

#[derive(Debug, Clone)]
pub(crate) struct LateVerdictMetrics {
    results: IntCounterVec,
    outcomes: IntCounterVec,
    pub(crate) backlog: IntGauge,
}

impl LateVerdictMetrics {
    pub(super) fn new(make: &Maker) -> Result<Self, prometheus::Error> {
        Ok(Self {
            results: make.counters(
                "late_verdicts",
                "Transactions that were answered without the full decision, by what became of their late verdict.",
                "result",
            )?,
            outcomes: make.counters_by(
                "late_verdict_outcomes",
                "Late verdicts by what was answered and what the full decision is.",
                &["answered", "verdict"],
            )?,
            backlog: make.gauge(
                "late_verdict_backlog",
                "Transactions that wait for their late verdict.",
            )?,
        })
    }

    pub(crate) fn count(&self, result: LateResult) {
        self.results.with_label_values(&[result.name()]).inc();
    }

    pub(crate) fn compare(&self, answered: Outcome, verdict: Outcome) {
        let labels = [answered.name(), verdict.name()];
        self.outcomes.with_label_values(&labels).inc();
    }
}
