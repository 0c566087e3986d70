//! How many decisions may be in progress, found out by how long they take.
//!
//! TCP Vegas (Brakmo and Peterson 1995) compares the time a round trip takes with the time it takes while nothing waits: what
//! is above comes of waiting, and of so many in progress the same share waits. Applied to requests in progress as
//! limiters of concurrency do: the limit grows while fewer than `alpha` wait and shrinks while more than `beta` do.
//!
//! Three things differ from a network. The times of single decisions lie far apart, so the median of a window of them is
//! compared, with the smallest median of late, not with the smallest time. A decision also waits for a thread, behind
//! everybody else's requests, which its limit can do nothing about: that wait is taken off the time (see `waits`) and counts
//! only as time in which a place is taken. And a window in which less than half of the limit was used
//! changes nothing, since what it took then was not for want of a smaller limit.
//!
//! What decisions take without waiting for one another changes: a service that starts under load takes the queue it finds for
//! that, and on a busy machine the model's threads wait for a core whatever the limit. So a limit that is used and does not
//! grow is lowered for a moment now and then, as BBR does (Cardwell and others 2016, ProbeRTT), and what decisions
//! take then is the baseline from there on, be it less or more than before.

use std::time::{Duration, Instant};

/// Shortest window, and the fewest decisions in it.
const WINDOW: Duration = Duration::from_millis(100);
const WINDOW_SAMPLES_MIN: usize = 20;
/// A window that has too few by now says nothing.
const WINDOW_MAX: Duration = Duration::from_secs(1);
/// The latest of a window are enough for its median.
const SAMPLES_MAX: usize = 128;
/// How often the baseline may rise, and by how much: so a model that has become slower is known as such after some minutes,
/// and a queue does not become the new normal within them.
const BASELINE_EVERY: Duration = Duration::from_secs(30);
const BASELINE_RISE: f64 = 1.1;
/// Bounds of how many may wait, times the logarithm of the limit.
const ALPHA: f64 = 3.0;
const BETA: f64 = 6.0;
/// After so many windows in which the limit was used and did not grow, the first time and later, it is lowered to a quarter for
/// two windows: the first ends what was begun before, the second is measured.
const PROBE_FIRST: u32 = 10;
const PROBE_LATER: u32 = 20;
const PROBE_WINDOWS: u32 = 2;
/// Where it begins: enough for a model that answers in a millisecond to answer thousands a second.
const BEGIN: f64 = 32.0;

/// What one decision says of the load.
#[derive(Debug, Clone, Copy)]
pub(super) struct Sample {
    /// From admission to decided, without waiting for a thread.
    pub(super) served: Duration,
    /// From admission to decided.
    pub(super) held: Duration,
}

#[derive(Debug)]
pub(super) struct Limit {
    value: f64,
    min: f64,
    max: f64,
    window: Option<Window>,
    baseline: Option<Baseline>,
    /// So many windows until the next probe.
    until_probe: u32,
    probe: Option<Probe>,
}

/// The limit is lowered for a moment.
#[derive(Debug)]
struct Probe {
    back_to: f64,
    windows_left: u32,
}

#[derive(Debug)]
struct Window {
    began: Instant,
    count: usize,
    /// Seconds; the latest `SAMPLES_MAX`.
    served: Vec<f64>,
    held_sum: f64,
    in_progress_max: usize,
}

/// What decisions take while none waits for another, in seconds.
#[derive(Debug)]
struct Baseline {
    value: f64,
    /// Smallest window since then.
    since: Instant,
    smallest: f64,
}

impl Limit {
    pub(super) fn new(min: u32, max: u32) -> Self {
        let (min, max) = (f64::from(min), f64::from(max));
        Self {
            value: BEGIN.clamp(min, max.max(min)),
            min,
            max: max.max(min),
            window: None,
            baseline: None,
            until_probe: PROBE_FIRST,
            probe: None,
        }
    }

    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "between `min` and `max`, which are whole and positive"
    )]
    pub(super) const fn get(&self) -> usize {
        self.value as usize
    }

    /// Notes a decision, of `in_progress` at its end.
    pub(super) fn note(&mut self, sample: Sample, in_progress: usize, now: Instant) {
        let limit = self.get();
        let window = self.window.get_or_insert_with(|| Window::new(now));
        window.note(sample, in_progress);
        let passed = now.saturating_duration_since(window.began);
        if passed < WINDOW {
            return;
        }
        if window.count >= WINDOW_SAMPLES_MIN {
            let (served, held) = window.summary();
            let was_pressed = window.in_progress_max * 2 >= limit;
            window.begin(now);
            self.adjust(served, held, was_pressed, now);
        } else if passed >= WINDOW_MAX {
            window.begin(now);
        }
    }

    fn adjust(&mut self, served: f64, held: f64, was_pressed: bool, now: Instant) {
        let baseline = match &mut self.baseline {
            Some(baseline) => baseline.note(served, now),
            none => none.insert(Baseline::new(served, now)).value,
        };
        if let Some(probe) = &mut self.probe {
            probe.windows_left -= 1;
            if probe.windows_left == 0 {
                self.value = probe.back_to;
                self.probe = None;
                self.baseline = Some(Baseline::new(served, now));
            }
            return;
        }
        if !was_pressed {
            return;
        }
        // Of those in progress as many wait as their waiting takes of the time that a place is taken (Little's law).
        let waiting = self.value * (served - baseline) / held.max(served);
        let step = self.value.log10().max(1.0);
        let (alpha, beta) = (ALPHA * step, BETA * step);
        if waiting < alpha {
            self.value += beta.max(self.value / 8.0);
        } else if waiting > beta {
            self.value -= step.max((waiting - beta) / 2.0);
        }
        self.value = self.value.clamp(self.min, self.max);
        if waiting >= alpha {
            self.until_probe -= 1;
        }
        if self.until_probe == 0 {
            self.until_probe = PROBE_LATER;
            self.probe = Some(Probe {
                back_to: self.value,
                windows_left: PROBE_WINDOWS,
            });
            self.value = (self.value / 4.0).max(self.min);
        }
    }
}

