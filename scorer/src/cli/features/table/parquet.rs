//! A table as Parquet: ids as text, the event time as a timestamp, features as doubles, `fraud` as 0 or 1.

use std::fs::File;
use std::sync::Arc;

use anyhow::Context;
use parquet::basic::{Compression, LogicalType, Repetition, TimeUnit, Type as Physical, ZstdLevel};
use parquet::data_type::{ByteArray, ByteArrayType, DataType, DoubleType, Int32Type, Int64Type};
use parquet::file::properties::{EnabledStatistics, WriterProperties};
use parquet::file::writer::{
    SerializedColumnWriter, SerializedFileWriter, SerializedRowGroupWriter,
};
use parquet::schema::types::{ColumnPath, Type};
use tollgate_types::Transaction;

use super::Column;
use crate::cli::features::outcomes::Outcome;

/// Rows of a row group. Its columns are in memory until it is complete.
const GROUP_ROWS: usize = 131_072;

/// Some rows, column by column.
pub(super) struct ParquetColumns {
    ids: Vec<ByteArray>,
    times: Vec<i64>,
    cards: Vec<ByteArray>,
    features: Vec<Optional<f64>>,
    fraud: Optional<i32>,
    /// If the table has that column.
    known_at: Option<Optional<i64>>,
}

/// A column whose values may be missing: those that are there, and for each row whether it is.
struct Optional<T> {
    values: Vec<T>,
    levels: Vec<i16>,
}

impl<T> Optional<T> {
    fn with_capacity(rows: usize) -> Self {
        Self {
            values: Vec::with_capacity(rows),
            levels: Vec::with_capacity(rows),
        }
    }

    fn push(&mut self, value: Option<T>) {
        self.levels.push(i16::from(value.is_some()));
        self.values.extend(value);
    }
}

impl ParquetColumns {
    pub(super) fn new(features: usize, rows: usize, label_times: bool) -> Self {
        Self {
            ids: Vec::with_capacity(rows),
            times: Vec::with_capacity(rows),
            cards: Vec::with_capacity(rows),
            features: (0..features)
                .map(|_| Optional::with_capacity(rows))
                .collect(),
            fraud: Optional::with_capacity(rows),
            known_at: label_times.then(|| Optional::with_capacity(rows)),
        }
    }

    pub(super) fn push(
        &mut self,
        transaction: &Transaction,
        features: &[Option<f64>],
        outcome: Option<Outcome>,
    ) {
        self.ids.push(transaction.id.as_str().into());
        self.times.push(transaction.event_time.micros());
        self.cards.push(transaction.card_id.as_str().into());
        for (column, value) in self.features.iter_mut().zip(features) {
            column.push(*value);
        }
        self.fraud
            .push(outcome.map(|outcome| i32::from(outcome.fraud)));
        if let Some(column) = &mut self.known_at {
            let known_at = outcome.and_then(|outcome| outcome.known_at);
            column.push(known_at.map(|time| time.micros()));
        }
    }
}

/// A Parquet file being written.
pub(super) struct ParquetTable {
    file: SerializedFileWriter<File>,
    /// The rows of the next row group.
    waiting: Vec<Arc<ParquetColumns>>,
    rows_waiting: usize,
}

impl ParquetTable {
    /// `columns` are those of [`super::columns`].
    pub(super) fn new(file: File, columns: &[(&str, Column)]) -> anyhow::Result<Self> {
        let properties = WriterProperties::builder()
            .set_compression(Compression::ZSTD(ZstdLevel::try_new(1)?))
            // Of ids that are all different a dictionary only costs time.
            .set_column_dictionary_enabled(ColumnPath::from(columns[0].0), false)
            .set_statistics_enabled(EnabledStatistics::Chunk)
            .build();
        let file =
            SerializedFileWriter::new(file, Arc::new(schema(columns)?), Arc::new(properties))?;
        Ok(Self {
            file,
            waiting: Vec::new(),
            rows_waiting: 0,
        })
    }

    pub(super) fn write(&mut self, columns: Arc<ParquetColumns>) -> anyhow::Result<()> {
        self.rows_waiting += columns.times.len();
        self.waiting.push(columns);
        if self.rows_waiting >= GROUP_ROWS {
            self.write_group()?;
        }
        Ok(())
    }

    fn write_group(&mut self) -> anyhow::Result<()> {
        let blocks = std::mem::take(&mut self.waiting);
        self.rows_waiting = 0;
        let mut group = self.file.next_row_group()?;
        write_column::<ByteArrayType>(&mut group, &blocks, |block| (&block.ids, None))?;
        write_column::<Int64Type>(&mut group, &blocks, |block| (&block.times, None))?;
        write_column::<ByteArrayType>(&mut group, &blocks, |block| (&block.cards, None))?;
        let features = blocks.first().map_or(0, |block| block.features.len());
        for feature in 0..features {
            write_column::<DoubleType>(&mut group, &blocks, |block| {
                let column = &block.features[feature];
                (&column.values, Some(&column.levels))
            })?;
        }
        write_column::<Int32Type>(&mut group, &blocks, |block| {
            (&block.fraud.values, Some(&block.fraud.levels))
        })?;
        if blocks.iter().all(|block| block.known_at.is_some()) {
            write_column::<Int64Type>(&mut group, &blocks, |block| {
                let column = block.known_at.as_ref();
                column.map_or((&[], None), |column| (&column.values, Some(&column.levels)))
            })?;
        }
        group.close()?;
        Ok(())
    }

    pub(super) fn finish(mut self) -> anyhow::Result<()> {
        if !self.waiting.is_empty() {
            self.write_group()?;
        }
        self.file.close()?;
        Ok(())
    }
}

/// Writes one column of a row group, block after block.
fn write_column<T: DataType>(
    group: &mut SerializedRowGroupWriter<'_, File>,
    blocks: &[Arc<ParquetColumns>],
    of: impl Fn(&ParquetColumns) -> (&[T::T], Option<&[i16]>),
) -> anyhow::Result<()> {
    let mut column: SerializedColumnWriter<'_> = group
        .next_column()?
        .context("the table has more columns than its schema")?;
    for block in blocks {
        let (values, levels) = of(block);
        column.typed::<T>().write_batch(values, levels, None)?;
    }
    Ok(column.close()?)
}

fn schema(columns: &[(&str, Column)]) -> anyhow::Result<Type> {
    let columns = columns.iter().map(|(name, kind)| {
        let time = LogicalType::timestamp(true, TimeUnit::MICROS);
        let (physical, logical) = match kind {
            Column::Id => (Physical::BYTE_ARRAY, Some(LogicalType::String)),
            Column::EventTime | Column::KnownAt => (Physical::INT64, Some(time)),
            Column::Fraud => (Physical::INT32, Some(LogicalType::integer(8, true))),
            Column::Feature => (Physical::DOUBLE, None),
        };
        let repetition = match kind {
            Column::Id | Column::EventTime => Repetition::REQUIRED,
            Column::Fraud | Column::Feature | Column::KnownAt => Repetition::OPTIONAL,
        };
        let column = Type::primitive_type_builder(name, physical)
            .with_logical_type(logical)
            .with_repetition(repetition);
        Ok(Arc::new(column.build()?))
    });
    let fields = columns.collect::<anyhow::Result<_>>()?;
    Ok(Type::group_type_builder("features")
        .with_fields(fields)
        .build()?)
}
