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

use super::caller::Caller;
use super::deadline::{self, Timing};
use super::response::response;
use crate::admit::{Admission, Ask, Measured, Permit};
use crate::audit::{AuditLog, DecisionIds, Entry};
use crate::clock;
use crate::config::{DeadlineConfig, FeaturesConfig, OverloadConfig};
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
    pub(crate) admission: Arc<Admission>,
    pub(crate) overload: OverloadConfig,
}

impl Scoring {
    /// Answers one request. The only errors are about the request itself.
    pub(super) async fn score(
        &self,
        request: v1::ScoreRequest,
        timing: Timing,
        caller: Caller,
    ) -> Result<v1::ScoreResponse, FieldError> {
        let policy = self.policy.load_full();
        let transaction = convert::transaction(request.transaction, timing.arrived_at)?;
        let record = convert::record(&transaction, policy.logic())?;
        let priority = caller.priority(transaction.channel, &self.overload.priority);
        let ask = Ask {
            arrived: timing.arrived,
            until: timing.patience(),
            connection: caller.connection,
            priority,
        };
        let decision = match self.admission.admit(ask).await {
            Ok(permit) => self.decide(&policy, &record, timing, permit).await,
            Err(_shed) => self.overloaded(&policy, &record, timing),
        };
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
    async fn decide(
        &self,
        policy: &Policy,
        record: &Record<'_>,
        timing: Timing,
        permit: Permit,
    ) -> Decision {
        let context = self.context(policy, timing);
        let decided = std::pin::pin!(decide::decide(&context, record, clock::instant));
        let decided = AssertUnwindSafe(decided).catch_unwind();
        let (decided, served) = Measured::new(decided).await;
        let decision = decided.unwrap_or_else(|_| self.failed(policy));
        // Where the model did not answer, the time it took tells of the model, or of a deadline.
        let tells_of_load = decision.score.is_some() || policy.champion().is_none();
        permit.decided(tells_of_load.then_some(served));
        decision
    }

    /// Answers what was shed; a panic is dealt with as in [`Scoring::decide`].
    fn overloaded(&self, policy: &Policy, record: &Record<'_>, timing: Timing) -> Decision {
        let context = self.context(policy, timing);
        let answered = || decide::overloaded(&context, record);
        std::panic::catch_unwind(AssertUnwindSafe(answered)).unwrap_or_else(|_| self.failed(policy))
    }

    fn failed(&self, policy: &Policy) -> Decision {
        self.metrics.panics.inc();
        decide::static_answer(policy, Cause::Internal)
    }

    fn context<'a>(&'a self, policy: &'a Policy, timing: Timing) -> Context<'a> {
        Context {
            policy,
            store: &self.store,
            now: clock::steady_time(),
            deadline: timing.deadline,
            behind: self.ingest.behind(timing.arrived_at),
            stale_after: seconds(self.features.stale_after_s),
            in_flight_expires: seconds(self.features.in_flight_expires_s),
            model_reasons_max: self.model_reasons_max,
        }
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
