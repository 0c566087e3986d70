//! A transaction laid out in the slots of a schema: what expressions and histories read.

use crate::schema::builtin;
use crate::{
    AttributeValue, Cell, EventTime, FieldId, FieldType, Rates, Schema, TextKey, Transaction,
    TransactionKey,
};

/// One transaction in slots. Texts are borrowed from the transaction.
#[derive(Clone, Debug)]
pub struct Record<'t> {
    key: TransactionKey,
    event_time: EventTime,
    cells: Vec<Cell>,
    texts: Vec<Option<&'t str>>,
}

/// An attribute that does not fit what the schema declares.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TypeMismatch {
    #[error("is not declared in the policy's schema")]
    Undeclared,
    #[error("is declared as a {}; the value sent is a {}", .expected.name(), .got.name())]
    WrongType { expected: FieldType, got: FieldType },
    #[error("must be one of {}", .0.join(", "))]
    NotListed(Vec<String>),
    #[error("must be a finite number")]
    NotFinite,
}

impl<'t> Record<'t> {
    /// Lays a transaction out. Attributes that the schema does not declare, or declares otherwise, are errors
    /// of the caller, named by attribute. An amount whose currency has no rate is missing.
    pub fn new(
        transaction: &'t Transaction,
        schema: &Schema,
        rates: &Rates,
    ) -> Result<Self, (&'t str, TypeMismatch)> {
        let mut record = Self {
            key: TransactionKey::of(&transaction.id),
            event_time: transaction.event_time,
            cells: vec![Cell::MISSING; schema.fields().len()],
            texts: vec![None; schema.fields().len()],
        };
        record.fill_builtin(transaction, rates);
        for (name, value) in &transaction.attributes {
            record
                .fill_attribute(schema, name, value)
                .map_err(|error| (name.as_str(), error))?;
        }
        Ok(record)
    }

    pub const fn key(&self) -> TransactionKey {
        self.key
    }

    pub const fn event_time(&self) -> EventTime {
        self.event_time
    }

    pub fn cells(&self) -> &[Cell] {
        &self.cells
    }

    pub fn cell(&self, field: FieldId) -> Cell {
        self.cells[usize::from(field.0)]
    }

    /// The text of a text field; `None` if it is missing.
    pub fn text(&self, field: FieldId) -> Option<&'t str> {
        self.texts[usize::from(field.0)]
    }

    fn fill_builtin(&mut self, transaction: &'t Transaction, rates: &Rates) {
        self.put_text(builtin::TRANSACTION_ID, transaction.id.as_str());
        self.put(builtin::EVENT_TIME, Cell::time(transaction.event_time));
        self.put_text(builtin::CARD_ID, transaction.card_id.as_str());
        let amount = rates.to_base(transaction.amount);
        self.put(builtin::AMOUNT, amount.map_or(Cell::MISSING, Cell::number));
        self.put_text(builtin::CURRENCY, currency_code(transaction));
        self.put_text(builtin::MERCHANT_ID, &transaction.merchant_id);
        if let Some(code) = transaction.merchant_category_code {
            self.put(
                builtin::MERCHANT_CATEGORY_CODE,
                Cell::number(f64::from(code)),
            );
        }
        let texts = [
            (
                builtin::MERCHANT_COUNTRY,
                transaction.merchant_country.as_deref(),
            ),
            (builtin::TERMINAL_ID, transaction.terminal_id.as_deref()),
            (
                builtin::CHANNEL,
                transaction.channel.map(|channel| channel.name()),
            ),
            (builtin::CARD_COUNTRY, transaction.card_country.as_deref()),
            (builtin::DEVICE_ID, transaction.device_id.as_deref()),
            (builtin::IP_ADDRESS, transaction.ip_address.as_deref()),
        ];
        for (field, text) in texts {
            if let Some(text) = text {
                self.put_text(field, text);
            }
        }
    }

    fn fill_attribute(
        &mut self,
        schema: &Schema,
        name: &str,
        value: &'t AttributeValue,
    ) -> Result<(), TypeMismatch> {
        let (id, field) = schema.attribute(name).ok_or(TypeMismatch::Undeclared)?;
        match (field.kind, value) {
            (FieldType::Number, AttributeValue::Number(number)) if number.is_finite() => {
                self.put(id, Cell::number(*number));
            }
            (FieldType::Number, AttributeValue::Number(_)) => return Err(TypeMismatch::NotFinite),
            (FieldType::Flag, AttributeValue::Flag(flag)) => self.put(id, Cell::flag(*flag)),
            (FieldType::Time, AttributeValue::Time(time)) => self.put(id, Cell::time(*time)),
            (FieldType::Text, AttributeValue::Text(text)) => {
                let listed = |values: &Vec<String>| values.contains(text);
                if let Some(values) = field.values.as_ref().filter(|values| !listed(values)) {
                    return Err(TypeMismatch::NotListed(values.clone()));
                }
                self.put_text(id, text);
            }
            (expected, other) => {
                return Err(TypeMismatch::WrongType {
                    expected,
                    got: type_of(other),
                });
            }
        }
        Ok(())
    }

    fn put(&mut self, field: FieldId, cell: Cell) {
        self.cells[usize::from(field.0)] = cell;
    }

    fn put_text(&mut self, field: FieldId, text: &'t str) {
        self.put(field, Cell::text(TextKey::of(text)));
        self.texts[usize::from(field.0)] = Some(text);
    }
}

