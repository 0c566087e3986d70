//! `tollgate features`: a history file into a feature table, by the very code that serves.
//!
//! Every transaction is applied to the store and then read at its own place in event time, as a decision would
//! have read it, and becomes a row. Labels act when they became known; the last column is what the
//! transaction turned out to be in the end.

use std::collections::HashMap;
use std::fs::File;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::{Context, bail};
use clap::Args;
use indicatif::{ProgressBar, ProgressStyle};
use serde_json::value::RawValue;
use tollgate_expr::Frame;
use tollgate_features::{Origin, ReadPlan, Store};
use tollgate_proto::v1;
use tollgate_rules::Logic;
use tollgate_types::{EventTime, Label, Record, Span, Transaction, TransactionKey};

use super::{CommandError, Common};
use crate::convert;
use crate::policy::feature_number;

/// Between two moves of the store's watermark, in rows.
const WATERMARK_EVERY: u64 = 10_000;

#[derive(Args)]
pub(super) struct Features {
    /// History: one event a line in proto3 JSON, `{"transaction": …}` or `{"label": …}`; `.zst` is unpacked
    #[arg(long, value_name = "FILE")]
    history: PathBuf,
    /// The feature table to write, as CSV
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
    /// The policy folder; the configured one if left out
    #[arg(long, value_name = "FOLDER")]
    policy: Option<PathBuf>,
    /// How long fraud may take to be reported: what has no label by then, counted back from the end of the
    /// history, was good; what is younger is left unlabelled
    #[arg(long, value_name = "SPAN", default_value = "14d", value_parser = Span::parse)]
    labels_within: Span,
}

/// What transactions turned out to be.
struct Outcomes {
    labels: HashMap<TransactionKey, bool>,
    /// Transactions up to here were good if nothing else is known of them.
    settled_until: EventTime,
}

impl Outcomes {
    /// `1` for fraud, `0` for good, empty where it may still turn out either way.
    fn column(&self, record: &Record<'_>) -> String {
        let settled = record.event_time() <= self.settled_until;
        let fraud = self
            .labels
            .get(&record.key())
            .copied()
            .or(settled.then_some(false));
        fraud
            .map(|fraud| u8::from(fraud).to_string())
            .unwrap_or_default()
    }
}

