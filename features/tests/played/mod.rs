//! Random steps of a store's life, and images of it in memory.

#![allow(dead_code, reason = "each test uses its part")]

use std::convert::Infallible;
use std::sync::Arc;

use proptest::prelude::*;
use tollgate_features::{ImageError, Imaging, Limits, Restoring, Store};
use tollgate_types::{Schema, Span};

use crate::common::{Asked, Event, schema, seconds};

/// Long enough that nothing in flight expires.
pub(crate) const NEVER: i64 = i64::MAX / 2_000_000;

/// What may happen to a store; events by their number.
#[derive(Debug, Clone)]
pub(crate) enum Step {
    Log {
        event: usize,
        authorized: bool,
    },
    /// The log says otherwise of it than the request did.
    LogOther {
        event: usize,
    },
    Score {
        event: usize,
    },
    Label {
        event: usize,
        fraud: bool,
        known_at: i64,
    },
    Watermark(i64),
    Evict,
}

pub(crate) const EVENTS: usize = 60;

pub(crate) fn step() -> impl Strategy<Value = Step> {
    let event = || 0..EVENTS;
    prop_oneof![
        8 => (event(), any::<bool>()).prop_map(|(event, authorized)| Step::Log { event, authorized }),
        1 => event().prop_map(|event| Step::LogOther { event }),
        4 => event().prop_map(|event| Step::Score { event }),
        4 => (event(), any::<bool>(), 0..80_i64)
            .prop_map(|(event, fraud, known_at)| Step::Label { event, fraud, known_at }),
        1 => (0..60_i64).prop_map(Step::Watermark),
        1 => Just(Step::Evict),
    ]
}

/// Few cards, merchants and moments, so that ties and shared histories are common.
pub(crate) fn event() -> impl Strategy<Value = Event> {
    (
        (0..50_i64, 0..3_u32, 0..3_u32),
        0..500_i64,
        prop::option::of(0..4_usize),
        prop::option::of(prop::sample::select(vec![
            0.1,
            2.5,
            0.0,
            -0.0,
            1.0 / 3.0,
            2e10,
        ])),
        prop::option::of(any::<bool>()),
        prop::option::of(0..2_u32),
    )
        .prop_map(
            |((at, card, merchant), amount_minor, country, points, gift, terminal)| Event {
                at,
                card,
                merchant,
                amount_minor,
                country,
                points,
                gift,
                terminal,
                ..Event::default()
            },
        )
}

pub(crate) fn events() -> impl Strategy<Value = Vec<Event>> {
    prop::collection::vec(event(), EVENTS).prop_map(|events| {
        let named = events.into_iter().enumerate();
        named
            .map(|(number, event)| Event {
                id: format!("t{number}"),
                ..event
            })
            .collect()
    })
}

pub(crate) fn asked(store: Store) -> Asked {
    let aggregates = ["card", "merchant", "card_merchant", "terminal"]
        .iter()
        .flat_map(|entity| {
            [
                "count()",
                "sum(amount)",
                "rate(fraud)",
                "rate(declined)",
                "distinct(merchant_country)",
                "last(amount)",
                "max(points)",
            ]
            .map(|function| format!("{entity}.last(\"30s\").{function}"))
        });
    Asked::new(store, &aggregates.collect::<Vec<_>>())
}

pub(crate) const RETENTION: Span = Span::from_seconds(45);

/// That of the aggregates, and the step in which terminals are kept.
pub(crate) const WINDOW: Span = Span::from_seconds(30 + 10);

pub(crate) fn kept() -> Arc<Schema> {
    schema(RETENTION)
}

pub(crate) fn take(asked: &Asked, events: &[Event], step: &Step) {
    match step {
        Step::Log { event, authorized } => _ = asked.log(&events[*event], *authorized),
        Step::LogOther { event } => {
            let other = Event {
                amount_minor: 777,
                card: 1,
                ..events[*event].clone()
            };
            asked.log(&other, true);
        }
        Step::Score { event } => _ = asked.score(&events[*event], NEVER),
        Step::Label {
            event,
            fraud,
            known_at,
        } => {
            asked.label(&events[*event].id, *fraud, *known_at);
        }
        Step::Watermark(at) => asked.store.advance_watermark(seconds(*at)),
        Step::Evict => _ = asked.store.evict(),
    }
}

/// Chunks in memory.
#[derive(Default)]
pub(crate) struct Chunks(pub(crate) Vec<Vec<u8>>);

impl Chunks {
    pub(crate) fn pass(&mut self, imaging: &mut Imaging<'_>) -> usize {
        let Ok(entities) = imaging.pass(&mut |chunk| self.add(chunk), &mut || {});
        entities
    }

    pub(crate) fn finish(&mut self, imaging: Imaging<'_>) {
        let Ok(size) = imaging.finish(&mut |chunk| self.add(chunk));
        assert_eq!(size.chunks, self.0.len());
        assert_eq!(size.bytes, self.0.iter().map(Vec::len).sum::<usize>());
    }

    fn add(&mut self, chunk: &[u8]) -> Result<(), Infallible> {
        self.0.push(chunk.to_vec());
        Ok(())
    }

    pub(crate) fn read(&self) -> Result<Store, ImageError> {
        read(&self.0)
    }
}

pub(crate) fn read(chunks: &[Vec<u8>]) -> Result<Store, ImageError> {
    let mut restoring = Restoring::new(kept(), Limits::default());
    chunks.iter().try_for_each(|chunk| restoring.chunk(chunk))?;
    restoring.finish(seconds(NEVER))
}

pub(crate) fn config(cases: u32) -> ProptestConfig {
    ProptestConfig {
        failure_persistence: None,
        ..ProptestConfig::with_cases(cases)
    }
}
