//! A transaction as the payment path describes it, and the label that arrives later.

use xxhash_rust::xxh3::xxh3_64;

use crate::{CardId, EventTime, Money, TransactionId};

/// One card payment to be decided. Everything was validated when the message was converted.
#[derive(Clone, PartialEq, Debug)]
pub struct Transaction {
    pub id: TransactionId,
    pub event_time: EventTime,
    pub card_id: CardId,
    pub amount: Money,
    pub merchant_id: String,
    /// ISO 18245 merchant category code.
    pub merchant_category_code: Option<u16>,
    /// ISO 3166-1 alpha-2.
    pub merchant_country: Option<String>,
    pub terminal_id: Option<String>,
    pub channel: Option<Channel>,
    /// ISO 3166-1 alpha-2.
    pub card_country: Option<String>,
    pub device_id: Option<String>,
    pub ip_address: Option<String>,
    /// What else the policy's schema declares, by name.
    pub attributes: Vec<(String, AttributeValue)>,
}

impl Transaction {
    /// A transaction with what every one has; the rest is missing.
    pub fn new(
        id: TransactionId,
        event_time: EventTime,
        card_id: CardId,
        amount: Money,
        merchant_id: String,
    ) -> Self {
        Self {
            id,
            event_time,
            card_id,
            amount,
            merchant_id,
            merchant_category_code: None,
            merchant_country: None,
            terminal_id: None,
            channel: None,
            card_country: None,
            device_id: None,
            ip_address: None,
            attributes: Vec::new(),
        }
    }
}

/// How the card was presented.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Channel {
    CardPresent,
    Ecommerce,
    MailOrTelephone,
    Recurring,
    CashWithdrawal,
}

impl Channel {
    pub const ALL: [Self; 5] = [
        Self::CardPresent,
        Self::Ecommerce,
        Self::MailOrTelephone,
        Self::Recurring,
        Self::CashWithdrawal,
    ];

    /// The word used in expressions: `transaction.channel == "ecommerce"`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::CardPresent => "card_present",
            Self::Ecommerce => "ecommerce",
            Self::MailOrTelephone => "mail_or_telephone",
            Self::Recurring => "recurring",
            Self::CashWithdrawal => "cash_withdrawal",
        }
    }
}

/// The value of an attribute that the schema declares.
#[derive(Clone, PartialEq, Debug)]
pub enum AttributeValue {
    Number(f64),
    Text(String),
    Flag(bool),
    Time(EventTime),
}

/// Whether a transaction turned out to be fraud, and since when that is known.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Label {
    pub transaction_id: TransactionId,
    pub fraud: bool,
    pub known_at: EventTime,
}

/// A transaction id as 64 bits, by which histories recognise a duplicate.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct TransactionKey(u64);

impl TransactionKey {
    pub fn of(id: &TransactionId) -> Self {
        Self(xxh3_64(id.as_str().as_bytes()))
    }

    pub const fn bits(self) -> u64 {
        self.0
    }

    pub const fn from_bits(bits: u64) -> Self {
        Self(bits)
    }
}
