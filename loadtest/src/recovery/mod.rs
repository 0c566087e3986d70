//! `tollgate-loadtest recovery`: what must hold on real Kafka when things end, fill up, jump or go missing.
//!
//! Each of the six lines starts services of its own on topics of its own, and knows of them what their answers, their admin
//! port and their topics say. `docs/recovery.md` says what each shows.

mod aggregates;
mod brokers;
mod decisions;
mod deliveries;
mod digest;
mod held;
mod history;
mod kills;
mod log;
mod poison;
mod spoiled;
mod traffic;
mod trouble;
mod visible;

use std::hash::{BuildHasher, RandomState};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use tollgate_report::{Goal, Row};

use crate::service::{Launch, Served, copy};
use log::{Kafka, Log};

/// Kills services and brokers, and holds that nothing is lost, doubled or counted otherwise.
#[derive(clap::Args, Debug)]
pub struct Args {
    #[command(flatten)]
    served: Served,
    /// Only these lines, by number.
    #[arg(long, value_delimiter = ',', value_parser = clap::value_parser!(u8).range(1..=6))]
    only: Vec<u8>,
    /// Some rounds and some seconds of each: whether things work, not how well.
    #[arg(long)]
    quick: bool,
    /// What decides the moments of kills; another one each time if none is named.
    #[arg(long)]
    seed: Option<u64>,
    #[arg(long, default_value = "target/reports/recovery.json")]
    report: PathBuf,
}

/// What every line is given.
struct Setting {
    served: Served,
    kafka: Kafka,
    seed: u64,
    quick: bool,
}

/// One line while it is carried out.
struct Stage<'a> {
    setting: &'a Setting,
    number: u8,
}

/// The longest that a line may take: several times what the longest one does.
const LINE_MAX: Duration = Duration::from_secs(2 * 3_600);

/// The lines, by number.
const NAMES: [&str; 6] = [
    "kill -9 and restart on the same log",
    "brokers killed under load",
    "ten million events",
    "from acknowledged to counted",
    "poison among the records",
    "full disk, full spool, jumping clock, cut log, more partitions",
];

pub fn run(args: &Args) -> Result<()> {
    let setting = Setting {
        served: args.served.clone(),
        kafka: Kafka::named()?,
        seed: args
            .seed
            .unwrap_or_else(|| RandomState::new().hash_one(0) >> 32),
        quick: args.quick,
    };
    println!("seed {}; the same again with --seed", setting.seed);
    let mut rows = Vec::new();
    for number in 1..=6 {
        if !args.only.is_empty() && !args.only.contains(&number) {
            continue;
        }
        println!("── {number}. {}", NAMES[usize::from(number) - 1]);
        rows.extend(carry_out(&setting, number)?);
        // What there is by now, should the next one not come to its end.
        tollgate_report::write_values(&args.report, &rows)?;
    }
    println!();
    tollgate_report::print(&mut std::io::stdout().lock(), &rows)?;
    println!("\nReport      {}", args.report.display());
    if rows.iter().any(Row::is_missed) {
        bail!("not every goal was reached");
    }
    Ok(())
}

/// Carries a line out on threads of its own. That it did not come to its end is a goal that was missed.
fn carry_out(setting: &Setting, number: u8) -> Result<Vec<Row>> {
    let runtime = tokio::runtime::Runtime::new().context("cannot start the async runtime")?;
    let stage = Stage { setting, number };
    // Left over from an earlier run.
    let _ = std::fs::remove_dir_all(stage.folder());
    let told = runtime.block_on(async {
        let told = tokio::time::timeout(LINE_MAX, tell(&stage)).await;
        told.with_context(|| format!("it was not over after {LINE_MAX:?}"))?
    });
    // Connections that nobody closed.
    runtime.shutdown_background();
    let mut rows = told.unwrap_or_else(|error| {
        println!("   not carried out to its end: {error:#}");
        vec![Row::skipped("done", "", Some(Goal::AtLeast(1.0)))]
    });
    for row in &mut rows {
        row.id = format!("{number}.{}", row.id);
    }
    Ok(rows)
}

async fn tell(stage: &Stage<'_>) -> Result<Vec<Row>> {
    match stage.number {
        1 => Box::pin(kills::run(stage)).await,
        2 => Box::pin(brokers::run(stage)).await,
        3 => Box::pin(history::run(stage)).await,
        4 => Box::pin(visible::run(stage)).await,
        5 => Box::pin(poison::run(stage)).await,
        6 => Box::pin(trouble::run(stage)).await,
        number => bail!("there is no line {number}"),
    }
}

impl<'a> Stage<'a> {
    fn folder(&self) -> PathBuf {
        self.setting
            .served
            .folder
            .join(format!("{:02}", self.number))
    }

    /// Topics that nobody else has, on real Kafka.
    async fn log(&self, name: &str, shape: log::Shape) -> Result<Log> {
        let prefix = format!(
            "recovery-{:016x}-{}-{name}",
            RandomState::new().hash_one(0),
            self.number
        );
        Log::create(&self.setting.kafka, prefix, shape).await
    }

    /// A copy of the policy, in the line's folder.
    fn policy(&self, name: &str) -> Result<PathBuf> {
        let policy = self.folder().join(name).join("policy");
        copy(&self.setting.served.policy, &policy).context("cannot copy the policy")?;
        Ok(policy)
    }

    /// A service that can be started again and again, in a folder of this name, on a copy of the policy. Keys of the
    /// configuration are as in the environment: `TOLLGATE_SNAPSHOT__EVERY_S`.
    fn launch(&self, name: &str, log: &Log, variables: &[(&str, &str)]) -> Result<Launch<'a>> {
        let mut all = log.variables();
        // Nobody balances load between services of a run.
        all.push(("TOLLGATE_GRPC__LAME_DUCK_MS".to_owned(), "0".to_owned()));
        let own = variables
            .iter()
            .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()));
        all.extend(own);
        Ok(Launch {
            program: &self.setting.served.program,
            library: &self.setting.served.library,
            policy: self.policy(name)?,
            folder: self.folder().join(name),
            variables: all,
        })
    }

    /// This many, or a few in a quick run.
    fn count(&self, full: u64, quick: u64) -> u64 {
        if self.setting.quick { quick } else { full }
    }
}

/// A path as a value of the configuration.
fn text(path: &Path) -> Result<&str> {
    path.to_str().context("a folder whose name is no text")
}
