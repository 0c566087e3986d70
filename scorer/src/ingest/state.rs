//! How far both topics have been read, as the rest of the service may ask.

use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};

use parking_lot::Mutex;
use serde::Serialize;
use tollgate_features::Store;
use tollgate_types::{EventTime, Span};

use super::heard::Heard;
use super::topic::Topic;

/// Labels that may wait for their transaction while transactions are still read up to where the log ended at start: half of
/// what the store keeps, so that the rest is there for those that come early as ever.
const LABELS_AHEAD_MAX: usize = Store::LABELS_WAITING_MAX / 2;

#[derive(Debug, Default)]
pub(crate) struct IngestState {
    transactions: TopicState,
    labels: TopicState,
    /// No more traffic should come, however far the log has been read.
    withdrawn: AtomicBool,
    /// The log was cut below where it is read, and probes have not been told yet.
    cut: AtomicBool,
}

/// How far a topic has been read. Written by the threads that read it.
#[derive(Debug, Default)]
pub(super) struct TopicState {
    pub(super) heard: Heard,
    /// Why reading cannot begin.
    pub(super) waits_for: Mutex<Option<String>>,
    /// It is known where reading begins and where the log ended then.
    pub(super) has_begun: AtomicBool,
    /// Every partition has been read to where it ended at start.
    pub(super) replayed: AtomicBool,
    /// Every partition was at its end when last heard of.
    pub(super) at_end: AtomicBool,
    /// When the last record applied was written to Kafka, in microseconds.
    pub(super) written_at: AtomicI64,
    /// Records up to where the log ended at start that are still to be read, and how many are read per second.
    pub(super) left: AtomicI64,
    pub(super) rate: AtomicI64,
}

/// How far the log has been read up to where it ended at start.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Replay {
    /// `null` while reading a topic has not begun.
    pub(crate) events_left: Option<i64>,
    pub(crate) events_per_second: i64,
    /// Until the service is ready, at this pace; `null` while that is not known.
    pub(crate) seconds_left: Option<i64>,
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
        !self.withdrawn.load(Ordering::Relaxed)
            && !self.is_cut()
            && Topic::ALL.into_iter().all(replayed)
    }

    /// Why no traffic should come, in words; `None` if it may.
    pub(crate) fn unready(&self) -> Option<String> {
        if self.is_ready() {
            return None;
        }
        if self.withdrawn.load(Ordering::Relaxed) {
            return Some("the service is stopping, or can read no more".to_owned());
        }
        let waits = |topic: Topic| {
            let what = self.topic(topic).waits_for.lock().clone()?;
            Some(format!("{} cannot be read yet: {what}", topic.name()))
        };
        let waits: Vec<String> = Topic::ALL.into_iter().filter_map(waits).collect();
        if !waits.is_empty() {
            return Some(waits.join("\n"));
        }
        Some(match self.replay().events_left {
            Some(left) => format!("the log is still being read, {left} events are left"),
            None => "the log is still being read".to_owned(),
        })
    }

    /// The log was cut: what was read of a topic has to be read again, in part at least.
    pub(super) fn begin_again(&self, topic: Topic) {
        self.cut.store(true, Ordering::Release);
        let topic = self.topic(topic);
        topic.has_begun.store(false, Ordering::Release);
        topic.replayed.store(false, Ordering::Release);
        topic.at_end.store(false, Ordering::Relaxed);
        topic.rate.store(0, Ordering::Relaxed);
    }

    /// Whether the log was cut and nobody has been told that the service is not ready.
    pub(crate) fn is_cut(&self) -> bool {
        self.cut.load(Ordering::Acquire)
    }

    /// Probes have had the time to hear that the service is not ready.
    pub(crate) fn cut_was_told(&self) {
        self.cut.store(false, Ordering::Release);
    }

    /// Whether labels should wait until more transactions have been read. Labels are fewer and so are read sooner; beyond what
    /// may wait in the store they would be dropped, and nobody would read them again.
    pub(super) fn must_labels_wait(&self, waiting_in_store: usize) -> bool {
        let is_replayed = self.transactions.replayed.load(Ordering::Acquire);
        !is_replayed && waiting_in_store >= LABELS_AHEAD_MAX
    }

    /// Whether every partition was at its end when last heard of, and nothing has been applied since.
    pub(crate) fn is_at_end(&self) -> bool {
        let at_end = |topic| self.topic(topic).at_end.load(Ordering::Relaxed);
        Topic::ALL.into_iter().all(at_end)
    }

    /// Makes the service unready for good: it is stopping, or can read no more.
    pub(crate) fn withdraw(&self) {
        self.withdrawn.store(true, Ordering::Relaxed);
    }

    pub(crate) fn replay(&self) -> Replay {
        let topics = Topic::ALL.map(|topic| self.topic(topic));
        // What is left is noted now and then; that nothing is, at once.
        let unread = |topic: &&&TopicState| !topic.replayed.load(Ordering::Acquire);
        let sum = |of: fn(&TopicState) -> &AtomicI64| -> i64 {
            let unread = topics.iter().filter(unread);
            unread.map(|topic| of(topic).load(Ordering::Relaxed)).sum()
        };
        let is_known = topics
            .iter()
            .all(|topic| topic.has_begun.load(Ordering::Acquire));
        let events_left = is_known.then(|| sum(|topic| &topic.left));
        let events_per_second = sum(|topic| &topic.rate);
        let seconds_left = match events_left {
            Some(0) => Some(0),
            Some(left) => left.checked_div(events_per_second),
            None => None,
        };
        Replay {
            events_left,
            events_per_second,
            seconds_left,
        }
    }

    /// How old histories may be: the age of the last record applied while more are waiting, or the time since brokers were
    /// heard of, whichever is longer; zero if nothing is waiting. Of both topics, since features over labels are histories too.
    /// Asked for every decision.
    pub(crate) fn behind(&self, now: EventTime) -> Span {
        let behind = |topic| self.topic(topic).behind(now);
        let topics = Topic::ALL.into_iter().map(behind);
        topics.max().unwrap_or_default()
    }
}

