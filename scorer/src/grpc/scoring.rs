//! One request from its message to its answer: converts, decides, answers, hands over to the decision log.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use futures::FutureExt;
use tollgate_features::Store;
use tollgate_proto::v1;
use tollgate_types::{Cause, Record, Span};
use tonic::Status;

use super::deadline::{self, Timing};
use super::response::response;
use crate::audit::{AuditLog, DecisionIds, Entry};
use crate::clock;
use crate::config::{DeadlineConfig, FeaturesConfig};
use crate::convert::{self, FieldError};
use crate::decide::{self, Context, Decision};
use crate::ingest::IngestState;
use crate::metrics::Metrics;
use crate::policy::Policy;

/// Everything a request needs; shared by all connections.
pub(crate) struct Scoring {
    pub(crate) policy: Arc<ArcSwap<Policy>>,
    pub(crate) store: Arc<Store>,
    pub(crate) ingest: Arc<IngestState>,
    pub(crate) audit: AuditLog,
    pub(crate) decision_ids: DecisionIds,
    pub(crate) metrics: Metrics,
    pub(crate) deadline: DeadlineConfig,
    pub(crate) features: FeaturesConfig,
    pub(crate) model_reasons_max: usize,
}

impl Scoring {
    /// Answers one request. The only errors are about the request itself.
    pub(super) async fn score(
        &self,
        request: v1::ScoreRequest,
        timing: Timing,
    ) -> Result<v1::ScoreResponse, FieldError> {
        let policy = self.policy.load_full();
        let transaction = convert::transaction(request.transaction, timing.arrived_at)?;
        let record = convert::record(&transaction, policy.logic())?;
        let decision = self.decide(&policy, &record, timing).await;
        let mut response = response(&policy, &transaction, &decision, request.include_features);
        response.decision_id = self.decision_ids.next();
        response.elapsed_us = clock::elapsed_us(timing.arrived);
        self.observe(&decision, timing);
        self.audit.record(Entry {
            response: response.clone(),
            card_id: transaction.card_id.clone(),
            event_time: transaction.event_time,
            decided_at: clock::wall_time(),
            model_inputs: decision.model_inputs,
            features: decision.features,
            texts: decision.texts,
            policy,
        });
        Ok(response)
    }

    /// Decides; a panic in the code of a decision is counted and answered by the policy's constant.
    async fn decide(&self, policy: &Policy, record: &Record<'_>, timing: Timing) -> Decision {
        let context = Context {
            policy,
            store: &self.store,
            now: clock::steady_time(),
            deadline: timing.deadline,
            behind: self.ingest.behind(timing.arrived_at),
            stale_after: seconds(self.features.stale_after_s),
            in_flight_expires: seconds(self.features.in_flight_expires_s),
            model_reasons_max: self.model_reasons_max,
        };
        let decided = decide::decide(&context, record, clock::instant);
        AssertUnwindSafe(decided)
            .catch_unwind()
            .await
            .unwrap_or_else(|_| {
                self.metrics.panics.inc();
                decide::static_answer(policy, Cause::Internal)
            })
    }

    /// When a message that came at `arrived` is due; `client` is the time its caller gave it.
    pub(super) fn timing(&self, arrived: Instant, client: Option<Duration>) -> Timing {
        let budget = deadline::budget(client, &self.deadline);
        Timing {
            arrived,
            arrived_at: clock::wall_time(),
            deadline: arrived + budget,
            late_at: arrived + client.unwrap_or(Duration::MAX).min(self.deadline.budget()),
        }
    }

    pub(super) fn refuse(&self, error: &FieldError) -> Status {
        self.metrics.refused.inc();
        Status::invalid_argument(error.to_string())
    }
}

fn seconds(count: u64) -> Span {
    Span::from_seconds(i64::try_from(count).unwrap_or(i64::MAX))
}
