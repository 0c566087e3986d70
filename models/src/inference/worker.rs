//! One thread of a model: takes what waits, runs it, answers.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, select_biased};
use tokio::sync::oneshot;

use super::watch::Run;
use super::{BATCH_MAX, Shared};
use crate::cpu::Cpu;
use crate::engine::Engine;
use crate::manifest::{Manifest, OutputKind};
use crate::{Calibration, Rows, RunError, Score};

/// Parts of the longest that a run may take, one of which a run of several rows should take: 5 ms. A row waits for the run that goes on
/// and for its own, so it has its answer within two of these once a thread turns to it, however dear the model is.
const BATCHES_PER_RUN_MAX: u32 = 50;

/// One row, and who asked.
pub(super) struct Job {
    row: Rows,
    reply: oneshot::Sender<Result<Score, RunError>>,
}

pub(super) struct Worker {
    engine: Engine,
    calibration: Calibration,
    kind: OutputKind,
    cpu: Cpu,
    jobs: Receiver<Job>,
    /// Taken from while nothing waits in `jobs`.
    idle_jobs: Receiver<Job>,
    /// Told of every run, so that one that takes too long can be ended.
    run: Arc<Run>,
    shared: Arc<Shared>,
    /// How many workers share the queue.
    threads: usize,
    rows_max: usize,
    /// So many rows are run together, as far as runs have shown.
    rows_at_once: usize,
    /// These three are used again for every batch.
    batch: Vec<Job>,
    rows: Rows,
    outputs: Vec<f64>,
}

impl Worker {
    pub(super) fn new(
        engine: Engine,
        manifest: &Manifest,
        (jobs, idle_jobs): (Receiver<Job>, Receiver<Job>),
        run: Arc<Run>,
        shared: Arc<Shared>,
        cpu: Cpu,
    ) -> Self {
        let width = manifest.width();
        let rows_max = engine.rows_max().unwrap_or(BATCH_MAX).clamp(1, BATCH_MAX);
        Self {
            engine,
            calibration: manifest.calibration.clone(),
            kind: manifest.output.kind,
            cpu,
            jobs,
            idle_jobs,
            run,
            threads: shared.threads,
            shared,
            rows_max,
            rows_at_once: rows_max,
            batch: Vec::with_capacity(rows_max),
            rows: Rows {
                count: 0,
                numbers: Vec::with_capacity(rows_max * width.numbers),
                texts: Vec::with_capacity(rows_max * width.texts),
            },
            outputs: Vec::with_capacity(rows_max),
        }
    }

    /// Runs the row as often as there are sizes of a batch, each time of another size, so that what the first run of a size
    /// costs (memory, and plans for it) is paid before anybody waits.
    pub(super) fn warm(&mut self, row: &Rows) -> Result<(), RunError> {
        for count in 1..=self.rows_max {
            self.rows.clear();
            for _ in 0..count {
                self.rows.extend(row);
            }
            self.run_rows()?;
        }
        Ok(())
    }

    /// Until nobody can submit any more and the queue is empty.
    pub(super) fn serve(mut self) {
        loop {
            self.shared.idle.fetch_add(1, Ordering::Relaxed);
            let taken = self.take_first();
            let idle = self.shared.idle.fetch_sub(1, Ordering::Relaxed) - 1;
            let Some((first, when_idle)) = taken else {
                return;
            };
            self.take_batch(first, when_idle, idle);
            self.run_batch();
        }
    }

    /// Waits for a row, and says whether it is one of those that are run when no other waits. `None` once nobody can submit any more and no row waits that must be run.
    fn take_first(&self) -> Option<(Job, bool)> {
        if let Ok(job) = self.jobs.try_recv() {
            return Some((job, false));
        }
        select_biased! {
            recv(self.jobs) -> job => Some((job.ok()?, false)),
            recv(self.idle_jobs) -> job => Some((job.ok()?, true)),
        }
    }

    /// Takes this thread's share of what waits right now, `idle` others having nothing to do.
    fn take_batch(&mut self, first: Job, when_idle: bool, idle: usize) {
        let others = if when_idle {
            &self.idle_jobs
        } else {
            &self.jobs
        };
        let share = share(others.len(), idle, self.threads).min(self.rows_at_once);
        self.batch.push(first);
        while self.batch.len() < share
            && let Ok(job) = others.try_recv()
        {
            self.batch.push(job);
        }
    }

