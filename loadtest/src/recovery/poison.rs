//! Line 5: one record in a hundred cannot be read, for one of more than twenty reasons.
//!
//! Each is to be told of in dead letters, once, by its place and its reason; none may hold up a partition; and what the service
//! knows is to be what one knows that was never sent them.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use anyhow::{Context, Result};
use rdkafka::message::{BorrowedMessage, Headers as _, Message as _};
use tollgate_report::{Goal, Row};

use super::Stage;
use super::deliveries::Acknowledged;
use super::digest::digest;
use super::log::{DEAD_LETTERS, Log, Shape, TRANSACTIONS};
use super::spoiled::{CARD_NUMBER, SPOILED, Sample, Spoiled};
use crate::figures::count;
use crate::generate::{Config, Event, Generator};

const EVENTS: u64 = 300_000;
const EVENTS_QUICK: u64 = 10_000;
const EVENTS_PER_CARD: u64 = 40;

/// One in so many records is poison.
const EVERY: u64 = 100;

const PATIENCE: Duration = Duration::from_secs(300);

const DEAD: &str = "tollgate_ingest_results_total{result=\"dead_letter\"}";
const LOST: &str = "tollgate_dead_letters_total{result=\"lost\"}";

const SHAPE: Shape = Shape {
    partitions: 6,
    replicas: 1,
};

/// Topic, partition and offset.
type Place = (String, i32, i64);

/// Poison by where it lies.
type Laid = BTreeMap<Place, &'static Spoiled>;

pub(super) async fn run(stage: &Stage<'_>) -> Result<Vec<Row>> {
    let poisoned = stage.log("poisoned", SHAPE).await?;
    let clean = stage.log("clean", SHAPE).await?;
    let victim = stage.launch("poisoned", &poisoned, &[])?.start().await?;
    let other = stage.launch("clean", &clean, &[])?.start().await?;
    let events = stage.count(EVENTS, EVENTS_QUICK);
    let (records, laid) = publish(&poisoned, &clean, events).await?;
    let seen = digest(&victim, &poisoned, PATIENCE).await?;
    let expected = digest(&other, &clean, PATIENCE).await?;
    let dead = victim.admin.sum(DEAD).await?;
    let lost = victim.admin.sum(LOST).await?;
    // Its last letters are acknowledged before it ends.
    drop(victim);
    let letters = tokio::task::spawn_blocking(move || letters(&poisoned)).await??;
    let kinds: BTreeSet<&str> = laid.values().map(|kind| kind.name).collect();
    let held = Held::of(&laid, &letters);
    Ok(vec![
        Row::new("records", "count", count(records)),
        Row::new("poison", "count", count(laid.len())),
        Row::new("poison.kinds", "count", count(kinds.len())).goal(Goal::AtLeast(20.0)),
        Row::new("poison.refused", "count", count(dead)).goal(Goal::AtLeast(count(laid.len()))),
        Row::new("letters", "count", count(letters.len())),
        Row::new("letters.lost", "count", count(lost)).goal(Goal::AtMost(0.0)),
        Row::new("letters.missing", "count", count(held.missing)).goal(Goal::AtMost(0.0)),
        Row::new("letters.twice", "count", count(held.twice)).goal(Goal::AtMost(0.0)),
        Row::new("letters.strange", "count", count(held.strange)).goal(Goal::AtMost(0.0)),
        Row::new("letters.otherwise", "count", count(held.otherwise)).goal(Goal::AtMost(0.0)),
        Row::new("letters.card_numbers", "count", count(held.card_numbers)).goal(Goal::AtMost(0.0)),
        Row::new("events", "count", count(seen.events)).goal(Goal::AtLeast(count(events))),
        Row::new(
            "state.differs",
            "count",
            f64::from(u8::from(!seen.is_same(&expected))),
        )
        .goal(Goal::AtMost(0.0)),
    ])
}

