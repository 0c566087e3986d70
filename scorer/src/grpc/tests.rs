//! Requests whose code panics: answered, counted, recorded, and nobody who waits is left behind.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use arc_swap::ArcSwap;
use tollgate_features::Store;
use tollgate_models::Runtime;
use tollgate_proto::v1;
use tollgate_types::EventTime;

use super::Scoring;
use super::asked::Stage;
use super::caller::Caller;
use super::deadline::Timing;
use super::observe::Unanswered;
use crate::admit::{Admission, ConnectionId};
use crate::audit::{AuditLog, DecisionIds, Publishing, Spools};
use crate::clock;
use crate::config::{
    DeadlineConfig, FeaturesConfig, IdempotencyConfig, KafkaConfig, OverloadConfig, WatchConfig,
};
use crate::convert::FieldError;
use crate::idempotency::Idempotency;
use crate::ingest::IngestState;
use crate::late::LateVerdicts;
use crate::metrics::Metrics;
use crate::policy::{Loader, ModelLimits, Policy};
use crate::watch::{DriftReports, Watch};
use crate::watchdog::Watchdog;

/// The stages that panic.
#[derive(Default)]
pub(crate) struct Sabotage(Mutex<Vec<Stage>>);

impl Sabotage {
    pub(super) fn at(&self, stage: Stage) {
        let sabotaged = self.0.lock().unwrap().contains(&stage);
        assert!(!sabotaged, "a panic at {stage:?}");
    }

    fn set(&self, stages: &[Stage]) {
        *self.0.lock().unwrap() = stages.to_vec();
    }
}

/// A policy without models whose table challenges large amounts and whose constant flags everything.
fn policy() -> Policy {
    let folder = tempfile::tempdir().unwrap();
    for (file, text) in [
        (
            "schema.yaml",
            "entities:\n  card: {key: card_id, retain: [amount], retention: 1d}\n",
        ),
        ("fx.yaml", "base: EUR\nrates: {}\n"),
        ("rules/none.yaml", "rules: []\n"),
        (
            "fallback.yaml",
            "cases:\n  - id: large\n    description: Too large.\n    when: transaction.amount >= 1000\n    \
             then: challenge\n    reason: LARGE\notherwise: {then: approve}\n\
             static: {then: flag, reason: UNKNOWN, description: Nothing is known.}\n",
        ),
    ] {
        let file = folder.path().join(file);
        std::fs::create_dir_all(file.parent().unwrap()).unwrap();
        std::fs::write(file, text).unwrap();
    }
    let runtime = Runtime::load(std::path::Path::new("none"));
    let loader = Loader::new(folder.path().to_owned(), runtime, ModelLimits::default());
    match loader.load() {
        Ok((policy, _)) => policy,
        Err(errors) => panic!("{}", errors.render()),
    }
}

struct Service {
    scoring: Arc<Scoring>,
    _publishing: Publishing,
    _watchdog: Watchdog,
}

impl Service {
    /// Without a Kafka to publish to.
    fn start() -> Self {
        let metrics = Metrics::new().unwrap();
        let policy = Arc::new(ArcSwap::from_pointee(policy()));
        let reports = DriftReports::default();
        let watch = Watch::new(
            &WatchConfig::default(),
            Arc::clone(&policy),
            reports,
            &metrics,
        );
        let (kafka, nobody) = (KafkaConfig::default(), "127.0.0.1:1");
        let spools = Spools::default();
        let (audit, publishing) = AuditLog::start(&kafka, nobody, spools, watch, &metrics).unwrap();
        let (watchdog, late_answers) = Watchdog::start(metrics.stalls.clone()).unwrap();
        let config = IdempotencyConfig::default();
        let idempotency = Idempotency::new(&config, metrics.idempotency.clone());
        let store = Store::new(Arc::clone(&policy.load().logic().schema));
        let (overload, admission) = (OverloadConfig::default(), metrics.admission.clone());
        let scoring = Scoring {
            policy,
            store: Arc::new(store),
            ingest: Arc::new(IngestState::default()),
            audit,
            late_verdicts: LateVerdicts::none(metrics.late_verdicts.clone()),
            decision_ids: DecisionIds::new(clock::wall_time()),
            idempotency: Arc::new(idempotency),
            late_answers,
            metrics,
            deadline: DeadlineConfig::default(),
            features: FeaturesConfig::default(),
            model_reasons_max: 0,
            admission: Arc::new(Admission::new(&overload, admission)),
            overload,
            sabotage: Sabotage::default(),
        };
        Self {
            scoring: Arc::new(scoring),
            _publishing: publishing,
            _watchdog: watchdog,
        }
    }

