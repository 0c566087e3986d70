//! A store that was cleared is as good as a new one.

#![allow(
    clippy::unwrap_used,
    reason = "a test that cannot go on should stop; its numbers are small"
)]

mod common;

use common::{Asked, Event, schema, seconds};
use tollgate_features::Store;
use tollgate_types::{Cell, EventTime, Span};

const AGGREGATES: [&str; 5] = [
    "card.last(\"1d\").count()",
    "card.last(\"1d\").where(fraud).sum(amount)",
    "merchant.last(\"1d\").distinct(merchant_country)",
    "card_merchant.last(\"1d\").first_seen()",
    "terminal.last(\"1d\").sum(amount)",
];

fn asked() -> Asked {
    let store = Store::new(schema(Span::from_days(2)));
    Asked::new(store, &AGGREGATES.map(str::to_owned))
}

/// A small history with everything that leaves traces, and what is read of it on the way.
fn play(asked: &Asked, ids: &str) -> Vec<Vec<Cell>> {
    let mut read = Vec::new();
    // A label that waits for ever, and one that its transaction comes for.
    asked.label(&format!("{ids}nobody"), true, 50);
    asked.label(&format!("{ids}3"), true, 60);
    for number in 0..300 {
        let event = Event {
            card: number % 7,
            merchant: number % 3,
            amount_minor: i64::from(number) * 10,
            country: Some(usize::try_from(number).unwrap() % 4),
            ..Event::new(&format!("{ids}{number}"), i64::from(number) + 100)
        };
        if number % 5 == 0 {
            asked.score(&event, 10_000);
        } else {
            asked.log(&event, true);
        }
        read.push(asked.read(&event));
    }
    asked.store.advance_watermark(seconds(400));
    read
}

#[test]
fn a_cleared_store_reads_as_a_new_one_whatever_it_had_before() {
    let mut cleared = asked();
    play(&cleared, "before-");
    // The same ids again, which a store that remembers them would not apply; then others.
    for ids in ["before-", "after-"] {
        cleared.store.clear();
        assert_eq!(cleared.store.size().entities, 0);
        assert_eq!(cleared.store.size().transactions, 0);
        assert_eq!(cleared.store.watermark(), EventTime::MIN);
        let new = asked();
        assert_eq!(play(&cleared, ids), play(&new, ids));
        let size = |asked: &Asked| {
            let size = asked.store.size();
            (
                size.entities,
                size.transactions,
                size.in_flight,
                size.pending_labels,
                size.bytes,
            )
        };
        assert_eq!(size(&cleared), size(&new));
    }
}
