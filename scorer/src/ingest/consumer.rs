//! The Kafka consumer of a reading thread, and where it begins.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use rdkafka::Offset;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::KafkaError;

use super::partitions;
use super::positions::{self, Position};
use super::share::Share;
use super::start::{self, Known, Start};
use super::topic::Topic;
use super::{IngestError, Parts};
use crate::config::KafkaConfig;
use crate::kafka::Reports;
use crate::{clock, kafka};

/// How long to wait for a broker's answer where reading begins: less than a service that stops waits for its threads. Who gets none
/// tries again.
const METADATA_TIMEOUT: Duration = Duration::from_secs(3);

/// What is fetched ahead of being applied, where `kafka.properties` does not say otherwise: enough for a tenth of a second of the
/// fastest reading, little enough to stay small beside the store. Once there is as much, the next look is soon: a second,
/// which librdkafka waits by default, is longer than it takes to apply all that was fetched.
const PREFETCH: [(&str, &str); 2] = [
    ("queued.max.messages.kbytes", "16384"),
    ("fetch.queue.backoff.ms", "10"),
];

/// A consumer that has nothing assigned yet. Does not wait for Kafka.
pub(super) fn unassigned(
    config: &KafkaConfig,
    bootstrap: &str,
) -> Result<BaseConsumer<Reports>, KafkaError> {
    let mut settings = kafka::consumer_config(config, bootstrap);
    settings
        // Positions are the store's own.
        .set("enable.auto.commit", "false")
        .set("enable.partition.eof", "true")
        // If the log lost what was to be read next, that must not go unnoticed.
        .set("auto.offset.reset", "error");
    for (name, value) in PREFETCH {
        if !config.properties.contains_key(name) {
            settings.set(name, value);
        }
    }
    if config.bootstrap.is_empty() {
        // The embedded broker answers a fetch only after this time, whatever has arrived since.
        settings.set("fetch.wait.max.ms", "5");
    }
    settings.create_with_context(Reports)
}

/// Begins to read every partition of a share where what is known says, and sets the positions to that.
pub(super) fn begin(
    (topic, share): (Topic, Share),
    parts: &Parts,
    consumer: &BaseConsumer<Reports>,
    known: &Known,
    stop: &AtomicBool,
) -> Result<Vec<Start>, IngestError> {
    let name = topic.topic(&parts.config);
    let is_stopping = || stop.load(Ordering::Relaxed);
    let mut ends = partitions::ends(consumer, &name, METADATA_TIMEOUT, is_stopping)?;
    if ends.is_empty() {
        return Err(IngestError::NoTopic {
            topic: name,
            key: topic.config_key(),
        });
    }
    ends.retain(|partition, _| share.has(*partition));
    let starts = start::find(consumer, &name, &ends, known, |partition, lost| {
        parts.metrics.snapshot.lost(lost);
        tracing::error!(
            topic = name,
            partition,
            lost = lost.name(),
            "the log no longer has what was to be read next; all that it has of the partition is read"
        );
    })?;
    let at = starts
        .iter()
        .map(|start| (start.partition, Offset::Offset(start.offset)));
    consumer.assign(&kafka::places(&name, at)?)?;
    let begun = starts.iter().map(|start| {
        let position = positions::at(start);
        (position.partition, position)
    });
    // Partitions that were known and that the topic has not any more go.
    *parts.positions.lock(topic, share) = begun.collect();
    Ok(starts)
}

/// What a start knows of where to begin.
pub(super) fn known_at_start((topic, share): (Topic, Share), parts: &Parts) -> Known {
    // A snapshot that was written before reading began knows of no partition.
    if parts.known(topic).next().is_some() {
        let own = parts
            .known(topic)
            .filter(|known| share.has(known.partition));
        return Known::Positions(own.collect());
    }
    // The embedded broker cannot look times up, and has nothing that is old.
    if parts.config.bootstrap.is_empty() {
        return Known::Nothing;
    }
    let retention_max = parts.store.schema().retention_max();
    Known::retention(clock::wall_time(), retention_max)
}

/// The positions that reading has come to.
pub(super) fn known_now((topic, share): (Topic, Share), parts: &Parts) -> Known {
    let read = parts.positions.lock(topic, share);
    let read: Vec<Position> = read.values().copied().collect();
    Known::Positions(read)
}
