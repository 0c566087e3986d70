//! Generated rules as a policy folder, loaded as the service loads one, and transactions laid out for it.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;

use anyhow::{Context, anyhow, bail};
use tollgate_expr::{Aggregate, Compiler, Frame, SlotId};
use tollgate_rules::{Logic, RuleSet};
use tollgate_types::{
    AttributeValue, CardId, Cell, Channel, Currency, EventTime, FieldType, Money, Record, Schema,
    SchemaBuilder, Span, Transaction, TransactionId,
};

use super::slots::{Kind, SLOTS, Value};
use super::terms::{Condition, Dialect};

/// Rules of one file, as a team would have them.
const RULES_PER_FILE: usize = 500;

const ENTITIES: [(&str, &str, &[&str]); 4] = [
    (
        "card",
        "card_id",
        &["amount", "merchant_id", "merchant_country"],
    ),
    ("terminal", "terminal_id", &["amount"]),
    ("device", "device_id", &["card_id"]),
    ("ip", "ip_address", &["card_id"]),
];
const RETENTION_DAYS: i64 = 35;

/// What [`write_policy`] writes, as a value.
pub(crate) fn schema() -> anyhow::Result<Schema> {
    let mut builder = SchemaBuilder::default();
    for slot in SLOTS {
        let Some(name) = slot.attribute() else {
            continue;
        };
        let texts = |texts: &[&str]| texts.iter().map(|&text| text.to_owned()).collect();
        match slot.kind {
            Kind::Number { .. } | Kind::Code(_) => {
                builder.attribute(name, FieldType::Number, None)?;
            }
            Kind::Text(values) => builder.attribute(name, FieldType::Text, Some(texts(values)))?,
            Kind::Flag => builder.attribute(name, FieldType::Flag, None)?,
        }
    }
    for (name, key, retain) in ENTITIES {
        let retain: Vec<String> = retain.iter().map(|&field| field.to_owned()).collect();
        let retention = Span::from_days(RETENTION_DAYS);
        builder.entity(name, &[key.to_owned()], &retain, retention)?;
    }
    Ok(builder.build())
}

/// Writes a policy folder with these rules.
fn write_policy(folder: &Path, conditions: &[Condition]) -> anyhow::Result<()> {
    let write = |name: &str, text: &str| {
        let path = folder.join(name);
        std::fs::write(&path, text).with_context(|| path.display().to_string())
    };
    std::fs::create_dir_all(folder.join("rules"))?;
    write("schema.yaml", &schema_yaml())?;
    write("fx.yaml", "base: EUR\nrates: {}\n")?;
    let fallback = "cases: []\notherwise:\n  then: approve\nstatic:\n  then: approve\n";
    write("fallback.yaml", fallback)?;
    for (at, chunk) in conditions.chunks(RULES_PER_FILE).enumerate() {
        let mut text = "rules:\n".to_owned();
        for (number, condition) in chunk.iter().enumerate() {
            let number = at * RULES_PER_FILE + number;
            let when = condition.written(Dialect::TOLLGATE);
            writeln!(text, "  - id: rule-{number}")?;
            writeln!(text, "    description: Generated rule {number}.")?;
            writeln!(text, "    when: >-\n      {when}")?;
            writeln!(text, "    then: flag\n    reason: GENERATED")?;
        }
        write(&format!("rules/{at:03}.yaml"), &text)?;
    }
    Ok(())
}

fn schema_yaml() -> String {
    let mut text = "attributes:\n".to_owned();
    for slot in SLOTS {
        let Some(name) = slot.attribute() else {
            continue;
        };
        let line = match slot.kind {
            Kind::Number { .. } | Kind::Code(_) => format!("  {name}: number\n"),
            Kind::Text(values) => {
                format!(
                    "  {name}: {{type: text, values: [{}]}}\n",
                    values.join(", ")
                )
            }
            Kind::Flag => format!("  {name}: flag\n"),
        };
        text += &line;
    }
    text += "entities:\n";
    for (name, key, retain) in ENTITIES {
        let retain = retain.join(", ");
        text += &format!(
            "  {name}:\n    key: {key}\n    retain: [{retain}]\n    retention: {RETENTION_DAYS}d\n"
        );
    }
    text
}

/// A transaction with these values, those of aggregates aside.
fn transaction(values: &[Value], number: usize) -> anyhow::Result<Transaction> {
    let mut transaction = Transaction::new(
        TransactionId::parse(&format!("t-{number}"))?,
        EventTime::from_micros(1_770_000_000_000_000),
        CardId::parse("card-1")?,
        Money {
            amount_minor: 0,
            currency: Currency::parse("EUR")?,
        },
        "merchant-1".to_owned(),
    );
    for (slot, value) in SLOTS.iter().zip(values) {
        if let Some(name) = slot.attribute() {
            let value = match *value {
                Value::Number(number) => AttributeValue::Number(number),
                Value::Text(text) => AttributeValue::Text(text.to_owned()),
                Value::Flag(flag) => AttributeValue::Flag(flag),
            };
            transaction.attributes.push((name.to_owned(), value));
        } else if !slot.is_aggregate() {
            fill_builtin(&mut transaction, slot.flat, *value)?;
        }
    }
    Ok(transaction)
}

