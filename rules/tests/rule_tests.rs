//! What tests beside rules ask for, and what is known once they have run.
#![expect(
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test that cannot go on should say where"
)]

use std::fs;

use tollgate_rules::{Logic, Past, TestRun, load};
use tollgate_types::{Cell, Channel, Outcome};

/// Loads a policy with these rules.
fn logic(rules: &str) -> Logic {
    let folder = tempfile::tempdir().unwrap();
    for (name, content) in [
        (
            "schema.yaml",
            "attributes: {departure_time: time, product: {type: text, values: [flight, hotel, car]}}\n\
             entities: {card: {key: card_id, retain: [amount], retention: 40d}}\n",
        ),
        ("fx.yaml", "base: USD\nrates: {EUR: 2}\n"),
        (
            "features.yaml",
            "count: card.last(\"1h\").count()\nbusy: features.count > 3\n",
        ),
        ("lists/blocked.csv", "value,expires_at\nm1,2026-06-01\n"),
        (
            "fallback.yaml",
            "cases: [{id: listed, description: x, when: transaction.merchant_id in lists.blocked, then: approve}]\n\
             otherwise: {then: approve}\nstatic: {then: approve}\n",
        ),
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

/// One rule with these tests.
fn rule(when: &str, more: &str, tests: &str) -> String {
    format!(
        "rules:\n  - id: tested\n    description: x\n    when: {when}\n    then: decline\n    reason: A\n\
         {more}    tests:\n{tests}"
    )
}

/// Runs tests that ask for no history.
fn run(logic: &Logic) -> TestRun {
    logic.run_tests(&mut |_, _| panic!("no history was to be asked for"))
}

fn failed(run: &TestRun) -> Vec<&str> {
    let names = run.failures.iter().map(|failure| failure.message.as_str());
    names
        .map(|message| message.split('`').nth(1).unwrap())
        .collect()
}

#[test]
fn a_history_lies_before_the_transaction_and_is_like_it() {
    let logic = logic(&rule(
        "card.last(\"1d\").count() >= 3",
        "",
        "      - name: three of a day\n        transaction:\n          amount: 12.50\n          currency: EUR\n          \
         channel: ecommerce\n          departure_time: +2h\n          event_time: 2026-03-01T10:00:00Z\n        \
         history:\n          - {repeat: 2, every: 10m, amount: 1}\n          \
         - {ago: 1h, declined: true, fraud: true, known_after: 30m, channel: missing}\n        expect: decline\n",
    ));
    let mut scenes = 0;
    let run = logic.run_tests(&mut |scene, frame| {
        scenes += 1;
        let of = |past: &Past| {
            let transaction = &past.transaction;
            (
                transaction.event_time.to_string(),
                transaction.amount.amount_minor,
                transaction.channel,
                past.declined,
            )
        };
        let expected = [
            ("2026-03-01T09:00:00Z", 1250, None, true),
            ("2026-03-01T09:40:00Z", 100, Some(Channel::Ecommerce), false),
            ("2026-03-01T09:50:00Z", 100, Some(Channel::Ecommerce), false),
        ];
        let expected = expected
            .map(|(time, amount, channel, declined)| (time.to_owned(), amount, channel, declined));
        assert_eq!(scene.history.iter().map(of).collect::<Vec<_>>(), expected);
        let labels: Vec<_> = scene
            .history
            .iter()
            .map(|past| past.label.clone())
            .collect();
        let label = labels[0].as_ref().unwrap();
        assert_eq!(
            (label.fraud, label.known_at.to_string().as_str()),
            (true, "2026-03-01T09:30:00Z")
        );
        assert_eq!(label.transaction_id, scene.history[0].transaction.id);
        assert_eq!(labels[1..], [None, None]);
        let mut ids: Vec<_> = scene
            .history
            .iter()
            .map(|past| past.transaction.id.as_str())
            .collect();
        ids.dedup();
        assert_eq!(ids.len(), 3, "each is a transaction of its own");
        let [(_, slot)] = scene.layout.aggregates[..] else {
            panic!("only what the rule reads is asked for");
        };
        frame.set(slot, Cell::number(3.0));
    });
    assert_eq!((scenes, run.tests), (1, 1));
    assert!(run.failures.is_empty(), "{}", run.failures);
}

#[test]
fn what_a_test_does_not_say_is_usual_or_missing() {
    for (when, matches) in [
        ("transaction.amount == 10", true),
        ("transaction.currency == \"USD\"", true),
        ("transaction.merchant_id == \"test-merchant\"", true),
        ("transaction.card_id == \"test-card\"", true),
        ("transaction.event_time.getHours(\"UTC\") == 12", true),
        (
            "has(transaction.device_id) || has(transaction.channel)",
            false,
        ),
        (
            "has(transaction.product) || has(transaction.departure_time)",
            false,
        ),
    ] {
        let expect = if matches { "match" } else { "no match" };
        let tests = format!("      - {{name: usual, expect: {expect}}}\n");
        let run = run(&logic(&rule(when, "", &tests)));
        assert!(run.failures.is_empty(), "{when}\n{}", run.failures);
    }
}

#[test]
fn given_values_stand_in_for_what_would_be_computed() {
    let logic = logic(&rule(
        "features.busy && transaction.merchant_id in lists.blocked && transaction.amount > 5",
        "",
        "      - name: by the feature\n        given: {features.busy: true, transaction.merchant_id in lists.blocked: true}\n        expect: match\n\
         \x20     - name: by what the feature reads\n        given: {features.count: 4, transaction.merchant_id in lists.blocked: true}\n        expect: match\n\
         \x20     - name: by what that reads\n        given: {card.last(\"1h\").count(): 4}\n        transaction: {merchant_id: m1}\n        expect: match\n\
         \x20     - name: one less\n        given: {card.last(\"1h\").count(): 3}\n        transaction: {merchant_id: m1}\n        expect: no match\n\
         \x20     - name: missing\n        given: {card.last(\"1h\").count(): missing}\n        transaction: {merchant_id: m1}\n        expect: no match\n\
         \x20     - name: a field\n        given: {card.last(\"1h\").count(): 4, transaction.amount: 5, transaction.merchant_id: m1}\n        expect: no match\n\
         \x20     - name: the entry has expired\n        given: {card.last(\"1h\").count(): 4}\n        \
         transaction: {merchant_id: m1, event_time: 2026-06-01}\n        expect: no match\n\
         \x20     - name: wrong on purpose\n        given: {card.last(\"1h\").count(): 4}\n        \
         transaction: {merchant_id: m1}\n        expect: no match\n",
    ));
    // Where the feature is given its aggregate still belongs to the layout, so it is asked for and not looked at.
    let run = logic.run_tests(&mut |_, _| {});
    assert_eq!(failed(&run), ["wrong on purpose"], "{}", run.failures);
    assert_eq!(run.tests, 8);
}

#[test]
fn a_test_asks_neither_for_the_mode_nor_for_the_percentage_but_for_the_period() {
    for more in [
        "",
        "    mode: off\n",
        "    mode: shadow\n",
        "    percentage: 0.0001\n",
    ] {
        let tests = "      - {name: matches, transaction: {amount: 7}, expect: decline}\n";
        let run = run(&logic(&rule("transaction.amount > 5", more, tests)));
        assert!(run.failures.is_empty(), "{more}\n{}", run.failures);
    }
    let tests = "      - {name: inside, transaction: {amount: 7}, expect: match}\n\
                 \x20     - {name: after, transaction: {amount: 7, event_time: 2030-01-01}, expect: no match}\n";
    for period in [
        "    until: 2024-01-01\n",
        "    from: 2028-01-01\n    until: 2029-01-01\n",
    ] {
        let run = run(&logic(&rule("transaction.amount > 5", period, tests)));
        assert!(run.failures.is_empty(), "{period}\n{}", run.failures);
    }
}

const LEFT_OPEN: &str = "\
rules:
  - id: both-ways
    description: Nothing is left open.
    when: transaction.amount > 5
    then: flag
    reason: A
    tests:
      - {name: above, transaction: {amount: 6}, expect: flag}
      - {name: below, transaction: {amount: 5}, expect: no match}
  - id: untested
    description: No test at all.
    when: transaction.amount > 6
    then: challenge
    reason: A
  - id: never-made-to-match
    description: Only a near miss.
    when: transaction.amount > 7 && has(transaction.product)
    then: decline
    reason: A
    tests:
      - {name: below, transaction: {amount: 7}, expect: no match}
  - id: one-term-always-true
    description: The second term is never what decides.
    when: >-
      transaction.amount > 8
      && (transaction.product == \"flight\" || transaction.product == \"hotel\")
    then: flag
    reason: A
    mode: shadow
    tests:
      - {name: above, transaction: {amount: 9, product: flight}, expect: flag}
      - {name: below, transaction: {amount: 8, product: flight}, expect: no match}
  - id: off
    description: Is not asked for tests.
    when: transaction.amount > 9
    then: flag
    reason: A
    mode: off
";

#[test]
fn rules_that_no_test_makes_match_and_terms_seen_one_way_are_named() {
    let logic = logic(LEFT_OPEN);
    let run = run(&logic);
    assert!(run.failures.is_empty(), "{}", run.failures);
    let open = logic.uncovered(&run);
    let said: Vec<_> = open
        .iter()
        .map(|note| (note.position(), note.message.as_str()))
        .collect();
    assert_eq!(
        said,
        [
            ((10, 9), "no test makes `untested` match"),
            ((15, 9), "no test makes `never-made-to-match` match"),
            (
                (17, 11),
                "in the tests of `never-made-to-match`, `transaction.amount > 7` is never true"
            ),
            (
                (17, 37),
                "in the tests of `never-made-to-match`, `has(transaction.product)` is never true"
            ),
            (
                (26, 11),
                "in the tests of `one-term-always-true`, `transaction.product == \"flight\"` is never false"
            ),
            (
                (26, 46),
                "in the tests of `one-term-always-true`, `transaction.product == \"hotel\"` is never true"
            ),
            // The fallback table is a policy's as well.
            ((1, 14), "no test makes `listed` match"),
            ((2, 1), "no test makes `otherwise` match"),
        ]
    );
    assert_eq!(logic.rules.rules()[0].answer.outcome(), Outcome::Flag);
}
