//! A transaction as the message it came in, without texts that nobody may keep (ADR 0007).

use std::collections::BTreeMap;

use tollgate_proto::v1;
use tollgate_types::{AttributeValue, Channel, Transaction, contains_card_number};

use crate::convert;

/// The message, and the fields that are left out of it.
pub(super) fn message(transaction: &Transaction) -> (v1::Transaction, Vec<String>) {
    let mut withheld = Vec::new();
    let mut text = |field: &str, text: Option<&String>| {
        let text = text?;
        if contains_card_number(text) {
            withheld.push(field.to_owned());
            return None;
        }
        Some(text.clone())
    };
    let mut optional = |field, value| text(field, value).unwrap_or_default();
    let mut message = v1::Transaction {
        transaction_id: transaction.id.as_str().to_owned(),
        event_time: Some(convert::to_timestamp(transaction.event_time)),
        card_id: transaction.card_id.as_str().to_owned(),
        amount_minor: transaction.amount.amount_minor,
        currency: transaction.amount.currency.code().to_owned(),
        merchant_id: optional("merchant_id", Some(&transaction.merchant_id)),
        merchant_category_code: transaction.merchant_category_code.map_or(0, u32::from),
        merchant_country: transaction.merchant_country.clone().unwrap_or_default(),
        terminal_id: optional("terminal_id", transaction.terminal_id.as_ref()),
        channel: channel(transaction.channel).into(),
        card_country: transaction.card_country.clone().unwrap_or_default(),
        device_id: optional("device_id", transaction.device_id.as_ref()),
        ip_address: optional("ip_address", transaction.ip_address.as_ref()),
        attributes: BTreeMap::new(),
    };
    for (name, value) in &transaction.attributes {
        use v1::attribute_value::Kind;
        let kind = match value {
            AttributeValue::Number(number) => Some(Kind::Number(*number)),
            AttributeValue::Flag(flag) => Some(Kind::Flag(*flag)),
            AttributeValue::Time(time) => Some(Kind::Time(convert::to_timestamp(*time))),
            AttributeValue::Text(value) => {
                text(&format!("attributes.{name}"), Some(value)).map(Kind::Text)
            }
        };
        if kind.is_some() {
            let value = v1::AttributeValue { kind };
            message.attributes.insert(name.clone(), value);
        }
    }
    (message, withheld)
}

const fn channel(channel: Option<Channel>) -> v1::Channel {
    match channel {
        None => v1::Channel::Unspecified,
        Some(Channel::CardPresent) => v1::Channel::CardPresent,
        Some(Channel::Ecommerce) => v1::Channel::Ecommerce,
        Some(Channel::MailOrTelephone) => v1::Channel::MailOrTelephone,
        Some(Channel::Recurring) => v1::Channel::Recurring,
        Some(Channel::CashWithdrawal) => v1::Channel::CashWithdrawal,
    }
}

#[cfg(test)]
mod tests {
    use tollgate_types::{CardId, Currency, EventTime, Money, TransactionId};

    use super::*;

    fn transaction() -> Transaction {
        let time = EventTime::from_micros(1_770_000_000_123_456);
        Transaction {
            merchant_category_code: Some(4511),
            merchant_country: Some("FR".to_owned()),
            terminal_id: Some("terminal-1".to_owned()),
            card_country: Some("DE".to_owned()),
            device_id: Some("device-1".to_owned()),
            ip_address: Some("2001:db8::1".to_owned()),
            attributes: vec![
                ("flag".to_owned(), AttributeValue::Flag(false)),
                ("number".to_owned(), AttributeValue::Number(-1.5)),
                ("text".to_owned(), AttributeValue::Text("é".to_owned())),
                ("time".to_owned(), AttributeValue::Time(time)),
            ],
            ..Transaction::new(
                TransactionId::parse("t1").unwrap(),
                time,
                CardId::parse("c1").unwrap(),
                Money {
                    amount_minor: 1250,
                    currency: Currency::parse("EUR").unwrap(),
                },
                "m1".to_owned(),
            )
        }
    }

    #[test]
    fn a_transaction_comes_back_as_it_was() {
        let channels = Channel::ALL.map(Some).into_iter().chain([None]);
        for channel in channels {
            let transaction = Transaction {
                channel,
                ..transaction()
            };
            let (message, withheld) = message(&transaction);
            assert_eq!(withheld, [""; 0]);
            let read = convert::transaction(Some(message), EventTime::MAX).unwrap();
            assert_eq!(read, transaction);
        }
    }

    #[test]
    fn texts_with_a_card_number_are_left_out_and_named() {
        let number = "card 4111 1111 1111 1111".to_owned();
        let mut spoilt = transaction();
        spoilt.merchant_id.clone_from(&number);
        spoilt.terminal_id = Some(number.clone());
        spoilt.device_id = Some(number.clone());
        spoilt.attributes[2].1 = AttributeValue::Text(number);
        let (message, withheld) = message(&spoilt);
        assert_eq!(
            withheld,
            ["merchant_id", "terminal_id", "device_id", "attributes.text"]
        );
        assert!(!format!("{message:?}").contains("1111"));
        assert!(!message.attributes.contains_key("text"));
    }
}
