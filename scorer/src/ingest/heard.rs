//! When a topic's brokers were last heard of, and whether they give what they are asked for.
//!
//! A topic that nothing comes from may be quiet, or nobody may be there to say otherwise. Only an answer tells one from the
//! other: a record, the end of a partition, or which partitions the topic has.

use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};

use tollgate_types::{EventTime, Span};

/// Silence that says nothing yet. A reader asks every five seconds which partitions its topic has, and every second once nobody
/// answers, so a quiet topic is heard of in time even if an answer or two fail to come, or a partition gets another leader.
pub(super) const SILENCE_MAX: Span = Span::from_seconds(10);

/// How long a refusal counts whatever else comes: of one partition's records that cannot be fetched there is another one
/// well before that, while other partitions are read.
const REFUSAL_LASTS: Span = Span::from_seconds(5);

/// Moments are those of the wall clock in microseconds, 0 for none.
#[derive(Debug, Default)]
pub(super) struct Heard {
    at: AtomicI64,
    refused_at: AtomicI64,
    /// When last told of its partitions, the topic had none, or one that no broker served.
    is_part_missing: AtomicBool,
    /// Records are left with the brokers for now.
    is_held: AtomicBool,
}

impl Heard {
    /// Up to this moment everything is known.
    pub(super) fn begin(&self, at: EventTime) {
        self.at.store(at.micros(), Ordering::Relaxed);
    }

    /// A record came, or the end of a partition.
    pub(super) fn came(&self, now: EventTime) {
        let refused_at = self.refused_at.load(Ordering::Relaxed);
        if refused_at != 0 {
            if now.since(EventTime::from_micros(refused_at)) < REFUSAL_LASTS {
                return;
            }
            self.refused_at.store(0, Ordering::Relaxed);
        }
        self.note(now);
    }

    /// The brokers said which partitions there are; `is_whole` if each is served. That does not undo a refusal: who may not
    /// read a topic may still be told of its partitions.
    pub(super) fn looked(&self, is_whole: bool, now: EventTime) {
        self.is_part_missing.store(!is_whole, Ordering::Relaxed);
        if !self.is_refused() {
            self.note(now);
        }
    }

    /// The brokers refuse records that were asked for. Returns whether they did not before.
    pub(super) fn refused(&self, now: EventTime) -> bool {
        self.refused_at.swap(now.micros(), Ordering::Relaxed) == 0
    }

    pub(super) fn is_refused(&self) -> bool {
        self.refused_at.load(Ordering::Relaxed) != 0
    }

    /// Whether records are left with the brokers from now on.
    pub(super) fn hold(&self, is_held: bool) {
        self.is_held.store(is_held, Ordering::Relaxed);
    }

    fn note(&self, now: EventTime) {
        let is_hindered =
            self.is_part_missing.load(Ordering::Relaxed) || self.is_held.load(Ordering::Relaxed);
        if !is_hindered {
            self.at.store(now.micros(), Ordering::Relaxed);
        }
    }

    /// For how long nothing was heard; zero while that says nothing, or nobody has begun to listen.
    pub(super) fn silence(&self, now: EventTime) -> Span {
        let at = self.at.load(Ordering::Relaxed);
        let silence = now.since(EventTime::from_micros(at));
        if at == 0 || silence <= SILENCE_MAX {
            return Span::ZERO;
        }
        silence
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn at(second: i64) -> EventTime {
        EventTime::from_micros(second * 1_000_000)
    }

    fn heard_at(second: i64) -> Heard {
        let heard = Heard::default();
        heard.begin(at(second));
        heard
    }

    #[test]
    fn silence_counts_from_the_last_answer_once_it_is_too_long_for_a_quiet_topic() {
        let heard = heard_at(100);
        assert_eq!(heard.silence(at(110)), Span::ZERO);
        assert_eq!(heard.silence(at(111)), Span::from_seconds(11));
        heard.came(at(120));
        assert_eq!(heard.silence(at(125)), Span::ZERO);
        heard.looked(true, at(128));
        assert_eq!(heard.silence(at(138)), Span::ZERO);
        assert_eq!(heard.silence(at(3_728)), Span::from_seconds(3_600));
        // A clock that was set back.
        assert_eq!(heard.silence(at(1)), Span::ZERO);
        assert_eq!(Heard::default().silence(at(111)), Span::ZERO);
    }

    #[test]
    fn a_quiet_topic_whose_brokers_answer_is_never_silent() {
        let heard = heard_at(100);
        for look in 0..1_000 {
            // Every five seconds, and one answer in three comes too late.
            if look % 3 > 0 {
                heard.looked(true, at(100 + 5 * look));
            }
            assert_eq!(heard.silence(at(104 + 5 * look)), Span::ZERO);
        }
    }

    #[test]
    fn a_refusal_outlasts_what_is_said_of_partitions_and_ends_with_a_record_or_an_end() {
        let heard = heard_at(100);
        assert!(heard.refused(at(101)));
        assert!(!heard.refused(at(102)));
        heard.looked(true, at(115));
        assert!(heard.is_refused());
        assert_eq!(heard.silence(at(115)), Span::from_seconds(15));
        heard.came(at(116));
        assert!(!heard.is_refused());
        assert_eq!(heard.silence(at(120)), Span::ZERO);
    }

    #[test]
    fn one_partition_that_is_refused_again_and_again_is_not_hidden_by_others() {
        let heard = heard_at(100);
        for second in 100..120 {
            heard.refused(at(second));
            heard.came(at(second + 1));
        }
        assert_eq!(heard.silence(at(120)), Span::from_seconds(20));
    }

    #[test]
    fn what_comes_of_some_partitions_says_nothing_while_one_is_missing_or_none_is_read() {
        let heard = heard_at(100);
        heard.looked(false, at(105));
        heard.came(at(119));
        assert_eq!(heard.silence(at(120)), Span::from_seconds(20));
        heard.looked(true, at(121));
        assert_eq!(heard.silence(at(122)), Span::ZERO);
        heard.hold(true);
        heard.looked(true, at(140));
        assert_eq!(heard.silence(at(141)), Span::from_seconds(20));
        heard.hold(false);
        heard.looked(true, at(142));
        assert_eq!(heard.silence(at(143)), Span::ZERO);
    }
}
