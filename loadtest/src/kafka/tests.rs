//! The publisher and the follower against librdkafka's own mock of a broker.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tollgate_proto::v1;

use super::fake::{Applying, DecisionLog, admin, broker, targets};
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
    let service = Applying::start(kafka, Arc::clone(&applied));
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

    let mut last = HashMap::new();
    for record in service.finish() {
        let Some(transaction) = record.transaction() else {
            continue;
        };
        let number: u32 = transaction.transaction_id[1..].parse().unwrap();
        let place = (record.partition, number);
        if let Some((before, earlier)) = last.insert(transaction.card_id, place) {
            assert_eq!(before, record.partition, "a card stays in its partition");
            assert!(earlier < number, "a card's transactions keep their order");
        }
    }
    assert_eq!(last.len(), 50);
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
async fn only_decisions_made_from_now_on_are_followed_and_each_record_counts() {
    let cluster = broker();
    let kafka = cluster.bootstrap_servers();
    let log = DecisionLog::connect(&kafka);
    for number in 0..20 {
        log.record(&format!("before-{number}"));
    }
    log.flush();
    let mut decisions = Decisions::follow(&targets(kafka, String::new())).unwrap();
    for number in 0..20 {
        log.record(&format!("after-{number}"));
    }
    log.record("after-7");
    log.flush();
    decisions.wait_for(20).await;
    decisions.wait_until_quiet().await;
    let recorded = decisions.take();
    assert_eq!(recorded.len(), 20);
    for number in 0..20 {
        let copies = recorded[&format!("after-{number}")].count;
        assert_eq!(copies, if number == 7 { 2 } else { 1 });
    }
    assert!(decisions.take().is_empty(), "records are taken once");
}
