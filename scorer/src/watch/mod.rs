//! What is watched of models once the answer has gone out: what challengers say, and how far things have moved since training.
//!
//! All of it works on what the path hands to the decision log, delays no answer and changes none (DE-1), and goes on
//! while Kafka is away.

mod budget;
mod challengers;
mod drift;
mod psi;
mod window;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use tollgate_proto::v1::ChallengerScore;

use crate::audit::Entry;
use crate::clock;
use crate::config::WatchConfig;
use crate::metrics::Metrics;
use crate::policy::Policy;
use challengers::Challengers;
use drift::Drift;
pub(crate) use drift::DriftReport;
#[cfg(test)]
pub(crate) use drift::InputReport;

/// Between two reports of drift: less than Prometheus usually asks, and far less than the window.
pub(crate) const REPORT_EVERY: Duration = Duration::from_secs(2);

/// The latest report of each live model, by its version. Cheap to clone.
#[derive(Clone, Default)]
pub(crate) struct DriftReports(Arc<ArcSwap<BTreeMap<String, DriftReport>>>);

/// Watches the models of the live policy.
pub(crate) struct Watch {
    challengers: Challengers,
    drift: Drift,
    policy: Arc<ArcSwap<Policy>>,
    reports: DriftReports,
}

impl DriftReports {
    pub(crate) fn of(&self, version: &str) -> Option<DriftReport> {
        self.0.load().get(version).cloned()
    }
}

impl Watch {
    pub(crate) fn new(
        config: &WatchConfig,
        policy: Arc<ArcSwap<Policy>>,
        reports: DriftReports,
        metrics: &Metrics,
    ) -> Self {
        Self {
            challengers: Challengers::new(config.challengers_share(), metrics.watch.clone()),
            drift: Drift::new(config.drift_window(), metrics.watch.clone()),
            policy,
            reports,
        }
    }

    /// Has challengers score a batch, and counts what all models were given and said. Returns the challengers' scores of
    /// each entry.
    pub(crate) async fn look_at(&mut self, batch: &[Entry]) -> Vec<Vec<ChallengerScore>> {
        let scores = self.challengers.score(batch).await;
        let now = clock::steady_time();
        for (entry, scores) in batch.iter().zip(&scores) {
            if !entry.is_watched() {
                continue;
            }
            if let Some(champion) = entry.policy.champion() {
                let response = &entry.response;
                let score = response.has_score.then_some(response.score);
                self.drift.note(champion, entry, score, now);
            }
            for (challenger, score) in entry.policy.challengers().iter().zip(scores) {
                let score = score.error.is_empty().then_some(score.score);
                self.drift.note(challenger, entry, score, now);
            }
        }
        scores
    }

    /// Brings metrics and the admin pages up to date.
    pub(crate) fn report(&mut self) {
        let policy = self.policy.load();
        self.challengers.retain(&policy);
        let reports = self.drift.report(&policy, clock::steady_time());
        self.reports
            .0
            .store(Arc::new(reports.into_iter().collect()));
    }
}
