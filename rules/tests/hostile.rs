//! Policies made to take time or memory without end: each ends soon, and is loaded or refused with a reason.
//!
//! What would hang is caught by the test run itself; what would fill memory shows in how much is said and kept.
#![expect(
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test that cannot go on should say where"
)]

use std::fmt::Write;
use std::fs;

use tollgate_rules::{Logic, load};
use tollgate_source::Diagnostics;

const SCHEMA: &str = "attributes: {product: {type: text, values: [flight, hotel]}}\n\
                      entities: {card: {key: card_id, retain: [amount], retention: 40d}}\n";

/// What the files of a policy come to, put beside a good schema and a good fallback table.
fn load_with(files: &[(&str, String)]) -> Result<(Logic, Diagnostics), Diagnostics> {
    let folder = tempfile::tempdir().unwrap();
    let good = [
        ("schema.yaml", SCHEMA),
        ("fx.yaml", "base: USD\n"),
        ("rules/none.yaml", "rules: []\n"),
        (
            "fallback.yaml",
            "otherwise: {then: approve}\nstatic: {then: approve}\n",
        ),
    ];
    let given = files.iter().map(|(name, text)| (*name, text.as_str()));
    for (name, text) in good.into_iter().chain(given) {
        assert!(
            text.len() <= 1 << 20 || name.ends_with(".csv"),
            "{name}: {}",
            text.len()
        );
        let path = folder.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }
    load(folder.path())
}

fn loaded(files: &[(&str, String)]) -> (Logic, Diagnostics) {
    load_with(files).unwrap_or_else(|errors| panic!("{}", errors.render()))
}

/// The first thing that is said, after everything was put into words.
fn refused(files: &[(&str, String)]) -> String {
    let said = load_with(files).unwrap_err();
    assert!(said.render().len() < 4 << 20);
    let errors = said.iter();
    let mut errors = errors.filter(|note| note.severity == tollgate_source::Severity::Error);
    errors.next().unwrap().message.clone()
}

fn rule(id: &str, when: &str, more: &str) -> String {
    format!("- {{id: {id}, description: x, when: '{when}', then: flag, reason: A{more}}}\n")
}

fn rules(count: usize, rule: impl Fn(usize) -> String) -> String {
    let mut text = "rules:\n".to_owned();
    for at in 0..count {
        text.push_str(&rule(at));
    }
    text
}

#[test]
fn a_mistake_on_every_line_is_said_a_thousand_times_at_most() {
    let lines = rules(120_000, |_| "- a\n".to_owned());
    let message = "a rule must be a map of keys and values; this is a single value";
    assert_eq!(refused(&[("rules/a.yaml", lines)]), message);
    let lines = rules(10_000, |_| rule("a", "transaction.amuont > 5", ""));
    assert_eq!(
        refused(&[("rules/a.yaml", lines)]),
        "the id `a` is used twice"
    );
    // On one line.
    let lines = format!("rules: [{}]\n", "a, ".repeat(100_000));
    assert_eq!(refused(&[("rules/a.yaml", lines)]), message);
}

#[test]
fn words_without_end_are_shown_short_and_not_compared() {
    let long = "x".repeat(400_000);
    let schema = format!(
        "attributes: {{product: {{type: text, values: [{long}a, {long}b]}}}}\nentities: {{card: {{key: card_id, retention: 1d}}}}\n"
    );
    // The later of two files of a name counts.
    refused(&[
        ("schema.yaml", schema),
        (
            "rules/a.yaml",
            rules(1, |_| {
                rule(
                    "a",
                    "transaction.amount > 5",
                    &format!(
                        ", tests: [{{name: a, transaction: {{product: {long}}}, expect: match}}]"
                    ),
                )
            }),
        ),
    ]);
    let keys = format!("rules:\n- {{id: {long}, description: x, {long}: 1}}\n");
    refused(&[("rules/a.yaml", keys)]);
    let list = format!("value,{}\n", "y".repeat(8 << 20));
    assert_eq!(
        refused(&[("lists/a.csv", list)]),
        "this line has more than 8192 bytes"
    );
}

#[test]
fn a_list_that_has_every_value_twice_is_read() {
    let mut list = "value\n".to_owned();
    for at in 0..400_000 {
        writeln!(list, "{}", at / 2).unwrap();
    }
    let (_, warnings) = loaded(&[("lists/a.csv", list)]);
    assert!(
        warnings
            .render()
            .contains("more warnings than the 20 shown")
    );
}

