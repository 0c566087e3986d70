//! One request from its message to its answer: converts, decides, answers, hands over to the decision log.
//!
//! The same transaction is decided once: duplicates are given the answer of the first, or wait for it. Whatever panics is
//! answered by the next lower level, and what leads a decision never leaves those who wait without one.

use std::sync::Arc;
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use tollgate_features::Store;
use tollgate_proto::v1;
use tollgate_types::{Cause, Transaction, TransactionId};
use tonic::Status;

use super::asked::{Asked, Decided, Stage};
use super::caller::Caller;
use super::deadline::{self, Timing};
use super::observe::Unanswered;
use crate::admit::Admission;
use crate::audit::{self, AuditLog, DecisionIds, Ticket};
use crate::clock;
use crate::config::{DeadlineConfig, FeaturesConfig, OverloadConfig};
use crate::convert::{self, FieldError};
use crate::decide::{self, Decision};
use crate::idempotency::{Answer, Entry, Idempotency, Turn, Waited};
use crate::ingest::IngestState;
use crate::late::{Answered, LateVerdicts};
use crate::metrics::Metrics;
use crate::panics;
use crate::policy::Policy;
use crate::watchdog::LateAnswers;

/// What is said where an id comes again with another content.
const CONFLICT: &str = "was used for a transaction with other contents a short time ago; give every transaction an id of its \
                        own, and send a retry exactly as the first request";

/// Everything a request needs; shared by all connections.
pub(crate) struct Scoring {
    pub(crate) policy: Arc<ArcSwap<Policy>>,
    pub(crate) store: Arc<Store>,
    pub(crate) ingest: Arc<IngestState>,
    pub(crate) audit: AuditLog,
    pub(crate) late_verdicts: LateVerdicts,
    pub(crate) decision_ids: DecisionIds,
    pub(crate) idempotency: Arc<Idempotency>,
    pub(crate) late_answers: LateAnswers,
    pub(crate) metrics: Metrics,
    pub(crate) deadline: DeadlineConfig,
    pub(crate) features: FeaturesConfig,
    pub(crate) model_reasons_max: usize,
    pub(crate) admission: Arc<Admission>,
    pub(crate) overload: OverloadConfig,
    #[cfg(test)]
    pub(crate) sabotage: super::tests::Sabotage,
}

impl Scoring {
    /// Answers one request. The only errors are about the request itself, and known before this first waits.
    pub(super) async fn score(
        &self,
        request: v1::ScoreRequest,
        timing: Timing,
        caller: Caller,
    ) -> Result<v1::ScoreResponse, FieldError> {
        let unanswered = Unanswered::new(self, timing);
        let policy = self.policy.load_full();
        let answer = self.answer(request, timing, caller, &policy);
        let answer = panics::caught(&self.metrics.panics, answer).await;
        unanswered.end();
        answer.unwrap_or_else(|| {
            // What can fail is caught where it can be answered better. Should anything else do so: an answer, at least.
            let Decided { response, decision } =
                Asked::nothing_known(&policy, timing, caller).constant();
            self.caught(Stage::Observe, || {
                self.observe_answer(timing);
                self.observe_decision(&decision);
            });
            Ok(self.signed(response, timing))
        })
    }

    async fn answer(
        &self,
        request: v1::ScoreRequest,
        timing: Timing,
        caller: Caller,
        policy: &Arc<Policy>,
    ) -> Result<v1::ScoreResponse, FieldError> {
        let of = self.idempotency.identify(&request);
        let include_features = request.include_features;
        let id = request.transaction.as_ref();
        let id = id.map_or_else(String::new, |sent| sent.transaction_id.clone());
        let transaction = self.caught(Stage::Convert, || {
            convert::transaction(request.transaction, timing.arrived_at)
        });
        let transaction = transaction.transpose()?.map(Arc::new);
        let record = transaction.as_ref().and_then(|transaction| {
            self.caught(Stage::Lay, || convert::record(transaction, policy.logic()))
        });
        let asked = Asked {
            policy,
            id: self.id(transaction.as_deref(), &id),
            transaction: transaction.as_ref(),
            record: record.transpose()?,
            include_features,
            timing,
            caller,
        };
        match self.idempotency.enter(of, clock::instant()) {
            Entry::Turn(turn) => Ok(self.take_turn(turn, asked).await),
            Entry::Answered(response) => {
                self.observe_answer(timing);
                Ok(response)
            }
            Entry::Refused => Err(FieldError::new("transaction.transaction_id", CONFLICT)),
        }
    }

    /// Decides, or waits for the request of the same transaction that does.
    async fn take_turn(&self, mut turn: Turn<'_>, asked: Asked<'_>) -> v1::ScoreResponse {
        let waited = if turn.leads() {
            Waited::Leads
        } else {
            turn.wait(self.wait_until(asked.timing)).await
        };
        let decided = match waited {
            Waited::Leads => self.decided(&asked).await,
            Waited::OutOfTime => self.without_history(&asked, Cause::DeadlineTooShort),
            Waited::Answered(response) => {
                self.observe_answer(asked.timing);
                return response;
            }
        };
        self.give(turn, &asked, decided).await
    }

