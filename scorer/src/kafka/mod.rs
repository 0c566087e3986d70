//! What every Kafka client of the service shares: settings, topics, and the embedded broker.

mod embedded;
mod settings;

pub(crate) use embedded::{EmbeddedBroker, EmbeddedBrokerError};
pub(crate) use settings::{SettingsError, settle};

use rdkafka::ClientConfig;

use crate::config::KafkaConfig;

/// librdkafka settings common to consumer and producers.
pub(crate) fn client_config(config: &KafkaConfig, bootstrap: &str) -> ClientConfig {
    let mut client = ClientConfig::new();
    client
        .set("bootstrap.servers", bootstrap)
        .set("client.id", "tollgate");
    for (name, value) in config.properties.iter() {
        client.set(name, value);
    }
    client
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
