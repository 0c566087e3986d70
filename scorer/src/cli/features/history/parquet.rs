//! Parquet: flat columns, read in parts across row groups.

use std::fs::File;

use anyhow::{Context, bail};
use parquet::basic::{ConvertedType, LogicalType, TimeUnit as Unit, Type};
use parquet::column::reader::{ColumnReader, ColumnReaderImpl};
use parquet::data_type::{ByteArray, DataType};
use parquet::file::reader::{FileReader, SerializedFileReader};
use parquet::schema::types::ColumnDescriptor;
use tollgate_types::EventTime;

use super::CHUNK_ROWS;
use crate::cli::features::progress::Progress;
use crate::cli::features::value::{Problem, Value};

const MICROS_PER_DAY: i64 = 86_400_000_000;

pub(in super::super) struct ParquetReader {
    file: SerializedFileReader<File>,
    header: Vec<String>,
    wanted: Vec<Wanted>,
    /// Readers of the wanted columns in the current row group.
    columns: Vec<ColumnReader>,
    /// Rows of the current row group that are not read yet.
    rows_left: usize,
    next_group: usize,
    rows_read: u64,
    progress: Progress,
}

impl ParquetReader {
    pub(super) fn new(file: File, progress: Progress) -> anyhow::Result<Self> {
        let file =
            SerializedFileReader::new(file).context("the file is not Parquet, or not whole")?;
        let columns = file.metadata().file_metadata().schema_descr().columns();
        Ok(Self {
            header: columns
                .iter()
                .map(|column| column.path().string())
                .collect(),
            file,
            wanted: Vec::new(),
            columns: Vec::new(),
            rows_left: 0,
            next_group: 0,
            rows_read: 0,
            progress,
        })
    }

    pub(super) fn header(&self) -> &[String] {
        &self.header
    }

    /// A column whose type is not understood is an error only if it is wanted.
    pub(super) fn select(&mut self, columns: &[usize]) -> anyhow::Result<()> {
        let schema = self.file.metadata().file_metadata().schema_descr();
        let wanted = |at: &usize| {
            let column = schema.column(*at);
            Ok(Wanted {
                at: *at,
                meaning: Meaning::of(&column)?,
                physical: column.physical_type(),
                level_max: column.max_def_level(),
            })
        };
        self.wanted = columns.iter().map(wanted).collect::<anyhow::Result<_>>()?;
        Ok(())
    }

    pub(super) fn next(&mut self) -> anyhow::Result<ParquetRows> {
        let mut rows = ParquetRows {
            columns: self.wanted.iter().map(Column::new).collect(),
            rows: 0,
            first: self.rows_read + 1,
        };
        while rows.rows < CHUNK_ROWS && (self.rows_left > 0 || self.open_group()?) {
            let part = self.rows_left.min(CHUNK_ROWS - rows.rows);
            for (column, reader) in rows.columns.iter_mut().zip(&mut self.columns) {
                column.read(reader, part).with_context(|| {
                    format!("cannot read the rows from {} on", self.rows_read + 1)
                })?;
            }
            self.rows_left -= part;
            rows.rows += part;
        }
        self.rows_read += u64::try_from(rows.rows).unwrap_or(u64::MAX);
        let total = self.file.metadata().file_metadata().num_rows();
        self.progress
            .of_rows(self.rows_read, u64::try_from(total).unwrap_or(0));
        Ok(rows)
    }

    /// Goes on to the next row group that has rows; false if there is none.
    fn open_group(&mut self) -> anyhow::Result<bool> {
        while self.next_group < self.file.num_row_groups() {
            let group = self.file.get_row_group(self.next_group)?;
            self.next_group += 1;
            self.rows_left = usize::try_from(group.metadata().num_rows())?;
            if self.rows_left > 0 {
                let columns = self
                    .wanted
                    .iter()
                    .map(|wanted| group.get_column_reader(wanted.at));
                self.columns = columns.collect::<Result<_, _>>()?;
                return Ok(true);
            }
        }
        Ok(false)
    }
}

/// A column that is read.
struct Wanted {
    /// Its place in the file.
    at: usize,
    meaning: Meaning,
    physical: Type,
    level_max: i16,
}

/// What the values of a column mean.
#[derive(Clone, Copy, PartialEq, Debug)]
enum Meaning {
    Text,
    Signed,
    Unsigned,
    Number,
    Flag,
    Decimal { scale: u32 },
    Days,
    Milliseconds,
    Microseconds,
    Nanoseconds,
}

