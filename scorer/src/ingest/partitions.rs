//! Which partitions a topic has, and those that it gets while it is read.

use std::collections::BTreeMap;
use std::time::Duration;

use rdkafka::Offset;
use rdkafka::consumer::{BaseConsumer, Consumer, ConsumerContext};
use rdkafka::error::KafkaError;

use crate::kafka;

/// How long a look may hold reading up, if the brokers do not answer: there is nothing to read then.
const LOOK_MAX: Duration = Duration::from_millis(500);

/// One partition of a topic.
#[derive(Clone, Copy, Debug)]
pub(super) struct Partition {
    pub(super) id: i32,
    /// Whether a broker serves it.
    pub(super) has_leader: bool,
}

/// The partitions of a topic; none if there is no such topic.
pub(super) fn of<C: ConsumerContext>(
    consumer: &BaseConsumer<C>,
    topic: &str,
    answer_max: Duration,
) -> Result<Vec<Partition>, KafkaError> {
    let metadata = consumer.fetch_metadata(Some(topic), answer_max)?;
    let found = metadata.topics().iter();
    let partitions = found.flat_map(|topic| topic.partitions());
    let partition = |found: &rdkafka::metadata::MetadataPartition| Partition {
        id: found.id(),
        has_leader: found.leader() >= 0,
    };
    Ok(partitions.map(partition).collect())
}

/// The offsets at which each partition of a topic begins and ends; none if there is no such topic. `answer_max` is for each answer,
/// and there is one for each partition; `is_cancelled` is asked before each.
pub(super) fn ends<C: ConsumerContext>(
    consumer: &BaseConsumer<C>,
    topic: &str,
    answer_max: Duration,
    is_cancelled: impl Fn() -> bool,
) -> Result<BTreeMap<i32, (i64, i64)>, KafkaError> {
    let mut ends = BTreeMap::new();
    for partition in of(consumer, topic, answer_max)? {
        if is_cancelled() {
            return Err(KafkaError::Canceled);
        }
        let ends_now = consumer.fetch_watermarks(topic, partition.id, answer_max)?;
        ends.insert(partition.id, ends_now);
    }
    Ok(ends)
}

/// What a look at a topic has shown.
#[derive(Debug)]
pub(super) struct Look {
    /// Partitions that are read from now on.
    pub(super) added: Vec<i32>,
    /// The topic is there, and a broker serves each of its partitions.
    pub(super) is_whole: bool,
}

/// Begins to read the partitions that are new, from their beginning: what was written before they were noticed counts like all
/// else.
pub(super) fn read_added<C: ConsumerContext>(
    consumer: &BaseConsumer<C>,
    topic: &str,
    is_added: impl Fn(i32) -> bool,
) -> Result<Look, KafkaError> {
    let found = of(consumer, topic, LOOK_MAX)?;
    let is_whole = !found.is_empty() && found.iter().all(|partition| partition.has_leader);
    let ids = found.iter().map(|partition| partition.id);
    let added: Vec<i32> = ids.filter(|&partition| is_added(partition)).collect();
    if !added.is_empty() {
        let at = added
            .iter()
            .map(|&partition| (partition, Offset::Beginning));
        consumer.incremental_assign(&kafka::places(topic, at)?)?;
    }
    Ok(Look { added, is_whole })
}

/// Asks anew for what comes next, at these offsets: of a partition that was refused, and may be read again, the end would not be
/// told a second time.
pub(super) fn ask_again<C: ConsumerContext>(
    consumer: &BaseConsumer<C>,
    topic: &str,
    next: impl Iterator<Item = (i32, i64)>,
) -> Result<(), KafkaError> {
    let next = next.map(|(partition, offset)| (partition, Offset::Offset(offset)));
    consumer.seek_partitions(kafka::places(topic, next)?, LOOK_MAX)?;
    Ok(())
}
