//! What was answered without the full decision gets one afterwards, in the decision log.

#![allow(
    clippy::float_cmp,
    clippy::unwrap_used,
    reason = "a test that cannot go on should stop; its numbers are small and exact"
)]

mod common;

use std::time::Duration;

use common::{
    POLICY, Running, library, load_policy, start_configured, transaction, write_policy,
    write_slow_bundle,
};
use prost::Message;
use tollgate_models::{BreakerOptions, Runtime};
use tollgate_proto::v1;
use tollgate_proto::v1::scoring_service_client::ScoringServiceClient;
use tollgate_scorer::{Config, Loader, ModelLimits, Service};

/// An amount for which the model runs until it is ended.
const STUCK: i64 = 1_000_000_000;

/// How long a test waits for what happens after the answer. Only ever waited out by a failure.
const PATIENCE: Duration = Duration::from_secs(30);

const SCORE_RULES: &str = "rules:
  - id: likely
    description: The model finds it likely.
    when: model.score >= 0.2 && transaction.amount >= 5
    then: decline
    reason: MODEL_SCORE
";

async fn start(configure: impl FnOnce(&mut Config)) -> Running {
    let mut files = POLICY.to_vec();
    files.push(("rules/score.yaml", SCORE_RULES));
    files.push(("models.yaml", "champion: slow/1\nchallengers: [slow/2]\n"));
    let folder = write_policy(&files);
    for version in ["1", "2"] {
        write_slow_bundle(folder.path(), version);
    }
    let path = folder.path().to_owned();
    start_configured(&path, folder, configure).await
}

/// A service whose champion is not asked again once it has missed.
async fn start_unforgiving() -> Running {
    let mut files = POLICY.to_vec();
    files.push(("rules/score.yaml", SCORE_RULES));
    files.push(("models.yaml", "champion: slow/1\n"));
    let policy = write_policy(&files);
    for version in ["1", "2"] {
        write_slow_bundle(policy.path(), version);
    }
    let limits = ModelLimits {
        breaker: BreakerOptions {
            answers: 1,
            pause: Duration::from_secs(3_600),
            ..BreakerOptions::default()
        },
        ..ModelLimits::default()
    };
    let runtime = Runtime::load(&library());
    let loader = Loader::new(policy.path().to_owned(), runtime, limits);
    let loaded = load_policy(&loader);
    let mut config = Config::default();
    config.grpc.listen.set_port(0);
    config.admin.listen.set_port(0);
    let service = Service::start(config, loader, loaded).await.unwrap();
    tokio::time::timeout(PATIENCE, service.ready())
        .await
        .unwrap();
    let address = format!("http://{}", service.addresses().grpc);
    let client = ScoringServiceClient::connect(address).await.unwrap();
    Running {
        service,
        client,
        policy,
    }
}

/// With less than a millisecond left nobody waits for the model, however fast it is.
fn in_a_hurry(config: &mut Config) {
    config.deadline.budget_ms = 1;
}

async fn records(running: &Running, count: usize) -> Vec<v1::DecisionRecord> {
    let found = running.consume("tollgate.decisions", count).await;
    let decode = |(_, bytes): &(String, Vec<u8>)| v1::DecisionRecord::decode(bytes.as_slice());
    found.iter().map(|record| decode(record).unwrap()).collect()
}

