//! What the benches share: timing, a client of Redis, and a schema and transactions as a small platform
//! would have them.

pub mod features;
pub mod memory;
pub mod models;
pub mod redis;
pub mod rules;
pub mod timing;

use std::collections::BTreeMap;

use tollgate_types::{
    CardId, Channel, Currency, EventTime, Money, Rates, Schema, SchemaBuilder, SchemaError, Span,
    Transaction, TransactionId,
};

/// Cards and terminals with the columns most rules look at.
pub fn schema() -> Result<Schema, SchemaError> {
    let names = |list: &[&str]| {
        list.iter()
            .map(|name| (*name).to_owned())
            .collect::<Vec<_>>()
    };
    let mut builder = SchemaBuilder::default();
    let columns = names(&["amount", "merchant_country", "merchant_id"]);
    builder.entity("card", &names(&["card_id"]), &columns, Span::from_days(90))?;
    builder.entity(
        "terminal",
        &names(&["terminal_id"]),
        &[],
        Span::from_days(90),
    )?;
    Ok(builder.build())
}

/// Euros, and nothing else.
pub fn rates(euro: Currency) -> Rates {
    // A table without rates has nothing that could be refused.
    Rates::new(euro, BTreeMap::new()).unwrap_or_else(|_| unreachable!("no rates, no error"))
}

/// Card `card`'s transaction number `number`, an hour after the one before.
pub fn transaction(
    euro: Currency,
    card: u32,
    number: u32,
) -> Result<Transaction, tollgate_types::IdError> {
    let seconds = 1_770_000_000 + i64::from(number) * 3_600;
    Ok(Transaction {
        merchant_category_code: Some(4511),
        merchant_country: Some(["FR", "US", "JP", "BR"][(number % 4) as usize].to_owned()),
        terminal_id: Some(format!("terminal-{}", (card * 7 + number) % 20_000)),
        channel: Some(Channel::Ecommerce),
        card_country: Some("FR".to_owned()),
        ..Transaction::new(
            TransactionId::parse(&format!("t-{card}-{number}"))?,
            EventTime::from_micros(seconds * 1_000_000),
            CardId::parse(&format!("card-{card}"))?,
            Money {
                amount_minor: i64::from(number % 97) * 100 + 50,
                currency: euro,
            },
            format!("merchant-{}", (card + number) % 500),
        )
    })
}
