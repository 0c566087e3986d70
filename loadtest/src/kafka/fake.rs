//! A broker, an admin port and a consumer that stand in for a service in tests.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::message::Message as _;
use rdkafka::mocking::MockCluster;
use rdkafka::producer::DefaultProducerContext;
use rdkafka::{ClientConfig, Offset, TopicPartitionList};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use super::Targets;

pub(crate) const TOPICS: [&str; 3] = [
    "tollgate.transactions",
    "tollgate.labels",
    "tollgate.decisions",
];
const PARTITIONS: i32 = 4;

pub(crate) fn broker() -> MockCluster<'static, DefaultProducerContext> {
    let cluster = MockCluster::new(1).unwrap();
    for topic in TOPICS {
        cluster.create_topic(topic, PARTITIONS, 1).unwrap();
    }
    cluster
}

/// An admin port that reports a counter, beginning with what was applied in an earlier run.
pub(crate) async fn admin(applied: Arc<AtomicU64>) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    tokio::spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut request = [0; 1_024];
            let _request = stream.read(&mut request).await.unwrap();
            let count = applied.load(Ordering::SeqCst);
            let page = format!(
                "HTTP/1.0 200 OK\r\n\r\ntollgate_ingest_applied_total{{topic=\"all\"}} {count}\n"
            );
            stream.write_all(page.as_bytes()).await.unwrap();
        }
    });
    address
}

pub(crate) fn targets(kafka: String, admin: String) -> Targets {
    let [transactions_topic, labels_topic, decisions_topic] = TOPICS.map(str::to_owned);
    let grpc = String::new();
    Targets {
        grpc,
        kafka,
        admin,
        transactions_topic,
        labels_topic,
        decisions_topic,
    }
}

/// Reads transactions and labels as the service would, counts them, and returns them by partition when told
/// to stop.
pub(crate) fn apply(kafka: &str, applied: &AtomicU64, stop: &AtomicBool) -> Vec<(i32, Vec<u8>)> {
    let consumer: BaseConsumer = ClientConfig::new()
        .set("bootstrap.servers", kafka)
        .set("group.id", "test")
        .set("fetch.wait.max.ms", "10")
        .create()
        .unwrap();
    let mut assignment = TopicPartitionList::new();
    for topic in &TOPICS[..2] {
        for partition in 0..PARTITIONS {
            assignment
                .add_partition_offset(topic, partition, Offset::Beginning)
                .unwrap();
        }
    }
    consumer.assign(&assignment).unwrap();
    let mut read = Vec::new();
    while !stop.load(Ordering::SeqCst) {
        if let Some(message) = consumer.poll(Duration::from_millis(20)) {
            let message = message.unwrap();
            read.push((message.partition(), message.payload().unwrap().to_vec()));
            applied.fetch_add(1, Ordering::SeqCst);
        }
    }
    read
}
