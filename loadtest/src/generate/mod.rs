//! A small world of travelers who pay by card, and of those who steal from them.
//!
//! Everything follows from the seed: the same seed gives the same events on every machine, day by day, so that
//! memory is bounded by the cards, one day of transactions and the labels still on their way. There is no wall
//! clock: the calendar starts on a fixed date.

mod cards;
mod dice;
mod draft;
mod fraud;
mod merchants;
mod schemes;
mod spending;
mod world;
pub mod write;

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use tollgate_proto::v1;
use tollgate_types::EventTime;

use cards::Card;
pub(crate) use dice::Dice;
use dice::mix;
use draft::{DAY, Draft, SECOND, card_id, timestamp};
use fraud::Fraud;
pub use fraud::Pattern;
use merchants::Merchants;
use spending::Today;

/// The calendar starts on 2026-03-01T00:00:00Z.
const START: EventTime = EventTime::from_micros(1_772_323_200 * SECOND);

/// Streams of draws that belong to no card; cards use `day << 32 | card`.
const STREAM_WORLD: u64 = u64::MAX;
const STREAM_CARDS: u64 = 1 << 62;
const STREAM_FRAUD: u64 = 1 << 63;
const STREAM_LABELS: u64 = 3 << 62;

/// What to generate.
#[derive(Clone, Copy, Debug)]
pub struct Config {
    pub cards: u32,
    pub days: u32,
    pub seed: u64,
}

impl Config {
    pub const fn new(cards: u32, days: u32, seed: u64) -> Self {
        Self { cards, days, seed }
    }
}

/// Midnight UTC of a day of the calendar, which begins with day 0.
pub const fn midnight(day: u32) -> EventTime {
    EventTime::from_micros(START.micros() + day as i64 * DAY)
}

/// What is published next.
#[derive(Clone, Debug, PartialEq)]
pub enum Event {
    Transaction(Box<Generated>),
    Label(KnownLabel),
}

/// A transaction and the truth about it.
#[derive(Clone, Debug, PartialEq)]
pub struct Generated {
    /// `authorized` is what the issuer would say if nobody else had doubts.
    pub event: v1::TransactionEvent,
    pub event_time: EventTime,
    pub amount_euro: f64,
    pub fraud: Option<Pattern>,
}

/// A label at the moment it becomes known. The card is its Kafka key.
#[derive(Clone, Debug, PartialEq)]
pub struct KnownLabel {
    pub card_id: String,
    pub label: v1::Label,
    pub known_at: EventTime,
}

impl Event {
    /// When it is published: the event time of a transaction, the moment a label becomes known.
    pub const fn at(&self) -> EventTime {
        match self {
            Self::Transaction(generated) => generated.event_time,
            Self::Label(known) => known.known_at,
        }
    }

    pub const fn is_transaction(&self) -> bool {
        matches!(self, Self::Transaction(_))
    }

    /// The Kafka key.
    pub fn card_id(&self) -> &str {
        match self {
            Self::Transaction(generated) => {
                let transaction = generated.event.transaction.as_ref();
                transaction.map_or("", |transaction| &transaction.card_id)
            }
            Self::Label(known) => &known.card_id,
        }
    }
}

/// All events in the order in which they are published. Labels that become known after the last day come last.
pub struct Generator {
    config: Config,
    merchants: Merchants,
    cards: Vec<Card>,
    fraud: Fraud,
    next_day: u32,
    /// Today's transactions, the next one last.
    today: Vec<Draft>,
    /// Transactions of a case that went on past midnight.
    tomorrow: Vec<Draft>,
    labels: BinaryHeap<Reverse<PendingLabel>>,
    published: u64,
}

/// A label that is not known yet; ordered by the moment, then by the transaction's number.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct PendingLabel {
    known_at: i64,
    number: u64,
    card: usize,
    fraud: bool,
}

impl Generator {
    pub fn new(config: Config) -> Self {
        let mut dice = Dice::new(config.seed, STREAM_WORLD);
        let merchants = Merchants::new(config.cards, &mut dice);
        let card = |card: u32| {
            let mut dice = Dice::new(config.seed, STREAM_CARDS | u64::from(card));
            Card::new(&merchants, START.micros(), &mut dice)
        };
        let cards: Vec<Card> = (0..config.cards.max(1)).map(card).collect();
        let honest = cards.iter().map(|card| card.rate).sum();
        Self {
            config,
            merchants,
            cards,
            fraud: Fraud::new(honest),
            next_day: 0,
            today: Vec::new(),
            tomorrow: Vec::new(),
            labels: BinaryHeap::new(),
            published: 0,
        }
    }

