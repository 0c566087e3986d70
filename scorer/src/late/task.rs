//! The task that makes late verdicts, one after the other, while there is room.
//!
//! What keeps all of them waiting (ingest behind, a model that is not well) is waited for, until the oldest is too old. What is
//! wrong with one alone is tried twice and given up, so that it holds up no other. A model that was replaced while it was not well
//! is not waited for: no request asks it any more, so nothing would tell that it has recovered.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::FutureExt;
use tokio::sync::{mpsc, oneshot};
use tollgate_models::Circuit;
use tollgate_types::Cause;

use super::{Answered, Parts};
use crate::audit::Entry;
use crate::clock;
use crate::convert;
use crate::decide::{self, Context, Decision};
use crate::grpc::response;
use crate::metrics::LateResult;
use crate::policy::Policy;

/// Between two looks at whether it can go on: nobody waits, and a look costs next to nothing.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// How often one is tried where the model is well and did not answer it.
const TRIES_MAX: u32 = 2;

pub(super) struct Task {
    parts: Parts,
    waiting: mpsc::Receiver<Answered>,
    /// Not before then, for the sake of pace.
    next_at: Instant,
    /// What held up the last one that was looked at; one that is too old by its turn has waited for the same.
    held_up: LateResult,
}

/// The full decision, and the policy that made it.
struct Verdict {
    policy: Arc<Policy>,
    decision: Box<Decision>,
}

/// What came of one look.
enum Look {
    Decided(Verdict),
    /// Nothing can be decided now; so it is counted if that stays so.
    NotNow(LateResult),
    /// There is something wrong with this one.
    Failed(LateResult),
}

impl Task {
    pub(super) fn new(parts: Parts, waiting: mpsc::Receiver<Answered>) -> Self {
        Self {
            parts,
            waiting,
            next_at: clock::instant(),
            held_up: LateResult::TooOldNoRoom,
        }
    }

    /// Until it is told to stop.
    pub(super) async fn run(mut self, mut stop: oneshot::Receiver<()>) {
        loop {
            let answered = tokio::select! {
                biased;
                _ = &mut stop => break,
                answered = self.waiting.recv() => answered,
            };
            let Some(answered) = answered else {
                return;
            };
            self.parts.metrics.backlog.dec();
            let result = tokio::select! {
                biased;
                result = self.judge(&answered) => result,
                _ = &mut stop => {
                    self.parts.metrics.count(LateResult::Stopped);
                    break;
                }
            };
            match result {
                Ok(verdict) => self.write(answered, verdict),
                Err(given_up) => self.parts.metrics.count(given_up),
            }
        }
        self.give_up();
    }

    /// Counts what still waits.
    fn give_up(&mut self) {
        self.waiting.close();
        let mut given_up: u64 = 0;
        while self.waiting.try_recv().is_ok() {
            self.parts.metrics.backlog.dec();
            self.parts.metrics.count(LateResult::Stopped);
            given_up += 1;
        }
        if given_up > 0 {
            tracing::warn!(given_up, "stopped before all late verdicts were made");
        }
    }

    /// The full decision, as soon as it can be made, or why it is given up.
    async fn judge(&mut self, answered: &Answered) -> Result<Verdict, LateResult> {
        let mut tries = 0;
        loop {
            let now = clock::instant();
            if now.saturating_duration_since(answered.arrived) > self.parts.config.age_max() {
                return Err(self.held_up);
            }
            let wait = self.next_at.saturating_duration_since(now);
            if !wait.is_zero() {
                tokio::time::sleep(wait.min(LOOK_EVERY)).await;
                continue;
            }
            match self.look(answered).await {
                Look::Decided(verdict) => {
                    self.next_at = now + self.parts.config.pause();
                    self.held_up = LateResult::TooOldNoRoom;
                    return Ok(verdict);
                }
                Look::NotNow(because) => self.held_up = because,
                Look::Failed(because) => {
                    tries += 1;
                    if tries == TRIES_MAX {
                        return Err(because);
                    }
                }
            }
            self.next_at = clock::instant() + LOOK_EVERY;
        }
    }

