//! Reads topics from one offset to another, for as long as brokers say something.

use std::collections::BTreeMap;
use std::time::Duration;

use rdkafka::Offset;
use rdkafka::consumer::{BaseConsumer, Consumer};

use super::ReplayError;
use crate::config::KafkaConfig;
use crate::ingest::consumer;
use crate::ingest::partitions;
use crate::ingest::start::{self, Known, Start};
use crate::kafka::{self, Next, Reports, Silent};

/// How long to wait for a broker's answer.
const ANSWER_MAX: Duration = Duration::from_secs(10);

pub(super) struct Log {
    consumer: BaseConsumer<Reports>,
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
        let at = at.map(|(partition, offset)| (partition, Offset::Offset(offset)));
        Ok(self.consumer.assign(&kafka::places(topic, at)?)?)
    }

    pub(super) fn next(&self) -> Result<Next<'_>, ReplayError> {
        let silent = |Silent { waited, last }| ReplayError::Silent { waited, last };
        kafka::next(&self.consumer).map_err(silent)
    }
}
