//! The threads that run a model, and the queue before them.
//!
//! A run takes its thread for as long as it lasts, so models have threads of their own. Rows that wait are run together; no
//! row ever waits for others to come. The queue is bounded: a row that finds it full is refused at once, while there is
//! still time to decide without the model. Rows that only explain have a queue of their own and are run while nothing else waits. A run that takes too long is ended, as far as the engine can, and while all
//! threads are in such runs nobody is left waiting behind them.

mod watch;
mod worker;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc;
use std::time::Duration;

use crossbeam_channel::{Receiver, Sender, TrySendError};
use tokio::sync::oneshot;

use self::watch::{Run, Watch};
use self::worker::{Job, Worker};
use crate::bundle::check_features;
use crate::cpu::Cpu;
use crate::engine::Engine;
use crate::manifest::{Input, Manifest};
use crate::threads;
use crate::{Bundle, Error, QueueFull, Rows, RunError, Score, Width};

/// The most rows in one run. A row that comes while a batch runs waits for all of it: 32 rows of 100 trees are
/// about 130 µs, and a larger batch gains nothing more per row.
pub const BATCH_MAX: usize = 32;

/// Rows that only explain and may wait: a few explanations.
const IDLE_ROWS_MAX: usize = 4 * BATCH_MAX;

/// The answer to one row, to be awaited or received blocking. Dropping it is how to say that nobody waits any
/// more. It fails only if the row was in a thread that died.
pub type Reply = oneshot::Receiver<Result<Score, RunError>>;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Options {
    /// Each holds a copy of the model (2 to 31 MB). One is enough for 100 k rows/s of 100 trees; 0 counts as 1.
    pub threads: usize,
    /// Rows that may wait. More than fit into the time budget only make answers that come too late; 0 counts
    /// as 1.
    pub queue_rows_max: usize,
    /// A run that takes longer is ended, up to a quarter later. Without end for [`Duration::MAX`].
    pub run_max: Duration,
    /// Whether the CPU time of its runs is counted, which takes two calls of the kernel per run.
    pub counts_cpu: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            threads: 1,
            queue_rows_max: 256,
            run_max: Duration::from_millis(250),
            counts_cpu: false,
        }
    }
}

/// What the threads of a model know of each other.
struct Shared {
    threads: usize,
    /// How many wait for rows.
    idle: AtomicUsize,
    /// Whether all of them are in runs that take too long.
    stuck: Arc<AtomicBool>,
    run_max: Duration,
}

/// A running model. Dropping it lets the rows already submitted finish; its threads then end by themselves,
/// and nobody waits for them.
pub struct Inference {
    jobs: Sender<Job>,
    /// Rows that are run while nothing waits in `jobs`.
    idle_jobs: Sender<Job>,
    /// The other end, to give up what is in there.
    waiting: Receiver<Job>,
    stuck: Arc<AtomicBool>,
    inputs: Vec<Input>,
    width: Width,
    features_sha256: String,
    version: String,
    manifest: Manifest,
    cpu: Cpu,
}

impl Inference {
    /// Starts the model's threads and returns once each has run a batch of every size. A model that cannot do so within
    /// `run_max` each time is refused.
    pub fn start(bundle: Bundle, options: Options) -> Result<Self, Error> {
        let (manifest, engines) = bundle.into_engines(options.threads)?;
        Self::launch(
            &manifest,
            engines,
            options,
            Some(&manifest.row_of_missing()),
        )
    }

