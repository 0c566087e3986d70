//! What expressions cost is counted and bounded, for each and for all together.

use super::{lists, schema};
use crate::Compiler;
use crate::cost::{EXPRESSION_STEPS_MAX, SET_STEPS_MAX};

fn steps(source: &str) -> u64 {
    let schema = schema();
    Compiler::new(&schema, lists())
        .condition(source)
        .unwrap()
        .steps
}

#[test]
fn steps_grow_with_what_is_done() {
    let table = [
        ("transaction.amount > 5", 1),
        ("transaction.amount > 5 && transaction.refundable", 3),
        ("transaction.merchant_id.startsWith(\"a\")", 5),
        ("transaction.merchant_id.matches(\"^a\")", 50),
        ("card.last(\"1h\").count() > 5", 51),
        // One aggregate, however often it is read.
        (
            "card.last(\"1h\").count() > 5 || card.last(\"1h\").count() == 3",
            53,
        ),
        ("card.last(\"1h\").where(amount > 5).count() > 5", 151),
        (
            "card.last(\"1h\").where(amount > 5 && declined).count() > 5",
            351,
        ),
        ("transaction.merchant_id in lists.blocked_merchants", 11),
    ];
    for (source, expected) in table {
        assert_eq!(steps(source), expected, "{source}");
    }
}

#[test]
fn the_cost_of_all_expressions_together_is_bounded_and_said_once() {
    let schema = schema();
    let mut compiler = Compiler::new(&schema, lists());
    let dear = |minutes: u64| {
        format!(
            "card.last(\"{minutes}m\").where(transaction.merchant_id.matches(\"a\") && amount > 5).count() > 1"
        )
    };
    let mut minutes = 1;
    let problems = loop {
        match compiler.condition(&dear(minutes)) {
            Ok(compiled) => assert!(compiled.steps <= EXPRESSION_STEPS_MAX),
            Err(problems) => break problems,
        }
        minutes += 1;
    };
    assert_eq!(
        problems[0].message,
        "with this, all conditions and features take 252048 steps to evaluate, and 250000 are allowed"
    );
    assert!(compiler.steps() <= SET_STEPS_MAX);
    let slots = compiler.clone().finish().slots;
    compiler.condition(&dear(minutes + 1)).unwrap();
    assert_eq!(
        compiler.clone().finish().slots,
        slots + 1,
        "what was refused asks for nothing"
    );
    // What follows is checked, and what features are is known, but nothing of it is kept.
    assert!(compiler.is_too_dear());
    let pattern = "transaction.merchant_id.matches(\"a\")";
    compiler.feature("late", pattern).unwrap();
    let late = compiler.condition("features.late").unwrap();
    assert_eq!(late.id, None);
    assert!(compiler.condition("features.late > 5").is_err());
    assert!(
        compiler.layout().features[0]
            .program
            .reads()
            .next()
            .is_none()
    );
}

#[test]
fn equal_aggregates_of_several_rules_count_once() {
    let schema = schema();
    let mut compiler = Compiler::new(&schema, lists());
    let source = "card.last(\"1h\").where(amount > 5).count() > 5";
    compiler.condition(source).unwrap();
    compiler.condition(source).unwrap();
    assert_eq!(compiler.steps(), 152);
    compiler.expression(source).unwrap();
    assert_eq!(
        compiler.steps(),
        152,
        "what is only looked at costs nothing"
    );
}
