//! `tollgate-loadtest model-swaps`: under a steady load the champion is another model every half a second.
//!
//! Each answer says which model scored it. Its features are asked for with it, and the score is computed from them anew,
//! with the weights of that model: a session that another version had filled, or a score that came from the model before,
//! shows as a difference. Memory and threads are the system's figures of the service's process.

mod weights;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use anyhow::{Context, Result};
use tokio::time::{Instant, sleep, sleep_until};
use tollgate_report::{Goal, Row};

use super::choose;
use crate::figures::{self, count, figure};
use crate::kafka::Admin;
use crate::lock;
use crate::process::Process;
use crate::score::{Answer, DEADLINE, Tally};
use crate::steady::Load;
use weights::{Found, Weights};

/// Makes another model the champion again and again under load, and reports what requests noticed of it.
#[derive(clap::Args, Debug)]
pub struct Args {
    /// The policy folder that the service watches.
    #[arg(long)]
    policy: PathBuf,
    /// What each version of the model is made of, by benches/python/models.py.
    #[arg(long)]
    weights: PathBuf,
    /// Where the service answers gRPC.
    #[arg(long)]
    grpc: String,
    /// The service's admin port.
    #[arg(long)]
    admin: String,
    /// The service's process.
    #[arg(long)]
    pid: u32,
    /// Milliseconds from one swap to the next.
    #[arg(long, default_value_t = 500)]
    every_ms: u64,
    /// Swaps after which as many policies are kept as ever will be, and memory should stay as it is.
    #[arg(long, default_value_t = 20)]
    settled: usize,
    #[command(flatten)]
    load: Load,
    #[arg(long, default_value = "target/reports/model-swaps.json")]
    report: PathBuf,
}

const WARM_UP: Duration = Duration::from_secs(3);

/// A swap that shows in no answer within this never will.
const PATIENCE: Duration = Duration::from_secs(5);

const POLL: Duration = Duration::from_millis(10);

/// From the moment a change is saved until it decides.
const LIVE_MS_MAX: f64 = 1_000.0;

/// What a service under load may take and give back at any time. A session that stays behind with every swap would be
/// more: each has a megabyte or so.
const GROWTH_MIB_MAX: f64 = 32.0;

/// Bytes that histories take, which grow with every transaction.
const STORE: &str = "tollgate_store_bytes";

pub fn run(args: &Args) -> Result<()> {
    let weights = Weights::read(&args.weights)?;
    let runtime = tokio::runtime::Runtime::new().context("cannot start the async runtime")?;
    let (seen, swaps) = runtime.block_on(play(args, weights))?;
    figures::report(&args.report, &rows(&seen, &swaps, args.settled))
}

#[derive(Default)]
struct Seen {
    tally: Tally,
    /// Scores that the model named in the answer gives for its features, and those that it does not.
    right: u64,
    wrong: u64,
    /// Scores of the model before the first swap, and answers without one.
    other_model: u64,
    without_score: u64,
    /// When each version was first seen in an answer.
    live_at: BTreeMap<String, Instant>,
}

/// What is known after a swap.
struct Swap {
    live_ms: Option<f64>,
    process: Process,
    store_bytes: u64,
}

async fn play(args: &Args, weights: Weights) -> Result<(Seen, Vec<Swap>)> {
    let client = args.load.connect(&args.grpc, DEADLINE).await?;
    let seen = Arc::new(Mutex::new(Seen::default()));
    let versions = weights.versions();
    let noting = Arc::clone(&seen);
    let swaps = args.load.during(
        (client, true),
        || (),
        move |(), answer| {
            let found = weights.compare(&answer);
            lock(&noting).note(&answer, found);
        },
        swap_all(args, &versions, &seen),
    );
    let swaps = swaps.await??;
    let seen = std::mem::take(&mut *lock(&seen));
    Ok((seen, swaps))
}

async fn swap_all(args: &Args, versions: &[String], seen: &Mutex<Seen>) -> Result<Vec<Swap>> {
    let admin = Admin::new(args.admin.clone());
    let mut swaps = Vec::new();
    sleep(WARM_UP).await;
    for version in versions {
        let next = Instant::now() + Duration::from_millis(args.every_ms);
        choose(&args.policy, version)?;
        let saved = Instant::now();
        let live_at = loop {
            let live_at = lock(seen).live_at.get(version).copied();
            if live_at.is_some() || saved.elapsed() > PATIENCE {
                break live_at;
            }
            sleep(POLL).await;
        };
        sleep_until(next).await;
        let took = live_at.map(|at| at.saturating_duration_since(saved));
        swaps.push(Swap {
            live_ms: took.map(|took| took.as_secs_f64() * 1_000.0),
            process: Process::look(args.pid)?,
            store_bytes: admin.sum(STORE).await?,
        });
    }
    Ok(swaps)
}

