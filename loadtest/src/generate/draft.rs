//! One generated transaction before it becomes a message: small, sortable, with the truth beside it.

use std::collections::BTreeMap;

use prost_types::Timestamp;
use tollgate_proto::v1;
use tollgate_proto::v1::attribute_value::Kind;
use tollgate_types::{Currency, EventTime};

use super::dice::mix;
use super::fraud::Pattern;
use super::merchants::{Merchants, merchant_id, terminal_id};
use super::world::{AIRPORTS, COUNTRIES};

pub(crate) const SECOND: i64 = 1_000_000;
pub(crate) const DAY: i64 = 86_400 * SECOND;

/// A transaction in the generator's own numbers. Times are microseconds since 1970.
#[derive(Clone, Copy)]
pub(crate) struct Draft {
    pub at: i64,
    pub card: usize,
    pub card_country: usize,
    pub merchant: usize,
    pub amount_euro: f64,
    /// Index of the country whose currency is charged.
    pub currency: usize,
    pub channel: v1::Channel,
    /// Which till of the merchant; only where the card was present.
    pub terminal: Option<u32>,
    pub device: Option<u64>,
    pub address: Option<u32>,
    pub booking: Option<Booking>,
    /// Whether the issuer would authorize it.
    pub authorized: bool,
    pub fraud: Option<Pattern>,
    /// When it becomes known what this was; most good transactions never get a label.
    pub known_at: Option<i64>,
}

/// What was booked on the travel platform: the attributes that the policy's schema declares.
#[derive(Clone, Copy)]
pub(crate) struct Booking {
    pub product: Product,
    pub origin: usize,
    pub destination: usize,
    pub departure: i64,
    pub passengers: u32,
    pub one_way: bool,
    pub points_redeemed: u32,
    /// Guests book without an account.
    pub account_created: Option<i64>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Product {
    Flight,
    Hotel,
    Car,
    Points,
}

impl Product {
    const fn name(self) -> &'static str {
        match self {
            Self::Flight => "flight",
            Self::Hotel => "hotel",
            Self::Car => "car",
            Self::Points => "points",
        }
    }
}

impl Draft {
    /// The message the payment system would publish.
    pub(crate) fn into_event(self, id: String, seed: u64, all: &Merchants) -> v1::TransactionEvent {
        let merchant = all.get(self.merchant);
        let currency = COUNTRIES[self.currency].currency;
        let transaction = v1::Transaction {
            transaction_id: id,
            event_time: Some(timestamp(self.at)),
            card_id: card_id(seed, self.card),
            amount_minor: amount_minor(self.amount_euro, self.currency),
            currency: currency.to_owned(),
            merchant_id: merchant_id(self.merchant),
            merchant_category_code: u32::from(merchant.code),
            merchant_country: COUNTRIES[merchant.country].code.to_owned(),
            terminal_id: self
                .terminal
                .map(|terminal| terminal_id(self.merchant, terminal))
                .unwrap_or_default(),
            channel: self.channel.into(),
            card_country: COUNTRIES[self.card_country].code.to_owned(),
            device_id: self
                .device
                .map(|device| format!("dev-{device:016x}"))
                .unwrap_or_default(),
            ip_address: self.address.map(ip_address).unwrap_or_default(),
            attributes: self.booking.map(attributes).unwrap_or_default(),
        };
        v1::TransactionEvent {
            transaction: Some(transaction),
            authorized: self.authorized,
        }
    }
}

fn attributes(booking: Booking) -> BTreeMap<String, v1::AttributeValue> {
    let text = |value: &str| Kind::Text(value.to_owned());
    let destination = &AIRPORTS[booking.destination];
    let mut kinds = vec![
        ("product", text(booking.product.name())),
        ("destination", text(destination.code)),
        (
            "destination_country",
            text(COUNTRIES[destination.country].code),
        ),
        ("departure_time", Kind::Time(timestamp(booking.departure))),
        ("passengers", Kind::Number(f64::from(booking.passengers))),
        ("is_guest", Kind::Flag(booking.account_created.is_none())),
    ];
    if matches!(booking.product, Product::Flight | Product::Points) {
        kinds.push(("origin", text(AIRPORTS[booking.origin].code)));
        kinds.push(("one_way", Kind::Flag(booking.one_way)));
    }
    if booking.points_redeemed > 0 {
        kinds.push((
            "points_redeemed",
            Kind::Number(f64::from(booking.points_redeemed)),
        ));
    }
    if let Some(created) = booking.account_created {
        kinds.push(("account_created", Kind::Time(timestamp(created))));
    }
    let value =
        |(name, kind): (&str, Kind)| (name.to_owned(), v1::AttributeValue { kind: Some(kind) });
    kinds.into_iter().map(value).collect()
}

/// A token, never a card number: it starts with a letter.
pub(crate) fn card_id(seed: u64, card: usize) -> String {
    format!("card-{:016x}", mix(mix(seed) ^ card as u64))
}

pub(crate) fn timestamp(micros: i64) -> Timestamp {
    let (seconds, nanos) = EventTime::from_micros(micros).unix();
    Timestamp {
        seconds,
        nanos: i32::try_from(nanos).unwrap_or(0),
    }
}

/// Addresses come from 100.64.0.0/10, shared address space that belongs to nobody on the internet.
fn ip_address(bits: u32) -> String {
    std::net::Ipv4Addr::from(0x6440_0000 | (bits & 0x003f_ffff)).to_string()
}

/// Euros as minor units of a country's currency, at least one.
#[expect(
    clippy::cast_possible_truncation,
    reason = "amounts are far below 2^53 minor units"
)]
fn amount_minor(euro: f64, country: usize) -> i64 {
    let country = &COUNTRIES[country];
    let exponent = Currency::parse(country.currency).map_or(2, Currency::exponent);
    let minor = euro * country.per_euro * 10_f64.powi(i32::from(exponent));
    (minor.round() as i64).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_follow_the_minor_units_of_their_currency() {
        let of = |code| {
            let country = COUNTRIES
                .iter()
                .position(|country| country.code == code)
                .unwrap();
            amount_minor(10.0, country)
        };
        assert_eq!(of("DE"), 1_000);
        assert_eq!(of("JP"), 1_650);
        assert_eq!(of("KW"), 3_400);
    }

    #[test]
    fn card_ids_are_tokens() {
        for card in 0..1_000 {
            let id = card_id(1, card);
            assert!(!tollgate_types::contains_card_number(&id), "{id}");
            assert!(tollgate_types::CardId::parse(&id).is_ok());
        }
    }

    #[test]
    fn addresses_stay_in_the_shared_range() {
        assert_eq!(ip_address(0), "100.64.0.0");
        assert_eq!(ip_address(u32::MAX), "100.127.255.255");
    }
}
