//! FS-3: a store that was read from an image, and then told the rest of the log, is the store that was told all of it.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test that cannot go on should stop"
)]

mod common;
mod played;

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};

use common::{Asked, Event, schema, seconds};
use played::*;
use proptest::prelude::*;
use proptest::sample::Index;
use tollgate_features::{Limits, Restoring, Store, differences};
use tollgate_types::{FieldType, SchemaBuilder, Span};

#[test]
fn what_follows_an_image_gives_what_it_gives_without_one() {
    proptest!(config(400), |(
        events in events(),
        steps in prop::collection::vec(step(), 1..250),
        passes in prop::collection::vec(any::<Index>(), 0..4),
        end in any::<Index>(),
    )| {
        let end = end.index(steps.len());
        let passes: Vec<usize> = passes.iter().map(|pass| pass.index(end + 1)).collect();
        let whole = asked(Store::new(kept()));
        steps.iter().for_each(|step| take(&whole, &events, step));

        let first = asked(Store::new(kept()));
        let mut imaging = first.store.image();
        let mut chunks = Chunks::default();
        for (at, step) in steps[..end].iter().enumerate() {
            for _ in passes.iter().filter(|pass| **pass == at) {
                chunks.pass(&mut imaging);
            }
            take(&first, &events, step);
        }
        chunks.finish(imaging);
        let restored = asked(chunks.read().unwrap());
        prop_assert_eq!(restored.store.digest(), first.store.digest());
        prop_assert_eq!(restored.store.size().transactions, first.store.size().transactions);
        prop_assert_eq!(restored.store.size().entities, first.store.size().entities);
        prop_assert_eq!(restored.store.size().pending_labels, first.store.size().pending_labels);

        steps[end..].iter().for_each(|step| take(&restored, &events, step));
        prop_assert_eq!(restored.store.digest(), whole.store.digest());
        // Of what is beyond retention some lies about until it is swept out.
        let horizon = whole.store.watermark().minus(RETENTION);
        for event in events.iter().filter(|event| seconds(event.at) > horizon.plus(WINDOW)) {
            prop_assert_eq!(restored.read(event), whole.read(event), "{:?}", event);
        }
        // What was in flight expires in both alike, and its labels go back to waiting.
        let expired = |asked: &Asked| asked.store.expire_in_flight(seconds(NEVER + 1));
        prop_assert_eq!(expired(&restored), expired(&whole));
        prop_assert_eq!(restored.store.size().in_flight, 0);
        prop_assert_eq!(restored.store.digest(), whole.store.digest());
    });
}

#[test]
fn an_image_taken_while_others_score_and_the_log_is_applied_is_that_of_its_position() {
    const LOGGED: usize = 6_000;
    let logged = |number: usize| Event {
        card: u32::try_from(number % 97).unwrap(),
        merchant: u32::try_from(number % 7).unwrap(),
        terminal: Some(u32::try_from(number % 3).unwrap()),
        ..Event::new(&format!("t{number}"), i64::try_from(number / 8).unwrap())
    };
    let tell = |asked: &Asked, number: usize| {
        asked.log(&logged(number), !number.is_multiple_of(3));
        if number.is_multiple_of(2) {
            // Of one that is there, and of one that is scored at most.
            asked.label(&format!("t{}", number / 2), number.is_multiple_of(4), 900);
            asked.label(&format!("t{}", (number + 40).min(LOGGED - 1)), true, 901);
        }
        asked
            .store
            .advance_watermark(seconds(i64::try_from(number / 8).unwrap()));
    };
    for round in 0..6 {
        let store = asked(Store::new(schema(Span::from_seconds(100_000))));
        let position = Mutex::new(0);
        let ended = AtomicBool::new(false);
        let (mut chunks, mut stood_at) = (Chunks::default(), 0);
        std::thread::scope(|threads| {
            threads.spawn(|| {
                for number in 0..LOGGED {
                    let mut position = position.lock().unwrap();
                    tell(&store, number);
                    *position = number + 1;
                }
                ended.store(true, Ordering::Relaxed);
            });
            threads.spawn(|| {
                while !ended.load(Ordering::Relaxed) {
                    let next = *position.lock().unwrap();
                    for number in (next..(next + 50).min(LOGGED)).rev() {
                        store.score(&logged(number), NEVER);
                    }
                }
            });
            while *position.lock().unwrap() < (round + 1) * 800 {
                std::thread::yield_now();
            }
            let mut imaging = store.store.image();
            for _ in 0..round {
                chunks.pass(&mut imaging);
            }
            let position = position.lock().unwrap();
            chunks.finish(imaging);
            stood_at = *position;
        });
        let mut restoring = Restoring::new(schema(Span::from_seconds(100_000)), Limits::default());
        chunks
            .0
            .iter()
            .for_each(|chunk| restoring.chunk(chunk).unwrap());
        let restored = asked(restoring.finish(seconds(NEVER)).unwrap());
        (stood_at..LOGGED).for_each(|number| tell(&restored, number));
        assert_eq!(
            restored.store.digest(),
            store.store.digest(),
            "from {stood_at} on"
        );
        let plain = asked(Store::new(schema(Span::from_seconds(100_000))));
        (0..LOGGED).for_each(|number| tell(&plain, number));
        assert_eq!(restored.store.digest(), plain.store.digest());
        for number in (0..LOGGED).step_by(37) {
            assert_eq!(restored.read(&logged(number)), plain.read(&logged(number)));
        }
    }
}

