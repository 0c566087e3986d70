//! `tollgate-loadtest chaos`: thirteen ways to make a service's life hard, each with goals.
//!
//! Every scenario starts a `tollgate serve` of its own, asks it open loop, counts latency from when a request was due, and
//! knows of the service what its answers, its metrics and its topics say. `docs/chaos.md` says what each does.

mod clients;
mod cores;
pub(crate) mod drive;
mod endings;
mod kafka;
mod overload;
mod report;
pub(crate) mod requests;
mod service;
mod stalls;
mod trouble;
pub(crate) mod wire;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use tollgate_report::Row;

use crate::service::Served;
use cores::Cores;
use drive::Seen;
use report::Entry;
use requests::Requests;
use service::Late;
use stalls::Stalls;

/// Starts services and makes their lives hard: thirteen scenarios, each with goals.
#[derive(clap::Args, Debug)]
pub struct Args {
    #[command(flatten)]
    served: Served,
    /// Only these scenarios, by number.
    #[arg(long, value_delimiter = ',', value_parser = clap::value_parser!(u8).range(1..=13))]
    only: Vec<u8>,
    /// A fifth of the time: whether things work, not how well.
    #[arg(long)]
    quick: bool,
    #[arg(long, default_value = "target/reports/chaos.json")]
    report: PathBuf,
}

/// What every scenario is given.
struct Setting {
    served: Served,
    requests: Arc<Requests>,
    quick: bool,
}

/// One scenario while it is being played.
struct Stage<'a> {
    setting: &'a Setting,
    number: u8,
    /// Set if service and generator are kept apart.
    cores: Option<&'a Cores>,
}

/// What a scenario has to tell.
struct Story {
    seen: Seen,
    late: Late,
    /// What each request said of its deadline, or the longest of it.
    deadline: Duration,
    /// Requests a second, where the scenario has one such rate.
    offered_per_s: f64,
    /// Figures and goals of this scenario alone.
    rows: Vec<Row>,
    note: String,
}

/// The longest that a scenario may take; each is over in less than half of it.
const SCENARIO_MAX: Duration = Duration::from_secs(300);

/// The scenarios, by number.
const NAMES: [&str; 13] = [
    "model stuck for 10 s per run",
    "model throws",
    "all model threads stuck, policy swapped",
    "Kafka gone and back",
    "ingest flooded",
    "rules reloaded every 100 ms",
    "2 and 5 times the saturation rate",
    "one connection floods, three behave",
    "deadlines of 1, 2, 5, 10 ms",
    "slow, vanishing and idle clients",
    "snapshots being written",
    "SIGTERM under load",
    "10,000 retries",
];

pub fn run(args: &Args) -> Result<()> {
    let setting = Setting {
        served: args.served.clone(),
        requests: Arc::new(Requests::make(1)?),
        quick: args.quick,
    };
    let mut entries = Vec::new();
    for number in 1..=13 {
        if !args.only.is_empty() && !args.only.contains(&number) {
            continue;
        }
        println!("── {number}. {}", name(number));
        let entry = play(&setting, number)?;
        println!("{}", entry.line());
        entries.push(entry);
        // What there is by now, should the next one not come to its end.
        report::write(&args.report, &entries)?;
    }
    report::print(&entries)?;
    println!("\nReport      {}", args.report.display());
    if entries.iter().any(|entry| !entry.met) {
        bail!("not every goal was reached");
    }
    Ok(())
}

fn name(number: u8) -> &'static str {
    NAMES[usize::from(number) - 1]
}

/// Plays one scenario on threads of its own. That it could not be played is in its entry, as a goal that was missed.
fn play(setting: &Setting, number: u8) -> Result<Entry> {
    let cores = is_apart(number).then(Cores::split).flatten();
    if let Some(cores) = &cores {
        cores.as_generator().context("cannot keep to some cores")?;
    }
    let stalls = Stalls::watch()?;
    let runtime = tokio::runtime::Runtime::new().context("cannot start the async runtime")?;
    let stage = Stage {
        setting,
        number,
        cores: cores.as_ref(),
    };
    let story = runtime.block_on(async {
        let told = tokio::time::timeout(SCENARIO_MAX, tell(&stage)).await;
        told.with_context(|| format!("it was not over after {SCENARIO_MAX:?}"))?
    });
    // Connections that nobody closed.
    runtime.shutdown_background();
    Ok(match story {
        Ok(story) => Entry::of(number, story, &stalls, cores.is_some()),
        Err(error) => Entry::failed(number, &error),
    })
}

/// Whether service and generator are kept on cores of their own: where the service's CPU is at its limit, a generator beside it
/// would take part of what is measured. In scenario 7 it is the model that is, whose thread needs a core besides those that answer.
const fn is_apart(number: u8) -> bool {
    number == 8
}

async fn tell(stage: &Stage<'_>) -> Result<Story> {
    match stage.number {
        1 => Box::pin(trouble::stuck(stage)).await,
        2 => Box::pin(trouble::throws(stage)).await,
        3 => Box::pin(trouble::swapped(stage)).await,
        4 => Box::pin(kafka::gone(stage)).await,
        5 => Box::pin(kafka::flooded(stage)).await,
        6 => Box::pin(trouble::reloads(stage)).await,
        7 => Box::pin(overload::saturated(stage)).await,
        8 => Box::pin(overload::flooded(stage)).await,
        9 => Box::pin(clients::hurried(stage)).await,
        10 => Box::pin(clients::difficult(stage)).await,
        11 => Box::pin(kafka::snapshots(stage)).await,
        12 => Box::pin(endings::terminated(stage)).await,
        13 => Box::pin(endings::retried(stage)).await,
        number => bail!("there is no scenario {number}"),
    }
}

impl Stage<'_> {
    fn folder(&self) -> PathBuf {
        self.setting
            .served
            .folder
            .join(format!("{:02}", self.number))
    }

    /// So long, or a fifth of it in a quick run, but no less than a second.
    fn seconds(&self, full: u64) -> Duration {
        let full = Duration::from_secs(full);
        if self.setting.quick {
            (full / 5).max(Duration::from_secs(1))
        } else {
            full
        }
    }
}
