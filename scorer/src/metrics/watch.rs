//! Metrics of what is said about models: reasons, drift, challengers.
//!
//! Labels are versions of models and their inputs, which the policy names. Series of models that are no longer live go.

use prometheus::{
    CounterVec, GaugeVec, Histogram, HistogramOpts, HistogramVec, IntCounterVec, IntGaugeVec, Opts,
};

use super::Maker;

/// Upper bounds of the difference between two scores: from what changes nothing to what changes any outcome.
const DIFFERENCE_BUCKETS: [f64; 9] = [1e-3, 3e-3, 1e-2, 3e-2, 0.1, 0.2, 0.3, 0.5, 1.0];

/// What became of a row for a challenger.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ChallengerResult {
    Scored,
    /// Left out because the challenger has used the CPU it may.
    DroppedOverBudget,
    /// It failed, was too late, or is still busy with an earlier run.
    Failed,
}

impl ChallengerResult {
    const ALL: [Self; 3] = [Self::Scored, Self::DroppedOverBudget, Self::Failed];

    const fn name(self) -> &'static str {
        match self {
            Self::Scored => "scored",
            Self::DroppedOverBudget => "dropped_over_budget",
            Self::Failed => "failed",
        }
    }
}

#[derive(Debug, Clone)]
pub(crate) struct WatchMetrics {
    pub(crate) reasons_latency: Histogram,
    input_psi: GaugeVec,
    score_psi: GaugeVec,
    window_rows: IntGaugeVec,
    challenger_rows: IntCounterVec,
    challenger_cpu: CounterVec,
    challenger_difference: HistogramVec,
}

impl WatchMetrics {
    pub(super) fn new(make: &Maker) -> Result<Self, prometheus::Error> {
        let registry = &make.registry;
        let opts = |name: &str, help: &str| Opts::new(format!("tollgate_{name}"), help);
        let input_psi = GaugeVec::new(
            opts(
                "model_input_psi",
                "Population stability index of an input against the model's training.",
            ),
            &["model", "feature"],
        )?;
        registry.register(Box::new(input_psi.clone()))?;
        let score_psi = GaugeVec::new(
            opts(
                "model_score_psi",
                "Population stability index of the score against the model's training.",
            ),
            &["model"],
        )?;
        registry.register(Box::new(score_psi.clone()))?;
        let window_rows = IntGaugeVec::new(
            opts(
                "model_window_rows",
                "Decisions that the stability indices of a model are made from.",
            ),
            &["model"],
        )?;
        registry.register(Box::new(window_rows.clone()))?;
        let challenger_rows = IntCounterVec::new(
            opts(
                "challenger_rows_total",
                "Decisions by what became of a challenger's score.",
            ),
            &["model", "result"],
        )?;
        registry.register(Box::new(challenger_rows.clone()))?;
        let challenger_cpu = CounterVec::new(
            opts(
                "challenger_cpu_seconds_total",
                "CPU time of a challenger's runs.",
            ),
            &["model"],
        )?;
        registry.register(Box::new(challenger_cpu.clone()))?;
        let difference = HistogramOpts::new(
            "tollgate_challenger_difference",
            "Absolute difference between a challenger's score and the champion's, of the same decision.",
        );
        let challenger_difference =
            HistogramVec::new(difference.buckets(DIFFERENCE_BUCKETS.to_vec()), &["model"])?;
        registry.register(Box::new(challenger_difference.clone()))?;
        Ok(Self {
            reasons_latency: make.latency(
                "model_reasons",
                "Outcome known to the model's reasons found, or given up.",
            )?,
            input_psi,
            score_psi,
            window_rows,
            challenger_rows,
            challenger_cpu,
            challenger_difference,
        })
    }

    /// One row of a challenger has ended.
    pub(crate) fn count(&self, model: &str, result: ChallengerResult) {
        let rows = &self.challenger_rows;
        rows.with_label_values(&[model, result.name()]).inc();
    }

    pub(crate) fn challenger_cpu(&self, model: &str, seconds: f64) {
        let cpu = self.challenger_cpu.with_label_values(&[model]);
        cpu.inc_by(seconds);
    }

    /// Both scores of one decision.
    pub(crate) fn compare(&self, model: &str, challenger: f64, champion: f64) {
        let difference = self.challenger_difference.with_label_values(&[model]);
        difference.observe((challenger - champion).abs());
    }

    pub(crate) fn window_rows(&self, model: &str, rows: u64) {
        let gauge = self.window_rows.with_label_values(&[model]);
        gauge.set(i64::try_from(rows).unwrap_or(i64::MAX));
    }

    /// With too few rows there is no index, and no series rather than one that stands still.
    pub(crate) fn score_psi(&self, model: &str, psi: Option<f64>) {
        match psi {
            Some(psi) => self.score_psi.with_label_values(&[model]).set(psi),
            // It may not have been there either.
            None => _ = self.score_psi.remove_label_values(&[model]),
        }
    }

    pub(crate) fn input_psi(&self, model: &str, feature: &str, psi: Option<f64>) {
        let labels = [model, feature];
        match psi {
            Some(psi) => self.input_psi.with_label_values(&labels).set(psi),
            None => _ = self.input_psi.remove_label_values(&labels),
        }
    }

    /// Lets go of what is shown of the drift of a model that is not live any more.
    pub(crate) fn forget_drift<'f>(&self, model: &str, features: impl Iterator<Item = &'f str>) {
        for feature in features {
            self.input_psi(model, feature, None);
        }
        self.score_psi(model, None);
        // Errors say that there was no such series.
        let _ = self.window_rows.remove_label_values(&[model]);
    }

    /// Lets go of the counts of a challenger that is not live any more.
    pub(crate) fn forget_challenger(&self, model: &str) {
        for result in ChallengerResult::ALL {
            let labels = [model, result.name()];
            let _ = self.challenger_rows.remove_label_values(&labels);
        }
        let _ = self.challenger_cpu.remove_label_values(&[model]);
        let _ = self.challenger_difference.remove_label_values(&[model]);
    }
}
