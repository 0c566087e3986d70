//! The threads that run a model, and the queue before them.
//!
//! A run cannot be interrupted and takes its thread for as long as it lasts, so models have threads of their
//! own. Rows that wait are run together; no row ever waits for others to come. The queue is bounded: a row
//! that finds it full is refused at once, while there is still time to decide without the model.

mod worker;

use std::thread;

use crossbeam_channel::{Sender, TrySendError};
use tokio::sync::oneshot;

use self::worker::{Job, Worker};
use crate::bundle::check_features;
use crate::engine::Engine;
use crate::manifest::{Input, Manifest};
use crate::{Bundle, Error, QueueFull, Rows, RunError, Score, Width};

/// The most rows in one run. A row that comes while a batch runs waits for all of it: 32 rows of 100 trees are
/// about 130 µs, and a larger batch gains nothing more per row.
pub const BATCH_MAX: usize = 32;

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
}

/// A running model. Dropping it lets the rows already submitted finish; its threads then end by themselves,
/// and nobody waits for them.
pub struct Inference {
    jobs: Sender<Job>,
    inputs: Vec<Input>,
    width: Width,
    features_sha256: String,
    version: String,
}

impl Inference {
    pub fn start(bundle: Bundle, options: Options) -> Result<Self, Error> {
        let (manifest, engines) = bundle.into_engines(options.threads)?;
        Self::with_engines(&manifest, engines, options.queue_rows_max)
    }

    fn with_engines(
        manifest: &Manifest,
        engines: Vec<Engine>,
        queue_rows_max: usize,
    ) -> Result<Self, Error> {
        let (jobs, waiting) = crossbeam_channel::bounded(queue_rows_max.max(1));
        let threads = engines.len();
        for (n, engine) in engines.into_iter().enumerate() {
            let worker = Worker::new(engine, manifest, waiting.clone(), threads);
            let builder = thread::Builder::new().name(format!("model-{n}"));
            // Not joined: a run may take arbitrarily long, and whoever drops a model must not wait for it.
            builder
                .spawn(move || worker.serve())
                .map_err(Error::Thread)?;
        }
        let version = format!("{}/{}", manifest.name, manifest.version);
        Ok(Self {
            jobs,
            inputs: manifest.inputs.clone(),
            width: manifest.width(),
            features_sha256: manifest.features_sha256.clone(),
            version,
        })
    }

    /// Queues one row, missing values filled. Never blocks.
    pub fn submit(&self, row: Rows) -> Result<Reply, QueueFull> {
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
        match self.jobs.try_send(Job { row, reply }) {
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

    /// What goes into a row, in order.
    pub fn inputs(&self) -> &[Input] {
        &self.inputs
    }

    /// Name and version, as decisions carry them: `card-fraud/3`.
    pub fn version(&self) -> &str {
        &self.version
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
