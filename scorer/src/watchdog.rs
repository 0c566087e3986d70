//! Tells a machine that stood still from a service that was slow.
//!
//! A thread sleeps a millisecond at a time and measures by how much it overslept. If that was long and the process hardly used its
//! CPUs meanwhile, nothing of the process was scheduled: a *stall*, which no code of ours could have answered through. A late
//! answer is held against the stalls between its arrival and its answer, once the thread has looked past both; it is
//! counted as explained only if they took at least the time by which it was late. Our own work, however much of it there
//! is, uses CPU and is excused by nothing.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crate::clock;
use crate::metrics::StallMetrics;

/// Sleep between two looks: short against any deadline, and a thousand wake-ups a second take less than a hundredth of a core.
const TICK: Duration = Duration::from_millis(1);

/// A busy scheduler delays a thread by a few milliseconds as a matter of course; what is longer is a stall.
const STALL_MIN: Duration = Duration::from_millis(10);

/// Stalls remembered. Each takes [`STALL_MIN`] at least, so they reach back two seconds and more, twenty times as far as an
/// answer may take.
const STALLS_MAX: usize = 256;

/// Late answers that wait for the next look. Beyond, they count as not explained.
const LATE_MAX: usize = 4_096;

/// An answer that was given after it was due, or that nobody waited for any longer then.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Late {
    pub(crate) arrived: Instant,
    pub(crate) due: Instant,
    /// When it was given, or given up.
    pub(crate) answered: Instant,
}

/// Where late answers are handed over. Never blocks.
#[derive(Clone)]
pub(crate) struct LateAnswers(SyncSender<Late>);

impl LateAnswers {
    pub(crate) fn tell(&self, late: Late) {
        // With too many waiting, or the thread gone, it counts as ours.
        let _ = self.0.try_send(late);
    }
}

/// The running thread; it ends when this is dropped.
pub(crate) struct Watchdog {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Watchdog {
    pub(crate) fn start(metrics: StallMetrics) -> std::io::Result<(Self, LateAnswers)> {
        let (sender, receiver) = sync_channel(LATE_MAX);
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let thread = std::thread::Builder::new()
            .name("watchdog".to_owned())
            .spawn(move || watch(&stopped, &receiver, &metrics))?;
        let watchdog = Self {
            stop,
            thread: Some(thread),
        };
        Ok((watchdog, LateAnswers(sender)))
    }
}

impl Drop for Watchdog {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            // A panic in the thread was reported when it happened.
            let _ = thread.join();
        }
    }
}

fn watch(stop: &AtomicBool, late: &Receiver<Late>, metrics: &StallMetrics) {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let cores = u32::try_from(cores).unwrap_or(u32::MAX);
    let mut stalls = Stalls::new(cores);
    while !stop.load(Ordering::Relaxed) {
        let (slept_at, cpu_before) = (clock::instant(), clock::process_cpu());
        std::thread::sleep(TICK);
        let nap = Nap {
            slept_at,
            woke_at: clock::instant(),
            cpu_used: clock::process_cpu().saturating_sub(cpu_before),
        };
        if let Some(stalled) = stalls.note(nap) {
            metrics.note_stall(stalled);
        }
        for answer in late.try_iter().take(LATE_MAX) {
            stalls.hold(answer);
        }
        metrics.late_stalled.inc_by(stalls.explained(nap.woke_at));
    }
}

/// One sleep of the thread: meant to take [`TICK`].
#[derive(Clone, Copy, Debug)]
struct Nap {
    slept_at: Instant,
    woke_at: Instant,
    /// What all threads of the process used meanwhile.
    cpu_used: Duration,
}

/// A time in which the process stood still.
#[derive(Clone, Copy, Debug)]
struct Stall {
    from: Instant,
    to: Instant,
    /// How much of that it stood still, at least.
    stalled: Duration,
}

/// Stalls of late, and late answers that are not held against them yet.
struct Stalls {
    cores: u32,
    stalls: VecDeque<Stall>,
    waiting: Vec<Late>,
}

impl Stalls {
    const fn new(cores: u32) -> Self {
        Self {
            cores,
            stalls: VecDeque::new(),
            waiting: Vec::new(),
        }
    }

    /// How long the process stood still during a nap, if it did.
    fn note(&mut self, nap: Nap) -> Option<Duration> {
        let overslept = nap
            .woke_at
            .saturating_duration_since(nap.slept_at)
            .saturating_sub(TICK);
        // All cores may have worked through the millisecond that was meant to be slept.
        let allowed = overslept / 10 + TICK * self.cores;
        if overslept <= STALL_MIN || nap.cpu_used > allowed {
            return None;
        }
        let stalled = overslept.saturating_sub(nap.cpu_used);
        // With many cores, what they may have worked through can be more than what is left of it.
        if stalled < STALL_MIN {
            return None;
        }
        if self.stalls.len() == STALLS_MAX {
            self.stalls.pop_front();
        }
        self.stalls.push_back(Stall {
            from: nap.slept_at + TICK,
            to: nap.woke_at,
            stalled,
        });
        Some(stalled)
    }

    /// Takes a late answer, to be looked at once a nap has ended after it.
    fn hold(&mut self, late: Late) {
        if self.waiting.len() < LATE_MAX {
            self.waiting.push(late);
        }
    }

    /// How many of those that were answered by `now` are explained; all of them are let go.
    fn explained(&mut self, now: Instant) -> u64 {
        let mut explained = 0;
        let stalls = &self.stalls;
        self.waiting.retain(|late| {
            let known = late.answered <= now;
            explained += u64::from(known && is_explained(late, stalls));
            !known
        });
        explained
    }
}

