//! Whether requests of a priority have been old for a while, as CoDel finds out (RFC 8289): by the smallest age within an interval.
//!
//! A burst makes the oldest ones old, and is gone within an interval; only where not a single one was young is there
//! a standing queue, which waiting does not help. Two departures: CoDel drops one packet, then the next a little
//! sooner; here everybody beyond an age is shed while the queue stands, since each is answered and need not be sent
//! again. And after a queue that stood, a tenth of the interval is enough for the next second, in place of the drop
//! rate that CoDel remembers.

use std::time::{Duration, Instant};

/// So few requests say nothing of a queue: the interval goes on until there are as many.
const SAMPLES_MIN: u32 = 5;

/// For so many intervals after a queue stood, a tenth of one is enough to say that it stands again.
const WARY_INTERVALS: u32 = 10;

#[derive(Debug)]
pub(super) struct StandingQueue {
    target: Duration,
    interval: Duration,
    is_standing: bool,
    /// Since when every request was older than the target, and how many those were.
    old_since: Option<Instant>,
    old: u32,
    last: Option<Instant>,
    wary_until: Option<Instant>,
}

impl StandingQueue {
    pub(super) const fn new(target: Duration, interval: Duration) -> Self {
        Self {
            target,
            interval,
            is_standing: false,
            old_since: None,
            old: 0,
            last: None,
            wary_until: None,
        }
    }

    /// Notes how old a request was as it was admitted or shed for its age. Returns whether the queue stands.
    pub(super) fn note(&mut self, age: Duration, now: Instant) -> bool {
        let quiet = self.is_quiet(now);
        self.last = Some(now);
        if quiet || age <= self.target {
            if self.is_standing {
                self.wary_until = now.checked_add(self.interval * WARY_INTERVALS);
            }
            self.is_standing = false;
            self.old_since = None;
            self.old = 0;
        }
        if age <= self.target {
            return false;
        }
        let since = *self.old_since.get_or_insert(now);
        self.old = self.old.saturating_add(1);
        let is_wary = self.wary_until.is_some_and(|until| now < until);
        let enough = if is_wary {
            self.interval / 10
        } else {
            self.interval
        };
        if self.old >= SAMPLES_MIN && now.saturating_duration_since(since) >= enough {
            self.is_standing = true;
        }
        self.is_standing
    }

    /// What was true before a pause says nothing of now.
    pub(super) fn is_standing(&self, now: Instant) -> bool {
        self.is_standing && !self.is_quiet(now)
    }

    fn is_quiet(&self, now: Instant) -> bool {
        self.last
            .is_some_and(|last| now.saturating_duration_since(last) > self.interval)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock;

    const fn millis(count: u64) -> Duration {
        Duration::from_millis(count)
    }

    /// Notes an age every millisecond from `from` to `to`. Whether it ever stood.
    fn noted(standing: &mut StandingQueue, start: Instant, span: (u64, u64), age: u64) -> bool {
        let mut stood = false;
        for at in span.0..span.1 {
            stood |= standing.note(millis(age), start + millis(at));
        }
        stood
    }

    #[test]
    fn it_stands_after_an_interval_without_a_young_one_and_until_there_is_one() {
        let start = clock::instant();
        let mut standing = StandingQueue::new(millis(5), millis(100));
        assert!(!noted(&mut standing, start, (0, 100), 50), "a burst");
        assert!(!noted(&mut standing, start, (100, 101), 5));
        assert!(!noted(&mut standing, start, (101, 201), 6));
        assert!(noted(&mut standing, start, (201, 202), 6));
        assert!(!standing.note(millis(4), start + millis(203)));
        assert!(!standing.is_standing(start + millis(203)));
    }

    #[test]
    fn it_stands_again_sooner_for_a_second() {
        let start = clock::instant();
        let mut standing = StandingQueue::new(millis(5), millis(100));
        assert!(noted(&mut standing, start, (0, 101), 6));
        standing.note(millis(1), start + millis(101));
        assert!(noted(&mut standing, start, (102, 113), 6));
        standing.note(millis(1), start + millis(113));
        noted(&mut standing, start, (114, 1200), 1);
        assert!(!noted(&mut standing, start, (1200, 1300), 6));
    }

    #[test]
    fn few_requests_and_old_news_say_nothing() {
        let start = clock::instant();
        let mut standing = StandingQueue::new(millis(5), millis(100));
        for at in [0, 90, 180, 270] {
            assert!(!standing.note(millis(50), start + millis(at)));
        }
        assert!(standing.note(millis(50), start + millis(360)));
        assert!(!standing.note(millis(50), start + millis(461)), "a pause");
    }
}
