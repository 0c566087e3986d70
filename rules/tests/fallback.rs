//! What the fallback table answers, level by level, what its tests leave open, and which rules count with old histories.
#![expect(
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test that cannot go on should say where"
)]

use std::fs;

use tollgate_expr::Frame;
use tollgate_rules::{Logic, StaleAggregates, load};
use tollgate_types::{
    CardId, Cell, Currency, Degradation, EventTime, Money, Outcome, Record, Transaction,
    TransactionId,
};

const LEVELS: [Degradation; 4] = [
    Degradation::NoModel,
    Degradation::StaleFeatures,
    Degradation::RequestOnly,
    Degradation::Static,
];

fn logic(fallback: &str, rules: &str) -> Logic {
    let folder = tempfile::tempdir().unwrap();
    for (name, content) in [
        (
            "schema.yaml",
            "attributes: {}\nentities: {card: {key: card_id, retain: [amount], retention: 40d}}\n",
        ),
        ("fx.yaml", "base: USD\nrates: {EUR: 2}\n"),
        (
            "features.yaml",
            "amount: transaction.amount\ncount: card.last(\"1h\").count()\nbusy: features.count > 3\n",
        ),
        ("fallback.yaml", fallback),
        ("rules/a.yaml", rules),
    ] {
        let path = folder.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    }
    let (logic, warnings) = load(folder.path()).unwrap_or_else(|errors| panic!("{errors}"));
    assert_eq!(warnings.render(), "");
    logic
}

/// A payment of this many dollars, in a frame without histories.
fn with_frame<T>(logic: &Logic, dollars: i64, test: impl FnOnce(Frame<'_>) -> T) -> T {
    let transaction = Transaction::new(
        TransactionId::parse("t1").unwrap(),
        EventTime::from_micros(1),
        CardId::parse("c1").unwrap(),
        Money {
            amount_minor: dollars * 100,
            currency: Currency::parse("USD").unwrap(),
        },
        "m1".to_owned(),
    );
    let record = Record::new(&transaction, &logic.schema, &logic.rates).unwrap();
    let mut frame = Frame::new(&logic.layout, &record);
    logic.fill_lookups(&record, &mut frame);
    frame.evaluate_features(&logic.layout);
    test(frame)
}

const BY_LEVEL: &str = "\
cases:
  - id: large
    description: Large.
    when: transaction.amount > 100
    then: challenge
    reason: LARGE
    levels: [request_only, stale_features]
  - id: sizeable
    description: Sizeable.
    when: transaction.amount > 50
    then: flag
    reason: SIZEABLE
otherwise:
  no_model: {then: approve}
  stale_features: {then: flag, reason: STALE}
  request_only: {then: decline, reason: UNSEEN, description: Nothing was known.}
static: {then: decline, reason: BLIND}
";

#[test]
fn each_level_has_its_first_case_that_matches_or_its_own_last_answer() {
    use Outcome::{Approve, Challenge, Decline, Flag};
    let logic = logic(BY_LEVEL, "rules: []\n");
    for (dollars, expected) in [
        (200, [Flag, Challenge, Challenge, Decline]),
        (60, [Flag, Flag, Flag, Decline]),
        (10, [Approve, Flag, Decline, Decline]),
    ] {
        let answers = with_frame(&logic, dollars, |frame| {
            LEVELS.map(|level| logic.fallback.answer(&frame, level).0)
        });
        assert_eq!(answers, expected, "{dollars}");
    }
    let reason = with_frame(&logic, 10, |frame| {
        logic.fallback.answer(&frame, Degradation::RequestOnly).1
    });
    let reason = reason.unwrap();
    assert_eq!(
        (&*reason.rule_id, &*reason.description),
        ("otherwise", "Nothing was known.")
    );
}

#[test]
fn tests_of_the_table_run_and_say_what_they_leave_open() {
    let tested = BY_LEVEL
        .replace(
            "    levels: [request_only, stale_features]\n",
            "    levels: [request_only, stale_features]\n    tests:\n      \
             - {name: large, transaction: {amount: 101}, expect: challenge}\n      \
             - {name: not at no_model, transaction: {amount: 101}, level: no_model, expect: no match}\n",
        )
        .replace(
            "  no_model: {then: approve}\n",
            "  no_model: {then: approve, tests: [{name: small, transaction: {amount: 5}, expect: approve}]}\n",
        );
    let logic = logic(&tested, "rules: []\n");
    let run = logic.run_tests(&mut |_, _| panic!("the table reads no history"));
    assert_eq!((run.tests, run.failures.render()), (3, String::new()));
    let open = logic.uncovered(&run);
    let open: Vec<_> = open.iter().map(|note| note.message.as_str()).collect();
    assert_eq!(
        open,
        [
            "in the tests of `large`, `transaction.amount > 100` is never false",
            "no test makes `sizeable` match",
            "no test makes `otherwise` match",
            "no test makes `otherwise` match",
        ]
    );
}

const RULES: &str = "\
rules:
  - {id: direct, description: x, when: card.last(\"1h\").count() > 3, then: decline, reason: A}
  - {id: by-feature, description: x, when: features.busy, then: decline, reason: A}
  - {id: in-part, description: x, when: transaction.amount < 200 || features.busy, then: flag, reason: A}
  - {id: not-there, description: x, when: '!has(card.last(\"1d\").max(amount))', then: decline, reason: A}
  - {id: allowed, description: x, when: 'transaction.amount > 5 && card.last(\"1h\").count() < 99', then: approve}
  - {id: request, description: x, when: transaction.amount > 70, then: flag, reason: B}
  - {id: by-other-feature, description: x, when: features.amount > 60, then: challenge, reason: C}
";

#[test]
fn rules_that_read_an_aggregate_can_be_left_out_as_a_whole() {
    let logic = logic(BY_LEVEL, RULES);
    let reads: Vec<bool> = logic
        .rules
        .rules()
        .iter()
        .map(|rule| rule.reads_aggregates)
        .collect();
    assert_eq!(reads, [true, true, true, true, true, false, false]);
    // Whatever is in their slots, and also where nothing is.
    for count in [Cell::MISSING, Cell::number(0.0), Cell::number(50.0)] {
        let outcome = with_frame(&logic, 100, |mut frame| {
            for (_, slot) in &logic.layout.aggregates {
                frame.set(*slot, count);
            }
            frame.evaluate_features(&logic.layout);
            let mut matches = logic.rules.matches();
            logic
                .rules
                .match_without_aggregates(&mut frame, &mut matches);
            assert!(!matches.is_allowed());
            let ids: Vec<_> = matches.rules().map(|rule| rule.id.to_string()).collect();
            assert_eq!(ids, ["request", "by-other-feature"]);
            matches.outcome()
        });
        assert_eq!(outcome, Outcome::Challenge);
    }
}

#[test]
fn the_policy_says_whether_old_aggregates_count() {
    let of = |more: &str| {
        let logic = logic(&format!("{BY_LEVEL}{more}"), "rules: []\n");
        logic.fallback.stale_aggregates()
    };
    assert_eq!(of(""), StaleAggregates::Count);
    assert_eq!(
        of("stale_features: {aggregates: count}\n"),
        StaleAggregates::Count
    );
    assert_eq!(
        of("stale_features: {aggregates: ignore}\n"),
        StaleAggregates::Ignore
    );
}
