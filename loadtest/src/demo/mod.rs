//! `tollgate-loadtest demo`: some weeks of history through Kafka, some days of live traffic through gRPC, and
//! what came of it.

mod findings;
mod live;
mod report;
mod summary;

use std::iter::Peekable;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use tokio::time::Instant;
use tollgate_types::EventTime;

use crate::generate::{Config, Event, Generator, midnight};
use crate::kafka::{Decisions, Publisher, Targets};
use crate::output::write_report;
use crate::progress::Progress;
use crate::score::{Arrivals, Client, DEADLINE};
use live::Live;
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

pub fn run(args: &Args) -> Result<()> {
    let runtime = tokio::runtime::Runtime::new().context("cannot start the async runtime")?;
    let report = runtime.block_on(play(args, DEADLINE))?;
    println!("\n{report}");
    write_report(&args.report, &report)?;
    report.check()
}

async fn play(args: &Args, deadline: Duration) -> Result<Report> {
    let days = args.history_days + args.live_days;
    let mut events = Generator::new(Config::new(args.cards, days, args.seed)).peekable();
    let publisher = Arc::new(Publisher::connect(&args.targets).await?);
    let client = Client::connect(&args.targets.grpc, args.connections, deadline).await?;
    let started = Instant::now();
    feed_history(&mut events, midnight(args.history_days), &publisher).await?;
    let history = publisher.published();
    let history_s = started.elapsed().as_secs_f64();

    let mut decisions = Decisions::follow(&args.targets)?;
    let end = midnight(days);
    let live: Vec<Event> = events.take_while(|event| event.at() < end).collect();
    if !live.iter().any(Event::is_transaction) {
        bail!("nothing to score: give --live-days and --cards at least 1");
    }
    let started = Instant::now();
    let stage = Live::new(client, Arc::clone(&publisher));
    let seen = stage
        .play(live, args.rate, args.arrivals, args.seed)
        .await?;
    let duration_s = started.elapsed().as_secs_f64();
    publisher.wait_applied().await?;
    decisions.wait_for(seen.answered.len()).await;
    decisions.wait_until_quiet().await;
    let decision_log = DecisionLog::new(&seen.answered, &decisions.take());
    let run = Run {
        history,
        history_s,
        published: publisher.published(),
        duration_s,
        seed: args.seed,
        rate: args.rate,
    };
    Ok(Report::new(run, seen, decision_log))
}

/// Publishes everything before `until`. Progress is counted in event time, since nobody knows how many events
/// there will be.
async fn feed_history(
    events: &mut Peekable<Generator>,
    until: EventTime,
    publisher: &Publisher,
) -> Result<()> {
    let seconds = |to: EventTime| to.since(midnight(0)).micros().unsigned_abs() / 1_000_000;
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

#[cfg(test)]
mod tests;