impl TopicState {
    fn behind(&self, now: EventTime) -> Span {
        self.lag(now).max(self.heard.silence(now))
    }

    fn lag(&self, now: EventTime) -> Span {
        let written_at = self.written_at.load(Ordering::Relaxed);
        // Before the first record there is no telling how far; readiness covers that time.
        if self.at_end.load(Ordering::Relaxed) || written_at == 0 {
            return Span::ZERO;
        }
        now.since(EventTime::from_micros(written_at))
            .max(Span::ZERO)
    }
}

#[cfg(test)]
mod tests {
    use super::super::heard::SILENCE_MAX;
    use super::super::progress::Progress;
    use super::super::start::Start;
    use super::*;

    const fn at(second: i64) -> EventTime {
        EventTime::from_micros(second * 1_000_000)
    }

    /// The progress of one partition that holds the offsets 0 to 9.
    fn ten_records(state: &TopicState) -> Progress {
        let start = Start {
            partition: 0,
            offset: 0,
            end: 10,
            event_time_max: EventTime::MIN,
        };
        Progress::new(&[start], state)
    }

    #[test]
    fn behind_is_the_age_of_the_last_record_while_more_are_waiting() {
        let state = IngestState::default();
        let topic = state.topic(Topic::Labels);
        let mut progress = ten_records(topic);
        progress.applied((0, 0), None, at(1), topic);
        assert_eq!(state.behind(at(5)), Span::from_seconds(4));
        progress.at_end(0, topic);
        assert_eq!(state.behind(at(5)), Span::ZERO);
        // A partition that was added and is empty changes nothing.
        progress.add(1);
        assert_eq!(state.behind(at(5)), Span::ZERO);
        progress.applied((1, 0), None, at(2), topic);
        assert_eq!(state.behind(at(5)), Span::from_seconds(3));
    }

