//! FS-1: every aggregate equals a brute-force pass over all events, whatever the order in which they and their labels
//! arrived, and FS-2: an event applied again changes nothing.

#![allow(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::unwrap_used,
    reason = "a test that cannot go on should stop; its numbers are small and exact"
)]

mod common;
mod oracle;

use std::io::Write;

use common::{Asked, Event, schema};
use oracle::{Aggregate, ENTITIES, FILTERS, FUNCTIONS, Known};
use proptest::prelude::*;
use proptest::test_runner::{Config, RngSeed, TestRunner};
use tollgate_features::{Applied, Store};
use tollgate_types::{Span, TransactionId, TransactionKey};

/// Random histories of a run.
const HISTORIES: u32 = 10_000;

/// Of those with several blocks.
const LONG_HISTORIES: u32 = 300;

/// Fixes what is random, to repeat a run.
const SEED: &str = "TOLLGATE_SEED";

/// How an event reaches the store.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Route {
    Log,
    ScoredThenLog,
    /// Its echo comes after so many further events.
    EchoLater(usize),
    NoEcho,
}

#[derive(Debug, Clone)]
struct Arrival {
    event: Event,
    authorized: bool,
    route: Route,
    /// Labels, and whether each arrives before the event.
    labels: Vec<(bool, i64, bool)>,
    again: bool,
}

fn arrival(cards: u32) -> impl Strategy<Value = Arrival> {
    // Few distinct times, so that ties and window edges are common.
    let place = (0..40_i64, 0..cards, 0..3_u32);
    let values = (
        0..500_i64,
        prop::option::of(0..4_usize),
        prop::option::of(prop::sample::select(vec![0.1, 2.5, 3.0, 1.0 / 3.0, 2e10])),
        prop::option::of(any::<bool>()),
    );
    let route = prop_oneof![
        4 => Just(Route::Log),
        2 => Just(Route::ScoredThenLog),
        1 => (1..6_usize).prop_map(Route::EchoLater),
        1 => Just(Route::NoEcho),
    ];
    let label = (any::<bool>(), 0..60_i64, any::<bool>());
    let labels = prop_oneof![
        4 => Just(Vec::new()),
        3 => prop::collection::vec(label.clone(), 1),
        1 => prop::collection::vec(label, 2..4),
    ];
    (
        place,
        values,
        any::<bool>(),
        route,
        labels,
        prop::bool::weighted(0.1),
    )
        .prop_map(
            |(
                (at, card, merchant),
                (amount_minor, country, points, gift),
                authorized,
                route,
                labels,
                again,
            )| Arrival {
                event: Event {
                    at,
                    card,
                    merchant,
                    amount_minor,
                    country,
                    points,
                    gift,
                    ..Event::default()
                },
                authorized,
                route,
                labels,
                again,
            },
        )
}

/// Mostly short histories of several cards; some so long that they fill several blocks.
fn history() -> impl Strategy<Value = Vec<Arrival>> {
    prop_oneof![
        30 => prop::collection::vec(arrival(3), 1..40),
        1 => prop::collection::vec(arrival(1), 150..420),
    ]
}

fn aggregate() -> impl Strategy<Value = Aggregate> {
    let delay = prop_oneof![Just(0), 1..20_i64];
    (
        0..ENTITIES.len(),
        1..30_i64,
        delay,
        0..FILTERS.len(),
        0..FUNCTIONS.len(),
    )
        .prop_map(|(entity, window, delay, filter, function)| Aggregate {
            entity,
            window,
            delay,
            filter,
            function,
        })
}

