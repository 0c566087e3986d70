//! Decisions with a model: its score, its absence, and challengers.

#![allow(
    clippy::float_cmp,
    clippy::unwrap_used,
    reason = "a test that cannot go on should stop; its numbers are small and exact"
)]

mod common;

use common::{POLICY, Running, loader, start_with, transaction, write_policy, write_slow_bundle};
use prost::Message;
use tollgate_proto::v1;

/// An amount for which the model runs for seconds, far beyond any deadline.
const STUCK: i64 = 1_000_000_000;

const SCORE_RULES: &str = "rules:
  - id: likely
    description: The model finds it likely.
    when: model.score >= 0.2
    then: flag
    reason: MODEL_SCORE
  - id: waved-through
    description: A card we trust.
    when: transaction.card_id == \"trusted\"
    then: approve
";

async fn start(models: &str, rules: Option<&str>) -> Running {
    let mut files = POLICY.to_vec();
    files.extend(rules.map(|rules| ("rules/score.yaml", rules)));
    files.push(("models.yaml", models));
    let folder = write_policy(&files);
    for version in ["1", "2"] {
        write_slow_bundle(folder.path(), version);
    }
    start_with(folder).await
}

#[tokio::test(flavor = "multi_thread")]
async fn rules_read_the_score_and_the_answer_says_whose_it_is() {
    let mut running = start("champion: slow/1\n", Some(SCORE_RULES)).await;
    let answer = running.score(transaction("s1", "card-1", 0, 1000)).await;
    assert_eq!((answer.has_score, answer.score), (true, 0.25));
    assert_eq!(answer.model_version, "slow/1");
    assert_eq!(answer.outcome(), v1::Outcome::Flag);
    assert_eq!(answer.reasons[0].code, "MODEL_SCORE");
    assert_eq!(answer.degradation(), v1::Degradation::Full);
    running.service.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stuck_model_is_left_out_and_the_fallback_table_answers() {
    // DE-4: the model is in its first run for seconds, and every request is answered all the same.
    let mut running = start("champion: slow/1\n", Some(SCORE_RULES)).await;
    let stuck = running.score(transaction("s1", "card-1", 0, STUCK)).await;
    assert_eq!(stuck.degradation(), v1::Degradation::NoModel);
    assert_eq!(stuck.degradation_causes, ["model_timeout"]);
    assert_eq!(
        stuck.outcome(),
        v1::Outcome::Challenge,
        "the table's case for large amounts"
    );
    assert_eq!(stuck.reasons[0].code, "LARGE_UNSEEN");
    assert!(!stuck.has_score && stuck.model_version.is_empty());
    assert_eq!(stuck.features["card_count"], 1.0, "histories still count");

    let small = running.score(transaction("s2", "card-2", 1, 1000)).await;
    assert_eq!(small.degradation_causes, ["model_timeout"]);
    assert_eq!(
        small.outcome(),
        v1::Outcome::Approve,
        "no rule, and no case, for small amounts"
    );

    let trusted = running.score(transaction("s3", "trusted", 2, STUCK)).await;
    assert_eq!(trusted.degradation(), v1::Degradation::NoModel);
    assert_eq!(
        trusted.outcome(),
        v1::Outcome::Approve,
        "what a rule allows stays allowed"
    );
    running.service.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_decline_that_nothing_can_change_does_not_ask_the_model() {
    let certain = "rules:
  - id: huge
    description: Far too much.
    when: transaction.amount > 900000
    then: decline
    reason: HUGE
  - id: score-too
    description: The model finds it likely.
    when: model.score >= 0.2
    then: decline
    reason: MODEL_SCORE
";
    let allow = "  - id: unlikely
    description: The model finds it unlikely.
    when: model.score < 0.2
    then: approve
";
    // The model would run for seconds, so an answer that has waited for it would name a cause.
    let mut running = start("champion: slow/1\n", Some(certain)).await;
    let answer = running.score(transaction("s1", "card-1", 0, STUCK)).await;
    assert_eq!(answer.outcome(), v1::Outcome::Decline);
    assert_eq!(answer.degradation(), v1::Degradation::Full);
    assert!(answer.degradation_causes.is_empty() && !answer.has_score);
    running.service.stop().await;
    // With a rule that could still allow it, the model is asked.
    let mut running = start("champion: slow/1\n", Some(&format!("{certain}{allow}"))).await;
    let answer = running.score(transaction("s1", "card-1", 0, STUCK)).await;
    assert_eq!(answer.degradation_causes, ["model_timeout"]);
    running.service.stop().await;
}

#[test]
fn what_is_no_file_or_named_twice_is_refused_and_never_waited_for() {
    let champion = "champion: slow/1\n";
    for name in ["manifest.yaml", "model.onnx", "golden.json"] {
        let files = [POLICY.as_slice(), &[("models.yaml", champion)]].concat();
        let folder = write_policy(&files);
        write_slow_bundle(folder.path(), "1");
        let path = folder.path().join("models/slow/1").join(name);
        std::fs::remove_file(&path).unwrap();
        std::os::unix::fs::symlink("/dev/zero", &path).unwrap();
        let errors = loader(folder.path()).load().unwrap_err().render();
        assert!(errors.contains(name) && errors.contains("file"), "{errors}");
    }
    let twice = "champion: slow/1\nchallengers: [slow/1]\n";
    let folder = write_policy(&[POLICY.as_slice(), &[("models.yaml", twice)]].concat());
    write_slow_bundle(folder.path(), "1");
    let errors = loader(folder.path()).load().unwrap_err().render();
    assert!(errors.contains("`slow/1` is named twice"), "{errors}");
}

#[tokio::test(flavor = "multi_thread")]
async fn challengers_are_in_the_log_and_nowhere_else() {
    // DE-1: nothing of the answer tells that there is a challenger, not even that it is still running.
    let mut running = start("challengers: [slow/2]\n", None).await;
    let answer = running.score(transaction("s1", "card-1", 0, 1000)).await;
    assert_eq!(answer.outcome(), v1::Outcome::Approve);
    assert!(!answer.has_score);
    let records = running.consume("tollgate.decisions", 1).await;
    let record = v1::DecisionRecord::decode(records[0].1.as_slice()).unwrap();
    assert_eq!(record.challengers.len(), 1);
    assert_eq!(record.challengers[0].model_version, "slow/2");
    assert_eq!(record.challengers[0].score, 0.25);
    running.service.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_model_that_keeps_missing_is_not_asked_until_it_has_recovered() {
    let mut running = start("champion: slow/1\n", Some(SCORE_RULES)).await;
    let mut second = 0;
    let mut causes = Vec::new();
    while causes
        .last()
        .is_none_or(|cause| cause != "model_circuit_open")
    {
        second += 1;
        // A card each: the fourth of one card would be declined without the model.
        let stuck = transaction(
            &format!("s{second}"),
            &format!("stuck-{second}"),
            second,
            STUCK,
        );
        let answer = running.score(stuck).await;
        assert_eq!(answer.degradation(), v1::Degradation::NoModel);
        causes.extend(answer.degradation_causes);
        assert!(causes.len() < 100, "{causes:?}");
    }
    assert_eq!(causes.len(), 11, "as many misses as `bad_max`: {causes:?}");
    let status = running.get("/status").await;
    assert!(status.contains("\"champion_circuit\":\"open\""), "{status}");
    let metrics = running.metrics().await;
    assert!(
        metrics.contains("tollgate_model_circuit_opened_total 1"),
        "{metrics}"
    );
    assert!(metrics.contains("tollgate_model_circuit_state 2"));

    // The endless run is ended, and amounts that it answers at once close the circuit, one probe after the other.
    let mut full = 0;
    while full < 4 {
        second += 1;
        let small = transaction(
            &format!("s{second}"),
            &format!("small-{second}"),
            second,
            100,
        );
        let answer = running.score(small).await;
        full += u32::from(answer.degradation() == v1::Degradation::Full);
        assert!(second < 1_000_000, "it never recovers");
    }
    let status = running.get("/status").await;
    assert!(
        status.contains("\"champion_circuit\":\"closed\""),
        "{status}"
    );
    running.service.stop().await;
}