impl Meaning {
    fn of(column: &ColumnDescriptor) -> anyhow::Result<Self> {
        let name = column.path().string();
        if column.max_rep_level() > 0 {
            bail!("the column {name} holds lists; expected one value a row");
        }
        let logical = column.logical_type_ref();
        let meaning = match (column.physical_type(), column.converted_type(), logical) {
            (_, ConvertedType::DECIMAL, _) | (_, _, Some(LogicalType::Decimal(_))) => {
                Self::Decimal {
                    scale: u32::try_from(column.type_scale())
                        .context("a decimal of negative scale")?,
                }
            }
            (Type::BOOLEAN, ..) => Self::Flag,
            (Type::FLOAT | Type::DOUBLE, ..) => Self::Number,
            (Type::INT96, ..) => Self::Microseconds,
            (Type::INT64, _, Some(LogicalType::Timestamp(timestamp))) => match timestamp.unit {
                Unit::MILLIS => Self::Milliseconds,
                Unit::MICROS => Self::Microseconds,
                Unit::NANOS => Self::Nanoseconds,
            },
            (Type::INT64, ConvertedType::TIMESTAMP_MILLIS, _) => Self::Milliseconds,
            (Type::INT64, ConvertedType::TIMESTAMP_MICROS, _) => Self::Microseconds,
            (Type::INT32, ConvertedType::DATE, _) | (Type::INT32, _, Some(LogicalType::Date)) => {
                Self::Days
            }
            (
                Type::INT32 | Type::INT64,
                ConvertedType::UINT_8
                | ConvertedType::UINT_16
                | ConvertedType::UINT_32
                | ConvertedType::UINT_64,
                _,
            ) => Self::Unsigned,
            (Type::INT32 | Type::INT64, ConvertedType::NONE, None)
            | (Type::INT32 | Type::INT64, _, Some(LogicalType::Integer(_)))
            | (
                Type::INT32 | Type::INT64,
                ConvertedType::INT_8
                | ConvertedType::INT_16
                | ConvertedType::INT_32
                | ConvertedType::INT_64,
                _,
            ) => Self::Signed,
            // Without a logical type, bytes that are no text are found out when they are read.
            (
                Type::BYTE_ARRAY,
                ConvertedType::UTF8 | ConvertedType::ENUM | ConvertedType::NONE,
                _,
            ) => Self::Text,
            (physical, converted, _) => bail!(
                "the column {name} is {physical} ({converted}), which is not read; expected a \
                 text, number, decimal, flag, date or timestamp"
            ),
        };
        Ok(meaning)
    }
}

impl Meaning {
    fn of_whole(self, number: i64) -> Value<'static> {
        // A time beyond the range is beyond any clock, and is refused as such.
        let time = |micros: Option<i64>| {
            Value::Time(micros.map_or(EventTime::MAX, EventTime::from_micros))
        };
        match self {
            Self::Unsigned => Value::Integer(number.cast_unsigned().into()),
            Self::Decimal { scale } => Value::Decimal {
                digits: number.into(),
                scale,
            },
            Self::Days => time(number.checked_mul(MICROS_PER_DAY)),
            Self::Milliseconds => time(number.checked_mul(1_000)),
            Self::Microseconds => time(Some(number)),
            Self::Nanoseconds => time(Some(number.div_euclid(1_000))),
            Self::Text | Self::Signed | Self::Number | Self::Flag => Value::Integer(number.into()),
        }
    }

    fn of_bytes(self, bytes: &[u8]) -> Result<Value<'_>, Problem> {
        if let Self::Decimal { scale } = self {
            let digits = big_endian(bytes).ok_or("is a decimal of more than 38 digits")?;
            return Ok(Value::Decimal { digits, scale });
        }
        let text = str::from_utf8(bytes).map_err(|_| "is not UTF-8 text")?;
        Ok(Value::of_text(text))
    }
}

/// Some rows, column by column.
pub(in super::super) struct ParquetRows {
    columns: Vec<Column>,
    rows: usize,
    /// The number of the first.
    first: u64,
}

impl ParquetRows {
    pub(super) const fn len(&self) -> usize {
        self.rows
    }

    pub(super) fn place(&self, row: usize) -> u64 {
        self.first
            .saturating_add(u64::try_from(row).unwrap_or(u64::MAX))
    }

    pub(super) fn cell(&self, row: usize, column: usize) -> Result<Value<'_>, Problem> {
        self.columns[column].cell(row)
    }
}

/// One column of some rows.
struct Column {
    meaning: Meaning,
    /// The definition level of a value that is there; 0 for a column that always has one.
    level_max: i16,
    values: Values,
    /// Where each row's value lies among `values`; `None` for a row whose value is missing. Empty as long as none
    /// is: then a value lies where its row does.
    places: Vec<Option<usize>>,
}

/// The values that are there.
enum Values {
    Flags(Vec<bool>),
    Whole(Vec<i64>),
    Numbers(Vec<f64>),
    Bytes(Vec<ByteArray>),
}

impl Values {
    const fn len(&self) -> usize {
        match self {
            Self::Flags(flags) => flags.len(),
            Self::Whole(numbers) => numbers.len(),
            Self::Numbers(numbers) => numbers.len(),
            Self::Bytes(bytes) => bytes.len(),
        }
    }
}

