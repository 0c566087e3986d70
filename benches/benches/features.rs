//! Reading 30 aggregates over 5 windows of one card with 100 events, and applying one event.

#![expect(
    clippy::unwrap_used,
    reason = "a bench that cannot be set up should stop"
)]

use std::collections::BTreeMap;
use std::hint::black_box;
use std::sync::Arc;

use criterion::{BatchSize, Criterion, criterion_group, criterion_main};
use tollgate_benches::{rates, schema, transaction};
use tollgate_expr::{Compiler, Frame};
use tollgate_features::{Origin, ReadPlan, Store};
use tollgate_types::{Currency, EventTime, Record};

/// Enough cards that most reads miss the caches.
const CARDS: u32 = 50_000;
const EVENTS_PER_CARD: u32 = 100;

const WINDOWS: [&str; 5] = ["1h", "6h", "24h", "48h", "90h"];
const FUNCTIONS: [&str; 6] = [
    "count()",
    "sum(amount)",
    "avg(amount)",
    "max(amount)",
    "distinct(merchant_country)",
    "rate(declined)",
];

fn features(criterion: &mut Criterion) {
    let euro = Currency::parse("EUR").unwrap();
    let (schema, rates) = (Arc::new(schema().unwrap()), rates(euro));
    let store = Store::new(Arc::clone(&schema));
    for number in 0..EVENTS_PER_CARD {
        for card in 0..CARDS {
            let transaction = transaction(euro, card, number).unwrap();
            let record = Record::new(&transaction, &schema, &rates).unwrap();
            store.apply(&record, Origin::Log { authorized: true });
        }
    }
    let mut compiler = Compiler::new(&schema, BTreeMap::new());
    for window in WINDOWS {
        for function in FUNCTIONS {
            let name = format!("f{}", compiler_name(window, function));
            compiler
                .feature(&name, &format!("card.last(\"{window}\").{function}"))
                .unwrap();
        }
    }
    let layout = compiler.finish();
    let plan = ReadPlan::new(&schema, &layout);
    assert_eq!(layout.aggregates.len(), 30);

    let mut card = 0;
    let mut next = || {
        card = (card + 7_919) % CARDS;
        transaction(euro, card, EVENTS_PER_CARD - 1).unwrap()
    };
    criterion.bench_function("read 30 aggregates over 5 windows, 100 events", |bencher| {
        bencher.iter_batched_ref(
            &mut next,
            |transaction| {
                let record = Record::new(transaction, &schema, &rates).unwrap();
                let mut frame = Frame::new(&layout, &record);
                let _ = store.read(&plan, &record, &mut frame);
                black_box(frame.cell(layout.score))
            },
            BatchSize::SmallInput,
        );
    });
    let mut number = EVENTS_PER_CARD;
    criterion.bench_function("apply one event", |bencher| {
        bencher.iter_batched_ref(
            || {
                number += 1;
                transaction(euro, number % CARDS, number).unwrap()
            },
            |transaction| {
                let record = Record::new(transaction, &schema, &rates).unwrap();
                store.advance_watermark(EventTime::MIN);
                black_box(store.apply(&record, Origin::Log { authorized: true }))
            },
            BatchSize::SmallInput,
        );
    });
}

fn compiler_name(window: &str, function: &str) -> String {
    let letters = |text: &str| text.replace(|c: char| !c.is_ascii_alphanumeric(), "_");
    format!("_{}_{}", letters(window), letters(function))
}

criterion_group!(benches, features);
criterion_main!(benches);
