//! Records that could not be read, kept for someone to look at.
//!
//! A dead letter says where the record was and what was wrong. The record's own bytes stay in the topic they
//! came from: they may hold a card number, and must not spread.

use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{Header, OwnedHeaders};
use rdkafka::producer::{BaseRecord, DefaultProducerContext, Producer, ThreadedProducer};
use std::time::Duration;

use crate::config::KafkaConfig;
use crate::kafka;

/// How long to wait for room in the producer's queue before giving a letter up.
const ROOM_TIMEOUT: Duration = Duration::from_millis(200);

/// How long an ending reader waits for its last letters to be acknowledged.
const FLUSH_MAX: Duration = Duration::from_secs(5);

pub(super) struct DeadLetters {
    producer: ThreadedProducer<DefaultProducerContext>,
    topic: String,
}

/// Where a record stood in the log.
#[derive(Debug, Clone, Copy)]
pub(super) struct Place<'a> {
    pub(super) topic: &'a str,
    pub(super) partition: i32,
    pub(super) offset: i64,
}

impl DeadLetters {
    pub(super) fn new(config: &KafkaConfig, bootstrap: &str) -> Result<Self, KafkaError> {
        let producer = kafka::producer_config(config, bootstrap).create()?;
        Ok(Self {
            producer,
            topic: config.dead_letters_topic.clone(),
        })
    }

    /// Waits, bounded, until every letter sent has been acknowledged.
    pub(super) fn flush(&self) {
        if let Err(error) = self.producer.flush(FLUSH_MAX) {
            tracing::error!(%error, "dead letters were not flushed");
        }
    }

    /// Publishes a dead letter; the value is a sentence, the place and the error are headers.
    pub(super) fn send(&self, place: Place<'_>, error: &str) {
        let (partition, offset) = (place.partition.to_string(), place.offset.to_string());
        let value = format!("{}/{partition}@{offset}: {error}", place.topic);
        tracing::warn!(
            place.topic,
            place.partition,
            place.offset,
            error,
            "record to dead letters"
        );
        let header = |key, value| Header {
            key,
            value: Some(value),
        };
        let headers = OwnedHeaders::new()
            .insert(header("topic", place.topic))
            .insert(header("partition", &partition))
            .insert(header("offset", &offset))
            .insert(header("error", error));
        let record = BaseRecord::<(), str>::to(&self.topic)
            .payload(&value)
            .headers(headers);
        let sent = self.producer.send(record).or_else(|(error, record)| {
            if error.rdkafka_error_code() != Some(RDKafkaErrorCode::QueueFull) {
                return Err(error);
            }
            // Best effort: wait once for room, then try again.
            let _ = self.producer.flush(ROOM_TIMEOUT);
            self.producer.send(record).map_err(|(error, _)| error)
        });
        if let Err(error) = sent {
            tracing::error!(%error, place.topic, place.partition, place.offset, "dead letter lost");
        }
    }
}
