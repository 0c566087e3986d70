//! What holds for every set of rules, on random ones.
#![expect(
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test that cannot go on should say where"
)]

use std::collections::BTreeMap;
use std::fs;

use proptest::prelude::*;
use proptest::sample::select;
use tollgate_expr::{Compiler, Frame};
use tollgate_rules::{Logic, Verdict, load};
use tollgate_source::Diagnostics;
use tollgate_types::{
    CardId, Cell, Channel, Currency, EventTime, FieldType, Money, Record, SchemaBuilder,
    Transaction, TransactionId,
};

const TERMS: [&str; 16] = [
    "transaction.amount > 3",
    "transaction.amount >= 5",
    "transaction.amount < 7",
    "6 < transaction.amount",
    "transaction.amount == 5",
    "transaction.channel == \"ecommerce\"",
    "transaction.channel != \"ecommerce\"",
    "transaction.merchant_id in lists.blocked",
    "!has(transaction.channel)",
    "model.score > 0.5",
    "model.score > 0.9",
    "(transaction.amount < 2 || transaction.channel == \"ecommerce\")",
    "transaction.channel in [\"ecommerce\", \"card_present\"]",
    "(transaction.amount >= 5 || !has(transaction.channel))",
    "(has(transaction.channel) ? transaction.amount > 3 : model.score > 0.5)",
    "transaction.merchant_id.startsWith(\"m1\")",
];

/// Around the moment at which transactions happen.
const PERIODS: [&str; 5] = [
    "",
    "",
    "until: 2026-01-01",
    "from: 2026-01-01",
    "until: 2027-01-01",
];

const SHARES: [&str; 5] = ["", "", "", "percentage: 50", "percentage: 90"];

#[derive(Clone, Debug)]
struct WrittenRule {
    terms: Vec<&'static str>,
    outcome: &'static str,
    mode: &'static str,
    overrides: bool,
    period: &'static str,
    share: &'static str,
    has_guard: bool,
}

fn rule() -> impl Strategy<Value = WrittenRule> {
    rule_of(&TERMS, 3)
}

/// Of few terms each, so that conditions often follow from one another.
fn similar_rules() -> impl Strategy<Value = Vec<WrittenRule>> {
    prop::collection::vec(rule_of(&TERMS, 2), 4..16)
}

fn rule_of(terms: &'static [&'static str], terms_max: usize) -> impl Strategy<Value = WrittenRule> {
    (
        prop::collection::vec(select(terms), 1..=terms_max),
        select(&["approve", "flag", "challenge", "decline"][..]),
        select(&["enforce", "enforce", "shadow", "off"][..]),
        any::<bool>(),
        select(&PERIODS),
        select(&SHARES),
        any::<bool>(),
    )
        .prop_map(
            |(terms, outcome, mode, overrides, period, share, has_guard)| WrittenRule {
                terms,
                outcome,
                mode,
                overrides: overrides && outcome != "approve",
                period,
                share,
                has_guard: has_guard || outcome != "decline",
            },
        )
        .prop_filter("can never be true, so it is not loaded", |rule| {
            can_be_true(&rule.condition())
        })
}

fn can_be_true(condition: &str) -> bool {
    let schema = SchemaBuilder::default().build();
    let lists = BTreeMap::from([("blocked".to_owned(), FieldType::Text)]);
    Compiler::new(&schema, lists).condition(condition).is_ok()
}

impl WrittenRule {
    fn condition(&self) -> String {
        self.terms.join(" && ")
    }

    fn text(&self, number: usize) -> String {
        let Self {
            outcome,
            mode,
            overrides,
            ..
        } = self;
        let mut text = format!(
            "  - id: r{number}\n    description: x\n    when: >-\n      {}\n    then: {outcome}\n    \
             reason: R{number}\n    mode: {mode}\n",
            self.condition()
        );
        if *overrides {
            text.push_str("    overrides_allow: true\n");
        }
        if !self.has_guard {
            text.push_str("    guard: off\n");
        }
        for key in [self.period, self.share]
            .into_iter()
            .filter(|key| !key.is_empty())
        {
            text.push_str(&format!("    {key}\n"));
        }
        text
    }
}

/// Rules keep their ids, whichever of them are there.
fn load_rules(rules: &[(usize, WrittenRule)]) -> (Logic, Diagnostics) {
    let texts: String = rules
        .iter()
        .map(|(number, rule)| rule.text(*number))
        .collect();
    let rules = if texts.is_empty() {
        "rules: []\n".to_owned()
    } else {
        format!("rules:\n{texts}")
    };
    let folder = tempfile::tempdir().unwrap();
    for (name, content) in [
        (
            "schema.yaml",
            "entities: {card: {key: card_id, retention: 1d}}\n",
        ),
        ("fx.yaml", "base: USD\n"),
        (
            "features.yaml",
            "blocked: transaction.merchant_id in lists.blocked\n",
        ),
        ("lists/blocked.csv", "value\nm1\n"),
        (
            "fallback.yaml",
            "otherwise: {then: approve}\nstatic: {then: approve}\n",
        ),
        ("rules/a.yaml", &rules),
    ] {
        let path = folder.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    }
    load(folder.path()).unwrap_or_else(|errors| panic!("{rules}\n{errors}"))
}

