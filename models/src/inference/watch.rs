//! What ends a run that goes on for too long, and gives up rows that wait behind such runs.
//!
//! One thread per model looks at its runs a few times within the longest that a run may take. It asks for no time and the
//! runs pay nothing for it but a number: a run seen at so many looks in a row has taken at least as many ticks. ONNX
//! Runtime ends a run between two nodes of its graph; a tree ensemble is one node, so such a run goes on to its end,
//! and what remains is that nobody waits for it.

use std::convert::Infallible;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crossbeam_channel::{Receiver, RecvTimeoutError};

use super::worker::Job;
use crate::RunError;
use crate::engine::Stop;

/// Looks within the longest that a run may take. It then takes up to a quarter more than that.
const TICKS: u32 = 4;

/// What is going on in one thread of a model.
pub(super) struct Run {
    stop: Stop,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// Counts runs, so that two looks know whether they have seen the same.
    number: u64,
    running: bool,
    /// Whether this run was asked to end.
    stopped: bool,
}

impl Run {
    pub(super) fn new(stop: Stop) -> Self {
        Self {
            stop,
            state: Mutex::default(),
        }
    }

    pub(super) fn begin(&self) {
        let mut state = self.lock();
        state.number += 1;
        state.running = true;
    }

    /// Whether the run that ends here was asked to. The next one is not.
    pub(super) fn end(&self) -> bool {
        let mut state = self.lock();
        state.running = false;
        let stopped = std::mem::take(&mut state.stopped);
        if stopped {
            self.stop.clear();
        }
        stopped
    }

    /// Asks the run to end if it is still the one with this number. Under the lock, so that it cannot hit the next one.
    fn stop(&self, number: u64) {
        let mut state = self.lock();
        if state.running && state.number == number && !state.stopped {
            state.stopped = true;
            self.stop.set();
        }
    }

