//! Terms and values of a condition, as they are written.

use crate::{Compiler, Part};

#[track_caller]
fn check(source: &str, terms: &[&str], reads: &[&str]) {
    let schema = super::schema();
    let mut compiler = Compiler::new(&schema, super::lists());
    compiler
        .feature("busy", "card.last(\"1h\").count() > 3")
        .unwrap();
    compiler.condition(source).unwrap();
    let slots = compiler.clone().finish().slots;
    let parts = compiler.parts(source).unwrap();
    let written = |parts: &[Part]| -> Vec<String> {
        let parts = parts.iter().map(|part| &source[part.span.clone()]);
        parts.map(str::to_owned).collect()
    };
    assert_eq!(written(&parts.terms), terms, "{source}");
    assert_eq!(written(&parts.reads), reads, "{source}");
    assert!(parts.reads.iter().all(|read| read.slot().is_some()));
    assert_eq!(compiler.finish().slots, slots, "nothing new is asked for");
}

#[test]
fn choices_are_taken_apart_too() {
    check(
        "has(transaction.passengers) ? transaction.amount > 5 && features.busy : false",
        &[
            "has(transaction.passengers)",
            "transaction.amount > 5",
            "features.busy",
        ],
        &[
            "transaction.passengers",
            "transaction.amount",
            "features.busy",
        ],
    );
    check(
        "transaction.amount > 2 * (features.busy ? 5 : 10)",
        &[
            "transaction.amount > 2 * (features.busy ? 5 : 10)",
            "features.busy",
        ],
        &["transaction.amount", "features.busy"],
    );
}

#[test]
fn a_condition_is_taken_apart_as_it_is_written() {
    check(
        "transaction.amount > 5",
        &["transaction.amount > 5"],
        &["transaction.amount"],
    );
    let count =
        "card.last(\"2h\").where(amount < transaction.amount && channel == \"ecommerce\").count()";
    check(
        &format!("transaction.amount > 150.0 && ({count} >= 4 || !(features.busy))"),
        &[
            "transaction.amount > 150.0",
            &format!("{count} >= 4"),
            "features.busy",
        ],
        &["transaction.amount", count, "features.busy"],
    );
    check(
        "transaction.merchant_id in lists.blocked_merchants && model.score > 0.5",
        &[
            "transaction.merchant_id in lists.blocked_merchants",
            "model.score > 0.5",
        ],
        &[
            "transaction.merchant_id in lists.blocked_merchants",
            "model.score",
        ],
    );
    check(
        "!has(transaction.device_id) || (transaction.departure_time - transaction.event_time) < duration(\"3h\")",
        &[
            "has(transaction.device_id)",
            "(transaction.departure_time - transaction.event_time) < duration(\"3h\")",
        ],
        &[
            "transaction.device_id",
            "transaction.departure_time",
            "transaction.event_time",
        ],
    );
    check(
        "(transaction.refundable ? transaction.amount : -5) in [1, 2] && transaction.merchant_id.startsWith(\"air\")",
        &[
            "(transaction.refundable ? transaction.amount : -5) in [1, 2]",
            "transaction.refundable",
            "transaction.merchant_id.startsWith(\"air\")",
        ],
        &[
            "transaction.refundable",
            "transaction.amount",
            "transaction.merchant_id",
        ],
    );
}

#[test]
fn what_is_no_expression_has_no_parts() {
    let schema = super::schema();
    let mut compiler = Compiler::new(&schema, super::lists());
    assert!(compiler.parts("transaction.amount >").is_err());
}