fn fill_builtin(transaction: &mut Transaction, name: &str, value: Value) -> anyhow::Result<()> {
    match (name, value) {
        ("amount", Value::Number(amount)) => transaction.amount.amount_minor = minor(amount),
        ("merchant_category_code", Value::Number(code)) => {
            transaction.merchant_category_code = u16::try_from(minor(code) / 100).ok();
        }
        ("merchant_country", Value::Text(text)) => {
            transaction.merchant_country = Some(text.to_owned());
        }
        ("card_country", Value::Text(text)) => transaction.card_country = Some(text.to_owned()),
        ("channel", Value::Text(text)) => {
            transaction.channel = Channel::ALL
                .into_iter()
                .find(|channel| channel.name() == text);
        }
        _ => bail!("no transaction has {name} of {value:?}"),
    }
    Ok(())
}

/// In cents, of which generated amounts are whole numbers.
#[expect(
    clippy::cast_possible_truncation,
    reason = "generated amounts are small"
)]
fn minor(amount: f64) -> i64 {
    (amount * 100.0).round() as i64
}

/// A loaded policy, and which of its slots are given the values of which aggregates.
pub(crate) struct Set {
    logic: Logic,
    given: Vec<(SlotId, usize)>,
}

impl Set {
    /// Writes rules into a folder of their own and loads it.
    pub(crate) fn new(folder: &Path, conditions: &[Condition]) -> anyhow::Result<Self> {
        write_policy(folder, conditions)?;
        let logic = Self::load(folder)?;
        let known = aggregates(&logic.schema)?;
        let given = logic.layout.aggregates.iter().map(|(aggregate, slot)| {
            let known = known.iter().find(|(_, known)| known == aggregate);
            let (at, _) = known.context("a rule reads an aggregate that no slot is")?;
            Ok((*slot, *at))
        });
        let given = given.collect::<anyhow::Result<_>>()?;
        Ok(Self { logic, given })
    }

    /// Reads, checks, compiles and links everything. Warnings are none of the bench's business.
    pub(crate) fn load(folder: &Path) -> anyhow::Result<Logic> {
        match tollgate_rules::load(folder) {
            Ok((logic, _)) => Ok(logic),
            Err(notes) => bail!("the generated policy does not load:\n{notes}"),
        }
    }

    pub(crate) const fn rules(&self) -> &RuleSet {
        &self.logic.rules
    }

    pub(crate) fn transactions(&self, rows: &[Vec<Value>]) -> anyhow::Result<Vec<Transaction>> {
        let numbered = rows.iter().enumerate();
        numbered
            .map(|(number, values)| transaction(values, number))
            .collect()
    }

    /// Lays a transaction out in the slots of the schema.
    pub(crate) fn record<'t>(&self, transaction: &'t Transaction) -> anyhow::Result<Record<'t>> {
        Record::new(transaction, &self.logic.schema, &self.logic.rates)
            .map_err(|(name, mismatch)| anyhow!("{name} {mismatch}"))
    }

    /// What decisions are made from.
    pub(crate) fn frame<'r>(&self, record: &'r Record<'r>, values: &[Value]) -> Frame<'r> {
        let mut frame = Frame::new(&self.logic.layout, record);
        for (slot, at) in &self.given {
            if let Some(Value::Number(number)) = values.get(*at) {
                frame.set(*slot, Cell::number(*number));
            }
        }
        frame
    }

    /// The rules that match each transaction, in order.
    pub(crate) fn matches(&self, rows: &[Vec<Value>]) -> anyhow::Result<Vec<Vec<usize>>> {
        let transactions = self.transactions(rows)?;
        let each = transactions.iter().zip(rows).map(|(transaction, values)| {
            let record = self.record(transaction)?;
            let mut matches = self.rules().matches();
            let mut frame = self.frame(&record, values);
            self.rules().match_without_score(&mut frame, &mut matches);
            let indices = matches.indices();
            let indices = indices.map(|index| usize::try_from(index.0));
            Ok(indices.collect::<Result<_, _>>()?)
        });
        each.collect()
    }
}

/// What each slot that is an aggregate is compiled to, whatever the order of rules.
fn aggregates(schema: &Schema) -> anyhow::Result<Vec<(usize, Aggregate)>> {
    let each = SLOTS
        .iter()
        .enumerate()
        .filter(|(_, slot)| slot.is_aggregate());
    let compiled = each.map(|(at, slot)| {
        let mut compiler = Compiler::new(schema, BTreeMap::new());
        compiler
            .expression(slot.ours)
            .map_err(|problems| anyhow!("{}: {problems:?}", slot.ours))?;
        let aggregate = compiler.finish().aggregates.into_iter().next();
        let (aggregate, _) = aggregate.with_context(|| slot.ours)?;
        Ok((at, aggregate))
    });
    compiled.collect()
}
