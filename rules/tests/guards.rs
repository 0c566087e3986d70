//! Guards of rules: who is watched, what a demotion changes, and what becomes of it when the policy changes.
#![expect(
    clippy::unwrap_used,
    reason = "a test that cannot go on should say where"
)]

use std::fs;

use tollgate_expr::Frame;
use tollgate_rules::{Demoted, Guard, Guarding, Logic, Verdict, load};
use tollgate_types::{
    CardId, Currency, EventTime, Money, Outcome, Record, Span, Transaction, TransactionId,
};

const RULES: &str = "rules:
  - {id: mine, description: Own., when: transaction.amount > 1, then: decline, reason: A, guard: {share_max: 50%, transactions_min: 10}}
  - {id: given, description: Default., when: transaction.amount > 2, then: decline, reason: B}
  - {id: never, description: Off., when: transaction.amount > 2, then: decline, reason: C, guard: off}
  - {id: mild, description: Challenges., when: transaction.amount > 1, then: challenge, reason: D}
  - {id: trusted, description: Allows., when: transaction.amount > 100, then: approve, reason: E}
";

const DEFAULT: Guard = Guard {
    share_max_per_million: 100_000,
    period: Span::from_seconds(60),
    transactions_min: 20,
};

/// The rules as a policy folder has them.
fn rules(text: &str) -> Logic {
    let folder = tempfile::tempdir().unwrap();
    for (name, text) in [
        (
            "schema.yaml",
            "entities:\n  card: {key: card_id, retention: 1d}\n",
        ),
        ("fx.yaml", "base: USD\n"),
        (
            "fallback.yaml",
            "otherwise: {then: approve}\nstatic: {then: approve}\n",
        ),
        ("rules/a.yaml", text),
    ] {
        let path = folder.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }
    load(folder.path()).unwrap().0
}

fn guarded(text: &str, earlier: &[&Logic]) -> Logic {
    let mut logic = rules(text);
    let earlier = earlier.iter().map(|logic| &logic.rules);
    logic.rules.guard(Some(DEFAULT), earlier);
    logic
}

fn at(second: i64) -> EventTime {
    EventTime::from_micros(1_770_000_000_000_000).plus(Span::from_seconds(second))
}

/// Decides a transaction for this amount, and counts it.
fn decide(logic: &Logic, second: i64, amount_minor: i64) -> (Verdict, Vec<Demoted>) {
    let currency = Currency::parse("USD").unwrap();
    let transaction = Transaction::new(
        TransactionId::parse("t1").unwrap(),
        at(second),
        CardId::parse("c1").unwrap(),
        Money {
            amount_minor,
            currency,
        },
        "m1".to_owned(),
    );
    let record = Record::new(&transaction, &logic.schema, &logic.rates).unwrap();
    let mut frame = Frame::new(&logic.layout, &record);
    let mut matches = logic.rules.matches();
    logic.rules.match_without_score(&mut frame, &mut matches);
    let verdict = matches.verdict();
    let demoted = matches.note(verdict.outcome, at(second));
    (verdict, demoted)
}

fn demoted(logic: &Logic) -> Vec<String> {
    logic
        .rules
        .demoted()
        .map(|(rule, _)| rule.id.to_string())
        .collect()
}

/// Plays transactions of this amount until a rule is demoted, and says which and after how many.
fn until_demoted(rules: &Logic, seconds: std::ops::Range<i64>, amount: i64) -> (String, i64) {
    for (count, second) in seconds.enumerate() {
        if let Some(first) = decide(rules, second, amount).1.first() {
            return (first.rule.to_string(), i64::try_from(count).unwrap() + 1);
        }
    }
    ("none".to_owned(), 0)
}

#[test]
fn each_rule_that_declines_is_held_to_its_own_guard_or_to_that_of_all() {
    let rules = guarded(RULES, &[]);
    assert!(
        matches!(rules.rules.rules()[0].guarding, Guarding::Own(guard) if guard.period == Span::from_seconds(600))
    );
    assert_eq!(until_demoted(&rules, 0..9, 300), ("none".to_owned(), 0));
    assert_eq!(until_demoted(&rules, 9..30, 300), ("mine".to_owned(), 1));
    assert_eq!(until_demoted(&rules, 10..60, 300), ("given".to_owned(), 10));
    // Nobody watches the one that is left, nor those that do not decline.
    assert_eq!(until_demoted(&rules, 20..600, 300), ("none".to_owned(), 0));
    assert_eq!(demoted(&rules), ["mine", "given"]);
}

#[test]
fn a_demoted_rule_is_reported_and_decides_nothing_until_it_is_resumed() {
    let rules = guarded(RULES, &[]);
    until_demoted(&rules, 0..60, 150);
    let (verdict, _) = decide(&rules, 60, 150);
    assert_eq!(verdict.outcome, Outcome::Challenge);
    assert_eq!(verdict.shadow_matches, ["mine".into()]);
    assert!(!rules.rules.resume("given", at(61)), "is not demoted");
    assert!(!rules.rules.resume("nobody", at(61)));
    assert!(rules.rules.resume("mine", at(61)));
    let (verdict, _) = decide(&rules, 61, 150);
    assert_eq!(verdict.outcome, Outcome::Decline);
    assert_eq!(demoted(&rules), Vec::<String>::new());
}

#[test]
fn what_an_allow_rule_lets_through_was_not_declined() {
    let rules = guarded(RULES, &[]);
    assert_eq!(
        until_demoted(&rules, 0..500, 20_000),
        ("none".to_owned(), 0)
    );
}

#[test]
fn a_rule_stays_demoted_in_a_policy_that_has_it_as_it_is_and_a_changed_one_begins_anew() {
    let first = guarded(RULES, &[]);
    until_demoted(&first, 0..60, 150);
    let other_rule = RULES.replace("transaction.amount > 2", "transaction.amount > 3");
    let second = guarded(&other_rule, &[&first]);
    second.rules.begin(Some(&first.rules), at(60));
    assert_eq!(demoted(&second), ["mine"]);
    let changed = RULES.replace("transaction.amount > 1,", "transaction.amount > 1.1,");
    let third = guarded(&changed, &[&second, &first]);
    third.rules.begin(Some(&second.rules), at(61));
    assert_eq!(demoted(&third), Vec::<String>::new());
    assert_eq!(until_demoted(&third, 61..100, 150), ("mine".to_owned(), 10));
    // Another guard is another rule.
    let freer = guarded(&RULES.replace("50%", "60%"), &[&first]);
    assert_eq!(demoted(&freer), Vec::<String>::new());
    // Resumed in one, resumed in all.
    assert!(second.rules.resume("mine", at(100)));
    assert_eq!(demoted(&first), Vec::<String>::new());
}

#[test]
fn a_new_rule_answers_for_the_traffic_since_it_is_live_and_not_for_that_before() {
    let first = guarded(RULES, &[]);
    for second in 0..500 {
        decide(&first, second, 50);
    }
    let wild = RULES.replace("transaction.amount > 1,", "transaction.amount > 0.1,");
    let second = guarded(&wild, &[&first]);
    second.rules.begin(Some(&first.rules), at(500));
    assert_eq!(
        until_demoted(&second, 500..600, 50),
        ("mine".to_owned(), 10)
    );
}

#[test]
fn without_a_default_only_rules_with_a_guard_are_watched() {
    let mut rules = rules(RULES);
    rules.rules.guard(None, std::iter::empty());
    assert_eq!(until_demoted(&rules, 0..100, 300), ("mine".to_owned(), 10));
    assert_eq!(until_demoted(&rules, 100..500, 300), ("none".to_owned(), 0));
}