impl Seen {
    fn note(&mut self, answer: &Answer, found: Found) {
        self.tally.count(answer);
        match found {
            Found::Right(version) => {
                self.right += 1;
                self.live_at.entry(version).or_insert_with(Instant::now);
            }
            Found::Wrong => self.wrong += 1,
            Found::OtherModel => self.other_model += 1,
            Found::NoScore => self.without_score += 1,
        }
    }
}

fn rows(seen: &Seen, swaps: &[Swap], settled: usize) -> Vec<Row> {
    let tally = &seen.tally;
    let mut live_ms: Vec<f64> = swaps.iter().filter_map(|swap| swap.live_ms).collect();
    live_ms.sort_by(f64::total_cmp);
    let all_live = live_ms.len() == swaps.len();
    let live_max = live_ms.last().copied().filter(|_| all_live);
    let live_p50 = live_ms.get(live_ms.len() / 2).copied();
    let steady = swaps.get(settled..).unwrap_or_default();
    let degraded: u64 = tally.degraded.values().sum();
    vec![
        Row::new("requests", "count", count(tally.ended())).goal(Goal::AtLeast(1.0)),
        Row::new("swaps", "count", count(swaps.len())),
        Row::new(
            "requests.failed",
            "count",
            count(tally.ended() - tally.answered),
        )
        .goal(Goal::AtMost(0.0)),
        Row::new("scores.of_their_version", "count", count(seen.right)).goal(Goal::AtLeast(1.0)),
        Row::new("scores.of_another", "count", count(seen.wrong)).goal(Goal::AtMost(0.0)),
        Row::new(
            "scores.of_the_model_before",
            "count",
            count(seen.other_model),
        ),
        Row::new("answers.without_score", "count", count(seen.without_score)),
        Row::new("answers.degraded", "count", count(degraded)),
        figure("save_to_live.p50", "ms", live_p50),
        figure("save_to_live.max", "ms", live_max).goal(Goal::AtMost(LIVE_MS_MAX)),
        figure(
            "memory.growth",
            "MiB",
            growth(steady, |swap| swap.memory_mib()),
        )
        .goal(Goal::AtMost(GROWTH_MIB_MAX)),
        figure("memory.last", "MiB", steady.last().map(Swap::memory_mib)),
        figure(
            "model_threads.growth",
            "count",
            growth(steady, |swap| count(swap.process.model_threads)),
        )
        .goal(Goal::AtMost(0.0)),
        figure(
            "model_threads.last",
            "count",
            steady.last().map(|swap| count(swap.process.model_threads)),
        ),
        Row::new("latency.p50", "µs", count(tally.latency_us(0.5))),
        Row::new("latency.p99", "µs", count(tally.latency_us(0.99))),
        Row::new("latency.p999", "µs", count(tally.latency_us(0.999))),
        Row::new("requests.late", "count", count(tally.late)),
    ]
}

impl Swap {
    /// What the process takes besides histories.
    fn memory_mib(&self) -> f64 {
        count(self.process.resident_bytes.saturating_sub(self.store_bytes)) / 1_048_576.0
    }
}

/// How much more a figure is over the last ten swaps than over the first ten, each by its median.
fn growth(swaps: &[Swap], figure: impl Fn(&Swap) -> f64) -> Option<f64> {
    let median = |swaps: &[Swap]| {
        let mut figures: Vec<f64> = swaps.iter().map(&figure).collect();
        figures.sort_by(f64::total_cmp);
        figures.get(figures.len() / 2).copied()
    };
    let first = median(swaps.get(..10)?)?;
    let last = median(swaps.get(swaps.len() - 10..)?)?;
    Some(last - first)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn swaps(live_ms: Option<f64>, mib: impl Fn(u64) -> u64) -> Vec<Swap> {
        let swap = |n| Swap {
            live_ms,
            process: Process {
                open_files: 0,
                resident_bytes: (mib(n) + 100) << 20,
                model_threads: 22,
                cpu: Duration::ZERO,
            },
            store_bytes: 100 << 20,
        };
        (0..40).map(swap).collect()
    }

    fn missed(seen: &Seen, swaps: &[Swap]) -> Vec<String> {
        let rows = rows(seen, swaps, 20);
        let missed = rows.iter().filter(|row| row.is_missed());
        missed.map(|row| row.id.clone()).collect()
    }

    #[test]
    fn memory_that_grows_with_every_swap_and_swaps_that_never_show_miss_their_goals() {
        let mut seen = Seen::default();
        let answer = Answer {
            result: Ok(tollgate_proto::v1::ScoreResponse::default()),
            latency: Duration::from_millis(1),
        };
        seen.note(&answer, Found::Right("swap/1".to_owned()));
        let live = Some(300.0);
        assert_eq!(missed(&seen, &swaps(live, |_| 200)), Vec::<&str>::new());
        assert_eq!(
            missed(&seen, &swaps(live, |n| 200 + 4 * n)),
            ["memory.growth"]
        );
        assert_eq!(missed(&seen, &swaps(None, |_| 200)), ["save_to_live.max"]);
        seen.note(&answer, Found::Wrong);
        assert_eq!(missed(&seen, &swaps(live, |_| 200)), ["scores.of_another"]);
    }
}
