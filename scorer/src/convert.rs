//! Between the messages of the wire and Tollgate's own types. What does not fit is refused here, by field, and
//! nothing of a refused value is repeated: it may be a card number.

use std::net::IpAddr;

use tollgate_proto::v1;
use tollgate_rules::Logic;
use tollgate_types::{
    AttributeValue, CardId, Channel, Currency, Degradation, EventTime, IdError, Label, Money,
    Outcome, Reason, Record, Schema, Span, Transaction, TransactionId, contains_card_number,
};

/// How far an event may lie ahead of the clock before it is taken for a mistake.
pub(crate) const AHEAD_MAX: Span = Span::from_seconds(300);

/// Most attributes of a transaction, and most bytes of a text in it.
const ATTRIBUTES_MAX: usize = 256;
const TEXT_BYTES_MAX: usize = 256;

/// The field that has the attributes by name.
const ATTRIBUTES: &str = "transaction.attributes";

/// A field of a message that cannot be used: its path and what was expected.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{field}: {problem}")]
pub(crate) struct FieldError {
    pub(crate) field: String,
    pub(crate) problem: String,
}

impl FieldError {
    pub(crate) fn new(field: impl Into<String>, problem: impl Into<String>) -> Self {
        Self {
            field: field.into(),
            problem: problem.into(),
        }
    }
}

/// Reads a transaction; `now` is the wall clock.
pub(crate) fn transaction(
    message: Option<v1::Transaction>,
    now: EventTime,
) -> Result<Transaction, FieldError> {
    let message = message.ok_or_else(|| {
        let problem = "is missing; expected the payment, as a tollgate.v1.Transaction";
        FieldError::new("transaction", problem)
    })?;
    let id = |error: IdError| FieldError::new("transaction.transaction_id", error.to_string());
    let card = |error: IdError| FieldError::new("transaction.card_id", error.to_string());
    Ok(Transaction {
        id: TransactionId::parse(&message.transaction_id).map_err(id)?,
        event_time: event_time(message.event_time, now)?,
        card_id: CardId::parse(&message.card_id).map_err(card)?,
        amount: money(message.amount_minor, &message.currency)?,
        merchant_category_code: merchant_category_code(message.merchant_category_code)?,
        merchant_country: country("transaction.merchant_country", message.merchant_country)?,
        terminal_id: text("transaction.terminal_id", message.terminal_id)?,
        channel: channel(message.channel)?,
        card_country: country("transaction.card_country", message.card_country)?,
        device_id: text("transaction.device_id", message.device_id)?,
        ip_address: ip_address(message.ip_address)?,
        attributes: attributes(message.attributes)?,
        merchant_id: text("transaction.merchant_id", message.merchant_id)?.ok_or_else(|| {
            FieldError::new(
                "transaction.merchant_id",
                "is empty; expected the merchant's id",
            )
        })?,
    })
}

/// Lays a transaction out in the slots of a policy; an attribute that does not fit is named.
pub(crate) fn record<'t>(
    transaction: &'t Transaction,
    logic: &Logic,
) -> Result<Record<'t>, FieldError> {
    Record::new(transaction, &logic.schema, &logic.rates).map_err(|(attribute, problem)| {
        let field = format!("{ATTRIBUTES}.{attribute}");
        FieldError::new(field, problem.to_string())
    })
}

/// Drops attributes that the schema does not declare. A payment that happened is history even if its sender
/// knows more of it than the policy does.
pub(crate) fn keep_declared(transaction: &mut Transaction, schema: &Schema) {
    transaction
        .attributes
        .retain(|(name, _)| schema.attribute(name).is_some());
}

/// Reads a label.
pub(crate) fn label(message: &v1::Label, now: EventTime) -> Result<Label, FieldError> {
    let id = |error: IdError| FieldError::new("transaction_id", error.to_string());
    Ok(Label {
        transaction_id: TransactionId::parse(&message.transaction_id).map_err(id)?,
        fraud: message.fraud,
        known_at: timestamp("known_at", "when it became known", message.known_at, now)?,
    })
}

fn event_time(
    message: Option<prost_types::Timestamp>,
    now: EventTime,
) -> Result<EventTime, FieldError> {
    let field = "transaction.event_time";
    timestamp(field, "when the payment happened", message, now)
}

