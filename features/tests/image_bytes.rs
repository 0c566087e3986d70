//! Bytes that are no image, or not all of one: an error or a store that can be used, never a panic.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test that cannot go on should stop"
)]

mod common;
mod played;

use common::{Event, seconds};
use played::*;
use proptest::prelude::*;
use proptest::sample::Index;
use tollgate_features::{ImageError, Limits, Restoring, Store};

/// Some image with everything in it.
fn image_of(events: &[Event], steps: &[Step]) -> Vec<Vec<u8>> {
    let asked = asked(Store::new(kept()));
    let mut chunks = Chunks::default();
    let mut imaging = asked.store.image();
    for (at, step) in steps.iter().enumerate() {
        take(&asked, events, step);
        if at % 100 == 50 {
            chunks.pass(&mut imaging);
        }
    }
    chunks.finish(imaging);
    chunks.0
}

/// Whatever the bytes are, they give an error or a store that can be used.
fn use_it(chunks: &[Vec<u8>], events: &[Event]) {
    let Ok(store) = read(chunks) else {
        return;
    };
    let asked = asked(store);
    asked.store.digest();
    asked.store.size();
    for event in events {
        asked.read(event);
        asked.score(event, NEVER);
        asked.log(event, false);
        asked.label(&event.id, true, 70);
        asked.read(event);
    }
    asked.store.expire_in_flight(seconds(NEVER + 1));
    asked.store.repack(1_000);
    asked.store.evict();
    asked.store.digest();
}

#[test]
fn bytes_that_are_no_image_are_refused_or_harmless() {
    let changes = prop::collection::vec((any::<Index>(), any::<Index>(), any::<u8>()), 1..4);
    proptest!(config(600), |(
        events in events(),
        steps in prop::collection::vec(step(), 150..300),
        changes in changes,
        cut in prop::option::weighted(0.2, any::<Index>()),
    )| {
        let mut chunks = image_of(&events, &steps);
        for (chunk, at, to) in changes {
            let count = chunks.len();
            let chunk = &mut chunks[chunk.index(count)];
            let at = at.index(chunk.len());
            chunk[at] = to;
        }
        if let Some(cut) = cut {
            let count = chunks.len();
            let chunk = &mut chunks[cut.index(count)];
            chunk.truncate(cut.index(chunk.len()));
        }
        use_it(&chunks, &events);
    });
}

#[test]
fn chunks_that_are_missing_doubled_or_foreign_are_noticed() {
    let events: Vec<Event> = (0..EVENTS)
        .map(|number| Event {
            card: u32::try_from(number).unwrap(),
            ..Event::new(&format!("t{number}"), i64::try_from(number).unwrap())
        })
        .collect();
    let steps: Vec<Step> = (0..EVENTS)
        .map(|event| Step::Log {
            event,
            authorized: true,
        })
        .collect();
    let chunks = image_of(&events, &steps);
    assert!(read(&chunks).is_ok());
    for at in 0..chunks.len() {
        let mut fewer = chunks.clone();
        fewer.remove(at);
        assert_eq!(
            read(&fewer).unwrap_err(),
            ImageError::Incomplete,
            "without {at}"
        );
        let mut more = chunks.clone();
        more.insert(at, chunks[at].clone());
        assert!(read(&more).is_err(), "{at} twice");
    }
    let tight = Limits {
        bytes_max: 100_000,
        ..Limits::default()
    };
    let mut restoring = Restoring::new(kept(), tight);
    let outcome = chunks.iter().try_for_each(|chunk| restoring.chunk(chunk));
    assert_eq!(outcome, Err(ImageError::TooLarge));
}
