//! What runs a model. One kind so far; the enum is where another is added.

mod onnx;

use std::path::Path;

use crate::manifest::Manifest;
use crate::{Error, Rows, RunError};

/// A loaded model, owned by one thread: a run needs it exclusively.
pub(crate) enum Engine {
    Onnx(onnx::Onnx),
    /// Does what a test says: waits, fails, panics.
    #[cfg(test)]
    Scripted(Script),
}

#[cfg(test)]
pub(crate) type Script = Box<dyn FnMut(&Rows, &mut Vec<f64>) -> Result<(), RunError> + Send>;

impl Engine {
    /// Loads `model`, the content of the file at `path`, and checks that it is what the manifest says: one
    /// input of 32-bit floats as wide as the manifest's inputs, and the named output with one value per row.
    pub(crate) fn load(model: &[u8], path: &Path, manifest: &Manifest) -> Result<Self, Error> {
        onnx::Onnx::load(model, path, manifest).map(Self::Onnx)
    }

    /// The most rows one run takes, if the model limits them.
    pub(crate) fn rows_max(&self) -> Option<usize> {
        match self {
            Self::Onnx(onnx) => onnx.rows_max(),
            #[cfg(test)]
            Self::Scripted(_) => None,
        }
    }

    /// Runs `rows` and puts one output per row into `outputs`, replacing what was there. On an error `outputs` holds
    /// nothing of use. Engines narrow numbers to 32 bits where their model wants that.
    pub(crate) fn run(&mut self, rows: &Rows, outputs: &mut Vec<f64>) -> Result<(), RunError> {
        outputs.clear();
        match self {
            Self::Onnx(onnx) => onnx.run(rows, outputs),
            #[cfg(test)]
            Self::Scripted(script) => script(rows, outputs),
        }
    }
}
