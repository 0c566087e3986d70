//! Reads topics from one offset to another, for as long as brokers say something.

use std::collections::BTreeMap;
use std::time::Duration;

use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::BorrowedMessage;
use rdkafka::{Offset, TopicPartitionList};

use super::ReplayError;
use crate::clock;
use crate::config::KafkaConfig;
use crate::ingest::consumer;
use crate::ingest::partitions;
use crate::ingest::start::{self, Known, Start};
use crate::kafka::Reports;

/// How long to wait for a broker's answer.
const ANSWER_MAX: Duration = Duration::from_secs(10);

/// How long one wait for a record lasts.
const POLL: Duration = Duration::from_millis(500);

/// How long nothing may come before it is given up: a broker that restarts is back by then.
const SILENCE_MAX: Duration = Duration::from_secs(60);

pub(super) struct Log {
    consumer: BaseConsumer<Reports>,
}

/// What comes next.
pub(super) enum Next<'l> {
    Record(BorrowedMessage<'l>),
    /// The partition has no further record.
    End(i32),
    /// The log no longer has the record that should have come.
    Cut,
}

impl Log {
    pub(super) fn new(config: &KafkaConfig) -> Result<Self, ReplayError> {
        Ok(Self {
            consumer: consumer::unassigned(config, &config.bootstrap)?,
        })
    }

    /// The offsets at which each partition of a topic begins and ends; none if there is no such topic.
    pub(super) fn ends(&self, topic: &str) -> Result<BTreeMap<i32, (i64, i64)>, ReplayError> {
        Ok(partitions::ends(&self.consumer, topic, ANSWER_MAX, || {
            false
        })?)
    }

    /// Where the records of a topic that are `known` to be wanted begin and end.
    pub(super) fn starts(&self, topic: &str, known: &Known) -> Result<Vec<Start>, ReplayError> {
        let ends = self.ends(topic)?;
        // Nothing is lost that was not known.
        Ok(start::find(&self.consumer, topic, &ends, known, |_, _| ())?)
    }

    /// Reads on at these offsets of these partitions, and at nothing else.
    pub(super) fn read_at(
        &self,
        topic: &str,
        at: impl Iterator<Item = (i32, i64)>,
    ) -> Result<(), ReplayError> {
        let mut assignment = TopicPartitionList::new();
        for (partition, offset) in at {
            assignment.add_partition_offset(topic, partition, Offset::Offset(offset))?;
        }
        Ok(self.consumer.assign(&assignment)?)
    }

    pub(super) fn next(&self) -> Result<Next<'_>, ReplayError> {
        let began = clock::instant();
        let mut last = None;
        loop {
            match self.consumer.poll(POLL) {
                Some(Ok(message)) => return Ok(Next::Record(message)),
                Some(Err(KafkaError::PartitionEOF(partition))) => return Ok(Next::End(partition)),
                Some(Err(error)) => {
                    if error.rdkafka_error_code() == Some(RDKafkaErrorCode::AutoOffsetReset) {
                        return Ok(Next::Cut);
                    }
                    last = Some(error.to_string());
                }
                None => {}
            }
            if clock::instant().saturating_duration_since(began) >= SILENCE_MAX {
                let waited = SILENCE_MAX;
                return Err(ReplayError::Silent { waited, last });
            }
        }
    }
}
