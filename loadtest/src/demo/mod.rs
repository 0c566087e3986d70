//! `tollgate-loadtest demo`: some weeks of history through Kafka, some days of live traffic through gRPC, and
//! what came of it.

mod findings;
mod live;
mod print;
mod report;

use std::collections::HashMap;
use std::iter::Peekable;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use tokio::time::Instant;
use tollgate_types::EventTime;

use crate::generate::{Config, Event, Generator};
use crate::kafka::{Decisions, Publisher, Targets};
use crate::progress::Progress;
use crate::score::{Arrivals, Client, DEADLINE};
use live::{Live, Seen};
use report::{DecisionLog, Report, Run};

/// Feeds history through Kafka, scores live traffic through gRPC, reports outcomes and latencies.
#[derive(clap::Args, Debug)]
pub struct Args {
    #[command(flatten)]
    targets: Targets,
    /// How many cards pay.
    #[arg(long, default_value_t = 10_000)]
    cards: u32,
    /// Days that are fed through Kafka first.
    #[arg(long, default_value_t = 30)]
    history_days: u32,
    /// Days after these whose transactions are scored.
    #[arg(long, default_value_t = 3)]
    live_days: u32,
    /// Scored transactions per second.
    #[arg(long, default_value_t = 1_000.0)]
    rate: f64,
    /// How requests are spread over time.
    #[arg(long, value_enum, default_value_t = Arrivals::Poisson)]
    arrivals: Arrivals,
    /// The same seed gives the same transactions.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// gRPC connections.
    #[arg(long, default_value_t = 4)]
    connections: usize,
    /// Where to write what happened, as JSON.
    #[arg(long, default_value = "target/reports/demo.json")]
    report: PathBuf,
}

/// How long the last decision records may take.
const DECISIONS_PATIENCE: Duration = Duration::from_secs(10);

/// Decision records by transaction.
type Records = Arc<Mutex<HashMap<String, u32>>>;

pub fn run(args: &Args) -> Result<()> {
    let runtime = tokio::runtime::Runtime::new().context("cannot start the async runtime")?;
    let report = runtime.block_on(play(args))?;
    report.print();
    report.write(&args.report)?;
    report.check()
}

async fn play(args: &Args) -> Result<Report> {
    let config = Config::new(args.cards, args.history_days + args.live_days, args.seed);
    let mut events = Generator::new(config).peekable();
    let publisher = Arc::new(Publisher::connect(&args.targets).await?);
    let client = Client::connect(&args.targets.grpc, args.connections, DEADLINE).await?;
    let started = Instant::now();
    let live_from = config.midnight(args.history_days);
    feed_history(&config, &mut events, live_from, &publisher).await?;
    let history = publisher.published();
    let history_s = started.elapsed().as_secs_f64();

    let records = Records::default();
    let mut decisions = follow(&args.targets, &records)?;
    let end = config.midnight(args.history_days + args.live_days);
    let live: Vec<Event> = events.take_while(|event| event.at() < end).collect();
    if !live
        .iter()
        .any(|event| matches!(event, Event::Transaction(_)))
    {
        bail!("nothing to score: give --live-days and --cards at least 1");
    }
    let started = Instant::now();
    let stage = Live::new(client, Arc::clone(&publisher));
    let seen = stage
        .play(live, args.rate, args.arrivals, args.seed)
        .await?;
    let live_s = started.elapsed().as_secs_f64();
    publisher.wait_applied().await?;
    let decision_log = check_decisions(&seen, &records, &mut decisions).await;
    let published = publisher.published();
    let (rate, seed) = (args.rate, args.seed);
    let run = Run {
        rate,
        seed,
        history,
        history_s,
        live_s,
        published,
    };
    Ok(Report::new(&run, seen, decision_log))
}

/// Publishes everything before `until`. Progress is counted in event time, since nobody knows how many events
/// there will be.
async fn feed_history(
    config: &Config,
    events: &mut Peekable<Generator>,
    until: EventTime,
    publisher: &Publisher,
) -> Result<()> {
    let seconds = |to: EventTime| to.since(config.start).micros().unsigned_abs() / 1_000_000;
    let mut progress = Progress::new("history", seconds(until));
    while let Some(event) = events.next_if(|event| event.at() < until) {
        progress.set(seconds(event.at()));
        match event {
            Event::Transaction(generated) => publisher.transaction(&generated.event).await?,
            Event::Label(known) => publisher.label(&known.card_id, &known.label).await?,
        }
    }
    publisher.wait_applied().await?;
    progress.finish();
    Ok(())
}

fn follow(targets: &Targets, records: &Records) -> Result<Decisions> {
    let sink = Arc::clone(records);
    Decisions::follow(&targets.kafka, &targets.decisions_topic, move |record| {
        let id = record.response.unwrap_or_default().transaction_id;
        *sink
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .entry(id)
            .or_default() += 1;
    })
}

/// Every answer has exactly one record. A request that ended without an answer may have one as well: the
/// service may have decided too late.
async fn check_decisions(seen: &Seen, records: &Records, decisions: &mut Decisions) -> DecisionLog {
    let all_there =
        || records.lock().unwrap_or_else(PoisonError::into_inner).len() >= seen.answered.len();
    // Whether they came is counted below; patience only bounds the wait.
    let _all_came = decisions.wait_until(DECISIONS_PATIENCE, all_there).await;
    let records = records.lock().unwrap_or_else(PoisonError::into_inner);
    DecisionLog::new(&seen.answered, &records)
}

#[cfg(test)]
mod tests;
