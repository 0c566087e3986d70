//! `tollgate-loadtest handbook`: replays a public data set and compares every feature and score.
//!
//! Day by day: labels that become known, the day's transactions, then a score for each of them. A transaction
//! that is already retained is scored exactly as of its own place, so the order within a day does not matter.
//! Labels are published for fraud only: a transaction without a label counts as not fraud, as in the handbook.

mod compare;
mod data;
mod messages;
pub mod policy;
mod replay;
pub mod table;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use serde::Serialize;

use crate::kafka::Targets;
use crate::output::{show_latency, write_report};
use compare::Mismatch;
use data::TRANSACTIONS_FILE;

/// Replays the handbook's data set and compares every feature and score with the expected ones.
#[derive(clap::Args, Debug)]
pub struct Args {
    #[command(flatten)]
    targets: Targets,
    /// The folder of the data set.
    #[arg(long, default_value = "../shared/data/handbook")]
    data: PathBuf,
    /// Only this many days from the beginning.
    #[arg(long)]
    days: Option<u32>,
    /// Requests in flight. Pace does not matter here.
    #[arg(long, default_value_t = 64)]
    in_flight: usize,
    /// gRPC connections.
    #[arg(long, default_value_t = 4)]
    connections: usize,
    /// Where to write the comparison, as JSON.
    #[arg(long, default_value = "target/reports/handbook.json")]
    report: PathBuf,
}

/// What was compared and what differed.
#[derive(Debug, Default, Serialize)]
struct Report {
    skipped: bool,
    /// Transactions replayed.
    rows: u64,
    rows_expected: u64,
    /// Answers.
    scored: u64,
    /// Transactions whose features and scores were compared.
    rows_compared: u64,
    #[serde(skip)]
    rows_to_compare: u64,
    values_compared: u64,
    mismatches: u64,
    max_abs_diff: BTreeMap<String, f64>,
    first_mismatches: Vec<Mismatch>,
    errors: BTreeMap<&'static str, u64>,
    degraded: BTreeMap<&'static str, u64>,
    decision_records: u64,
    latency_us_p50: u64,
    latency_us_p99: u64,
    duration_s: f64,
}

pub fn run(args: &Args) -> Result<()> {
    if skip_without(&args.data) {
        let report = Report {
            skipped: true,
            ..Report::default()
        };
        return write_report(&args.report, &report);
    }
    let runtime = tokio::runtime::Runtime::new().context("cannot start the async runtime")?;
    let report = runtime.block_on(replay::replay(args))?;
    report.print();
    write_report(&args.report, &report)?;
    report.check()
}

/// Says so if there is no data set: it is not part of the repository.
fn skip_without(data: &Path) -> bool {
    let absent = !data.join(TRANSACTIONS_FILE).exists();
    if absent {
        println!("skipped: no handbook data at {}", data.display());
    }
    absent
}

impl Report {
    fn print(&self) {
        println!(
            "\nRows        {} replayed, {} scored in {:.0} s",
            self.rows, self.scored, self.duration_s
        );
        println!(
            "Compared    {} values of {} rows, {} decision records",
            self.values_compared, self.rows_compared, self.decision_records
        );
        println!(
            "Latency     p50 {} · p99 {}",
            show_latency(self.latency_us_p50),
            show_latency(self.latency_us_p99)
        );
        println!("\nLargest differences");
        for (name, difference) in &self.max_abs_diff {
            println!("  {name:<36} {difference:>12.3e}");
        }
        println!("\nMismatches  {}", self.mismatches);
        for mismatch in &self.first_mismatches {
            println!(
                "  {}: {} is {}, expected {}",
                mismatch.transaction_id, mismatch.what, mismatch.found, mismatch.expected
            );
        }
    }

    /// An error on any mismatch and on anything that was left out.
    fn check(&self) -> Result<()> {
        if self.mismatches > 0 {
            bail!("{} mismatches with the handbook", self.mismatches);
        }
        if self.rows != self.rows_expected || self.scored != self.rows {
            bail!(
                "{} of {} rows replayed, {} scored",
                self.rows,
                self.rows_expected,
                self.scored
            );
        }
        if self.rows_compared != self.rows_to_compare {
            bail!(
                "{} rows compared instead of {}",
                self.rows_compared,
                self.rows_to_compare
            );
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mismatches_and_shortfalls_are_errors() {
        let check = |spoil: fn(&mut Report)| {
            let mut report = Report {
                rows: 5,
                rows_expected: 5,
                scored: 5,
                rows_compared: 2,
                rows_to_compare: 2,
                ..Report::default()
            };
            spoil(&mut report);
            report.check()
        };
        assert!(check(|_| {}).is_ok());
        assert!(check(|report| report.mismatches = 1).is_err());
        assert!(check(|report| report.scored = 4).is_err());
        assert!(check(|report| report.rows_expected = 6).is_err());
        assert!(check(|report| report.rows_compared = 0).is_err());
    }

    #[test]
    fn without_data_nothing_is_compared() {
        let folder = tempfile::tempdir().unwrap();
        assert!(skip_without(folder.path()));
        data::sample::write(folder.path());
        assert!(!skip_without(folder.path()));
    }
}
