//! A row of a history as a transaction.
//!
//! The cells become the message that a client would have sent, which is then converted as every message is: what
//! the service would refuse is refused here, in the same words.

use tollgate_proto::v1;
use tollgate_rules::Logic;
use tollgate_types::{
    AttributeValue, Currency, EventTime, FieldType, Label, Schema, Transaction, TransactionKey,
};

use super::columns::{Columns, Field, From, Source};
use super::value::{Problem, TimeUnit, Value};
use crate::convert::{self, FieldError};

/// A transaction of a history, with what became of it.
#[derive(Debug)]
pub(super) struct Row {
    pub(super) key: TransactionKey,
    pub(super) transaction: Transaction,
    pub(super) authorized: bool,
    /// What it turned out to be, if the row says so itself.
    pub(super) label: Option<Label>,
}

/// A cell that cannot be used, by what messages call it.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("{shown} {problem}")]
pub(super) struct CellError {
    pub(super) shown: String,
    pub(super) problem: Problem,
}

impl Row {
    /// Reads the row whose cells `cell` gives, by their place among the columns read.
    pub(super) fn read<'v>(
        columns: &'v Columns,
        cell: impl Fn(usize) -> Result<Value<'v>, Problem>,
        logic: &Logic,
        now: EventTime,
    ) -> Result<Self, CellError> {
        let mut draft = Draft::default();
        for source in &columns.sources {
            let value = match &source.from {
                From::Column(at) => cell(*at),
                From::Constant(text) => Ok(Value::of_text(text)),
            };
            value
                .and_then(|value| draft.set(source, value, columns.event_time_unit, &logic.schema))
                .map_err(|problem| error_of(source, problem))?;
        }
        draft.row(columns, now)
    }
}

fn error_of(source: &Source, problem: Problem) -> CellError {
    CellError {
        shown: source.shown.clone(),
        problem,
    }
}

/// A row while it is read.
#[derive(Default)]
struct Draft<'v> {
    message: v1::Transaction,
    /// Needs the currency, which may come later.
    amount: Option<Value<'v>>,
    attributes: Vec<(String, AttributeValue)>,
    authorized: Option<bool>,
    fraud: Option<bool>,
    fraud_known_at: Option<EventTime>,
}

impl<'v> Draft<'v> {
    fn set(
        &mut self,
        source: &Source,
        value: Value<'v>,
        unit: Option<TimeUnit>,
        schema: &Schema,
    ) -> Result<(), Problem> {
        let message = &mut self.message;
        let text = || prefixed(&source.prefix, value);
        match source.field {
            Field::TransactionId => message.transaction_id = text()?,
            Field::EventTime => {
                message.event_time = Some(convert::to_timestamp(value.time(unit)?));
            }
            Field::CardId => message.card_id = text()?,
            Field::AmountMinor => {
                let expected = "is empty; expected an amount in minor units, such as 5716";
                message.amount_minor = value.whole()?.ok_or(expected)?;
            }
            Field::Amount => self.amount = Some(value),
            Field::Currency => message.currency = text()?,
            Field::MerchantId => message.merchant_id = text()?,
            Field::MerchantCategoryCode => {
                // What is no code at all is refused with those that are too large.
                let code = u32::try_from(value.whole()?.unwrap_or(0));
                message.merchant_category_code = code.unwrap_or(u32::MAX);
            }
            Field::MerchantCountry => message.merchant_country = text()?,
            Field::TerminalId => message.terminal_id = text()?,
            Field::Channel => message.channel = channel(value)?,
            Field::CardCountry => message.card_country = text()?,
            Field::DeviceId => message.device_id = text()?,
            Field::IpAddress => message.ip_address = text()?,
            Field::Authorized => self.authorized = value.flag()?,
            Field::Fraud => self.fraud = value.flag()?,
            Field::FraudKnownAt if value.is_missing() => {}
            Field::FraudKnownAt => self.fraud_known_at = Some(value.time(unit)?),
            Field::Attribute(id) => {
                let field = schema.field_at(id);
                if let Some(value) = attribute(field.kind, value, unit, &source.prefix)? {
                    self.attributes.push((field.name.clone(), value));
                }
            }
        }
        Ok(())
    }

