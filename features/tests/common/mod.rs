//! What the tests of the store share: a schema, and events as a test knows them.

#![allow(dead_code, reason = "each test uses its part")]

use std::collections::BTreeMap;
use std::sync::Arc;

use tollgate_expr::{Compiler, Frame, Layout};
use tollgate_features::{Applied, Labelled, Origin, ReadPlan, Reading, Store};
use tollgate_types::{
    AttributeValue, CardId, Cell, Currency, EventTime, FieldType, Label, Money, Rates, Record,
    Schema, SchemaBuilder, Span, Transaction, TransactionId,
};

pub(crate) const COUNTRIES: [&str; 4] = ["FR", "US", "JP", "a-country-with-a-long-name"];

/// One event as a test knows it. Times are in seconds.
#[derive(Debug, Clone, Default)]
pub(crate) struct Event {
    pub(crate) id: String,
    pub(crate) at: i64,
    pub(crate) card: u32,
    pub(crate) merchant: u32,
    pub(crate) amount_minor: i64,
    pub(crate) country: Option<usize>,
    pub(crate) points: Option<f64>,
    pub(crate) gift: Option<bool>,
    pub(crate) terminal: Option<u32>,
}

impl Event {
    pub(crate) fn new(id: &str, at: i64) -> Self {
        Self {
            id: id.to_owned(),
            at,
            amount_minor: 100,
            ..Self::default()
        }
    }

    pub(crate) fn transaction(&self) -> Transaction {
        let points = self
            .points
            .map(|points| ("points".to_owned(), AttributeValue::Number(points)));
        let gift = self
            .gift
            .map(|gift| ("gift".to_owned(), AttributeValue::Flag(gift)));
        Transaction {
            merchant_country: self.country.map(|at| COUNTRIES[at].to_owned()),
            terminal_id: self.terminal.map(|terminal| format!("terminal-{terminal}")),
            attributes: points.into_iter().chain(gift).collect(),
            ..Transaction::new(
                TransactionId::parse(&self.id).unwrap(),
                seconds(self.at),
                CardId::parse(&format!("c{}", self.card)).unwrap(),
                Money {
                    amount_minor: self.amount_minor,
                    currency: euro(),
                },
                format!("merchant-{}", self.merchant),
            )
        }
    }
}

pub(crate) fn seconds(at: i64) -> EventTime {
    EventTime::from_micros(at * 1_000_000)
}

pub(crate) fn euro() -> Currency {
    Currency::parse("EUR").unwrap()
}

pub(crate) fn names(list: &[&str]) -> Vec<String> {
    list.iter().map(|name| (*name).to_owned()).collect()
}

/// Cards, merchants and pairs of them, kept for so long; terminals in steps of ten seconds.
pub(crate) fn schema(retention: Span) -> Arc<Schema> {
    let mut builder = SchemaBuilder::default();
    builder
        .attribute("points", FieldType::Number, None)
        .unwrap();
    builder.attribute("gift", FieldType::Flag, None).unwrap();
    let retained = names(&["amount", "merchant_country", "points", "gift"]);
    for (entity, key) in [
        ("card", &["card_id"][..]),
        ("merchant", &["merchant_id"]),
        ("card_merchant", &["card_id", "merchant_id"]),
        ("terminal", &["terminal_id"]),
    ] {
        builder
            .entity(entity, &names(key), &retained, retention)
            .unwrap();
    }
    builder.bounded(Some(Span::from_seconds(10)), None).unwrap();
    Arc::new(builder.build())
}

/// A store and the aggregates that are asked of it.
pub(crate) struct Asked {
    pub(crate) store: Store,
    pub(crate) layout: Layout,
    pub(crate) plan: ReadPlan,
    rates: Rates,
}

impl Asked {
    pub(crate) fn new(store: Store, aggregates: &[String]) -> Self {
        let (layout, plan) = compiled(store.schema(), aggregates);
        let rates = Rates::new(euro(), BTreeMap::new()).unwrap();
        Self {
            store,
            layout,
            plan,
            rates,
        }
    }

    /// Other aggregates of the same store.
    pub(crate) fn ask(&mut self, aggregates: &[String]) {
        (self.layout, self.plan) = compiled(self.store.schema(), aggregates);
    }

    pub(crate) fn log(&self, event: &Event, authorized: bool) -> Applied {
        self.apply(event, Origin::Log { authorized })
    }

    pub(crate) fn score(&self, event: &Event, expires_at: i64) -> Applied {
        self.apply(
            event,
            Origin::Scored {
                expires_at: seconds(expires_at),
            },
        )
    }

    pub(crate) fn apply(&self, event: &Event, origin: Origin) -> Applied {
        let transaction = event.transaction();
        let record = Record::new(&transaction, self.store.schema(), &self.rates).unwrap();
        // Looking ahead and moving histories together must change nothing: some events have it, others not.
        if record.key().bits().is_multiple_of(2) {
            self.store.look_ahead(std::iter::once(&record));
        }
        if record.key().bits().is_multiple_of(5) {
            self.store.repack(3);
        }
        self.store.apply(&record, origin)
    }

    pub(crate) fn label(&self, id: &str, fraud: bool, known_at: i64) -> Labelled {
        self.store.label(&Label {
            transaction_id: TransactionId::parse(id).unwrap(),
            fraud,
            known_at: seconds(known_at),
        })
    }

    /// What the aggregates are for a transaction, in their order.
    pub(crate) fn read(&self, event: &Event) -> Vec<Cell> {
        self.read_noting(event).0
    }

    pub(crate) fn read_noting(&self, event: &Event) -> (Vec<Cell>, Reading) {
        let transaction = event.transaction();
        let record = Record::new(&transaction, self.store.schema(), &self.rates).unwrap();
        let mut frame = Frame::new(&self.layout, &record);
        let reading = self.store.read(&self.plan, &record, &mut frame);
        frame.evaluate_features(&self.layout);
        let features = self.layout.features.iter();
        (
            features.map(|feature| frame.cell(feature.slot)).collect(),
            reading,
        )
    }

    /// The same as numbers.
    pub(crate) fn numbers(&self, event: &Event) -> Vec<Option<f64>> {
        self.read(event).into_iter().map(Cell::as_number).collect()
    }
}

fn compiled(schema: &Schema, aggregates: &[String]) -> (Layout, ReadPlan) {
    let mut compiler = Compiler::new(schema, BTreeMap::new());
    for (number, aggregate) in aggregates.iter().enumerate() {
        compiler.feature(&format!("f{number}"), aggregate).unwrap();
    }
    let layout = compiler.finish();
    let plan = ReadPlan::new(schema, &layout);
    (layout, plan)
}
