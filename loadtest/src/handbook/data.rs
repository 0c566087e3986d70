//! The handbook's data set: transactions in order of time, and what their features and scores must be.

use std::collections::HashMap;
use std::fs::File;
use std::io::BufReader;
use std::iter::Peekable;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use jiff::tz::TimeZone;
use serde::Deserialize;
use serde::de::DeserializeOwned;

/// Transactions in the data set, and the days they are spread over.
pub(super) const ROWS: u64 = 1_466_282;
pub(super) const DAYS: u64 = 183;
pub(super) const DAY_SECONDS: i64 = 86_400;

pub(super) const TRANSACTIONS_FILE: &str = "transactions.csv.zst";
const EXPECTED_FILE: &str = "expected_features.csv.zst";

/// Names of the features in the order of the models' inputs; the columns are the same in capitals.
pub(super) const FEATURES: [&str; 15] = [
    "tx_amount",
    "tx_during_weekend",
    "tx_during_night",
    "customer_id_nb_tx_1day_window",
    "customer_id_avg_amount_1day_window",
    "customer_id_nb_tx_7day_window",
    "customer_id_avg_amount_7day_window",
    "customer_id_nb_tx_30day_window",
    "customer_id_avg_amount_30day_window",
    "terminal_id_nb_tx_1day_window",
    "terminal_id_risk_1day_window",
    "terminal_id_nb_tx_7day_window",
    "terminal_id_risk_7day_window",
    "terminal_id_nb_tx_30day_window",
    "terminal_id_risk_30day_window",
];

/// Names of the models; the columns of their scores are the same in capitals behind `P_`.
pub(super) const MODELS: [&str; 4] = ["logreg", "rf100_d10", "xgb100_default", "xgb300_d4"];
/// The model whose score decides.
pub(super) const CHAMPION: usize = 3;

/// One transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Row {
    pub(super) id: u64,
    /// Seconds since 1970, the data's own times read as UTC.
    pub(super) at_seconds: i64,
    pub(super) customer: u32,
    pub(super) terminal: u32,
    pub(super) amount_minor: i64,
    pub(super) fraud: bool,
}

/// What the features and the scores of a transaction must be.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Expected {
    pub(super) features: [f64; FEATURES.len()],
    pub(super) scores: [f64; MODELS.len()],
}

/// `model_version` as answers carry it.
pub(super) fn model_version(model: usize) -> String {
    format!("{}/1", MODELS[model])
}

#[derive(Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
struct RawRow {
    transaction_id: u64,
    /// Without a zone; read as UTC.
    tx_datetime: String,
    customer_id: u32,
    terminal_id: u32,
    tx_amount: f64,
    tx_fraud: u8,
}

impl RawRow {
    #[expect(
        clippy::cast_possible_truncation,
        reason = "amounts are at most some thousands"
    )]
    fn row(self) -> Result<Row> {
        let at = TimeZone::UTC.to_timestamp(self.tx_datetime.parse()?)?;
        Ok(Row {
            id: self.transaction_id,
            at_seconds: at.as_second(),
            customer: self.customer_id,
            terminal: self.terminal_id,
            // The nearest cent to a number with two decimals is that number.
            amount_minor: (self.tx_amount * 100.0).round() as i64,
            fraud: self.tx_fraud == 1,
        })
    }
}

impl Row {
    /// Days since 1970.
    pub(super) const fn day(&self) -> i64 {
        self.at_seconds.div_euclid(DAY_SECONDS)
    }
}

/// Reads the transactions day by day.
pub(super) struct Days(Peekable<Rows>);

type Rows = Box<dyn Iterator<Item = Result<Row>> + Send>;

impl Days {
    pub(super) fn open(folder: &Path) -> Result<Self> {
        let records = read::<RawRow>(folder.join(TRANSACTIONS_FILE))?;
        let rows: Rows = Box::new(records.map(|record| record?.row()));
        Ok(Self(rows.peekable()))
    }

    /// The transactions of the next day; none after the last one. The file is in order of time.
    pub(super) fn next_day(&mut self) -> Result<Vec<Row>> {
        let Some(first) = self.0.next().transpose()? else {
            return Ok(Vec::new());
        };
        let mut rows = vec![first];
        // An error is taken as well, so that it is not lost at the end of a day.
        let goes_on = |row: &Result<Row>| row.as_ref().map_or(true, |row| row.day() == first.day());
        while let Some(row) = self.0.next_if(goes_on) {
            rows.push(row?);
        }
        Ok(rows)
    }
}

/// What is expected, by transaction.
pub(super) fn expected(folder: &Path) -> Result<HashMap<u64, Expected>> {
    let mut all = HashMap::new();
    for record in read::<HashMap<String, String>>(folder.join(EXPECTED_FILE))? {
        let record = record?;
        let text = |column: &str| {
            let column = column.to_uppercase();
            record
                .get(&column)
                .with_context(|| format!("there is no column {column}"))
        };
        let number = |column: &str| -> Result<f64> { Ok(text(column)?.parse()?) };
        let mut expected = Expected {
            features: [0.0; FEATURES.len()],
            scores: [0.0; MODELS.len()],
        };
        for (value, name) in expected.features.iter_mut().zip(FEATURES) {
            *value = number(name)?;
        }
        for (value, name) in expected.scores.iter_mut().zip(MODELS) {
            *value = number(&format!("p_{name}"))?;
        }
        all.insert(text("transaction_id")?.parse()?, expected);
    }
    Ok(all)
}

