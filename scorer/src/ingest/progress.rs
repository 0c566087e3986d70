//! How far the log has been read: per partition, among the threads that read a topic.

use std::collections::BTreeMap;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use tollgate_types::EventTime;

use super::start::Start;
use super::state::TopicState;
use super::topic::Topic;

/// Between two lines of the log that say how far reading up to the end has come.
const REPORT: Duration = Duration::from_secs(5);

/// Per partition: the latest event time, and whether the end was reached. Shared by the threads that read the topic.
#[derive(Debug)]
pub(super) struct Progress {
    partitions: BTreeMap<i32, PartitionProgress>,
    /// Records applied so far, and how many they were when the last report was made, and when.
    applied: i64,
    reported: Option<(i64, Instant)>,
}

#[derive(Debug, Clone, Copy)]
struct PartitionProgress {
    event_time_max: EventTime,
    at_end: bool,
    /// The offset of the next record.
    next: i64,
    /// The offset after its last record when reading began.
    end_at_start: i64,
    replayed: bool,
}

impl PartitionProgress {
    /// Where a partition begins.
    fn at(start: &Start) -> (i32, Self) {
        let progress = Self {
            event_time_max: start.event_time_max,
            at_end: false,
            next: start.offset,
            end_at_start: start.end,
            replayed: start.offset >= start.end,
        };
        (start.partition, progress)
    }
}

impl Progress {
    pub(super) fn new(starts: &[Start], state: &TopicState) -> Self {
        let partitions = starts.iter().map(PartitionProgress::at);
        let progress = Self {
            partitions: partitions.collect(),
            applied: 0,
            reported: None,
        };
        progress.begins(state);
        progress
    }

    /// It is known what there is to read.
    fn begins(&self, state: &TopicState) {
        state.left.store(self.left(), Ordering::Relaxed);
        state.has_begun.store(true, Ordering::Release);
        self.publish(state);
    }

    /// Records up to where the log ended at start that are still to be read.
    fn left(&self) -> i64 {
        let partitions = self.partitions.values();
        let behind = partitions.filter(|partition| !partition.replayed);
        behind
            // Of a log that was cut, reading may have been beyond the end.
            .map(|partition| (partition.end_at_start - partition.next).max(0))
            .sum()
    }

    /// What was read of these partitions has to be read again, in part at least; where from is not known yet.
    pub(super) fn is_cut(&mut self, is_mine: impl Fn(i32) -> bool) {
        for (_, partition) in self.partitions.iter_mut().filter(|(id, _)| is_mine(**id)) {
            partition.replayed = false;
            partition.at_end = false;
        }
    }

    /// These partitions are read from here on; what else there was of them is gone.
    pub(super) fn begin_again(
        &mut self,
        is_mine: impl Fn(i32) -> bool,
        starts: &[Start],
        state: &TopicState,
    ) {
        self.partitions.retain(|partition, _| !is_mine(*partition));
        let starts = starts.iter().map(PartitionProgress::at);
        self.partitions.extend(starts);
        // The pace is that of this reading, not of the time since the one before.
        self.reported = None;
        self.begins(state);
    }

    pub(super) fn knows(&self, partition: i32) -> bool {
        self.partitions.contains_key(&partition)
    }

    pub(super) fn partitions(&self) -> usize {
        self.partitions.len()
    }

