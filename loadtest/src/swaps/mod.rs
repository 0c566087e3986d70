//! `tollgate-loadtest swaps`: the policy is changed again and again under a steady load, open loop.
//!
//! Phases with changes and phases without take turns within one run, so that both meet the same machine in the same
//! hour. What decides whether a change is live, and whether a decision mixes versions, is only what answers say.

mod figures;
mod folder;
mod seen;

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep, sleep_until};
use tollgate_proto::v1;

use crate::generate::{Config, Event, Generator};
use crate::kafka::Admin;
use crate::lock;
use crate::score::{Arrivals, Client, DEADLINE, Lanes, Pace};
use figures::Changes;
use folder::{Change, Folder};
use seen::{Phase, Seen};

/// Changes the policy again and again under load, and reports what requests noticed of it.
#[derive(clap::Args, Debug)]
pub struct Args {
    /// The policy folder that the service watches, made ready by `--prepare`.
    #[arg(long)]
    policy: PathBuf,
    /// Only make the folder ready, before it is served.
    #[arg(long)]
    prepare: bool,
    /// Where the service answers gRPC.
    #[arg(long, required_unless_present = "prepare", default_value = "")]
    grpc: String,
    /// The service's admin port.
    #[arg(long, required_unless_present = "prepare", default_value = "")]
    admin: String,
    /// Requests per second.
    #[arg(long, default_value_t = 5_000.0)]
    rate: f64,
    /// How many changes.
    #[arg(long, default_value_t = 200)]
    changes: usize,
    /// Milliseconds from one change to the next.
    #[arg(long, default_value_t = 500)]
    every_ms: u64,
    /// How often phases with and without changes take turns.
    #[arg(long, default_value_t = 10)]
    turns: usize,
    /// gRPC connections.
    #[arg(long, default_value_t = 4)]
    connections: usize,
    /// At most this many requests in flight.
    #[arg(long, default_value_t = 1_024)]
    in_flight: usize,
    /// How many cards pay.
    #[arg(long, default_value_t = 10_000)]
    cards: u32,
    #[arg(long, default_value_t = 1)]
    seed: u64,
    #[arg(long, default_value = "target/reports/swaps.json")]
    report: PathBuf,
}

/// Made before the clock starts and sent round after round, each with ids and times of its own.
const TRANSACTIONS: usize = 100_000;

/// Before anything is measured: connections open, caches fill.
const WARM_UP: Duration = Duration::from_secs(3);

/// After a phase, until nothing of it is left.
const PAUSE: Duration = Duration::from_millis(500);

/// A change that does not decide within this never will.
const PATIENCE: Duration = Duration::from_secs(5);

/// Between two looks at the counter of refused loads, which only tells whether bad changes are refused.
const POLL: Duration = Duration::from_millis(50);

pub fn run(args: &Args) -> Result<()> {
    if args.prepare {
        Folder::prepare(&args.policy)?;
        return Ok(());
    }
    let runtime = tokio::runtime::Runtime::new().context("cannot start the async runtime")?;
    let (seen, changes) = runtime.block_on(play(args))?;
    let rows = figures::rows(&seen, &changes);
    tollgate_report::write(&args.report, &rows)?;
    tollgate_report::print(&mut std::io::stdout().lock(), &rows)?;
    println!("{}", args.report.display());
    if rows.iter().any(tollgate_report::Row::is_missed) {
        bail!("not every goal was reached");
    }
    Ok(())
}

/// What the feeder, the lanes and whoever makes changes share.
#[derive(Default)]
struct Shared {
    seen: Mutex<Seen>,
    phase: AtomicU8,
    ended: AtomicBool,
}

type Due = (Instant, Phase, v1::Transaction);

async fn play(args: &Args) -> Result<(Seen, Changes)> {
    let client = Client::connect(&args.grpc, args.connections, DEADLINE).await?;
    let transactions = transactions(args);
    let shared = Arc::new(Shared::default());
    shared.set(Phase::Between);
    let lanes = Lanes::start(args.in_flight, |lane, queue| {
        run_lane(lane, queue, client.clone(), Arc::clone(&shared))
    });
    let mut pace = Pace::new(Instant::now(), args.rate, Arrivals::Poisson, args.seed);
    let feeding = Arc::clone(&shared);
    let feed = lanes.feed(move |queues| {
        for transaction in rounds(&transactions) {
            if feeding.ended.load(Ordering::Relaxed) {
                return;
            }
            let due = pace.sleep_until_next();
            let card = transaction.card_id.clone();
            if !queues.send(&card, (due, feeding.phase(), transaction)) {
                return;
            }
        }
    });
    let change = async {
        let changes = take_turns(args, &shared).await;
        shared.ended.store(true, Ordering::Relaxed);
        changes
    };
    let (fed, changes) = tokio::join!(feed, change);
    fed?;
    let seen = std::mem::take(&mut *lock(&shared.seen));
    Ok((seen, changes?))
}

