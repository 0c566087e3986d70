//! Small files that ask for much memory.

use super::{Kind, kind, scoring, weights};
use crate::writer::{Message, floats, node, wholes};

/// The linear model plus the sum of `big`, so that it has to be computed.
fn with_big(big: &[Message], constants: &[Message]) -> Message {
    let mut nodes = big.to_vec();
    nodes.push(node("MatMul", &["input", "w"], &["linear"]));
    nodes.push(node("ReduceSum", &["big"], &["sum"]).with_whole("keepdims", 0));
    nodes.push(node("Add", &["linear", "sum"], &["p"]));
    let mut all = constants.to_vec();
    all.push(weights());
    scoring(&nodes, &all)
}

/// Small files that ask for much memory.
pub(crate) fn memory() -> Vec<Kind> {
    const GIGABYTES: i64 = 1 << 31;
    let more: &[&str] = &["more than 1024 MB of memory"];
    let shape = |sizes: &[i64]| wholes("shape", &[sizes.len() as i64], sizes);
    let filled = |size: i64| {
        with_big(
            &[node("ConstantOfShape", &["shape"], &["big"])],
            &[shape(&[size])],
        )
    };
    let column = |name: &str, shape: &[i64]| floats(name, shape, &vec![1.0; 40_000]);
    vec![
        kind("constant of 8 GB", filled(GIGABYTES), more),
        kind("constant of a petabyte", filled(1 << 48), more),
        kind(
            "constant whose size overflows",
            filled(i64::MAX),
            &["verflow"],
        ),
        kind(
            "expanded",
            with_big(
                &[node("Expand", &["w", "shape"], &["big"])],
                &[shape(&[3, GIGABYTES])],
            ),
            more,
        ),
        kind(
            "tiled",
            with_big(
                &[node("Tile", &["w", "shape"], &["big"])],
                &[shape(&[1, GIGABYTES / 16])],
            ),
            more,
        ),
        kind(
            "a range",
            with_big(
                &[
                    node("Range", &["from", "to", "step"], &["whole"]),
                    node("Cast", &["whole"], &["big"]).with_whole("to", 1),
                ],
                &[
                    wholes("from", &[], &[0]),
                    wholes("to", &[], &[GIGABYTES]),
                    wholes("step", &[], &[1]),
                ],
            ),
            more,
        ),
        kind(
            "columns multiplied",
            with_big(
                &[node("MatMul", &["a", "b"], &["big"])],
                &[column("a", &[40_000, 1]), column("b", &[1, 40_000])],
            ),
            more,
        ),
        kind(
            "columns added",
            with_big(
                &[node("Add", &["a", "b"], &["big"])],
                &[column("a", &[40_000, 1]), column("b", &[1, 40_000])],
            ),
            more,
        ),
    ]
}