/// A time that has come; `what` says which.
fn timestamp(
    field: &str,
    what: &str,
    message: Option<prost_types::Timestamp>,
    now: EventTime,
) -> Result<EventTime, FieldError> {
    let message = message.ok_or_else(|| {
        let problem = format!("is missing; expected {what}, as a google.protobuf.Timestamp");
        FieldError::new(field, problem)
    })?;
    let time = any_time(field, message)?;
    if time > now.plus(AHEAD_MAX) {
        let problem = format!(
            "is more than {AHEAD_MAX} ahead of the clock ({now}); expected {what}, in seconds, not milliseconds, since 1970"
        );
        return Err(FieldError::new(field, problem));
    }
    Ok(time)
}

fn any_time(field: &str, message: prost_types::Timestamp) -> Result<EventTime, FieldError> {
    u32::try_from(message.nanos)
        .ok()
        .filter(|nanos| *nanos < 1_000_000_000)
        .and_then(|nanos| EventTime::from_unix(message.seconds, nanos))
        .ok_or_else(|| {
            FieldError::new(
                field,
                "is not a time; expected seconds and 0 to 999,999,999 nanos",
            )
        })
}

fn money(amount_minor: i64, currency: &str) -> Result<Money, FieldError> {
    if amount_minor < 0 {
        let problem = "is negative; expected minor units, 0 or more";
        return Err(FieldError::new("transaction.amount_minor", problem));
    }
    if currency.is_empty() {
        let problem = "is empty; expected an ISO 4217 code such as \"EUR\"";
        return Err(FieldError::new("transaction.currency", problem));
    }
    let currency = Currency::parse(currency)
        .map_err(|error| FieldError::new("transaction.currency", error.to_string()))?;
    Ok(Money {
        amount_minor,
        currency,
    })
}

fn merchant_category_code(code: u32) -> Result<Option<u16>, FieldError> {
    match u16::try_from(code) {
        Ok(0) => Ok(None),
        Ok(code) if code <= 9999 => Ok(Some(code)),
        _ => Err(FieldError::new(
            "transaction.merchant_category_code",
            "is not a merchant category code; expected 1 to 9999, or 0 if unknown",
        )),
    }
}

fn country(field: &str, code: String) -> Result<Option<String>, FieldError> {
    if code.is_empty() {
        return Ok(None);
    }
    if code.len() == 2 && code.bytes().all(|byte| byte.is_ascii_uppercase()) {
        return Ok(Some(code));
    }
    Err(FieldError::new(
        field,
        "is not an ISO 3166-1 alpha-2 code; expected two capital letters",
    ))
}

fn channel(number: i32) -> Result<Option<Channel>, FieldError> {
    match v1::Channel::try_from(number) {
        Ok(v1::Channel::Unspecified) => Ok(None),
        Ok(v1::Channel::CardPresent) => Ok(Some(Channel::CardPresent)),
        Ok(v1::Channel::Ecommerce) => Ok(Some(Channel::Ecommerce)),
        Ok(v1::Channel::MailOrTelephone) => Ok(Some(Channel::MailOrTelephone)),
        Ok(v1::Channel::Recurring) => Ok(Some(Channel::Recurring)),
        Ok(v1::Channel::CashWithdrawal) => Ok(Some(Channel::CashWithdrawal)),
        Err(_) => {
            let names = Channel::ALL
                .map(|channel| channel.name().to_ascii_uppercase())
                .join(", ");
            Err(FieldError::new(
                "transaction.channel",
                format!("is unknown; expected {names}"),
            ))
        }
    }
}

fn ip_address(address: String) -> Result<Option<String>, FieldError> {
    if address.is_empty() {
        return Ok(None);
    }
    // The canonical form, so that one address is one entity however it was written.
    match address.parse() {
        // Of an IPv4 address no other form is read.
        Ok(IpAddr::V4(_)) => Ok(Some(address)),
        Ok(IpAddr::V6(parsed)) => Ok(Some(parsed.to_canonical().to_string())),
        Err(_) => Err(FieldError::new(
            "transaction.ip_address",
            "is not an IPv4 or IPv6 address; expected a text such as \"192.0.2.1\" or \"2001:db8::1\", or an empty one if \
             unknown",
        )),
    }
}

/// A text that may be absent. It is kept as a key only, and no error repeats it, so that a card number which a
/// sender puts here by mistake goes nowhere; refusing what looks like one would turn honest ids away.
pub(crate) fn text(field: &str, text: String) -> Result<Option<String>, FieldError> {
    if text.is_empty() {
        return Ok(None);
    }
    if text.len() > TEXT_BYTES_MAX {
        return Err(FieldError::new(
            field,
            format!("is longer than {TEXT_BYTES_MAX} bytes; expected a name or an id of no more"),
        ));
    }
    Ok(Some(text))
}

