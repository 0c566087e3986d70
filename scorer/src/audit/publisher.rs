//! The Kafka producer of the decision log: idempotent, acknowledged by all replicas, and as patient as it takes.

use std::sync::Arc;

use rdkafka::ClientContext;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::DeliveryResult;
use rdkafka::producer::{BaseRecord, Producer, ProducerContext, PurgeConfig, ThreadedProducer};

use super::inbox::Inbox;
use super::outbox::Record;
use crate::config::KafkaConfig;
use crate::kafka;

#[derive(Debug, thiserror::Error)]
#[error("the decision log's producer: {0}")]
pub struct PublisherError(#[from] KafkaError);

pub(super) struct Publisher {
    config: KafkaConfig,
    bootstrap: String,
    producer: ThreadedProducer<Deliveries>,
    inbox: Arc<Inbox>,
}

/// What became of a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Delivery {
    /// Kafka has it.
    Acknowledged(u64),
    /// Kafka will never take it.
    Refused(u64, RDKafkaErrorCode),
    /// Kafka may take it if it is sent again.
    Failed(RDKafkaErrorCode),
}

/// Why a record could not be handed to the producer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum NotSent {
    /// There is no room for it yet.
    Full,
    /// Kafka would never take it.
    Refused(RDKafkaErrorCode),
    Failed(RDKafkaErrorCode),
}

/// Says what became of records.
struct Deliveries {
    inbox: Arc<Inbox>,
}

impl ClientContext for Deliveries {}

impl ProducerContext for Deliveries {
    /// The record's number.
    type DeliveryOpaque = usize;

    fn delivery(&self, result: &DeliveryResult<'_>, number: usize) {
        let number = u64::try_from(number).unwrap_or(u64::MAX);
        self.inbox.deliver(match result {
            Ok(_) => Delivery::Acknowledged(number),
            Err((error, _)) => {
                let code = error.rdkafka_error_code();
                let code = code.unwrap_or(RDKafkaErrorCode::Unknown);
                if is_final(code) {
                    Delivery::Refused(number, code)
                } else {
                    Delivery::Failed(code)
                }
            }
        });
    }
}

/// Whether it is about the record itself, so that sending it again would change nothing. `InvalidRecord` is not: our records have a
/// key, so only their time can be what Kafka does not like, that of one in a batch refuses them all, and once this machine's clock is
/// right again they are taken.
const fn is_final(code: RDKafkaErrorCode) -> bool {
    matches!(
        code,
        RDKafkaErrorCode::MessageSizeTooLarge | RDKafkaErrorCode::InvalidMessageSize
    )
}

impl Publisher {
    pub(super) fn new(
        config: &KafkaConfig,
        bootstrap: &str,
        inbox: Arc<Inbox>,
    ) -> Result<Self, PublisherError> {
        let producer = producer(config, bootstrap, &inbox)?;
        Ok(Self {
            config: config.clone(),
            bootstrap: bootstrap.to_owned(),
            producer,
            inbox,
        })
    }

    /// Where records go.
    pub(super) fn topic(&self) -> &str {
        &self.config.decisions_topic
    }

    /// Hands a record to the producer. Never blocks.
    pub(super) fn send(&self, number: u64, record: &Record) -> Result<(), NotSent> {
        let number = usize::try_from(number).unwrap_or(usize::MAX);
        let message = BaseRecord::with_opaque_to(self.topic(), number)
            .key(&record.key)
            .payload(&record.value);
        let sent = self.producer.send(message);
        sent.map_err(|(error, _)| match error.rdkafka_error_code() {
            Some(RDKafkaErrorCode::QueueFull) => NotSent::Full,
            Some(code) if is_final(code) => NotSent::Refused(code),
            code => NotSent::Failed(code.unwrap_or(RDKafkaErrorCode::Unknown)),
        })
    }

    /// Has the producer give up what it has; what became of it is told as usual.
    pub(super) fn give_up(&self) {
        let all = PurgeConfig::default().queue().inflight();
        self.producer.purge(all);
    }

    /// An idempotent producer that has met what it cannot mend sends nothing any more: it is replaced by another.
    pub(super) fn revive(&mut self) -> Result<(), PublisherError> {
        let Some((code, why)) = self.producer.client().fatal_error() else {
            return Ok(());
        };
        tracing::error!(%code, why, "the decision log's producer has failed; another one is started");
        self.producer = producer(&self.config, &self.bootstrap, &self.inbox)?;
        Ok(())
    }
}

fn producer(
    config: &KafkaConfig,
    bootstrap: &str,
    inbox: &Arc<Inbox>,
) -> Result<ThreadedProducer<Deliveries>, KafkaError> {
    let mut settings = kafka::producer_config(config, bootstrap);
    // Giving up is not the producer's to decide: what it gave up would be sent again behind what came later.
    settings.remove("delivery.timeout.ms");
    settings.set("message.timeout.ms", "0");
    settings.create_with_context(Deliveries {
        inbox: Arc::clone(inbox),
    })
}
