//! Models that are wrong or mean harm, each with what is said of it.

mod constants;
mod declarations;
mod files;
mod graphs;
mod memory;
mod trees;

use super::writer::{FLOAT, FREE, Message, floats, graph, model, node, value};
pub(crate) use constants::constants;
pub(crate) use declarations::{inputs, operators, outputs};
pub(crate) use files::files;
pub(crate) use graphs::graphs;
pub(crate) use memory::memory;
pub(crate) use trees::trees;

/// One model file, and the essence of the refusal.
pub(crate) struct Kind {
    pub(crate) name: &'static str,
    pub(crate) model: Vec<u8>,
    pub(crate) says: &'static [&'static str],
}

fn kind(name: &'static str, model: Message, says: &'static [&'static str]) -> Kind {
    Kind {
        name,
        model: model.0,
        says,
    }
}

/// Reads `input` of shape [N, 3] and puts out `p` of shape [N, 1].
fn scoring(nodes: &[Message], constants: &[Message]) -> Message {
    model(&graph(nodes, constants, &[input()], &[output()]))
}

fn input() -> Message {
    value("input", FLOAT, &[FREE, 3])
}

fn output() -> Message {
    value("p", FLOAT, &[FREE, 1])
}

fn weights() -> Message {
    floats("w", &[3, 1], &[0.1, 0.2, 0.3])
}

fn linear() -> Message {
    node("MatMul", &["input", "w"], &["p"])
}