fn attributes(
    messages: std::collections::BTreeMap<String, v1::AttributeValue>,
) -> Result<Vec<(String, AttributeValue)>, FieldError> {
    if messages.len() > ATTRIBUTES_MAX {
        let problem = format!(
            "has more than {ATTRIBUTES_MAX} entries; expected those that the policy's schema declares"
        );
        return Err(FieldError::new(ATTRIBUTES, problem));
    }
    let read = |(name, value): (String, v1::AttributeValue)| {
        // The name is repeated in errors, so it is checked first.
        if name.len() > TEXT_BYTES_MAX || contains_card_number(&name) {
            let problem =
                "has a key that is no name; expected names that the policy's schema declares";
            return Err(FieldError::new(ATTRIBUTES, problem));
        }
        match attribute(value) {
            Ok(value) => Ok(value.map(|value| (name, value))),
            Err(FieldError { field, problem }) => {
                Err(FieldError::new(format!("{field}.{name}"), problem))
            }
        }
    };
    messages
        .into_iter()
        .filter_map(|entry| read(entry).transpose())
        .collect()
}

/// The value of an attribute; an error does not name which.
fn attribute(value: v1::AttributeValue) -> Result<Option<AttributeValue>, FieldError> {
    use v1::attribute_value::Kind;
    Ok(match value.kind {
        None => None,
        Some(Kind::Number(number)) => Some(AttributeValue::Number(number)),
        Some(Kind::Flag(flag)) => Some(AttributeValue::Flag(flag)),
        Some(Kind::Time(time)) => Some(AttributeValue::Time(any_time(ATTRIBUTES, time)?)),
        Some(Kind::Text(value)) => text(ATTRIBUTES, value)?.map(AttributeValue::Text),
    })
}

pub(crate) fn outcome(outcome: Outcome) -> v1::Outcome {
    match outcome {
        Outcome::Approve => v1::Outcome::Approve,
        Outcome::Flag => v1::Outcome::Flag,
        Outcome::Challenge => v1::Outcome::Challenge,
        Outcome::Decline => v1::Outcome::Decline,
    }
}

pub(crate) fn degradation(level: Degradation) -> v1::Degradation {
    match level {
        Degradation::Full => v1::Degradation::Full,
        Degradation::NoModel => v1::Degradation::NoModel,
        Degradation::StaleFeatures => v1::Degradation::StaleFeatures,
        Degradation::RequestOnly => v1::Degradation::RequestOnly,
        Degradation::Static => v1::Degradation::Static,
    }
}

/// The level that a message names; `None` if it names none.
pub(crate) fn level(level: v1::Degradation) -> Option<Degradation> {
    let mut levels = Degradation::ALL.into_iter();
    levels.find(|known| degradation(*known) == level)
}

pub(crate) fn reason(reason: &Reason) -> v1::Reason {
    v1::Reason {
        code: reason.code.as_str().to_owned(),
        description: reason.description.to_string(),
        rule_id: reason.rule_id.to_string(),
    }
}

pub(crate) fn to_timestamp(time: EventTime) -> prost_types::Timestamp {
    let (seconds, nanos) = time.unix();
    prost_types::Timestamp {
        seconds,
        nanos: i32::try_from(nanos).unwrap_or(0),
    }
}

#[cfg(test)]
#[expect(clippy::float_cmp, reason = "whole cents come out exactly")]
mod tests {
    use super::*;

    const NOW: EventTime = EventTime::from_micros(1_000_000_000_000);

    fn good() -> v1::Transaction {
        v1::Transaction {
            transaction_id: "t-1".to_owned(),
            event_time: Some(to_timestamp(NOW)),
            card_id: "card-1".to_owned(),
            amount_minor: 1250,
            currency: "EUR".to_owned(),
            merchant_id: "m-1".to_owned(),
            ..v1::Transaction::default()
        }
    }

    #[test]
    fn the_least_a_transaction_needs_is_enough() {
        let transaction = transaction(Some(good()), NOW).unwrap();
        assert_eq!(transaction.amount.major(), 12.5);
        assert_eq!(transaction.channel, None);
    }

