//! What follows from what.

use proptest::collection::vec;
use proptest::prelude::*;
use tollgate_types::Cell;

use super::build::Builder;
use super::*;
use crate::reference;
use crate::sample::{lists, schema};
use crate::tests::Values;
use crate::tests::equivalence::{trees, values};
use crate::tree::Node;

#[track_caller]
fn implies(one: &str, other: &str) -> bool {
    let schema = schema();
    let mut compiler = Compiler::new(&schema, lists());
    let ids = [one, other].map(|source| match compiler.condition(source) {
        Ok(compiled) => compiled.id,
        Err(problems) => panic!("{source}: {problems:?}"),
    });
    let implications = compiler.implications(ids);
    let implied = implications.implies(0, 1);
    let found = implications.first_implied(0, |other| other == 1);
    assert_eq!(found.is_some(), implied, "{one} => {other}");
    implied
}

/// Short names for what the tables below are about.
fn spelled(short: &str) -> String {
    [
        ("AMOUNT", "transaction.amount"),
        ("PEOPLE", "transaction.passengers"),
        ("MERCHANT", "transaction.merchant_id"),
        ("COUNTRY", "transaction.merchant_country"),
        ("DEVICE", "transaction.device_id"),
        ("ADDRESS", "transaction.ip_address"),
        ("BACK", "transaction.refundable"),
        (
            "LISTED",
            "(transaction.merchant_id in lists.blocked_merchants)",
        ),
        ("HOUR", "card.last(\"1h\")"),
        ("DAY", "card.last(\"24h\")"),
    ]
    .iter()
    .fold(short.to_owned(), |text, (short, long)| {
        text.replace(short, long)
    })
}

#[track_caller]
fn check(table: &[(&str, &str, bool)]) {
    for (one, other, expected) in table {
        let implied = implies(&spelled(one), &spelled(other));
        assert_eq!(implied, *expected, "{one} => {other}");
    }
}

#[test]
fn bounds_follow_from_narrower_ones() {
    check(&[
        ("AMOUNT > 5", "AMOUNT > 5", true),
        ("AMOUNT > 5", "AMOUNT > 3", true),
        ("AMOUNT > 5", "AMOUNT >= 5", true),
        ("AMOUNT >= 5", "AMOUNT > 5", false),
        ("AMOUNT > 3", "AMOUNT > 5", false),
        ("AMOUNT == 5", "AMOUNT >= 5", true),
        ("AMOUNT == 5", "AMOUNT < 5.5", true),
        ("5 < AMOUNT", "AMOUNT > 3", true),
        ("3 <= AMOUNT", "AMOUNT > 3", false),
        ("PEOPLE < -1", "PEOPLE < 0", true),
        (
            "AMOUNT > 5 && AMOUNT < 9",
            "AMOUNT > 4 && AMOUNT <= 9",
            true,
        ),
        ("AMOUNT > 9 && AMOUNT != 10", "AMOUNT > 7", true),
        ("AMOUNT > 5", "AMOUNT != 3", true),
        ("AMOUNT != 3", "AMOUNT > 5", false),
        ("!(AMOUNT <= 5)", "AMOUNT > 3", true),
        ("AMOUNT > 5", "PEOPLE > 5", false),
        ("AMOUNT > PEOPLE", "PEOPLE <= AMOUNT", true),
        ("AMOUNT > PEOPLE", "AMOUNT > 3", false),
        ("model.score > 0.9", "model.score > 0.5", true),
    ]);
}

