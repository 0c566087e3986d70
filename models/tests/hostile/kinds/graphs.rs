//! Graphs that go round, too deep or on for ever.

use super::{Kind, kind, scoring, weights};
use crate::writer::{BOOL, FLOAT, FREE, INT64, Message, graph, model, node, tensor, value, wholes};

/// Graphs that go round, too deep or on for ever.
pub(crate) fn graphs() -> Vec<Kind> {
    let axes = |node: Message| node.with_wholes("axes", &[1]);
    vec![
        kind(
            "a circle",
            scoring(
                &[
                    node("Add", &["input", "b"], &["a"]),
                    node("Add", &["a", "input"], &["b"]),
                    axes(node("ReduceMean", &["b"], &["p"])),
                ],
                &[],
            ),
            &["acyclic"],
        ),
        kind(
            "one name twice",
            scoring(
                &[
                    axes(node("ReduceMean", &["input"], &["p"])),
                    axes(node("ReduceMax", &["input"], &["p"])),
                ],
                &[],
            ),
            &["Duplicate definition"],
        ),
        kind(
            "what nobody has computed",
            scoring(&[axes(node("ReduceMean", &["x"], &["p"]))], &[]),
            &["cannot be loaded"],
        ),
        kind(
            "an operator without input",
            scoring(&[node("Identity", &[], &["p"])], &[]),
            &["cannot be loaded"],
        ),
        kind(
            "nine graphs deep",
            nested(9),
            &["graphs within graphs more than 8 deep"],
        ),
        kind(
            "twenty thousand graphs deep",
            nested(20_000),
            &["graphs within graphs more than 8 deep"],
        ),
        kind(
            "a loop without end",
            forever(),
            &["took longer than", "was stopped"],
        ),
        kind(
            "a hundred thousand operators",
            scoring(&vec![node("Identity", &["input"], &["x"]); 100_000], &[]),
            &["more than 50000 operators"],
        ),
    ]
}

fn nested(depth: usize) -> Message {
    let innermost = graph(&[], &[], &[], &[]);
    let graph = (1..depth).fold(innermost, |inner, _| {
        let within = node("If", &["x"], &["y"]).with_graph("then_branch", &inner);
        graph(&[within], &[], &[], &[])
    });
    model(&graph)
}

/// Repeats nothing as often as can be said.
fn forever() -> Message {
    let body = graph(
        &[
            node("Identity", &["go"], &["on"]),
            node("Identity", &["x"], &["y"]),
        ],
        &[],
        &[
            value("round", INT64, &[]),
            value("go", BOOL, &[]),
            value("x", FLOAT, &[FREE, 1]),
        ],
        &[value("on", BOOL, &[]), value("y", FLOAT, &[FREE, 1])],
    );
    let product = node("MatMul", &["input", "w"], &["linear"]);
    let repeat = node("Loop", &["rounds", "yes", "linear"], &["p"]).with_graph("body", &body);
    let constants = [
        weights(),
        wholes("rounds", &[], &[i64::MAX]),
        tensor("yes", BOOL, &[], &[1]),
    ];
    scoring(&[product, repeat], &constants)
}
