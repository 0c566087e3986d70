//! FS-1: every aggregate equals a brute-force pass over all events, whatever the order in which they arrived,
//! and FS-2: an event applied again changes nothing.

#![allow(
    clippy::cast_precision_loss,
    clippy::unwrap_used,
    reason = "a test that cannot go on should stop; its numbers are small and exact"
)]

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

use proptest::prelude::*;
use tollgate_expr::{Compiler, Frame};
use tollgate_features::{Applied, Origin, ReadPlan, Store};
use tollgate_types::{
    CardId, Cell, Currency, EventTime, Label, Money, Rates, Record, Schema, SchemaBuilder, Span,
    Transaction, TransactionId,
};

const COUNTRIES: [&str; 4] = ["FR", "US", "JP", "a-country-with-a-long-name"];

/// One event as the test knows it.
#[derive(Debug, Clone)]
struct Event {
    at: i64,
    card: u8,
    amount_minor: i64,
    country: Option<u8>,
    authorized: bool,
    label: Option<(bool, i64)>,
}

fn event() -> impl Strategy<Value = Event> {
    // Few distinct times, so that ties and window edges are common.
    let label = prop::option::of((any::<bool>(), 0..60_i64));
    (
        0..40_i64,
        0..3_u8,
        0..500_i64,
        prop::option::of(0..4_u8),
        any::<bool>(),
        label,
    )
        .prop_map(
            |(at, card, amount_minor, country, authorized, label)| Event {
                at,
                card,
                amount_minor,
                country,
                authorized,
                label,
            },
        )
}

#[derive(Debug, Clone)]
struct Aggregate {
    window: i64,
    delay: i64,
    filter: usize,
    function: usize,
}

fn aggregate() -> impl Strategy<Value = Aggregate> {
    (
        1..30_i64,
        prop_oneof![Just(0), 1..20_i64],
        0..FILTERS.len(),
        0..FUNCTIONS.len(),
    )
        .prop_map(|(window, delay, filter, function)| Aggregate {
            window,
            delay,
            filter,
            function,
        })
}

/// What a filter or a function sees of an event: the event, the one scored.
type Passes = fn(&Event, &Event) -> bool;

const FILTERS: [(&str, Passes); 6] = [
    ("", |_, _| true),
    (".where(amount < 2.5)", |event, _| event.amount_minor < 250),
    (".where(merchant_country == \"FR\")", |event, _| {
        event.country == Some(0)
    }),
    (
        ".where(merchant_country == transaction.merchant_country)",
        |event, own| event.country.is_some() && event.country == own.country,
    ),
    (".where(fraud)", |event, own| is_fraud(event, own)),
    (".where(!declined && amount >= 1.0)", |event, own| {
        is_declined(event, own) == Some(false) && event.amount_minor >= 100
    }),
];

/// The label as known when `own` is scored, which knows nothing of itself.
fn is_fraud(event: &Event, own: &Event) -> bool {
    let known = |(fraud, known_at): (bool, i64)| fraud && known_at <= own.at;
    !std::ptr::eq(event, own) && event.label.is_some_and(known)
}

/// Whether the authorization is known to have been refused; that of `own` is not known yet.
fn is_declined(event: &Event, own: &Event) -> Option<bool> {
    (!std::ptr::eq(event, own)).then_some(!event.authorized)
}

/// The events of the window, those before the one scored, and the one scored.
type Compute = fn(&[&Event], &[&Event], &Event) -> Option<f64>;

