//! Text files that people write: YAML that remembers where everything stands, and messages that show it.
//!
//! Whoever edits a policy or a configuration gets each mistake with file, line, column, the line itself, a
//! caret and what to write instead. This crate is the only one that knows which YAML library is used.

mod diagnostic;
mod fields;
mod file;
mod node;
mod scalar;
mod suggest;
mod yaml;

pub use diagnostic::{Diagnostic, Diagnostics, Severity};
pub use fields::Fields;
pub use file::{BYTES_MAX, SourceFile, read, read_up_to};
pub use node::{Node, NodeKind, parse};
pub use suggest::{did_you_mean, nearest};
pub use yaml::{Located, from_str};
