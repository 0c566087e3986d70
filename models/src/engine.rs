//! What runs a model. One kind so far; the enum is where another is added.

mod onnx;

use std::path::Path;
#[cfg(test)]
use std::sync::Arc;
#[cfg(test)]
use std::sync::atomic::{AtomicBool, Ordering};

use crate::manifest::Manifest;
use crate::{Error, Rows, RunError};

/// A loaded model, owned by one thread: a run needs it exclusively.
pub(crate) enum Engine {
    Onnx(onnx::Onnx),
    /// Does what a test says: waits, fails, panics.
    #[cfg(test)]
    Scripted(Script),
    /// The same, and it looks at a flag that says whether to end.
    #[cfg(test)]
    Stoppable(Script, Arc<AtomicBool>),
}

/// Ends the run of an engine from another thread, where the engine can be ended.
pub(crate) enum Stop {
    Onnx(onnx::Stop),
    /// Nothing ends it.
    #[cfg(test)]
    Nothing,
    #[cfg(test)]
    Flag(Arc<AtomicBool>),
}

#[cfg(test)]
pub(crate) type Script = Box<dyn FnMut(&Rows, &mut Vec<f64>) -> Result<(), RunError> + Send>;

impl Engine {
    /// Loads `model`, the content of the file at `path`, and checks that it is what the manifest says: one
    /// input of 32-bit floats as wide as the manifest's inputs, and the named output with one value per row.
    pub(crate) fn load(
        model: &[u8],
        path: &Path,
        manifest: &Manifest,
        intra_threads: usize,
    ) -> Result<Self, Error> {
        onnx::Onnx::load(model, path, manifest, intra_threads).map(Self::Onnx)
    }

    /// The most rows one run takes, if the model limits them.
    pub(crate) fn rows_max(&self) -> Option<usize> {
        match self {
            Self::Onnx(onnx) => onnx.rows_max(),
            #[cfg(test)]
            Self::Scripted(_) | Self::Stoppable(..) => None,
        }
    }

    /// What ends a run of it.
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
    /// Asks the run that is going on to end, and with it every one that is begun before [`Stop::clear`].
    pub(crate) fn set(&self) {
        match self {
            Self::Onnx(stop) => stop.set(),
            #[cfg(test)]
            Self::Nothing => {}
            #[cfg(test)]
            Self::Flag(flag) => flag.store(true, Ordering::Relaxed),
        }
    }

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
