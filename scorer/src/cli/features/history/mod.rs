//! History files: which formats there are, and how they are read part by part.
//!
//! One thread reads; what it reads is not understood yet, because that costs more than reading and is done by all
//! threads. A file is never in memory as a whole.

mod csv;
mod lines;
mod parquet;

use std::fs::File;
use std::io::{self, BufReader, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use anyhow::{Context, bail};

use self::csv::{CsvReader, CsvRows};
use self::lines::LineReader;
use self::parquet::{ParquetReader, ParquetRows};
use super::columns::Columns;
use super::progress::Progress;
use super::value::{Problem, Value};

pub(super) use self::lines::{Event, Glance, Lines, glance};

/// Rows that are read, applied and computed together: enough that handing them over costs nothing, few enough
/// that the parts in flight stay within tens of megabytes.
pub(super) const CHUNK_ROWS: usize = 16_384;

/// Longest row of a text file, in bytes. Without a limit, a quote that nobody closed would be read to the end.
const ROW_BYTES_MAX: u64 = 16 << 20;

/// How a history is written.
#[derive(Clone, Copy, PartialEq, Eq, Debug, clap::ValueEnum)]
pub(super) enum Format {
    /// One event a line in proto3 JSON
    Jsonl,
    Csv,
    Parquet,
}

/// A history file and how it is written.
#[derive(Clone, Debug)]
pub(super) struct History {
    pub(super) path: PathBuf,
    pub(super) format: Format,
    zstd: bool,
}

impl History {
    /// Goes by the file's name where the format is not said.
    pub(super) fn new(path: &Path, said: Option<Format>) -> anyhow::Result<Self> {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let name = name.to_lowercase();
        let (plain, zstd) = match name.strip_suffix(".zst") {
            Some(plain) => (plain, true),
            None => (name.as_str(), false),
        };
        let by_name = match plain.rsplit_once('.').map(|(_, end)| end) {
            Some("jsonl" | "ndjson" | "json") => Some(Format::Jsonl),
            Some("csv") => Some(Format::Csv),
            Some("parquet" | "pq") => Some(Format::Parquet),
            _ => None,
        };
        let Some(format) = said.or(by_name) else {
            bail!(
                "{}: the name does not say how the file is written; add --format jsonl, csv or \
                 parquet",
                path.display()
            );
        };
        if zstd && format == Format::Parquet {
            bail!(
                "{}: Parquet is read in parts, which a compressed file does not allow; unpack it \
                 (its columns can be compressed inside)",
                path.display()
            );
        }
        Ok(Self {
            path: path.to_owned(),
            format,
            zstd,
        })
    }

    /// A line or row, as editors and people find it.
    pub(super) fn place(&self, number: u64) -> String {
        match self.format {
            Format::Jsonl | Format::Csv => format!("{}:{number}", self.path.display()),
            Format::Parquet => format!("{}, row {number}", self.path.display()),
        }
    }

    pub(super) fn open(&self, progress: &Progress) -> anyhow::Result<Reader> {
        let open = || format!("cannot read {}", self.path.display());
        let file = File::open(&self.path).with_context(open)?;
        progress.of_bytes(file.metadata().with_context(open)?.len());
        Ok(match self.format {
            Format::Jsonl => Reader::Lines(LineReader::new(self.text(file, progress)?)),
            Format::Csv => {
                Reader::Csv(CsvReader::new(self.text(file, progress)?).with_context(open)?)
            }
            Format::Parquet => {
                Reader::Parquet(ParquetReader::new(file, progress.clone()).with_context(open)?)
            }
        })
    }

    fn text(&self, file: File, progress: &Progress) -> anyhow::Result<TextSource> {
        let bytes = progress.wrap_read(file);
        let bytes: Box<dyn Read + Send> = if self.zstd {
            Box::new(zstd::Decoder::new(bytes)?)
        } else {
            Box::new(bytes)
        };
        let since_row = Arc::default();
        Ok(BufReader::with_capacity(
            1 << 16,
            Bounded { bytes, since_row },
        ))
    }
}

/// A file being read.
pub(super) enum Reader {
    Lines(LineReader),
    Csv(CsvReader),
    Parquet(ParquetReader),
}

impl Reader {
    /// The columns the file has; none for JSON lines.
    pub(super) fn header(&self) -> &[String] {
        match self {
            Self::Lines(_) => &[],
            Self::Csv(csv) => csv.header(),
            Self::Parquet(parquet) => parquet.header(),
        }
    }

    /// Says which columns are wanted, before anything is read.
    pub(super) fn select(&mut self, columns: &Columns) -> anyhow::Result<()> {
        match self {
            Self::Lines(_) => Ok(()),
            Self::Csv(csv) => {
                csv.select(&columns.read);
                Ok(())
            }
            Self::Parquet(parquet) => parquet.select(&columns.read),
        }
    }

    /// The next part: [`CHUNK_ROWS`] rows but for the last one; none after that.
    pub(super) fn next_chunk(&mut self) -> anyhow::Result<Option<Chunk>> {
        let chunk = match self {
            Self::Lines(lines) => Chunk::Lines(lines.next()?),
            Self::Csv(csv) => Chunk::Csv(csv.next()?),
            Self::Parquet(parquet) => Chunk::Parquet(parquet.next()?),
        };
        Ok((chunk.len() > 0).then_some(chunk))
    }
}

/// A part of a file as it was read.
pub(super) enum Chunk {
    Lines(Lines),
    Csv(CsvRows),
    Parquet(ParquetRows),
}

impl Chunk {
    /// How many rows, those that cannot be read included.
    pub(super) fn len(&self) -> usize {
        match self {
            Self::Lines(lines) => lines.len(),
            Self::Csv(rows) => rows.len(),
            Self::Parquet(rows) => rows.len(),
        }
    }

    /// Line or row of the file, from 1.
    pub(super) fn place(&self, row: usize) -> u64 {
        match self {
            Self::Lines(lines) => lines.place(row),
            Self::Csv(rows) => rows.place(row),
            Self::Parquet(rows) => rows.place(row),
        }
    }

    /// A cell, by the place of its column among those selected. JSON lines have none.
    pub(super) fn cell(&self, row: usize, column: usize) -> Result<Value<'_>, Problem> {
        match self {
            Self::Lines(_) => Ok(Value::Missing),
            Self::Csv(rows) => rows.cell(row, column),
            Self::Parquet(rows) => rows.cell(row, column),
        }
    }

    /// What keeps a row from having cells at all.
    pub(super) fn problem(&self, row: usize) -> Option<&str> {
        match self {
            Self::Csv(rows) => rows.problem(row),
            Self::Lines(_) | Self::Parquet(_) => None,
        }
    }
}

type TextSource = BufReader<Bounded>;

/// A text file's bytes, which end in an error if a row does not end.
pub(super) struct Bounded {
    bytes: Box<dyn Read + Send>,
    since_row: SinceRow,
}

/// Bytes read since a row was complete; whoever finds the rows sets it back.
type SinceRow = Arc<AtomicU64>;

impl Read for Bounded {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.bytes.read(buffer)?;
        let added = u64::try_from(count).unwrap_or(u64::MAX);
        let since_row = self.since_row.fetch_add(added, Ordering::Relaxed);
        if count > 0 && since_row > ROW_BYTES_MAX {
            let problem = format!(
                "a row is longer than {ROW_BYTES_MAX} bytes; is the file of another format, or is \
                 a quote not closed?"
            );
            return Err(io::Error::new(io::ErrorKind::InvalidData, problem));
        }
        Ok(count)
    }
}