    #[test]
    fn every_malformed_field_is_named_and_never_repeated() {
        type Spoil = fn(&mut v1::Transaction);
        let number = "4111111111111111";
        let cases: [(&str, Spoil); 19] = [
            ("transaction_id", |t| t.transaction_id.clear()),
            ("transaction_id", |t| t.transaction_id = "x".repeat(200)),
            ("transaction_id", |t| t.transaction_id = "a\nb".to_owned()),
            ("event_time", |t| t.event_time = None),
            ("event_time", |t| {
                t.event_time = Some(prost_types::Timestamp {
                    seconds: 0,
                    nanos: -1,
                })
            }),
            ("event_time", |t| {
                t.event_time = Some(to_timestamp(NOW.plus(Span::from_seconds(301))))
            }),
            ("card_id", |t| t.card_id.clear()),
            ("card_id", |t| t.card_id = "4111111111111111".to_owned()),
            ("card_id", |t| t.card_id = "4111-1111-1111-1111".to_owned()),
            ("amount_minor", |t| t.amount_minor = -1),
            ("currency", |t| t.currency.clear()),
            ("currency", |t| t.currency = "EURO".to_owned()),
            ("merchant_id", |t| t.merchant_id.clear()),
            ("merchant_category_code", |t| {
                t.merchant_category_code = 10_000
            }),
            ("merchant_country", |t| t.merchant_country = "fr".to_owned()),
            ("channel", |t| t.channel = 99),
            ("card_country", |t| t.card_country = "FRA".to_owned()),
            ("device_id", |t| t.device_id = "x".repeat(300)),
            ("ip_address", |t| t.ip_address = "10.0.0".to_owned()),
        ];
        for (field, spoil) in cases {
            let mut message = good();
            spoil(&mut message);
            let error = transaction(Some(message), NOW).unwrap_err();
            assert_eq!(error.field, format!("transaction.{field}"));
            assert!(!error.to_string().contains(number), "{error}");
            assert!(error.problem.contains("; expected "), "{error}");
        }
        let error = transaction(None, NOW).unwrap_err();
        assert_eq!(error.field, "transaction");
        assert!(error.problem.contains("; expected "), "{error}");
    }

    #[test]
    fn a_label_and_attributes_that_cannot_be_used_are_told_what_was_expected() {
        let mut unknown_since = v1::Label {
            transaction_id: "t-1".to_owned(),
            ..v1::Label::default()
        };
        let error = label(&unknown_since, NOW).unwrap_err();
        assert_eq!(
            error.to_string(),
            "known_at: is missing; expected when it became known, as a google.protobuf.Timestamp"
        );
        unknown_since.transaction_id = "x".repeat(200);
        let error = label(&unknown_since, NOW).unwrap_err();
        assert!(error.problem.contains("; expected "), "{error}");

        let value = v1::AttributeValue { kind: None };
        let mut too_many = good();
        too_many.attributes = (0..=ATTRIBUTES_MAX)
            .map(|number| (number.to_string(), value.clone()))
            .collect();
        let mut no_name = good();
        no_name.attributes.insert("x".repeat(300), value);
        for message in [too_many, no_name] {
            let error = transaction(Some(message), NOW).unwrap_err();
            assert_eq!(error.field, "transaction.attributes");
            assert!(error.problem.contains("; expected "), "{error}");
        }
    }

    #[test]
    fn an_attributes_name_is_not_repeated_if_it_has_a_card_number() {
        let value = v1::AttributeValue { kind: None };
        for name in ["5555555555554444", "pan:5555-5555-5555-4444"] {
            let mut message = good();
            message.attributes.insert(name.to_owned(), value.clone());
            let error = transaction(Some(message), NOW).unwrap_err();
            assert_eq!(error.field, "transaction.attributes");
            assert!(!error.problem.contains("5555"), "{error}");
        }
    }

    #[test]
    fn one_address_has_one_form() {
        let mut message = good();
        message.ip_address = "2001:0DB8::0001".to_owned();
        let read = transaction(Some(message), NOW).unwrap();
        assert_eq!(read.ip_address.as_deref(), Some("2001:db8::1"));
        for (written, expected) in [
            ("10.0.0.1", Some("10.0.0.1")),
            ("::ffff:10.0.0.1", Some("10.0.0.1")),
            ("010.0.0.1", None),
        ] {
            let mut message = good();
            message.ip_address = written.to_owned();
            let read = transaction(Some(message), NOW).ok();
            assert_eq!(
                read.and_then(|read| read.ip_address).as_deref(),
                expected,
                "{written}"
            );
        }
    }

    #[test]
    fn an_attribute_whose_value_is_wrong_is_named() {
        let mut message = good();
        let value = v1::attribute_value::Kind::Text("x".repeat(300));
        let value = v1::AttributeValue { kind: Some(value) };
        message.attributes.insert("origin".to_owned(), value);
        let error = transaction(Some(message), NOW).unwrap_err();
        assert_eq!(
            error.to_string(),
            "transaction.attributes.origin: is longer than 256 bytes; expected a name or an id of no more"
        );
    }
}
