//! Models that declare what the manifest or the runtime does not have.

use super::{Kind, input, kind, linear, output, scoring, weights};
use crate::writer::{FLOAT, FREE, INT64, Message, graph, model, model_of_opset, node, value};

/// With the linear model's weights.
fn one(nodes: &[Message], inputs: &[Message], outputs: &[Message]) -> Message {
    model(&graph(nodes, &[weights()], inputs, outputs))
}

/// Operators that the runtime does not have.
pub(crate) fn operators() -> Vec<Kind> {
    let plain = graph(&[linear()], &[weights()], &[input()], &[output()]);
    vec![
        kind(
            "opset of the future",
            model_of_opset(&plain, 999),
            &["opset", "999"],
        ),
        kind(
            "opset of nobody",
            model_of_opset(&plain, 0),
            &["cannot be loaded"],
        ),
        kind(
            "unknown operator",
            scoring(&[node("Nope", &["input"], &["p"])], &[]),
            &["Nope"],
        ),
        kind(
            "operator of a library",
            scoring(&[node("Nope", &["input"], &["p"]).of_set("my.own")], &[]),
            &["\"Nope\" of \"my.own\"", "export it without"],
        ),
        kind(
            "functions of its own",
            model(&plain).message(25, &Message::default().text(1, "f")),
            &["functions of its own", "inline_local_functions"],
        ),
    ]
}

/// Inputs that the manifest does not have, or that are of another kind.
pub(crate) fn inputs() -> Vec<Kind> {
    let of_input = |input: Message| one(&[linear()], &[input], &[output()]);
    vec![
        kind(
            "input of another name",
            of_input(value("x", FLOAT, &[FREE, 3])),
            &["input"],
        ),
        kind(
            "unknown type",
            of_input(value("input", 77, &[FREE, 3])),
            &["77"],
        ),
        kind(
            "complex numbers",
            of_input(value("input", 14, &[FREE, 3])),
            &["cannot be loaded"],
        ),
        kind(
            "three axes",
            {
                let mean = node("ReduceMean", &["input"], &["p"])
                    .with_wholes("axes", &[2])
                    .with_whole("keepdims", 0);
                one(
                    &[mean],
                    &[value("input", FLOAT, &[FREE, 1, 3])],
                    &[output()],
                )
            },
            &["has 3 axes", "expected [N, 3]"],
        ),
        kind(
            "wider",
            {
                let mean = node("ReduceMean", &["input"], &["p"]).with_wholes("axes", &[1]);
                one(&[mean], &[value("input", FLOAT, &[FREE, 4])], &[output()])
            },
            &["takes 4 values a row", "lists 3 inputs"],
        ),
        kind(
            "seven rows",
            of_input(value("input", FLOAT, &[7, 3])),
            &["exactly 7 rows", "free first axis"],
        ),
        kind(
            "a second input",
            {
                let add = node("Add", &["linear", "other"], &["p"]);
                let product = node("MatMul", &["input", "w"], &["linear"]);
                one(
                    &[product, add],
                    &[input(), value("other", FLOAT, &[FREE, 1])],
                    &[output()],
                )
            },
            &["`other` is fed by none"],
        ),
        kind(
            "no input",
            {
                let constant = node("Identity", &["w"], &["p"]);
                one(&[constant], &[], &[output()])
            },
            &["has no input"],
        ),
    ]
}

/// Outputs that are no score.
pub(crate) fn outputs() -> Vec<Kind> {
    vec![
        kind(
            "no such output",
            one(&[linear()], &[input()], &[value("q", FLOAT, &[FREE, 1])]),
            &["q"],
        ),
        kind(
            "nobody computes the output",
            scoring(&[node("Identity", &["input"], &["r"])], &[]),
            &["p"],
        ),
        kind(
            "whole numbers come out",
            {
                let cast = node("Cast", &["linear"], &["p"]).with_whole("to", INT64 as i64);
                let product = node("MatMul", &["input", "w"], &["linear"]);
                one(
                    &[product, cast],
                    &[input()],
                    &[value("p", INT64, &[FREE, 1])],
                )
            },
            &["`p`", "expected 32-bit floats"],
        ),
        kind(
            "three values come out",
            {
                one(
                    &[node("Identity", &["input"], &["p"])],
                    &[input()],
                    &[value("p", FLOAT, &[FREE, 3])],
                )
            },
            &["shape [1, 3]", "expected [1, 1]"],
        ),
        kind(
            "rows are put together",
            {
                let sum = node("ReduceSum", &["linear"], &["p"]);
                let product = node("MatMul", &["input", "w"], &["linear"]);
                one(&[product, sum], &[input()], &[value("p", FLOAT, &[1, 1])])
            },
            &["each row must give its own"],
        ),
    ]
}
