//! What must hold of every generated history, whatever the seed.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use tollgate_types::{CardId, Currency, Span, TransactionId, contains_card_number};

use super::*;

fn events(cards: u32, days: u32, seed: u64) -> impl Iterator<Item = Event> {
    Generator::new(Config::new(cards, days, seed))
}

fn transactions(cards: u32, days: u32, seed: u64) -> Vec<Generated> {
    let only = |event| match event {
        Event::Transaction(generated) => Some(*generated),
        Event::Label(_) => None,
    };
    events(cards, days, seed).filter_map(only).collect()
}

#[test]
fn the_same_seed_gives_the_same_events_and_another_seed_does_not() {
    let first: Vec<_> = events(150, 12, 5).collect();
    assert!(first == events(150, 12, 5).collect::<Vec<_>>());
    assert!(first != events(150, 12, 6).collect::<Vec<_>>());
}

#[test]
fn more_days_only_add_to_the_end() {
    let short = transactions(150, 5, 5);
    let long = transactions(150, 9, 5);
    assert_eq!(short[..], long[..short.len()]);
    assert!(long.len() > short.len());
}

#[test]
fn events_come_in_the_order_of_the_moment_they_are_published() {
    let all: Vec<_> = events(300, 20, 1).collect();
    assert!(all.windows(2).all(|pair| pair[0].at() <= pair[1].at()));
    let inside = |event: &Event| {
        event.at() >= midnight(0) && (event.at() < midnight(20) || !event.is_transaction())
    };
    assert!(all.iter().all(inside));
}

#[test]
fn labels_follow_their_transaction_by_two_to_ten_days() {
    let mut seen = HashMap::new();
    let mut labels = 0;
    for event in events(400, 25, 2) {
        match event {
            Event::Transaction(generated) => {
                let card = generated.event.transaction.unwrap();
                let truth = (
                    generated.event_time,
                    generated.fraud.is_some(),
                    card.card_id,
                );
                assert!(seen.insert(card.transaction_id, truth).is_none());
            }
            Event::Label(known) => {
                let (at, fraud, card) = seen.remove(&known.label.transaction_id).unwrap();
                let delay = known.known_at.since(at);
                assert!(
                    delay >= Span::from_days(2) && delay <= Span::from_days(10),
                    "{delay}"
                );
                assert_eq!((fraud, card), (known.label.fraud, known.card_id));
                labels += 1;
            }
        }
    }
    assert!(labels > 100);
    assert!(
        seen.values().all(|(_, fraud, _)| !fraud),
        "every fraud gets its label in the end"
    );
}

#[test]
#[expect(clippy::cast_precision_loss, reason = "a few thousand transactions")]
fn fraud_is_between_a_half_and_one_percent_and_knows_all_patterns() {
    for seed in 1..=3 {
        let all = transactions(3_000, 30, seed);
        let mut patterns = BTreeMap::new();
        for pattern in all.iter().filter_map(|generated| generated.fraud) {
            *patterns.entry(pattern).or_insert(0) += 1;
        }
        let share = patterns.values().sum::<i32>() as f64 / all.len() as f64;
        assert!((0.005..0.01).contains(&share), "seed {seed}: {share}");
        assert_eq!(patterns.len(), Pattern::ALL.len(), "{patterns:?}");
    }
}

#[test]
fn messages_are_what_the_contract_asks_for() {
    let mut products = BTreeSet::new();
    for generated in transactions(1_000, 20, 4) {
        let transaction = generated.event.transaction.unwrap();
        assert!(TransactionId::parse(&transaction.transaction_id).is_ok());
        assert!(CardId::parse(&transaction.card_id).is_ok());
        assert!(!contains_card_number(&transaction.card_id));
        assert!(Currency::parse(&transaction.currency).is_ok());
        assert!(transaction.amount_minor > 0);
        assert!((1..=9_999).contains(&transaction.merchant_category_code));
        assert_ne!(transaction.channel(), v1::Channel::Unspecified);
        let online = transaction.channel() == v1::Channel::Ecommerce;
        assert_eq!(online, !transaction.device_id.is_empty());
        assert!(!online || transaction.terminal_id.is_empty());
        products.extend(
            transaction
                .attributes
                .get("product")
                .cloned()
                .map(|value| format!("{value:?}")),
        );
    }
    assert_eq!(products.len(), 4, "{products:?}");
}

#[test]
fn honest_holders_do_odd_things_too() {
    let abroad = |generated: &Generated| {
        let transaction = generated.event.transaction.as_ref().unwrap();
        transaction.merchant_country != transaction.card_country
            && transaction.channel() == v1::Channel::CardPresent
    };
    let all = transactions(1_000, 40, 4);
    let honest = all.iter().filter(|generated| generated.fraud.is_none());
    assert!(honest.clone().filter(|generated| abroad(generated)).count() > 500);
    assert!(
        honest
            .filter(|generated| generated.amount_euro > 1_500.0)
            .count()
            > 100
    );
    assert!(all.iter().any(|generated| !generated.event.authorized));
}