    fn generate_day(&mut self) {
        let day = self.next_day;
        self.next_day += 1;
        let midnight = midnight(day).micros();
        let mut drafts = std::mem::take(&mut self.tomorrow);
        for (card, holder) in self.cards.iter_mut().enumerate() {
            let dice = Dice::new(self.config.seed, u64::from(day) << 32 | card as u64);
            Today {
                merchants: &self.merchants,
                card,
                holder,
                day,
                midnight,
                dice,
                drafts: &mut drafts,
            }
            .live();
        }
        let mut dice = Dice::new(self.config.seed, STREAM_FRAUD | u64::from(day));
        let world = (&self.merchants, self.cards.as_slice());
        self.fraud
            .commit(day, midnight, world, &mut dice, &mut drafts);

        let end = midnight + DAY;
        let (mut today, tomorrow): (Vec<_>, Vec<_>) =
            drafts.into_iter().partition(|draft| draft.at < end);
        self.tomorrow = tomorrow;
        // A stable sort: events of the same microsecond keep the order they were drawn in.
        today.sort_by_key(|draft| draft.at);
        let mut dice = Dice::new(self.config.seed, STREAM_LABELS | u64::from(day));
        for draft in &mut today {
            draft.known_at = label_delay(draft.fraud, &mut dice).map(|delay| draft.at + delay);
        }
        today.reverse();
        self.today = today;
    }

    fn transaction(&mut self, draft: Draft) -> Event {
        let number = self.published;
        self.published += 1;
        if let Some(known_at) = draft.known_at {
            self.labels.push(Reverse(PendingLabel {
                known_at,
                number,
                card: draft.card,
                fraud: draft.fraud.is_some(),
            }));
        }
        let (at, amount_euro, fraud) = (draft.at, draft.amount_euro, draft.fraud);
        let id = transaction_id(self.config.seed, number);
        let event = draft.into_event(id, self.config.seed, &self.merchants);
        Event::Transaction(Box::new(Generated {
            event,
            event_time: EventTime::from_micros(at),
            amount_euro,
            fraud,
        }))
    }

    fn label(&self, pending: PendingLabel) -> Event {
        Event::Label(KnownLabel {
            card_id: card_id(self.config.seed, pending.card),
            label: v1::Label {
                transaction_id: transaction_id(self.config.seed, pending.number),
                fraud: pending.fraud,
                known_at: Some(timestamp(pending.known_at)),
            },
            known_at: EventTime::from_micros(pending.known_at),
        })
    }
}

impl Iterator for Generator {
    type Item = Event;

    fn next(&mut self) -> Option<Event> {
        while self.today.is_empty() && self.next_day < self.config.days {
            self.generate_day();
        }
        let transaction_at = self.today.last().map_or(i64::MAX, |draft| draft.at);
        if let Some(&Reverse(pending)) = self.labels.peek()
            && pending.known_at <= transaction_at
        {
            self.labels.pop();
            return Some(self.label(pending));
        }
        let draft = self.today.pop()?;
        Some(self.transaction(draft))
    }
}

/// The first `count` transactions of an endless calendar, as they are scored.
pub(crate) fn transactions(cards: u32, seed: u64, count: usize) -> Vec<v1::Transaction> {
    let only = |event| match event {
        Event::Transaction(generated) => generated.event.transaction,
        Event::Label(_) => None,
    };
    Generator::new(Config::new(cards, u32::MAX, seed))
        .filter_map(only)
        .take(count)
        .collect()
}

fn transaction_id(seed: u64, number: u64) -> String {
    format!("tx-{:08x}-{number:09}", mix(seed) >> 32)
}

/// How long it takes until a transaction's nature is known: two to ten days for fraud, most cases in the first
/// half; a few good transactions are disputed or confirmed by their holder and get a label as well.
#[expect(clippy::cast_possible_truncation, reason = "days in microseconds")]
fn label_delay(fraud: Option<Pattern>, dice: &mut Dice) -> Option<i64> {
    let days = match fraud {
        Some(Pattern::AccountTakeover) => dice.between(2.0, 5.0),
        Some(_) => 2.0 + 8.0 * dice.between(0.0, 1.0).powf(1.6),
        None if dice.chance(0.02) => dice.between(3.0, 10.0),
        None => return None,
    };
    Some((days * 86_400.0) as i64 * SECOND)
}

#[cfg(test)]
mod tests;