/// Whether the stalls between arrival and answer took at least the time by which the answer was late.
fn is_explained(late: &Late, stalls: &VecDeque<Stall>) -> bool {
    let between = |stall: &Stall| {
        let (from, to) = (stall.from.max(late.arrived), stall.to.min(late.answered));
        to.saturating_duration_since(from).min(stall.stalled)
    };
    let stalled: Duration = stalls.iter().map(between).sum();
    late.answered.saturating_duration_since(late.due) <= stalled
}

#[cfg(test)]
mod tests {
    use super::*;

    const CORES: u32 = 2;

    /// A clock that a test reads in milliseconds.
    struct Times(Instant);

    impl Times {
        fn new() -> Self {
            Self(clock::instant())
        }

        fn at(&self, millis: u64) -> Instant {
            self.0 + Duration::from_millis(millis)
        }

        fn nap(&self, slept_at: u64, woke_at: u64, cpu_used: u64) -> Nap {
            Nap {
                slept_at: self.at(slept_at),
                woke_at: self.at(woke_at),
                cpu_used: Duration::from_millis(cpu_used),
            }
        }

        fn late(&self, arrived: u64, due: u64, answered: u64) -> Late {
            Late {
                arrived: self.at(arrived),
                due: self.at(due),
                answered: self.at(answered),
            }
        }
    }

    #[test]
    fn a_stall_is_a_long_nap_through_which_nothing_worked() {
        let times = Times::new();
        let cases = [
            // Slept as it should, or a little more.
            (times.nap(0, 1, 2), None),
            (times.nap(0, 11, 0), None),
            // Nothing ran for 49 ms; what ran before is taken off.
            (times.nap(0, 50, 0), Some(49)),
            (times.nap(0, 50, 3), Some(46)),
            // One core or both were at work: our own.
            (times.nap(0, 50, 49), None),
            (times.nap(0, 50, 98), None),
            // A seventh of the time is no stall either.
            (times.nap(0, 50, 7), None),
        ];
        for (nap, expected) in cases {
            let stalled = Stalls::new(CORES).note(nap);
            assert_eq!(stalled, expected.map(Duration::from_millis), "{nap:?}");
        }
    }

    #[test]
    fn with_many_cores_too_it_is_the_standstill_that_is_long() {
        let times = Times::new();
        let cases = [
            (times.nap(0, 13, 8), None),
            (times.nap(0, 20, 10), None),
            (times.nap(0, 20, 9), Some(10)),
        ];
        for (nap, expected) in cases {
            let stalled = Stalls::new(16).note(nap);
            assert_eq!(stalled, expected.map(Duration::from_millis), "{nap:?}");
        }
    }

    #[test]
    fn a_late_answer_is_explained_by_stalls_that_took_as_long_as_it_was_late() {
        let times = Times::new();
        // Two stalls: 101 to 150, and 201 to 230 of which 2 ms were worked through.
        let naps = [times.nap(100, 150, 0), times.nap(200, 230, 2)];
        let cases = [
            // Due at 120, in the middle of the first stall: late by 35, which it explains.
            (times.late(40, 120, 155), true),
            // Late by 49 and by 50.
            (times.late(40, 120, 169), true),
            (times.late(40, 120, 170), false),
            // Late by 76: both together explain it, and no more than that.
            (times.late(90, 170, 246), true),
            (times.late(90, 170, 247), false),
            // Arrived after the first: it explains nothing.
            (times.late(151, 152, 153), false),
            // Arrived in the middle of it: only what came after does.
            (times.late(130, 131, 151), true),
            (times.late(130, 131, 152), false),
            // Stalls that came after the answer.
            (times.late(10, 80, 95), false),
        ];
        for (late, expected) in cases {
            let mut stalls = Stalls::new(CORES);
            for nap in naps {
                stalls.note(nap);
            }
            stalls.hold(late);
            assert_eq!(
                stalls.explained(times.at(1_000)),
                u64::from(expected),
                "{late:?}"
            );
        }
    }

    #[test]
    fn an_answer_is_looked_at_once_and_only_after_a_nap_that_ended_behind_it() {
        let times = Times::new();
        let mut stalls = Stalls::new(CORES);
        // Given while the thread had not woken yet: the stall is not known.
        stalls.hold(times.late(0, 80, 100));
        assert_eq!(stalls.explained(times.at(20)), 0);
        stalls.note(times.nap(20, 105, 0));
        assert_eq!(stalls.explained(times.at(105)), 1);
        assert_eq!(stalls.explained(times.at(106)), 0);
    }

    #[test]
    fn what_is_remembered_is_bounded() {
        let times = Times::new();
        let mut stalls = Stalls::new(CORES);
        for at in 0..u64::try_from(STALLS_MAX).unwrap() + 9 {
            stalls.note(times.nap(at * 100, at * 100 + 20, 0));
        }
        assert_eq!(stalls.stalls.len(), STALLS_MAX);
        // The first nine are forgotten.
        assert_eq!(stalls.stalls[0].to, times.at(920));
        for _ in 0..LATE_MAX + 9 {
            stalls.hold(times.late(0, 1, 2));
        }
        assert_eq!(stalls.waiting.len(), LATE_MAX);
    }

    #[test]
    fn the_thread_takes_late_answers_and_ends() {
        let metrics = crate::metrics::Metrics::new().unwrap();
        let (watchdog, answers) = Watchdog::start(metrics.stalls.clone()).unwrap();
        let times = Times::new();
        // Late by a second without a second's stall in between: never excused, and never held up.
        for _ in 0..LATE_MAX + 1 {
            answers.tell(times.late(0, 1, 1_001));
        }
        drop(watchdog);
        assert_eq!(metrics.stalls.late_stalled.get(), 0);
    }
}
