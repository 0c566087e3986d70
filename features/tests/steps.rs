//! Entities kept in steps: every window is exact over the steps it touches, so its result lies between those of the
//! window itself and of the window with a step more on each side.

#![allow(
    clippy::unwrap_used,
    clippy::float_cmp,
    clippy::cast_precision_loss,
    reason = "a test that cannot go on should stop; its numbers are small and exact"
)]

mod common;

use common::{Asked, Event, schema};
use proptest::prelude::*;
use tollgate_features::Store;
use tollgate_types::Span;

/// Seconds in a step of the schema's terminals.
const STEP: i64 = 10;

fn terminal(sources: &[&str]) -> Asked {
    let sources: Vec<String> = sources
        .iter()
        .map(|source| format!("terminal.{source}"))
        .collect();
    Asked::new(Store::new(schema(Span::from_seconds(10_000))), &sources)
}

fn event(number: usize, at: i64) -> Event {
    Event {
        terminal: Some(1),
        card: u32::try_from(number % 7).unwrap(),
        amount_minor: i64::try_from(number % 5).unwrap() * 100,
        ..Event::new(&format!("t{number}"), at)
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(500) })]

    #[test]
    fn a_window_lies_between_the_exact_one_and_one_a_step_wider_on_each_side(
        times in prop::collection::vec((0..400_i64, any::<bool>()), 1..150),
        window in STEP..200,
        delay in prop_oneof![Just(0), 1..60_i64],
        at in 0..420_i64,
    ) {
        let delayed = if delay == 0 { String::new() } else { format!(".delayed(\"{delay}s\")") };
        let functions = ["count()", "sum(amount)", "max(amount)", "rate(declined)"];
        let sources = functions.map(|function| format!("last(\"{window}s\"){delayed}.{function}"));
        let asked = terminal(&sources.each_ref().map(String::as_str));
        let events: Vec<(Event, bool)> = times.iter().enumerate().map(|(number, (at, authorized))| (event(number, *at), *authorized)).collect();
        for (event, authorized) in &events {
            asked.log(event, *authorized);
        }
        let own = Event { terminal: Some(1), amount_minor: 0, ..Event::new("own", at) };
        let ours: Vec<f64> = asked.numbers(&own).into_iter().map(|number| number.unwrap_or(-1.0)).collect();
        // The window itself, and the steps that it touches.
        let (from, to) = (at - delay - window, at - delay);
        let is_inside = |event: &Event| event.at > from && event.at <= to;
        let start = |event: &Event| event.at.div_euclid(STEP) * STEP;
        let touches = |event: &Event| start(event) + STEP > from && start(event) <= to;
        let own_counts = usize::from(delay == 0);
        let count = |inside: &dyn Fn(&Event) -> bool| events.iter().filter(|(event, _)| inside(event)).count() + own_counts;
        let sum = |inside: &dyn Fn(&Event) -> bool| events.iter().filter(|(event, _)| inside(event)).map(|(event, _)| event.amount_minor).sum::<i64>() as f64 / 100.0;
        prop_assert_eq!(ours[0], count(&touches) as f64);
        prop_assert!(count(&is_inside) as f64 <= ours[0], "no event of the window is missing");
        prop_assert_eq!(ours[1], sum(&touches));
        let most = events.iter().filter(|(event, _)| touches(event)).map(|(event, _)| event.amount_minor).max();
        let most = most.or((delay == 0).then_some(0)).map_or(-1.0, |most| most as f64 / 100.0);
        prop_assert_eq!(ours[2], most);
        let declined = events.iter().filter(|(event, authorized)| touches(event) && !authorized).count();
        let share = if count(&touches) == 0 { 0.0 } else { declined as f64 / count(&touches) as f64 };
        prop_assert_eq!(ours[3], share);
    }
}

#[test]
fn labels_count_from_the_end_of_the_step_in_which_they_became_known() {
    let asked = terminal(&["last(\"100s\").rate(fraud)"]);
    asked.log(&event(1, 5), true);
    asked.label("t1", true, 23);
    asked.label("t1", false, 60);
    let at = |at| {
        asked.numbers(&Event {
            terminal: Some(1),
            ..Event::new("own", at)
        })[0]
            .unwrap()
    };
    assert_eq!(
        [at(22), at(29), at(30), at(59), at(60), at(80)],
        [0.0, 0.0, 0.5, 0.5, 0.0, 0.0]
    );
}

#[test]
fn events_in_flight_count_once_from_their_score_until_they_expire_or_are_merged() {
    let asked = terminal(&[
        "last(\"100s\").count()",
        "last(\"100s\").distinct(amount)",
        "last(\"100s\").last(amount)",
        "last(\"100s\").rate(declined)",
    ]);
    let (first, second) = (event(1, 5), event(2, 6));
    asked.score(&first, 600);
    asked.score(&second, 600);
    asked.score(&second, 600);
    let later = Event {
        terminal: Some(1),
        amount_minor: 0,
        ..Event::new("own", 7)
    };
    assert_eq!(
        asked.numbers(&later),
        [Some(3.0), Some(3.0), Some(2.0), Some(0.0)]
    );
    assert_eq!(
        asked.numbers(&second)[0],
        Some(2.0),
        "itself once, though it is in flight"
    );
    asked.log(&first, false);
    assert_eq!(
        asked.numbers(&later),
        [Some(3.0), Some(3.0), Some(2.0), Some(1.0 / 3.0)]
    );
    assert_eq!(
        asked.numbers(&first)[0],
        Some(2.0),
        "itself once, though it is merged"
    );
    assert_eq!(asked.store.expire_in_flight(common::seconds(600)), 1);
    assert_eq!(
        asked.numbers(&later),
        [Some(2.0), Some(2.0), Some(1.0), Some(0.5)]
    );
}

#[test]
fn memory_is_bounded_by_time_and_not_by_events() {
    let asked = terminal(&["last(\"100s\").count()"]);
    let fill = |from: usize, count: usize| {
        for number in from..from + count {
            asked.log(
                &Event {
                    merchant: 1,
                    card: 1,
                    ..event(number, i64::try_from(number % 100).unwrap())
                },
                true,
            );
        }
        asked.store.evict();
    };
    // The card and the merchant of the schema keep every event, so only what the terminal adds is compared.
    fill(0, 100);
    let terminal_alone = |asked: &Asked| asked.store.size_of("terminal").unwrap();
    let few = terminal_alone(&asked);
    fill(100, 20_000);
    assert!(
        terminal_alone(&asked) <= few * 3,
        "{few} and {}",
        terminal_alone(&asked)
    );
    let own = Event {
        terminal: Some(1),
        ..Event::new("own", 99)
    };
    assert_eq!(asked.numbers(&own)[0], Some(20_101.0));
}
