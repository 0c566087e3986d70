//! What each way of arriving means: late, repeated, contradicting, too old, too far ahead, labelled in any order, in flight.

#![allow(
    clippy::unwrap_used,
    clippy::float_cmp,
    reason = "a test that cannot go on should stop; whole numbers come out exactly"
)]

mod common;

use common::{Asked, Event, schema, seconds};
use tollgate_features::{Applied, Labelled, Limits, Store};
use tollgate_types::Span;

const COUNT: &str = "card.last(\"100s\").count()";
const FRAUD: &str = "card.last(\"100s\").rate(fraud)";
const DECLINED: &str = "card.last(\"100s\").where(declined).count()";
const AT_MERCHANT: &str = "merchant.last(\"100s\").count()";

fn asked(aggregates: &[&str]) -> Asked {
    let aggregates: Vec<String> = aggregates
        .iter()
        .map(|source| (*source).to_owned())
        .collect();
    Asked::new(Store::new(schema(Span::from_seconds(1_000))), &aggregates)
}

fn numbers(asked: &Asked, event: &Event) -> Vec<f64> {
    asked
        .numbers(event)
        .into_iter()
        .map(|number| number.unwrap_or(f64::NAN))
        .collect()
}

#[test]
fn a_late_event_is_counted_at_its_place_and_said_to_be_late() {
    let asked = asked(&[COUNT]);
    let (early, late, newest) = (
        Event::new("a", 10),
        Event::new("b", 20),
        Event::new("c", 30),
    );
    asked.log(&early, true);
    asked.log(&newest, true);
    asked.store.advance_watermark(seconds(30));
    assert_eq!(asked.log(&late, true), Applied::Late);
    assert_eq!(numbers(&asked, &late), [2.0], "it sees what came before it");
    assert_eq!(numbers(&asked, &newest), [3.0], "what came after sees it");
    assert_eq!(numbers(&asked, &early), [1.0]);
}

#[test]
fn an_event_that_comes_again_changes_nothing_and_one_that_contradicts_is_told() {
    let asked = asked(&[COUNT, DECLINED]);
    let event = Event::new("a", 10);
    assert_eq!(asked.log(&event, true), Applied::New);
    assert_eq!(asked.log(&event, false), Applied::Duplicate);
    let contradictions = [
        Event {
            at: 11,
            ..event.clone()
        },
        Event {
            amount_minor: 999,
            ..event.clone()
        },
        Event {
            card: 7,
            ..event.clone()
        },
    ];
    for other in contradictions {
        assert_eq!(asked.log(&other, true), Applied::Conflicting, "{other:?}");
    }
    assert_eq!(numbers(&asked, &Event::new("z", 50)), [2.0, 0.0]);
    let elsewhere = Event {
        card: 7,
        ..Event::new("y", 50)
    };
    assert_eq!(
        numbers(&asked, &elsewhere),
        [1.0, 0.0],
        "the other card never had it"
    );
}

#[test]
fn what_is_older_than_retention_is_not_taken_and_does_no_harm() {
    let asked = asked(&[COUNT]);
    asked.log(&Event::new("a", 2_000), true);
    asked.store.advance_watermark(seconds(2_000));
    assert_eq!(asked.log(&Event::new("old", 1_000), true), Applied::TooOld);
    assert_eq!(asked.log(&Event::new("just", 1_001), true), Applied::Late);
    let old = Event::new("older", 500);
    assert_eq!(asked.score(&old, 9_999), Applied::TooOld);
    assert_eq!(
        numbers(&asked, &old),
        [1.0],
        "scored all the same: it is its own history"
    );
}

#[test]
fn an_event_from_the_far_future_moves_no_watermark_and_evicts_nobody() {
    let asked = asked(&[COUNT]);
    asked.log(&Event::new("a", 10), true);
    asked.store.advance_watermark(seconds(10));
    let future = Event::new("future", 4_000_000_000);
    assert_eq!(asked.log(&future, true), Applied::New);
    assert_eq!(asked.store.watermark(), seconds(10));
    assert_eq!(asked.store.evict(), 0);
    assert_eq!(asked.log(&Event::new("b", 11), true), Applied::New);
    assert_eq!(
        numbers(&asked, &Event::new("z", 12)),
        [3.0],
        "the card goes on as before"
    );
    assert_eq!(
        asked.log(&Event::new("never", i64::MAX / 1_000_000), true),
        Applied::TooOld
    );
}

#[test]
fn a_watermark_never_goes_back_and_a_quiet_hour_lets_nothing_go() {
    let asked = asked(&[COUNT]);
    asked.log(&Event::new("a", 100), true);
    asked.store.advance_watermark(seconds(100));
    asked.store.advance_watermark(seconds(50));
    assert_eq!(asked.store.watermark(), seconds(100));
    // Nothing arrives: the watermark stands, so housekeeping finds nothing to do however often it looks.
    for _ in 0..3 {
        assert_eq!(asked.store.evict(), 0);
    }
    assert_eq!(numbers(&asked, &Event::new("z", 150)), [2.0]);
}

