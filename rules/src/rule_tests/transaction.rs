//! From the fields that a test writes to a transaction; what it does not write is missing or has a default.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

use tollgate_expr::Type;
use tollgate_source::{Diagnostic, Diagnostics, Located, SourceFile, did_you_mean};
use tollgate_types::{
    AttributeValue, CardId, Channel, Currency, EventTime, Field, FieldType, IdError, Money, Rates,
    Record, Schema, Transaction, TransactionId, builtin,
};

use super::values;
use super::written::{Word, Words};
use crate::moment;

/// What a transaction has where a test does not say.
const CARD: &str = "test-card";
const MERCHANT: &str = "test-merchant";
const AMOUNT: &str = "10";

/// Noon UTC of the first day of 2026, a Thursday.
pub(super) const NOW: EventTime = EventTime::from_micros(1_767_268_800_000_000);

/// Fields by name, the last one written of each.
pub(super) type FieldWords<'w> = BTreeMap<&'w str, &'w Located<Word>>;

/// Makes transactions and notes what is wrong with them.
pub(super) struct Maker<'m> {
    pub(super) schema: &'m Schema,
    pub(super) rates: &'m Rates,
    pub(super) file: &'m Arc<SourceFile>,
    pub(super) notes: &'m mut Diagnostics,
    /// Bytes that further transactions of the past may take.
    pub(super) history_left: &'m mut usize,
}

/// A value that does not fit: what is wrong, and what to write.
type Mistake = (String, String);

