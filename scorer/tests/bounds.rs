//! What the bounds of histories look like from outside: in answers and in metrics.

#![allow(
    clippy::float_cmp,
    clippy::unwrap_used,
    reason = "a test that cannot go on should stop; its numbers are small and exact"
)]

mod common;

use common::{POLICY, start, start_with, transaction, write_policy};
use tollgate_proto::v1;

#[tokio::test(flavor = "multi_thread")]
async fn a_decision_that_read_a_cut_off_history_says_so() {
    let mut policy = POLICY;
    policy[0].1 = "attributes:\n  product: text\nentities:\n  \
         card: {key: card_id, retain: [amount], retention: 40d, events_max: 256}\n  \
         terminal: {key: terminal_id, retention: 40d, resolution: 1h}\n";
    let mut running = start_with(write_policy(&policy)).await;
    let history = |number: i64| {
        let id = format!("h{number}");
        (transaction(&id, "card-1", number, 100), true)
    };
    let history: Vec<_> = (0..300).map(history).collect();
    running.publish_transactions(&history).await;
    let answer = running.score(transaction("s1", "card-1", 300, 100)).await;
    assert_eq!(answer.degradation_causes, ["history_cut_off"]);
    assert_eq!(answer.degradation(), v1::Degradation::Full);
    assert!(answer.features["card_count"] < 257.0);
    let other = running.score(transaction("s2", "card-2", 300, 100)).await;
    assert_eq!(other.degradation_causes, [""; 0]);
    let cause = "tollgate_degradation_causes_total{cause=\"history_cut_off\"}";
    assert_eq!(running.metric(cause).await, 1.0);
    running.service.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_from_the_far_future_goes_to_dead_letters_and_changes_nothing() {
    let mut running = start().await;
    let history = [
        (transaction("h1", "card-1", 0, 1000), true),
        // Some three hundred years ahead: were it taken, everything else would be beyond retention.
        (transaction("f1", "card-1", 10_000_000_000, 1000), true),
        (transaction("h2", "card-1", 20, 1000), true),
    ];
    running.publish_transactions(&history).await;
    let answer = running.score(transaction("s1", "card-1", 30, 1000)).await;
    assert_eq!(answer.features["card_count"], 3.0);
    let result = |result| format!("tollgate_ingest_results_total{{result=\"{result}\"}}");
    assert_eq!(running.metric(&result("dead_letter")).await, 1.0);
    running.service.stop().await;
}