    async fn look(&self, answered: &Answered) -> Look {
        let behind = self.parts.ingest.behind(clock::wall_time());
        if behind > self.parts.stale_after {
            return Look::NotNow(LateResult::TooOldFeaturesLagging);
        }
        let Some(_place) = self.parts.admission.spare() else {
            return Look::NotNow(LateResult::TooOldNoRoom);
        };
        let policy = self.policy_for(answered);
        let champion = policy.champion();
        // It leaves the model to answers while any waits for it.
        if champion.is_some_and(|champion| champion.rows_for_reasons().is_none()) {
            return Look::NotNow(LateResult::TooOldModel);
        }
        let decided = AssertUnwindSafe(self.decide(answered, &policy));
        let decided = decided.catch_unwind().await;
        match decided {
            Ok(Ok(decision)) => Look::Decided(Verdict {
                decision: Box::new(decision),
                policy,
            }),
            Ok(Err(Cause::Internal)) => Look::Failed(LateResult::Internal),
            Ok(Err(Cause::ModelCircuitOpen | Cause::ModelQueueFull)) => {
                Look::NotNow(LateResult::TooOldModel)
            }
            // Its circuit has opened meanwhile, so it is the model, and not this row.
            Ok(Err(_)) if champion.is_some_and(|one| one.circuit() != Circuit::Closed) => {
                Look::NotNow(LateResult::TooOldModel)
            }
            Ok(Err(_)) => Look::Failed(LateResult::ModelFailed),
            Err(_) => Look::Failed(LateResult::Internal),
        }
    }

    /// The policy that answered, unless its champion was replaced while it was not well: then the live one, which makes the decision
    /// that the transaction would be given now.
    fn policy_for(&self, answered: &Answered) -> Arc<Policy> {
        let live = self.parts.policy.load_full();
        let will_not_recover = answered.policy.champion().is_some_and(|champion| {
            let of_live = live.champion();
            let is_asked = of_live.is_some_and(|of_live| of_live.shares_threads_with(champion));
            !is_asked && champion.circuit() != Circuit::Closed
        });
        if will_not_recover {
            live
        } else {
            Arc::clone(&answered.policy)
        }
    }

    async fn decide(&self, answered: &Answered, policy: &Policy) -> Result<Decision, Cause> {
        // It fitted when it was answered; another policy may take other values of a text.
        let record = convert::record(&answered.transaction, policy.logic());
        let record = record.map_err(|_| Cause::Internal)?;
        let context = Context {
            policy,
            store: &self.parts.store,
            now: clock::steady_time(),
            deadline: clock::instant() + self.parts.config.model_wait(),
            behind: tollgate_types::Span::ZERO,
            stale_after: self.parts.stale_after,
            in_flight_expires: tollgate_types::Span::ZERO,
            model_reasons_max: self.parts.model_reasons_max,
        };
        decide::decide_late(&context, &record, clock::instant).await
    }

