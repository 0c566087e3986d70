//! CSV: a header, then a row per transaction.

use std::sync::atomic::Ordering;

use anyhow::{Context, bail};
use csv::{ByteRecord, ErrorKind, ReaderBuilder};

use super::{CHUNK_ROWS, SinceRow, TextSource};
use crate::cli::features::value::{Problem, Value};

pub(in super::super) struct CsvReader {
    reader: csv::Reader<TextSource>,
    since_row: SinceRow,
    header: Vec<String>,
    wanted: Vec<usize>,
    record: ByteRecord,
}

/// Some rows: the cells of the wanted columns, one after the other in one text.
pub(in super::super) struct CsvRows {
    columns: usize,
    bytes: Vec<u8>,
    /// Where each cell ends, row after row.
    ends: Vec<usize>,
    /// The line each row begins on.
    places: Vec<u64>,
    /// Rows that are none, in order. Their cells are empty.
    problems: Vec<(usize, String)>,
}

impl CsvReader {
    pub(super) fn new(source: TextSource) -> anyhow::Result<Self> {
        let since_row = SinceRow::clone(&source.get_ref().since_row);
        let mut reader = ReaderBuilder::new().from_reader(source);
        let header = reader.headers().context("line 1")?;
        let header: Vec<String> = header.iter().map(|name| name.trim().to_owned()).collect();
        if header.iter().all(String::is_empty) {
            bail!("the file is empty; expected a first line with the names of the columns");
        }
        Ok(Self {
            reader,
            since_row,
            header,
            wanted: Vec::new(),
            record: ByteRecord::new(),
        })
    }

    pub(super) fn header(&self) -> &[String] {
        &self.header
    }

    pub(super) fn select(&mut self, columns: &[usize]) {
        self.wanted = columns.to_vec();
    }

    pub(super) fn next(&mut self) -> anyhow::Result<CsvRows> {
        let mut rows = CsvRows {
            columns: self.wanted.len(),
            bytes: Vec::with_capacity(CHUNK_ROWS * 64),
            ends: Vec::with_capacity(CHUNK_ROWS * self.wanted.len()),
            places: Vec::with_capacity(CHUNK_ROWS),
            problems: Vec::new(),
        };
        while rows.len() < CHUNK_ROWS {
            self.since_row.store(0, Ordering::Relaxed);
            match self.reader.read_byte_record(&mut self.record) {
                Ok(true) => {
                    let line = self.record.position().map_or(0, csv::Position::line);
                    rows.push(line, self.wanted.iter().map(|at| &self.record[*at]));
                }
                Ok(false) => break,
                Err(error) => rows.push_problem(error)?,
            }
        }
        Ok(rows)
    }
}

impl CsvRows {
    pub(super) fn len(&self) -> usize {
        self.places.len()
    }

    pub(super) fn place(&self, row: usize) -> u64 {
        self.places[row]
    }

    pub(super) fn cell(&self, row: usize, column: usize) -> Result<Value<'_>, Problem> {
        let at = row * self.columns + column;
        let start = at.checked_sub(1).map_or(0, |before| self.ends[before]);
        let text = str::from_utf8(&self.bytes[start..self.ends[at]]);
        let text = text.map_err(|_| "is not text; save the file with the encoding UTF-8")?;
        Ok(Value::of_text(text))
    }

    pub(super) fn problem(&self, row: usize) -> Option<&str> {
        let at = self.problems.binary_search_by_key(&row, |(row, _)| *row);
        at.ok().map(|at| self.problems[at].1.as_str())
    }

    fn push<'c>(&mut self, line: u64, cells: impl Iterator<Item = &'c [u8]>) {
        for cell in cells {
            self.bytes.extend_from_slice(cell);
            self.ends.push(self.bytes.len());
        }
        self.places.push(line);
    }

    /// A row with too many or too few cells is one bad row; what else goes wrong ends the file.
    fn push_problem(&mut self, error: csv::Error) -> anyhow::Result<()> {
        let ErrorKind::UnequalLengths {
            pos,
            expected_len,
            len,
        } = error.kind()
        else {
            return Err(error.into());
        };
        let line = pos.as_ref().map_or(0, csv::Position::line);
        let problem = format!(
            "has {len} cells; expected {expected_len}, as the first line has (put a cell with a \
             comma into quotes)"
        );
        self.problems.push((self.len(), problem));
        let empty = std::iter::repeat_n(&[][..], self.columns);
        self.push(line, empty);
        Ok(())
    }
}
