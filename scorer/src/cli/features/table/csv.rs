//! A table as CSV, plain or compressed.

use std::fs::File;
use std::io::{BufWriter, Write};

use tollgate_types::Transaction;

use crate::cli::features::outcomes::Outcome;

/// A fast level: higher ones make a table of numbers hardly smaller.
const ZSTD_LEVEL: i32 = 1;

/// Whole numbers below this are written without a search for the shortest decimal.
const WHOLE_MAX: f64 = 9e15;

/// Some rows as text.
pub(super) struct CsvText {
    bytes: Vec<u8>,
    label_times: bool,
}

/// Bytes of a row's ids and of each of its features, about: room made at once need not be made step by step.
const KEYS_BYTES: usize = 64;
const FEATURE_BYTES: usize = 10;

impl CsvText {
    pub(super) fn new(features: usize, rows: usize, label_times: bool) -> Self {
        Self {
            bytes: Vec::with_capacity(rows * (KEYS_BYTES + FEATURE_BYTES * features)),
            label_times,
        }
    }

    pub(super) fn push(
        &mut self,
        transaction: &Transaction,
        features: &[Option<f64>],
        outcome: Option<Outcome>,
    ) {
        self.text(transaction.id.as_str());
        self.bytes.push(b',');
        self.shown(transaction.event_time);
        self.bytes.push(b',');
        self.text(transaction.card_id.as_str());
        for feature in features {
            self.bytes.push(b',');
            if let Some(number) = feature {
                self.number(*number);
            }
        }
        self.bytes.push(b',');
        self.bytes
            .extend(outcome.map(|outcome| b'0' + u8::from(outcome.fraud)));
        if self.label_times {
            self.bytes.push(b',');
            if let Some(known_at) = outcome.and_then(|outcome| outcome.known_at) {
                self.shown(known_at);
            }
        }
        self.bytes.push(b'\n');
    }

    /// A text, in quotes where it needs them (RFC 4180).
    fn text(&mut self, text: &str) {
        if !text.contains([',', '"', '\r', '\n']) {
            self.bytes.extend_from_slice(text.as_bytes());
            return;
        }
        self.bytes.push(b'"');
        self.bytes
            .extend_from_slice(text.replace('"', "\"\"").as_bytes());
        self.bytes.push(b'"');
    }

    /// The shortest decimal that reads back as the same number.
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "whole numbers of few digits are the same as integers"
    )]
    fn number(&mut self, number: f64) {
        if (0.0..10.0).contains(&number) && number.fract() == 0.0 {
            self.bytes.push(b'0' + number as u8);
        } else if number.fract() == 0.0 && number.abs() < WHOLE_MAX {
            self.shown(number as i64);
        } else {
            self.shown(number);
        }
    }

    fn shown(&mut self, value: impl std::fmt::Display) {
        // Writing to memory does not fail.
        let _ = write!(self.bytes, "{value}");
    }
}

/// A CSV file being written.
pub(super) enum CsvTable {
    Plain(BufWriter<File>),
    Compressed(Box<zstd::Encoder<'static, BufWriter<File>>>),
}

impl CsvTable {
    pub(super) fn new(file: File, compressed: bool, names: &[&str]) -> anyhow::Result<Self> {
        let file = BufWriter::with_capacity(1 << 16, file);
        let mut table = if compressed {
            Self::Compressed(Box::new(zstd::Encoder::new(file, ZSTD_LEVEL)?))
        } else {
            Self::Plain(file)
        };
        let header = names.join(",") + "\n";
        table.writer().write_all(header.as_bytes())?;
        Ok(table)
    }

    fn writer(&mut self) -> &mut dyn Write {
        match self {
            Self::Plain(file) => file,
            Self::Compressed(encoder) => encoder,
        }
    }

    pub(super) fn write(&mut self, rows: &CsvText) -> anyhow::Result<()> {
        Ok(self.writer().write_all(&rows.bytes)?)
    }

    pub(super) fn finish(self) -> anyhow::Result<()> {
        let mut file = match self {
            Self::Plain(file) => file,
            Self::Compressed(encoder) => encoder.finish()?,
        };
        Ok(file.flush()?)
    }
}

#[cfg(test)]
impl CsvText {
    pub(super) fn as_str(&self) -> &str {
        str::from_utf8(&self.bytes).unwrap()
    }
}

#[cfg(test)]
mod tests {
    use tollgate_types::{CardId, Currency, EventTime, Money, TransactionId};

    use super::*;

    #[test]
    fn rows_are_written_with_quotes_where_needed_and_shortest_numbers() {
        let transaction = Transaction::new(
            TransactionId::parse("a,\"b\"").unwrap(),
            EventTime::from_micros(1_522_540_831_250_000),
            CardId::parse("card 1").unwrap(),
            Money {
                amount_minor: 1,
                currency: Currency::parse("EUR").unwrap(),
            },
            String::new(),
        );
        let outcome = |fraud, known_at: Option<i64>| Outcome {
            fraud,
            known_at: known_at.map(EventTime::from_micros),
        };
        let mut text = CsvText::new(5, 2, false);
        let features = [Some(0.1 + 0.2), Some(-3.0), None, Some(1e17), Some(1e-7)];
        let fraud = outcome(true, Some(1_522_540_831_000_000));
        text.push(&transaction, &features, Some(fraud));
        text.push(&transaction, &[], None);
        let expected = "\
\"a,\"\"b\"\"\",2018-04-01T00:00:31.25Z,card 1,0.30000000000000004,-3,,100000000000000000,0.0000001,1
\"a,\"\"b\"\"\",2018-04-01T00:00:31.25Z,card 1,
";
        assert_eq!(text.as_str(), expected);
        let mut text = CsvText::new(0, 3, true);
        for outcome in [Some(fraud), Some(outcome(false, None)), None] {
            text.push(&transaction, &[], outcome);
        }
        let lines = text.as_str().lines();
        let last: Vec<_> = lines
            .filter_map(|line| line.split("card 1").nth(1))
            .collect();
        assert_eq!(last, [",1,2018-04-01T00:00:31Z", ",0,", ",,"]);
    }
}