#[derive(Clone, Debug)]
struct Scored {
    amount: i64,
    channel: Option<Channel>,
    merchant: &'static str,
    card: u8,
    /// In tenths; absent where the model did not answer.
    score: Option<u8>,
}

fn scored() -> impl Strategy<Value = Scored> {
    let channels = [None, Some(Channel::Ecommerce), Some(Channel::CardPresent)];
    (
        0..10_i64,
        select(channels.to_vec()),
        select(&["m1", "m2"][..]),
        0..6_u8,
        prop::option::of(0..=10_u8),
    )
        .prop_map(|(amount, channel, merchant, card, score)| Scored {
            amount,
            channel,
            merchant,
            card,
            score,
        })
}

/// The verdict, and whether it was final before the score.
fn decide(logic: &Logic, scored: &Scored) -> (Verdict, bool) {
    let transaction = Transaction {
        channel: scored.channel,
        ..Transaction::new(
            TransactionId::parse("t1").unwrap(),
            EventTime::from_unix(1_780_000_000, 0).unwrap(),
            CardId::parse(&format!("card-{}", scored.card)).unwrap(),
            Money {
                amount_minor: scored.amount * 100,
                currency: Currency::parse("USD").unwrap(),
            },
            scored.merchant.to_owned(),
        )
    };
    let record = Record::new(&transaction, &logic.schema, &logic.rates).unwrap();
    let mut frame = Frame::new(&logic.layout, &record);
    logic.fill_lookups(&record, &mut frame);
    let mut matches = logic.rules.matches();
    logic.rules.match_without_score(&mut frame, &mut matches);
    let is_final = matches.is_final();
    let early = matches.outcome();
    if let Some(tenths) = scored.score {
        frame.set(logic.layout.score, Cell::number(f64::from(tenths) / 10.0));
        logic.rules.match_with_score(&mut frame, &mut matches);
    }
    let verdict = matches.verdict();
    assert!(
        !is_final || verdict.outcome == early,
        "final, and changed all the same"
    );
    (verdict, is_final)
}

fn numbered(rules: Vec<WrittenRule>) -> Vec<(usize, WrittenRule)> {
    rules.into_iter().enumerate().collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    /// DE-1: shadow rules are as if they were off or not there, but for being reported.
    #[test]
    fn shadow_rules_change_neither_outcome_nor_reasons(
        rules in prop::collection::vec(rule(), 0..10),
        transactions in prop::collection::vec(scored(), 8),
    ) {
        let all = numbered(rules);
        let is_shadow = |rule: &WrittenRule| rule.mode == "shadow";
        let without: Vec<_> = all.iter().filter(|(_, rule)| !is_shadow(rule)).cloned().collect();
        let off: Vec<_> = all
            .iter()
            .map(|(number, rule)| {
                let mode = if is_shadow(rule) { "off" } else { rule.mode };
                (*number, WrittenRule { mode, ..rule.clone() })
            })
            .collect();
        let (with, _) = load_rules(&all);
        let others = [load_rules(&without).0, load_rules(&off).0];
        for scored in &transactions {
            let (verdict, is_final) = decide(&with, scored);
            for other in &others {
                let (expected, expected_final) = decide(other, scored);
                prop_assert_eq!(verdict.outcome, expected.outcome);
                prop_assert_eq!(&verdict.reasons, &expected.reasons);
                prop_assert_eq!(is_final, expected_final);
                prop_assert!(expected.shadow_matches.is_empty());
            }
            for id in &verdict.shadow_matches {
                let number: usize = id.trim_start_matches('r').parse().unwrap();
                prop_assert!(is_shadow(&all[number].1), "{} is no shadow rule", id);
            }
        }
    }

    /// A rule that is said never to decide, or not while another one does, can be taken out, and no outcome changes:
    /// no guard demotes anything here.
    #[test]
    fn rules_that_never_decide_do_not(
        rules in similar_rules(),
        transactions in prop::collection::vec(scored(), 24),
    ) {
        let all = numbered(rules);
        let (with, warnings) = load_rules(&all);
        for warning in &warnings {
            if !says_idle(&warning.message) {
                continue;
            }
            let id = warning.message.split('`').nth(1).unwrap();
            let number: usize = id.trim_start_matches('r').parse().unwrap();
            let rest: Vec<_> = all.iter().filter(|(other, _)| *other != number).cloned().collect();
            let (without, _) = load_rules(&rest);
            for scored in &transactions {
                let (verdict, _) = decide(&with, scored);
                let (expected, _) = decide(&without, scored);
                prop_assert_eq!(verdict.outcome, expected.outcome, "without {}", id);
            }
        }
    }
}

fn says_idle(message: &str) -> bool {
    ["never decides", "decides only while"]
        .iter()
        .any(|words| message.contains(words))
}

#[test]
fn random_sets_have_rules_that_never_decide() {
    use proptest::strategy::ValueTree as _;
    use proptest::test_runner::TestRunner;
    let mut runner = TestRunner::deterministic();
    let sets = similar_rules();
    let found = (0..100).filter(|_| {
        let rules = sets.new_tree(&mut runner).unwrap().current();
        let (_, warnings) = load_rules(&numbered(rules));
        warnings.iter().any(|warning| says_idle(&warning.message))
    });
    assert!(found.count() >= 20, "the property above would show nothing");
}
