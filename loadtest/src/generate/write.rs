//! `tollgate-loadtest generate`: a history file, one event per line in proto3 JSON.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use tollgate_proto::to_json;

use super::{Config, Event, Generator};

/// Writes a history file that `tollgate features` reads.
#[derive(clap::Args, Debug)]
pub struct Args {
    /// How many cards pay.
    #[arg(long, default_value_t = 2_000)]
    cards: u32,
    /// How many days of transactions; labels that become known later follow at the end.
    #[arg(long, default_value_t = 60)]
    days: u32,
    /// The same seed gives the same history.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Where to write; compressed if the name ends in `.zst`.
    #[arg(long)]
    out: PathBuf,
}

/// The library's own default: most of the gain at several hundred megabytes a second.
const ZSTD_LEVEL: i32 = 3;

/// How many of each kind were written.
#[derive(Debug, Default, PartialEq, Eq)]
struct Written {
    transactions: u64,
    fraudulent: u64,
    labels: u64,
}

pub fn run(args: &Args) -> Result<()> {
    let config = Config::new(args.cards, args.days, args.seed);
    let written = write_to(&args.out, config)
        .with_context(|| format!("cannot write {}", args.out.display()))?;
    println!(
        "{}: {} transactions, {} of them fraudulent, {} labels",
        args.out.display(),
        written.transactions,
        written.fraudulent,
        written.labels
    );
    Ok(())
}

fn write_to(path: &Path, config: Config) -> Result<Written> {
    let mut file = BufWriter::new(File::create(path)?);
    if path.extension().is_some_and(|extension| extension == "zst") {
        let mut encoder = zstd::Encoder::new(file, ZSTD_LEVEL)?;
        let written = write_events(config, &mut encoder)?;
        encoder.finish()?.flush()?;
        return Ok(written);
    }
    let written = write_events(config, &mut file)?;
    file.flush()?;
    Ok(written)
}

fn write_events(config: Config, out: &mut impl Write) -> Result<Written> {
    let mut written = Written::default();
    for event in Generator::new(config) {
        match event {
            Event::Transaction(generated) => {
                let json = to_json("tollgate.v1.TransactionEvent", &generated.event)?;
                writeln!(out, r#"{{"transaction":{json}}}"#)?;
                written.transactions += 1;
                written.fraudulent += u64::from(generated.fraud.is_some());
            }
            Event::Label(known) => {
                let json = to_json("tollgate.v1.Label", &known.label)?;
                writeln!(out, r#"{{"label":{json}}}"#)?;
                written.labels += 1;
            }
        }
    }
    Ok(written)
}

#[cfg(test)]
mod tests {
    use tollgate_proto::{from_json, v1};

    use super::*;

    #[test]
    fn every_line_is_one_event_in_json() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("history.jsonl.zst");
        let written = write_to(&path, Config::new(100, 15, 3)).unwrap();
        let text = zstd::decode_all(File::open(&path).unwrap()).unwrap();
        let mut read = Written::default();
        for line in String::from_utf8(text).unwrap().lines() {
            let value: serde_json::Value = serde_json::from_str(line).unwrap();
            if let Some(label) = value.get("label") {
                let label: v1::Label = from_json("tollgate.v1.Label", &label.to_string()).unwrap();
                read.labels += 1;
                read.fraudulent += u64::from(label.fraud);
            } else {
                let event: v1::TransactionEvent = from_json(
                    "tollgate.v1.TransactionEvent",
                    &value["transaction"].to_string(),
                )
                .unwrap();
                assert!(event.transaction.is_some());
                read.transactions += 1;
            }
        }
        assert!(written.transactions > 500);
        assert_eq!(read, written, "every fraud has its label in the end");
    }
}
