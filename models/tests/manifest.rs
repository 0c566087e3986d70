//! What a manifest says beyond names and digests is read, and refused with what to write instead.

mod common;

use common::{Folder, Model};
use tollgate_models::{Distribution, Value};

/// With the first input written otherwise.
fn with(input: &str) -> Folder {
    let mut folder = Folder::new(Model::Pair);
    folder.replace(
        "{ feature: amount }",
        &format!("{{ feature: amount, {input} }}"),
    );
    folder
}

#[test]
fn what_an_input_has_is_read() {
    let mut folder = with(
        "baseline: 52.5, reason: { code: MODEL_AMOUNT, description: Unusual. }, \
         distribution: { edges: [10, 20], shares: [0.5, 0.25, 0.23], missing: 0.02 }",
    );
    folder
        .manifest
        .push_str("score_distribution: { edges: [0.5], shares: [0.9, 0.1] }\n");
    let bundle = folder.open().unwrap();
    let input = &bundle.manifest().inputs[0];
    assert_eq!(input.baseline, Value::Number(52.5));
    assert_eq!(input.reason.as_ref().unwrap().code.as_str(), "MODEL_AMOUNT");
    let Some(Distribution::Numbers(distribution)) = &input.distribution else {
        panic!("{input:?}");
    };
    assert_eq!(distribution.edges, [10.0, 20.0]);
    assert_eq!(distribution.shares, [0.5, 0.25, 0.23]);
    let second = &bundle.manifest().inputs[1];
    assert_eq!(second.baseline, second.missing, "where none is written");
    let scores = bundle.manifest().score_distribution.as_ref().unwrap();
    assert_eq!(scores.shares, [0.9, 0.1]);
}

#[test]
fn what_makes_no_sense_is_refused_with_what_to_write() {
    for (input, says) in [
        (
            "missing: none",
            "is the text \"none\": write a number, `nan`, or `type: text`",
        ),
        ("type: text, missing: 1", "write a text in quotes"),
        (
            "baseline: x",
            "`baseline` of the feature `amount` is the text",
        ),
        (
            "reason: { code: amount, description: x }",
            "is not a reason code",
        ),
        (
            "reason: { code: AMOUNT, description: \"\" }",
            "expected 1 to 500",
        ),
        (
            "distribution: { edges: [10, 20], shares: [0.5, 0.5] }",
            "2 shares for 2 edges",
        ),
        (
            "distribution: { edges: [20, 10], shares: [0.5, 0.25, 0.25] }",
            "each greater than the one before",
        ),
        (
            "distribution: { edges: [10], shares: [0.5, 0.25] }",
            "add up to 0.75",
        ),
        (
            "distribution: { edges: [10], shares: [1.5, -0.5] }",
            "a share is 1.5",
        ),
        (
            "distribution: { values: { a: 1.0 } }",
            "numbers have `edges` and `shares`",
        ),
        (
            "type: text, distribution: { edges: [1], shares: [1, 0] }",
            "texts have `values`",
        ),
        ("tensor: other", "`other`"),
        ("typ: text", "typ"),
    ] {
        let error = with(input).error();
        assert!(
            error.contains(says),
            "{input}: {error} does not say {says:?}"
        );
    }
    let mut folder = Folder::new(Model::Pair);
    folder.replace("tensor: input\n", "");
    let error = folder.error();
    assert!(error.contains("goes into no tensor"), "{error}");
}
