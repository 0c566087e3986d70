//! One thread of a model: takes what waits, runs it, answers.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};

use crossbeam_channel::Receiver;
use tokio::sync::oneshot;

use super::BATCH_MAX;
use crate::engine::Engine;
use crate::manifest::{Manifest, OutputKind};
use crate::{Calibration, Rows, RunError, Score};

/// One row, and who asked.
pub(super) struct Job {
    pub(super) row: Rows,
    pub(super) reply: oneshot::Sender<Result<Score, RunError>>,
}

pub(super) struct Worker {
    engine: Engine,
    calibration: Calibration,
    kind: OutputKind,
    jobs: Receiver<Job>,
    /// How many workers share the queue.
    threads: usize,
    rows_max: usize,
    /// These three are used again for every batch.
    batch: Vec<Job>,
    rows: Rows,
    outputs: Vec<f64>,
}

impl Worker {
    pub(super) fn new(
        engine: Engine,
        manifest: &Manifest,
        jobs: Receiver<Job>,
        threads: usize,
    ) -> Self {
        let width = manifest.width();
        let rows_max = engine.rows_max().unwrap_or(BATCH_MAX).clamp(1, BATCH_MAX);
        Self {
            engine,
            calibration: manifest.calibration.clone(),
            kind: manifest.output.kind,
            jobs,
            threads: threads.max(1),
            rows_max,
            batch: Vec::with_capacity(rows_max),
            rows: Rows {
                count: 0,
                numbers: Vec::with_capacity(rows_max * width.numbers),
                texts: Vec::with_capacity(rows_max * width.texts),
            },
            outputs: Vec::with_capacity(rows_max),
        }
    }

    /// Until nobody can submit any more and the queue is empty.
    pub(super) fn serve(mut self) {
        while let Ok(first) = self.jobs.recv() {
            self.take_batch(first);
            self.run_batch();
        }
    }

    /// Takes this thread's share of what waits right now: all of it on one thread would leave the others idle.
    fn take_batch(&mut self, first: Job) {
        let share = (1 + self.jobs.len())
            .div_ceil(self.threads)
            .min(self.rows_max);
        self.batch.push(first);
        while self.batch.len() < share
            && let Ok(job) = self.jobs.try_recv()
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
            // One row may have spoilt it for the others.
            Err(_) if batch.len() > 1 => {
                for job in batch.drain(..) {
                    self.run_alone(job);
                }
            }
            Err(error) => {
                for job in batch.drain(..) {
                    send(job, Err(error.clone()));
                }
            }
        }
        self.batch = batch;
    }

    fn run_alone(&mut self, job: Job) {
        match self.run(std::slice::from_ref(&job)) {
            Ok(()) => self.answer(0, job),
            Err(error) => send(job, Err(error)),
        }
    }

    /// Fills `outputs` with one value per job. A panic in the engine is an error like any other: the thread
    /// has to live on, and both buffers are cleared before they are used again.
    fn run(&mut self, batch: &[Job]) -> Result<(), RunError> {
        self.rows.clear();
        for job in batch {
            self.rows.extend(&job.row);
        }
        let run = || self.engine.run(&self.rows, &mut self.outputs);
        catch_unwind(AssertUnwindSafe(run))
            .unwrap_or_else(|panic| Err(RunError::Panicked(message(&*panic))))
    }

    fn answer(&self, at: usize, job: Job) {
        let missing = || RunError::Engine("there are fewer outputs than rows".to_owned());
        let output = self.outputs.get(at).copied().ok_or_else(missing);
        send(
            job,
            output.and_then(|output| self.calibration.score(self.kind, output)),
        );
    }
}

fn send(job: Job, answer: Result<Score, RunError>) {
    // If nobody waits any more, nobody needs to know.
    let _ = job.reply.send(answer);
}

fn message(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    text.or_else(|| panic.downcast_ref::<String>().cloned())
        .unwrap_or_else(|| "no message".to_owned())
}