    /// The first answer to a transaction is the one that everybody is given, and that is recorded.
    async fn give(&self, turn: Turn<'_>, asked: &Asked<'_>, decided: Decided) -> v1::ScoreResponse {
        let (Decided { response, decision }, ticket) = self.written(asked, decided).await;
        match turn.answer(response, clock::instant()) {
            Answer::First(response) => {
                self.caught(Stage::Observe, || {
                    self.observe_answer(asked.timing);
                    self.observe_decision(&decision);
                    self.observe_course(&decision);
                });
                self.caught(Stage::Record, || {
                    self.record(&response, asked, decision, ticket)
                });
                response
            }
            // A duplicate could not wait any longer and was answered without this decision, which changes nothing now.
            Answer::Before(first) => {
                self.caught(Stage::Observe, || {
                    self.observe_answer(asked.timing);
                    self.observe_course(&decision);
                });
                first
            }
        }
    }

    /// A decision under its id, on disk where that is to be before it is answered. What becomes of one that is not is the operator's
    /// choice.
    async fn written(&self, asked: &Asked<'_>, decided: Decided) -> (Decided, Option<Ticket>) {
        let decided = self.under_id(decided, asked.timing);
        if !self.audit.is_spool_first() {
            return (decided, None);
        }
        let entry = self.caught(Stage::Record, || {
            let decision = decided.decision.clone();
            self.entry(&decided.response, asked, decision)
        });
        let Some(entry) = entry.flatten() else {
            return (decided, None);
        };
        let until = self.wait_until(asked.timing);
        match self.audit.write_early(entry, until).await {
            Some(ticket) => (decided, Some(ticket)),
            None if self.audit.degrades() => {
                let fallback = self.without_history(asked, Cause::DecisionNotLogged);
                (self.under_id(fallback, asked.timing), None)
            }
            None => (decided, None),
        }
    }

    fn under_id(&self, decided: Decided, timing: Timing) -> Decided {
        Decided {
            response: self.signed(decided.response, timing),
            ..decided
        }
    }

    /// What the log is told. One whose request could not be read has no card that it could be kept under: the
    /// line about the panic has to do.
    fn entry(
        &self,
        response: &v1::ScoreResponse,
        asked: &Asked<'_>,
        decision: Decision,
    ) -> Option<audit::Entry> {
        let transaction = asked.transaction?;
        Some(audit::Entry {
            response: response.clone(),
            card_id: transaction.card_id.clone(),
            event_time: transaction.event_time,
            decided_at: clock::wall_time(),
            answered: None,
            transaction: Arc::clone(transaction),
            arrived: asked.timing.arrived,
            times: decision.times,
            model_timings: decision.model_timings,
            reasons_timings: decision.reasons_timings,
            matched_rules: decision.matched_rules,
            aggregates: decision.aggregates,
            model_reasons_max: self.model_reasons_max,
            model_inputs: decision.model_inputs,
            features: decision.features,
            texts: decision.texts,
            policy: Arc::clone(asked.policy),
        })
    }

    /// Hands a decision over to the log.
    fn record(
        &self,
        response: &v1::ScoreResponse,
        asked: &Asked<'_>,
        decision: Decision,
        ticket: Option<Ticket>,
    ) {
        let Some(transaction) = asked.transaction else {
            return;
        };
        let late_verdict = self.late_verdicts.place_for(&decision);
        let outcome = decision.outcome;
        if let Some(entry) = self.entry(response, asked, decision) {
            self.audit.record(entry, ticket);
        }
        if let Some(place) = late_verdict {
            place.take(Answered {
                transaction: Arc::clone(transaction),
                policy: Arc::clone(asked.policy),
                decision_id: response.decision_id.clone(),
                outcome,
                arrived: asked.timing.arrived,
            });
        }
    }

    /// The answer as it goes out, under an id of its own.
    fn signed(&self, mut response: v1::ScoreResponse, timing: Timing) -> v1::ScoreResponse {
        response.decision_id = self.decision_ids.next();
        response.elapsed_us = clock::elapsed_us(timing.arrived);
        response
    }

    /// The id as it may be repeated: one that has been read, or can be.
    fn id<'i>(&self, transaction: Option<&Transaction>, sent: &'i str) -> &'i str {
        let known = transaction.is_some()
            || self.caught(Stage::Id, || TransactionId::parse(sent).is_ok()) == Some(true);
        if known { sent } else { "" }
    }

    /// Time is kept back from waiting, as it is from the model.
    fn wait_until(&self, timing: Timing) -> Instant {
        let now = clock::instant();
        now + decide::patience(timing.deadline.saturating_duration_since(now))
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
