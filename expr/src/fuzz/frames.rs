//! Transactions, and what else a decision knows, at random.

use std::collections::BTreeMap;

use tollgate_types::{
    AttributeValue, CardId, Cell, Channel, Currency, EventTime, FieldType, Money, Rates, Schema,
    Span, TextKey, Transaction, TransactionId,
};

use super::mutate::Random;
use crate::{Frame, Function, Layout, Type};

const NUMBERS: [f64; 10] = [0.0, 1.0, -1.0, 2.5, 5.0, 48.8, 500.0, 1e300, -1e300, 1e-300];
const TEXTS: [&str; 9] = [
    "",
    "US",
    "FR",
    "m1",
    "ecommerce",
    "10.1.2.3",
    "::ffff:10.0.0.1",
    "2001:db8::1",
    "Gürtel-Ürün 10",
];
/// Microseconds: around 1970, in 2026, and at both ends of time.
const MOMENTS: [i64; 7] = [
    0,
    1,
    -1,
    3_600_000_000,
    1_772_407_815_000_000,
    i64::MAX,
    i64::MIN,
];

/// Makes them up, the same from the same seed.
pub(super) struct Scenes {
    random: Random,
}

impl Scenes {
    pub(super) const fn new(seed: u64) -> Self {
        Self {
            random: Random::new(seed),
        }
    }

    pub(super) fn transaction(&mut self) -> (Transaction, Rates) {
        let currency = Currency::parse("EUR").unwrap();
        let amount = Money {
            amount_minor: [0, 1, 499, 50_000, i64::MAX][self.random.below(5)],
            currency,
        };
        let mut transaction = Transaction::new(
            TransactionId::parse("t1").unwrap(),
            EventTime::from_micros(self.moment()),
            CardId::parse("card-1").unwrap(),
            amount,
            self.text().to_owned(),
        );
        transaction.merchant_category_code = self.maybe(|_| 4511);
        transaction.merchant_country = self.maybe(|scenes| scenes.text().to_owned());
        transaction.terminal_id = self.maybe(|scenes| scenes.text().to_owned());
        transaction.channel = self.maybe(|scenes| Channel::ALL[scenes.random.below(5)]);
        transaction.card_country = self.maybe(|scenes| scenes.text().to_owned());
        transaction.ip_address = self.maybe(|scenes| scenes.text().to_owned());
        transaction.attributes = self.attributes();
        let rates = Rates::new(currency, BTreeMap::new()).unwrap();
        (transaction, rates)
    }

    fn attributes(&mut self) -> Vec<(String, AttributeValue)> {
        let number = |scenes: &mut Self| AttributeValue::Number(scenes.number());
        let attributes = [
            (
                "product",
                self.maybe(|_| AttributeValue::Text("hotel".to_owned())),
            ),
            ("passengers", self.maybe(number)),
            (
                "refundable",
                self.maybe(|scenes| AttributeValue::Flag(scenes.flag())),
            ),
            (
                "departure_time",
                self.maybe(|scenes| AttributeValue::Time(EventTime::from_micros(scenes.moment()))),
            ),
            ("latitude", self.maybe(number)),
            ("longitude", self.maybe(number)),
        ];
        let written = attributes.into_iter();
        written
            .filter_map(|(name, value)| Some((name.to_owned(), value?)))
            .collect()
    }

    /// The slots that are not the transaction's fields, each with a value of its type or missing.
    pub(super) fn fill(&mut self, schema: &Schema, layout: &Layout, frame: &mut Frame<'_>) {
        frame.set(layout.score, self.cell(Type::Number));
        for (aggregate, slot) in &layout.aggregates {
            let columns = &schema.entity_at(aggregate.entity).columns;
            let kind = match aggregate.function {
                Function::Min(column) | Function::Max(column) | Function::Last(column) => {
                    columns[usize::from(column.0)].kind.into()
                }
                Function::SinceLast => Type::Duration,
                Function::FirstSeen => Type::Time,
                _ => FieldType::Number.into(),
            };
            frame.set(*slot, self.cell(kind));
        }
        for (_, slot) in &layout.lookups {
            frame.set(*slot, self.cell(Type::Flag));
        }
    }

    fn cell(&mut self, kind: Type) -> Cell {
        let cell = self.maybe(|scenes| match kind {
            Type::Number => Cell::number(scenes.number()),
            Type::Text => Cell::text(TextKey::of(scenes.text())),
            Type::Flag => Cell::flag(scenes.flag()),
            Type::Time => Cell::time(EventTime::from_micros(scenes.moment())),
            Type::Duration => Cell::span(Span::from_micros(scenes.moment())),
        });
        cell.unwrap_or(Cell::MISSING)
    }

    /// Missing one time in four.
    fn maybe<T>(&mut self, make: impl FnOnce(&mut Self) -> T) -> Option<T> {
        (self.random.below(4) > 0).then(|| make(self))
    }

    fn number(&mut self) -> f64 {
        NUMBERS[self.random.below(NUMBERS.len())]
    }

    fn text(&mut self) -> &'static str {
        TEXTS[self.random.below(TEXTS.len())]
    }

    fn moment(&mut self) -> i64 {
        MOMENTS[self.random.below(MOMENTS.len())]
    }

    fn flag(&mut self) -> bool {
        self.random.below(2) == 0
    }
}