/// Phases with changes and phases without, equally long.
async fn take_turns(args: &Args, shared: &Shared) -> Result<Changes> {
    let folder = Folder::open(&args.policy);
    let admin = Admin::new(args.admin.clone());
    let mut changes = Changes {
        made: 0,
        refused: (0, 0),
        live_ms: Vec::new(),
    };
    sleep(WARM_UP).await;
    let turns = args.turns.max(1);
    for turn in 0..turns {
        let last = args.changes * (turn + 1) / turns;
        let began = Instant::now();
        shared.set(Phase::Changing);
        while changes.made < last {
            let next = Instant::now() + Duration::from_millis(args.every_ms);
            change(&folder, &admin, shared, &mut changes).await?;
            sleep_until(next).await;
        }
        let took = began.elapsed();
        shared.set(Phase::Between);
        sleep(PAUSE).await;
        shared.set(Phase::Still);
        sleep(took).await;
        shared.set(Phase::Between);
        sleep(PAUSE).await;
    }
    Ok(changes)
}

/// Makes the next change and waits until it decides or is refused.
async fn change(
    folder: &Folder,
    admin: &Admin,
    shared: &Shared,
    changes: &mut Changes,
) -> Result<()> {
    let number = changes.made;
    let kind = Change::of(number);
    changes.made += 1;
    let refused = "tollgate_policy_loads_total{result=\"refused\"}";
    let refused_before = admin.sum(refused).await?;
    // Half-written files take their time, on a thread that may block.
    let root = Folder::clone(folder);
    tokio::task::spawn_blocking(move || root.change(kind, number))
        .await
        .context("a change panicked")??;
    let saved = Instant::now();
    if kind == Change::Bad {
        changes.refused.1 += 1;
        while saved.elapsed() < PATIENCE {
            if admin.sum(refused).await? > refused_before {
                changes.refused.0 += 1;
                break;
            }
            sleep(POLL).await;
        }
        return Ok(());
    }
    let live_at = loop {
        let live_at = lock(&shared.seen).live_at.get(&number).copied();
        if live_at.is_some() || saved.elapsed() > PATIENCE {
            break live_at;
        }
        sleep(POLL).await;
    };
    let took = live_at.map(|at| at.saturating_duration_since(saved));
    changes
        .live_ms
        .push(took.map(|took| took.as_secs_f64() * 1_000.0));
    Ok(())
}

impl Shared {
    fn set(&self, phase: Phase) {
        self.phase.store(phase as u8, Ordering::Relaxed);
    }

    fn phase(&self) -> Phase {
        let phase = self.phase.load(Ordering::Relaxed);
        [Phase::Changing, Phase::Still]
            .into_iter()
            .find(|known| *known as u8 == phase)
            .unwrap_or(Phase::Between)
    }
}

fn transactions(args: &Args) -> Vec<v1::Transaction> {
    let config = Config::new(args.cards, u32::MAX, args.seed);
    let only = |event| match event {
        Event::Transaction(generated) => generated.event.transaction,
        Event::Label(_) => None,
    };
    Generator::new(config)
        .filter_map(only)
        .take(TRANSACTIONS)
        .collect()
}

/// The transactions again and again, each round later than the one before by as long as one lasts.
fn rounds(transactions: &[v1::Transaction]) -> impl Iterator<Item = v1::Transaction> + '_ {
    let seconds = |transaction: Option<&v1::Transaction>| {
        transaction
            .and_then(|transaction| transaction.event_time)
            .map_or(0, |at| at.seconds)
    };
    let lasts = seconds(transactions.last()) - seconds(transactions.first()) + 1;
    (0..).flat_map(move |round: i64| {
        transactions.iter().map(move |transaction| {
            let mut transaction = transaction.clone();
            transaction.transaction_id += &format!("-{round}");
            if let Some(at) = &mut transaction.event_time {
                at.seconds += round * lasts;
            }
            transaction
        })
    })
}

async fn run_lane(
    lane: usize,
    mut queue: mpsc::Receiver<Due>,
    client: Client,
    shared: Arc<Shared>,
) -> Result<()> {
    while let Some((due, phase, transaction)) = queue.recv().await {
        let request = v1::ScoreRequest {
            transaction: Some(transaction),
            include_features: false,
        };
        let answer = client.score(lane, due, request).await;
        lock(&shared.seen).note(phase, &answer);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rounds_repeat_nothing_and_time_goes_on() {
        let transaction = |id: &str, seconds| v1::Transaction {
            transaction_id: id.to_owned(),
            event_time: Some(prost_types::Timestamp { seconds, nanos: 0 }),
            ..v1::Transaction::default()
        };
        let once = [transaction("a", 100), transaction("b", 109)];
        let shown: Vec<_> = rounds(&once)
            .take(5)
            .map(|transaction| {
                let at = transaction.event_time.unwrap().seconds;
                format!("{} {at}", transaction.transaction_id)
            })
            .collect();
        assert_eq!(
            shown,
            ["a-0 100", "b-0 109", "a-1 110", "b-1 119", "a-2 120"]
        );
    }
}
