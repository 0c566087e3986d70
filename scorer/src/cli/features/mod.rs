//! `tollgate features`: a history file into a feature table, by the very code that serves.
//!
//! Every transaction is applied to the store and read at its own place in event time, as a decision would have
//! read it, and becomes a row. Labels act when they became known; the last column is what the transaction turned
//! out to be in the end. One thread reads the file, all compute, one writes; `docs/features-command.md` is the
//! user's side of it.

mod bad_rows;
mod columns;
mod engine;
mod history;
mod mapping;
mod outcomes;
mod parallel;
mod progress;
mod row;
mod segments;
mod stages;
mod table;
mod understand;
mod value;

use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context;
use clap::Args;
use tollgate_rules::Logic;
use tollgate_types::Span;

use self::bad_rows::BadRows;
use self::columns::Columns;
use self::engine::{Engine, Found};
use self::history::{Format, History, Reader};
use self::outcomes::Outcomes;
use self::progress::Progress;
use self::stages::Stages;
use self::table::Tables;
use self::understand::Understanding;
use super::{CommandError, Common};

#[derive(Args)]
pub(super) struct Features {
    /// History: CSV or Parquet with a row per transaction, or one event a line in proto3 JSON,
    /// `{"transaction": …}` or `{"label": …}`; text ending in .zst is unpacked
    #[arg(long, value_name = "FILE")]
    history: PathBuf,
    /// The feature table to write: .csv, .csv.zst or .parquet; give it twice to write two
    #[arg(long, value_name = "FILE", required = true)]
    out: Vec<PathBuf>,
    /// The policy folder; the configured one if left out
    #[arg(long, value_name = "FOLDER")]
    policy: Option<PathBuf>,
    /// How long fraud may take to be reported: what has no label by then, counted back from the end of the
    /// history, was good; what is younger is left unlabelled
    #[arg(long, value_name = "SPAN", default_value = "14d", value_parser = Span::parse)]
    labels_within: Span,
    /// Add the column fraud_known_at: since when it is known what a transaction was, for training to leave
    /// out what was not known yet
    #[arg(long)]
    label_times: bool,
    /// How the history is written, if its name does not say so
    #[arg(long, value_name = "FORMAT")]
    format: Option<Format>,
    /// What the history's columns are called, and what they leave unsaid
    #[arg(long, value_name = "FILE")]
    columns: Option<PathBuf>,
    /// Leave out up to this many rows that cannot be read, instead of stopping at the first
    #[arg(long, value_name = "N", default_value_t = 0)]
    skip_bad_rows: u64,
    /// Threads that compute; all cores if left out
    #[arg(long, value_name = "N")]
    threads: Option<usize>,
}

impl Features {
    pub(super) fn run(self, common: &Common) -> Result<ExitCode, CommandError> {
        let config = common.load()?;
        let folder = self.policy.as_ref().unwrap_or(&config.policy.path);
        // The models are not loaded: the table is what the next one is trained on.
        let (logic, warnings) = tollgate_rules::load(folder).map_err(CommandError::Policy)?;
        if !warnings.is_empty() {
            eprintln!("{}", warnings.render());
        }
        let history = History::new(&self.history, self.format)?;
        let cores = || std::thread::available_parallelism().map_or(1, usize::from);
        let threads = self.threads.unwrap_or_else(cores).max(1);
        let progress = Progress::new("computing features")?;
        let mut reader = history.open(&progress)?;
        let columns = self.columns(&history, &mut reader, &logic)?;
        let features: Vec<&str> = logic
            .layout
            .features
            .iter()
            .map(|feature| feature.name.as_str())
            .collect();
        let tables = Tables::create(&self.out, &features, self.label_times)?;
        let outcomes = match &columns {
            Some(columns) => Outcomes::of_columns(&history, columns, self.labels_within),
            None => Outcomes::of_lines(&history, self.labels_within, threads)?,
        };
        let engine = Engine::new(
            &logic,
            outcomes,
            tables.forms(),
            threads,
            config.features.events_per_entity_max,
        );
        let understanding = Understanding {
            logic: &logic,
            history: &history,
            columns: columns.as_ref(),
            threads,
        };
        let mut bad = BadRows::new(self.skip_bad_rows);
        let stages = Stages {
            reader,
            understanding,
            engine,
            tables,
        };
        let found = stages.run(&mut bad, &progress)?;
        progress.finish();
        for out in &self.out {
            write_definitions(out, &logic)?;
        }
        report(&found, &bad);
        self.say_done(found.rows, &progress);
        Ok(ExitCode::SUCCESS)
    }

    /// Finds the fields among the file's columns. JSON lines name their fields themselves.
    fn columns(
        &self,
        history: &History,
        reader: &mut Reader,
        logic: &Logic,
    ) -> Result<Option<Columns>, CommandError> {
        if history.format == Format::Jsonl {
            if self.columns.is_some() {
                let why = "JSON lines have no columns to map; leave --columns out";
                return Err(anyhow::anyhow!(why).into());
            }
            return Ok(None);
        }
        let mapping = self.columns.as_ref().map(|path| mapping::read(path, logic));
        let mapping = mapping.transpose().map_err(CommandError::Policy)?;
        let found = Columns::find(
            reader.header(),
            &logic.schema,
            mapping.as_ref(),
            &history.path,
        )?;
        if !found.unused.is_empty() {
            eprintln!("columns not used: {}", found.unused.join(", "));
        }
        reader.select(&found)?;
        Ok(Some(found))
    }

    fn say_done(&self, rows: u64, progress: &Progress) {
        let outs: Vec<String> = self
            .out
            .iter()
            .map(|out| out.display().to_string())
            .collect();
        println!(
            "{rows} rows in {} ({:.1} s, {:.0} rows/s)",
            outs.join(" and "),
            progress.seconds(),
            progress.per_second(rows)
        );
    }
}

/// `<out>.definitions.json`: the features' names and definitions in order, for the model's manifest.
fn write_definitions(out: &Path, logic: &Logic) -> anyhow::Result<()> {
    let layout = &logic.layout;
    let features = layout.features.iter();
    let definitions: Vec<_> = features
        .map(|feature| {
            serde_json::json!({ "name": feature.name, "definition": layout.definition(feature) })
        })
        .collect();
    let mut path = out.to_owned().into_os_string();
    path.push(".definitions.json");
    let write = || format!("cannot write {}", Path::new(&path).display());
    let mut file = File::create(&path).with_context(write)?;
    serde_json::to_writer_pretty(&mut file, &definitions)?;
    file.write_all(b"\n").with_context(write)
}

/// Says what was unusual.
fn report(found: &Found, bad: &BadRows) {
    if let Some(left_out) = bad.summary() {
        eprintln!("warning: {left_out}");
    }
    let notes = [
        (
            found.out_of_order,
            "are earlier than a row before them; each counts from its place in the file on",
        ),
        (
            found.repeated,
            "repeat a transaction that was there before, and are left out",
        ),
        (
            found.too_old,
            "are older than what is retained; their features may miss events",
        ),
        (
            found.cut_off,
            "have a window that reaches back to events of a card or other entity that had too many; \
             see features.events_per_entity_max",
        ),
    ];
    for (count, what) in notes {
        if count > 0 {
            eprintln!("warning: {count} rows {what}");
        }
    }
}
