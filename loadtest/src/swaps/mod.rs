//! `tollgate-loadtest swaps`: the policy is changed again and again under a steady load, open loop.
//!
//! Phases with changes and phases without take turns within one run, so that both meet the same machine in the same
//! hour. What decides whether a change is live, and whether a decision mixes versions, is only what answers say.

pub(crate) mod folder;
mod rows;
mod seen;

use std::path::PathBuf;
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use anyhow::{Context, Result};
use tokio::time::{Instant, sleep, sleep_until};

use crate::figures;
use crate::kafka::Admin;
use crate::lock;
use crate::score::DEADLINE;
use crate::steady::Load;
use folder::{Change, Folder};
use rows::Changes;
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
    /// How many changes.
    #[arg(long, default_value_t = 200)]
    changes: usize,
    /// Milliseconds from one change to the next.
    #[arg(long, default_value_t = 500)]
    every_ms: u64,
    /// How often phases with and without changes take turns.
    #[arg(long, default_value_t = 10)]
    turns: usize,
    #[command(flatten)]
    load: Load,
    #[arg(long, default_value = "target/reports/swaps.json")]
    report: PathBuf,
}

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
    figures::report(&args.report, &rows::rows(&seen, &changes))
}

/// What the load and whoever makes changes share.
#[derive(Default)]
struct Shared {
    seen: Mutex<Seen>,
    phase: AtomicU8,
}

async fn play(args: &Args) -> Result<(Seen, Changes)> {
    let client = args.load.connect(&args.grpc, DEADLINE).await?;
    let shared = Arc::new(Shared::default());
    shared.set(Phase::Between);
    let (marking, noting) = (Arc::clone(&shared), Arc::clone(&shared));
    let changes = args.load.during(
        (client, false),
        move || marking.phase(),
        move |phase, answer| lock(&noting.seen).note(phase, &answer),
        take_turns(args, &shared),
    );
    let changes = changes.await??;
    let seen = std::mem::take(&mut *lock(&shared.seen));
    Ok((seen, changes))
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
    // Nothing may have been refused yet, and then there is no sample with this label.
    let refused_before = admin.sum_if_any(refused).await?;
    // Half-written files take their time, on a thread that may block.
    let root = Folder::clone(folder);
    tokio::task::spawn_blocking(move || root.change(kind, number))
        .await
        .context("a change panicked")??;
    let saved = Instant::now();
    if kind == Change::Bad {
        changes.refused.1 += 1;
        while saved.elapsed() < PATIENCE {
            if admin.sum_if_any(refused).await? > refused_before {
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