/// A line of the history file.
#[derive(serde::Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
enum Line<'a> {
    #[serde(borrow)]
    Transaction(&'a RawValue),
    #[serde(borrow)]
    Label(&'a RawValue),
}

enum Event {
    Transaction(Box<Transaction>, bool),
    Label(Label),
}

impl Features {
    pub(super) fn run(self, common: &Common) -> Result<ExitCode, CommandError> {
        let config = common.load()?;
        let folder = self.policy.as_ref().unwrap_or(&config.policy.path);
        // The models are not loaded: the table is what the next one is trained on.
        let (logic, warnings) = tollgate_rules::load(folder).map_err(CommandError::Policy)?;
        eprint!("{}", warnings.render());
        let outcomes = read_outcomes(&self.history, self.labels_within)?;
        let rows = self.write_table(&logic, &outcomes)?;
        self.write_definitions(&logic)?;
        println!("{rows} rows in {}", self.out.display());
        Ok(ExitCode::SUCCESS)
    }

    fn write_table(&self, logic: &Logic, outcomes: &Outcomes) -> anyhow::Result<u64> {
        let mut table = csv::Writer::from_path(&self.out)
            .with_context(|| format!("cannot write {}", self.out.display()))?;
        let names = logic
            .layout
            .features
            .iter()
            .map(|feature| feature.name.as_str());
        let header = ["transaction_id", "event_time", "card_id"]
            .into_iter()
            .chain(names);
        table.write_record(header.chain(["fraud"]))?;
        let store = Store::new(Arc::clone(&logic.schema));
        let plan = ReadPlan::new(&logic.schema, &logic.layout);
        let mut rows = 0;
        for_each_event(&self.history, "computing features", |event| {
            match event {
                Event::Label(label) => {
                    store.label(&label);
                }
                Event::Transaction(mut transaction, authorized) => {
                    let row = row(logic, &store, &plan, &mut transaction, authorized, outcomes)?;
                    table.write_record(row)?;
                    rows += 1;
                    if rows % WATERMARK_EVERY == 0 {
                        store.advance_watermark(transaction.event_time);
                        store.evict();
                    }
                }
            }
            Ok(())
        })?;
        table.flush()?;
        Ok(rows)
    }

    /// `<out>.definitions.json`: the features' names and definitions in order, for the model's manifest.
    fn write_definitions(&self, logic: &Logic) -> anyhow::Result<()> {
        let definitions: Vec<_> = logic
            .layout
            .features
            .iter()
            .map(|feature| serde_json::json!({ "name": feature.name, "definition": feature.definition }))
            .collect();
        let mut path = self.out.clone().into_os_string();
        path.push(".definitions.json");
        let mut file = File::create(&path)?;
        serde_json::to_writer_pretty(&mut file, &definitions)?;
        file.write_all(b"\n")?;
        Ok(())
    }
}

/// One row: ids, features, and what the transaction turned out to be. Missing is an empty cell.
fn row(
    logic: &Logic,
    store: &Store,
    plan: &ReadPlan,
    transaction: &mut Transaction,
    authorized: bool,
    outcomes: &Outcomes,
) -> anyhow::Result<Vec<String>> {
    convert::keep_declared(transaction, &logic.schema);
    let record = convert::record(transaction, logic)?;
    store.apply(&record, Origin::Log { authorized });
    let mut frame = Frame::new(&logic.layout, &record);
    logic.fill_lookups(&record, &mut frame);
    let _ = store.read(plan, &record, &mut frame);
    frame.evaluate_features(&logic.layout);
    let mut row = vec![
        transaction.id.as_str().to_owned(),
        transaction.event_time.to_string(),
        transaction.card_id.as_str().to_owned(),
    ];
    row.extend(logic.layout.features.iter().map(|feature| {
        let value = feature_number(feature.kind, frame.cell(feature.slot));
        value.map(|value| value.to_string()).unwrap_or_default()
    }));
    row.push(outcomes.column(&record));
    Ok(row)
}

/// What every transaction turned out to be in the end; of several labels the one known last counts.
fn read_outcomes(history: &Path, labels_within: Span) -> anyhow::Result<Outcomes> {
    let mut latest: HashMap<TransactionKey, (EventTime, bool)> = HashMap::new();
    let mut end = EventTime::MIN;
    for_each_event(history, "reading labels", |event| {
        match event {
            Event::Transaction(transaction, _) => end = end.max(transaction.event_time),
            Event::Label(label) => {
                let known = latest.entry(TransactionKey::of(&label.transaction_id));
                let known = known.or_insert((label.known_at, label.fraud));
                if label.known_at >= known.0 {
                    *known = (label.known_at, label.fraud);
                }
            }
        }
        Ok(())
    })?;
    let labels = latest
        .into_iter()
        .map(|(key, (_, fraud))| (key, fraud))
        .collect();
    Ok(Outcomes {
        labels,
        settled_until: end.minus(labels_within),
    })
}

/// Reads a history file line by line, with a progress bar over its bytes.
fn for_each_event(
    path: &Path,
    doing: &'static str,
    mut with: impl FnMut(Event) -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    let open = || format!("cannot read {}", path.display());
    let file = File::open(path).with_context(open)?;
    let style = ProgressStyle::with_template("{msg:20} {bar:40} {percent:>3}% {eta}")?;
    let progress = ProgressBar::new(file.metadata().with_context(open)?.len()).with_style(style);
    progress.set_message(doing);
    let bytes = progress.wrap_read(file);
    let mut lines: Box<dyn BufRead> = if path.extension().is_some_and(|end| end == "zst") {
        Box::new(BufReader::new(zstd::Decoder::new(bytes)?))
    } else {
        Box::new(BufReader::new(bytes))
    };
    let (mut line, mut number) = (String::new(), 0_u64);
    while lines.read_line(&mut line).with_context(open)? > 0 {
        number += 1;
        let read = event(&line).and_then(&mut with);
        read.with_context(|| format!("{}:{number}", path.display()))?;
        line.clear();
    }
    progress.finish_and_clear();
    if number == 0 {
        bail!("{} is empty", path.display());
    }
    Ok(())
}

/// History lies in the past, so no event of it is ahead of the clock.
fn event(line: &str) -> anyhow::Result<Event> {
    let expected = "expected {\"transaction\": …} or {\"label\": …}";
    match serde_json::from_str(line).context(expected)? {
        Line::Transaction(json) => {
            let event: v1::TransactionEvent =
                tollgate_proto::from_json("tollgate.v1.TransactionEvent", json.get())?;
            let transaction = convert::transaction(event.transaction, EventTime::MAX)?;
            Ok(Event::Transaction(Box::new(transaction), event.authorized))
        }
        Line::Label(json) => {
            let label = tollgate_proto::from_json("tollgate.v1.Label", json.get())?;
            Ok(Event::Label(convert::label(&label, EventTime::MAX)?))
        }
    }
}
