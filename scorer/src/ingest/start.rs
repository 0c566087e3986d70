//! At which record of each partition reading begins: where a snapshot ends, or as far back as anything is retained.

use std::collections::BTreeMap;
use std::time::Duration;

use rdkafka::Offset;
use rdkafka::consumer::{BaseConsumer, Consumer, ConsumerContext};
use rdkafka::error::KafkaError;
use tollgate_types::{EventTime, Span};

use super::positions::Position;
use crate::kafka;

/// How long to wait for a broker's answer.
const ANSWER_MAX: Duration = Duration::from_secs(10);

/// How much further back than retention reading begins, since a record may have been written before its event's time by a
/// producer whose clock goes wrong.
const CLOCKS_DIFFER_MAX: Span = Span::from_seconds(3_600);

/// Where a partition is begun.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Start {
    pub(super) partition: i32,
    /// The first offset that is read.
    pub(super) offset: i64,
    /// The offset behind the last record, as things are now.
    pub(super) end: i64,
    /// The latest event time among the records before.
    pub(super) event_time_max: EventTime,
}

/// Why a partition is not read from where a snapshot ends. All of what the log still has is read then: what the store has of
/// it already is recognised by its id.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Lost {
    /// The log has let go of records that were never read.
    BeforeBeginning,
    /// The log ends before them: it was cut, or is another one under the same name.
    BeyondEnd,
    /// There is no such partition any more.
    PartitionGone,
}

impl Lost {
    pub(crate) const ALL: [Self; 3] = [Self::BeforeBeginning, Self::BeyondEnd, Self::PartitionGone];

    /// The word in metrics.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::BeforeBeginning => "before_beginning",
            Self::BeyondEnd => "beyond_end",
            Self::PartitionGone => "partition_gone",
        }
    }
}

/// What reading may go on from.
pub(super) enum Known {
    /// The positions of a snapshot.
    Positions(Vec<Position>),
    /// Nothing; what was written before this moment is beyond retention.
    Retention(EventTime),
    /// Nothing, and the broker cannot be asked.
    Nothing,
}

impl Known {
    /// Events that are retained at `now` were written after this.
    pub(super) fn retention(now: EventTime, retention_max: Span) -> Self {
        Self::Retention(now.minus(retention_max).minus(CLOCKS_DIFFER_MAX))
    }
}

/// Where each partition is begun; `lost` is told what was not found. `ends` has the offsets at which partitions begin and end.
pub(super) fn find<C: ConsumerContext>(
    consumer: &BaseConsumer<C>,
    topic: &str,
    ends: &BTreeMap<i32, (i64, i64)>,
    known: &Known,
    mut lost: impl FnMut(i32, Lost),
) -> Result<Vec<Start>, KafkaError> {
    let by_time = match known {
        Known::Retention(since) => at_time(consumer, topic, ends, *since)?,
        Known::Positions(_) | Known::Nothing => BTreeMap::new(),
    };
    let positions = match known {
        Known::Positions(positions) => positions.as_slice(),
        Known::Retention(_) | Known::Nothing => &[],
    };
    for position in positions {
        if !ends.contains_key(&position.partition) {
            lost(position.partition, Lost::PartitionGone);
        }
    }
    let start = |(&partition, &(begin, end)): (&i32, &(i64, i64))| {
        let mut start = Start {
            partition,
            offset: by_time.get(&partition).copied().unwrap_or(begin),
            end,
            event_time_max: EventTime::MIN,
        };
        let position = positions.iter().find(|known| known.partition == partition);
        match position.map(|known| (known, resume(known.next, (begin, end)))) {
            Some((known, Ok(offset))) => {
                start.offset = offset;
                start.event_time_max = EventTime::from_micros(known.event_time_max);
            }
            Some((_, Err(why))) => lost(partition, why),
            None => {}
        }
        start
    };
    Ok(ends.iter().map(start).collect())
}

/// Where reading goes on in a partition that begins and ends at these offsets.
const fn resume(next: i64, (begin, end): (i64, i64)) -> Result<i64, Lost> {
    if next < begin {
        Err(Lost::BeforeBeginning)
    } else if next > end {
        Err(Lost::BeyondEnd)
    } else {
        Ok(next)
    }
}

/// The first offset of each partition that was written at or after a moment, where the broker can say.
fn at_time<C: ConsumerContext>(
    consumer: &BaseConsumer<C>,
    topic: &str,
    ends: &BTreeMap<i32, (i64, i64)>,
    since: EventTime,
) -> Result<BTreeMap<i32, i64>, KafkaError> {
    let at = Offset::Offset((since.micros() / 1_000).max(0));
    let asked = kafka::places(topic, ends.keys().map(|&partition| (partition, at)))?;
    let answers = match consumer.offsets_for_times(asked, ANSWER_MAX) {
        Ok(answers) => answers,
        Err(error) => {
            tracing::warn!(%error, topic, "the broker does not say where records of some time are; the whole log is read");
            return Ok(BTreeMap::new());
        }
    };
    let mut found = BTreeMap::new();
    for answer in answers.elements() {
        let partition = answer.partition();
        let is_empty = ends.get(&partition).is_none_or(|(begin, end)| begin == end);
        match answer.offset() {
            Offset::Offset(offset) if offset >= 0 => _ = found.insert(partition, offset),
            // So a broker says that nothing was written since, but also one that cannot look times up. All of it is read:
            // that takes longer at most.
            _ if !is_empty => tracing::info!(
                topic,
                partition,
                "no record is known to be within retention; the partition is read from its beginning"
            ),
            _ => {}
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_position_is_gone_on_from_only_where_the_log_has_it() {
        for (next, ends, expected) in [
            (0, (0, 0), Ok(0)),
            (5, (0, 10), Ok(5)),
            (5, (5, 10), Ok(5)),
            (10, (5, 10), Ok(10)),
            (4, (5, 10), Err(Lost::BeforeBeginning)),
            (11, (5, 10), Err(Lost::BeyondEnd)),
            (1, (0, 0), Err(Lost::BeyondEnd)),
        ] {
            assert_eq!(resume(next, ends), expected, "{next} of {ends:?}");
        }
    }
}