    fn run_batch(&mut self) {
        // Nobody waits for these any more: their deadline has passed.
        self.batch.retain(|job| !job.reply.is_closed());
        let mut batch = std::mem::take(&mut self.batch);
        match self.run(&batch) {
            Ok(()) => {
                for (at, job) in batch.drain(..).enumerate() {
                    self.answer(at, job);
                }
            }
            // One row may have spoilt it for the others; but a run that took too long would do so again, row by row.
            Err(error) if batch.len() > 1 && !matches!(error, RunError::Stopped(_)) => {
                for job in batch.drain(..) {
                    self.run_alone(job);
                }
            }
            Err(error) => {
                for job in batch.drain(..) {
                    job.answer(Err(error.clone()));
                }
            }
        }
        self.batch = batch;
    }

    fn run_alone(&mut self, job: Job) {
        match self.run(std::slice::from_ref(&job)) {
            Ok(()) => self.answer(0, job),
            Err(error) => job.answer(Err(error)),
        }
    }

    /// Fills `outputs` with one value per job.
    fn run(&mut self, batch: &[Job]) -> Result<(), RunError> {
        self.rows.clear();
        for job in batch {
            self.rows.extend(&job.row);
        }
        let began = now();
        let result = self.run_rows();
        let took = now().saturating_duration_since(began);
        let long = self.shared.run_max / BATCHES_PER_RUN_MAX;
        let allowed = fitting(self.rows_at_once, batch.len(), took, long);
        self.rows_at_once = allowed.min(self.rows_max);
        result
    }

    /// Fills `outputs` with one value per row. A panic in the engine is an error like any other: the thread has to live on,
    /// and both buffers are cleared before they are used again.
    fn run_rows(&mut self) -> Result<(), RunError> {
        self.run.begin();
        let run = || {
            self.cpu
                .count(|| self.engine.run(&self.rows, &mut self.outputs))
        };
        let result = catch_unwind(AssertUnwindSafe(run));
        let stopped = self.run.end();
        // This thread, at least, takes rows again.
        self.shared.stuck.store(false, Ordering::Relaxed);
        match result {
            // It may have come to its end all the same.
            Ok(Err(_)) if stopped => Err(RunError::Stopped(self.shared.run_max)),
            Ok(result) => result,
            Err(panic) => Err(RunError::Panicked(message(&*panic))),
        }
    }

    fn answer(&self, at: usize, job: Job) {
        let missing = || RunError::Engine("there are fewer outputs than rows".to_owned());
        let output = self.outputs.get(at).copied().ok_or_else(missing);
        job.answer(output.and_then(|output| self.calibration.score(self.kind, output)));
    }
}

/// How many rows a thread runs together that has just taken one, with so many still waiting. All of them would leave the other
/// threads without work. While some are idle they take what waits, so that no row is with another that may stick.
pub(super) fn share(waiting: usize, idle: usize, threads: usize) -> usize {
    if idle > 0 {
        1
    } else {
        (1 + waiting).div_ceil(threads)
    }
}

/// How many rows to run together after `rows`, of `before` that were allowed, took so long.
pub(super) fn fitting(before: usize, rows: usize, took: Duration, long: Duration) -> usize {
    if took > long {
        (rows / 2).clamp(1, before)
    } else if rows == before && took < long / 3 {
        before * 2
    } else {
        before
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "nothing is decided by what a run takes but how many rows go into the next"
)]
fn now() -> Instant {
    Instant::now()
}

impl Job {
    pub(super) const fn new(row: Rows, reply: oneshot::Sender<Result<Score, RunError>>) -> Self {
        Self { row, reply }
    }

    pub(super) fn answer(self, answer: Result<Score, RunError>) {
        // If nobody waits any more, nobody needs to know.
        let _ = self.reply.send(answer);
    }
}

fn message(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    text.or_else(|| panic.downcast_ref::<String>().cloned())
        .unwrap_or_else(|| "no message".to_owned())
}
