//! What all consumers share: their settings, places in a log, and waiting for what comes next.

use std::time::Duration;

use rdkafka::consumer::{BaseConsumer, ConsumerContext};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::BorrowedMessage;
use rdkafka::{ClientConfig, ClientContext, Offset, TopicPartitionList};

use super::{GROUP_ID, client_config};
use crate::clock;
use crate::config::KafkaConfig;

/// The group of consumers, where `kafka.properties` does not say otherwise. Partitions are assigned and positions are the store's own;
/// it exists because the protocol asks for a name.
const GROUP: &str = "tollgate";

/// How long one wait for a record lasts.
const POLL: Duration = Duration::from_millis(500);

/// How long nothing may come before it is given up: a broker that restarts is back by then.
const SILENCE_MAX: Duration = Duration::from_secs(60);

/// librdkafka settings common to consumers of records.
pub(crate) fn consumer_config(config: &KafkaConfig, bootstrap: &str) -> ClientConfig {
    let mut consumer = client_config(config, bootstrap);
    let given = config.properties.get(GROUP_ID).map(String::as_str);
    consumer.set(GROUP_ID, given.unwrap_or(GROUP));
    consumer
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

/// These places in partitions of a topic, as librdkafka wants them.
pub(crate) fn places(
    topic: &str,
    at: impl IntoIterator<Item = (i32, Offset)>,
) -> Result<TopicPartitionList, KafkaError> {
    let mut places = TopicPartitionList::new();
    for (partition, offset) in at {
        places.add_partition_offset(topic, partition, offset)?;
    }
    Ok(places)
}

/// What comes next.
pub(crate) enum Next<'c> {
    Record(BorrowedMessage<'c>),
    /// The partition has no further record.
    End(i32),
    /// The log no longer has the record that should have come.
    Cut,
}

/// Nothing came for so long.
#[derive(Debug)]
pub(crate) struct Silent {
    pub(crate) waited: Duration,
    /// The last error meanwhile.
    pub(crate) last: Option<String>,
}

/// Waits as long as brokers may be silent. What a broker's going away makes of a wait passes: others are asked, or it comes back.
pub(crate) fn next(consumer: &BaseConsumer<Reports>) -> Result<Next<'_>, Silent> {
    let began = clock::instant();
    let mut last = None;
    loop {
        match consumer.poll(POLL) {
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
            return Err(Silent { waited, last });
        }
    }
}