    #[test]
    fn who_has_read_everything_is_behind_by_the_silence_of_the_brokers() {
        for topic in Topic::ALL {
            let state = IngestState::default();
            let topic = state.topic(topic);
            topic.heard.begin(at(100));
            // Nothing has come, and it is not known whether there is anything.
            assert_eq!(state.behind(at(160)), Span::from_seconds(60));
            let mut progress = ten_records(topic);
            progress.applied((0, 9), None, at(150), topic);
            progress.at_end(0, topic);
            topic.heard.came(at(161));
            assert_eq!(state.behind(at(161)), Span::ZERO);
            assert_eq!(state.behind(at(161).plus(SILENCE_MAX)), Span::ZERO);
            assert_eq!(state.behind(at(3_761)), Span::from_seconds(3_600));
            topic.heard.looked(true, at(3_762));
            assert_eq!(state.behind(at(3_762)), Span::ZERO);
        }
    }

    #[test]
    fn the_longer_of_lag_and_silence_counts() {
        let state = IngestState::default();
        let topic = state.topic(Topic::Transactions);
        topic.heard.begin(at(100));
        let mut progress = ten_records(topic);
        progress.applied((0, 0), None, at(40), topic);
        topic.heard.came(at(100));
        assert_eq!(state.behind(at(105)), Span::from_seconds(65));
        progress.applied((0, 1), None, at(104), topic);
        assert_eq!(state.behind(at(120)), Span::from_seconds(20));
    }

    #[test]
    fn labels_wait_while_too_many_are_ahead_of_transactions_that_are_still_read() {
        let state = IngestState::default();
        let topic = state.topic(Topic::Transactions);
        let mut progress = ten_records(topic);
        assert!(!state.must_labels_wait(LABELS_AHEAD_MAX - 1));
        assert!(state.must_labels_wait(LABELS_AHEAD_MAX));
        progress.applied((0, 9), None, at(1), topic);
        // What has no transaction by now may never get one, and is not waited for.
        assert!(!state.must_labels_wait(LABELS_AHEAD_MAX));
    }

    #[test]
    fn how_long_it_takes_is_not_known_before_both_topics_are_read() {
        let state = IngestState::default();
        let unknown = Replay {
            events_left: None,
            events_per_second: 0,
            seconds_left: None,
        };
        assert_eq!(state.replay(), unknown);
        let mut progress = ten_records(state.topic(Topic::Transactions));
        assert_eq!(state.replay(), unknown);
        ten_records(state.topic(Topic::Labels)).at_end(0, state.topic(Topic::Labels));
        assert_eq!(state.replay().events_left, Some(10));
        assert_eq!(state.replay().seconds_left, None, "no pace is known");
        let topic = state.topic(Topic::Transactions);
        topic.rate.store(5, Ordering::Relaxed);
        assert_eq!(state.replay().seconds_left, Some(2));
        progress.at_end(0, topic);
        let read = Replay {
            events_left: Some(0),
            events_per_second: 0,
            seconds_left: Some(0),
        };
        assert_eq!(state.replay(), read);
        // Of a log that was cut it is not known again.
        state.begin_again(Topic::Transactions);
        assert_eq!(state.replay(), unknown);
    }

    #[test]
    fn why_the_service_is_not_ready_names_the_topic_that_is_waited_for() {
        let state = IngestState::default();
        *state.topic(Topic::Labels).waits_for.lock() = Some("topic l does not exist".to_owned());
        let why = state.unready().unwrap();
        assert_eq!(why, "labels cannot be read yet: topic l does not exist");
        *state.topic(Topic::Labels).waits_for.lock() = None;
        for topic in Topic::ALL {
            assert!(state.unready().unwrap().contains("being read"));
            ten_records(state.topic(topic)).at_end(0, state.topic(topic));
        }
        assert_eq!(state.unready(), None);
        state.withdraw();
        assert!(state.unready().unwrap().contains("stopping"));
    }
}
