//! Topics of real Apache Kafka, where `KAFKA_BOOTSTRAP` names one: that come late, that grow, and whose records are in
//! every form there is, and compressed in every way.

#![allow(
    clippy::float_cmp,
    clippy::unwrap_used,
    reason = "a test that cannot go on should stop; its numbers are small and exact"
)]

mod brokers;
mod common;

use brokers::{Brokers, PARTITIONS, PATIENCE, event, send, start_unready, until, until_read};
use common::{EVENT_TIME_S, POLICY, transaction};
use prost::Message;
use rdkafka::ClientConfig;
use rdkafka::producer::{BaseRecord, DefaultProducerContext, Producer, ThreadedProducer};
use tollgate_proto::v1;
use tollgate_scorer::Format;

#[tokio::test(flavor = "multi_thread")]
async fn topics_that_are_not_there_yet_are_waited_for() {
    let Some(brokers) = Brokers::named("late-topics") else {
        return;
    };
    let mut running = start_unready(&brokers, |_| ()).await;
    for topic in ["transactions", "labels"] {
        let waiting = format!("tollgate_ingest_waiting{{topic=\"{topic}\"}}");
        until(&running, &waiting, 1.0).await;
    }
    let page = running.get("/readyz").await;
    assert!(page.contains("503") && page.contains("not ready"), "{page}");
    for topic in ["transactions", "labels"] {
        let name = brokers.topic(topic);
        let expected = format!("{topic} cannot be read yet: topic {name} does not exist");
        // Kafka itself may not answer at first.
        let told = async {
            while !running.get("/readyz").await.contains(&expected) {
                tokio::task::yield_now().await;
            }
        };
        let told = tokio::time::timeout(PATIENCE, told).await;
        assert!(told.is_ok(), "{expected}");
    }
    let status = running.get("/status").await;
    let unknown = "\"replay\":{\"events_left\":null,\"events_per_second\":0,\"seconds_left\":null}";
    assert!(status.contains(unknown), "{status}");
    assert_eq!(running.metric("tollgate_replay_seconds_left").await, -1.0);
    // Requests are answered meanwhile.
    let answer = running.score(transaction("s1", "card-1", 0, 500)).await;
    assert_eq!(answer.outcome(), v1::Outcome::Approve);

    brokers.create_topics().await;
    let ready = tokio::time::timeout(PATIENCE, running.service.ready()).await;
    assert!(ready.is_ok(), "the service did not become ready");
    brokers.publish(
        "transactions",
        &[event(transaction("h1", "card-1", 10, 1000), true)],
    );
    until_read(&running, "transactions", 1).await;
    assert_eq!(running.metric("tollgate_replay_seconds_left").await, 0.0);
    let answer = running.score(transaction("s2", "card-1", 30, 500)).await;
    assert_eq!(answer.features["card_count"], 3.0);
    running.service.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_that_waits_for_its_topics_can_be_stopped() {
    let Some(brokers) = Brokers::named("no-topics") else {
        return;
    };
    let running = start_unready(&brokers, |_| ()).await;
    let stopped = tokio::time::timeout(PATIENCE, running.service.stop()).await;
    assert!(stopped.is_ok(), "the service did not stop");
}

#[tokio::test(flavor = "multi_thread")]
async fn partitions_that_a_topic_gets_while_it_is_read_are_read_from_their_beginning() {
    let Some(brokers) = Brokers::named("more-partitions") else {
        return;
    };
    brokers.create_topics().await;
    let mut running = brokers.start(&POLICY).await;
    let partitions = "tollgate_ingest_partitions{topic=\"transactions\"}";
    until(&running, partitions, f64::from(PARTITIONS)).await;
    let more = 2 * PARTITIONS;
    brokers.grow_topic("transactions", more).await;
    // One record to each partition, those that the service has not noticed yet among them.
    let producer = brokers.producer();
    let topic = brokers.topic("transactions");
    for partition in 0..more {
        let id = format!("h{partition}");
        let (key, value) = event(transaction(&id, "card-1", 0, 1000), true);
        let record = BaseRecord::to(&topic).key(&key).payload(&value);
        let sent = producer.send(record.partition(partition));
        sent.map_err(|(error, _)| error).unwrap();
    }
    producer.flush(PATIENCE).unwrap();
    let count = usize::try_from(more).unwrap();
    until_read(&running, "transactions", count).await;
    assert_eq!(running.metric(partitions).await, f64::from(more));
    let answer = running.score(transaction("s1", "card-1", 30, 500)).await;
    assert_eq!(answer.features["card_count"], f64::from(more) + 1.0);
    running.service.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_topic_has_the_form_that_the_configuration_says() {
    let Some(brokers) = Brokers::named("formats") else {
        return;
    };
    brokers.create_topics().await;
    let mut running = brokers
        .start_with(&POLICY, |config| {
            config.kafka.formats.transactions = Format::Json;
            config.kafka.formats.labels = Format::ConfluentProtobuf;
            config.kafka.formats.decisions = Format::Json;
        })
        .await;
    let message = v1::TransactionEvent {
        transaction: Some(transaction("h1", "card-1", 0, 1000)),
        authorized: true,
    };
    let json = tollgate_proto::to_json("tollgate.v1.TransactionEvent", &message).unwrap();
    let key = "card-1".to_owned();
    let in_protobuf = message.encode_to_vec();
    let events = [(key.clone(), in_protobuf), (key.clone(), json.into_bytes())];
    brokers.publish("transactions", &events);
    let label = v1::Label {
        transaction_id: "h1".to_owned(),
        fraud: true,
        known_at: Some(prost_types::Timestamp {
            seconds: EVENT_TIME_S + 5,
            nanos: 0,
        }),
    };
    // A schema's id, and the second of its messages.
    let framed = [&[0, 0, 0, 0, 7, 2, 2], &label.encode_to_vec()[..]].concat();
    let labels = [(key.clone(), label.encode_to_vec()), (key, framed)];
    brokers.publish("labels", &labels);
    until_read(&running, "transactions", 2).await;
    until_read(&running, "labels", 2).await;

    let answer = running.score(transaction("s1", "card-1", 30, 500)).await;
    assert_eq!(answer.features["card_count"], 2.0);
    assert_eq!(answer.features["terminal_fraud"], 0.5);
    let decisions = running.consume(&brokers.topic("decisions"), 1).await;
    let decision: v1::DecisionRecord = tollgate_proto::from_json(
        "tollgate.v1.DecisionRecord",
        std::str::from_utf8(&decisions[0].1).unwrap(),
    )
    .unwrap();
    assert_eq!(decision.response, Some(answer));
    let letters = running.consume(&brokers.topic("dead-letters"), 2).await;
    for expected in [
        "error=the value is not a TransactionEvent in json form",
        "error=the value is not a Label in confluent_protobuf form",
    ] {
        let found = letters.iter().any(|(text, _)| text.contains(expected));
        assert!(found, "{expected}: {letters:?}");
    }
    running.service.stop().await;
}

/// What producers may compress their batches with.
const CODECS: [&str; 5] = ["none", "gzip", "snappy", "lz4", "zstd"];

/// Enough that are alike for a batch of them to be smaller compressed; one that is not is sent as it is.
const BATCH: usize = 20;

#[tokio::test(flavor = "multi_thread")]
async fn records_are_read_whatever_they_are_compressed_with() {
    let Some(brokers) = Brokers::named("codecs") else {
        return;
    };
    brokers.create_topics().await;
    let mut running = brokers.start(&POLICY).await;
    let topic = brokers.topic("transactions");
    for (at, codec) in CODECS.into_iter().enumerate() {
        let producer: ThreadedProducer<DefaultProducerContext> = ClientConfig::new()
            .set("bootstrap.servers", &brokers.bootstrap)
            .set("compression.codec", codec)
            // One batch of all.
            .set("linger.ms", "1000")
            .create()
            .unwrap();
        for number in 0..BATCH {
            let id = format!("{codec}-{number}");
            let (key, value) = event(transaction(&id, "card-1", 0, 1000), true);
            send(&producer, &topic, &key, &value);
        }
        producer.flush(PATIENCE).unwrap();
        until_read(&running, "transactions", (at + 1) * BATCH).await;
    }
    let answer = running.score(transaction("s1", "card-1", 30, 500)).await;
    let expected = f64::from(u32::try_from(CODECS.len() * BATCH + 1).unwrap());
    assert_eq!(answer.features["card_count"], expected);
    running.service.stop().await;
}

/// Events of many cards while the topic grows, some sent twice, and the second time to wherever their card is by then.
const CARDS: usize = 24;

#[tokio::test(flavor = "multi_thread")]
async fn events_count_once_while_their_topic_goes_from_six_to_twelve_partitions() {
    let Some(brokers) = Brokers::named("grows-under-load") else {
        return;
    };
    brokers.create_topics().await;
    let mut running = brokers.start(&POLICY).await;
    let topic = brokers.topic("transactions");
    let more = 2 * PARTITIONS;
    let (mut sent, mut unique) = (0, [0_usize; CARDS]);
    let send_each = |number: usize, unique: &mut [usize; CARDS]| {
        // A producer that is made now knows the partitions of now.
        let producer = brokers.producer();
        for (card, count) in unique.iter_mut().enumerate() {
            let id = format!("e{card}-{number}");
            let (key, value) = event(transaction(&id, &format!("card-{card}"), 0, 1000), true);
            send(&producer, &topic, &key, &value);
            *count += 1;
        }
        producer.flush(PATIENCE).unwrap();
    };
    for number in 0..3 {
        send_each(number, &mut unique);
        sent += CARDS;
    }
    brokers.grow_topic("transactions", more).await;
    let partitions = "tollgate_ingest_partitions{topic=\"transactions\"}";
    let mut number = 3;
    while running.metric(partitions).await < f64::from(more) {
        send_each(number, &mut unique);
        sent += CARDS;
        number += 1;
        assert!(number < 2_000, "the partitions are not noticed");
    }
    // Once more what was sent before the topic grew, to the partitions that cards have now, and then something new.
    send_each(0, &mut [0; CARDS]);
    send_each(number, &mut unique);
    sent += 2 * CARDS;
    until_read(&running, "transactions", sent).await;
    for (card, &events) in unique.iter().enumerate() {
        let probe = transaction(&format!("probe-{card}"), &format!("card-{card}"), 10, 500);
        let answer = running.score(probe).await;
        let expected = f64::from(u32::try_from(events + 1).unwrap());
        assert_eq!(answer.features["card_count"], expected, "card-{card}");
    }
    let duplicates = "tollgate_ingest_results_total{result=\"duplicate\"}";
    let again = f64::from(u32::try_from(CARDS).unwrap());
    assert_eq!(running.metric(duplicates).await, again);
    running.service.stop().await;
}