#[test]
fn ties_count_in_the_order_of_arrival_for_a_card() {
    let asked = asked(&[COUNT, "card.last(\"100s\").last(amount)"]);
    let ties: Vec<Event> = (1..=3_i64)
        .map(|number| Event {
            amount_minor: number * 100,
            ..Event::new(&format!("t{number}"), 10)
        })
        .collect();
    for tie in &ties {
        asked.log(tie, true);
    }
    let seen: Vec<_> = ties.iter().map(|tie| asked.numbers(tie)).collect();
    let expected = [
        [Some(1.0), None],
        [Some(2.0), Some(1.0)],
        [Some(3.0), Some(2.0)],
    ];
    assert_eq!(seen, expected.map(Vec::from));
}

#[test]
fn ties_of_different_cards_count_the_same_whatever_the_order_of_partitions() {
    let ties: Vec<Event> = (0..6)
        .map(|card| Event {
            card,
            ..Event::new(&format!("t{card}"), 10)
        })
        .collect();
    let read = |order: &mut dyn Iterator<Item = &Event>| {
        let asked = asked(&[AT_MERCHANT]);
        for event in order {
            asked.log(event, true);
        }
        ties.iter()
            .map(|tie| numbers(&asked, tie)[0])
            .collect::<Vec<_>>()
    };
    let (forwards, backwards) = (read(&mut ties.iter()), read(&mut ties.iter().rev()));
    assert_eq!(forwards, backwards);
    let mut places = forwards;
    places.sort_by(f64::total_cmp);
    assert_eq!(
        places,
        [1.0, 2.0, 3.0, 4.0, 5.0, 6.0],
        "each has a place of its own"
    );
}

#[test]
fn a_label_counts_from_when_it_became_known_whenever_it_arrives() {
    let asked = asked(&[FRAUD]);
    assert_eq!(
        asked.label("a", true, 20),
        Labelled::Pending,
        "before its transaction"
    );
    assert_eq!(
        asked.label("a", true, 20),
        Labelled::Pending,
        "twice is once"
    );
    assert_eq!(asked.store.size().pending_labels, 1);
    asked.log(&Event::new("a", 10), true);
    assert_eq!(asked.store.size().pending_labels, 0);
    asked.log(&Event::new("b", 11), true);
    assert_eq!(asked.label("b", true, 30), Labelled::Known, "after it");
    assert_eq!(asked.label("b", true, 30), Labelled::Again, "twice is once");
    let at = |at| numbers(&asked, &Event::new("z", at))[0];
    assert_eq!(
        [at(19), at(20), at(29), at(30)],
        [0.0, 1.0 / 3.0, 1.0 / 3.0, 2.0 / 3.0]
    );
}

#[test]
fn a_label_that_flips_changes_what_is_known_from_then_on_and_nothing_before() {
    let orders: [[usize; 3]; 3] = [[0, 1, 2], [2, 1, 0], [1, 2, 0]];
    let labels = [(true, 20), (false, 40), (true, 60)];
    for order in orders {
        let asked = asked(&[FRAUD]);
        asked.log(&Event::new("a", 10), true);
        for at in order {
            asked.label("a", labels[at].0, labels[at].1);
        }
        let at = |at| numbers(&asked, &Event::new("z", at))[0];
        assert_eq!(
            [at(15), at(25), at(45), at(65)],
            [0.0, 0.5, 0.0, 0.5],
            "{order:?}"
        );
    }
    let asked = asked(&[FRAUD]);
    asked.log(&Event::new("a", 10), true);
    assert_eq!(asked.label("a", true, 20), Labelled::Known);
    assert_eq!(asked.label("a", false, 40), Labelled::Changed);
    assert_eq!(
        asked.label("a", false, 50),
        Labelled::Again,
        "it says what was known"
    );
}

#[test]
fn a_scored_event_counts_at_once_and_once_and_expires_without_echo() {
    let asked = asked(&[COUNT, AT_MERCHANT, DECLINED]);
    let (scored, forgotten) = (Event::new("a", 10), Event::new("b", 11));
    assert_eq!(asked.score(&scored, 600), Applied::New);
    assert_eq!(asked.score(&forgotten, 600), Applied::New);
    let later = Event::new("z", 12);
    assert_eq!(numbers(&asked, &later), [3.0, 3.0, 0.0]);
    assert_eq!(asked.log(&scored, false), Applied::Confirmed);
    assert_eq!(
        numbers(&asked, &later),
        [3.0, 3.0, 1.0],
        "now its result is known"
    );
    assert_eq!(asked.store.expire_in_flight(seconds(599)), 0);
    assert_eq!(
        asked.store.expire_in_flight(seconds(600)),
        1,
        "the confirmed one stays"
    );
    assert_eq!(numbers(&asked, &later), [2.0, 2.0, 1.0]);
    assert_eq!(asked.store.size().in_flight, 0);
    assert_eq!(
        asked.log(&forgotten, true),
        Applied::New,
        "its echo comes after all"
    );
    assert_eq!(numbers(&asked, &later), [3.0, 3.0, 1.0]);
}

