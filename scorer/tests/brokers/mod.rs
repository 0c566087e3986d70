//! Real Kafka brokers for tests: their address and how to kill one of them come from the environment, which
//! `cargo xtask test` sets. Each test has topics of its own.

#![allow(dead_code, reason = "each test file uses a part of it")]
#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test that cannot go on should stop"
)]

use std::hash::{BuildHasher, RandomState};
use std::process::Command;
use std::time::Duration;

use prost::Message;
use rdkafka::admin::{AdminClient, AdminOptions, NewPartitions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::RDKafkaErrorCode;
use rdkafka::producer::{BaseRecord, DefaultProducerContext, Producer, ThreadedProducer};
use rdkafka::{ClientConfig, Offset, TopicPartitionList};
use tollgate_proto::v1;
use tollgate_scorer::Config;

use crate::common::{POLICY, Running, start_configured, start_unawaited, write_policy};

/// How long anything may take before a test gives up. Only ever waited out by a failure.
pub(crate) const PATIENCE: Duration = Duration::from_secs(120);

pub(crate) const PARTITIONS: i32 = 6;

/// A Kafka, and a beginning of topic names that no other test has.
#[derive(Clone)]
pub(crate) struct Brokers {
    pub(crate) bootstrap: String,
    prefix: String,
}

impl Brokers {
    /// `None`, and a line that says so, where no Kafka is named.
    pub(crate) fn named(test: &str) -> Option<Self> {
        let Some(bootstrap) = std::env::var("KAFKA_BOOTSTRAP")
            .ok()
            .filter(|it| !it.is_empty())
        else {
            must_not_skip(test);
            eprintln!(
                "skipped: {test}: KAFKA_BOOTSTRAP names no Kafka; `cargo xtask kafka up` starts one"
            );
            return None;
        };
        let prefix = format!("{test}-{:016x}", RandomState::new().hash_one(0));
        Some(Self { bootstrap, prefix })
    }

    /// Those at these addresses, and topics whose names begin so.
    pub(crate) fn of(bootstrap: &str, prefix: &str) -> Self {
        Self {
            bootstrap: bootstrap.to_owned(),
            prefix: prefix.to_owned(),
        }
    }

    /// The same topics by another way to the brokers.
    pub(crate) fn by(&self, bootstrap: &str) -> Self {
        Self {
            bootstrap: bootstrap.to_owned(),
            prefix: self.prefix.clone(),
        }
    }

    pub(crate) fn topic(&self, name: &str) -> String {
        format!("{}.{name}", self.prefix)
    }

    fn client(&self) -> ClientConfig {
        let mut client = ClientConfig::new();
        client.set("bootstrap.servers", &self.bootstrap);
        client
    }

    /// Every topic of the service.
    pub(crate) async fn create_topics(&self) {
        for name in ["transactions", "labels", "decisions", "dead-letters"] {
            self.create_topic(name).await;
        }
    }

    /// On as many brokers as there are, three at most.
    pub(crate) async fn create_topic(&self, name: &str) {
        let brokers = self.clone();
        let count = tokio::task::spawn_blocking(move || brokers.count())
            .await
            .unwrap();
        let admin: AdminClient<DefaultClientContext> = self.client().create().unwrap();
        let topic = self.topic(name);
        let replicas = i32::try_from(count.min(3)).unwrap();
        let wanted = NewTopic::new(&topic, PARTITIONS, TopicReplication::Fixed(replicas));
        let options = AdminOptions::new().operation_timeout(Some(PATIENCE));
        let made = admin.create_topics([&wanted], &options).await.unwrap();
        match &made[0] {
            Ok(_) | Err((_, RDKafkaErrorCode::TopicAlreadyExists)) => {}
            Err((topic, error)) => panic!("{topic}: {error}"),
        }
    }

    /// Gives a topic more partitions, so many in all.
    pub(crate) async fn grow_topic(&self, name: &str, partitions: i32) {
        let admin: AdminClient<DefaultClientContext> = self.client().create().unwrap();
        let topic = self.topic(name);
        let count = usize::try_from(partitions).unwrap();
        let wanted = NewPartitions::new(&topic, count);
        let options = AdminOptions::new().operation_timeout(Some(PATIENCE));
        let made = admin.create_partitions([&wanted], &options).await.unwrap();
        assert!(made[0].is_ok(), "{made:?}");
    }

    /// Removes the records of a partition below an offset, as retention does.
    pub(crate) async fn delete_records(&self, name: &str, partition: i32, below: i64) {
        let admin: AdminClient<DefaultClientContext> = self.client().create().unwrap();
        let mut offsets = TopicPartitionList::new();
        let added =
            offsets.add_partition_offset(&self.topic(name), partition, Offset::Offset(below));
        added.unwrap();
        let options = AdminOptions::new().operation_timeout(Some(PATIENCE));
        let removed = admin.delete_records(&offsets, &options).await.unwrap();
        for partition in removed.elements() {
            partition.error().unwrap();
            assert_eq!(partition.offset(), Offset::Offset(below));
        }
    }

    pub(crate) fn count(&self) -> usize {
        let consumer: BaseConsumer = self.client().create().unwrap();
        let metadata = consumer.fetch_metadata(None, PATIENCE).unwrap();
        metadata.brokers().len()
    }

    pub(crate) fn configure(&self, config: &mut Config) {
        config.kafka.bootstrap.clone_from(&self.bootstrap);
        config.kafka.transactions_topic = self.topic("transactions");
        config.kafka.labels_topic = self.topic("labels");
        config.kafka.decisions_topic = self.topic("decisions");
        config.kafka.dead_letters_topic = self.topic("dead-letters");
    }

    /// A service that has read what is in the topics.
    pub(crate) async fn start(&self, policy: &[(&str, &str)]) -> Running {
        self.start_with(policy, |_| ()).await
    }

    pub(crate) async fn start_with(
        &self,
        policy: &[(&str, &str)],
        configure: impl FnOnce(&mut Config),
    ) -> Running {
        let folder = write_policy(policy);
        let path = folder.path().to_owned();
        start_configured(&path, folder, |config| {
            self.configure(config);
            configure(config);
        })
        .await
    }

    /// What a careful sender uses: nothing lost, nothing twice, a card's records in order.
    pub(crate) fn producer(&self) -> ThreadedProducer<DefaultProducerContext> {
        let mut settings = self.client();
        settings
            .set("enable.idempotence", "true")
            .set("partitioner", "murmur2_random")
            .create()
            .unwrap()
    }

    /// Sends records, each with its key, and waits until Kafka has them.
    pub(crate) fn publish(&self, topic: &str, records: &[(String, Vec<u8>)]) {
        let producer = self.producer();
        for (key, value) in records {
            send(&producer, &self.topic(topic), key, value);
        }
        producer.flush(PATIENCE).unwrap();
    }

    /// Has `cargo xtask kafka` do something to a broker; `None` if these brokers are not its own.
    pub(crate) fn control(&self, verb: &str, broker: u8) -> Option<()> {
        let control = std::env::var_os("KAFKA_CONTROL")?;
        let done = Command::new(control)
            .args(["kafka", verb, &broker.to_string()])
            .status();
        assert!(done.unwrap().success(), "kafka {verb} {broker}");
        Some(())
    }
}

/// Where everything must be tested, nothing may be left out.
pub(crate) fn must_not_skip(test: &str) {
    assert!(
        std::env::var_os("KAFKA_REQUIRED").is_none(),
        "{test}: KAFKA_REQUIRED is set, and the brokers that the test needs are not named"
    );
}

/// A service that nobody waits for.
pub(crate) async fn start_unready(
    brokers: &Brokers,
    configure: impl FnOnce(&mut Config),
) -> Running {
    let policy = write_policy(&POLICY);
    let path = policy.path().to_owned();
    start_unawaited(&path, policy, |config| {
        brokers.configure(config);
        configure(config);
    })
    .await
}

pub(crate) fn send(
    producer: &ThreadedProducer<DefaultProducerContext>,
    topic: &str,
    key: &str,
    value: &[u8],
) {
    let record = BaseRecord::to(topic).key(key).payload(value);
    producer.send(record).map_err(|(error, _)| error).unwrap();
}

/// A transaction as it comes through Kafka, with its key.
pub(crate) fn event(transaction: v1::Transaction, authorized: bool) -> (String, Vec<u8>) {
    let key = transaction.card_id.clone();
    let event = v1::TransactionEvent {
        transaction: Some(transaction),
        authorized,
    };
    (key, event.encode_to_vec())
}

/// Waits until the service has dealt with so many records of a topic.
pub(crate) async fn until_read(running: &Running, topic: &str, count: usize) {
    let sample = format!("tollgate_ingest_records_total{{topic=\"{topic}\"}}");
    let count = f64::from(u32::try_from(count).unwrap());
    until(running, &sample, count).await;
}

/// Waits until a metric has reached a value.
pub(crate) async fn until(running: &Running, sample: &str, value: f64) {
    let reached = async {
        while running.metric(sample).await < value {
            tokio::task::yield_now().await;
        }
    };
    let reached = tokio::time::timeout(PATIENCE, reached).await;
    assert!(reached.is_ok(), "{sample} did not reach {value}");
}
