//! Bad input is refused by field, and a card number appears nowhere.

#![allow(
    clippy::expect_used,
    clippy::float_cmp,
    clippy::unwrap_used,
    reason = "a test that cannot go on should stop; its numbers are small and exact"
)]

mod common;

use std::collections::BTreeSet;

use common::{POLICY, Running, start, start_with, transaction, write_policy};
use prost::Message;
use tollgate_proto::v1;
use tonic::Code;

/// A test number that card schemes publish.
const CARD_NUMBER: &str = "4111111111111111";

async fn refusal(running: &mut Running, transaction: Option<v1::Transaction>) -> String {
    let request = v1::ScoreRequest {
        transaction,
        include_features: false,
    };
    let status = running
        .client
        .score(request)
        .await
        .expect_err("it was taken");
    assert_eq!(status.code(), Code::InvalidArgument, "{status}");
    format!("{status} {status:?}")
}

#[tokio::test(flavor = "multi_thread")]
async fn each_malformed_field_is_named() {
    use v1::attribute_value::Kind;
    type Spoil = fn(&mut v1::Transaction);
    fn attribute(transaction: &mut v1::Transaction, name: &str, kind: Kind) {
        let value = v1::AttributeValue { kind: Some(kind) };
        transaction.attributes.insert(name.to_owned(), value);
    }
    let cases: [(&str, Spoil); 16] = [
        ("transaction.transaction_id", |t| t.transaction_id.clear()),
        ("transaction.event_time", |t| t.event_time = None),
        ("transaction.event_time", |t| {
            t.event_time.as_mut().unwrap().nanos = -1
        }),
        ("transaction.event_time", |t| {
            t.event_time.as_mut().unwrap().seconds = 99_999_999_999
        }),
        ("transaction.card_id", |t| t.card_id.clear()),
        ("transaction.card_id", |t| {
            t.card_id = CARD_NUMBER.to_owned()
        }),
        ("transaction.amount_minor", |t| t.amount_minor = -1),
        ("transaction.currency", |t| t.currency.clear()),
        ("transaction.currency", |t| t.currency = "XYZ".to_owned()),
        ("transaction.merchant_id", |t| t.merchant_id.clear()),
        ("transaction.merchant_category_code", |t| {
            t.merchant_category_code = 123_456
        }),
        ("transaction.merchant_country", |t| {
            t.merchant_country = "France".to_owned()
        }),
        ("transaction.ip_address", |t| {
            t.ip_address = "localhost".to_owned()
        }),
        ("transaction.attributes.passengers", |t| {
            attribute(t, "passengers", Kind::Text("two".to_owned()));
        }),
        ("transaction.attributes.product", |t| {
            attribute(t, "product", Kind::Text("boat".to_owned()));
        }),
        ("transaction.attributes.origin", |t| {
            attribute(t, "origin", Kind::Text("CDG".to_owned()))
        }),
    ];
    let mut running = start().await;
    for (field, spoil) in cases {
        let mut spoilt = transaction("t1", "card-1", 0, 1000);
        spoil(&mut spoilt);
        let error = refusal(&mut running, Some(spoilt)).await;
        assert!(error.contains(&format!("{field}: ")), "{field}: {error}");
    }
    assert!(
        refusal(&mut running, None)
            .await
            .contains("transaction: is missing")
    );
    let refused = running.metric("tollgate_refused_total").await;
    assert_eq!(refused, 17.0);
    running.service.stop().await;
}

/// Transactions with a card number wherever a text can be and in the forms people type it: those that are
/// refused, and those whose field is kept as a key only.
fn with_card_numbers() -> (Vec<v1::Transaction>, Vec<v1::Transaction>) {
    type Put = fn(&mut v1::Transaction, String);
    let refused: [Put; 3] = [
        |t, number| t.card_id = number,
        |t, number| t.transaction_id = number,
        |t, number| t.currency = number,
    ];
    let taken: [Put; 4] = [
        |t, number| t.merchant_id = number,
        |t, number| t.terminal_id = number,
        |t, number| t.device_id = number,
        |t, number| {
            let kind = Some(v1::attribute_value::Kind::Text(number));
            t.attributes
                .insert("note".to_owned(), v1::AttributeValue { kind });
        },
    ];
    let numbers = [CARD_NUMBER, "4111 1111 1111 1111", "4111-1111-1111-1111"];
    let spoilt = |puts: &[Put], kind: &str| {
        let mut all = Vec::new();
        for (at, put) in puts.iter().enumerate() {
            for (form, number) in numbers.iter().enumerate() {
                let mut transaction =
                    transaction(&format!("t-{kind}-{at}-{form}"), "card-1", 0, 1000);
                put(&mut transaction, (*number).to_owned());
                all.push(transaction);
            }
        }
        all
    };
    (spoilt(&refused, "refused"), spoilt(&taken, "taken"))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_card_number_appears_nowhere() {
    let mut files = POLICY.to_vec();
    let schema = POLICY[0]
        .1
        .replace("attributes:\n", "attributes:\n  note: text\n");
    files[0].1 = &schema;
    let mut running = start_with(write_policy(&files)).await;
    let mut seen = String::new();
    let (refused, taken) = with_card_numbers();
    let records: Vec<Vec<u8>> = refused
        .iter()
        .chain(&taken)
        .map(|transaction| {
            let transaction = Some(transaction.clone());
            v1::TransactionEvent {
                transaction,
                authorized: true,
            }
            .encode_to_vec()
        })
        .collect();
    let (letters, decisions) = (refused.len(), taken.len());
    for transaction in refused {
        seen += &refusal(&mut running, Some(transaction)).await;
    }
    for transaction in taken {
        seen += &format!("{:?}", running.score(transaction).await);
    }
    running.publish("transactions", &records).await;
    for (text, _) in running.consume("tollgate.dead-letters", letters).await {
        assert!(
            text.contains("transaction."),
            "a dead letter names the field: {text}"
        );
        seen += &text;
    }
    let mut withheld = BTreeSet::new();
    for (text, bytes) in running.consume("tollgate.decisions", decisions).await {
        seen += &text;
        let record = v1::DecisionRecord::decode(bytes.as_slice()).unwrap();
        withheld.extend(record.withheld);
    }
    let named: Vec<&str> = withheld.iter().map(String::as_str).collect();
    assert_eq!(
        named,
        ["attributes.note", "device_id", "merchant_id", "terminal_id"]
    );
    seen += &running.metrics().await;
    seen += &running.get("/status").await;
    let digits: String = seen
        .chars()
        .filter(|c| !matches!(c, ' ' | '-' | '.'))
        .collect();
    assert!(!digits.contains(CARD_NUMBER), "{seen}");
    running.service.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_record_that_cannot_be_read_stops_nothing() {
    let mut running = start().await;
    let good = |id: &str, second| v1::TransactionEvent {
        transaction: Some(transaction(id, "card-1", second, 1000)),
        authorized: true,
    };
    let records = [
        good("h1", 0).encode_to_vec(),
        b"not a message".to_vec(),
        Vec::new(),
        v1::TransactionEvent::default().encode_to_vec(),
        vec![0xff; 100_000],
        good("h2", 1).encode_to_vec(),
    ];
    running.publish("transactions", &records).await;
    let answer = running.score(transaction("s1", "card-1", 2, 1000)).await;
    assert_eq!(answer.features["card_count"], 3.0);
    let letters = running.consume("tollgate.dead-letters", 4).await;
    for (text, _) in &letters {
        assert!(
            text.contains("tollgate.transactions") && text.contains("offset"),
            "{text}"
        );
    }
    running.service.stop().await;
}