impl Maker<'_> {
    /// Whether all names are fields; those that are none are noted. `keys` are words that may stand beside them.
    pub(super) fn are_fields(&mut self, words: &Words, keys: &[&str]) -> bool {
        let mut all = true;
        for (name, _) in words {
            if self.schema.field(&name.value).is_none() {
                all = false;
                if self.notes.is_full() {
                    break;
                }
                let known = self.schema.fields().iter().map(|field| field.name.as_str());
                let help = did_you_mean(&name.value, keys.iter().copied().chain(known));
                let message = format!("the transaction has no field `{}`", name.value);
                self.note(name, (message, help));
            }
        }
        all
    }

    /// The transaction's own time, as written or else as near to the default as the rule's period allows.
    pub(super) fn event_time(
        &mut self,
        words: &FieldWords<'_>,
        otherwise: EventTime,
    ) -> Option<EventTime> {
        match words.get("event_time") {
            None => Some(otherwise),
            Some(written) => self.read(written, |text| {
                moment::parse(text).ok_or_else(|| moment::mistake(text))
            }),
        }
    }

    /// A transaction of these fields; all mistakes are noted.
    pub(super) fn transaction(
        &mut self,
        words: &FieldWords<'_>,
        id: &str,
        at: EventTime,
    ) -> Option<Transaction> {
        let get = |name: &str| words.get(name).copied();
        let id = self.id(get("transaction_id"), id);
        let card = self.card(get("card_id"));
        let money = self.money(get("amount"), get("currency"));
        let merchant = match get("merchant_id") {
            None => Some(MERCHANT.to_owned()),
            Some(written) => self.read(written, |text| Ok(text.to_owned())),
        };
        let category = self.optional(get("merchant_category_code"), category);
        let merchant_country = self.optional(get("merchant_country"), country);
        let card_country = self.optional(get("card_country"), country);
        let channel = self.optional(get("channel"), channel);
        let address = self.optional(get("ip_address"), address);
        let terminal = self.optional(get("terminal_id"), |text| Ok(text.to_owned()));
        let device = self.optional(get("device_id"), |text| Ok(text.to_owned()));
        let attributes = self.attributes(words, at);
        let transaction = Transaction {
            merchant_category_code: category?,
            merchant_country: merchant_country?,
            terminal_id: terminal?,
            channel: channel?,
            card_country: card_country?,
            device_id: device?,
            ip_address: address?,
            attributes: attributes?,
            ..Transaction::new(id?, at, card?, money?, merchant?)
        };
        // Every attribute was made for the schema, so this only guards against a mistake of ours.
        let fits = Record::new(&transaction, self.schema, self.rates).is_ok();
        fits.then_some(transaction)
    }

    fn id(&mut self, written: Option<&Located<Word>>, otherwise: &str) -> Option<TransactionId> {
        let read = |text: &str| {
            TransactionId::parse(text)
                .map_err(|error| (format!("this id {error}"), ID_HELP.to_owned()))
        };
        match written {
            Some(written) => self.read(written, read),
            None => read(otherwise).ok(),
        }
    }

    fn card(&mut self, written: Option<&Located<Word>>) -> Option<CardId> {
        let Some(written) = written else {
            return CardId::parse(CARD).ok();
        };
        if let Word::Text(text) = &written.value
            && CardId::parse(text) == Err(IdError::CardNumber)
        {
            let message = format!("this card {}", IdError::CardNumber);
            let help = "write a token, such as card-1; the line is not shown here";
            self.notes.push(
                Diagnostic::error(self.file, written.span.clone(), message)
                    .with_help(help)
                    .without_source(),
            );
            return None;
        }
        self.read(written, |text| {
            CardId::parse(text).map_err(|error| (format!("this card {error}"), ID_HELP.to_owned()))
        })
    }

    /// An amount in the major units of its currency, which is the base currency where none is written.
    fn money(
        &mut self,
        amount: Option<&Located<Word>>,
        currency: Option<&Located<Word>>,
    ) -> Option<Money> {
        let currency = match currency {
            None => self.rates.base(),
            Some(written) => self.read(written, |text| {
                Currency::parse(text).map_err(|_| {
                    let message = format!("`{text}` is not a currency code of ISO 4217");
                    (
                        message,
                        "write three capital letters, such as EUR".to_owned(),
                    )
                })
            })?,
        };
        let amount_minor = match amount {
            None => minor_units(AMOUNT, currency).ok(),
            Some(written) if written.value == Word::Missing => {
                let message = "every payment has an amount".to_owned();
                let help =
                    "for one that rules cannot read, write a `currency` without a rate in fx.yaml";
                self.note(written, (message, help.to_owned()));
                None
            }
            Some(written) => self.read(written, |text| minor_units(text, currency)),
        };
        Some(Money {
            amount_minor: amount_minor?,
            currency,
        })
    }

    fn attributes(
        &mut self,
        words: &FieldWords<'_>,
        at: EventTime,
    ) -> Option<Vec<(String, AttributeValue)>> {
        let mut attributes = Vec::new();
        let mut right = true;
        for (name, written) in words {
            let Some((_, field)) = self.schema.attribute(name) else {
                continue;
            };
            match self.optional(Some(written), |text| attribute(field, text, at)) {
                Some(value) => attributes.extend(value.map(|value| ((*name).to_owned(), value))),
                None => right = false,
            }
        }
        right.then_some(attributes)
    }

    /// A field that may be missing; the outer `None` is a mistake.
    fn optional<T>(
        &mut self,
        written: Option<&Located<Word>>,
        read: impl FnOnce(&str) -> Result<T, Mistake>,
    ) -> Option<Option<T>> {
        match written {
            Some(written) if written.value != Word::Missing => self.read(written, read).map(Some),
            _ => Some(None),
        }
    }

    /// A field that every transaction has.
    fn read<T>(
        &mut self,
        written: &Located<Word>,
        read: impl FnOnce(&str) -> Result<T, Mistake>,
    ) -> Option<T> {
        let value = match &written.value {
            Word::Missing => Err((
                "every transaction has this field".to_owned(),
                "write a value, or leave the line out for a usual one".to_owned(),
            )),
            Word::Text(text) if text.is_empty() => Err((
                "this text is empty".to_owned(),
                "write a value, or missing".to_owned(),
            )),
            Word::Text(text) => read(text),
        };
        value.map_err(|mistake| self.note(written, mistake)).ok()
    }

    fn note<T>(&mut self, written: &Located<T>, (message, help): Mistake) {
        self.notes
            .push(Diagnostic::error(self.file, written.span.clone(), message).with_help(help));
    }
}

const ID_HELP: &str = "write a short id, such as t-1";

fn category(text: &str) -> Result<u16, Mistake> {
    // 0 is how senders say that they know none, and no rule ever reads it.
    let shape = builtin::shape(builtin::MERCHANT_CATEGORY_CODE);
    let code: Option<u16> = text.parse().ok();
    code.filter(|_| shape.check(text).is_ok()).ok_or_else(|| {
        let message = format!("`{text}` is not a merchant category code");
        let help = "write a number from 1 to 9999, such as 4511, or missing";
        (message, help.to_owned())
    })
}

fn country(text: &str) -> Result<String, Mistake> {
    let Err(misshapen) = builtin::shape(builtin::MERCHANT_COUNTRY).check(text) else {
        return Ok(text.to_owned());
    };
    let message = format!("`{text}` is not a country code");
    let meant = misshapen.instead;
    let meant = meant.unwrap_or_else(|| "two capital letters, such as FR".to_owned());
    Err((message, format!("write {meant}")))
}

