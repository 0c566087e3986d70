//! Feature tables: what a row has, and the files it is written to.
//!
//! Workers prepare blocks of rows in the forms that are asked for, one thread writes them in the order of the
//! history. A table gets its name when it is whole, so an interrupted run leaves none.

mod csv;
mod parquet;

use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, bail};
use tollgate_types::Transaction;

use self::csv::{CsvTable, CsvText};
use self::parquet::{ParquetColumns, ParquetTable};
use super::outcomes::Outcome;

/// What a column of the table holds.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Column {
    Id,
    EventTime,
    Feature,
    /// What the transaction turned out to be.
    Fraud,
    /// Since when that is known.
    KnownAt,
}

/// The columns in their order, by name.
fn columns<'n>(features: &[&'n str], label_times: bool) -> Vec<(&'n str, Column)> {
    let keys = [
        ("transaction_id", Column::Id),
        ("event_time", Column::EventTime),
        ("card_id", Column::Id),
    ];
    let features = features.iter().map(|name| (*name, Column::Feature));
    let known_at = label_times.then_some(("fraud_known_at", Column::KnownAt));
    keys.into_iter()
        .chain(features)
        .chain([("fraud", Column::Fraud)])
        .chain(known_at)
        .collect()
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Format {
    Csv,
    CsvZst,
    Parquet,
}

impl Format {
    fn of(path: &Path) -> anyhow::Result<Self> {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let name = name.to_lowercase();
        if name.ends_with(".csv") {
            Ok(Self::Csv)
        } else if name.ends_with(".csv.zst") {
            Ok(Self::CsvZst)
        } else if name.ends_with(".parquet") {
            Ok(Self::Parquet)
        } else {
            bail!(
                "--out {}: the name says how the table is written; end it in .csv, .csv.zst or \
                 .parquet",
                path.display()
            )
        }
    }
}

/// What workers prepare for the tables.
#[derive(Clone, Copy, Debug)]
pub(super) struct Forms {
    features: usize,
    label_times: bool,
    text: bool,
    columns: bool,
}

/// Some rows of the table, in the forms the tables need.
pub(super) struct Block {
    pub(super) rows: u64,
    text: Option<CsvText>,
    columns: Option<ParquetColumns>,
}

impl Block {
    pub(super) fn new(forms: Forms, rows: usize) -> Self {
        Self {
            rows: 0,
            text: forms
                .text
                .then(|| CsvText::new(forms.features, rows, forms.label_times)),
            columns: forms
                .columns
                .then(|| ParquetColumns::new(forms.features, rows, forms.label_times)),
        }
    }

    /// Adds a row. A missing feature is empty, and so is `fraud` where it may still turn out either way.
    pub(super) fn push(
        &mut self,
        transaction: &Transaction,
        features: &[Option<f64>],
        outcome: Option<Outcome>,
    ) {
        self.rows += 1;
        if let Some(text) = &mut self.text {
            text.push(transaction, features, outcome);
        }
        if let Some(columns) = &mut self.columns {
            columns.push(transaction, features, outcome);
        }
    }
}

#[cfg(test)]
impl Block {
    /// The rows as CSV, if that is asked for.
    pub(super) fn text(&self) -> Option<&str> {
        self.text.as_ref().map(CsvText::as_str)
    }
}

/// The tables of a run.
pub(super) struct Tables {
    features: usize,
    label_times: bool,
    tables: Vec<Table>,
}

/// One file, under another name until it is whole.
struct Table {
    path: PathBuf,
    part: PathBuf,
    kind: Kind,
}

enum Kind {
    Csv(CsvTable),
    Parquet(Box<ParquetTable>),
    Whole,
}

impl Tables {
    /// With `label_times`, one more column says since when it is known what a transaction was.
    pub(super) fn create(
        paths: &[PathBuf],
        features: &[&str],
        label_times: bool,
    ) -> anyhow::Result<Self> {
        for (at, path) in paths.iter().enumerate() {
            if paths[..at].contains(path) {
                bail!(
                    "--out {} is given twice; give each table its own name",
                    path.display()
                );
            }
        }
        let columns = columns(features, label_times);
        let tables = paths.iter().map(|path| Table::create(path, &columns));
        Ok(Self {
            features: features.len(),
            label_times,
            tables: tables.collect::<anyhow::Result<_>>()?,
        })
    }

    pub(super) fn forms(&self) -> Forms {
        let is_parquet = |table: &Table| matches!(table.kind, Kind::Parquet(_));
        Forms {
            features: self.features,
            label_times: self.label_times,
            text: !self.tables.iter().all(is_parquet),
            columns: self.tables.iter().any(is_parquet),
        }
    }

    pub(super) fn write(&mut self, block: Block) -> anyhow::Result<()> {
        // A table keeps them until its row group is complete.
        let columns = block.columns.map(Arc::new);
        for table in &mut self.tables {
            let written = match &mut table.kind {
                Kind::Csv(csv) => block.text.as_ref().map_or(Ok(()), |text| csv.write(text)),
                Kind::Parquet(parquet) => columns
                    .as_ref()
                    .map_or(Ok(()), |columns| parquet.write(Arc::clone(columns))),
                Kind::Whole => Ok(()),
            };
            written.with_context(|| format!("cannot write {}", table.part.display()))?;
        }
        Ok(())
    }

    /// Completes the tables and gives them their names.
    pub(super) fn finish(mut self) -> anyhow::Result<()> {
        for table in &mut self.tables {
            table
                .finish()
                .with_context(|| format!("cannot write {}", table.path.display()))?;
        }
        Ok(())
    }
}

impl Table {
    fn create(path: &Path, columns: &[(&str, Column)]) -> anyhow::Result<Self> {
        let format = Format::of(path)?;
        let mut part = path.to_owned().into_os_string();
        part.push(".part");
        let part = PathBuf::from(part);
        let file =
            File::create(&part).with_context(|| format!("cannot write {}", part.display()))?;
        let names: Vec<&str> = columns.iter().map(|(name, _)| *name).collect();
        let kind = match format {
            Format::Csv => Kind::Csv(CsvTable::new(file, false, &names)?),
            Format::CsvZst => Kind::Csv(CsvTable::new(file, true, &names)?),
            Format::Parquet => Kind::Parquet(Box::new(ParquetTable::new(file, columns)?)),
        };
        let path = path.to_owned();
        Ok(Self { path, part, kind })
    }

    fn finish(&mut self) -> anyhow::Result<()> {
        match std::mem::replace(&mut self.kind, Kind::Whole) {
            Kind::Csv(csv) => csv.finish()?,
            Kind::Parquet(parquet) => parquet.finish()?,
            Kind::Whole => return Ok(()),
        }
        Ok(std::fs::rename(&self.part, &self.path)?)
    }
}

impl Drop for Table {
    /// What was interrupted is no table.
    fn drop(&mut self) {
        if !matches!(self.kind, Kind::Whole) {
            // If it cannot be removed, its name still says that it is a part.
            let _ = std::fs::remove_file(&self.part);
        }
    }
}
