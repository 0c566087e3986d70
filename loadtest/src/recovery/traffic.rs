//! What a payment system does all the time: publishes events and labels, asks for decisions, and publishes what became of what
//! it asked for.
//!
//! Everything has a number, so it is known to the last one what the log has and what was answered.

use std::collections::HashSet;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use anyhow::{Context, Result};
use prost::Message as _;
use tokio::time::{Instant, sleep_until};
use tollgate_proto::v1::{self, Outcome};

use super::log::Producer;
use crate::chaos::drive::{Client, Noted, Plan, Seen};
use crate::chaos::requests::Requests;
use crate::chaos::wire::Reply;
use crate::lock;

/// Few enough that each card has some twenty events, and its merchants many more.
pub(super) const CARDS: u32 = 5_000;

/// Some ten days of the cards' calendar, so that all of a run is within what histories are kept for.
const TEMPLATES: usize = 50_000;

/// What is published at a time, and how often.
const BATCH_EVERY: Duration = Duration::from_millis(10);

/// One event in so many is not authorized, has a label, has a second label that says otherwise, comes twice.
const DECLINED_EVERY: u64 = 11;
const LABEL_EVERY: u64 = 7;
const CHANGED_EVERY: u64 = 70;
const TWICE_EVERY: u64 = 50;

/// One answered request in so many never comes back as an event.
const NO_ECHO_EVERY: u64 = 4;

/// The cause in an answer that was given before its decision was on disk, where that was wanted.
const UNLOGGED: &str = "decision_not_logged";

const DAY_S: i64 = 86_400;

/// What each request says of its deadline.
const DEADLINE: Duration = Duration::from_millis(100);

/// A decision that was answered.
#[derive(Clone, Debug)]
pub(super) struct Answered {
    pub(super) number: u64,
    pub(super) decision_id: String,
    pub(super) at: Instant,
    /// The answer itself says that its decision was not safe by then.
    pub(super) is_unlogged: bool,
    authorized: bool,
}

#[cfg(test)]
impl Answered {
    pub(super) fn of(number: u64, decision_id: &str) -> Self {
        Self {
            number,
            decision_id: decision_id.to_owned(),
            at: Instant::now(),
            is_unlogged: false,
            authorized: true,
        }
    }
}

/// The traffic of one run.
pub(super) struct Traffic {
    pub(super) requests: Arc<Requests>,
    pub(super) producer: Producer,
    next_event: AtomicU64,
    /// Transactions and labels that the log has or is about to have, each counted once.
    events: AtomicU64,
    labels: AtomicU64,
    answered: Mutex<Vec<Answered>>,
}

impl Traffic {
    pub(super) fn new(seed: u64, producer: Producer) -> Result<Arc<Self>> {
        Ok(Arc::new(Self {
            requests: Arc::new(Requests::with(CARDS, seed, TEMPLATES)?),
            producer,
            next_event: AtomicU64::new(0),
            events: AtomicU64::new(0),
            labels: AtomicU64::new(0),
            answered: Mutex::default(),
        }))
    }

    /// How many different transactions and labels were published.
    pub(super) fn published(&self) -> (u64, u64) {
        let of = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        (of(&self.events), of(&self.labels))
    }

    /// The latest event time there may be, in seconds since 1970.
    pub(super) fn last_event_time_s(&self) -> i64 {
        let events = self.next_event.load(Ordering::Relaxed);
        let answered = lock(&self.answered)
            .iter()
            .map(|answered| answered.number)
            .max();
        // In each round of the templates the times are ascending.
        let last = events.max(answered.unwrap_or(0));
        self.requests.event_time_s(last)
    }

    /// All that was answered so far.
    pub(super) fn answered(&self) -> Vec<Answered> {
        lock(&self.answered).clone()
    }

    /// Publishes so many events, with the labels they have.
    pub(super) async fn publish(&self, count: u64) -> Result<()> {
        for _ in 0..count {
            let number = self.next_event.fetch_add(1, Ordering::Relaxed);
            let (card, event) = if number.is_multiple_of(DECLINED_EVERY) {
                self.requests.declined_event(number)
            } else {
                self.requests.event(number)
            };
            // Half of the labels come before what they are about, as far as two topics have an order.
            let is_early = number.is_multiple_of(2);
            if is_early {
                self.label(card, number).await?;
            }
            self.producer.transaction(card, &event).await?;
            if number.is_multiple_of(TWICE_EVERY) {
                self.producer.transaction(card, &event).await?;
            }
            if !is_early {
                self.label(card, number).await?;
            }
            self.events.fetch_add(1, Ordering::Relaxed);
        }
        Ok(())
    }

