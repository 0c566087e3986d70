//! `tollgate features` on a real history, beside the same rolling features in a data-frame library.
//!
//! Both are programs that the caller built and made ready; they run one after the other, in pairs.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, ensure};
use serde::Deserialize;
use tollgate_report::{Goal, Row};

use crate::timing::{float, median, nanos, now};

const PAIRS: u32 = 3;

/// Rows per second that the table is to be made with.
const ROWS_PER_SECOND: f64 = 300_000.0;

const ID: &str = "table";

/// Where both tables go.
const OUT_FOLDER: &str = "target/bench";

/// What to run.
#[derive(clap::Args, Debug, Clone)]
pub(crate) struct Programs {
    /// The built `tollgate`
    #[arg(long, requires_all = ["python", "data", "policy"])]
    tollgate: Option<PathBuf>,
    /// A Python that has what benches/python/requirements.txt lists
    #[arg(long)]
    python: Option<PathBuf>,
    /// Folder of the handbook's data set
    #[arg(long)]
    data: Option<PathBuf>,
    /// The policy written for them
    #[arg(long)]
    policy: Option<PathBuf>,
}

/// What the Python script says of its own run.
#[derive(Deserialize)]
struct Theirs {
    rows: u64,
    seconds: f64,
    library: String,
}

/// One row, or the reason why there is none.
pub(crate) fn measure(programs: &Programs, id: impl Fn(&str) -> String) -> anyhow::Result<Row> {
    let goal = Goal::AtLeast(ROWS_PER_SECOND);
    let (Some(tollgate), Some(python), Some(data), Some(policy)) = (
        &programs.tollgate,
        &programs.python,
        &programs.data,
        &programs.policy,
    ) else {
        eprintln!("skipped: tollgate features beside a data-frame library (no data set was given)");
        return Ok(Row::skipped(id(ID), "rows/s", Some(goal)));
    };
    std::fs::create_dir_all(OUT_FOLDER).context(OUT_FOLDER)?;
    let (mut ours, mut other, mut ratio) = (Vec::new(), Vec::new(), Vec::new());
    for pair in 1..=PAIRS {
        eprintln!("  pair {pair} of {PAIRS}");
        let mut features = Command::new(tollgate);
        features
            .args(["features", "--history"])
            .arg(data.join("transactions.parquet"))
            .args(["--columns", "loadtest/handbook/columns.yaml", "--policy"])
            .arg(policy)
            .arg("--out")
            .arg(Path::new(OUT_FOLDER).join("features.parquet"));
        let start = now();
        let status = features.stdout(Stdio::null()).status();
        let seconds = float(nanos(start.elapsed())) / 1e9;
        let status = status.with_context(|| tollgate.display().to_string())?;
        ensure!(status.success(), "tollgate features ended with {status}");

        let mut script = Command::new(python);
        script
            .args([
                "benches/python/rolling_features.py",
                "--library",
                "polars",
                "--data",
            ])
            .arg(data)
            .arg("--out")
            .arg(Path::new(OUT_FOLDER).join("polars.parquet"));
        let output = script.stderr(Stdio::inherit()).output();
        let output = output.with_context(|| python.display().to_string())?;
        ensure!(
            output.status.success(),
            "rolling_features.py ended with {}",
            output.status
        );
        let theirs: Theirs = serde_json::from_slice(&output.stdout)
            .context("rolling_features.py prints one JSON object")?;
        let rows = float(theirs.rows);
        eprintln!(
            "  {rows} rows: tollgate {seconds:.2} s, {} {:.2} s",
            theirs.library, theirs.seconds
        );
        ours.push(rows / seconds);
        other.push(rows / theirs.seconds);
        ratio.push(theirs.seconds / seconds);
    }
    let row = Row::new(id(ID), "rows/s", median(ours));
    Ok(row.beside(median(other), median(ratio)).goal(goal))
}