/// The records of a compressed CSV file, with the place in the file in every error.
fn read<T: DeserializeOwned + Send + 'static>(
    path: PathBuf,
) -> Result<impl Iterator<Item = Result<T>> + Send> {
    let shown = path.display().to_string();
    let file = File::open(path).with_context(|| format!("cannot read {shown}"))?;
    let decoder = zstd::Decoder::new(BufReader::new(file))?;
    let records = csv::Reader::from_reader(decoder).into_deserialize();
    Ok(records.map(move |record| record.with_context(|| format!("cannot read {shown}"))))
}

#[cfg(test)]
pub(super) mod sample {
    //! A data set of a few rows, in the form of the real one.

    use super::*;

    /// A fraud in the first minute.
    pub(in super::super) const fn row(id: u64) -> Row {
        Row {
            id,
            at_seconds: 1_522_540_831,
            customer: 596,
            terminal: 3_156,
            amount_minor: 5_716,
            fraud: true,
        }
    }

    const TRANSACTIONS: &str = "\
TRANSACTION_ID,TX_DATETIME,CUSTOMER_ID,TERMINAL_ID,TX_AMOUNT,TX_FRAUD,TX_FRAUD_SCENARIO
0,2018-04-01T00:00:31,596,3156,57.16,0,0
1,2018-04-01T23:59:59,4961,3412,81.51,1,1
2,2018-04-02T00:00:00,2,1365,0.29,0,0
";

    /// Writes the sample into a folder.
    pub(in super::super) fn write(folder: &Path) {
        let columns = FEATURES.map(str::to_uppercase).join(",");
        let scores = MODELS
            .map(|name| format!("P_{}", name.to_uppercase()))
            .join(",");
        let expected = format!(
            "TRANSACTION_ID,PICK,{columns},{scores}\n\
             1,random,81.51,1,0,1,81.51,1,81.51,1,81.51,0,0.0,0,0.0,0,0.0,0.1,0.2,0.3,0.4\n"
        );
        for (name, text) in [
            (TRANSACTIONS_FILE, TRANSACTIONS),
            (EXPECTED_FILE, &expected),
        ] {
            let compressed = zstd::encode_all(text.as_bytes(), 1).unwrap();
            std::fs::write(folder.join(name), compressed).unwrap();
        }
        std::fs::create_dir(folder.join("models")).unwrap();
        for model in MODELS {
            std::fs::write(folder.join(format!("models/{model}.onnx")), model).unwrap();
        }
    }
}

#[cfg(test)]
#[expect(
    clippy::float_cmp,
    reason = "the values are read back as they were written"
)]
mod tests {
    use super::*;

    #[test]
    fn transactions_come_day_by_day_in_whole_cents() {
        let folder = tempfile::tempdir().unwrap();
        sample::write(folder.path());
        let mut days = Days::open(folder.path()).unwrap();
        let first = days.next_day().unwrap();
        assert_eq!(first.len(), 2);
        let row = first[1];
        assert_eq!((row.id, row.amount_minor, row.fraud), (1, 8_151, true));
        assert_eq!((row.day(), row.at_seconds % DAY_SECONDS), (17_622, 86_399));
        let second = days.next_day().unwrap();
        assert_eq!((second[0].day(), second[0].amount_minor), (17_623, 29));
        assert!(days.next_day().unwrap().is_empty());
    }

    #[test]
    fn a_row_that_cannot_be_read_is_an_error_and_not_the_end() {
        let folder = tempfile::tempdir().unwrap();
        sample::write(folder.path());
        let text = "TRANSACTION_ID,TX_DATETIME,CUSTOMER_ID,TERMINAL_ID,TX_AMOUNT,TX_FRAUD\n\
                    0,2018-04-01T00:00:31,596,3156,57.16,0\n\
                    1,2018-04-01T00:00:32,many,3156,57.16,0\n";
        let compressed = zstd::encode_all(text.as_bytes(), 1).unwrap();
        std::fs::write(folder.path().join(TRANSACTIONS_FILE), compressed).unwrap();
        let error = Days::open(folder.path()).unwrap().next_day().unwrap_err();
        let error = format!("{error:#}");
        assert!(error.contains(TRANSACTIONS_FILE), "{error}");
    }

    #[test]
    fn expected_values_are_found_by_transaction() {
        let folder = tempfile::tempdir().unwrap();
        sample::write(folder.path());
        let expected = expected(folder.path()).unwrap();
        assert_eq!(expected.len(), 1);
        assert_eq!(expected[&1].features[..3], [81.51, 1.0, 0.0]);
        assert_eq!(expected[&1].scores, [0.1, 0.2, 0.3, 0.4]);
        assert_eq!(model_version(CHAMPION), "xgb300_d4/1");
    }
}