    async fn score(&self, id: &str) -> Result<v1::ScoreResponse, FieldError> {
        let timing = self.scoring.timing(clock::instant(), None);
        self.score_by(id, timing).await
    }

    async fn score_by(&self, id: &str, timing: Timing) -> Result<v1::ScoreResponse, FieldError> {
        let scored = self.scoring.score(request(id), timing, self.caller());
        scored.await
    }

    fn caller(&self) -> Caller {
        let request = tonic::Request::new(());
        self.scoring.caller(&request, ConnectionId::new(1))
    }

    fn panics(&self) -> u64 {
        self.scoring.metrics.panics.get()
    }

    fn recorded(&self) -> u64 {
        self.scoring.audit.handed_over()
    }
}

fn request(id: &str) -> v1::ScoreRequest {
    let event_time = EventTime::from_micros(1_770_000_000_000_000);
    let transaction = v1::Transaction {
        transaction_id: id.to_owned(),
        event_time: Some(crate::convert::to_timestamp(event_time)),
        card_id: "card-1".to_owned(),
        amount_minor: 100_000,
        currency: "EUR".to_owned(),
        merchant_id: "m1".to_owned(),
        ..v1::Transaction::default()
    };
    v1::ScoreRequest {
        transaction: Some(transaction),
        include_features: true,
    }
}

#[tokio::test]
async fn whatever_panics_is_answered_by_the_next_lower_level_counted_and_recorded_once() {
    use v1::Degradation::{Full, RequestOnly, Static};
    let service = Service::start();
    let cases: [(&[Stage], v1::Degradation, u64, u64); 9] = [
        (&[], Full, 0, 1),
        (&[Stage::Decide], RequestOnly, 1, 1),
        (&[Stage::Decide, Stage::WithoutHistory], Static, 2, 1),
        (&[Stage::Lay], Static, 1, 1),
        // Without a card there is nothing to keep a record under.
        (&[Stage::Convert], Static, 1, 0),
        (&[Stage::Convert, Stage::Id], Static, 2, 0),
        // The answer stands already.
        (&[Stage::Observe], Full, 1, 1),
        (&[Stage::Record], Full, 1, 0),
        (
            &[Stage::Decide, Stage::Observe, Stage::Record],
            RequestOnly,
            3,
            0,
        ),
    ];
    for (at, (stages, level, panics, records)) in cases.into_iter().enumerate() {
        let (panics_before, records_before) = (service.panics(), service.recorded());
        service.scoring.sabotage.set(stages);
        let id = format!("t{at}");
        let answer = service.score(&id).await.unwrap();
        assert_eq!(answer.degradation(), level, "{stages:?}");
        let (outcome, causes): (_, &[&str]) = match level {
            Full => (v1::Outcome::Approve, &[]),
            RequestOnly => (v1::Outcome::Challenge, &["internal"]),
            _ => (v1::Outcome::Flag, &["internal"]),
        };
        assert_eq!(answer.outcome(), outcome, "{stages:?}");
        assert_eq!(answer.degradation_causes, causes, "{stages:?}");
        let known = !stages.contains(&Stage::Id);
        assert_eq!(answer.transaction_id, if known { &id } else { "" });
        assert!(!answer.decision_id.is_empty());
        assert_eq!(service.panics() - panics_before, panics, "{stages:?}");
        assert_eq!(service.recorded() - records_before, records, "{stages:?}");
        // The same again is the same answer, and nothing panics for it where the request could be read.
        service.scoring.sabotage.set(&[]);
        assert_eq!(service.score(&id).await.unwrap(), answer, "{stages:?}");
    }
}

