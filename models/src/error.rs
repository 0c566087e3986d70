//! What can go wrong when a bundle is loaded, and when a row is run.

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use crate::{Rows, Width};

/// Why a bundle, or ONNX Runtime itself, could not be loaded. Each says what to do about it.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error(
        "cannot load ONNX Runtime from {}: {reason}; Tollgate needs the library of ONNX Runtime 1.30 or newer: \
         `cargo xtask onnxruntime` fetches one, or take it out of the wheel `onnxruntime` on PyPI",
        library.display()
    )]
    Runtime { library: PathBuf, reason: String },
    #[error("ONNX Runtime is not loaded: Runtime::load comes before a bundle is opened")]
    RuntimeNotLoaded,
    #[error("cannot read {}: {error}", path.display())]
    File { path: PathBuf, error: io::Error },
    #[error("{} is not a file: a bundle has its files in its own folder", path.display())]
    NoFile { path: PathBuf },
    #[error("{} is {bytes} bytes, and at most {bytes_max} are taken", path.display())]
    FileTooLarge {
        path: PathBuf,
        bytes: u64,
        bytes_max: u64,
    },
    /// The manifest is not the YAML that is expected; the diagnostic knows where.
    #[error("{}", diagnostic.render().trim_end())]
    Manifest {
        diagnostic: Box<tollgate_source::Diagnostic>,
    },
    /// The manifest can be read but contradicts itself.
    #[error("{}: {reason}", path.display())]
    ManifestValue { path: PathBuf, reason: String },
    #[error(
        "{} has the SHA-256 digest {found}, but the manifest says {expected}: the model was changed after its manifest \
         was written; train again, or restore the file",
        path.display()
    )]
    ModelDigest {
        path: PathBuf,
        expected: String,
        found: String,
    },
    #[error(
        "the model needs features that the policy does not define: {}; add them to features.yaml, or use a bundle \
         trained without them",
        list(features)
    )]
    UnknownFeatures { features: Vec<String> },
    #[error(
        "the features {} are not all defined as they were when the model was trained (digest {found}, the manifest \
         says {expected}): restore their definitions in features.yaml, or train the model again",
        list(features)
    )]
    FeaturesDigest {
        features: Vec<String>,
        expected: String,
        found: String,
    },
    /// Not handed to ONNX Runtime at all.
    #[error("{} is not taken: {reason}", path.display())]
    Hostile { path: PathBuf, reason: String },
    /// ONNX Runtime refuses the file.
    #[error("{} cannot be loaded by ONNX Runtime: {reason}", path.display())]
    Model { path: PathBuf, reason: String },
    /// The model loads, but is not what its manifest says.
    #[error("{} does not fit its manifest: {reason}", path.display())]
    ModelShape { path: PathBuf, reason: String },
    #[error("{}: {reason}", path.display())]
    Golden { path: PathBuf, reason: String },
    #[error(
        "{}: row {row} scores {found}, but {expected} was recorded when the model was trained (tolerance {tolerance}): \
         the model, its calibration or ONNX Runtime is not what it was",
        path.display()
    )]
    GoldenMismatch {
        path: PathBuf,
        row: usize,
        expected: f64,
        found: f64,
        tolerance: f64,
    },
    #[error("cannot start a thread for the model: {0}")]
    Thread(io::Error),
    #[error(
        "the model {version} answers its golden rows, but not batches of rows whose inputs are all missing: {error}; a run \
         has to end within `model.run_ms_max`"
    )]
    Warm { version: String, error: RunError },
}

/// Why one row has no score. The decision goes on without the model.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum RunError {
    /// Not as many numbers and texts as the manifest lists.
    #[error(
        "{} rows of {} numbers and {} texts were submitted to a model that takes {} and {} a row",
        found.count, found.numbers.len(), found.texts.len(), expected.numbers, expected.texts
    )]
    Width { expected: Width, found: Rows },
    /// The number is not shown: it may be an input, and an input may be anything.
    #[error("the model put out a number that is no probability: below 0, above 1, or none at all")]
    NotAProbability(f64),
    #[error("the model failed: {0}")]
    Engine(String),
    #[error("the model took longer than {} s and was stopped", .0.as_secs_f64())]
    Stopped(Duration),
    #[error("the model panicked: {0}")]
    Panicked(String),
    #[error("the model's threads are in runs that take too long, and the row was not begun")]
    Stuck,
}

/// As many rows wait as may: this one is not taken, and the decision goes on without the model.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the model's queue is full")]
pub struct QueueFull;

fn list(names: &[String]) -> String {
    let quoted: Vec<String> = names.iter().map(|name| format!("`{name}`")).collect();
    quoted.join(", ")
}