    fn row(mut self, columns: &Columns, now: EventTime) -> Result<Row, CellError> {
        if let Some(amount) = self.amount {
            // A currency that is none is refused below, whatever the amount.
            let exponent = Currency::parse(&self.message.currency).map_or(2, Currency::exponent);
            let minor = amount.amount_minor(exponent);
            self.message.amount_minor =
                minor.map_err(|problem| named(columns, Field::Amount, problem))?;
        }
        let read = convert::transaction(Some(self.message), now);
        let mut transaction = read.map_err(|error| in_columns(columns, error))?;
        transaction.attributes = self.attributes;
        let known_at = self.fraud_known_at.or_else(|| {
            let after = columns.fraud_known_after?;
            Some(transaction.event_time.plus(after))
        });
        let label = match (self.fraud, known_at) {
            (None, _) => None,
            (Some(fraud), Some(known_at)) => Some(Label {
                transaction_id: transaction.id.clone(),
                fraud,
                known_at,
            }),
            (Some(_), None) => {
                let problem = "is empty, but the row says whether it was fraud; expected when that \
                               became known";
                return Err(named(columns, Field::FraudKnownAt, problem.into()));
            }
        };
        Ok(Row {
            key: TransactionKey::of(&transaction.id),
            transaction,
            authorized: self.authorized.unwrap_or(true),
            label,
        })
    }
}

/// Whether a constant fits its field; the same checks as for a row that is right in all else.
pub(super) fn check_constant(field: Field, text: &str, logic: &Logic) -> Result<(), CellError> {
    let source = |field: Field, text: &str| Source {
        field,
        name: field.name(&logic.schema).to_owned(),
        from: From::Constant(text.to_owned()),
        prefix: String::new(),
        shown: String::new(),
    };
    let right = [
        (Field::TransactionId, "transaction"),
        (Field::EventTime, "1970-01-01T00:00:00Z"),
        (Field::CardId, "card"),
        (Field::AmountMinor, "0"),
        (Field::Currency, "EUR"),
        (Field::MerchantId, "merchant"),
    ];
    let others = right.into_iter().filter(|(other, _)| *other != field);
    let columns = Columns {
        sources: others
            .chain([(field, text)])
            .map(|(field, text)| source(field, text))
            .collect(),
        read: Vec::new(),
        fraud_known_after: Some(tollgate_types::Span::ZERO),
        event_time_unit: Some(TimeUnit::Seconds),
        unused: Vec::new(),
    };
    let row = Row::read(&columns, |_| Ok(Value::Missing), logic, EventTime::MAX)?;
    let fits = convert::record(&row.transaction, logic);
    fits.map(drop).map_err(|error| in_columns(&columns, error))
}

/// A refusal of the message, in terms of the history's columns.
pub(super) fn in_columns(columns: &Columns, error: FieldError) -> CellError {
    let field = error
        .field
        .strip_prefix("transaction.")
        .unwrap_or(&error.field);
    let field = field.strip_prefix("attributes.").unwrap_or(field);
    let is_it = |source: &&Source| {
        source.name == field || (field == "amount_minor" && source.field == Field::Amount)
    };
    let shown = columns
        .sources
        .iter()
        .find(is_it)
        .map(|source| source.shown.clone());
    CellError {
        shown: shown.unwrap_or_else(|| field.to_owned()),
        problem: error.problem.into(),
    }
}

fn named(columns: &Columns, field: Field, problem: Problem) -> CellError {
    let source = columns.sources.iter().find(|source| source.field == field);
    CellError {
        shown: source.map_or_else(
            || "column fraud_known_at".to_owned(),
            |source| source.shown.clone(),
        ),
        problem,
    }
}

fn prefixed(prefix: &str, value: Value<'_>) -> Result<String, Problem> {
    let text = value.text()?;
    Ok(if prefix.is_empty() || text.is_empty() {
        text.into_owned()
    } else {
        [prefix, &text].concat()
    })
}

/// `ecommerce` as in rules, `ECOMMERCE` as in messages.
fn channel(value: Value<'_>) -> Result<i32, Problem> {
    let text = value.text()?;
    if text.is_empty() {
        return Ok(v1::Channel::Unspecified.into());
    }
    let channel = v1::Channel::from_str_name(&text.to_ascii_uppercase());
    // What is no channel is refused with the numbers that are none.
    Ok(channel.map_or(i32::MAX, i32::from))
}

fn attribute(
    kind: FieldType,
    value: Value<'_>,
    unit: Option<TimeUnit>,
    prefix: &str,
) -> Result<Option<AttributeValue>, Problem> {
    if value.is_missing() {
        return Ok(None);
    }
    Ok(match kind {
        FieldType::Number => value.number()?.map(AttributeValue::Number),
        FieldType::Flag => value.flag()?.map(AttributeValue::Flag),
        FieldType::Time => Some(AttributeValue::Time(value.time(unit)?)),
        FieldType::Text => {
            let text = prefixed(prefix, value)?;
            let text = convert::text("", text).map_err(|error| error.problem)?;
            text.map(AttributeValue::Text)
        }
    })
}
