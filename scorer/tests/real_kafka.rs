//! The whole path over real Apache Kafka, where `KAFKA_BOOTSTRAP` names one: what is read, what is written, and what
//! becomes of both while a broker is killed.

#![allow(
    clippy::float_cmp,
    clippy::unwrap_used,
    reason = "a test that cannot go on should stop; its numbers are small and exact"
)]

mod brokers;
mod common;

use std::collections::BTreeSet;

use brokers::{Brokers, PATIENCE, event, must_not_skip, send, until, until_read};
use common::{EVENT_TIME_S, POLICY, PUBLISHED, Running, transaction};
use prost::Message;
use rdkafka::producer::Producer;
use tollgate_proto::v1;

fn label(id: &str, known_second: i64) -> Vec<u8> {
    v1::Label {
        transaction_id: id.to_owned(),
        fraud: true,
        known_at: Some(prost_types::Timestamp {
            seconds: EVENT_TIME_S + known_second,
            nanos: 0,
        }),
    }
    .encode_to_vec()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_kafka_holds_counts_and_what_is_decided_is_written() {
    let Some(brokers) = Brokers::named("whole-path") else {
        return;
    };
    brokers.create_topics().await;
    let mut running = brokers.start(&POLICY).await;
    // A label may come before its transaction.
    brokers.publish("labels", &[("card-1".to_owned(), label("h1", 5))]);
    until_read(&running, "labels", 1).await;
    let history = [
        event(transaction("h1", "card-1", 0, 1000), true),
        event(transaction("h2", "card-1", 10, 2000), false),
        event(transaction("h3", "card-2", 20, 4000), true),
    ];
    brokers.publish("transactions", &history);
    until_read(&running, "transactions", 3).await;
    let scored = transaction("s1", "card-1", 30, 500);
    let answer = running.score(scored.clone()).await;
    assert_eq!(answer.degradation(), v1::Degradation::Full);
    assert_eq!(answer.features["card_count"], 3.0);
    assert_eq!(answer.features["card_declined"], 1.0);
    // One of the terminal's four, the one being scored among them.
    assert_eq!(answer.features["terminal_fraud"], 0.25);
    // The echo, twice, counts no second time (FS-2).
    let echo = event(scored, true);
    brokers.publish("transactions", &[echo.clone(), echo]);
    until_read(&running, "transactions", 5).await;
    let answer = running.score(transaction("s2", "card-1", 40, 500)).await;
    assert_eq!(answer.features["card_count"], 4.0);
    let decisions = running.consume(&brokers.topic("decisions"), 2).await;
    let ids = decisions.iter().map(|(_, bytes)| {
        let record = v1::DecisionRecord::decode(&bytes[..]).unwrap();
        record.response.unwrap().transaction_id
    });
    assert_eq!(
        ids.collect::<BTreeSet<_>>(),
        ["s1", "s2"].map(str::to_owned).into()
    );
    running.service.stop().await;

    // The log is the truth: a new process comes to the same by reading it. What was only scored, and never came
    // back as an event, is not in it.
    let mut running = brokers.start(&POLICY).await;
    let answer = running.score(transaction("s3", "card-1", 40, 500)).await;
    assert_eq!(answer.features["card_count"], 4.0);
    assert_eq!(answer.features["card_declined"], 1.0);
    running.service.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_read_goes_to_dead_letters() {
    let Some(brokers) = Brokers::named("dead-letters") else {
        return;
    };
    brokers.create_topics().await;
    let mut running = brokers.start(&POLICY).await;
    let good = event(transaction("h1", "card-1", 0, 1000), true);
    let bad = ("card-1".to_owned(), b"not a transaction".to_vec());
    brokers.publish("transactions", &[bad, good]);
    until_read(&running, "transactions", 2).await;
    let answer = running.score(transaction("s1", "card-1", 30, 500)).await;
    assert_eq!(answer.features["card_count"], 2.0);
    let letters = running.consume(&brokers.topic("dead-letters"), 1).await;
    let (text, _) = &letters[0];
    assert!(text.contains("topic=dead-letters-"), "{text}");
    assert!(
        text.contains("error=the value is not a TransactionEvent"),
        "{text}"
    );
    running.service.stop().await;
}

/// How many cards the events are spread over, so that every partition has some.
const CARDS: usize = 24;

#[tokio::test(flavor = "multi_thread")]
async fn a_broker_that_is_killed_and_comes_back_loses_nothing_and_doubles_nothing() {
    let Some(brokers) = Brokers::named("killed-broker") else {
        return;
    };
    if std::env::var_os("KAFKA_CONTROL").is_none() || brokers.count() < 3 {
        must_not_skip("killed-broker");
        eprintln!(
            "skipped: killed-broker: needs three brokers that `cargo xtask test` has started"
        );
        return;
    }
    brokers.create_topics().await;
    // A machine that stalls may make an answer late, and its late verdict would be a second record of one decision.
    let mut running = brokers
        .start_with(&POLICY, |config| config.late_verdict.enabled = false)
        .await;
    let producer = brokers.producer();
    let topic = brokers.topic("transactions");
    let control = {
        let brokers = brokers.clone();
        tokio::task::spawn_blocking(move || {
            brokers.control("kill", 2).unwrap();
            brokers.control("start", 2).unwrap();
        })
    };
    let (mut sent, mut scored) = ([0_usize; CARDS], 0_usize);
    while !control.is_finished() {
        let card = scored % CARDS;
        let id = format!("e{scored}");
        let (key, value) = event(transaction(&id, &format!("card-{card}"), 0, 1000), true);
        send(&producer, &topic, &key, &value);
        sent[card] += 1;
        let id = format!("s{scored}");
        running.score(transaction(&id, "scored-card", 0, 500)).await;
        scored += 1;
    }
    control.await.unwrap();
    let count = sent.iter().sum();
    tokio::task::spawn_blocking(move || producer.flush(PATIENCE).unwrap())
        .await
        .unwrap();
    until_read(&running, "transactions", count).await;
    until(
        &running,
        PUBLISHED,
        f64::from(u32::try_from(scored).unwrap()),
    )
    .await;

    for (card, &sent) in sent.iter().enumerate() {
        scored += counts(&mut running, &format!("card-{card}"), sent).await;
    }
    // One record for each decision.
    let records = running.consume(&brokers.topic("decisions"), scored).await;
    let ids = records.iter().map(|(_, bytes)| {
        let record = v1::DecisionRecord::decode(&bytes[..]).unwrap();
        record.response.unwrap().decision_id
    });
    assert_eq!(ids.collect::<BTreeSet<_>>().len(), scored);
    running.service.stop().await;
}

/// Holds that a card has so many events, and returns how often it had to be asked: a machine that stalls may make an answer
/// late, which then has no counts.
async fn counts(running: &mut Running, card: &str, events: usize) -> usize {
    for asked in 1.. {
        let probe = transaction(&format!("probe-{card}-{asked}"), card, 10, 500);
        if let Some(&counted) = running.score(probe).await.features.get("card_count") {
            // The probes count as well.
            let expected = f64::from(u32::try_from(events + asked).unwrap());
            assert_eq!(counted, expected, "{card}");
            return asked;
        }
    }
    unreachable!("numbers do not end")
}