    /// `warm` is what every thread is to run first.
    fn launch(
        manifest: &Manifest,
        engines: Vec<Engine>,
        options: Options,
        warm: Option<&Rows>,
    ) -> Result<Self, Error> {
        let (jobs, waiting) = crossbeam_channel::bounded(options.queue_rows_max.max(1));
        let (idle_jobs, idle_waiting) = crossbeam_channel::bounded(IDLE_ROWS_MAX);
        let stuck = Arc::new(AtomicBool::new(false));
        let shared = Arc::new(Shared {
            threads: engines.len().max(1),
            idle: AtomicUsize::new(0),
            stuck: Arc::clone(&stuck),
            run_max: options.run_max,
        });
        let runs: Vec<Arc<Run>> = engines
            .iter()
            .map(|engine| Arc::new(Run::new(engine.stop())))
            .collect();
        // Every thread holds on to it while it lives; nothing is ever sent.
        let (living, ended) = crossbeam_channel::bounded(0);
        let watch = Watch::new(&runs, waiting.clone(), Arc::clone(&stuck));
        let run_max = options.run_max;
        threads::start("model-watch".to_owned(), move || {
            watch.keep(&ended, run_max)
        })
        .map_err(Error::Thread)?;
        let cpu = Cpu::new(options.counts_cpu);
        let (warmed, warming) = mpsc::channel();
        for (n, (engine, run)) in engines.into_iter().zip(runs).enumerate() {
            let mut worker = Worker::new(
                engine,
                manifest,
                (waiting.clone(), idle_waiting.clone()),
                run,
                Arc::clone(&shared),
                cpu.clone(),
            );
            let (living, warmed, warm) = (living.clone(), warmed.clone(), warm.cloned());
            // Not joined: a run may take arbitrarily long, and whoever drops a model must not wait for it.
            let serve = move || {
                let result = warm.map_or(Ok(()), |row| worker.warm(&row));
                let is_warm = result.is_ok();
                // Nobody may be listening any more, because another thread's model has failed.
                let _ = warmed.send(result);
                drop(warmed);
                if is_warm {
                    worker.serve();
                }
                drop(living);
            };
            threads::start(format!("model-{n}"), serve).map_err(Error::Thread)?;
        }
        drop(warmed);
        let version = format!("{}/{}", manifest.name, manifest.version);
        for result in warming {
            result.map_err(|error| Error::Warm {
                version: version.clone(),
                error,
            })?;
        }
        Ok(Self {
            jobs,
            idle_jobs,
            waiting,
            stuck,
            inputs: manifest.inputs.clone(),
            width: manifest.width(),
            features_sha256: manifest.features_sha256.clone(),
            version,
            manifest: manifest.clone(),
            cpu,
        })
    }

    /// Queues one row, missing values filled. Never blocks.
    pub fn submit(&self, row: Rows) -> Result<Reply, QueueFull> {
        self.submit_to(&self.jobs, row)
    }

    /// The same for a row whose score can be done without: it is run while no other row waits.
    pub fn submit_when_idle(&self, row: Rows) -> Result<Reply, QueueFull> {
        self.submit_to(&self.idle_jobs, row)
    }

    fn submit_to(&self, jobs: &Sender<Job>, row: Rows) -> Result<Reply, QueueFull> {
        let (reply, receiver) = oneshot::channel();
        if row.count != 1 || !self.width.fits(&row) {
            let error = RunError::Width {
                expected: self.width,
                found: row,
            };
            // The other end is in our hands, so this cannot fail.
            let _ = reply.send(Err(error));
            return Ok(receiver);
        }
        if self.stuck.load(Ordering::Relaxed) {
            let _ = reply.send(Err(RunError::Stuck));
            return Ok(receiver);
        }
        match jobs.try_send(Job::new(row, reply)) {
            Ok(()) => Ok(receiver),
            // Threads outlive their sender, so the second does not happen; if it did, the model is as good
            // as overloaded.
            Err(TrySendError::Full(_) | TrySendError::Disconnected(_)) => Err(QueueFull),
        }
    }

    /// Whether the features are still defined as they were when the model was trained (MO-1): asked again where a
    /// running model is taken over by another policy. `definition` is as for [`Bundle::open`].
    pub fn check_features(&self, definition: &dyn Fn(&str) -> Option<String>) -> Result<(), Error> {
        check_features(&self.inputs, &self.features_sha256, definition)
    }

    /// What the bundle says about itself.
    pub const fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    /// CPU time that runs have taken so far, all threads together; zero unless it is counted. A run that goes on is not in it.
    pub fn cpu_time(&self) -> Duration {
        self.cpu.total()
    }

    /// What goes into a row, in order.
    pub fn inputs(&self) -> &[Input] {
        &self.inputs
    }

    /// Name and version, as decisions carry them: `card-fraud/3`.
    pub fn version(&self) -> &str {
        &self.version
    }

    /// Has all rows that no thread has taken yet answered [`RunError::Stuck`] at once: there is reason to believe that none of
    /// them would be answered in time.
    pub fn give_up(&self) {
        watch::give_up(&self.waiting);
    }

    /// Rows submitted that no thread has taken yet.
    pub fn rows_waiting(&self) -> usize {
        self.jobs.len()
    }
}

#[cfg(test)]
#[expect(
    clippy::float_cmp,
    reason = "the scripted engine puts out exactly what it was given"
)]
mod tests;