    /// The number of the run that is going on.
    fn running(&self) -> Option<u64> {
        let state = self.lock();
        state.running.then_some(state.number)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Nothing in here can panic while it is held.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Looks at the runs of one model.
pub(super) struct Watch {
    runs: Vec<Watched>,
    waiting: Receiver<Job>,
    stuck: Arc<AtomicBool>,
}

struct Watched {
    run: Arc<Run>,
    /// The run seen at the last look, and at how many before that one.
    seen: Option<(u64, u32)>,
}

impl Watch {
    /// `stuck` tells others that every thread is in a run that takes too long.
    pub(super) fn new(runs: &[Arc<Run>], waiting: Receiver<Job>, stuck: Arc<AtomicBool>) -> Self {
        let watched = |run: &Arc<Run>| Watched {
            run: Arc::clone(run),
            seen: None,
        };
        Self {
            runs: runs.iter().map(watched).collect(),
            waiting,
            stuck,
        }
    }

    /// Looks again and again until all threads of the model have let go of the other end of `ended`.
    pub(super) fn keep(mut self, ended: &Receiver<Infallible>, run_max: Duration) {
        let tick = run_max / TICKS;
        while let Err(RecvTimeoutError::Timeout) = ended.recv_timeout(tick) {
            self.look();
        }
    }

    fn look(&mut self) {
        let mut late = 0;
        for watched in &mut self.runs {
            let ticks = watched.look();
            late += usize::from(ticks >= 1);
            if ticks >= TICKS
                && let Some((number, _)) = watched.seen
            {
                watched.run.stop(number);
            }
        }
        let stuck = late == self.runs.len();
        self.stuck.store(stuck, Ordering::Relaxed);
        if stuck {
            give_up(&self.waiting);
            // A thread that let go of its run since it was looked at has told so already, before this told the contrary.
            if !self.runs.iter().all(Watched::is_as_seen) {
                self.stuck.store(false, Ordering::Relaxed);
            }
        }
    }
}

impl Watched {
    /// Whether the run that was seen at the last look is still going on.
    fn is_as_seen(&self) -> bool {
        self.run.running() == self.seen.map(|(number, _)| number)
    }

    /// For how many ticks, at least, the run that is going on has been.
    fn look(&mut self) -> u32 {
        let running = self.run.running();
        self.seen = running.map(|number| match self.seen {
            Some((seen, ticks)) if seen == number => (number, ticks + 1),
            _ => (number, 0),
        });
        self.seen.map_or(0, |(_, ticks)| ticks)
    }
}

/// Tells those who wait in the queue that they wait for nothing. What comes in meanwhile is left.
pub(super) fn give_up(waiting: &Receiver<Job>) {
    for _ in 0..waiting.len() {
        match waiting.try_recv() {
            Ok(job) => job.answer(Err(RunError::Stuck)),
            Err(_) => return,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Rows;

    struct Setting {
        watch: Watch,
        runs: Vec<Arc<Run>>,
        stops: Vec<Arc<AtomicBool>>,
        jobs: crossbeam_channel::Sender<Job>,
        stuck: Arc<AtomicBool>,
    }

    fn setting(threads: usize) -> Setting {
        let stops: Vec<Arc<AtomicBool>> = (0..threads).map(|_| Arc::default()).collect();
        let run = |stop: &Arc<AtomicBool>| Arc::new(Run::new(Stop::Flag(Arc::clone(stop))));
        let runs: Vec<Arc<Run>> = stops.iter().map(run).collect();
        let (jobs, waiting) = crossbeam_channel::bounded(10);
        let stuck = Arc::new(AtomicBool::new(false));
        Setting {
            watch: Watch::new(&runs, waiting, Arc::clone(&stuck)),
            runs,
            stops,
            jobs,
            stuck,
        }
    }

    impl Setting {
        fn look(&mut self, times: u32) {
            for _ in 0..times {
                self.watch.look();
            }
        }

        fn is_stopped(&self, thread: usize) -> bool {
            self.stops[thread].load(Ordering::Relaxed)
        }

        fn is_stuck(&self) -> bool {
            self.stuck.load(Ordering::Relaxed)
        }
    }

    #[test]
    fn a_run_is_ended_once_it_has_been_seen_for_all_of_its_time() {
        let mut setting = setting(2);
        setting.runs[0].begin();
        setting.look(TICKS);
        assert!(!setting.is_stopped(0));
        setting.look(1);
        assert!(setting.is_stopped(0) && !setting.is_stopped(1));
        assert!(setting.runs[0].end(), "it ended because it was asked to");
        assert!(!setting.is_stopped(0), "which the next run must not be");
        setting.runs[0].begin();
        setting.look(TICKS);
        assert!(!setting.runs[0].end());
    }

    #[test]
    fn many_short_runs_are_no_long_one() {
        let mut setting = setting(1);
        for _ in 0..10 {
            setting.runs[0].begin();
            setting.look(1);
            assert!(!setting.runs[0].end());
        }
        assert!(!setting.is_stuck());
    }

    #[test]
    fn a_run_that_ended_since_the_look_is_seen_to_be_another() {
        let mut setting = setting(1);
        setting.runs[0].begin();
        setting.look(2);
        assert!(setting.watch.runs[0].is_as_seen());
        setting.runs[0].end();
        assert!(!setting.watch.runs[0].is_as_seen());
        setting.runs[0].begin();
        assert!(!setting.watch.runs[0].is_as_seen());
    }

    #[test]
    fn what_waits_is_given_up_when_every_thread_is_late_and_not_before() {
        let mut setting = setting(2);
        let (reply, mut answer) = tokio::sync::oneshot::channel();
        let row = Rows::one(vec![0.0], Vec::new());
        assert!(setting.jobs.send(Job::new(row, reply)).is_ok());
        setting.runs[0].begin();
        setting.look(3);
        assert!(!setting.is_stuck());
        assert!(answer.try_recv().is_err(), "the other thread may take it");
        setting.runs[1].begin();
        setting.look(2);
        assert!(setting.is_stuck());
        assert_eq!(answer.try_recv().unwrap().unwrap_err(), RunError::Stuck);
        setting.runs[1].end();
        setting.look(1);
        assert!(!setting.is_stuck());
    }
}