#[tokio::test]
async fn a_refusal_is_no_panic_and_is_not_kept() {
    let service = Service::start();
    let mut malformed = request("t1");
    malformed.transaction.as_mut().unwrap().currency.clear();
    let timing = service.scoring.timing(clock::instant(), None);
    let refused = service
        .scoring
        .score(malformed, timing, service.caller())
        .await;
    assert_eq!(refused.unwrap_err().field, "transaction.currency");
    assert_eq!(service.panics(), 0);
    assert!(service.score("t1").await.is_ok());
}

#[tokio::test(flavor = "multi_thread")]
async fn duplicates_of_a_request_that_panics_get_its_answer() {
    let service = Service::start();
    service.scoring.sabotage.set(&[Stage::Decide]);
    for round in 0..50 {
        let id = format!("t{round}");
        let asked: Vec<_> = (0..8)
            .map(|_| {
                let (scoring, request) = (Arc::clone(&service.scoring), request(&id));
                let timing = scoring.timing(clock::instant(), None);
                let caller = service.caller();
                tokio::spawn(async move { scoring.score(request, timing, caller).await.unwrap() })
            })
            .collect();
        let answers = futures::future::try_join_all(asked);
        let answers = answers.await.unwrap();
        assert!(answers.iter().all(|answer| *answer == answers[0]));
        assert_eq!(answers[0].degradation(), v1::Degradation::RequestOnly);
        assert_eq!(
            (service.panics(), service.recorded()),
            (round + 1, round + 1)
        );
    }
}

#[tokio::test]
async fn what_is_answered_without_a_decision_counts_for_its_card_once() {
    let service = Service::start();
    let counted = || service.scoring.store.size().transactions;
    service.scoring.sabotage.set(&[Stage::Decide]);
    let answer = service.score("t1").await.unwrap();
    assert_eq!(answer.degradation(), v1::Degradation::RequestOnly);
    assert_eq!(counted(), 1);
    service.scoring.sabotage.set(&[]);
    service.score("t2").await.unwrap();
    assert_eq!(counted(), 2);
    // The constant knows of no transaction.
    service.scoring.sabotage.set(&[Stage::Lay]);
    service.score("t3").await.unwrap();
    assert_eq!(counted(), 2);
}

#[tokio::test]
async fn a_late_answer_is_counted_whoever_decided_it() {
    // DE-4
    let service = Service::start();
    let now = clock::instant();
    let arrived = now.checked_sub(Duration::from_millis(200)).unwrap();
    let timing = Timing {
        arrived,
        late_at: arrived + Duration::from_millis(80),
        deadline: arrived + Duration::from_millis(80),
        arrived_at: clock::wall_time(),
    };
    let answer = service.score_by("t1", timing).await.unwrap();
    assert_eq!(answer.degradation_causes, ["deadline_too_short"]);
    assert!(answer.elapsed_us >= 200_000);
    assert_eq!(service.scoring.metrics.late.get(), 1);
    assert_eq!(service.score_by("t1", timing).await.unwrap(), answer);
    assert_eq!(service.scoring.metrics.late.get(), 2);
    assert_eq!(service.recorded(), 1);
}

#[tokio::test]
async fn what_was_given_up_is_counted_and_late_once_its_answer_was_due() {
    // DE-4
    let service = Service::start();
    let (scoring, metrics) = (&service.scoring, &service.scoring.metrics);
    let counted = || (metrics.abandoned.get(), metrics.late.get());
    let now = clock::instant();
    let in_time = Timing {
        arrived: now,
        late_at: now + Duration::from_secs(3_600),
        deadline: now + Duration::from_secs(3_600),
        arrived_at: clock::wall_time(),
    };
    drop(Unanswered::new(scoring, in_time));
    assert_eq!(counted(), (1, 0));
    // The client says that its time is over a moment before it is: as the answer would have, that takes its way.
    let overdue = Timing {
        deadline: now.checked_sub(Duration::from_millis(5)).unwrap(),
        ..in_time
    };
    drop(Unanswered::new(scoring, overdue));
    assert_eq!(counted(), (2, 1));
    Unanswered::new(scoring, overdue).end();
    // An answer and a refusal are none that was given up.
    service.score("t1").await.unwrap();
    let mut malformed = request("t2");
    malformed.transaction.as_mut().unwrap().currency.clear();
    let refused = scoring.score(malformed, in_time, service.caller()).await;
    refused.unwrap_err();
    assert_eq!(metrics.abandoned.get(), 2);
}
