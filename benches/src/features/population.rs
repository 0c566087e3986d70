//! Cards and their histories, made by arithmetic: the same ones in every run and every process.
//!
//! An event follows from the card, its number and the time of the one before, so nothing has to be kept but a time per
//! card, and any card's history can be written down again to compare values. Times are random within thirty days
//! in order, as a card's own rhythm is; amounts are log-normal; a card has some thirty merchants, one to three devices
//! and few countries. Nothing is rounder or more repetitive than cards are, since the store may compress it.

use std::fmt::Write as _;
use std::sync::OnceLock;

use anyhow::Context;
use tollgate_types::{
    AttributeValue, CardId, Channel, Currency, EventTime, FieldType, Money, Schema, SchemaBuilder,
    Span, Transaction, TransactionId,
};

/// Every history lies between these, in milliseconds since 1970: thirty days.
pub(crate) const BEGIN_MS: i64 = 1_770_000_000_000;
pub(crate) const END_MS: i64 = BEGIN_MS + 30 * 86_400_000;

const COUNTRIES: [&str; 12] = [
    "FR", "US", "GB", "DE", "ES", "IT", "JP", "BR", "NL", "CH", "SG", "AE",
];
const PRODUCTS: [&str; 4] = ["flight", "hotel", "car", "points"];
const MERCHANTS: u64 = 50_000;
const MERCHANTS_PER_CARD: u64 = 30;

/// What is retained of a card's events.
#[derive(Clone, Copy, PartialEq, Eq, Debug, clap::ValueEnum)]
pub(crate) enum Columns {
    /// What the measured aggregates look at: amount and country.
    Few,
    /// The card's columns in the sample policy.
    Sample,
}

impl Columns {
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Few => "few_columns",
            Self::Sample => "sample_columns",
        }
    }

    const fn retained(self) -> &'static [&'static str] {
        match self {
            Self::Few => &["amount", "merchant_country"],
            Self::Sample => &[
                "amount",
                "merchant_id",
                "merchant_country",
                "channel",
                "device_id",
                "product",
            ],
        }
    }

    /// A schema whose only entity is the card.
    pub(crate) fn schema(self) -> anyhow::Result<Schema> {
        let mut builder = SchemaBuilder::default();
        if self == Self::Sample {
            let values = PRODUCTS.map(str::to_owned).to_vec();
            builder.attribute("product", FieldType::Text, Some(values))?;
        }
        let retained: Vec<String> = self.retained().iter().map(|&name| name.into()).collect();
        builder.entity(
            "card",
            &["card_id".to_owned()],
            &retained,
            Span::from_days(90),
        )?;
        Ok(builder.build())
    }
}

/// One event of a card.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Event {
    pub(crate) number: u32,
    pub(crate) at_ms: i64,
    pub(crate) cents: u32,
    pub(crate) merchant: u32,
    pub(crate) device: u32,
    pub(crate) product: usize,
    pub(crate) declined: bool,
}

impl Event {
    /// Event `number` of `card`, which happened at `at_ms`.
    pub(crate) fn new(card: u32, number: u32, at_ms: i64) -> Self {
        let bits = mix(u64::from(card) << 32 | u64::from(number));
        let merchant =
            mix((u64::from(card) << 8) | ((bits >> 16) % MERCHANTS_PER_CARD)) % MERCHANTS;
        // A second device is used now and then, a third one rarely.
        let device = [0, 0, 0, 0, 0, 0, 0, 1, 1, 2][small(bits >> 24, 10)];
        Self {
            number,
            at_ms,
            cents: amounts()[small(bits, AMOUNTS)],
            merchant: u32::try_from(merchant).unwrap_or_default(),
            device,
            product: small(bits >> 32, PRODUCTS.len()),
            declined: (bits >> 40).is_multiple_of(20),
        }
    }

    pub(crate) fn country(&self) -> &'static str {
        // Two of three merchants are at home.
        let bits = mix(u64::from(self.merchant));
        if bits.is_multiple_of(3) {
            COUNTRIES[small(bits >> 8, COUNTRIES.len())]
        } else {
            COUNTRIES[0]
        }
    }

    fn channel(&self) -> Channel {
        Channel::ALL[[0, 0, 0, 1, 1, 1, 1, 3][small(mix(u64::from(self.merchant)) >> 16, 8)]]
    }
}

/// The time of event `number` of `total`, so that all together are uniformly distributed over the thirty days: each is
/// the smallest of as many random times as are left. (Devroye, Non-Uniform Random Variate Generation, V.3.)
#[expect(
    clippy::cast_possible_truncation,
    reason = "a part of thirty days in milliseconds"
)]
pub(crate) fn next_time(card: u32, number: u32, total: u32, previous_ms: i64) -> i64 {
    let bits = mix(!(u64::from(card) << 32 | u64::from(number)));
    let uniform = fraction(bits);
    let left = total.saturating_sub(number).max(1);
    let share = 1.0 - uniform.powf(1.0 / f64::from(left));
    let span = crate::timing::float(u64::try_from(END_MS - previous_ms).unwrap_or(0));
    // No two events of a card tie, so that Redis' order is ours.
    previous_ms + 1 + (span * share) as i64
}

/// All `total` events of a card, oldest first.
pub(crate) fn history(card: u32, total: u32) -> impl Iterator<Item = Event> {
    let mut previous = BEGIN_MS;
    (0..total).map(move |number| {
        previous = next_time(card, number, total, previous);
        Event::new(card, number, previous)
    })
}

/// Writes events as transactions, over and over into the same one, since millions are.
#[derive(Debug)]
pub(crate) struct Writer {
    columns: Columns,
    transaction: Transaction,
    card: u32,
    id: String,
}

