//! Topics on real Kafka: made, written as a careful sender does, read from beginning to end, cut and grown.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use prost::Message as _;
use rdkafka::admin::{AdminClient, AdminOptions, NewPartitions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::BorrowedMessage;
use rdkafka::producer::{BaseRecord, Producer as _, ThreadedProducer};
use rdkafka::{ClientConfig, Message as _, Offset, TopicPartitionList};
use tollgate_report::{Goal, Row};

use crate::generate::Event;
use crate::kafka::Deliveries;

/// How long brokers may take for anything, one that was killed and comes back included.
const PATIENCE: Duration = Duration::from_secs(120);

/// Between two tries to hand a record to a full producer.
const ROOM_WAIT: Duration = Duration::from_millis(1);

/// The brokers, and how single ones are ended and started.
#[derive(Clone)]
pub(super) struct Kafka {
    pub(super) bootstrap: String,
    /// `cargo xtask kafka`'s program; `None` if the brokers are not its own.
    control: Option<PathBuf>,
}

impl Kafka {
    /// What `cargo xtask recovery` names.
    pub(super) fn named() -> Result<Self> {
        let bootstrap = std::env::var("KAFKA_BOOTSTRAP").ok();
        let bootstrap = bootstrap.filter(|named| !named.is_empty()).context(
            "KAFKA_BOOTSTRAP names no Kafka; `cargo xtask recovery` starts one and names it",
        )?;
        Ok(Self {
            bootstrap,
            control: std::env::var_os("KAFKA_CONTROL").map(PathBuf::from),
        })
    }

    /// What is said in place of a line that ends and starts brokers, under this name, where they are not its own; `None` if they are.
    pub(super) fn not_controlled(&self, name: &str) -> Option<Row> {
        if self.control.is_some() {
            return None;
        }
        println!("   skipped: the brokers are not those of `cargo xtask kafka`");
        let goal = Some(Goal::AtMost(0.0));
        Some(Row::skipped(format!("{name}.different"), "count", goal))
    }

    /// Has brokers ended (`kill`) or started (`start`), all of them at the same time. Returns once it is done.
    pub(super) async fn control(&self, verb: &'static str, brokers: &'static [u8]) -> Result<()> {
        let kafka = self.clone();
        tokio::task::spawn_blocking(move || kafka.control_now(verb, brokers)).await?
    }

    fn control_now(&self, verb: &str, brokers: &[u8]) -> Result<()> {
        let control = self.control.as_ref();
        let control = control.context("the brokers are not those of `cargo xtask kafka`")?;
        let mut orders = Vec::new();
        for broker in brokers {
            let order = Command::new(control)
                .args(["kafka", verb, &broker.to_string()])
                .spawn()
                .context("cannot run cargo xtask kafka")?;
            orders.push(order);
        }
        for mut order in orders {
            let status = order.wait()?;
            if !status.success() {
                bail!("kafka {verb} ended with {status}");
            }
        }
        Ok(())
    }

    fn client(&self) -> ClientConfig {
        let mut client = ClientConfig::new();
        client.set("bootstrap.servers", &self.bootstrap);
        client
    }
}

/// The form of all four topics.
#[derive(Clone, Copy)]
pub(super) struct Shape {
    pub(super) partitions: i32,
    /// How many brokers have each record: one is quickest, and three let one be killed.
    pub(super) replicas: i32,
}

impl Shape {
    /// For brokers that are killed: each record is on all three of them, and two must have it.
    pub(super) const REPLICATED: Self = Self {
        partitions: 6,
        replicas: 3,
    };
}

/// Topics of one line's own.
#[derive(Clone)]
pub(super) struct Log {
    kafka: Kafka,
    prefix: String,
    /// Where decisions and dead letters go, if not beside what is read.
    written: Option<String>,
}

/// What a service reads and writes.
pub(super) const TRANSACTIONS: &str = "transactions";
pub(super) const LABELS: &str = "labels";
pub(super) const DECISIONS: &str = "decisions";
pub(super) const DEAD_LETTERS: &str = "dead-letters";
const ALL: [&str; 4] = [TRANSACTIONS, LABELS, DECISIONS, DEAD_LETTERS];

/// Where each partition begins, and the offset behind its last record.
pub(super) type Ends = BTreeMap<i32, (i64, i64)>;

impl Log {
    pub(super) async fn create(kafka: &Kafka, prefix: String, shape: Shape) -> Result<Self> {
        let log = Self {
            kafka: kafka.clone(),
            prefix,
            written: None,
        };
        log.make(&ALL, shape).await?;
        Ok(log)
    }

    /// The same to read, with other topics to write decisions and dead letters to: for a service beside another one.
    pub(super) async fn beside(&self, name: &str, shape: Shape) -> Result<Self> {
        let log = Self {
            written: Some(format!("{}-{name}", self.prefix)),
            ..self.clone()
        };
        log.make(&[DECISIONS, DEAD_LETTERS], shape).await?;
        Ok(log)
    }

    async fn make(&self, topics: &[&str], shape: Shape) -> Result<()> {
        let names: Vec<String> = topics.iter().map(|topic| self.topic(topic)).collect();
        // One of one is enough; the brokers ask for two of three.
        let in_sync = (shape.replicas / 2 + 1).to_string();
        let wanted: Vec<NewTopic<'_>> = names
            .iter()
            .map(|name| {
                let replication = TopicReplication::Fixed(shape.replicas);
                NewTopic::new(name, shape.partitions, replication)
                    .set("min.insync.replicas", &in_sync)
            })
            .collect();
        let made = self.admin()?.create_topics(&wanted, &patient()).await?;
        for result in made {
            result.map_err(|(topic, error)| anyhow::anyhow!("cannot make {topic}: {error}"))?;
        }
        Ok(())
    }

    pub(super) fn topic(&self, what: &str) -> String {
        let prefix = match &self.written {
            Some(written) if what == DECISIONS || what == DEAD_LETTERS => written,
            _ => &self.prefix,
        };
        format!("{prefix}.{what}")
    }

    /// The configuration of a service on these topics.
    pub(super) fn variables(&self) -> Vec<(String, String)> {
        let topic = |key: &str, what: &str| {
            let key = format!("TOLLGATE_KAFKA__{key}_TOPIC");
            (key, self.topic(what))
        };
        vec![
            (
                "TOLLGATE_KAFKA__BOOTSTRAP".to_owned(),
                self.kafka.bootstrap.clone(),
            ),
            topic("TRANSACTIONS", TRANSACTIONS),
            topic("LABELS", LABELS),
            topic("DECISIONS", DECISIONS),
            topic("DEAD_LETTERS", DEAD_LETTERS),
        ]
    }

    fn admin(&self) -> Result<AdminClient<DefaultClientContext>> {
        Ok(self.kafka.client().create()?)
    }

    /// Gives a topic more partitions, so many in all.
    pub(super) async fn grow(&self, what: &str, partitions: usize) -> Result<()> {
        let topic = self.topic(what);
        let wanted = NewPartitions::new(&topic, partitions);
        let made = self
            .admin()?
            .create_partitions([&wanted], &patient())
            .await?;
        for result in made {
            result.map_err(|(topic, error)| anyhow::anyhow!("cannot grow {topic}: {error}"))?;
        }
        Ok(())
    }

    /// Deletes the records of each partition that are before an offset.
    pub(super) async fn cut(&self, what: &str, before: &BTreeMap<i32, i64>) -> Result<()> {
        let topic = self.topic(what);
        let mut list = TopicPartitionList::new();
        for (partition, offset) in before {
            list.add_partition_offset(&topic, *partition, Offset::Offset(*offset))?;
        }
        let done = self.admin()?.delete_records(&list, &patient()).await?;
        for element in done.elements() {
            element.error()?;
        }
        Ok(())
    }

    /// Where each partition of a topic begins and ends now. Blocks.
    pub(super) fn ends(&self, what: &str) -> Result<Ends> {
        self.ends_by(&self.consumer()?, what)
    }

    /// Waits until a topic has not grown for so long.
    pub(super) async fn wait_until_quiet(&self, what: &'static str, quiet: Duration) -> Result<()> {
        let look = || {
            let log = self.clone();
            tokio::task::spawn_blocking(move || log.ends(what))
        };
        let mut before = look().await??;
        loop {
            tokio::time::sleep(quiet).await;
            let now = look().await??;
            if now == before {
                return Ok(());
            }
            before = now;
        }
    }

    fn consumer(&self) -> Result<BaseConsumer> {
        let mut settings = self.kafka.client();
        settings
            .set("group.id", "tollgate-recovery")
            .set("enable.auto.commit", "false")
            .set("fetch.wait.max.ms", "20");
        Ok(settings.create()?)
    }

    fn ends_by(&self, consumer: &BaseConsumer, what: &str) -> Result<Ends> {
        let topic = self.topic(what);
        let metadata = consumer.fetch_metadata(Some(&topic), PATIENCE)?;
        let found = metadata.topics().iter();
        let partitions: Vec<i32> = found
            .flat_map(|topic| topic.partitions())
            .map(|partition| partition.id())
            .collect();
        let ends = partitions.into_iter().map(|partition| {
            let ends = consumer.fetch_watermarks(&topic, partition, PATIENCE)?;
            Ok((partition, ends))
        });
        ends.collect()
    }

    /// Hands over every record that a topic has now, each partition's in order. Blocks.
    pub(super) fn read(
        &self,
        what: &str,
        mut each: impl FnMut(&BorrowedMessage<'_>) -> Result<()>,
    ) -> Result<()> {
        let consumer = self.consumer()?;
        let topic = self.topic(what);
        let mut left = self.ends_by(&consumer, what)?;
        left.retain(|_, (begin, end)| begin < end);
        let mut assignment = TopicPartitionList::new();
        for (partition, (begin, _)) in &left {
            assignment.add_partition_offset(&topic, *partition, Offset::Offset(*begin))?;
        }
        consumer.assign(&assignment)?;
        while !left.is_empty() {
            let message = consumer.poll(PATIENCE);
            let message = message.with_context(|| format!("{topic} has less than it said"))??;
            each(&message)?;
            let end = left.get(&message.partition()).map_or(0, |(_, end)| *end);
            if message.offset() + 1 >= end {
                left.remove(&message.partition());
            }
        }
        Ok(())
    }

    /// What a careful sender uses: nothing lost, nothing twice, a card's records in order.
    pub(super) fn producer(&self) -> Result<Producer> {
        self.producer_with(&[("linger.ms", "2")])
    }

    /// The same for a long history at once, as it lies in a log that busy senders have written: in large batches.
    pub(super) fn filler(&self) -> Result<Producer> {
        self.producer_with(&[
            ("linger.ms", "100"),
            ("queue.buffering.max.messages", "400000"),
        ])
    }

    /// The settings of a careful sender.
    pub(super) fn careful(&self) -> ClientConfig {
        let mut settings = self.kafka.client();
        settings
            // As Java producers choose partitions, so that both kinds agree where a card lives.
            .set("partitioner", "murmur2_random")
            .set("enable.idempotence", "true")
            .set("acks", "all")
            .set("compression.type", "lz4")
            // New partitions are to be written to while the service has hardly noticed them.
            .set("topic.metadata.refresh.interval.ms", "1000")
            .set("message.timeout.ms", (2 * PATIENCE.as_millis()).to_string());
        settings
    }

    fn producer_with(&self, more: &[(&str, &str)]) -> Result<Producer> {
        let undelivered = Arc::new(AtomicU64::new(0));
        let mut settings = self.careful();
        for (key, value) in more {
            settings.set(*key, *value);
        }
        let inner = settings
            .create_with_context(Deliveries(Arc::clone(&undelivered)))
            .context("cannot create a Kafka producer")?;
        Ok(Producer {
            inner: Arc::new(inner),
            undelivered,
            transactions: self.topic(TRANSACTIONS),
            labels: self.topic(LABELS),
        })
    }
}

fn patient() -> AdminOptions {
    AdminOptions::new().operation_timeout(Some(PATIENCE))
}

/// Cheap to clone.
#[derive(Clone)]
pub(super) struct Producer {
    inner: Arc<ThreadedProducer<Deliveries>>,
    undelivered: Arc<AtomicU64>,
    transactions: String,
    labels: String,
}

impl Producer {
    /// Publishes what was generated, to the topic where it belongs.
    pub(super) async fn event(&self, event: &Event) -> Result<()> {
        let card = event.card_id();
        match event {
            Event::Transaction(generated) => {
                self.transaction(card, &generated.event.encode_to_vec())
                    .await
            }
            Event::Label(known) => self.label(card, &known.label.encode_to_vec()).await,
        }
    }

    pub(super) async fn transaction(&self, card_id: &str, event: &[u8]) -> Result<()> {
        self.send(&self.transactions, card_id, event).await
    }

    pub(super) async fn label(&self, card_id: &str, label: &[u8]) -> Result<()> {
        self.send(&self.labels, card_id, label).await
    }

    /// Hands a record over, waiting while there is no room.
    async fn send(&self, topic: &str, key: &str, payload: &[u8]) -> Result<()> {
        let mut record = BaseRecord::to(topic).key(key).payload(payload);
        loop {
            match self.inner.send(record) {
                Ok(()) => return Ok(()),
                Err((KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull), unsent)) => {
                    record = unsent;
                    tokio::time::sleep(ROOM_WAIT).await;
                }
                Err((error, _)) => {
                    return Err(error).with_context(|| format!("cannot publish to {topic}"));
                }
            }
        }
    }

    /// Waits until Kafka has acknowledged everything.
    pub(super) async fn flush(&self) -> Result<()> {
        let inner = Arc::clone(&self.inner);
        tokio::task::spawn_blocking(move || inner.flush(2 * PATIENCE)).await??;
        match self.undelivered.load(Ordering::Relaxed) {
            0 => Ok(()),
            undelivered => bail!("{undelivered} records were not delivered"),
        }
    }
}
