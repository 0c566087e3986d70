//! What runs a model. One kind so far; the enum is where another is added.

mod bounded;
mod onnx;
mod vet;

use std::path::Path;
#[cfg(test)]
use std::sync::Arc;
#[cfg(test)]
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use crate::manifest::Manifest;
use crate::{Error, Rows, RunError};
pub(crate) use bounded::bounded;
pub(crate) use onnx::shown;

/// A loaded model, owned by one thread: a run needs it exclusively.
pub(crate) enum Engine {
    Onnx(Box<onnx::Onnx>),
    /// Does what a test says: waits, fails, panics.
    #[cfg(test)]
    Scripted(Script),
    /// The same, and it looks at a flag that says whether to end.
    #[cfg(test)]
    Stoppable(Script, Arc<AtomicBool>),
}

/// Ends the run of an engine from another thread.
#[derive(Clone)]
pub(crate) enum Stop {
    Onnx(onnx::Stop),
    #[cfg(test)]
    Nothing,
    #[cfg(test)]
    Flag(Arc<AtomicBool>),
}

#[cfg(test)]
pub(crate) type Script = Box<dyn FnMut(&Rows, &mut Vec<f64>) -> Result<(), RunError> + Send>;

impl Engine {
    /// Loads `model`, the content of the file at `path`, and checks that it is what the manifest says: inputs of its names,
    /// types and widths, and the named output with one score per row. For a model that was verified before.
    /// Its runs use `intra_threads` threads, the caller's included.
    pub(crate) fn load(
        model: &[u8],
        path: &Path,
        manifest: &Manifest,
        intra_threads: usize,
    ) -> Result<Self, Error> {
        let care = onnx::Care::Trusted { intra_threads };
        let onnx = onnx::Onnx::load(model, path, manifest, care)?;
        Ok(Self::Onnx(Box::new(onnx)))
    }

    /// The same for a model that nobody has looked at yet: what could do harm is refused, loading it and each run may take
    /// as long as `limit`, and memory is bounded. Not for serving.
    pub(crate) fn verify(
        model: &[u8],
        path: &Path,
        manifest: &Manifest,
        limit: Duration,
    ) -> Result<Self, Error> {
        vet::vet(model).map_err(|reason| Error::Hostile {
            path: path.to_owned(),
            reason,
        })?;
        let onnx = onnx::Onnx::load(model, path, manifest, onnx::Care::Verifying(limit))?;
        Ok(Self::Onnx(Box::new(onnx)))
    }

    /// The most rows one run takes, if the model limits them.
    pub(crate) fn rows_max(&self) -> Option<usize> {
        match self {
            Self::Onnx(onnx) => onnx.rows_max(),
            #[cfg(test)]
            Self::Scripted(_) | Self::Stoppable(..) => None,
        }
    }

    /// What ends its runs.
    pub(crate) fn stop(&self) -> Stop {
        match self {
            Self::Onnx(onnx) => Stop::Onnx(onnx.stop()),
            #[cfg(test)]
            Self::Scripted(_) => Stop::Nothing,
            #[cfg(test)]
            Self::Stoppable(_, flag) => Stop::Flag(Arc::clone(flag)),
        }
    }

    /// Runs `rows` and puts one output per row into `outputs`, replacing what was there. On an error `outputs` holds
    /// nothing of use. Engines narrow numbers to 32 bits where their model wants that.
    pub(crate) fn run(&mut self, rows: &Rows, outputs: &mut Vec<f64>) -> Result<(), RunError> {
        outputs.clear();
        match self {
            Self::Onnx(onnx) => onnx.run(rows, outputs),
            #[cfg(test)]
            Self::Scripted(script) | Self::Stoppable(script, _) => script(rows, outputs),
        }
    }
}

impl Stop {
    /// Asks the run that goes on, or else the next one, to end. It ends between two nodes of the model's graph.
    pub(crate) fn set(&self) {
        match self {
            Self::Onnx(stop) => stop.set(),
            #[cfg(test)]
            Self::Nothing => {}
            #[cfg(test)]
            Self::Flag(flag) => flag.store(true, Ordering::Relaxed),
        }
    }

    /// Lets runs go on again.
    pub(crate) fn clear(&self) {
        match self {
            Self::Onnx(stop) => stop.clear(),
            #[cfg(test)]
            Self::Nothing => {}
            #[cfg(test)]
            Self::Flag(flag) => flag.store(false, Ordering::Relaxed),
        }
    }
}
