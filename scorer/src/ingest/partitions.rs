//! Partitions that a topic gets while it is read.

use std::time::Duration;

use rdkafka::consumer::{BaseConsumer, Consumer, ConsumerContext};
use rdkafka::error::KafkaError;
use rdkafka::{Offset, TopicPartitionList};

/// How long a look may hold reading up, if the brokers do not answer: there is nothing to read then.
const LOOK_MAX: Duration = Duration::from_millis(500);

/// Begins to read the partitions that are not `known`, from their beginning: what was written before they were noticed
/// counts like all else. Returns them.
pub(super) fn read_added<C: ConsumerContext>(
    consumer: &BaseConsumer<C>,
    topic: &str,
    known: impl Fn(i32) -> bool,
) -> Result<Vec<i32>, KafkaError> {
    let metadata = consumer.fetch_metadata(Some(topic), LOOK_MAX)?;
    let found = metadata
        .topics()
        .iter()
        .flat_map(|topic| topic.partitions());
    let added: Vec<i32> = found
        .map(rdkafka::metadata::MetadataPartition::id)
        .filter(|&partition| !known(partition))
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
