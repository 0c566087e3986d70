//! A schema with something of every kind, for tests and for fuzzing.
#![allow(
    clippy::unwrap_used,
    reason = "it is always the same, so it fails at once or never; and nothing that serves has it"
)]

use std::collections::BTreeMap;

use tollgate_types::{FieldType, Schema, SchemaBuilder, Span};

/// Fields 0–12 are built in; 13 `product`, 14 `passengers`, 15 `refundable`, 16 `departure_time`, 17 `latitude`,
/// 18 `longitude`.
pub(crate) fn schema() -> Schema {
    let mut builder = SchemaBuilder::default();
    let products = ["flight", "hotel", "car"].map(str::to_owned).to_vec();
    builder
        .attribute("product", FieldType::Text, Some(products))
        .unwrap();
    builder
        .attribute("passengers", FieldType::Number, None)
        .unwrap();
    builder
        .attribute("refundable", FieldType::Flag, None)
        .unwrap();
    builder
        .attribute("departure_time", FieldType::Time, None)
        .unwrap();
    for coordinate in ["latitude", "longitude"] {
        builder
            .attribute(coordinate, FieldType::Number, None)
            .unwrap();
    }
    let strings = |names: &[&str]| {
        names
            .iter()
            .map(|&name| name.to_owned())
            .collect::<Vec<_>>()
    };
    let retained = strings(&[
        "amount",
        "merchant_country",
        "channel",
        "merchant_id",
        "latitude",
        "longitude",
    ]);
    builder
        .entity(
            "card",
            &strings(&["card_id"]),
            &retained,
            Span::from_days(30),
        )
        .unwrap();
    builder
        .entity(
            "terminal",
            &strings(&["terminal_id"]),
            &[],
            Span::from_days(90),
        )
        .unwrap();
    let retained = strings(&["amount", "card_id"]);
    builder
        .entity(
            "ip",
            &strings(&["ip_address"]),
            &retained,
            Span::from_days(8),
        )
        .unwrap();
    builder
        .bounded(Some(Span::from_seconds(600)), None)
        .unwrap();
    builder
        .entity(
            "card_terminal",
            &strings(&["card_id", "terminal_id"]),
            &[],
            Span::from_days(30),
        )
        .unwrap();
    builder.build()
}

/// Two lists of texts, one of them meant for networks, and one of numbers.
pub(crate) fn lists() -> BTreeMap<String, FieldType> {
    BTreeMap::from([
        ("blocked_merchants".to_owned(), FieldType::Text),
        ("risky_categories".to_owned(), FieldType::Number),
        ("hosting_networks".to_owned(), FieldType::Text),
    ])
}
