//! The publisher and the follower against librdkafka's own mock of a broker.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use prost::Message as _;
use rdkafka::ClientConfig;
use rdkafka::producer::{BaseRecord, DefaultProducerContext, Producer, ThreadedProducer};
use tollgate_proto::v1;

use super::fake::{TOPICS, admin, apply, broker, targets};
use super::{Decisions, Publisher};

fn event(card: u32, number: u32) -> v1::TransactionEvent {
    let transaction = v1::Transaction {
        transaction_id: format!("t{number}"),
        card_id: format!("card-{card}"),
        ..v1::Transaction::default()
    };
    v1::TransactionEvent {
        transaction: Some(transaction),
        authorized: true,
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn more_than_the_window_is_published_without_running_too_far_ahead() {
    let cluster = broker();
    let kafka = cluster.bootstrap_servers();
    let applied = Arc::new(AtomicU64::new(1_000));
    let targets = targets(kafka.clone(), admin(Arc::clone(&applied)).await);
    let publisher = Publisher::connect(&targets).await.unwrap();
    let stop = Arc::new(AtomicBool::new(false));
    let service = {
        let (applied, stop) = (Arc::clone(&applied), Arc::clone(&stop));
        std::thread::spawn(move || apply(&kafka, &applied, &stop))
    };
    for number in 0..12_000 {
        publisher
            .transaction(&event(number % 50, number))
            .await
            .unwrap();
        let ahead = publisher.published() - (applied.load(Ordering::SeqCst) - 1_000);
        assert!(ahead <= 5_000, "{ahead} records ahead");
    }
    publisher
        .label("card-1", &v1::Label::default())
        .await
        .unwrap();
    publisher.wait_applied().await.unwrap();
    assert_eq!(applied.load(Ordering::SeqCst), 1_000 + 12_001);

    stop.store(true, Ordering::SeqCst);
    let mut last: Vec<Option<(i32, u32)>> = vec![None; 50];
    for (partition, payload) in service.join().unwrap() {
        let Some(transaction) = v1::TransactionEvent::decode(payload.as_slice())
            .unwrap()
            .transaction
        else {
            continue;
        };
        let card: usize = transaction
            .card_id
            .trim_start_matches("card-")
            .parse()
            .unwrap();
        let number: u32 = transaction
            .transaction_id
            .trim_start_matches('t')
            .parse()
            .unwrap();
        if let Some((before, earlier)) = last[card].replace((partition, number)) {
            assert_eq!(before, partition, "a card stays in its partition");
            assert!(earlier < number, "a card's transactions keep their order");
        }
    }
    assert!(last.iter().all(Option::is_some));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_that_applies_nothing_is_reported_in_numbers() {
    let cluster = broker();
    let targets = targets(cluster.bootstrap_servers(), admin(Arc::default()).await);
    let publisher = Publisher::connect(&targets)
        .await
        .unwrap()
        .with_patience(Duration::from_millis(200));
    for number in 0..3 {
        publisher.transaction(&event(1, number)).await.unwrap();
    }
    let error = publisher.wait_applied().await.unwrap_err().to_string();
    assert!(
        error.contains("applied 0 of 3 published records"),
        "{error}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn only_decisions_made_from_now_on_are_followed() {
    let cluster = broker();
    let kafka = cluster.bootstrap_servers();
    let producer: ThreadedProducer<DefaultProducerContext> = ClientConfig::new()
        .set("bootstrap.servers", &kafka)
        .create()
        .unwrap();
    let send = |id: &str| {
        let response = v1::ScoreResponse {
            transaction_id: id.to_owned(),
            ..Default::default()
        };
        let record = v1::DecisionRecord {
            response: Some(response),
            ..Default::default()
        };
        let payload = record.encode_to_vec();
        producer
            .send(BaseRecord::to(TOPICS[2]).key(id).payload(&payload))
            .unwrap();
    };
    for number in 0..20 {
        send(&format!("before-{number}"));
    }
    producer.flush(Duration::from_secs(5)).unwrap();
    let seen = Arc::new(std::sync::Mutex::new(Vec::new()));
    let sink = Arc::clone(&seen);
    let mut decisions = Decisions::follow(&kafka, TOPICS[2], move |record| {
        sink.lock()
            .unwrap()
            .push(record.response.unwrap().transaction_id);
    })
    .unwrap();
    for number in 0..20 {
        send(&format!("after-{number}"));
    }
    let patience = Duration::from_secs(10);
    assert!(
        decisions
            .wait_until(patience, || seen.lock().unwrap().len() >= 20)
            .await
    );
    assert!(
        seen.lock()
            .unwrap()
            .iter()
            .all(|id| id.starts_with("after-"))
    );
    let more = || seen.lock().unwrap().len() > 20;
    assert!(!decisions.wait_until(Duration::from_millis(100), more).await);
}
