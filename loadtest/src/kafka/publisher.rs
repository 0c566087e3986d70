//! Publishes transactions and labels as the payment system would, never too far ahead of the service.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use prost::Message;
use rdkafka::ClientConfig;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::producer::{BaseRecord, Producer, ThreadedProducer};
use tokio::sync::Mutex;
use tokio::time::{Instant, sleep};
use tollgate_proto::v1;

use super::Targets;
use super::admin::Admin;
use super::deliveries::Deliveries;
use super::flow::Flow;

/// Records on their way at most: at 300 bytes each, a third of what the embedded broker keeps of one partition.
const AHEAD_MAX: u64 = 5_000;
/// How long nothing may be applied before waiting is given up.
const PATIENCE: Duration = Duration::from_secs(30);
/// Between two readings of the counter.
const POLL: Duration = Duration::from_millis(2);

/// A producer with flow control. Records of one card keep their order.
pub(crate) struct Publisher {
    producer: ThreadedProducer<Deliveries>,
    failed: Arc<AtomicU64>,
    transactions_topic: String,
    labels_topic: String,
    flow: Flow,
    admin: Admin,
    /// [`PATIENCE`], except in tests.
    patience: Duration,
    /// Held by whoever reads the counter, so that waiting tasks do not all ask at once.
    reading: Mutex<()>,
}

impl Publisher {
    pub(crate) async fn connect(targets: &Targets) -> Result<Self> {
        Self::connect_ahead(targets, AHEAD_MAX).await
    }

    /// With so many records on their way at most: more than usual for topics of many partitions, over which they are spread.
    pub(crate) async fn connect_ahead(targets: &Targets, ahead_max: u64) -> Result<Self> {
        let failed = Arc::new(AtomicU64::new(0));
        let producer = ClientConfig::new()
            .set("bootstrap.servers", &targets.kafka)
            // As Java producers choose partitions, so that both kinds agree where a card lives.
            .set("partitioner", "murmur2_random")
            // A retry must not overtake a later record of the same card.
            .set("enable.idempotence", "true")
            .set("compression.type", "lz4")
            .set("linger.ms", "2")
            .set("message.timeout.ms", "30000")
            .create_with_context(Deliveries(Arc::clone(&failed)))
            .context("cannot create a Kafka producer")?;
        let admin = Admin::new(targets.admin.clone());
        let baseline = admin.applied().await?;
        Ok(Self {
            producer,
            failed,
            transactions_topic: targets.transactions_topic.clone(),
            labels_topic: targets.labels_topic.clone(),
            flow: Flow::new(ahead_max, baseline),
            admin,
            patience: PATIENCE,
            reading: Mutex::new(()),
        })
    }

    /// Gives up sooner than people would want to.
    #[cfg(test)]
    pub(super) const fn with_patience(mut self, patience: Duration) -> Self {
        self.patience = patience;
        self
    }

    pub(crate) fn published(&self) -> u64 {
        self.flow.published()
    }

    pub(crate) async fn transaction(&self, event: &v1::TransactionEvent) -> Result<()> {
        let card = event
            .transaction
            .as_ref()
            .map_or("", |transaction| &transaction.card_id);
        self.encoded_transaction(card, &event.encode_to_vec()).await
    }

    pub(crate) async fn encoded_transaction(&self, card_id: &str, event: &[u8]) -> Result<()> {
        self.publish(&self.transactions_topic, card_id, event).await
    }

    pub(crate) async fn label(&self, card_id: &str, label: &v1::Label) -> Result<()> {
        self.publish(&self.labels_topic, card_id, &label.encode_to_vec())
            .await
    }

    async fn publish(&self, topic: &str, key: &str, payload: &[u8]) -> Result<()> {
        self.wait_until("room for more", Flow::has_room).await?;
        let mut record = BaseRecord::to(topic).key(key).payload(payload);
        loop {
            match self.producer.send(record) {
                Ok(()) => break,
                Err((KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull), returned)) => {
                    record = returned;
                    sleep(POLL).await;
                }
                Err((error, _)) => {
                    return Err(error).with_context(|| format!("cannot publish to {topic}"));
                }
            }
        }
        self.flow.count_published();
        Ok(())
    }

    /// Waits until the service has applied everything that was published.
    pub(crate) async fn wait_applied(&self) -> Result<()> {
        self.wait_until("everything published", Flow::is_drained)
            .await
    }

    async fn wait_until(&self, what: &str, reached: impl Fn(&Flow) -> bool) -> Result<()> {
        if reached(&self.flow) {
            return Ok(());
        }
        let _reading = self.reading.lock().await;
        let mut last = self.flow.applied();
        let mut moved = Instant::now();
        while !reached(&self.flow) {
            self.flow.observe(self.admin.applied().await?);
            let (applied, now) = (self.flow.applied(), Instant::now());
            if applied > last {
                (last, moved) = (applied, now);
            } else if now.duration_since(moved) > self.patience {
                bail!(
                    "waited for {what}: the service has applied {applied} of {} published records and none in \
                     the last {} s ({} could not be delivered; unreadable ones go to dead letters)",
                    self.flow.published(),
                    self.patience.as_secs(),
                    self.failed.load(Ordering::Relaxed)
                );
            }
            sleep(POLL).await;
        }
        Ok(())
    }
}

impl Drop for Publisher {
    fn drop(&mut self) {
        // After an error nobody waits for what is still in the queue; after wait_applied it is empty.
        let _unsent = self.producer.flush(Duration::from_secs(1));
    }
}