impl Writer {
    pub(crate) fn new(columns: Columns) -> anyhow::Result<Self> {
        let euro = Currency::parse("EUR").context("EUR")?;
        let mut transaction = Transaction::new(
            TransactionId::parse("t")?,
            EventTime::MIN,
            CardId::parse("c")?,
            Money {
                amount_minor: 0,
                currency: euro,
            },
            String::new(),
        );
        transaction.merchant_country = Some(String::new());
        transaction.merchant_category_code = Some(4511);
        transaction.card_country = Some("FR".to_owned());
        if columns == Columns::Sample {
            transaction.device_id = Some(String::new());
            let product = AttributeValue::Text(String::new());
            transaction.attributes = vec![("product".to_owned(), product)];
        }
        Ok(Self {
            columns,
            transaction,
            card: u32::MAX,
            id: String::new(),
        })
    }

    pub(crate) fn write(&mut self, card: u32, event: &Event) -> anyhow::Result<&Transaction> {
        let transaction = &mut self.transaction;
        if self.card != card {
            self.card = card;
            transaction.card_id = CardId::parse(&format!("card-{card:08}"))?;
        }
        self.id.clear();
        self.id.push('t');
        push_hex(
            &mut self.id,
            u64::from(card) << 32 | u64::from(event.number),
        );
        transaction.id = TransactionId::parse(&self.id)?;
        transaction.event_time = EventTime::from_micros(event.at_ms * 1_000);
        transaction.amount.amount_minor = i64::from(event.cents);
        transaction.channel = Some(event.channel());
        replace(&mut transaction.merchant_country, event.country());
        transaction.merchant_id.clear();
        if self.columns == Columns::Sample {
            write!(transaction.merchant_id, "merchant-{}", event.merchant)?;
            if let Some(device) = &mut transaction.device_id {
                device.clear();
                device.push_str("device-");
                push_hex(device, mix(u64::from(card) << 2 | u64::from(event.device)));
            }
            if let Some((_, AttributeValue::Text(product))) = transaction.attributes.first_mut() {
                product.clear();
                product.push_str(PRODUCTS[event.product]);
            }
        } else {
            transaction.merchant_id.push_str("merchant");
        }
        Ok(&self.transaction)
    }
}

fn replace(text: &mut Option<String>, with: &str) {
    let text = text.get_or_insert_default();
    text.clear();
    text.push_str(with);
}

fn push_hex(text: &mut String, bits: u64) {
    let mut digits = [0; 16];
    for (digit, shift) in digits.iter_mut().rev().zip((0..64).step_by(4)) {
        *digit = b"0123456789abcdef"[small(bits >> shift, 16)];
    }
    text.push_str(std::str::from_utf8(&digits).unwrap_or_default());
}

/// Random-looking bits that depend on every bit of `value` (the finalizer of SplitMix64).
pub(crate) const fn mix(value: u64) -> u64 {
    let mut bits = value.wrapping_add(0x9e37_79b9_7f4a_7c15);
    bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    bits ^ (bits >> 31)
}

/// `bits` modulo a small number, as an index.
fn small(bits: u64, below: usize) -> usize {
    usize::try_from(bits).unwrap_or_default() % below
}

/// In (0, 1).
fn fraction(bits: u64) -> f64 {
    (crate::timing::float(bits >> 11) + 0.5) / 9_007_199_254_740_992.0
}

const AMOUNTS: usize = 1 << 16;

/// Amounts in cents, log-normal around 30 euros; drawn once, since a logarithm per event would cost more than the
/// event.
fn amounts() -> &'static [u32] {
    static TABLE: OnceLock<Vec<u32>> = OnceLock::new();
    TABLE.get_or_init(|| (0..AMOUNTS as u64).map(amount).collect())
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "clamped to what fits"
)]
fn amount(draw: u64) -> u32 {
    let (radius, angle) = (fraction(mix(draw << 1)), fraction(mix(draw << 1 | 1)));
    // Box and Muller's transform to a normal variate.
    let normal = (-2.0 * radius.ln()).sqrt() * (std::f64::consts::TAU * angle).cos();
    (8.0 + 1.1 * normal).exp().clamp(1.0, 5_000_000.0) as u32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn histories_fill_the_thirty_days_in_order_and_without_ties() {
        let mut halves = 0;
        for card in 0..200 {
            let times: Vec<i64> = history(card, 100).map(|event| event.at_ms).collect();
            assert!(times.is_sorted_by(|one, next| one < next), "card {card}");
            assert!(times[0] > BEGIN_MS && times[99] <= END_MS + 100);
            halves += times
                .iter()
                .filter(|at| **at < i64::midpoint(BEGIN_MS, END_MS))
                .count();
        }
        // 20,000 fair coins: three standard deviations are 212.
        assert!((9_750..10_250).contains(&halves), "{halves}");
    }

    #[test]
    fn transactions_are_told_apart_by_their_ids() {
        let mut writer = Writer::new(Columns::Sample).unwrap();
        let mut seen = std::collections::BTreeSet::new();
        for card in 0..50 {
            for event in history(card, 20) {
                let transaction = writer.write(card, &event).unwrap();
                assert!(seen.insert(transaction.id.clone()));
            }
        }
        assert_eq!(seen.len(), 1_000);
    }

    #[test]
    fn half_of_the_amounts_are_below_thirty_euros() {
        let below = amounts().iter().filter(|cents| **cents < 2_981).count();
        assert!((31_500..34_000).contains(&below), "{below}");
    }
}