    fn write(&self, answered: Answered, verdict: Verdict) {
        let Verdict { policy, decision } = verdict;
        let decision = *decision;
        let outcome = decision.outcome;
        let mut response = response(&policy, answered.transaction.id.as_str(), &decision, false);
        response.decision_id = answered.decision_id;
        response.elapsed_us = clock::elapsed_us(answered.arrived);
        let entry = Entry {
            response,
            card_id: answered.transaction.card_id.clone(),
            event_time: answered.transaction.event_time,
            decided_at: clock::wall_time(),
            answered: Some(answered.outcome),
            transaction: answered.transaction,
            arrived: answered.arrived,
            times: decision.times,
            model_timings: decision.model_timings,
            reasons_timings: decision.reasons_timings,
            matched_rules: decision.matched_rules,
            aggregates: decision.aggregates,
            model_reasons_max: self.parts.model_reasons_max,
            model_inputs: decision.model_inputs,
            features: decision.features,
            texts: decision.texts,
            policy,
        };
        let metrics = &self.parts.metrics;
        if self.parts.audit.record(entry, None) {
            metrics.count(LateResult::Written);
            metrics.compare(answered.outcome, outcome);
        } else {
            metrics.count(LateResult::LogFull);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use arc_swap::ArcSwap;
    use tollgate_features::Store;
    use tollgate_models::Runtime;
    use tollgate_proto::v1;
    use tollgate_types::{Outcome, Span};

    use super::*;
    use crate::admit::Admission;
    use crate::audit::{AuditLog, Spools};
    use crate::config::{KafkaConfig, LateVerdictConfig, OverloadConfig, WatchConfig};
    use crate::ingest::IngestState;
    use crate::metrics::Metrics;
    use crate::policy::{Loader, ModelLimits};
    use crate::watch::{DriftReports, Watch};

    fn policy() -> Arc<Policy> {
        let folder = tempfile::tempdir().unwrap();
        let schema = "entities:\n  card: {key: card_id, retain: [amount], retention: 1d}\n";
        let fallback = "cases: []\notherwise: {then: approve}\n\
                        static: {then: flag, reason: UNKNOWN, description: Nothing is known.}\n";
        for (file, text) in [
            ("schema.yaml", schema),
            ("fx.yaml", "base: EUR\nrates: {}\n"),
            ("rules/none.yaml", "rules: []\n"),
            ("fallback.yaml", fallback),
        ] {
            let file = folder.path().join(file);
            std::fs::create_dir_all(file.parent().unwrap()).unwrap();
            std::fs::write(file, text).unwrap();
        }
        let runtime = Runtime::load(Path::new("none"));
        let loader = Loader::new(folder.path().to_owned(), runtime, ModelLimits::default());
        Arc::new(loader.load().unwrap().0)
    }

    /// For ingest that is always further behind than it may be.
    fn parts(policy: &Arc<Policy>) -> Parts {
        let metrics = Metrics::new().unwrap();
        let live = Arc::new(ArcSwap::from(Arc::clone(policy)));
        let reports = DriftReports::default();
        let watch = Watch::new(
            &WatchConfig::default(),
            Arc::clone(&live),
            reports,
            &metrics,
        );
        let (kafka, nobody) = (KafkaConfig::default(), "127.0.0.1:1");
        let spools = Spools::default();
        let (audit, _publishing) =
            AuditLog::start(&kafka, nobody, spools, watch, &metrics).unwrap();
        let overload = OverloadConfig::default();
        Parts {
            config: LateVerdictConfig {
                age_max_s: 1,
                ..LateVerdictConfig::default()
            },
            policy: live,
            admission: Arc::new(Admission::new(&overload, metrics.admission.clone())),
            store: Arc::new(Store::new(Arc::clone(&policy.logic().schema))),
            ingest: Arc::new(IngestState::default()),
            audit,
            metrics: metrics.late_verdicts,
            stale_after: Span::from_micros(-1),
            model_reasons_max: 0,
        }
    }

    fn answered(policy: &Arc<Policy>, age: Duration) -> Answered {
        let transaction = v1::Transaction {
            transaction_id: "t1".to_owned(),
            event_time: Some(convert::to_timestamp(clock::wall_time())),
            card_id: "card-1".to_owned(),
            currency: "EUR".to_owned(),
            merchant_id: "m1".to_owned(),
            ..v1::Transaction::default()
        };
        Answered {
            transaction: Arc::new(
                convert::transaction(Some(transaction), clock::wall_time()).unwrap(),
            ),
            policy: Arc::clone(policy),
            decision_id: "d1".to_owned(),
            outcome: Outcome::Approve,
            arrived: clock::instant().checked_sub(age).unwrap(),
        }
    }

    #[tokio::test]
    async fn one_that_is_too_old_by_its_turn_was_held_up_by_what_held_up_the_one_before_it() {
        let policy = policy();
        let (_queue, waiting) = mpsc::channel(1);
        let mut task = Task::new(parts(&policy), waiting);
        let mut given_up = async |age| {
            let answered = answered(&policy, Duration::from_millis(age));
            task.judge(&answered).await.err()
        };
        let lagging = Some(LateResult::TooOldFeaturesLagging);
        assert_eq!(given_up(2_000).await, Some(LateResult::TooOldNoRoom));
        assert_eq!(given_up(900).await, lagging);
        assert_eq!(given_up(2_000).await, lagging);
    }
}
