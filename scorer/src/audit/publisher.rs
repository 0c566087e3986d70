//! The Kafka producer of the decision log.

use std::time::Duration;

use rdkafka::ClientContext;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::DeliveryResult;
use rdkafka::producer::{BaseRecord, Producer, ProducerContext, ThreadedProducer};

use crate::config::KafkaConfig;
use crate::kafka;
use crate::metrics::Metrics;

/// Between two tries to hand a record to a full producer.
const ROOM_WAIT: Duration = Duration::from_millis(5);

/// How long a stopping service waits for the last records to be acknowledged.
const FLUSH_MAX: Duration = Duration::from_secs(5);

/// Records that were not delivered per line of the log.
const FAILURES_PER_LINE: u64 = 1_000;

#[derive(Debug, thiserror::Error)]
#[error("the decision log's producer: {0}")]
pub struct PublisherError(#[from] KafkaError);

pub(super) struct Publisher {
    producer: ThreadedProducer<Deliveries>,
    topic: String,
    metrics: Metrics,
}

/// Counts what Kafka acknowledged and what it did not.
struct Deliveries {
    metrics: Metrics,
}

impl ClientContext for Deliveries {}

impl ProducerContext for Deliveries {
    type DeliveryOpaque = ();

    fn delivery(&self, result: &DeliveryResult<'_>, (): ()) {
        match result {
            Ok(_) => self
                .metrics
                .audit_records
                .with_label_values(&["published"])
                .inc(),
            Err((error, _)) => {
                let failed = self.metrics.audit_records.with_label_values(&["failed"]);
                failed.inc();
                // One line for many: what one record meets, thousands behind it meet too.
                if failed.get() % FAILURES_PER_LINE == 1 {
                    tracing::error!(%error, failed = failed.get(), "decision records not delivered");
                }
            }
        }
    }
}

impl Publisher {
    pub(super) fn new(
        config: &KafkaConfig,
        bootstrap: &str,
        metrics: Metrics,
    ) -> Result<Self, PublisherError> {
        let context = Deliveries {
            metrics: metrics.clone(),
        };
        let producer = kafka::producer_config(config, bootstrap).create_with_context(context)?;
        Ok(Self {
            producer,
            topic: config.decisions_topic.clone(),
            metrics,
        })
    }

    /// Hands a record to the producer, waiting while its own queue is full.
    pub(super) async fn send(&self, key: &str, value: &[u8]) {
        let mut record = BaseRecord::to(&self.topic).key(key).payload(value);
        while let Err((error, unsent)) = self.producer.send(record) {
            if error.rdkafka_error_code() != Some(RDKafkaErrorCode::QueueFull) {
                self.metrics
                    .audit_records
                    .with_label_values(&["failed"])
                    .inc();
                tracing::error!(%error, "decision record not produced");
                return;
            }
            record = unsent;
            tokio::time::sleep(ROOM_WAIT).await;
        }
    }

    /// Waits, bounded, until everything handed over was acknowledged.
    pub(super) fn flush(&self) {
        if let Err(error) = self.producer.flush(FLUSH_MAX) {
            tracing::error!(%error, "the decision log was not flushed");
        }
    }
}