#[test]
fn terms_are_found_wherever_they_stand() {
    check(&[
        (
            "LISTED && (BACK && AMOUNT > 5)",
            "AMOUNT > 5 && LISTED",
            true,
        ),
        ("LISTED", "LISTED && BACK", false),
        ("LISTED || BACK", "LISTED", false),
        ("LISTED", "BACK || LISTED", true),
        ("LISTED || BACK", "BACK || AMOUNT > 5 || LISTED", true),
        ("LISTED && (BACK || AMOUNT > 5)", "AMOUNT > 3 || BACK", true),
        (
            "AMOUNT > 5 && BACK || AMOUNT > 9 && LISTED",
            "AMOUNT > 5",
            true,
        ),
        (
            "AMOUNT > 5 && BACK || AMOUNT > 3 && LISTED",
            "AMOUNT > 5",
            false,
        ),
        ("!(LISTED || BACK)", "!LISTED", true),
        ("!(LISTED && BACK)", "!LISTED", false),
        ("BACK == true", "BACK", true),
        ("LISTED ? AMOUNT > 5 : AMOUNT > 9", "AMOUNT > 3", true),
        (
            "LISTED ? AMOUNT > 5 : AMOUNT > 9",
            "LISTED || AMOUNT > 8",
            true,
        ),
        ("AMOUNT > 5", "has(transaction.amount)", true),
        ("has(transaction.amount)", "AMOUNT > 5", false),
        ("!has(transaction.amount)", "has(transaction.amount)", false),
    ]);
}

#[test]
fn texts_are_compared_as_sets_and_by_their_parts() {
    check(&[
        (
            "COUNTRY == \"FR\"",
            "COUNTRY == \"FR\" || COUNTRY == \"DE\"",
            true,
        ),
        ("COUNTRY == \"FR\"", "COUNTRY in [\"FR\", \"DE\"]", true),
        (
            "COUNTRY in [\"FR\", \"DE\"]",
            "COUNTRY == \"DE\" || COUNTRY == \"FR\"",
            true,
        ),
        (
            "COUNTRY in [\"FR\", \"US\"]",
            "COUNTRY in [\"FR\", \"DE\"]",
            false,
        ),
        ("COUNTRY == \"FR\"", "COUNTRY != \"DE\"", true),
        ("!(COUNTRY in [\"FR\", \"DE\"])", "COUNTRY != \"DE\"", true),
        ("PEOPLE in [2, 3]", "PEOPLE >= 2", true),
        ("PEOPLE == 2 || PEOPLE == 3", "PEOPLE in [1, 2, 3]", true),
        (
            "DEVICE.startsWith(\"AB\")",
            "DEVICE.startsWith(\"A\")",
            true,
        ),
        (
            "DEVICE.startsWith(\"A\")",
            "DEVICE.startsWith(\"AB\")",
            false,
        ),
        (
            "!DEVICE.startsWith(\"A\")",
            "!DEVICE.startsWith(\"AB\")",
            true,
        ),
        ("DEVICE.endsWith(\"ab\")", "DEVICE.endsWith(\"b\")", true),
        ("DEVICE.endsWith(\"ab\")", "DEVICE.startsWith(\"a\")", false),
        ("DEVICE.startsWith(\"abc\")", "DEVICE.contains(\"b\")", true),
        (
            "DEVICE.startsWith(\"A\")",
            "MERCHANT.startsWith(\"A\")",
            false,
        ),
        (
            "DEVICE.startsWith(\"A\")",
            "has(transaction.device_id)",
            true,
        ),
        (
            "cidr(\"10.1.0.0/16\").containsIP(ADDRESS)",
            "cidr(\"10.0.0.0/8\").containsIP(ADDRESS)",
            true,
        ),
        (
            "cidr(\"10.0.0.0/8\").containsIP(ADDRESS)",
            "cidr(\"10.1.0.0/16\").containsIP(ADDRESS)",
            false,
        ),
    ]);
}

