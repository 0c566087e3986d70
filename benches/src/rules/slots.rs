//! The fifty values that generated rules read, as a travel platform would have them, and what they may be.
//!
//! All numbers are multiples of a sixteenth, so that binary and decimal arithmetic agree and results can be compared
//! row by row. Aggregates are given, not computed: what the store takes is measured elsewhere.

use rand::RngExt;
use rand_chacha::ChaCha8Rng;

/// A value that rules read, and what it is called where: peers get flat names, which favours them.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Slot {
    pub(crate) ours: &'static str,
    pub(crate) flat: &'static str,
    pub(crate) kind: Kind,
}

#[derive(Clone, Copy, Debug)]
pub(crate) enum Kind {
    /// Many small ones and few large ones, up to a largest.
    Number {
        step: f64,
        max: f64,
    },
    /// A number that only names something.
    Code(&'static [u16]),
    Text(&'static [&'static str]),
    /// True of one in six.
    Flag,
}

/// A value of a slot, or a constant that it is compared with.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(crate) enum Value {
    Number(f64),
    Text(&'static str),
    Flag(bool),
}

const fn slot(ours: &'static str, flat: &'static str, kind: Kind) -> Slot {
    Slot { ours, flat, kind }
}

const fn number(step: f64, max: f64) -> Kind {
    Kind::Number { step, max }
}

const COUNTRIES: Kind = Kind::Text(&[
    "FR", "US", "GB", "DE", "ES", "IT", "JP", "BR", "NL", "CH", "SG", "AE",
]);

pub(crate) const SLOTS: [Slot; 50] = [
    slot("transaction.amount", "amount", number(0.25, 4_000.0)),
    slot(
        "transaction.merchant_category_code",
        "merchant_category_code",
        Kind::Code(&[
            3_000, 3_005, 3_351, 3_501, 4_411, 4_511, 4_722, 5_411, 5_732, 5_812, 5_944, 5_999,
            6_051, 7_011, 7_512, 7_995,
        ]),
    ),
    slot(
        "transaction.merchant_country",
        "merchant_country",
        COUNTRIES,
    ),
    slot("transaction.card_country", "card_country", COUNTRIES),
    slot(
        "transaction.channel",
        "channel",
        Kind::Text(&[
            "card_present",
            "ecommerce",
            "mail_or_telephone",
            "recurring",
        ]),
    ),
    slot("transaction.passengers", "passengers", number(1.0, 9.0)),
    slot(
        "transaction.points_redeemed",
        "points_redeemed",
        number(100.0, 200_000.0),
    ),
    slot("transaction.nights", "nights", number(1.0, 60.0)),
    slot(
        "transaction.basket_items",
        "basket_items",
        number(1.0, 40.0),
    ),
    slot("transaction.discount", "discount", number(0.25, 500.0)),
    slot(
        "transaction.account_age_days",
        "account_age_days",
        number(1.0, 4_000.0),
    ),
    slot("transaction.lead_hours", "lead_hours", number(1.0, 8_000.0)),
    slot(
        "transaction.earlier_bookings",
        "earlier_bookings",
        number(1.0, 200.0),
    ),
    slot(
        "transaction.cancellations",
        "cancellations",
        number(1.0, 30.0),
    ),
    slot(
        "transaction.failed_logins",
        "failed_logins",
        number(1.0, 20.0),
    ),
    slot(
        "transaction.distance_km",
        "distance_km",
        number(0.25, 15_000.0),
    ),
    slot(
        "transaction.session_minutes",
        "session_minutes",
        number(0.25, 240.0),
    ),
    slot(
        "transaction.price_ratio",
        "price_ratio",
        number(0.0625, 8.0),
    ),
    slot(
        "transaction.typing_speed",
        "typing_speed",
        number(0.25, 20.0),
    ),
    slot(
        "transaction.product",
        "product",
        Kind::Text(&["flight", "hotel", "car", "points", "cruise", "rail"]),
    ),
    slot(
        "transaction.fare_class",
        "fare_class",
        Kind::Text(&["first", "business", "premium", "economy", "basic"]),
    ),
    slot(
        "transaction.device_type",
        "device_type",
        Kind::Text(&["phone", "tablet", "desktop", "kiosk", "unknown"]),
    ),
    slot(
        "transaction.browser",
        "browser",
        Kind::Text(&[
            "chrome", "safari", "firefox", "edge", "webview", "headless", "other",
        ]),
    ),
    slot(
        "transaction.network",
        "network",
        Kind::Text(&["visa", "mastercard", "amex", "jcb", "unionpay", "discover"]),
    ),
    slot(
        "transaction.loyalty_tier",
        "loyalty_tier",
        Kind::Text(&["none", "blue", "silver", "gold", "platinum"]),
    ),
    slot(
        "transaction.region",
        "region",
        Kind::Text(&[
            "europe",
            "north_america",
            "south_america",
            "africa",
            "middle_east",
            "asia",
            "oceania",
        ]),
    ),
    slot(
        "transaction.login_method",
        "login_method",
        Kind::Text(&["password", "passkey", "email_link", "social", "guest"]),
    ),
    slot("transaction.one_way", "one_way", Kind::Flag),
    slot("transaction.is_guest", "is_guest", Kind::Flag),
    slot("transaction.is_tokenized", "is_tokenized", Kind::Flag),
    slot("transaction.address_differs", "address_differs", Kind::Flag),
    slot("transaction.cvc_absent", "cvc_absent", Kind::Flag),
    slot("transaction.refundable", "refundable", Kind::Flag),
    slot("transaction.saved_card", "saved_card", Kind::Flag),
    slot("transaction.proxy", "proxy", Kind::Flag),
    slot("transaction.new_device", "new_device", Kind::Flag),
    slot(
        "card.last(\"10m\").count()",
        "card_count_10m",
        number(1.0, 12.0),
    ),
    slot(
        "card.last(\"1h\").count()",
        "card_count_1h",
        number(1.0, 30.0),
    ),
    slot(
        "card.last(\"24h\").count()",
        "card_count_24h",
        number(1.0, 60.0),
    ),
    slot(
        "card.last(\"7d\").count()",
        "card_count_7d",
        number(1.0, 200.0),
    ),
    slot(
        "card.last(\"1h\").sum(amount)",
        "card_sum_1h",
        number(0.25, 6_000.0),
    ),
    slot(
        "card.last(\"24h\").sum(amount)",
        "card_sum_24h",
        number(0.25, 10_000.0),
    ),
    slot(
        "card.last(\"7d\").sum(amount)",
        "card_sum_7d",
        number(0.25, 20_000.0),
    ),
    slot(
        "card.last(\"30d\").avg(amount)",
        "card_avg_30d",
        number(0.25, 1_000.0),
    ),
    slot(
        "card.last(\"30d\").max(amount)",
        "card_max_30d",
        number(0.25, 4_000.0),
    ),
    slot(
        "card.last(\"24h\").distinct(merchant_country)",
        "card_countries_24h",
        number(1.0, 8.0),
    ),
    slot(
        "card.last(\"7d\").distinct(merchant_id)",
        "card_merchants_7d",
        number(1.0, 40.0),
    ),
    slot(
        "terminal.last(\"7d\").delayed(\"7d\").rate(fraud)",
        "terminal_fraud_7d",
        number(0.0625, 1.0),
    ),
    slot(
        "device.last(\"7d\").distinct(card_id)",
        "device_cards_7d",
        number(1.0, 12.0),
    ),
    slot("ip.last(\"1h\").count()", "ip_count_1h", number(1.0, 50.0)),
];

