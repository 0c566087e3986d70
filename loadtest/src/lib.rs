//! A transaction generator and a load client that know a Tollgate service only from outside.
//!
//! [`generate`] makes up card transactions, honest and fraudulent; `kafka` feeds them to the service no faster
//! than it applies them; `score` asks for decisions at a given pace and measures from the moment a request was
//! due. [`demo`], [`load`], [`chaos`], [`recovery`] and [`handbook`] put these together into runs with a report.

use std::sync::{Mutex, MutexGuard, PoisonError};

pub mod chaos;
pub mod demo;
mod figures;
pub mod generate;
pub mod handbook;
mod kafka;
pub mod load;
pub mod models;
mod output;
mod process;
mod progress;
pub mod recovery;
mod score;
mod service;
mod steady;
pub mod swaps;

/// Locks what tasks count into. A task that panics ends the run with an error of its own.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
