//! A transaction generator and a load client that know a Tollgate service only from outside.
//!
//! [`generate`] makes up card transactions, honest and fraudulent; `kafka` feeds them to the service no faster
//! than it applies them; [`score`] asks for decisions at a given pace and measures from the moment a request was
//! due. [`demo`], [`load`] and [`handbook`] put these together into runs with a report.

pub mod demo;
pub mod generate;
pub mod handbook;
mod kafka;
pub mod load;
mod progress;
mod report;
pub mod score;
