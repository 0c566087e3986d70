//! FS-4: memory stays within its limit, and those active least recently go first.

#![allow(
    clippy::unwrap_used,
    clippy::cast_precision_loss,
    reason = "a test that cannot go on should stop; its numbers are small"
)]

mod common;

use std::io::Write;

use common::{Asked, Event, schema};
use tollgate_features::{Limits, Store};
use tollgate_types::Span;

/// As the service has it: what an allocator adds to what it is asked for is part of the question.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const LIMIT: usize = 128 << 20;

/// Cards that go on being used while others come and go.
const ACTIVE: u32 = 50;

/// Events of each card that comes.
const PER_CARD: i64 = 10;

/// Events of one entity at most; an active card comes near it.
const PER_ENTITY: usize = 1_280;

const AGGREGATES: [&str; 2] = [
    "card.last(\"90000000s\").count()",
    "card.last(\"90000000s\").sum(amount)",
];

fn asked(limits: Limits) -> Asked {
    let store = Store::with_limits(schema(Span::from_seconds(100_000_000)), limits);
    Asked::new(store, &AGGREGATES.map(str::to_owned))
}

/// Number `number` of the events of card `card`.
fn event(card: u32, number: i64, at: i64) -> Event {
    Event {
        card,
        merchant: card % 1_000,
        amount_minor: number * 7 + i64::from(card % 13),
        country: Some(usize::try_from(number).unwrap() % 4),
        ..Event::new(&format!("t{card}-{number}"), at)
    }
}

/// Memory of this process that is in use, from the kernel.
fn resident() -> Option<usize> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmRSS:"))?;
    Some(line.trim().strip_suffix(" kB")?.parse::<usize>().ok()? * 1024)
}

#[test]
fn five_times_as_many_cards_as_fit_stay_within_the_limit_and_the_active_ones_stay_exact() {
    let asked = asked(Limits {
        bytes_max: LIMIT,
        // Merchants are active all the time and so are never let go: what bounds them is the cap.
        events_per_entity_max: PER_ENTITY,
    });
    let before = resident();
    let (mut at, mut card, mut fitted) = (0, ACTIVE, None);
    let (mut used, mut resident_max) = (0, 0);
    // Of each active card: how many events, their amounts together, and the last one.
    let mut active: Vec<(u32, i64, Event)> = vec![(0, 0, Event::default()); ACTIVE as usize];
    while fitted.is_none_or(|fitted| card < ACTIVE + 5 * fitted) {
        if card % 10 == 0 {
            let own = card / 10 % ACTIVE;
            let event = event(own, i64::from(card), at);
            asked.log(&event, true);
            let known = &mut active[own as usize];
            *known = (known.0 + 1, known.1 + event.amount_minor, event);
        }
        for number in 0..PER_CARD {
            at += 1;
            asked.log(&event(card, number, at), true);
        }
        asked.store.advance_watermark(common::seconds(at));
        card += 1;
        if card % 500 == 0 {
            let size = asked.store.size();
            used = used.max(size.bytes);
            assert!(size.bytes <= LIMIT, "{size:?}");
            if size.entities_pushed_out > 0 {
                fitted.get_or_insert(card - ACTIVE);
            }
            resident_max = resident_max.max(resident().unwrap_or(0));
        }
    }
    for (count, amounts, last) in &active {
        let exact = [f64::from(*count), *amounts as f64 / 100.0];
        assert_eq!(asked.numbers(last), exact.map(Some), "{last:?}");
    }
    let (size, fitted) = (asked.store.size(), fitted.unwrap());
    let pushed_out = size.entities_pushed_out;
    assert!(
        pushed_out > 3 * usize::try_from(fitted).unwrap(),
        "{size:?}"
    );
    let grown = before.map(|before| resident_max.saturating_sub(before));
    let report = format!(
        "memory: limit {LIMIT}, {fitted} cards fit, {card} came, accounted for at most {used}, process grew by {grown:?}\n"
    );
    std::io::stderr().write_all(report.as_bytes()).unwrap();
    if let Some(grown) = grown {
        assert!(grown <= LIMIT, "{report}");
    }
}