#[test]
fn histories_of_tests_are_bounded_all_together() {
    let test = |at: usize| {
        format!(
            "{{name: t{at}, history: {{repeat: 10000}}, transaction: {{merchant_id: some-merchant}}, expect: no match}}"
        )
    };
    let tests: Vec<String> = (0..8_000).map(test).collect();
    let tests = format!(", tests: [{}]", tests.join(", "));
    let counting = rule("a", "card.last(\"1d\").count() > 5", &tests);
    assert_eq!(
        refused(&[("rules/a.yaml", rules(1, |_| counting.clone()))]),
        "with this, the tests of the policy have too much history"
    );
    // A few long texts are as much as many short ones.
    let tests = format!(
        ", tests: [{{name: t, history: {{repeat: 10000}}, transaction: {{merchant_id: {}}}, expect: match}}]",
        "x".repeat(900_000)
    );
    let counting = rule("a", "card.last(\"1d\").count() > 5", &tests);
    assert_eq!(
        refused(&[("rules/a.yaml", rules(1, |_| counting.clone()))]),
        "with this, the tests of the policy have too much history"
    );
}

#[test]
fn features_that_read_one_another_are_loaded_with_rules_that_read_some() {
    let mut features = "f0: transaction.amount\nf1: features.f0 * 2\n".to_owned();
    for at in 2..4_000 {
        let source = format!("f{at}: features.f{} + features.f{}\n", at - 1, at - 2);
        features.push_str(&source);
    }
    let tests =
        ", tests: [{name: a, expect: match}, {name: b, given: {features.f3: 1}, expect: no match}]";
    let rules = rules(1_500, |at| {
        rule(&format!("r{at}"), &format!("features.f3 > {at}.5"), tests)
    });
    let files = [("features.yaml", features), ("rules/a.yaml", rules)];
    let (logic, _) = loaded(&files);
    assert_eq!(logic.layout.features.len(), 4_000);
    let run = logic.run_tests(&mut |_, _| {});
    assert_eq!(run.tests, 3_000);
}

#[test]
fn a_schema_with_endless_fields_is_refused() {
    let mut schema = "attributes:\n".to_owned();
    for at in 0..30_000 {
        writeln!(schema, "  a{at}: text").unwrap();
    }
    let names: Vec<String> = (0..40_000).map(|at| format!("b{at}")).collect();
    let retained = names.join(", ");
    writeln!(
        schema,
        "entities: {{card: {{key: card_id, retention: 1d, retain: [{retained}]}}}}"
    )
    .unwrap();
    let message = "more than 256 fields, entities or columns";
    assert_eq!(refused(&[("schema.yaml", schema)]), message);
}

#[test]
fn long_conditions_with_tests_are_taken_apart_soon() {
    let sum = format!("{}1 > 5", "transaction.amount + ".repeat(120));
    let nested = format!(
        "{}transaction.amount > 5{}",
        "(transaction.amount > 1 && ".repeat(60),
        ")".repeat(60)
    );
    let tests = ", tests: [{name: a, expect: match}, {name: b, transaction: {amount: 0}, expect: no match}]";
    let rules = rules(60, |at| {
        let when = if at % 2 == 0 { &sum } else { &nested };
        rule(&format!("r{at}"), when, tests)
    });
    let (logic, _) = loaded(&[("rules/a.yaml", rules)]);
    assert_eq!(logic.run_tests(&mut |_, _| {}).tests, 120);
}

#[test]
fn many_large_patterns_are_refused_or_loaded() {
    let rules = rules(1_500, |at| {
        // An eighth of a megabyte each.
        let pattern = format!("transaction.merchant_id.matches(\"{at}\\\\d{{30}}\")");
        rule(&format!("r{at}"), &pattern, "")
    });
    let said = refused(&[("rules/a.yaml", rules)]);
    assert!(
        said.starts_with("with this, all conditions and features take"),
        "{said}"
    );
    let mut features = String::new();
    for at in 0..1_500 {
        writeln!(
            features,
            "f{at}: transaction.merchant_id.matches('{at}\\\\d{{30}}')"
        )
        .unwrap();
    }
    let said = refused(&[("features.yaml", features)]);
    assert!(
        said.starts_with("with this, all conditions and features take"),
        "{said}"
    );
}
