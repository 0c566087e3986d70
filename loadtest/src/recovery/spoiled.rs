//! Records that cannot be read, each of a kind of its own.

use prost::Message as _;
use prost_types::Timestamp;
use tollgate_proto::v1;
use tollgate_proto::v1::attribute_value::Kind;

use super::log::LABELS;

/// A number that a card scheme publishes for tests. No letter may have it.
pub(super) const CARD_NUMBER: &str = "4111111111111111";

/// A kind of record that cannot be read.
pub(super) struct Spoiled {
    pub(super) name: &'static str,
    /// `None`: that of transactions.
    pub(super) topic: Option<&'static str>,
    /// What is part of the reason.
    pub(super) reason: &'static str,
    /// A record's value, or `None` for none, from a good event.
    pub(super) make: fn(&Sample<'_>) -> Option<Vec<u8>>,
}

/// A good event.
pub(super) struct Sample<'e>(&'e v1::TransactionEvent);

impl<'e> Sample<'e> {
    pub(super) const fn of(event: &'e v1::TransactionEvent) -> Self {
        Self(event)
    }

    fn bytes(&self) -> Vec<u8> {
        self.0.encode_to_vec()
    }

    /// Its bytes after a change to the transaction. It has an id of its own, so that it would count if it could be read.
    fn with(&self, spoil: impl FnOnce(&mut v1::Transaction)) -> Option<Vec<u8>> {
        let mut event = self.0.clone();
        if let Some(transaction) = &mut event.transaction {
            transaction.transaction_id += "-spoiled";
            spoil(transaction);
        }
        Some(event.encode_to_vec())
    }

    fn label(&self, spoil: impl FnOnce(&mut v1::Label)) -> Option<Vec<u8>> {
        let transaction = self.0.transaction.as_ref();
        let mut label = v1::Label {
            transaction_id: transaction.map_or_else(String::new, |of| of.transaction_id.clone()),
            fraud: true,
            known_at: transaction.and_then(|transaction| transaction.event_time),
        };
        spoil(&mut label);
        Some(label.encode_to_vec())
    }
}

/// A second in the year 2255.
const FAR_FUTURE_S: i64 = 9_000_000_000;

const fn transaction(
    name: &'static str,
    reason: &'static str,
    make: fn(&Sample<'_>) -> Option<Vec<u8>>,
) -> Spoiled {
    Spoiled {
        name,
        topic: None,
        reason,
        make,
    }
}

const fn label(
    name: &'static str,
    reason: &'static str,
    make: fn(&Sample<'_>) -> Option<Vec<u8>>,
) -> Spoiled {
    Spoiled {
        topic: Some(LABELS),
        ..transaction(name, reason, make)
    }
}

pub(super) static SPOILED: [Spoiled; 28] = [
    transaction("no message", "not a TransactionEvent", |_| {
        Some(b"\xff\xff\xff\xff not a transaction".to_vec())
    }),
    transaction("json", "looks like json", |_| {
        Some(br#"{"transaction": {"transactionId": "t"}, "authorized": true}"#.to_vec())
    }),
    transaction(
        "confluent's frame",
        "looks like confluent_protobuf",
        |good| Some([&[0, 0, 0, 0, 7, 0][..], &good.bytes()].concat()),
    ),
    transaction("cut short", "not a TransactionEvent", |good| {
        let mut bytes = good.bytes();
        bytes.truncate(bytes.len() / 2);
        Some(bytes)
    }),
    transaction("tombstone", "no value", |_| None),
    transaction("empty value", "no value", |_| Some(Vec::new())),
    transaction("huge", "larger than", |_| Some(vec![b'x'; 100_000])),
    transaction("field of another type", "not a TransactionEvent", |_| {
        Some(vec![0x08, 0x01])
    }),
    transaction(
        "label among transactions",
        "not a TransactionEvent",
        |good| good.label(|_| ()),
    ),
    transaction("text that is not UTF-8", "not a TransactionEvent", |good| {
        let mut bytes = good.with(|spoiled| spoiled.merchant_id = "m".repeat(50))?;
        let at = bytes.windows(50).position(|text| text == [b'm'; 50])?;
        bytes[at] = 0xff;
        Some(bytes)
    }),
    transaction("no transaction", "transaction: is missing", |_| {
        Some(vec![0x10, 0x01])
    }),
    transaction("no id", "transaction.transaction_id", |good| {
        good.with(|spoiled| spoiled.transaction_id.clear())
    }),
    transaction("card number as id", "transaction.transaction_id", |good| {
        good.with(|spoiled| CARD_NUMBER.clone_into(&mut spoiled.transaction_id))
    }),
    transaction("card number", "transaction.card_id", |good| {
        good.with(|spoiled| CARD_NUMBER.clone_into(&mut spoiled.card_id))
    }),
    transaction("no card", "transaction.card_id", |good| {
        good.with(|spoiled| spoiled.card_id.clear())
    }),
    transaction("no merchant", "transaction.merchant_id", |good| {
        good.with(|spoiled| spoiled.merchant_id.clear())
    }),
    transaction("no time", "transaction.event_time", |good| {
        good.with(|spoiled| spoiled.event_time = None)
    }),
    transaction("time that is none", "transaction.event_time", |good| {
        good.with(|spoiled| {
            spoiled.event_time = Some(Timestamp {
                seconds: 0,
                nanos: -1,
            });
        })
    }),
    transaction("far future", "ahead of the clock", |good| {
        good.with(|spoiled| {
            spoiled.event_time = Some(Timestamp {
                seconds: FAR_FUTURE_S,
                nanos: 0,
            });
        })
    }),
    transaction("negative amount", "transaction.amount_minor", |good| {
        good.with(|spoiled| spoiled.amount_minor = -1)
    }),
    transaction("unknown currency", "transaction.currency", |good| {
        good.with(|spoiled| "QQQ".clone_into(&mut spoiled.currency))
    }),
    transaction("text that is too long", "transaction.device_id", |good| {
        good.with(|spoiled| spoiled.device_id = "d".repeat(300))
    }),
    transaction("unknown channel", "transaction.channel", |good| {
        good.with(|spoiled| spoiled.channel = 99)
    }),
    transaction("address that is none", "transaction.ip_address", |good| {
        good.with(|spoiled| "10.0.0".clone_into(&mut spoiled.ip_address))
    }),
    transaction(
        "attribute of another type",
        "transaction.attributes.passengers",
        |good| {
            good.with(|spoiled| {
                let kind = Some(Kind::Text(CARD_NUMBER.to_owned()));
                let value = v1::AttributeValue { kind };
                spoiled.attributes.insert("passengers".to_owned(), value);
            })
        },
    ),
    label("transaction among labels", "a Label", |good| {
        Some(good.bytes())
    }),
    label("label without transaction", "transaction_id", |good| {
        good.label(|spoiled| spoiled.transaction_id.clear())
    }),
    label("label without time", "known_at", |good| {
        good.label(|spoiled| spoiled.known_at = None)
    }),
];