fn channel(text: &str) -> Result<Channel, Mistake> {
    let found = Channel::ALL
        .into_iter()
        .find(|channel| channel.name() == text);
    found.ok_or_else(|| {
        let message = format!("`{text}` is not a channel");
        (message, did_you_mean(text, Channel::ALL.map(Channel::name)))
    })
}

/// The canonical form, which transactions have.
fn address(text: &str) -> Result<String, Mistake> {
    let address: Result<IpAddr, _> = text.parse();
    address
        .map(|address| address.to_canonical().to_string())
        .map_err(|_| {
            let message = format!("`{text}` is not an IP address");
            (
                message,
                "write one like 192.0.2.7 or 2001:db8::7".to_owned(),
            )
        })
}

fn attribute(field: &Field, text: &str, at: EventTime) -> Result<AttributeValue, Mistake> {
    let value = match field.kind {
        FieldType::Number => values::number(text).map(AttributeValue::Number),
        FieldType::Flag => values::flag(text).map(AttributeValue::Flag),
        FieldType::Time => values::time(text, at).map(AttributeValue::Time),
        FieldType::Text => match &field.values {
            Some(known) if !known.iter().any(|value| value == text) => {
                let message = format!("`{}` is never `{text}`", field.name);
                return Err((
                    message,
                    did_you_mean(text, known.iter().map(String::as_str)),
                ));
            }
            _ => Some(AttributeValue::Text(text.to_owned())),
        },
    };
    if field.kind == FieldType::Number && is_too_large(text) {
        let message = format!("`{text}` is more than any number can be");
        return Err((message, "write a smaller number".to_owned()));
    }
    value.ok_or_else(|| {
        let message = format!(
            "`{}` is a {}; this is `{text}`",
            field.name,
            field.kind.name()
        );
        (message, values::help(Type::from(field.kind)).to_owned())
    })
}

/// Whether a number is beyond what a number can be.
fn is_too_large(text: &str) -> bool {
    let begins = text
        .trim_start_matches(['-', '+'])
        .starts_with(|first: char| first.is_ascii_digit());
    begins && text.parse::<f64>().is_ok_and(f64::is_infinite)
}

/// Major units as a decimal, exactly in minor ones.
fn minor_units(text: &str, currency: Currency) -> Result<i64, Mistake> {
    let exponent = usize::from(currency.exponent());
    let plain = text.replace('_', "");
    let (whole, decimals) = plain.split_once('.').unwrap_or((&plain, ""));
    let all_digits = |part: &str| part.bytes().all(|byte| byte.is_ascii_digit());
    let decimals = decimals.trim_end_matches('0');
    if is_too_large(text) {
        let message = format!("`{text}` is more than any amount");
        return Err((message, "write a smaller number".to_owned()));
    }
    if text.starts_with('-') && text.parse::<f64>().is_ok() {
        let message = format!("`{text}` is less than 0, and no payment is");
        return Err((message, "write the amount without the sign".to_owned()));
    }
    if whole.is_empty() || !all_digits(whole) || !all_digits(decimals) {
        let message = format!("`{text}` is not an amount");
        return Err((message, "write a number, such as 12.50".to_owned()));
    }
    if decimals.len() > exponent {
        let message = format!("`{text}` has more decimals than {currency}, which has {exponent}");
        return Err((message, "write an amount that can be paid".to_owned()));
    }
    format!("{whole}{decimals:0<exponent$}")
        .parse()
        .map_err(|_| {
            let message = format!("`{text}` is more than any amount");
            (message, "write a smaller number".to_owned())
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_are_exact_in_minor_units() {
        for (text, code, expected) in [
            ("1.00", "EUR", Some(100)),
            ("1", "EUR", Some(100)),
            ("0.5", "EUR", Some(50)),
            ("1_000.25", "EUR", Some(100_025)),
            ("12.345", "KWD", Some(12_345)),
            ("700", "JPY", Some(700)),
            ("700.00", "JPY", Some(700)),
            ("700.5", "JPY", None),
            ("1.005", "EUR", None),
            ("-1", "EUR", None),
            ("-0", "EUR", None),
            ("1e400", "EUR", None),
            (".5", "EUR", None),
            ("1e3", "EUR", None),
            ("99999999999999999999", "EUR", None),
        ] {
            let currency = Currency::parse(code).unwrap();
            assert_eq!(minor_units(text, currency).ok(), expected, "{text} {code}");
        }
    }

    #[test]
    fn the_usual_moment_is_what_it_says() {
        assert_eq!(NOW.to_string(), "2026-01-01T12:00:00Z");
    }
}