const FUNCTIONS: [(&str, Compute); 12] = [
    ("count()", |window, _, _| Some(window.len() as f64)),
    ("sum(amount)", |window, _, _| Some(total(window))),
    ("avg(amount)", |window, _, _| {
        (!window.is_empty()).then(|| total(window) / window.len() as f64)
    }),
    ("min(amount)", |window, _, _| {
        amounts(window).into_iter().reduce(f64::min)
    }),
    ("max(amount)", |window, _, _| {
        amounts(window).into_iter().reduce(f64::max)
    }),
    ("stddev(amount)", |window, _, _| {
        let amounts = amounts(window);
        let mean = mean(&amounts)?;
        let squares: f64 = amounts
            .iter()
            .map(|amount| (amount - mean) * (amount - mean))
            .sum();
        Some((squares / amounts.len() as f64).sqrt())
    }),
    ("distinct(merchant_country)", |window, _, _| {
        Some(
            window
                .iter()
                .filter_map(|event| event.country)
                .collect::<HashSet<_>>()
                .len() as f64,
        )
    }),
    ("rate(fraud)", |window, _, own| {
        share(window, |event| is_fraud(event, own))
    }),
    ("rate(declined)", |window, _, own| {
        share(window, |event| is_declined(event, own) == Some(true))
    }),
    ("last(amount)", |_, before, _| {
        Some(before.last()?.amount_minor as f64 / 100.0)
    }),
    ("since_last()", |_, before, own| {
        Some((own.at - before.last()?.at) as f64)
    }),
    ("first_seen()", |window, _, _| {
        Some(window.first()?.at as f64)
    }),
];

fn amounts(events: &[&Event]) -> Vec<f64> {
    events
        .iter()
        .map(|event| event.amount_minor as f64 / 100.0)
        .collect()
}

/// Whole cents add up exactly.
fn total(events: &[&Event]) -> f64 {
    events.iter().map(|event| event.amount_minor).sum::<i64>() as f64 / 100.0
}

fn mean(values: &[f64]) -> Option<f64> {
    (!values.is_empty()).then(|| values.iter().sum::<f64>() / values.len() as f64)
}

fn share(events: &[&Event], is: impl Fn(&Event) -> bool) -> Option<f64> {
    let positive = events.iter().filter(|event| is(event)).count();
    Some(if events.is_empty() {
        0.0
    } else {
        positive as f64 / events.len() as f64
    })
}

impl Aggregate {
    fn source(&self) -> String {
        let delay = match self.delay {
            0 => String::new(),
            delay => format!(".delayed(\"{delay}s\")"),
        };
        let (filter, function) = (FILTERS[self.filter].0, FUNCTIONS[self.function].0);
        format!("card.last(\"{}s\"){delay}{filter}.{function}", self.window)
    }

    /// The oracle: one pass over the events of the card in canonical order (event time, then arrival), of which
    /// `own` is the one scored.
    fn brute_force(&self, card: &[&Event], own: usize) -> Option<f64> {
        let scored = card[own];
        let end = scored.at - self.delay;
        let inside: Vec<usize> = (0..card.len())
            .filter(|&at| card[at].at > end - self.window && card[at].at <= end)
            .filter(|&at| self.delay > 0 || at <= own)
            .filter(|&at| FILTERS[self.filter].1(card[at], scored))
            .collect();
        let window: Vec<&Event> = inside.iter().map(|&at| card[at]).collect();
        let before: Vec<&Event> = inside
            .iter()
            .filter(|&&at| at < own)
            .map(|&at| card[at])
            .collect();
        FUNCTIONS[self.function].1(&window, &before, scored)
    }
}

fn schema() -> Arc<Schema> {
    let mut builder = SchemaBuilder::default();
    let names = |list: &[&str]| {
        list.iter()
            .map(|name| (*name).to_owned())
            .collect::<Vec<_>>()
    };
    let retained = names(&["amount", "merchant_country"]);
    builder
        .entity("card", &names(&["card_id"]), &retained, Span::from_days(1))
        .unwrap();
    builder
        .entity(
            "merchant",
            &names(&["merchant_id"]),
            &[],
            Span::from_days(1),
        )
        .unwrap();
    Arc::new(builder.build())
}

fn euros() -> Rates {
    Rates::new(Currency::parse("EUR").unwrap(), BTreeMap::new()).unwrap()
}

fn transaction(number: usize, event: &Event) -> Transaction {
    Transaction {
        merchant_country: event
            .country
            .map(|at| COUNTRIES[usize::from(at)].to_owned()),
        ..Transaction::new(
            TransactionId::parse(&format!("t{number}")).unwrap(),
            EventTime::from_micros(event.at * 1_000_000),
            CardId::parse(&format!("c{}", event.card)).unwrap(),
            Money {
                amount_minor: event.amount_minor,
                currency: Currency::parse("EUR").unwrap(),
            },
            "m".to_owned(),
        )
    }
}

