//! One history of a few hundred transactions, in every format that `tollgate features` reads.

use std::fmt::Write as _;
use std::path::Path;
use std::sync::Arc;

use parquet::data_type::{BoolType, ByteArrayType, DataType, DoubleType, Int64Type};
use parquet::file::properties::WriterProperties;
use parquet::file::writer::{SerializedFileWriter, SerializedRowGroupWriter};
use parquet::schema::parser::parse_message_type;

/// 2026-01-01T00:00:00Z.
const BEGIN_S: i64 = 1_767_225_600;
const ROWS: i64 = 700;

/// One transaction of the history that all formats hold.
pub(crate) struct Row {
    id: i64,
    second: i64,
    amount_minor: i64,
    currency: &'static str,
    terminal: Option<i64>,
    product: Option<&'static str>,
    authorized: bool,
    fraud: Option<bool>,
}

impl Row {
    fn known_at(&self) -> i64 {
        self.second + 3_600 * (1 + self.id % 50)
    }

    fn card(&self) -> String {
        format!("card-{}", self.id % 7)
    }

    /// With what CSV puts into quotes.
    fn merchant(&self) -> String {
        format!("merchant \"{}\", Paris", self.id % 3)
    }

    fn terminal(&self) -> String {
        self.terminal
            .map_or_else(String::new, |terminal| format!("terminal-{terminal}"))
    }

    /// In major units, as people write it.
    fn amount(&self) -> String {
        match self.currency {
            "JPY" => self.amount_minor.to_string(),
            _ => format!("{}.{:02}", self.amount_minor / 100, self.amount_minor % 100),
        }
    }
}

/// Rows in order of time, many of which tie, but for every 97th, which is late.
pub(crate) fn rows() -> Vec<Row> {
    let row = |id: i64| Row {
        id,
        second: BEGIN_S + id / 3 * 600 - if id % 97 == 96 { 90_000 } else { 0 },
        amount_minor: id * 7_919 % 100_000,
        currency: ["EUR", "USD", "JPY", "EUR"][usize::try_from(id % 4).unwrap()],
        terminal: (id % 5 != 0).then_some(id % 4),
        product: [None, Some("flight"), Some("hotel")][usize::try_from(id % 3).unwrap()],
        authorized: id % 11 != 0,
        fraud: [None, Some(true), Some(false), Some(false)][usize::try_from(id % 4).unwrap()],
    };
    (0..ROWS).map(row).collect()
}

fn time(second: i64) -> String {
    tollgate_types::EventTime::from_unix(second, 0)
        .unwrap()
        .to_string()
}

pub(crate) fn csv(rows: &[Row]) -> String {
    let mut text =
        "note,transaction_id,event_time,card_id,amount,currency,merchant_id,terminal_id,product,\
                    authorized,fraud,fraud_known_at\n"
            .to_owned();
    for row in rows {
        let flag = |flag: Option<bool>| flag.map_or("", |flag| if flag { "1" } else { "0" });
        writeln!(
            text,
            "\"over\ntwo lines\",t{},{},{},{},{},\"{}\",{},{},{},{},{}",
            row.id,
            time(row.second).replace('T', " ").replace('Z', ""),
            row.card(),
            row.amount(),
            row.currency,
            row.merchant().replace('"', "\"\""),
            row.terminal(),
            row.product.unwrap_or_default(),
            row.authorized,
            flag(row.fraud),
            time(row.known_at()),
        )
        .unwrap();
    }
    text
}

pub(crate) fn jsonl(rows: &[Row]) -> String {
    let mut text = String::new();
    for row in rows {
        let mut transaction = serde_json::json!({
            "transactionId": format!("t{}", row.id), "eventTime": time(row.second), "cardId": row.card(),
            "amountMinor": row.amount_minor.to_string(), "currency": row.currency,
            "merchantId": row.merchant(), "terminalId": row.terminal(), "attributes": {},
        });
        if let Some(product) = row.product {
            transaction["attributes"]["product"] = serde_json::json!({ "text": product });
        }
        let event = serde_json::json!({"transaction": transaction, "authorized": row.authorized});
        writeln!(text, "{}", serde_json::json!({ "transaction": event })).unwrap();
        if let Some(fraud) = row.fraud {
            let id = format!("t{}", row.id);
            let label = serde_json::json!({"transactionId": id, "fraud": fraud, "knownAt": time(row.known_at())});
            writeln!(text, "{}", serde_json::json!({ "label": label })).unwrap();
        }
    }
    text
}

const PARQUET: &str = "message history {
    required binary transaction_id (utf8);
    required int64 event_time (timestamp(millis, false));
    required binary card_id (utf8);
    required double amount;
    required binary currency (utf8);
    required binary merchant_id (utf8);
    optional binary terminal_id (utf8);
    optional binary product (utf8);
    required boolean authorized;
    optional boolean fraud;
    required int64 fraud_known_at;
}";

/// In row groups of 100, so that parts of the history begin and end inside of them.
pub(crate) fn write_parquet(rows: &[Row], path: &Path) {
    let schema = Arc::new(parse_message_type(PARQUET).unwrap());
    let properties = Arc::new(WriterProperties::builder().build());
    let file = std::fs::File::create(path).unwrap();
    let mut file = SerializedFileWriter::new(file, schema, properties).unwrap();
    for rows in rows.chunks(100) {
        let mut group = file.next_row_group().unwrap();
        write_group(rows, &mut group);
        group.close().unwrap();
    }
    file.close().unwrap();
}

fn write_group(rows: &[Row], group: &mut SerializedRowGroupWriter<'_, std::fs::File>) {
    type Texts = ByteArrayType;
    let texts = |of: &dyn Fn(&Row) -> String| -> Vec<_> {
        rows.iter().map(|row| of(row).as_str().into()).collect()
    };
    let there = |of: &dyn Fn(&Row) -> bool| -> Vec<i16> {
        rows.iter().map(|row| i16::from(of(row))).collect()
    };
    column::<Texts>(group, texts(&|row| format!("t{}", row.id)), None);
    column::<Int64Type>(group, rows.iter().map(|row| row.second * 1_000), None);
    column::<Texts>(group, texts(&Row::card), None);
    let amounts = rows.iter().map(|row| row.amount().parse().unwrap());
    column::<DoubleType>(group, amounts, None);
    column::<Texts>(group, texts(&|row| row.currency.to_owned()), None);
    column::<Texts>(group, texts(&Row::merchant), None);
    let terminals = rows.iter().filter(|row| row.terminal.is_some());
    let terminals = terminals.map(|row| row.terminal().as_str().into());
    column::<Texts>(
        group,
        terminals,
        Some(&there(&|row| row.terminal.is_some())),
    );
    let products = rows.iter().filter_map(|row| row.product).map(Into::into);
    column::<Texts>(group, products, Some(&there(&|row| row.product.is_some())));
    column::<BoolType>(group, rows.iter().map(|row| row.authorized), None);
    let labels = rows.iter().filter_map(|row| row.fraud);
    column::<BoolType>(group, labels, Some(&there(&|row| row.fraud.is_some())));
    column::<Int64Type>(group, rows.iter().map(Row::known_at), None);
}

fn column<T: DataType>(
    group: &mut SerializedRowGroupWriter<'_, std::fs::File>,
    values: impl IntoIterator<Item = T::T>,
    levels: Option<&[i16]>,
) {
    let values: Vec<T::T> = values.into_iter().collect();
    let mut column = group.next_column().unwrap().unwrap();
    column
        .typed::<T>()
        .write_batch(&values, levels, None)
        .unwrap();
    column.close().unwrap();
}
