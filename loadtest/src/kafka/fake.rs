//! A broker, an admin port, a consumer and a decision log that stand in for a service in tests.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use prost::Message as _;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::message::Message as _;
use rdkafka::mocking::MockCluster;
use rdkafka::producer::{BaseRecord, DefaultProducerContext, Producer, ThreadedProducer};
use rdkafka::{ClientConfig, Offset, TopicPartitionList};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tollgate_proto::v1;

use super::Targets;

const TRANSACTIONS: &str = "tollgate.transactions";
const LABELS: &str = "tollgate.labels";
const DECISIONS: &str = "tollgate.decisions";
const PARTITIONS: i32 = 4;

pub(crate) fn broker() -> MockCluster<'static, DefaultProducerContext> {
    let cluster = MockCluster::new(1).unwrap();
    for topic in [TRANSACTIONS, LABELS, DECISIONS] {
        cluster.create_topic(topic, PARTITIONS, 1).unwrap();
    }
    cluster
}

pub(crate) fn targets(kafka: String, admin: String) -> Targets {
    Targets {
        grpc: String::new(),
        kafka,
        admin,
        transactions_topic: TRANSACTIONS.to_owned(),
        labels_topic: LABELS.to_owned(),
        decisions_topic: DECISIONS.to_owned(),
    }
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
                "HTTP/1.0 200 OK\r\n\r\ntollgate_ingest_records_total{{topic=\"all\"}} {count}\n"
            );
            stream.write_all(page.as_bytes()).await.unwrap();
        }
    });
    address
}

/// Reads transactions and labels as the service would, counts them, and keeps them.
pub(crate) struct Applying {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<Vec<Applied>>,
}

/// One record that was read.
pub(crate) struct Applied {
    topic: String,
    pub(crate) partition: i32,
    payload: Vec<u8>,
}

impl Applying {
    pub(crate) fn start(kafka: String, applied: Arc<AtomicU64>) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let thread = std::thread::spawn(move || apply(&kafka, &applied, &stopped));
        Self { stop, thread }
    }

    pub(crate) fn finish(self) -> Vec<Applied> {
        self.stop.store(true, Ordering::SeqCst);
        self.thread.join().unwrap()
    }
}

impl Applied {
    /// The transaction; `None` for a label.
    pub(crate) fn transaction(&self) -> Option<v1::Transaction> {
        let event = (self.topic == TRANSACTIONS)
            .then(|| v1::TransactionEvent::decode(self.payload.as_slice()).unwrap());
        event.map(|event| event.transaction.unwrap())
    }
}

fn apply(kafka: &str, applied: &AtomicU64, stop: &AtomicBool) -> Vec<Applied> {
    let consumer: BaseConsumer = ClientConfig::new()
        .set("bootstrap.servers", kafka)
        .set("group.id", "test")
        .set("fetch.wait.max.ms", "10")
        .create()
        .unwrap();
    let mut assignment = TopicPartitionList::new();
    for topic in [TRANSACTIONS, LABELS] {
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
            read.push(Applied {
                topic: message.topic().to_owned(),
                partition: message.partition(),
                payload: message.payload().unwrap().to_vec(),
            });
            applied.fetch_add(1, Ordering::SeqCst);
        }
    }
    read
}

/// Writes decision records as the service would.
pub(crate) struct DecisionLog(ThreadedProducer<DefaultProducerContext>);

impl DecisionLog {
    pub(crate) fn connect(kafka: &str) -> Self {
        let mut config = ClientConfig::new();
        config.set("bootstrap.servers", kafka);
        Self(config.create().unwrap())
    }

    pub(crate) fn record(&self, id: &str) {
        let response = v1::ScoreResponse {
            transaction_id: id.to_owned(),
            ..v1::ScoreResponse::default()
        };
        let record = v1::DecisionRecord {
            response: Some(response),
            ..v1::DecisionRecord::default()
        };
        let payload = record.encode_to_vec();
        self.0
            .send(BaseRecord::to(DECISIONS).key(id).payload(&payload))
            .unwrap();
    }

    /// Returns when the broker has all records.
    pub(crate) fn flush(&self) {
        self.0.flush(Duration::from_secs(60)).unwrap();
    }
}