    /// The topic got a partition, of which nothing has been read. Readiness, once there, does not wait for it, and until its
    /// first record it counts as empty: else a quiet topic would seem to be behind.
    pub(super) fn add(&mut self, partition: i32) {
        let added = PartitionProgress {
            event_time_max: EventTime::MIN,
            at_end: true,
            next: 0,
            end_at_start: 0,
            replayed: true,
        };
        self.partitions.insert(partition, added);
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
        self.applied += 1;
        let Some(partition) = self.partitions.get_mut(&partition) else {
            return;
        };
        partition.at_end = false;
        partition.next = offset + 1;
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

    /// Tells how much is left to read up to where the log ended at start, and logs it every few seconds until all is.
    pub(super) fn report(&mut self, topic: Topic, now: Instant, state: &TopicState) {
        let left = self.left();
        let before = state.left.swap(left, Ordering::Relaxed);
        let (applied, since) = *self.reported.get_or_insert((self.applied, now));
        let passed = now.saturating_duration_since(since);
        let is_over = left == 0 && before > 0;
        if !is_over && (left == 0 || passed < REPORT) {
            return;
        }
        let per = i64::try_from(passed.as_millis()).unwrap_or(i64::MAX).max(1);
        let rate = (self.applied - applied).saturating_mul(1_000) / per;
        state
            .rate
            .store(if is_over { 0 } else { rate }, Ordering::Relaxed);
        self.reported = Some((self.applied, now));
        if is_over {
            tracing::info!(
                topic = topic.name(),
                "read the log up to where it ended at start"
            );
        } else {
            tracing::info!(
                topic = topic.name(),
                left,
                per_second = rate,
                seconds_left = left.checked_div(rate),
                "reading the log"
            );
        }
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
    use super::super::state::IngestState;
    use super::*;

    const fn time(micros: i64) -> EventTime {
        EventTime::from_micros(micros)
    }

    /// Partitions that each hold the offsets 0 to 9.
    fn ten_records(partitions: i32, state: &TopicState) -> Progress {
        let starts: Vec<Start> = (0..partitions).map(|at| start(at, 0, 10)).collect();
        Progress::new(&starts, state)
    }

    const fn start(partition: i32, offset: i64, end: i64) -> Start {
        Start {
            partition,
            offset,
            end,
            event_time_max: EventTime::MIN,
        }
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
            Progress::new(&[start(0, 7, 7), start(1, 7, 7)], state.topic(topic));
        }
        assert!(state.is_ready());
    }

    #[test]
    fn what_is_left_is_counted_from_where_reading_begins_and_only_until_it_was_read() {
        let state = IngestState::default();
        let topic = state.topic(Topic::Transactions);
        let mut progress = Progress::new(&[start(0, 6, 10), start(1, 10, 10)], topic);
        let report = |progress: &mut Progress| {
            progress.report(Topic::Transactions, crate::clock::instant(), topic);
            topic.left.load(Ordering::Relaxed)
        };
        assert_eq!(report(&mut progress), 4);
        progress.applied((0, 7), None, time(1), topic);
        assert_eq!(report(&mut progress), 2);
        progress.applied((0, 9), None, time(1), topic);
        progress.applied((0, 10), None, time(1), topic);
        assert_eq!(report(&mut progress), 0);
    }

    #[test]
    fn the_watermark_goes_on_from_the_event_times_of_a_snapshot() {
        let state = IngestState::default();
        let topic = state.topic(Topic::Transactions);
        let known = |partition, event_time_max| Start {
            event_time_max: time(event_time_max),
            ..start(partition, 5, 5)
        };
        let mut progress = Progress::new(&[known(0, 100), known(1, 50)], topic);
        progress.applied((1, 5), Some(time(60)), time(1), topic);
        progress.at_end(0, topic);
        progress.at_end(1, topic);
        assert_eq!(progress.watermark(), time(100));
    }

    #[test]
    fn what_has_to_be_read_again_makes_the_service_unready_until_it_was() {
        let state = IngestState::default();
        for topic in Topic::ALL {
            Progress::new(&[start(0, 7, 7)], state.topic(topic));
        }
        let topic = state.topic(Topic::Transactions);
        state.begin_again(Topic::Transactions);
        assert!(!state.is_ready());
        let mut progress = Progress::new(&[start(0, 3, 7)], topic);
        assert!(!state.is_ready());
        progress.applied((0, 6), None, time(1), topic);
        assert!(!state.is_ready(), "nobody has been told of the cut");
        state.cut_was_told();
        assert!(state.is_ready());
    }

    #[test]
    fn the_pace_of_reading_again_is_its_own() {
        let state = IngestState::default();
        let topic = state.topic(Topic::Transactions);
        let began = crate::clock::instant();
        let mut progress = Progress::new(&[start(0, 0, 10)], topic);
        progress.report(Topic::Transactions, began, topic);
        progress.applied((0, 9), None, time(1), topic);
        progress.report(Topic::Transactions, began + REPORT, topic);
        // An hour later the log is cut, and a thousand records are to be read again.
        let cut = began + Duration::from_secs(3_600);
        progress.is_cut(|_| true);
        state.begin_again(Topic::Transactions);
        progress.begin_again(|_| true, &[start(0, 0, 1_000)], topic);
        progress.report(Topic::Transactions, cut, topic);
        for offset in 0..500 {
            progress.applied((0, offset), None, time(1), topic);
        }
        progress.report(Topic::Transactions, cut + REPORT, topic);
        assert_eq!(topic.left.load(Ordering::Relaxed), 500);
        assert_eq!(topic.rate.load(Ordering::Relaxed), 100);
    }
}