impl Window {
    fn new(began: Instant) -> Self {
        Self {
            began,
            count: 0,
            served: Vec::with_capacity(SAMPLES_MAX),
            held_sum: 0.0,
            in_progress_max: 0,
        }
    }

    fn begin(&mut self, now: Instant) {
        self.began = now;
        self.count = 0;
        self.served.clear();
        self.held_sum = 0.0;
        self.in_progress_max = 0;
    }

    fn note(&mut self, sample: Sample, in_progress: usize) {
        let served = sample.served.as_secs_f64();
        if self.served.len() < SAMPLES_MAX {
            self.served.push(served);
        } else {
            self.served[self.count % SAMPLES_MAX] = served;
        }
        self.count += 1;
        self.held_sum += sample.held.as_secs_f64();
        self.in_progress_max = self.in_progress_max.max(in_progress);
    }

    /// Median time of service and mean time that a place was taken.
    #[expect(
        clippy::cast_precision_loss,
        reason = "decisions of one window: far fewer than 2^52"
    )]
    fn summary(&mut self) -> (f64, f64) {
        let middle = self.served.len() / 2;
        let (_, median, _) = self.served.select_nth_unstable_by(middle, f64::total_cmp);
        (*median, self.held_sum / self.count as f64)
    }
}

impl Baseline {
    const fn new(value: f64, now: Instant) -> Self {
        Self {
            value,
            since: now,
            smallest: value,
        }
    }

    /// Falls at once and rises slowly.
    fn note(&mut self, window: f64, now: Instant) -> f64 {
        self.value = self.value.min(window);
        self.smallest = self.smallest.min(window);
        if now.saturating_duration_since(self.since) >= BASELINE_EVERY {
            self.value = self.smallest.min(self.value * BASELINE_RISE);
            self.since = now;
            self.smallest = window;
        }
        self.value
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock;

    struct Feed {
        limit: Limit,
        now: Instant,
    }

    impl Feed {
        fn new() -> Self {
            Self {
                limit: Limit::new(8, 512),
                now: clock::instant(),
            }
        }

        /// Windows in which every decision took so many microseconds, `waited` of them for a thread.
        fn windows(&mut self, count: usize, served_us: u64, waited_us: u64, in_progress: usize) {
            for _ in 0..count * 100 {
                self.now += Duration::from_millis(1);
                let served = Duration::from_micros(served_us);
                let held = served + Duration::from_micros(waited_us);
                let sample = Sample { served, held };
                self.limit.note(sample, in_progress, self.now);
            }
        }
    }

    impl Feed {
        /// Windows of decisions of 200 µs, each of which waits for all that are in progress before it.
        fn one_at_a_time(&mut self, windows: usize) {
            for _ in 0..windows {
                let limit = self.limit.get();
                self.windows(1, 200 * u64::try_from(limit).unwrap(), 0, limit);
            }
        }
    }

    #[test]
    fn it_grows_while_nothing_waits_and_only_if_it_is_used() {
        let mut feed = Feed::new();
        feed.windows(100, 200, 0, 15);
        assert_eq!(feed.limit.get(), 32, "fifteen are less than half");
        feed.windows(10, 200, 0, 64);
        assert!(feed.limit.get() > 100, "{}", feed.limit.get());
        feed.windows(100, 200, 0, 512);
        assert_eq!(feed.limit.get(), 512);
    }

    #[test]
    fn it_shrinks_to_what_leaves_a_few_waiting() {
        let mut feed = Feed::new();
        feed.windows(20, 200, 0, 32);
        feed.one_at_a_time(60);
        let limit = feed.limit.get();
        assert!((8..16).contains(&limit), "{limit}");
    }

    #[test]
    fn a_queue_that_was_there_from_the_start_is_found_out() {
        let mut feed = Feed::new();
        feed.one_at_a_time(400);
        let limit = feed.limit.get();
        assert!((8..24).contains(&limit), "{limit}");
    }

    #[test]
    fn a_delay_that_has_nothing_to_do_with_the_limit_is_found_out() {
        let mut feed = Feed::new();
        feed.windows(5, 100, 0, 64);
        let mut smallest = usize::MAX;
        for _ in 0..60 {
            feed.windows(1, 5_000, 0, 512);
            smallest = smallest.min(feed.limit.get());
        }
        assert!(smallest < 16, "at first it looks like a queue: {smallest}");
        assert!(feed.limit.get() > 100, "{}", feed.limit.get());
    }

    #[test]
    fn waiting_for_a_thread_is_no_reason_to_shrink() {
        let mut feed = Feed::new();
        feed.windows(5, 200, 0, 32);
        let before = feed.limit.get();
        feed.windows(20, 210, 6_000, 512);
        assert!(feed.limit.get() > before);
    }

    #[test]
    fn the_baseline_falls_at_once_and_rises_slowly() {
        let start = clock::instant();
        let mut baseline = Baseline::new(1.0, start);
        let at = |seconds| start + Duration::from_secs(seconds);
        let close = |left: f64, right: f64| (left - right).abs() < 1e-9;
        assert!(close(baseline.note(0.5, at(1)), 0.5));
        assert!(close(baseline.note(2.0, at(30)), 0.5), "0.5 was seen");
        assert!(close(baseline.note(2.0, at(60)), 0.55));
        assert!(close(baseline.note(2.0, at(90)), 0.605));
    }
}
