//! The plain reading of every aggregate: one pass over all events of an entity, in their order.

use std::collections::BTreeSet;

use proptest::prelude::*;
use tollgate_types::{Cell, Span};

use crate::common::Event;

/// An event with what became known of it.
#[derive(Debug, Clone)]
pub(crate) struct Known {
    pub(crate) event: Event,
    pub(crate) declined: Option<bool>,
    /// When a label became known and what it says, in that order.
    pub(crate) labels: Vec<(i64, bool)>,
    /// Its place in the order in which the log, or else the request, brought the events.
    pub(crate) sequence: usize,
    pub(crate) key: u64,
}

impl Known {
    /// Labels as they count: those before the event arrive first; of two known in one moment the later arrival.
    pub(crate) fn in_order(labels: &[(bool, i64, bool)]) -> Vec<(i64, bool)> {
        let mut by_moment = std::collections::BTreeMap::new();
        for before in [true, false] {
            for (fraud, known_at, _) in labels.iter().filter(|label| label.2 == before) {
                by_moment.insert(*known_at, *fraud);
            }
        }
        by_moment.into_iter().collect()
    }

    /// The label as known at a moment.
    fn is_fraud(&self, at: i64) -> bool {
        let known = self
            .labels
            .iter()
            .rev()
            .find(|(known_at, _)| *known_at <= at);
        known.is_some_and(|(_, fraud)| *fraud)
    }
}

/// An event as another one sees it: of itself it knows neither label nor result.
#[derive(Debug, Clone)]
pub(crate) struct Seen<'k> {
    event: &'k Event,
    fraud: bool,
    declined: Option<bool>,
    is_own: bool,
}

pub(crate) struct Kind {
    name: &'static str,
    same: fn(&Event, &Event) -> bool,
    /// Whether ties keep the order of arrival; otherwise they lie by key.
    by_arrival: bool,
}

pub(crate) const ENTITIES: [Kind; 3] = [
    Kind {
        name: "card",
        same: |one, other| one.card == other.card,
        by_arrival: true,
    },
    Kind {
        name: "merchant",
        same: |one, other| one.merchant == other.merchant,
        by_arrival: false,
    },
    Kind {
        name: "card_merchant",
        same: |one, other| one.card == other.card && one.merchant == other.merchant,
        by_arrival: true,
    },
];

