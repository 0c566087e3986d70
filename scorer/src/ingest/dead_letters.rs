//! Records that could not be read, kept for someone to look at.
//!
//! A dead letter says where the record was and what was wrong. The record's own bytes stay in the topic they
//! came from: they may hold a card number, and must not spread.

use rdkafka::ClientContext;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::DeliveryResult;
use rdkafka::producer::{BaseRecord, Producer, ProducerContext, ThreadedProducer};
use std::sync::Arc;
use std::time::Duration;

use super::Parts;
use super::letter::{self, Place};
use super::letters::Letters;
use super::positions::Positions;
use crate::config::Format;
use crate::metrics::TopicMetrics;
use crate::{clock, kafka};

/// How long to wait for room in the producer's queue before giving a letter up. Nothing is applied meanwhile, and no snapshot can
/// take the positions.
const ROOM_TIMEOUT: Duration = Duration::from_millis(10);

/// How long an ending reader waits for its last letters to be acknowledged.
const FLUSH_MAX: Duration = Duration::from_secs(5);

pub(super) struct DeadLetters {
    producer: ThreadedProducer<Delivery>,
    positions: Arc<Positions>,
    metrics: TopicMetrics,
    topic: String,
}

/// What becomes of letters.
struct Delivery {
    positions: Arc<Positions>,
    metrics: TopicMetrics,
}

impl ClientContext for Delivery {}

impl ProducerContext for Delivery {
    /// The letter's number.
    type DeliveryOpaque = usize;

    fn delivery(&self, result: &DeliveryResult<'_>, number: usize) {
        match result {
            Ok(_) => {
                self.metrics.letter_published();
                self.letters().done(number);
            }
            Err((error, _)) => {
                self.metrics.letter_lost();
                tracing::error!(%error, "dead letter lost");
                // The reader has ended and its last letters with it: a snapshot without them would be wrong, and none after it
                // has to wait for them.
                if !is_purged(error) {
                    self.letters().done(number);
                }
            }
        }
    }
}

impl Delivery {
    fn letters(&self) -> &Letters {
        self.positions.letters()
    }
}

fn is_purged(error: &KafkaError) -> bool {
    use RDKafkaErrorCode::{PurgeInflight, PurgeQueue};
    matches!(error.rdkafka_error_code(), Some(PurgeQueue | PurgeInflight))
}

impl DeadLetters {
    pub(super) fn new(parts: &Parts) -> Result<Self, KafkaError> {
        let (positions, metrics) = (Arc::clone(&parts.positions), parts.metrics.topics.clone());
        let producer = kafka::producer_config(&parts.config, &parts.bootstrap);
        let producer = producer.create_with_context(Delivery {
            positions: Arc::clone(&positions),
            metrics: metrics.clone(),
        })?;
        Ok(Self {
            producer,
            positions,
            metrics,
            topic: parts.config.dead_letters_topic.clone(),
        })
    }

    /// Waits, bounded, until every letter sent has been acknowledged.
    pub(super) fn flush(&self) {
        if let Err(error) = self.producer.flush(FLUSH_MAX) {
            tracing::error!(%error, "dead letters were not flushed");
        }
    }

    /// Publishes a dead letter about a record that should have been of this format.
    pub(super) fn send(&self, place: Place<'_>, error: &str, format: Format) {
        tracing::warn!(
            place.topic,
            place.partition,
            place.offset,
            error,
            "record to dead letters"
        );
        let letter = letter::refused(place, error, format, clock::wall_time());
        let letters = self.positions.letters();
        let number = letters.send();
        let record = BaseRecord::<(), str, usize>::with_opaque_to(&self.topic, number)
            .payload(&letter.value)
            .headers(letter.headers);
        let sent = self.producer.send(record).or_else(|(error, record)| {
            if error.rdkafka_error_code() != Some(RDKafkaErrorCode::QueueFull) {
                return Err(error);
            }
            // Best effort: wait once for room, then try again.
            let _ = self.producer.flush(ROOM_TIMEOUT);
            self.producer.send(record).map_err(|(error, _)| error)
        });
        if let Err(error) = sent {
            letters.done(number);
            self.metrics.letter_lost();
            tracing::error!(%error, place.topic, place.partition, place.offset, "dead letter lost");
        }
    }
}
