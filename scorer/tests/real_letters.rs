//! `tollgate dead-letters` on real Apache Kafka, where `KAFKA_BOOTSTRAP` names one.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on should stop")]

mod brokers;
mod common;
mod letters;

use brokers::Brokers;

#[tokio::test(flavor = "multi_thread")]
async fn what_was_refused_for_a_wrong_format_counts_after_a_replay_and_only_once() {
    let Some(brokers) = Brokers::named("letters-format") else {
        return;
    };
    brokers.create_topics().await;
    let snapshots = tempfile::tempdir().unwrap();
    Box::pin(letters::a_wrong_format_is_mended(
        &brokers,
        snapshots.path(),
    ))
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_refused_for_a_wrong_schema_counts_once_however_it_is_read() {
    let Some(brokers) = Brokers::named("letters-schema") else {
        return;
    };
    brokers.create_topics().await;
    letters::a_schema_is_mended(&brokers).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn letters_without_a_record_are_told_and_stop_nothing() {
    let Some(brokers) = Brokers::named("letters-strange") else {
        return;
    };
    brokers.create_topics().await;
    letters::letters_without_a_record_are_told(&brokers).await;
}