/// Publishes the same history to both, and to the first poison in between. Returns how many good records that were.
async fn publish(poisoned: &Log, clean: &Log, events: u64) -> Result<(u64, Laid)> {
    let producers = [poisoned.producer()?, clean.producer()?];
    let poisoner = Acknowledged::connect(poisoned)?;
    let mut laid = Laid::new();
    let mut kinds = SPOILED.iter().cycle();
    let cards = u32::try_from(events / EVENTS_PER_CARD)?;
    let (mut records, mut left) = (0, events);
    for event in Generator::new(Config::new(cards, u32::MAX, 1)) {
        if left == 0 {
            break;
        }
        for producer in &producers {
            producer.event(&event).await?;
        }
        records += 1;
        let Event::Transaction(generated) = &event else {
            continue;
        };
        left -= 1;
        if records % EVERY == 0 {
            let kind = kinds.next().context("no kind of poison")?;
            let value = (kind.make)(&Sample::of(&generated.event));
            let topic = poisoned.topic(kind.topic.unwrap_or(TRANSACTIONS));
            let delivered = poisoner
                .send(&topic, event.card_id(), value.as_deref())
                .await?;
            laid.insert((topic, delivered.partition, delivered.offset), kind);
        }
    }
    for producer in &producers {
        producer.flush().await?;
    }
    Ok((records, laid))
}

/// What a dead letter says.
struct Letter {
    place: Place,
    error: String,
    /// All of it: headers and value.
    text: String,
}

/// All dead letters. Blocks.
fn letters(log: &Log) -> Result<Vec<Letter>> {
    let mut letters = Vec::new();
    log.read(DEAD_LETTERS, |message| {
        letters.push(letter(message)?);
        Ok(())
    })?;
    Ok(letters)
}

fn letter(message: &BorrowedMessage<'_>) -> Result<Letter> {
    let headers = message.headers().context("a dead letter without headers")?;
    let headers: BTreeMap<&str, String> = headers
        .iter()
        .map(|header| {
            let value = String::from_utf8_lossy(header.value.unwrap_or_default());
            (header.key, value.into_owned())
        })
        .collect();
    let header = |key: &str| {
        let value = headers.get(key);
        value.with_context(|| format!("a dead letter without the header {key}"))
    };
    let value = String::from_utf8_lossy(message.payload().unwrap_or_default());
    Ok(Letter {
        place: (
            header("topic")?.clone(),
            header("partition")?.parse()?,
            header("offset")?.parse()?,
        ),
        error: header("error")?.clone(),
        text: format!("{headers:?} {value}"),
    })
}

/// What is wrong with letters.
#[derive(Debug, Default, PartialEq, Eq)]
struct Held {
    /// Poison that no letter tells of.
    missing: usize,
    /// Poison that more than one letter tells of.
    twice: usize,
    /// Letters about records that were no poison.
    strange: usize,
    /// Letters that give another reason than there is.
    otherwise: usize,
    /// Letters that say a card number.
    card_numbers: usize,
}

impl Held {
    fn of(laid: &Laid, letters: &[Letter]) -> Self {
        let mut held = Self::default();
        let mut told: BTreeMap<&Place, usize> = BTreeMap::new();
        for letter in letters {
            held.card_numbers += usize::from(letter.text.contains(CARD_NUMBER));
            match laid.get(&letter.place) {
                Some(kind) => {
                    *told.entry(&letter.place).or_default() += 1;
                    if !letter.error.contains(kind.reason) {
                        println!("   {}: {}", kind.name, letter.error);
                        held.otherwise += 1;
                    }
                }
                None => held.strange += 1,
            }
        }
        held.missing = laid.len() - told.len();
        held.twice = told.values().filter(|times| **times > 1).count();
        held
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::recovery::log::LABELS;

    #[test]
    fn letters_are_held_against_what_was_laid() {
        let place = |offset| ("transactions".to_owned(), 0, offset);
        let letter = |offset, error: &str| Letter {
            place: place(offset),
            error: error.to_owned(),
            text: error.to_owned(),
        };
        let kind = &SPOILED[0];
        let laid: Laid = [1, 2, 3].map(|offset| (place(offset), kind)).into();
        let right = |offset| letter(offset, kind.reason);
        let none = Held::default();
        assert_eq!(Held::of(&laid, &[right(1), right(2), right(3)]), none);
        let wrong = [right(1), right(1), letter(2, CARD_NUMBER), right(7)];
        let expected = Held {
            missing: 1,
            twice: 1,
            strange: 1,
            otherwise: 1,
            card_numbers: 1,
        };
        assert_eq!(Held::of(&laid, &wrong), expected);
    }

    #[test]
    fn poison_is_laid_in_both_topics() {
        let topics: Vec<_> = SPOILED.iter().map(|kind| kind.topic).collect();
        assert!(topics.contains(&None) && topics.contains(&Some(LABELS)));
    }
}
