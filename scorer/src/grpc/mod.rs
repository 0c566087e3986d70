//! The scoring service on the wire: converts, decides, answers, hands over to the decision log.

mod deadline;
mod server;

use std::panic::AssertUnwindSafe;
use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use futures::FutureExt;
use tokio_stream::{Stream, StreamExt};
use tollgate_features::Store;
use tollgate_models::Circuit;
use tollgate_proto::v1;
use tollgate_proto::v1::scoring_service_server::ScoringService;
use tollgate_rules::{Demoted, Mode};
use tollgate_types::{Cause, EventTime, Record, Span, Transaction};
use tonic::{Request, Response, Status, Streaming};

use crate::audit::{AuditLog, DecisionIds, Entry};
use crate::clock;
use crate::config::{DeadlineConfig, FeaturesConfig};
use crate::convert::{self, FieldError};
use crate::decide::{self, Context, Decision};
use crate::ingest::IngestState;
use crate::metrics::Metrics;
use crate::policy::{Policy, feature_number};
pub(crate) use server::{GrpcServer, ServerError};

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

/// When a request came and when its answer is due.
#[derive(Clone, Copy)]
struct Timing {
    arrived: Instant,
    arrived_at: EventTime,
    /// When the decision should be made.
    deadline: Instant,
    /// When the answer is late: the client's own deadline or the budget, whichever is earlier.
    late_at: Instant,
}

impl Scoring {
    /// Answers one request. The only errors are about the request itself.
    async fn score(
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

    fn observe(&self, decision: &Decision, timing: Timing) {
        let metrics = &self.metrics;
        let now = clock::instant();
        metrics
            .score_latency
            .observe((now - timing.arrived).as_secs_f64());
        if now > timing.late_at {
            metrics.late.inc();
        }
        metrics
            .decisions
            .with_label_values(&[decision.outcome.name()])
            .inc();
        metrics
            .degradations
            .with_label_values(&[decision.level.name()])
            .inc();
        for cause in &decision.causes {
            metrics
                .degradation_causes
                .with_label_values(&[cause.name()])
                .inc();
        }
        for rule in &decision.matched_rules {
            let mode = match decision.shadow_matches.contains(rule) {
                true => Mode::Shadow,
                false => Mode::Enforce,
            };
            let labels = [&**rule, mode.name()];
            metrics.rule_matches.with_label_values(&labels).inc();
        }
        self.tell_of_demotions(&decision.demoted);
        if decision.circuit == Some(Circuit::Open) {
            metrics.circuit.opened.inc();
        }
        if let Some(timings) = decision.model_timings {
            metrics
                .model_latency
                .observe((timings.answered - timings.asked).as_secs_f64());
        }
        if let Some(timings) = decision.reasons_timings {
            let latency = &metrics.watch.reasons_latency;
            latency.observe((timings.answered - timings.asked).as_secs_f64());
        }
    }

    /// A rule's guard has acted: once per demotion, so it may take the time that a line of the log takes.
    fn tell_of_demotions(&self, demoted: &[Demoted]) {
        for Demoted { rule, demotion } in demoted {
            let (declined, of) = (demotion.declined, demotion.of);
            let period = demotion.guard.period.to_string();
            tracing::error!(
                %rule,
                declined,
                of,
                period,
                "rule demoted to shadow: it declined a larger share than its guard allows; `tollgate rules resume {rule}` \
                 lets it decide again"
            );
            self.metrics.policy.rule_demotions.inc();
        }
        if !demoted.is_empty() {
            self.metrics
                .policy
                .note_demoted(&self.policy.load().logic().rules);
        }
    }

    fn timing(&self, metadata: &tonic::metadata::MetadataMap) -> Timing {
        let arrived = clock::instant();
        let client = deadline::grpc_timeout(metadata);
        let budget = deadline::budget(client, &self.deadline);
        Timing {
            arrived,
            arrived_at: clock::wall_time(),
            deadline: arrived + budget,
            late_at: arrived + client.unwrap_or(Duration::MAX).min(self.deadline.budget()),
        }
    }

    fn refuse(&self, error: &FieldError) -> Status {
        self.metrics.refused.inc();
        Status::invalid_argument(error.to_string())
    }
}

/// The service as tonic wants it.
#[derive(Clone)]
pub(crate) struct ScoringHandler {
    scoring: Arc<Scoring>,
}

impl ScoringHandler {
    pub(crate) const fn new(scoring: Arc<Scoring>) -> Self {
        Self { scoring }
    }
}

#[tonic::async_trait]
impl ScoringService for ScoringHandler {
    async fn score(
        &self,
        request: Request<v1::ScoreRequest>,
    ) -> Result<Response<v1::ScoreResponse>, Status> {
        let timing = self.scoring.timing(request.metadata());
        let answer = self.scoring.score(request.into_inner(), timing).await;
        answer
            .map(Response::new)
            .map_err(|error| self.scoring.refuse(&error))
    }

    type ScoreStreamStream = Pin<Box<dyn Stream<Item = Result<v1::ScoreResponse, Status>> + Send>>;

    async fn score_stream(
        &self,
        request: Request<Streaming<v1::ScoreRequest>>,
    ) -> Result<Response<Self::ScoreStreamStream>, Status> {
        let scoring = Arc::clone(&self.scoring);
        // The deadline of a stream covers its whole life, so each message has the configured budget.
        let answers = request.into_inner().then(move |message| {
            let scoring = Arc::clone(&scoring);
            async move {
                let timing = scoring.timing(&tonic::metadata::MetadataMap::new());
                let answer = scoring.score(message?, timing).await;
                answer.map_err(|error| scoring.refuse(&error))
            }
        });
        Ok(Response::new(Box::pin(answers)))
    }
}

fn response(
    policy: &Policy,
    transaction: &Transaction,
    decision: &Decision,
    include_features: bool,
) -> v1::ScoreResponse {
    let model_version = policy.champion().filter(|_| decision.score.is_some());
    let ids = |rules: &[Arc<str>]| rules.iter().map(ToString::to_string).collect();
    v1::ScoreResponse {
        transaction_id: transaction.id.as_str().to_owned(),
        outcome: convert::outcome(decision.outcome).into(),
        score: decision.score.unwrap_or_default(),
        has_score: decision.score.is_some(),
        reasons: decision.reasons.iter().map(convert::reason).collect(),
        degradation: convert::degradation(decision.level).into(),
        degradation_causes: decision
            .causes
            .iter()
            .map(|cause| cause.name().to_owned())
            .collect(),
        policy_version: policy.version().to_owned(),
        model_version: model_version
            .map(|model| model.version().to_owned())
            .unwrap_or_default(),
        features: if include_features {
            named_features(policy, decision)
        } else {
            Default::default()
        },
        shadow_matches: ids(&decision.shadow_matches),
        ..v1::ScoreResponse::default()
    }
}

fn named_features(policy: &Policy, decision: &Decision) -> std::collections::HashMap<String, f64> {
    let definitions = &policy.logic().layout.features;
    definitions
        .iter()
        .zip(&decision.features)
        .filter_map(|(feature, cell)| {
            Some((feature.name.clone(), feature_number(feature.kind, *cell)?))
        })
        .collect()
}

fn seconds(count: u64) -> Span {
    Span::from_seconds(i64::try_from(count).unwrap_or(i64::MAX))
}
