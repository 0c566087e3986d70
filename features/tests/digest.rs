//! FS-3: the digest by which stores are compared sees any change, and no order of arrival.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test that cannot go on should stop"
)]

mod common;
mod played;

use std::collections::VecDeque;

use common::{Event, schema, seconds};
use played::{asked, config, event};
use proptest::prelude::*;
use proptest::sample::Index;
use tollgate_features::{Digest, Store};
use tollgate_types::Span;

const EVENTS: usize = 40;

/// What two topics have, each in as many partitions as there are cards.
#[derive(Debug, Clone)]
struct Told {
    events: Vec<(Event, bool)>,
    labels: Vec<Label>,
}

#[derive(Debug, Clone)]
struct Label {
    id: String,
    fraud: bool,
    known_at: i64,
}

fn told(labels_of_one: usize) -> impl Strategy<Value = Told> {
    let one = (
        event(),
        any::<bool>(),
        prop::collection::vec((any::<bool>(), 0..90_i64), 0..=labels_of_one),
    );
    prop::collection::vec(one, EVENTS).prop_map(|all| {
        let mut told = Told {
            events: Vec::new(),
            labels: Vec::new(),
        };
        for (number, (event, authorized, labels)) in all.into_iter().enumerate() {
            let id = format!("t{number}");
            let labels = labels.into_iter().map(|(fraud, known_at)| Label {
                id: id.clone(),
                fraud,
                known_at,
            });
            told.labels.extend(labels);
            told.events.push((
                Event {
                    id: id.clone(),
                    ..event
                },
                authorized,
            ));
        }
        told
    })
}

/// A record of either topic.
enum Record<'t> {
    Event(&'t (Event, bool)),
    Label(&'t Label),
}

/// Partition by partition, each in its order.
fn partitions(told: &Told) -> Vec<VecDeque<Record<'_>>> {
    let card_of = |id: &str| {
        let found = told.events.iter().find(|(event, _)| event.id == id);
        found.map_or(0, |(event, _)| event.card)
    };
    let mut partitions: Vec<VecDeque<Record<'_>>> = (0..8).map(|_| VecDeque::new()).collect();
    for event in &told.events {
        partitions[usize::try_from(event.0.card).unwrap()].push_back(Record::Event(event));
    }
    for label in &told.labels {
        let card = usize::try_from(card_of(&label.id)).unwrap();
        partitions[4 + card].push_back(Record::Label(label));
    }
    partitions
}

/// Applies everything, the next of whichever partition `order` names; of those that `scored` names a request comes before or
/// stays without echo.
fn digest(told: &Told, order: &[Index], scored: &[Index]) -> Digest {
    let store = asked(Store::new(schema(Span::from_seconds(100_000))));
    let mut partitions = partitions(told);
    let mut order = order.iter();
    for at in scored {
        let (event, _) = &told.events[at.index(told.events.len())];
        let other = Event {
            id: format!("{}-unconfirmed", event.id),
            ..event.clone()
        };
        store.score(event, played::NEVER);
        store.score(&other, played::NEVER);
    }
    loop {
        partitions.retain(|partition| !partition.is_empty());
        if partitions.is_empty() {
            break;
        }
        let at = order.next().map_or(0, |at| at.index(partitions.len()));
        match partitions[at].pop_front().unwrap() {
            Record::Event((event, authorized)) => _ = store.log(event, *authorized),
            Record::Label(label) => _ = store.label(&label.id, label.fraud, label.known_at),
        }
    }
    store.store.advance_watermark(seconds(60));
    store.store.digest()
}

#[test]
fn partitions_that_interleave_otherwise_and_requests_without_echo_change_nothing() {
    let order = || prop::collection::vec(any::<Index>(), 2 * EVENTS);
    let scored = || prop::collection::vec(any::<Index>(), 0..6);
    proptest!(config(300), |(
        told in told(3),
        one in order(),
        other in order(),
        scored in scored(),
    )| {
        let first = digest(&told, &one, &[]);
        prop_assert_eq!(first.events, EVENTS);
        prop_assert_eq!(first, digest(&told, &other, &scored));
    });
}

#[test]
fn any_single_change_of_an_event_or_a_label_is_seen() {
    type Change = fn(&mut Told, usize);
    let changes: [Change; 16] = [
        |told, at| told.events[at].0.amount_minor += 1,
        |told, at| told.events[at].0.at += 1,
        |told, at| told.events[at].0.card += 1,
        |told, at| told.events[at].0.merchant += 1,
        |told, at| {
            let country = &mut told.events[at].0.country;
            *country = country.map_or(Some(0), |at| (at > 0).then(|| at - 1));
        },
        |told, at| told.events[at].0.points = Some(77.5),
        |told, at| {
            let gift = &mut told.events[at].0.gift;
            *gift = if gift.is_none() { Some(false) } else { None };
        },
        |told, at| told.events[at].0.terminal = Some(9),
        |told, at| told.events[at].0.id.push('x'),
        |told, at| told.events[at].1 ^= true,
        |told, at| _ = told.events.remove(at),
        |told, at| {
            let mut twin = told.events[at].clone();
            twin.0.id.push('x');
            told.events.push(twin);
        },
        |told, at| told.labels[at].fraud ^= true,
        |told, at| told.labels[at].known_at += 1,
        |told, at| told.labels[at].id.push('x'),
        |told, at| _ = told.labels.remove(at),
    ];
    proptest!(config(150), |(told in told(1), at in any::<Index>())| {
        let before = digest(&told, &[], &[]);
        for (number, change) in changes.iter().enumerate() {
            let length = if number < 12 { told.events.len() } else { told.labels.len() };
            if length == 0 {
                continue;
            }
            let mut changed = told.clone();
            change(&mut changed, at.index(length));
            prop_assert_ne!(digest(&changed, &[], &[]).sum, before.sum, "change {}", number);
        }
    });
}

#[test]
fn what_comes_twice_is_in_it_once() {
    proptest!(config(100), |(told in told(1), at in any::<Index>())| {
        let before = digest(&told, &[], &[]);
        let mut again = told.clone();
        let event = told.events[at.index(told.events.len())].clone();
        again.events.push(event);
        again.labels.extend(told.labels.first().cloned());
        prop_assert_eq!(digest(&again, &[], &[]), before);
    });
}