/// Waits until so many late verdicts have had this result.
async fn result(running: &Running, result: &str, count: f64) {
    let sample = format!("tollgate_late_verdicts_total{{result=\"{result}\"}}");
    let counted = async {
        while running.metric(&sample).await < count {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(PATIENCE, counted).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrongly_approved_transaction_can_be_found_in_the_log() {
    let mut running = start(in_a_hurry).await;
    let answer = running.score(transaction("t1", "card-1", 0, 1000)).await;
    assert_eq!(answer.outcome(), v1::Outcome::Approve);
    assert_ne!(answer.degradation(), v1::Degradation::Full);
    assert_eq!(answer.degradation_causes, ["deadline_too_short"]);

    let records = records(&running, 2).await;
    let (late, first): (Vec<_>, Vec<_>) = records.into_iter().partition(|one| one.late_verdict);
    let [first] = &first[..] else {
        panic!("one record of the answer: {first:?}");
    };
    assert_eq!(first.answered_outcome(), v1::Outcome::Unspecified);
    assert_eq!(
        first.response.as_ref().unwrap().decision_id,
        answer.decision_id
    );
    let [late] = &late[..] else {
        panic!("one late verdict: {late:?}");
    };
    assert_eq!(late.answered_outcome(), v1::Outcome::Approve);
    assert_eq!(late.card_id, "card-1");
    assert_eq!(late.event_time, first.event_time);
    assert!(late.challengers.is_empty());
    let verdict = late.response.as_ref().unwrap();
    assert_eq!(verdict.decision_id, answer.decision_id);
    assert_eq!(verdict.transaction_id, "t1");
    assert_eq!(verdict.policy_version, answer.policy_version);
    assert_eq!(verdict.degradation(), v1::Degradation::Full);
    assert_eq!(verdict.outcome(), v1::Outcome::Decline);
    assert_eq!((verdict.has_score, verdict.score), (true, 0.25));
    assert_eq!(verdict.reasons[0].code, "MODEL_SCORE");

    result(&running, "written", 1.0).await;
    let differs = "tollgate_late_verdict_outcomes_total{answered=\"approve\",verdict=\"decline\"}";
    assert_eq!(running.metric(differs).await, 1.0);
    // What was answered is counted as that, once.
    assert_eq!(
        running
            .metric("tollgate_decisions_total{outcome=\"approve\"}")
            .await,
        1.0
    );
    assert_eq!(
        running
            .metric("tollgate_decisions_total{outcome=\"decline\"}")
            .await,
        0.0
    );
    running.service.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_late_verdict_sees_what_was_before_the_transaction_and_nothing_after() {
    // The rule declines what comes after three in a month.
    let mut running = start(in_a_hurry).await;
    let mut answered_below = Vec::new();
    for second in 0..5 {
        let id = format!("t{second}");
        let answer = running.score(transaction(&id, "card-1", second, 100)).await;
        // A decline that is certain without the model is a full one, if there was time to see that.
        if answer.degradation() != v1::Degradation::Full {
            answered_below.push(second);
        }
    }
    assert!(answered_below.len() >= 3);
    let records = records(&running, 5 + answered_below.len()).await;
    let late = records.into_iter().filter(|record| record.late_verdict);
    let mut outcomes: Vec<(String, v1::Outcome)> = late
        .map(|record| record.response.unwrap())
        .map(|verdict| (verdict.transaction_id.clone(), verdict.outcome()))
        .collect();
    outcomes.sort();
    let outcome = |at: i64| match at {
        0..=2 => v1::Outcome::Approve,
        _ => v1::Outcome::Decline,
    };
    let expected = answered_below.into_iter();
    let expected: Vec<_> = expected.map(|at| (format!("t{at}"), outcome(at))).collect();
    assert_eq!(outcomes, expected);
    running.service.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_answer_owes_nothing_and_late_verdicts_can_be_turned_off() {
    let mut running = start(|_| {}).await;
    let answer = running.score(transaction("t1", "card-1", 0, 1000)).await;
    assert_eq!(answer.degradation(), v1::Degradation::Full);
    let metrics = running.metrics().await;
    assert!(
        !metrics.contains("tollgate_late_verdicts_total{"),
        "{metrics}"
    );
    running.service.stop().await;
    let mut running = start(|config| {
        in_a_hurry(config);
        config.late_verdict.enabled = false;
    })
    .await;
    running.score(transaction("t1", "card-1", 0, 1000)).await;
    let metrics = running.metrics().await;
    assert!(
        !metrics.contains("tollgate_late_verdicts_total{"),
        "{metrics}"
    );
    running.service.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_model_cannot_answer_is_given_up_and_counted() {
    let mut running = start(|_| {}).await;
    let answer = running.score(transaction("t1", "card-1", 0, STUCK)).await;
    assert_eq!(answer.degradation_causes, ["model_timeout"]);
    result(&running, "model_failed", 1.0).await;
    assert_eq!(running.metric("tollgate_late_verdict_backlog ").await, 0.0);
    running.service.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn where_the_model_was_replaced_while_it_was_stuck_the_live_policy_decides() {
    let mut running = start_unforgiving().await;
    let stuck = running.score(transaction("t1", "card-1", 0, STUCK)).await;
    assert_eq!(stuck.degradation_causes, ["model_timeout"]);
    let answer = running.score(transaction("t2", "card-2", 0, 1000)).await;
    assert_eq!(answer.degradation(), v1::Degradation::NoModel);
    assert_eq!(answer.degradation_causes, ["model_circuit_open"]);
    assert_eq!(answer.outcome(), v1::Outcome::Approve);

    let models = running.policy.path().join("models.yaml");
    std::fs::write(models, "champion: slow/2\n").unwrap();
    let records = records(&running, 3).await;
    let late: Vec<_> = records.iter().filter(|one| one.late_verdict).collect();
    let [late] = &late[..] else {
        panic!("one late verdict: {late:?}");
    };
    assert_eq!(late.answered_outcome(), v1::Outcome::Approve);
    let verdict = late.response.as_ref().unwrap();
    assert_eq!(verdict.decision_id, answer.decision_id);
    assert_eq!(verdict.outcome(), v1::Outcome::Decline);
    assert_eq!(verdict.degradation(), v1::Degradation::Full);
    // It says who has made it.
    assert_eq!(verdict.model_version, "slow/2");
    assert_ne!(verdict.policy_version, answer.policy_version);
    // The other model cannot answer the first one either, and that held up nobody.
    result(&running, "model_failed", 1.0).await;
    result(&running, "written", 1.0).await;
    running.service.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_backlog_has_no_room_for_is_counted() {
    let mut running = start(|config| {
        in_a_hurry(config);
        config.late_verdict.backlog_max = 1;
        config.late_verdict.per_second_max = 1;
    })
    .await;
    for second in 0..20 {
        let id = format!("t{second}");
        running.score(transaction(&id, &id, second, 100)).await;
    }
    result(&running, "backlog_full", 1.0).await;
    result(&running, "written", 2.0).await;
    // None is counted twice, and none not at all.
    let counted = async {
        loop {
            let metrics = running.metrics().await;
            let results = metrics
                .lines()
                .filter(|line| line.starts_with("tollgate_late_verdicts_total{"));
            let counts = results.map(|line| line.rsplit(' ').next().unwrap().parse::<f64>());
            let sum: f64 = counts.map(Result::unwrap).sum();
            assert!(sum <= 20.0, "{metrics}");
            if sum == 20.0 {
                return;
            }
        }
    };
    tokio::time::timeout(PATIENCE, counted).await.unwrap();
    running.service.stop().await;
}