/// Applies everything in its order, and notes what the oracle needs to know.
fn play(asked: &Asked, history: &mut [Arrival]) -> Vec<Known> {
    let mut known: Vec<Known> = Vec::new();
    let mut echoes: Vec<(usize, usize)> = Vec::new();
    let mut sequence = 0;
    for number in 0..history.len() {
        history[number].event.id = format!("t{number}");
        let Arrival {
            event,
            authorized,
            route,
            labels,
            again,
        } = &history[number];
        let labels_when = |before: bool| {
            for (fraud, known_at, _) in labels.iter().filter(|label| label.2 == before) {
                asked.label(&event.id, *fraud, *known_at);
            }
        };
        labels_when(true);
        sequence += 1;
        if *route == Route::Log {
            assert_eq!(asked.log(event, *authorized), Applied::New);
        } else {
            assert_eq!(asked.score(event, i64::MAX / 2_000_000), Applied::New);
        }
        if *route == Route::ScoredThenLog {
            assert_eq!(asked.log(event, *authorized), Applied::Confirmed);
        }
        let has_result = matches!(route, Route::Log | Route::ScoredThenLog);
        known.push(Known {
            event: event.clone(),
            declined: has_result.then_some(!authorized),
            labels: Known::in_order(labels),
            sequence,
            key: TransactionKey::of(&TransactionId::parse(&event.id).unwrap()).bits(),
        });
        labels_when(false);
        if let Route::EchoLater(after) = route {
            echoes.push((number + after, number));
        }
        if *again && has_result {
            assert_eq!(asked.log(event, !authorized), Applied::Duplicate);
            assert_eq!(asked.score(event, i64::MAX / 2_000_000), Applied::Duplicate);
        }
        let (due, later): (Vec<_>, Vec<_>) = echoes.iter().partition(|(due, _)| *due <= number);
        echoes = later;
        for (_, of) in due {
            sequence += 1;
            assert_eq!(
                asked.log(&history[of].event, history[of].authorized),
                Applied::Confirmed
            );
            known[of].declined = Some(!history[of].authorized);
            known[of].sequence = sequence;
        }
    }
    known
}

#[test]
fn aggregates_equal_brute_force() {
    run(HISTORIES, history(), aggregate());
}

/// So many events that most of a window lies in blocks that are not visited for their totals.
#[test]
fn aggregates_of_long_histories_equal_brute_force() {
    let long = prop::collection::vec(arrival(1), 400..900);
    let unfiltered = aggregate().prop_map(|aggregate| Aggregate {
        filter: 0,
        window: aggregate.window + 10,
        delay: aggregate.delay % 3,
        ..aggregate
    });
    run(LONG_HISTORIES, long, unfiltered);
}

fn run(
    cases: u32,
    history: impl Strategy<Value = Vec<Arrival>>,
    aggregate: impl Strategy<Value = Aggregate>,
) {
    let seed = std::env::var(SEED).ok().and_then(|seed| seed.parse().ok());
    let seed = seed.unwrap_or_else(rand::random::<u64>);
    // Past the capture of a test's output, so that a run that passed can be repeated too.
    writeln!(
        std::io::stderr(),
        "brute force: {cases} histories, {SEED}={seed}"
    )
    .unwrap();
    let mut runner = TestRunner::new(Config {
        cases,
        rng_seed: RngSeed::Fixed(seed),
        failure_persistence: None,
        ..Config::default()
    });
    let asked = (
        history,
        prop::collection::vec(aggregate, 1..10),
        prop::collection::vec(any::<prop::sample::Index>(), 1..6),
    );
    let run = runner.run(&asked, |(mut history, aggregates, scored)| {
        let sources: Vec<String> = aggregates.iter().map(Aggregate::source).collect();
        let asked = Asked::new(Store::new(schema(Span::from_days(1))), &sources);
        let known = play(&asked, &mut history);
        for index in scored {
            let own = index.index(known.len());
            let cells = asked.read(&known[own].event);
            for (aggregate, cell) in aggregates.iter().zip(cells) {
                aggregate.expect(&known, own, cell)?;
            }
        }
        Ok(())
    });
    if let Err(error) = run {
        panic!("{SEED}={seed}: {error}");
    }
}

#[test]
fn what_retention_let_go_no_window_misses() {
    let config = Config {
        failure_persistence: None,
        ..Config::with_cases(500)
    };
    proptest!(config, |(
        mut history in prop::collection::vec(arrival(2), 1..120),
        aggregates in prop::collection::vec(aggregate(), 1..6),
    )| {
        // Windows and delays reach 49 seconds back at most; events of 40 seconds lie in five times as many.
        for (number, arrival) in history.iter_mut().enumerate() {
            arrival.event.at += 40 * i64::try_from(number % 5).unwrap();
            arrival.labels.clear();
        }
        let sources: Vec<String> = aggregates.iter().map(Aggregate::source).collect();
        let asked = Asked::new(Store::new(schema(Span::from_seconds(50))), &sources);
        let known = play(&asked, &mut history);
        asked.store.advance_watermark(common::seconds(150));
        asked.store.evict();
        for own in (0..known.len()).filter(|own| known[*own].event.at >= 150) {
            let cells = asked.read(&known[own].event);
            for (aggregate, cell) in aggregates.iter().zip(cells) {
                aggregate.expect(&known, own, cell)?;
            }
        }
    });
}
