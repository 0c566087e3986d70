//! The whole path, from outside: Kafka in, gRPC in, decisions out.

#![allow(
    clippy::float_cmp,
    clippy::unwrap_used,
    reason = "a test that cannot go on should stop; its numbers are small and exact"
)]

mod common;

use common::{
    EVENT_TIME_S, POLICY, start, start_configured, start_with, transaction, write_policy,
};
use prost::Message;
use tollgate_proto::v1;

fn label(id: &str, fraud: bool, known_second: i64) -> Vec<u8> {
    let known_at = prost_types::Timestamp {
        seconds: EVENT_TIME_S + known_second,
        nanos: 0,
    };
    v1::Label {
        transaction_id: id.to_owned(),
        fraud,
        known_at: Some(known_at),
    }
    .encode_to_vec()
}

#[tokio::test(flavor = "multi_thread")]
async fn history_from_kafka_counts_in_the_next_score() {
    let mut running = start().await;
    running
        .publish_transactions(&[
            (transaction("h1", "card-1", 0, 1000), true),
            (transaction("h2", "card-1", 10, 2000), false),
            (transaction("h3", "card-2", 20, 4000), true),
        ])
        .await;
    let answer = running.score(transaction("s1", "card-1", 30, 500)).await;
    assert_eq!(answer.features["card_count"], 3.0);
    assert_eq!(answer.features["card_sum"], 35.0);
    assert_eq!(answer.features["card_declined"], 1.0);
    assert_eq!(answer.degradation(), v1::Degradation::Full);
    assert_eq!(answer.outcome(), v1::Outcome::Approve);
    running.service.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_scored_transaction_counts_at_once_and_its_echo_counts_no_second_time() {
    let mut running = start().await;
    let first = transaction("s1", "card-1", 0, 1000);
    assert_eq!(
        running.score(first.clone()).await.features["card_count"],
        1.0
    );
    let second = transaction("s2", "card-1", 1, 1000);
    assert_eq!(
        running.score(second.clone()).await.features["card_count"],
        2.0
    );
    // The echo, delivered twice (FS-2), and what it adds: the second was declined.
    let echo = [(first, true), (second.clone(), false), (second, false)];
    running.publish_transactions(&echo).await;
    let third = running.score(transaction("s3", "card-1", 2, 1000)).await;
    assert_eq!(third.features["card_count"], 3.0);
    assert_eq!(third.features["card_declined"], 1.0);
    let result = |result| format!("tollgate_ingest_results_total{{result=\"{result}\"}}");
    assert_eq!(running.metric(&result("confirmed")).await, 2.0);
    assert_eq!(running.metric(&result("duplicate")).await, 1.0);
    running.service.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_label_acts_from_the_moment_it_became_known_whichever_came_first() {
    let mut running = start().await;
    // The label of h2 arrives before its transaction.
    running.publish("labels", &[label("h2", true, 100)]).await;
    let history = [
        (transaction("h1", "card-1", 0, 1000), true),
        (transaction("h2", "card-2", 10, 1000), true),
    ];
    running.publish_transactions(&history).await;
    running.publish("labels", &[label("h1", true, 200)]).await;
    let share = |answer: v1::ScoreResponse| answer.features["terminal_fraud"];
    assert_eq!(
        share(running.score(transaction("s1", "card-3", 99, 1000)).await),
        0.0
    );
    assert_eq!(
        share(running.score(transaction("s2", "card-4", 100, 1000)).await),
        1.0 / 4.0
    );
    assert_eq!(
        share(running.score(transaction("s3", "card-5", 200, 1000)).await),
        2.0 / 5.0
    );
    running.service.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn rules_decide_with_reasons_and_shadow_rules_only_report() {
    let mut running = start().await;
    for number in 0..3 {
        running
            .score(transaction(&format!("s{number}"), "card-1", number, 1000))
            .await;
    }
    let answer = running.score(transaction("s3", "card-1", 3, 60_000)).await;
    assert_eq!(answer.outcome(), v1::Outcome::Decline);
    assert_eq!(answer.reasons[0].code, "BURST");
    assert_eq!(answer.reasons[0].rule_id, "burst");
    assert_eq!(answer.shadow_matches, ["large-in-shadow"]);
    // DE-1: alone, the shadow rule leaves the approval as it is.
    let alone = running.score(transaction("s4", "card-2", 4, 60_000)).await;
    assert_eq!(alone.outcome(), v1::Outcome::Approve);
    assert_eq!(alone.shadow_matches, ["large-in-shadow"]);
    assert_eq!(
        running
            .metric("tollgate_rule_matches_total{mode=\"enforce\",rule=\"burst\"}")
            .await,
        1.0
    );
    assert_eq!(
        running
            .metric("tollgate_rule_matches_total{mode=\"shadow\",rule=\"large-in-shadow\"}")
            .await,
        2.0
    );
    running.service.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rule_for_a_share_of_the_cards_matches_and_counts_for_those_alone() {
    let mut files = POLICY.to_vec();
    files.push((
        "rules/share.yaml",
        "rules:\n  - id: for-half\n    description: Half of the cards.\n    when: transaction.amount > 1\n    \
         then: flag\n    reason: HALF\n    percentage: 50\n  - id: for-half-in-shadow\n    \
         description: Another half.\n    when: transaction.amount > 1\n    then: decline\n    reason: HALF\n    \
         percentage: 50\n    mode: shadow\n",
    ));
    let mut running = start_with(write_policy(&files)).await;
    let mut counted = [0.0, 0.0];
    for card in 0..20 {
        let id = format!("h{card}");
        let sent = transaction(&id, &format!("card-{card}"), card, 1000);
        let answer = running.score(sent).await;
        let flagged = answer.outcome() == v1::Outcome::Flag;
        assert_eq!(flagged, !answer.reasons.is_empty());
        counted[0] += f64::from(u8::from(flagged));
        counted[1] += f64::from(u8::from(answer.shadow_matches == ["for-half-in-shadow"]));
    }
    let rules = [("for-half", "enforce"), ("for-half-in-shadow", "shadow")];
    for ((rule, mode), counted) in rules.into_iter().zip(counted) {
        assert!((1.0..20.0).contains(&counted), "{rule}: {counted}");
        let metric = format!("tollgate_rule_matches_total{{mode=\"{mode}\",rule=\"{rule}\"}}");
        assert_eq!(running.metric(&metric).await, counted, "{rule}");
    }
    running.service.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_transaction_again_gets_the_same_decision() {
    // DE-3, though other transactions of the card were scored in between, and its own result has arrived. Answers are not
    // kept, so that it is decided twice.
    let folder = write_policy(&POLICY);
    let path = folder.path().to_owned();
    let configure = |config: &mut tollgate_scorer::Config| config.idempotency.keep_s = 0;
    let mut running = start_configured(&path, folder, configure).await;
    let first = running.score(transaction("s1", "card-1", 0, 1000)).await;
    for number in 2..9 {
        running
            .score(transaction(&format!("s{number}"), "card-1", 0, 1000))
            .await;
    }
    running
        .publish_transactions(&[(transaction("s1", "card-1", 0, 1000), false)])
        .await;
    let again = running.score(transaction("s1", "card-1", 0, 1000)).await;
    assert_eq!(again.outcome, first.outcome);
    assert_eq!(again.features, first.features);
    assert_eq!(again.policy_version, first.policy_version);
    assert_ne!(again.decision_id, first.decision_id);
    running.service.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_decision_is_in_the_log_once() {
    let mut running = start().await;
    let mut answers = Vec::new();
    for number in 0..20 {
        let id = format!("s{number}");
        answers.push(
            running
                .score(transaction(&id, "card-1", number, 1000))
                .await,
        );
    }
    let records = running.consume("tollgate.decisions", answers.len()).await;
    let mut logged: Vec<v1::DecisionRecord> = records
        .iter()
        .map(|(_, bytes)| v1::DecisionRecord::decode(bytes.as_slice()).unwrap())
        .collect();
    let sequence = |record: &v1::DecisionRecord| record.event_time.unwrap().seconds;
    logged.sort_by_key(sequence);
    for (record, answer) in logged.iter().zip(&answers) {
        assert_eq!(record.response.as_ref(), Some(answer));
        assert_eq!(record.card_id, "card-1");
    }
    running.service.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deadline_too_short_is_answered_from_the_request_alone() {
    let mut running = start().await;
    for (id, amount_minor, outcome, reason) in [
        ("s1", 1_000, v1::Outcome::Approve, None),
        ("s2", 100_000, v1::Outcome::Challenge, Some("LARGE_UNSEEN")),
    ] {
        let transaction = Some(transaction(id, "card-1", 0, amount_minor));
        let request = v1::ScoreRequest {
            transaction,
            include_features: true,
        };
        let mut request = tonic::Request::new(request);
        // Less than the margin for the way back. The header alone, so that the client itself does wait.
        request
            .metadata_mut()
            .insert("grpc-timeout", "4m".parse().unwrap());
        let answer = running.client.score(request).await.unwrap().into_inner();
        assert_eq!(answer.degradation(), v1::Degradation::RequestOnly);
        assert_eq!(answer.degradation_causes, ["deadline_too_short"]);
        assert_eq!(answer.outcome(), outcome);
        assert_eq!(
            answer.reasons.first().map(|reason| reason.code.as_str()),
            reason
        );
    }
    running.service.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_is_answered_in_order() {
    let mut running = start().await;
    let requests: Vec<_> = (0..10)
        .map(|number| {
            let transaction = Some(transaction(&format!("s{number}"), "card-1", number, 1000));
            v1::ScoreRequest {
                transaction,
                include_features: true,
            }
        })
        .collect();
    let stream = running
        .client
        .score_stream(tokio_stream::iter(requests))
        .await
        .unwrap();
    let mut stream = stream.into_inner();
    for number in 0..10_u8 {
        let answer = stream.message().await.unwrap().unwrap();
        assert_eq!(answer.transaction_id, format!("s{number}"));
        assert_eq!(answer.features["card_count"], f64::from(number) + 1.0);
    }
    assert!(stream.message().await.unwrap().is_none());
    running.service.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_currency_without_rate_is_decided_and_said() {
    let mut running = start().await;
    let mut foreign = transaction("s1", "card-1", 0, 1000);
    foreign.currency = "JPY".to_owned();
    let answer = running.score(foreign).await;
    assert_eq!(answer.degradation_causes, ["currency_without_rate"]);
    assert!(
        !answer.features.contains_key("amount"),
        "{:?}",
        answer.features
    );
    let mut known = transaction("s2", "card-1", 1, 1000);
    known.currency = "USD".to_owned();
    assert_eq!(running.score(known).await.features["amount"], 5.0);
    running.service.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn operators_see_readiness_status_and_metrics() {
    let running = start().await;
    assert!(running.get("/readyz").await.starts_with("HTTP/1.0 200"));
    assert!(running.get("/healthz").await.contains("alive"));
    let status = running.get("/status").await;
    assert!(
        status.contains("\"ready\":true") && status.contains("\"rules\":2"),
        "{status}"
    );
    assert_eq!(running.metric("tollgate_ready").await, 1.0);
    running.service.stop().await;
}