/// The event in the window, and the one scored.
type Passes = fn(&Seen<'_>, &Event) -> bool;

pub(crate) const FILTERS: [(&str, Passes); 8] = [
    ("", |_, _| true),
    ("amount < 2.5", |seen, _| seen.event.amount_minor < 250),
    ("merchant_country == \"FR\"", |seen, _| {
        seen.event.country == Some(0)
    }),
    (
        "merchant_country == transaction.merchant_country",
        |seen, own| seen.event.country.is_some() && seen.event.country == own.country,
    ),
    ("fraud", |seen, _| seen.fraud),
    ("!declined && amount >= 1.0", |seen, _| {
        seen.declined == Some(false) && seen.event.amount_minor >= 100
    }),
    ("points > 2.0", |seen, _| {
        seen.event.points.is_some_and(|points| points > 2.0)
    }),
    ("event_time != transaction.event_time", |seen, own| {
        seen.event.at != own.at
    }),
];

/// The events of the window in order.
type Compute = fn(&[Seen<'_>], &Event) -> Value;

/// What an aggregate is, and how exactly.
#[derive(Debug, PartialEq)]
pub(crate) enum Value {
    Missing,
    Number(f64),
    /// A deviation, whose last digits depend on how it is computed.
    About(f64),
    Flag(bool),
    Seconds(i64),
    At(i64),
}

pub(crate) const FUNCTIONS: [(&str, Compute); 20] = [
    ("count()", |window, _| Value::Number(window.len() as f64)),
    ("sum(amount)", |window, _| {
        Value::Number(sum(&amounts(window)))
    }),
    ("avg(amount)", |window, _| mean(&amounts(window))),
    ("min(amount)", |window, _| {
        number(amounts(window).into_iter().reduce(f64::min))
    }),
    ("max(amount)", |window, _| {
        number(amounts(window).into_iter().reduce(f64::max))
    }),
    ("stddev(amount)", |window, _| deviation(&amounts(window))),
    ("sum(points)", |window, _| {
        Value::Number(sum(&points(window)))
    }),
    ("avg(points)", |window, _| mean(&points(window))),
    ("stddev(points)", |window, _| deviation(&points(window))),
    ("max(points)", |window, _| {
        number(points(window).into_iter().reduce(f64::max))
    }),
    ("distinct(points)", |window, _| {
        different(points(window).into_iter().map(f64::to_bits))
    }),
    ("distinct(merchant_country)", |window, _| {
        different(window.iter().filter_map(|seen| seen.event.country))
    }),
    ("distinct(declined)", |window, _| {
        different(window.iter().filter_map(|seen| seen.declined))
    }),
    ("rate(fraud)", |window, _| share(window, |seen| seen.fraud)),
    ("rate(declined)", |window, _| {
        share(window, |seen| seen.declined == Some(true))
    }),
    ("rate(gift)", |window, _| {
        share(window, |seen| seen.event.gift == Some(true))
    }),
    ("last(amount)", |window, _| {
        number(
            before(window)
                .last()
                .map(|seen| seen.event.amount_minor as f64 / 100.0),
        )
    }),
    ("last(gift)", |window, _| {
        before(window)
            .filter_map(|seen| seen.event.gift)
            .last()
            .map_or(Value::Missing, Value::Flag)
    }),
    ("since_last()", |window, own| {
        before(window).last().map_or(Value::Missing, |seen| {
            Value::Seconds(own.at - seen.event.at)
        })
    }),
    ("first_seen()", |window, _| {
        window
            .first()
            .map_or(Value::Missing, |seen| Value::At(seen.event.at))
    }),
];

fn amounts(window: &[Seen<'_>]) -> Vec<f64> {
    window
        .iter()
        .map(|seen| seen.event.amount_minor as f64 / 100.0)
        .collect()
}

fn points(window: &[Seen<'_>]) -> Vec<f64> {
    window.iter().filter_map(|seen| seen.event.points).collect()
}

/// What came before the transaction being scored.
fn before<'s, 'k>(window: &'s [Seen<'k>]) -> impl Iterator<Item = &'s Seen<'k>> {
    window.iter().filter(|seen| !seen.is_own)
}

/// Decimals add up exactly; with others among them, the doubles are added in order.
fn sum(values: &[f64]) -> f64 {
    let millionths = |value: &f64| {
        let whole = (value * 1e6).round();
        (whole.abs() < 9e15 && whole / 1e6 == *value).then_some(whole as i128)
    };
    match values.iter().map(millionths).sum::<Option<i128>>() {
        Some(whole) => whole as f64 / 1e6,
        None => values.iter().sum(),
    }
}

fn mean(values: &[f64]) -> Value {
    number((!values.is_empty()).then(|| sum(values) / values.len() as f64))
}

fn deviation(values: &[f64]) -> Value {
    if values.is_empty() {
        return Value::Missing;
    }
    let mean = sum(values) / values.len() as f64;
    let squares: f64 = values
        .iter()
        .map(|value| (value - mean) * (value - mean))
        .sum();
    Value::About((squares / values.len() as f64).sqrt())
}

fn number(value: Option<f64>) -> Value {
    value.map_or(Value::Missing, Value::Number)
}

fn different<T: Ord>(values: impl Iterator<Item = T>) -> Value {
    Value::Number(values.collect::<BTreeSet<_>>().len() as f64)
}

fn share(window: &[Seen<'_>], is: impl Fn(&Seen<'_>) -> bool) -> Value {
    let positive = window.iter().filter(|seen| is(seen)).count();
    Value::Number(if window.is_empty() {
        0.0
    } else {
        positive as f64 / window.len() as f64
    })
}

#[derive(Debug, Clone)]
pub(crate) struct Aggregate {
    pub(crate) entity: usize,
    pub(crate) window: i64,
    pub(crate) delay: i64,
    pub(crate) filter: usize,
    pub(crate) function: usize,
}

impl Aggregate {
    pub(crate) fn source(&self) -> String {
        let entity = ENTITIES[self.entity].name;
        let delay = match self.delay {
            0 => String::new(),
            delay => format!(".delayed(\"{delay}s\")"),
        };
        let filter = match FILTERS[self.filter].0 {
            "" => String::new(),
            filter => format!(".where({filter})"),
        };
        let function = FUNCTIONS[self.function].0;
        format!(
            "{entity}.last(\"{}s\"){delay}{filter}.{function}",
            self.window
        )
    }

    /// Holds a result against the brute-force pass for the event at `own`.
    pub(crate) fn expect(
        &self,
        known: &[Known],
        own: usize,
        cell: Cell,
    ) -> Result<(), TestCaseError> {
        let expected = self.brute_force(known, own);
        let source = self.source();
        let as_seconds = |span: Span| span.micros() / 1_000_000;
        let ours = match &expected {
            Value::Missing if cell.is_missing() => Value::Missing,
            Value::About(expected) => {
                let ours = cell.as_number().unwrap_or(f64::NAN);
                prop_assert!(
                    (ours - expected).abs() <= 1e-9 * (1.0 + expected.abs()),
                    "{source}: {ours}, not {expected}"
                );
                return Ok(());
            }
            Value::Missing | Value::Number(_) => number(cell.as_number()),
            Value::Flag(_) => cell.as_flag().map_or(Value::Missing, Value::Flag),
            Value::Seconds(_) => cell
                .as_span()
                .map_or(Value::Missing, |span| Value::Seconds(as_seconds(span))),
            Value::At(_) => cell
                .as_time()
                .map_or(Value::Missing, |at| Value::At(at.micros() / 1_000_000)),
        };
        prop_assert_eq!(ours, expected, "{} for {:?}", source, known[own]);
        Ok(())
    }

    fn brute_force(&self, known: &[Known], own: usize) -> Value {
        let kind = &ENTITIES[self.entity];
        let scored = &known[own];
        let mut all: Vec<&Known> = known
            .iter()
            .filter(|other| (kind.same)(&other.event, &scored.event))
            .collect();
        let tie = |known: &Known| {
            if kind.by_arrival {
                known.sequence as u64
            } else {
                known.key
            }
        };
        all.sort_by_key(|known| (known.event.at, tie(known)));
        let (at, key) = (scored.event.at, tie(scored));
        let end = at - self.delay;
        let inside = all.into_iter().filter(|other| {
            let is_later = self.delay == 0 && (other.event.at, tie(other)) > (at, key);
            other.event.at > end - self.window && other.event.at <= end && !is_later
        });
        let seen = inside.map(|other| {
            let is_own = std::ptr::eq(other, scored);
            Seen {
                event: &other.event,
                fraud: !is_own && other.is_fraud(at),
                declined: other.declined.filter(|_| !is_own),
                is_own,
            }
        });
        let window: Vec<Seen<'_>> = seen
            .filter(|seen| FILTERS[self.filter].1(seen, &scored.event))
            .collect();
        FUNCTIONS[self.function].1(&window, &scored.event)
    }
}
