//! Which partitions a topic has, and those that it gets while it is read.

use std::collections::BTreeMap;
use std::time::Duration;

use rdkafka::consumer::{BaseConsumer, Consumer, ConsumerContext};
use rdkafka::error::KafkaError;
use rdkafka::{Offset, TopicPartitionList};

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

/// The offsets at which each partition of a topic begins and ends; none if there is no such topic.
pub(super) fn ends<C: ConsumerContext>(
    consumer: &BaseConsumer<C>,
    topic: &str,
    answer_max: Duration,
) -> Result<BTreeMap<i32, (i64, i64)>, KafkaError> {
    let mut ends = BTreeMap::new();
    for partition in of(consumer, topic, answer_max)? {
        let ends_now = consumer.fetch_watermarks(topic, partition.id, answer_max)?;
        ends.insert(partition.id, ends_now);
    }
    Ok(ends)
}

/// Begins to read the partitions that are new, from their beginning: what was written before they were noticed counts like all
/// else. Returns them.
pub(super) fn read_added<C: ConsumerContext>(
    consumer: &BaseConsumer<C>,
    topic: &str,
    is_added: impl Fn(i32) -> bool,
) -> Result<Vec<i32>, KafkaError> {
    let found = of(consumer, topic, LOOK_MAX)?.into_iter();
    let added: Vec<i32> = found
        .map(|partition| partition.id)
        .filter(|&partition| is_added(partition))
        .collect();
    if added.is_empty() {
        return Ok(added);
    }
    let mut assignment = TopicPartitionList::new();
    for &partition in &added {
        assignment.add_partition_offset(topic, partition, Offset::Beginning)?;
    }
    consumer.incremental_assign(&assignment)?;
    Ok(added)
}