impl Slot {
    /// Where it stands in a transaction's attributes, if it is one.
    pub(crate) fn attribute(&self) -> Option<&'static str> {
        let name = self.ours.strip_prefix("transaction.")?;
        let is_builtin = tollgate_types::builtin::FIELDS
            .iter()
            .any(|(builtin, _)| *builtin == name);
        (!is_builtin).then_some(name)
    }

    pub(crate) fn is_aggregate(&self) -> bool {
        !self.ours.starts_with("transaction.")
    }

    /// A value that a transaction may have.
    pub(crate) fn draw(&self, rng: &mut ChaCha8Rng) -> Value {
        match self.kind {
            Kind::Number { step, max } => {
                Value::Number(at_share(step, max, rng.random_range(0.0..1.0)))
            }
            Kind::Code(codes) => Value::Number(one_of(codes, rng).into()),
            Kind::Text(texts) => Value::Text(one_of(texts, rng)),
            Kind::Flag => Value::Flag(rng.random_range(0..6) == 0),
        }
    }
}

/// The number that a share of all values lies below: shares are cubed, so that small numbers are the commonest.
pub(crate) fn at_share(step: f64, max: f64, share: f64) -> f64 {
    (share.powi(3) * max / step).round() * step
}

pub(crate) fn one_of<T: Copy>(of: &[T], rng: &mut ChaCha8Rng) -> T {
    of[rng.random_range(0..of.len())]
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn numbers_are_multiples_of_a_sixteenth_and_names_differ() {
        for slot in SLOTS {
            if let Kind::Number { step, max } = slot.kind {
                for number in [step, max] {
                    assert!(
                        (number * 16.0).fract().abs() < f64::EPSILON,
                        "{}",
                        slot.flat
                    );
                }
            }
        }
        let names: BTreeSet<_> = SLOTS.iter().map(|slot| slot.flat).collect();
        assert_eq!(names.len(), SLOTS.len());
    }
}