#[test]
fn a_digest_tells_stores_apart() {
    let told = |steps: &[Step]| {
        let asked = asked(Store::new(kept()));
        let events = [
            Event {
                terminal: Some(1),
                ..Event::new("a", 1)
            },
            Event::new("b", 1),
            Event::new("c", 2),
        ];
        steps.iter().for_each(|step| take(&asked, &events, step));
        asked.store.digest()
    };
    let log = |event, authorized| Step::Log { event, authorized };
    let label = |known_at| Step::Label {
        event: 0,
        fraud: true,
        known_at,
    };
    let all = [
        told(&[]),
        told(&[log(0, true)]),
        told(&[log(0, false)]),
        told(&[log(0, true), log(1, true)]),
        // Those of one card that tie lie as they came.
        told(&[log(1, true), log(0, true)]),
        told(&[log(0, true), label(5)]),
        told(&[log(0, true), label(6)]),
        told(&[label(5)]),
        told(&[Step::Watermark(3)]),
    ];
    for (at, one) in all.iter().enumerate() {
        assert!(!all[..at].contains(one), "{at}");
    }
    let same = told(&[log(0, true), log(2, true), label(5)]);
    assert_eq!(
        same,
        told(&[
            label(5),
            Step::Score { event: 2 },
            log(2, true),
            Step::Score { event: 1 },
            log(0, true)
        ])
    );
}

#[test]
fn an_image_says_what_it_was_kept_under_and_what_no_longer_fits() {
    let schema = |entities: &[(&str, &str, &[&str], i64)]| {
        let mut builder = SchemaBuilder::default();
        builder
            .attribute("nights", FieldType::Number, None)
            .unwrap();
        for (name, key, retain, days) in entities {
            let retain = common::names(retain);
            builder
                .entity(
                    name,
                    &common::names(&[key]),
                    &retain,
                    Span::from_days(*days),
                )
                .unwrap();
        }
        Store::retained(&builder.build())
    };
    let card = ("card", "card_id", &["amount"][..], 30);
    let terminal = ("terminal", "terminal_id", &["amount", "nights"][..], 7);
    let before = schema(&[card, terminal]);
    assert_eq!(
        before[1],
        "terminal: by terminal_id (text), amount (number), nights (number) for 7d"
    );
    let now = |entities: &[_]| differences(&before, &schema(entities)).join("; ");
    assert_eq!(now(&[card, terminal]), "");
    assert_eq!(now(&[card]), "the entity `terminal` was taken away");
    assert_eq!(now(&[terminal, card]), "the entities are in another order");
    let device = ("device", "device_id", &[][..], 1);
    assert_eq!(now(&[card, terminal, device]), "the entity `device` is new");
    let longer = ("card", "card_id", &["amount"][..], 60);
    assert_eq!(
        now(&[longer, terminal]),
        "the entity `card` was kept by card_id (text), amount (number) for 30d and now is kept by card_id \
         (text), amount (number) for 60d"
    );
}

#[test]
fn a_history_that_was_cut_off_still_says_so_and_counts_on_over_its_closed_blocks() {
    let limits = Limits {
        events_per_entity_max: 300,
        ..Limits::default()
    };
    let sources = ["card.last(\"2000s\").sum(amount)".to_owned()];
    let whole = Asked::new(
        Store::with_limits(schema(Span::from_seconds(9_000)), limits),
        &sources,
    );
    let event = |number: i64| Event::new(&format!("t{number}"), number);
    let tell = |asked: &Asked, number: i64| {
        asked.log(&event(number), true);
        asked.label(&format!("t{number}"), true, number + 1);
        asked.label(&format!("t{number}"), false, number + 2);
    };
    (0..700).for_each(|number| tell(&whole, number));
    let mut chunks = Chunks::default();
    chunks.finish(whole.store.image());
    let mut restoring = Restoring::new(schema(Span::from_seconds(9_000)), limits);
    chunks
        .0
        .iter()
        .for_each(|chunk| restoring.chunk(chunk).unwrap());
    let restored = Asked::new(restoring.finish(seconds(NEVER)).unwrap(), &sources);
    for number in 700..1_000 {
        tell(&whole, number);
        tell(&restored, number);
        let (ours, noted) = restored.read_noting(&event(number));
        assert_eq!((ours, noted), whole.read_noting(&event(number)));
        assert!(noted.cut_off);
    }
    assert_eq!(restored.store.digest(), whole.store.digest());
    // Tables and lists are made to measure, where those of a store that grew have some room.
    let (ours, before) = (restored.store.size().bytes, whole.store.size().bytes);
    assert!(
        (before * 9 / 10..=before).contains(&ours),
        "{ours}, {before}"
    );
}
