//! How far the log has been read: per partition on the reading thread, in sum for everyone else.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};

use tollgate_types::{EventTime, Span};

use super::reader::Topic;

/// How far both topics have been read, as other threads may ask.
#[derive(Debug, Default)]
pub(crate) struct IngestState {
    transactions: TopicState,
    labels: TopicState,
}

#[derive(Debug, Default)]
pub(crate) struct TopicState {
    /// Every partition has been read to its end at least once.
    replayed: AtomicBool,
    /// Every partition was at its end when last heard of.
    at_end: AtomicBool,
    /// When the last record applied was written to Kafka, in microseconds.
    written_at: AtomicI64,
}

impl IngestState {
    pub(super) fn topic(&self, topic: Topic) -> &TopicState {
        match topic {
            Topic::Transactions => &self.transactions,
            Topic::Labels => &self.labels,
        }
    }

    /// Whether the whole log has been read since the start.
    pub(crate) fn is_ready(&self) -> bool {
        Topic::ALL
            .into_iter()
            .all(|topic| self.topic(topic).replayed.load(Ordering::Acquire))
    }

    /// How old the last record applied is, while more are waiting; zero if none are.
    pub(crate) fn behind(&self, now: EventTime) -> Span {
        Topic::ALL
            .into_iter()
            .map(|topic| self.topic(topic).behind(now))
            .max()
            .unwrap_or_default()
    }
}

impl TopicState {
    fn behind(&self, now: EventTime) -> Span {
        let written_at = self.written_at.load(Ordering::Relaxed);
        // Before the first record there is no telling how far; readiness covers that time.
        if self.at_end.load(Ordering::Relaxed) || written_at == 0 {
            return Span::ZERO;
        }
        now.since(EventTime::from_micros(written_at))
            .max(Span::ZERO)
    }
}

/// Per partition: the latest event time, and whether the end was reached. Owned by the reading thread.
#[derive(Debug)]
pub(super) struct Progress {
    partitions: BTreeMap<i32, PartitionProgress>,
}

#[derive(Debug, Clone, Copy)]
struct PartitionProgress {
    event_time_max: EventTime,
    at_end: bool,
    replayed: bool,
}

impl Progress {
    pub(super) fn new(partitions: impl Iterator<Item = i32>) -> Self {
        let start = PartitionProgress {
            event_time_max: EventTime::MIN,
            at_end: false,
            replayed: false,
        };
        Self {
            partitions: partitions.map(|partition| (partition, start)).collect(),
        }
    }

    /// A record of `partition` was applied; `event_time` if it had one.
    pub(super) fn applied(
        &mut self,
        partition: i32,
        event_time: Option<EventTime>,
        written_at: EventTime,
        state: &TopicState,
    ) {
        if let Some(partition) = self.partitions.get_mut(&partition) {
            partition.at_end = false;
            partition.event_time_max = partition
                .event_time_max
                .max(event_time.unwrap_or(EventTime::MIN));
        }
        state
            .written_at
            .store(written_at.micros(), Ordering::Relaxed);
        state.at_end.store(false, Ordering::Relaxed);
    }

    /// The end of `partition` was reached.
    pub(super) fn at_end(&mut self, partition: i32, state: &TopicState) {
        if let Some(partition) = self.partitions.get_mut(&partition) {
            partition.at_end = true;
            partition.replayed = true;
        }
        if self.partitions.values().all(|partition| partition.at_end) {
            state.at_end.store(true, Ordering::Relaxed);
        }
        if self.partitions.values().all(|partition| partition.replayed) {
            state.replayed.store(true, Ordering::Release);
        }
    }

    /// The event time up to which every partition has been read. A partition at its end holds nobody back;
    /// if all are, it is the latest time seen.
    pub(super) fn watermark(&self) -> EventTime {
        let partitions = self.partitions.values();
        let behind = partitions.clone().filter(|partition| !partition.at_end);
        let slowest = behind.map(|partition| partition.event_time_max).min();
        let latest = partitions.map(|partition| partition.event_time_max).max();
        slowest.or(latest).unwrap_or(EventTime::MIN)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn time(micros: i64) -> EventTime {
        EventTime::from_micros(micros)
    }

    #[test]
    fn the_slowest_partition_still_being_read_holds_the_watermark() {
        let state = IngestState::default();
        let topic = state.topic(Topic::Transactions);
        let mut progress = Progress::new(0..3);
        progress.applied(0, Some(time(100)), time(1), topic);
        assert_eq!(
            progress.watermark(),
            EventTime::MIN,
            "partitions 1 and 2 have not begun"
        );
        progress.applied(1, Some(time(50)), time(1), topic);
        progress.at_end(2, topic);
        assert_eq!(progress.watermark(), time(50));
        progress.at_end(1, topic);
        assert_eq!(progress.watermark(), time(100));
        progress.at_end(0, topic);
        assert_eq!(progress.watermark(), time(100));
    }

    #[test]
    fn ready_once_both_topics_were_read_to_their_ends() {
        let state = IngestState::default();
        for topic in Topic::ALL {
            assert!(!state.is_ready());
            let mut progress = Progress::new(0..2);
            progress.at_end(0, state.topic(topic));
            progress.at_end(1, state.topic(topic));
        }
        assert!(state.is_ready());
    }

    #[test]
    fn behind_is_the_age_of_the_last_record_while_more_are_waiting() {
        let state = IngestState::default();
        let topic = state.topic(Topic::Labels);
        let mut progress = Progress::new(0..1);
        progress.applied(0, None, time(1_000), topic);
        assert_eq!(state.behind(time(5_000)), Span::from_micros(4_000));
        progress.at_end(0, topic);
        assert_eq!(state.behind(time(5_000)), Span::ZERO);
    }
}