impl Column {
    fn new(wanted: &Wanted) -> Self {
        Self {
            meaning: wanted.meaning,
            level_max: wanted.level_max,
            values: match wanted.physical {
                Type::BOOLEAN => Values::Flags(Vec::new()),
                Type::INT32 | Type::INT64 | Type::INT96 => Values::Whole(Vec::new()),
                Type::FLOAT | Type::DOUBLE => Values::Numbers(Vec::new()),
                Type::BYTE_ARRAY | Type::FIXED_LEN_BYTE_ARRAY => Values::Bytes(Vec::new()),
            },
            places: Vec::new(),
        }
    }

    fn cell(&self, row: usize) -> Result<Value<'_>, Problem> {
        let at = match self.places.get(row) {
            Some(None) => return Ok(Value::Missing),
            Some(Some(at)) => *at,
            None => row,
        };
        match &self.values {
            Values::Flags(flags) => Ok(Value::Flag(flags[at])),
            Values::Numbers(numbers) => Ok(Value::Number(numbers[at])),
            Values::Whole(numbers) => Ok(self.meaning.of_whole(numbers[at])),
            Values::Bytes(bytes) => self.meaning.of_bytes(bytes[at].data()),
        }
    }

    /// Reads `rows` more rows.
    fn read(&mut self, reader: &mut ColumnReader, rows: usize) -> anyhow::Result<()> {
        let before = self.values.len();
        let levels = match (reader, &mut self.values) {
            (ColumnReader::BoolColumnReader(reader), Values::Flags(flags)) => {
                read_values(reader, rows, flags, |flag| flag)?
            }
            (ColumnReader::Int32ColumnReader(reader), Values::Whole(numbers)) => {
                let is_unsigned = self.meaning == Meaning::Unsigned;
                read_values(reader, rows, numbers, |number| match is_unsigned {
                    true => i64::from(number.cast_unsigned()),
                    false => i64::from(number),
                })?
            }
            (ColumnReader::Int64ColumnReader(reader), Values::Whole(numbers)) => {
                read_values(reader, rows, numbers, |number| number)?
            }
            (ColumnReader::Int96ColumnReader(reader), Values::Whole(numbers)) => {
                read_values(reader, rows, numbers, |time| time.to_micros())?
            }
            (ColumnReader::FloatColumnReader(reader), Values::Numbers(numbers)) => {
                // The shortest decimal that the float stands for: 57.16, not 57.15999984741211.
                let widen = |number: f32| number.to_string().parse().unwrap_or(f64::NAN);
                read_values(reader, rows, numbers, widen)?
            }
            (ColumnReader::DoubleColumnReader(reader), Values::Numbers(numbers)) => {
                read_values(reader, rows, numbers, |number| number)?
            }
            (ColumnReader::ByteArrayColumnReader(reader), Values::Bytes(bytes)) => {
                read_values(reader, rows, bytes, |bytes| bytes)?
            }
            (ColumnReader::FixedLenByteArrayColumnReader(reader), Values::Bytes(bytes)) => {
                read_values(reader, rows, bytes, ByteArray::from)?
            }
            _ => bail!("a row group has another type for a column than the file says"),
        };
        self.note_places(before, rows, &levels);
        Ok(())
    }

    /// Notes which of the last `rows` rows have the values from `before` on.
    fn note_places(&mut self, before: usize, rows: usize, levels: &[i16]) {
        let all_there = self.values.len() - before == rows;
        if self.places.is_empty() && all_there {
            return;
        }
        if self.places.is_empty() {
            self.places.extend((0..before).map(Some));
        }
        let mut next = before;
        for at in 0..rows {
            let is_there = levels.get(at).is_none_or(|level| *level == self.level_max);
            self.places.push(is_there.then_some(next));
            next += usize::from(is_there);
        }
    }
}

/// Reads the values of the next rows, and returns the definition levels of the rows.
fn read_values<T: DataType, V>(
    reader: &mut ColumnReaderImpl<T>,
    rows: usize,
    into: &mut Vec<V>,
    convert: impl Fn(T::T) -> V,
) -> anyhow::Result<Vec<i16>> {
    let mut values = Vec::with_capacity(rows);
    let mut levels = Vec::with_capacity(rows);
    let (read, ..) = reader.read_records(rows, Some(&mut levels), None, &mut values)?;
    if read != rows {
        bail!("a column ends before its row group does");
    }
    into.extend(values.into_iter().map(convert));
    Ok(levels)
}

/// A whole number of up to 16 bytes, as Parquet stores decimals.
fn big_endian(bytes: &[u8]) -> Option<i128> {
    let (first, _) = bytes.split_first()?;
    if bytes.len() > 16 {
        return None;
    }
    let sign = if *first < 128 { 0 } else { -1 };
    Some(
        bytes
            .iter()
            .fold(sign, |number, byte| number << 8 | i128::from(*byte)),
    )
}

#[cfg(test)]
mod tests;
