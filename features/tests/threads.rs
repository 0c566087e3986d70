//! FS-2 under threads: whatever interleaves, each event counts once, and no label is lost.

#![allow(
    clippy::unwrap_used,
    clippy::float_cmp,
    reason = "a test that cannot go on should stop; whole numbers come out exactly"
)]

mod common;

use common::{Asked, Event, schema};
use tollgate_features::{Applied, Limits, Store};
use tollgate_types::Span;

const EVENTS: usize = 4_000;
const CARDS: usize = 20;

fn event(number: usize) -> Event {
    Event {
        card: u32::try_from(number % CARDS).unwrap(),
        terminal: Some(1),
        ..Event::new(&format!("t{number}"), i64::try_from(number).unwrap())
    }
}

fn asked(limits: Limits) -> Asked {
    let aggregates = ["card", "merchant", "card_merchant", "terminal"]
        .map(|entity| format!("{entity}.last(\"9000s\").count()"));
    let frauds = ["card", "merchant", "terminal"]
        .map(|entity| format!("{entity}.last(\"9000s\").rate(fraud)"));
    let aggregates: Vec<String> = aggregates.into_iter().chain(frauds).collect();
    Asked::new(
        Store::with_limits(schema(Span::from_seconds(20_000)), limits),
        &aggregates,
    )
}

#[test]
fn scores_echoes_and_labels_of_one_event_may_race() {
    let asked = asked(Limits::default());
    let fresh = std::sync::atomic::AtomicUsize::new(0);
    let is_fresh = |applied: Applied| usize::from(matches!(applied, Applied::New | Applied::Late));
    std::thread::scope(|threads| {
        for part in 0..2 {
            let (asked, fresh) = (&asked, &fresh);
            threads.spawn(move || {
                for number in (0..EVENTS).map(|number| number ^ part) {
                    let new = is_fresh(asked.score(&event(number), 9_999_999));
                    let new = new + is_fresh(asked.log(&event(number), true));
                    fresh.fetch_add(new, std::sync::atomic::Ordering::Relaxed);
                    std::hint::black_box(asked.read(&event(number)));
                }
            });
        }
        threads.spawn(|| {
            for number in (0..EVENTS).step_by(2) {
                asked.label(&format!("t{number}"), true, 8_000);
            }
        });
        threads.spawn(|| {
            for _ in 0..20 {
                asked.store.evict();
                asked.store.size();
            }
        });
    });
    assert_eq!(fresh.load(std::sync::atomic::Ordering::Relaxed), EVENTS);
    let own = Event {
        terminal: Some(1),
        ..Event::new("own", 8_500)
    };
    let (per_card, all) = (EVENTS / CARDS + 1, EVENTS + 1);
    let count = |count: usize| Some(f64::from(u32::try_from(count).unwrap()));
    let numbers = asked.numbers(&own);
    assert_eq!(
        numbers[..4],
        [count(per_card), count(all), count(per_card), count(all)]
    );
    // Card 0 has the even numbers only.
    let share = |frauds: usize, of: usize| Some(count(frauds).unwrap() / count(of).unwrap());
    assert_eq!(
        numbers[4..],
        [
            share(EVENTS / CARDS, per_card),
            share(EVENTS / 2, all),
            share(EVENTS / 2, all)
        ]
    );
    assert_eq!(asked.store.size().pending_labels, 0);
}

#[test]
fn entities_may_be_pushed_out_while_others_are_read_and_written() {
    let limits = Limits {
        bytes_max: 4 << 20,
        ..Limits::default()
    };
    let asked = asked(limits);
    std::thread::scope(|threads| {
        for part in 0..3_usize {
            let asked = &asked;
            threads.spawn(move || {
                for number in 0..6_000 {
                    let number = number * 3 + part;
                    let own = Event {
                        card: u32::try_from(number / 4).unwrap(),
                        merchant: u32::try_from(number / 4).unwrap(),
                        terminal: None,
                        ..event(number)
                    };
                    asked.log(&own, true);
                    let count = asked.numbers(&own)[0].unwrap();
                    assert!(
                        (1.0..=4.0).contains(&count),
                        "a card never has another's events: {count}"
                    );
                }
            });
        }
    });
    let size = asked.store.size();
    assert!(size.entities_pushed_out > 0, "{size:?}");
    assert!(size.bytes <= 4 << 20, "{size:?}");
}