/// Applies the events in this order of arrival, some of them twice, with labels before or after.
fn fill(store: &Store, schema: &Schema, events: &[Event], again: &[prop::sample::Index]) {
    for (number, event) in events.iter().enumerate() {
        let label = event.label.map(|(fraud, known_at)| Label {
            transaction_id: TransactionId::parse(&format!("t{number}")).unwrap(),
            fraud,
            known_at: EventTime::from_micros(known_at * 1_000_000),
        });
        let label_first = number % 2 == 0;
        if let Some(label) = label.iter().find(|_| label_first) {
            store.label(label);
        }
        let transaction = transaction(number, event);
        let record = Record::new(&transaction, schema, &euros()).unwrap();
        let origin = Origin::Log {
            authorized: event.authorized,
        };
        if number % 3 == 0 {
            // Scored first: in flight until the log confirms it.
            let expires_at = EventTime::MAX;
            assert_eq!(
                store.apply(&record, Origin::Scored { expires_at }),
                Applied::New
            );
            assert_eq!(store.apply(&record, origin), Applied::Confirmed);
        } else {
            assert_eq!(store.apply(&record, origin), Applied::New);
        }
        if let Some(label) = label.iter().find(|_| !label_first) {
            store.label(label);
        }
    }
    for index in again {
        let number = index.index(events.len());
        let transaction = transaction(number, &events[number]);
        let record = Record::new(&transaction, schema, &euros()).unwrap();
        let origin = Origin::Log {
            authorized: !events[number].authorized,
        };
        assert_eq!(store.apply(&record, origin), Applied::Duplicate);
    }
}

/// A cell as a number, times and spans in seconds.
fn number(source: &str, cell: Cell) -> Option<f64> {
    if source.ends_with("since_last()") {
        cell.as_span().map(Span::seconds)
    } else if source.ends_with("first_seen()") {
        cell.as_time().map(|time| time.micros() as f64 / 1e6)
    } else {
        cell.as_number()
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, ..ProptestConfig::default() })]

    #[test]
    fn aggregates_equal_brute_force(
        events in prop::collection::vec(event(), 1..60),
        aggregates in prop::collection::vec(aggregate(), 1..8),
        again in prop::collection::vec(any::<prop::sample::Index>(), 0..5),
    ) {
        let schema = schema();
        let store = Store::new(Arc::clone(&schema));
        fill(&store, &schema, &events, &again);
        let mut compiler = Compiler::new(&schema, BTreeMap::new());
        for (number, aggregate) in aggregates.iter().enumerate() {
            compiler.feature(&format!("f{number}"), &aggregate.source()).unwrap();
        }
        let layout = compiler.finish();
        let plan = ReadPlan::new(&schema, &layout);
        for (number_scored, scored) in events.iter().enumerate() {
            let transaction = transaction(number_scored, scored);
            let record = Record::new(&transaction, &schema, &euros()).unwrap();
            let mut frame = Frame::new(&layout, &record);
            let _ = store.read(&plan, &record, &mut frame);
            frame.evaluate_features(&layout);
            // Canonical order: a stable sort by event time keeps ties in order of arrival.
            let mut card: Vec<(usize, &Event)> =
                events.iter().enumerate().filter(|(_, event)| event.card == scored.card).collect();
            card.sort_by_key(|(_, event)| event.at);
            let own = card.iter().position(|(number, _)| *number == number_scored).unwrap();
            let card: Vec<&Event> = card.into_iter().map(|(_, event)| event).collect();
            for (feature, aggregate) in layout.features.iter().zip(&aggregates) {
                let source = aggregate.source();
                let ours = number(&source, frame.cell(feature.slot));
                let expected = aggregate.brute_force(&card, own);
                if source.ends_with("stddev(amount)") {
                    let (ours, expected) = (ours.unwrap_or(-1.0), expected.unwrap_or(-1.0));
                    prop_assert!((ours - expected).abs() <= 1e-9, "{source}: {ours} {expected}");
                } else {
                    prop_assert_eq!(ours, expected, "{}", source);
                }
            }
        }
    }
}