fn currency_code(transaction: &Transaction) -> &str {
    transaction.amount.currency.code()
}

const fn type_of(value: &AttributeValue) -> FieldType {
    match value {
        AttributeValue::Number(_) => FieldType::Number,
        AttributeValue::Text(_) => FieldType::Text,
        AttributeValue::Flag(_) => FieldType::Flag,
        AttributeValue::Time(_) => FieldType::Time,
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::{CardId, Currency, Money, SchemaBuilder, TransactionId};

    fn transaction(attributes: Vec<(String, AttributeValue)>) -> Transaction {
        Transaction {
            merchant_category_code: Some(4511),
            merchant_country: Some("FR".to_owned()),
            channel: Some(crate::Channel::Ecommerce),
            attributes,
            ..Transaction::new(
                TransactionId::parse("t1").unwrap(),
                EventTime::from_micros(1),
                CardId::parse("c1").unwrap(),
                Money {
                    amount_minor: 1250,
                    currency: Currency::parse("EUR").unwrap(),
                },
                "m1".to_owned(),
            )
        }
    }

    fn schema() -> Schema {
        let mut builder = SchemaBuilder::default();
        let values = Some(vec!["flight".to_owned(), "hotel".to_owned()]);
        builder
            .attribute("product", FieldType::Text, values)
            .unwrap();
        builder
            .attribute("passengers", FieldType::Number, None)
            .unwrap();
        builder.build()
    }

    fn rates() -> Rates {
        Rates::new(Currency::parse("EUR").unwrap(), BTreeMap::new()).unwrap()
    }

    #[test]
    fn fields_land_in_their_slots_and_absent_ones_are_missing() {
        let attribute = (
            "product".to_owned(),
            AttributeValue::Text("hotel".to_owned()),
        );
        let transaction = transaction(vec![attribute]);
        let schema = schema();
        let record = Record::new(&transaction, &schema, &rates()).unwrap();
        assert_eq!(record.cell(builtin::AMOUNT).as_number(), Some(12.5));
        assert_eq!(record.text(builtin::MERCHANT_COUNTRY), Some("FR"));
        assert!(record.cell(builtin::DEVICE_ID).is_missing());
        assert_eq!(
            record.text(schema.field("product").unwrap().0),
            Some("hotel")
        );
    }

    #[test]
    fn attributes_must_fit_the_schema() {
        let wrong = [
            (
                "origin",
                AttributeValue::Text("CDG".to_owned()),
                TypeMismatch::Undeclared,
            ),
            (
                "amount",
                AttributeValue::Number(1.0),
                TypeMismatch::Undeclared,
            ),
            (
                "passengers",
                AttributeValue::Number(f64::NAN),
                TypeMismatch::NotFinite,
            ),
            (
                "passengers",
                AttributeValue::Flag(true),
                TypeMismatch::WrongType {
                    expected: FieldType::Number,
                    got: FieldType::Flag,
                },
            ),
        ];
        for (name, value, expected) in wrong {
            let transaction = transaction(vec![(name.to_owned(), value)]);
            let error = Record::new(&transaction, &schema(), &rates()).unwrap_err();
            assert_eq!(error, (name, expected));
        }
    }
}