    /// Publishes so many events that say to have happened at this second; they are not counted as published.
    pub(super) async fn publish_at(&self, count: u64, seconds: i64) -> Result<()> {
        for _ in 0..count {
            let number = self.next_event.fetch_add(1, Ordering::Relaxed);
            let (card, event) = self.requests.event(number);
            let mut event = v1::TransactionEvent::decode(event.as_slice())?;
            if let Some(transaction) = &mut event.transaction {
                transaction.event_time = Some(prost_types::Timestamp { seconds, nanos: 0 });
            }
            self.producer
                .transaction(card, &event.encode_to_vec())
                .await?;
        }
        Ok(())
    }

    async fn label(&self, card: &str, number: u64) -> Result<()> {
        if !number.is_multiple_of(LABEL_EVERY) {
            return Ok(());
        }
        let known = |fraud, days| {
            let known_at = prost_types::Timestamp {
                seconds: self.requests.event_time_s(number) + days * DAY_S,
                nanos: 0,
            };
            let label = v1::Label {
                transaction_id: Requests::event_id(number),
                fraud,
                known_at: Some(known_at),
            };
            label.encode_to_vec()
        };
        self.producer.label(card, &known(true, 1)).await?;
        self.labels.fetch_add(1, Ordering::Relaxed);
        if number.is_multiple_of(CHANGED_EVERY) {
            self.producer.label(card, &known(false, 2)).await?;
            self.labels.fetch_add(1, Ordering::Relaxed);
        }
        Ok(())
    }

    /// Publishes events at a rate until it is told to stop.
    pub(super) async fn feed(&self, per_second: u64, stop: &AtomicBool) -> Result<()> {
        let batch = (per_second * 10).div_ceil(1_000);
        let mut next = Instant::now();
        while !stop.load(Ordering::Relaxed) {
            self.publish(batch).await?;
            next += BATCH_EVERY;
            sleep_until(next).await;
        }
        Ok(())
    }

    /// Asks for decisions at a rate until `meanwhile` is over, and publishes what became of those that were answered. Of those that
    /// were asked and not answered half come back as events too: the payment went on without us.
    pub(super) async fn ask<T>(
        self: &Arc<Self>,
        client: &Client,
        rate: f64,
        meanwhile: impl Future<Output = T>,
    ) -> Result<(Seen, T)> {
        let first = client.next();
        let before = lock(&self.answered).len();
        let noting = Arc::clone(self);
        let note = move |noted: &Noted<'_>| noting.note(noted);
        let plan = Plan {
            rate,
            deadline: DEADLINE,
        };
        let stop = Arc::new(AtomicBool::new(false));
        let echoing = {
            let (traffic, stop) = (Arc::clone(self), Arc::clone(&stop));
            tokio::spawn(async move { traffic.echo(before, &stop).await })
        };
        let driven = client.drive(plan, note, meanwhile).await;
        stop.store(true, Ordering::Relaxed);
        echoing.await.context("publishing of echoes panicked")??;
        let answered: HashSet<u64> = lock(&self.answered)[before..]
            .iter()
            .map(|answered| answered.number)
            .collect();
        for number in first + 1..client.next() {
            if number.is_multiple_of(2) && !answered.contains(&number) {
                self.echo_of(number, true).await?;
            }
        }
        driven
    }

    fn note(&self, noted: &Noted<'_>) {
        let Reply::Answer(response, _) = noted.reply else {
            return;
        };
        let number = response.transaction_id.rsplit('-').next();
        let Some(number) = number.and_then(|number| number.parse().ok()) else {
            return;
        };
        let authorized = !matches!(response.outcome(), Outcome::Decline | Outcome::Challenge);
        lock(&self.answered).push(Answered {
            number,
            decision_id: response.decision_id.clone(),
            at: Instant::now(),
            is_unlogged: response
                .degradation_causes
                .iter()
                .any(|cause| cause == UNLOGGED),
            authorized,
        });
    }

    /// Publishes what became of requests from the one at `next` on, until it is told to stop and all are.
    async fn echo(&self, mut next: usize, stop: &AtomicBool) -> Result<()> {
        loop {
            let is_last = stop.load(Ordering::Relaxed);
            let new: Vec<Answered> = lock(&self.answered)[next..].to_vec();
            next += new.len();
            for answered in new {
                if !answered.number.is_multiple_of(NO_ECHO_EVERY) {
                    self.echo_of(answered.number, answered.authorized).await?;
                }
            }
            if is_last {
                return Ok(());
            }
            tokio::time::sleep(BATCH_EVERY).await;
        }
    }

    async fn echo_of(&self, number: u64, authorized: bool) -> Result<()> {
        let (card, event) = self.requests.echo(number, authorized);
        self.producer.transaction(card, &event).await?;
        self.events.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }
}
