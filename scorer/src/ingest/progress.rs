//! How far the log has been read: per partition on the reading thread, in sum for everyone else.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};

use tollgate_types::{EventTime, Span};

use super::topic::Topic;

/// How far both topics have been read, as other threads may ask.
#[derive(Debug, Default)]
pub(crate) struct IngestState {
    transactions: TopicState,
    labels: TopicState,
    /// No more traffic should come, however far the log has been read.
    withdrawn: AtomicBool,
}

#[derive(Debug, Default)]
pub(crate) struct TopicState {
    /// Every partition has been read to where it ended at start.
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

    /// Whether the log has been read to where it ended at start, and the service is neither stopping nor broken.
    pub(crate) fn is_ready(&self) -> bool {
        let replayed = |topic| self.topic(topic).replayed.load(Ordering::Acquire);
        !self.withdrawn.load(Ordering::Relaxed) && Topic::ALL.into_iter().all(replayed)
    }

    /// Makes the service unready for good: it is stopping, or can read no more.
    pub(crate) fn withdraw(&self) {
        self.withdrawn.store(true, Ordering::Relaxed);
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
    /// The offset after its last record when reading began.
    end_at_start: i64,
    replayed: bool,
}

impl Progress {
    /// `partitions` with the offsets at which they begin and end now.
    pub(super) fn new(
        partitions: impl Iterator<Item = (i32, (i64, i64))>,
        state: &TopicState,
    ) -> Self {
        let progress = |(begin, end_at_start)| PartitionProgress {
            event_time_max: EventTime::MIN,
            at_end: false,
            end_at_start,
            replayed: begin >= end_at_start,
        };
        let partitions = partitions.map(|(partition, ends)| (partition, progress(ends)));
        let progress = Self {
            partitions: partitions.collect(),
        };
        progress.publish(state);
        progress
    }

    pub(super) fn knows(&self, partition: i32) -> bool {
        self.partitions.contains_key(&partition)
    }

    pub(super) fn partitions(&self) -> usize {
        self.partitions.len()
    }

    /// The topic got a partition, of which nothing has been read. Readiness, once there, does not wait for it.
    pub(super) fn add(&mut self, partition: i32, state: &TopicState) {
        let added = PartitionProgress {
            event_time_max: EventTime::MIN,
            at_end: false,
            end_at_start: 0,
            replayed: true,
        };
        self.partitions.insert(partition, added);
        state.at_end.store(false, Ordering::Relaxed);
    }

    /// The record at `offset` of `partition` was applied; `event_time` if it had one.
    pub(super) fn applied(
        &mut self,
        (partition, offset): (i32, i64),
        event_time: Option<EventTime>,
        written_at: EventTime,
        state: &TopicState,
    ) {
        state
            .written_at
            .store(written_at.micros(), Ordering::Relaxed);
        state.at_end.store(false, Ordering::Relaxed);
        let Some(partition) = self.partitions.get_mut(&partition) else {
            return;
        };
        partition.at_end = false;
        let event_time = event_time.unwrap_or(EventTime::MIN);
        partition.event_time_max = partition.event_time_max.max(event_time);
        if !partition.replayed && offset + 1 >= partition.end_at_start {
            partition.replayed = true;
            self.publish(state);
        }
    }

    /// The end of `partition` was reached.
    pub(super) fn at_end(&mut self, partition: i32, state: &TopicState) {
        if let Some(partition) = self.partitions.get_mut(&partition) {
            partition.at_end = true;
            // The last offsets of a log may hold no record: markers of transactions, compacted ones.
            partition.replayed = true;
        }
        self.publish(state);
    }

    fn publish(&self, state: &TopicState) {
        let all = |is: fn(&PartitionProgress) -> bool| self.partitions.values().all(is);
        if all(|partition| partition.at_end) {
            state.at_end.store(true, Ordering::Relaxed);
        }
        if all(|partition| partition.replayed) {
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

    /// Partitions that each hold the offsets 0 to 9.
    fn ten_records(partitions: i32, state: &TopicState) -> Progress {
        Progress::new((0..partitions).map(|partition| (partition, (0, 10))), state)
    }

    #[test]
    fn the_slowest_partition_still_being_read_holds_the_watermark() {
        let state = IngestState::default();
        let topic = state.topic(Topic::Transactions);
        let mut progress = ten_records(3, topic);
        progress.applied((0, 0), Some(time(100)), time(1), topic);
        assert_eq!(
            progress.watermark(),
            EventTime::MIN,
            "partitions 1 and 2 have not begun"
        );
        progress.applied((1, 0), Some(time(50)), time(1), topic);
        progress.at_end(2, topic);
        assert_eq!(progress.watermark(), time(50));
        progress.at_end(1, topic);
        assert_eq!(progress.watermark(), time(100));
        progress.at_end(0, topic);
        assert_eq!(progress.watermark(), time(100));
    }

    #[test]
    fn ready_once_both_topics_were_read_to_where_they_ended_at_start() {
        let state = IngestState::default();
        for topic in Topic::ALL {
            assert!(!state.is_ready());
            let mut progress = ten_records(2, state.topic(topic));
            progress.applied((0, 8), None, time(1), state.topic(topic));
            progress.at_end(1, state.topic(topic));
            assert!(!state.is_ready(), "offset 9 of partition 0 is missing");
            // More may have come since; it is not waited for.
            progress.applied((0, 9), None, time(1), state.topic(topic));
        }
        assert!(state.is_ready());
        state.withdraw();
        assert!(!state.is_ready());
    }

    #[test]
    fn an_empty_log_is_ready_at_once() {
        let state = IngestState::default();
        for topic in Topic::ALL {
            Progress::new(
                (0..2).map(|partition| (partition, (7, 7))),
                state.topic(topic),
            );
        }
        assert!(state.is_ready());
    }

    #[test]
    fn behind_is_the_age_of_the_last_record_while_more_are_waiting() {
        let state = IngestState::default();
        let topic = state.topic(Topic::Labels);
        let mut progress = ten_records(1, topic);
        progress.applied((0, 0), None, time(1_000), topic);
        assert_eq!(state.behind(time(5_000)), Span::from_micros(4_000));
        progress.at_end(0, topic);
        assert_eq!(state.behind(time(5_000)), Span::ZERO);
    }
}
