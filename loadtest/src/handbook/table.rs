//! `tollgate-loadtest handbook-table`: compares a feature table, as `tollgate features` writes it, with the
//! handbook's expected values. What trains a model must be what serves it.

use std::collections::HashMap;
use std::fs::File;
use std::io::{BufReader, Read};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

use super::compare::Comparison;
use super::data::{Expected, FEATURES, ROWS, expected};
use super::skip_without;

/// Compares a feature table of the handbook's data set with the expected values.
#[derive(clap::Args, Debug)]
pub struct Args {
    /// The table, as CSV; one that ends in .zst is unpacked.
    #[arg(long)]
    table: PathBuf,
    /// The folder of the data set.
    #[arg(long, default_value = "../shared/data/handbook")]
    data: PathBuf,
}

pub fn run(args: &Args) -> Result<()> {
    if skip_without(&args.data) {
        return Ok(());
    }
    let shown = args.table.display();
    let found = compare(&args.table, expected(&args.data)?)
        .with_context(|| format!("cannot compare {shown}"))?;
    found.print();
    found.check(ROWS)
}

/// What was compared and what differed.
struct Found {
    rows: u64,
    /// Expected rows that the table does not have.
    absent: usize,
    comparison: Comparison,
}

fn compare(table: &Path, mut expected: HashMap<u64, Expected>) -> Result<Found> {
    let mut reader = csv::Reader::from_reader(open(table)?);
    let header = reader.headers()?.clone();
    let column = |name: &str| {
        let at = header.iter().position(|column| column == name);
        at.with_context(|| format!("there is no column {name}"))
    };
    let id_column = column("transaction_id")?;
    let columns = FEATURES
        .map(column)
        .into_iter()
        .collect::<Result<Vec<usize>>>()?;
    let mut comparison = Comparison::default();
    let mut rows = 0;
    let mut record = csv::StringRecord::new();
    while reader.read_record(&mut record)? {
        rows += 1;
        let id = &record[id_column];
        let number = id
            .strip_prefix("hb-")
            .and_then(|number| number.parse().ok());
        let number: u64 = number.with_context(|| format!("`{id}` is not an id of the data set"))?;
        if let Some(expected) = expected.remove(&number) {
            comparison.features(id, &expected, |name| {
                let at = FEATURES.iter().position(|feature| *feature == name)?;
                record[columns[at]].parse().ok()
            });
        }
    }
    Ok(Found {
        rows,
        absent: expected.len(),
        comparison,
    })
}

fn open(path: &Path) -> Result<Box<dyn Read>> {
    let file = BufReader::new(File::open(path)?);
    Ok(if path.extension().is_some_and(|end| end == "zst") {
        Box::new(zstd::Decoder::with_buffer(file)?)
    } else {
        Box::new(file)
    })
}

impl Found {
    fn print(&self) {
        let Comparison {
            compared,
            mismatches,
            ..
        } = self.comparison;
        println!(
            "{} rows, {compared} values compared, {mismatches} mismatches",
            self.rows
        );
        let largest = self.comparison.max_abs_diff.iter();
        if let Some((name, difference)) = largest.max_by(|a, b| a.1.total_cmp(b.1)) {
            println!("the largest difference is {difference:.3e}, of {name}");
        }
        for mismatch in &self.comparison.first_mismatches {
            println!(
                "  {}: {} is {}, expected {}",
                mismatch.transaction_id, mismatch.what, mismatch.found, mismatch.expected
            );
        }
    }

    fn check(&self, rows_expected: u64) -> Result<()> {
        if self.comparison.mismatches > 0 {
            bail!(
                "{} mismatches with the handbook",
                self.comparison.mismatches
            );
        }
        if self.rows != rows_expected || self.absent > 0 {
            bail!(
                "{} of {rows_expected} rows, {} of those to compare are absent",
                self.rows,
                self.absent
            );
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::super::data::sample;
    use super::*;

    fn found(row: &str) -> Found {
        let folder = tempfile::tempdir().unwrap();
        sample::write(folder.path());
        let table = folder.path().join("table.csv");
        let text = format!("transaction_id,{},fraud\n{row}\n", FEATURES.join(","));
        std::fs::write(&table, text).unwrap();
        compare(&table, expected(folder.path()).unwrap()).unwrap()
    }

    #[test]
    fn equal_values_pass_and_others_do_not() {
        let good = "hb-1,81.51,1,0,1,81.51,1,81.51,1,81.51,0,0,0,0,0,0,1";
        assert!(found(good).check(1).is_ok());
        assert!(found(good).check(2).is_err());
        for (from, to) in [
            (",1,0,1,", ",1,0,2,"),
            ("81.51,0,", ",0,"),
            ("hb-1,", "hb-2,"),
        ] {
            assert!(found(&good.replace(from, to)).check(1).is_err(), "{from}");
        }
    }
}