#[test]
fn expiries_end_in_order_even_if_the_clock_they_came_from_jumped_back() {
    let asked = asked(&[COUNT]);
    asked.score(&Event::new("a", 10), 1_000);
    asked.score(&Event::new("b", 11), 500);
    assert_eq!(
        asked.store.expire_in_flight(seconds(600)),
        0,
        "behind one that is not due"
    );
    assert_eq!(
        asked.store.expire_in_flight(seconds(1_000)),
        2,
        "but no longer than it"
    );
}

#[test]
fn what_the_log_says_of_a_scored_event_replaces_what_the_request_said() {
    let asked = asked(&["card.last(\"100s\").sum(amount)", AT_MERCHANT, FRAUD]);
    let scored = Event {
        amount_minor: 500,
        ..Event::new("a", 10)
    };
    asked.score(&scored, 600);
    asked.label("a", true, 12);
    let settled = Event {
        amount_minor: 450,
        at: 11,
        merchant: 2,
        ..scored.clone()
    };
    assert_eq!(asked.log(&settled, true), Applied::Corrected);
    let later = Event {
        amount_minor: 0,
        ..Event::new("z", 12)
    };
    assert_eq!(
        numbers(&asked, &later),
        [4.5, 1.0, 0.5],
        "once, as settled, with its label"
    );
    let there = Event {
        merchant: 2,
        ..later
    };
    assert_eq!(
        numbers(&asked, &there)[1],
        2.0,
        "and at the merchant that settled it"
    );
}

#[test]
fn at_the_cap_the_oldest_events_go_and_only_windows_that_miss_them_say_so() {
    let aggregates = ["card.last(\"1000s\").count()".to_owned()];
    let limits = Limits {
        events_per_entity_max: 256,
        ..Limits::default()
    };
    let mut asked = Asked::new(
        Store::with_limits(schema(Span::from_seconds(2_000)), limits),
        &aggregates,
    );
    for at in 1..=500 {
        asked.log(
            &Event {
                merchant: u32::try_from(at).unwrap(),
                ..Event::new(&format!("t{at}"), at)
            },
            true,
        );
    }
    let now = Event {
        merchant: 999,
        ..Event::new("z", 501)
    };
    let (cells, reading) = asked.read_noting(&now);
    let kept = cells[0].as_number().unwrap();
    assert!(reading.cut_off && (128.0..=257.0).contains(&kept), "{kept}");
    assert_eq!(asked.store.size().events_cut_off, 501 - kept as usize);
    asked.ask(&["card.last(\"100s\").count()".to_owned()]);
    let (cells, reading) = asked.read_noting(&now);
    assert_eq!(
        (cells[0].as_number(), reading.cut_off),
        (Some(100.0), false)
    );
    assert_eq!(
        asked.label("t1", true, 600),
        Labelled::Pending,
        "it is forgotten"
    );
}

#[test]
fn aggregates_asked_for_later_have_their_full_history_at_once() {
    let mut asked = asked(&[COUNT]);
    for at in 1..=50 {
        asked.log(
            &Event {
                amount_minor: at * 100,
                ..Event::new(&format!("t{at}"), at)
            },
            true,
        );
    }
    asked.ask(&["card.last(\"40s\").where(amount > 30.0).sum(amount)".to_owned()]);
    assert_eq!(
        numbers(&asked, &Event::new("z", 51)),
        [f64::from((31..=50).sum::<i32>())]
    );
}

#[test]
fn a_schema_without_cards_still_knows_its_transactions_by_their_id() {
    let mut builder = tollgate_types::SchemaBuilder::default();
    let key = common::names(&["terminal_id"]);
    builder
        .entity("terminal", &key, &[], Span::from_seconds(1_000))
        .unwrap();
    let aggregates = [
        "terminal.last(\"100s\").rate(fraud)".to_owned(),
        "terminal.last(\"100s\").count()".to_owned(),
    ];
    let asked = Asked::new(
        Store::new(std::sync::Arc::new(builder.build())),
        &aggregates,
    );
    let event = Event {
        terminal: Some(1),
        ..Event::new("a", 10)
    };
    assert_eq!(asked.log(&event, true), Applied::New);
    assert_eq!(asked.log(&event, true), Applied::Duplicate);
    assert_eq!(asked.label("a", true, 12), Labelled::Known);
    let later = Event {
        terminal: Some(1),
        ..Event::new("z", 20)
    };
    assert_eq!(numbers(&asked, &later), [0.5, 2.0]);
    let nowhere = asked.numbers(&Event::new("y", 20));
    assert_eq!(
        nowhere,
        [None, None],
        "without terminal there is nothing to count"
    );
}
