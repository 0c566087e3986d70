//! `tollgate dead-letters` on the embedded broker.

#![allow(
    clippy::unwrap_used,
    reason = "a test that cannot go on should stop; its numbers are small and exact"
)]

mod brokers;
mod common;
mod letters;

use std::process::Command;

use brokers::{Brokers, PARTITIONS};
use common::POLICY;
use rdkafka::mocking::MockCluster;
use rdkafka::producer::DefaultProducerContext;
use tollgate_scorer::Format;

/// A broker that outlives the services.
fn cluster() -> (MockCluster<'static, DefaultProducerContext>, Brokers) {
    let cluster = MockCluster::new(1).unwrap();
    let brokers = Brokers::of(&cluster.bootstrap_servers(), "tollgate");
    for topic in ["transactions", "labels", "decisions", "dead-letters"] {
        let created = cluster.create_topic(&brokers.topic(topic), PARTITIONS, 1);
        created.unwrap();
    }
    (cluster, brokers)
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_refused_for_a_wrong_format_counts_after_a_replay_and_only_once() {
    let (_cluster, brokers) = cluster();
    let snapshots = tempfile::tempdir().unwrap();
    Box::pin(letters::a_wrong_format_is_mended(
        &brokers,
        snapshots.path(),
    ))
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_refused_for_a_wrong_schema_counts_once_however_it_is_read() {
    let (_cluster, brokers) = cluster();
    letters::a_schema_is_mended(&brokers).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn letters_without_a_record_are_told_and_stop_nothing() {
    let (_cluster, brokers) = cluster();
    letters::letters_without_a_record_are_told(&brokers).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replay_that_cannot_run_ends_with_two() {
    let (_cluster, brokers) = cluster();
    let elsewhere = Brokers::of(&brokers.bootstrap, "elsewhere");
    let told = letters::dead_letters(&elsewhere, &POLICY, Format::Json, &["list"]).await;
    assert_eq!(told.code, 2, "{}", told.text);
    told.says("set kafka.dead_letters_topic to the topic that has the letters");
    let told = letters::dead_letters(&brokers, &[], Format::Json, &["replay"]).await;
    assert_eq!(told.code, 2, "{}", told.text);
    let nowhere = Command::new(env!("CARGO_BIN_EXE_tollgate"))
        .args(["dead-letters", "replay"])
        .output()
        .unwrap();
    assert_eq!(nowhere.status.code(), Some(2));
    let text = String::from_utf8_lossy(&nowhere.stderr);
    assert!(text.contains("kafka.bootstrap names no broker"), "{text}");
    let nonsense = letters::dead_letters(
        &brokers,
        &POLICY,
        Format::Json,
        &["list", "--since", "lately"],
    );
    let told = nonsense.await;
    assert_eq!(told.code, 2, "{}", told.text);
    told.says("like 2h");
}
