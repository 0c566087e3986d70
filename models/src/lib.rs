//! Model bundles, and the threads that run them.
//!
//! A bundle is a folder: the model as ONNX, a manifest that says what goes in and what comes out, and golden
//! rows that say what it must answer. [`Bundle::open`] believes none of it: digests, shapes and types are
//! checked and the golden rows are run before the bundle is given out (MO-1, MO-2). [`Inference`] then runs it
//! on threads of its own, so that a slow model can hold up neither the network nor another model.
//!
//! [`Comparison`] says which rows explain a score, and what their scores say about it.
//!
//! ONNX Runtime is a shared library loaded once per process ([`Runtime::load`]) and used nowhere else. There
//! is no clock but that of the CPU and no deadline in here: not every run can be stopped halfway (a tree ensemble is one node of the
//! graph), so whoever waits stops waiting, and a row nobody waits for is skipped if it has not begun. A run that goes
//! on and on is ended where that can be done, and a [`Breaker`] keeps others from asking such a model.

#[cfg(feature = "bare")]
mod bare;
mod breaker;
mod bundle;
mod calibration;
mod cpu;
mod engine;
mod error;
mod explanation;
mod golden;
mod inference;
mod manifest;
mod rows;
mod runtime;
mod threads;

#[cfg(feature = "bare")]
pub use bare::Bare;
pub use breaker::{ANSWERS_MAX, Breaker, BreakerOptions, Circuit, Permit};
pub use bundle::{Bundle, MODEL_CARD, features_digest};
pub use calibration::{Calibration, Score};
pub use error::{Error, QueueFull, RunError};
pub use explanation::{Comparison, Effect};
pub use inference::{BATCH_MAX, Inference, Options, Reply};
pub use manifest::{
    Distribution, Input, InputKind, InputReason, Manifest, NumberDistribution, Output, OutputKind,
    TextDistribution, Trained, Value,
};
pub use rows::{Rows, Width};
pub use runtime::Runtime;
