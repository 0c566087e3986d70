//! What every Kafka client of the service shares: settings, topics, and the embedded broker.

mod embedded;
mod reading;
mod settings;

pub(crate) use embedded::{EmbeddedBroker, EmbeddedBrokerError};
pub(crate) use reading::{Next, Reports, Silent, consumer_config, next, places};
pub(crate) use settings::{SettingsError, settle};

use std::time::Duration;

use rdkafka::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};

use crate::config::KafkaConfig;

/// A property for consumers of records alone.
const GROUP_ID: &str = "group.id";

/// Whether a record was not taken because Kafka has no such topic.
pub(crate) const fn is_no_topic(code: RDKafkaErrorCode) -> bool {
    matches!(
        code,
        RDKafkaErrorCode::UnknownTopic | RDKafkaErrorCode::UnknownTopicOrPartition
    )
}

/// librdkafka settings common to consumers and producers.
pub(crate) fn client_config(config: &KafkaConfig, bootstrap: &str) -> ClientConfig {
    let mut client = ClientConfig::new();
    client
        .set("bootstrap.servers", bootstrap)
        .set("client.id", "tollgate");
    for (name, value) in config.properties.iter() {
        // Whoever only asks or writes is in no group, and would take a second to leave one.
        if name != GROUP_ID {
            client.set(name, value);
        }
    }
    client
}

/// How long to wait for a broker to say which cluster it belongs to: so much later is a start that finds none.
const CLUSTER_ID_MAX: Duration = Duration::from_secs(5);

/// The cluster's own name for itself; `None` if it has none, or no broker answers. Blocks.
pub(crate) fn cluster_id(
    config: &KafkaConfig,
    bootstrap: &str,
) -> Result<Option<String>, KafkaError> {
    let consumer: BaseConsumer = client_config(config, bootstrap).create()?;
    Ok(consumer.client().fetch_cluster_id(CLUSTER_ID_MAX))
}

/// Settings of a producer whose records must arrive once, on the partition a Java producer would choose.
pub(crate) fn producer_config(config: &KafkaConfig, bootstrap: &str) -> ClientConfig {
    let mut producer = client_config(config, bootstrap);
    producer
        .set("enable.idempotence", "true")
        .set("acks", "all")
        .set("partitioner", "murmur2_random")
        .set("linger.ms", "2");
    producer
}
