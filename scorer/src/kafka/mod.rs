//! What every Kafka client of the service shares: settings, topics, and the embedded broker.

mod embedded;
mod settings;

pub(crate) use embedded::{EmbeddedBroker, EmbeddedBrokerError};
pub(crate) use settings::{SettingsError, settle};

use std::time::Duration;

use rdkafka::consumer::{BaseConsumer, Consumer, ConsumerContext};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::{ClientConfig, ClientContext};

use crate::config::KafkaConfig;

/// The group of consumers, where `kafka.properties` does not say otherwise. Partitions are assigned and positions are the store's own;
/// it exists because the protocol asks for a name.
const GROUP: &str = "tollgate";

/// librdkafka settings common to consumers and producers.
pub(crate) fn client_config(config: &KafkaConfig, bootstrap: &str) -> ClientConfig {
    let mut client = ClientConfig::new();
    client
        .set("bootstrap.servers", bootstrap)
        .set("client.id", "tollgate")
        .set("group.id", GROUP);
    for (name, value) in config.properties.iter() {
        client.set(name, value);
    }
    client
}

/// What librdkafka reports to a consumer besides records: every error that a poll returns comes by here first, and is logged here
/// alone. The end of a partition is no error: it is asked for.
pub(crate) struct Reports;

impl ClientContext for Reports {
    fn error(&self, error: KafkaError, reason: &str) {
        if !matches!(
            error.rdkafka_error_code(),
            Some(RDKafkaErrorCode::PartitionEOF)
        ) {
            tracing::warn!(%error, reason, "kafka consumer");
        }
    }
}

impl ConsumerContext for Reports {}

/// How long to wait for a broker to say which cluster it belongs to: so much later is a start that finds none.
const CLUSTER_ID_MAX: Duration = Duration::from_secs(5);

/// The cluster's own name for itself; `None` if it has none, or no broker answers. Blocks.
pub(crate) fn cluster_id(
    config: &KafkaConfig,
    bootstrap: &str,
) -> Result<Option<String>, KafkaError> {
    let mut client = client_config(config, bootstrap);
    // Whoever is in no group has none to leave, which would take a second.
    let consumer: BaseConsumer = client.remove("group.id").create()?;
    Ok(consumer.client().fetch_cluster_id(CLUSTER_ID_MAX))
}

/// Settings of a producer whose records must arrive once, on the partition a Java producer would choose.
pub(crate) fn producer_config(config: &KafkaConfig, bootstrap: &str) -> ClientConfig {
    let mut producer = client_config(config, bootstrap);
    producer
        .remove("group.id")
        .set("enable.idempotence", "true")
        .set("acks", "all")
        .set("partitioner", "murmur2_random")
        .set("linger.ms", "2");
    producer
}