#[test]
fn a_longer_window_has_no_less_than_a_shorter_one() {
    check(&[
        ("HOUR.count() > 5", "DAY.count() > 5", true),
        ("HOUR.count() > 5", "DAY.count() > 3", true),
        ("HOUR.count() > 5", "DAY.count() > 6", false),
        ("DAY.count() > 5", "HOUR.count() > 5", false),
        ("DAY.count() <= 5", "HOUR.count() < 6.5", true),
        ("HOUR.count() <= 5", "DAY.count() <= 5", false),
        ("HOUR.count() == 5", "DAY.count() >= 5", true),
        ("HOUR.count() == 5", "DAY.count() == 5", false),
        ("HOUR.sum(amount) > 500", "DAY.sum(amount) >= 500", true),
        ("HOUR.avg(amount) > 500", "DAY.avg(amount) >= 500", false),
        ("HOUR.sum(latitude) > 50", "DAY.sum(latitude) > 50", false),
        ("HOUR.count() > 5", "ip.last(\"24h\").count() > 5", false),
        ("HOUR.count() > 5", "DAY.delayed(\"1h\").count() > 5", false),
        (
            "HOUR.where(amount > 5).count() > 5",
            "DAY.where(amount > 5).count() > 5",
            true,
        ),
        (
            "HOUR.where(amount > 5).count() > 5",
            "DAY.where(amount > 9).count() > 5",
            false,
        ),
    ]);
}

/// Conditions over a few terms.
fn over(terms: &BoxedStrategy<Node>) -> BoxedStrategy<Node> {
    let negated = terms.clone().prop_map(|term| Node::Not(term.into()));
    let term = prop_oneof![3 => terms.clone(), 1 => negated].boxed();
    let some = || vec(term.clone(), 2..4);
    let part = prop_oneof![
        2 => term.clone(),
        1 => some().prop_map(Node::All),
        1 => some().prop_map(Node::Any),
        1 => [term.clone(), term.clone(), term.clone()]
            .prop_map(|parts| Node::Choose(Box::new(parts))),
    ]
    .boxed();
    let parts = || vec(part.clone(), 2..4);
    prop_oneof![
        1 => part.clone(),
        2 => parts().prop_map(Node::All),
        2 => parts().prop_map(Node::Any),
    ]
    .boxed()
}

/// Two conditions over the same few terms, so that one often follows from the other.
fn related() -> impl Strategy<Value = [Node; 2]> {
    vec(trees(1).flags, 2..4).prop_flat_map(|terms| {
        let term = proptest::sample::select(terms).boxed();
        [over(&term), over(&term)]
    })
}

fn follows([one, other]: &[Node; 2]) -> bool {
    let schema = schema();
    let compiler = Compiler::new(&schema, lists());
    let mut builder = Builder::new(&schema, compiler.layout());
    let one = builder.formula(one);
    one.implies(&builder.formula(other), &std::cell::Cell::new(STEPS_MAX))
}

fn is_true(condition: &Node, values: &Values) -> bool {
    reference::evaluate(condition, values) == Cell::flag(true)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(3_000))]

    #[test]
    fn what_follows_holds_whenever_the_other_does(
        pair in related(),
        records in vec(values(), 12),
    ) {
        if follows(&pair) {
            for values in records.iter().filter(|values| is_true(&pair[0], values)) {
                prop_assert!(is_true(&pair[1], values), "{:?}", values);
            }
        }
    }
}

#[test]
fn related_conditions_often_follow() {
    use proptest::strategy::ValueTree as _;
    let mut runner = proptest::test_runner::TestRunner::deterministic();
    let pairs = related();
    let found = (0..200).filter(|_| follows(&pairs.new_tree(&mut runner).unwrap().current()));
    let found = found.count();
    assert!(found >= 20, "the property above would show little: {found}");
}

/// Conditions that alternate deeply would take forever to compare in full.
#[test]
fn comparing_comes_to_an_end() {
    let term = |at: usize| format!("transaction.amount > {at}");
    let nested = |from: usize| {
        (0..24).fold(term(from), |inner, at| {
            let sign = if at % 2 == 0 { "&&" } else { "||" };
            let other = format!("transaction.passengers != {}", from + at);
            format!("({inner} {sign} {other})")
        })
    };
    let schema = schema();
    let mut compiler = Compiler::new(&schema, lists());
    let ids: Vec<_> = (0..40)
        .map(|at| compiler.condition(&nested(at)).unwrap().id)
        .collect();
    let implications = compiler.implications(ids);
    for at in 0..40 {
        implications.first_implied(at, |_| true);
    }
    assert!(implications.steps_left.get() < STEPS_MAX);
}
