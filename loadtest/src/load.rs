//! `tollgate-loadtest load`: scoring at a fixed rate, open loop, nothing but gRPC.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use anyhow::{Context, Result};
use serde::Serialize;
use tokio::sync::mpsc;
use tokio::time::Instant;
use tollgate_proto::v1;

use crate::generate::{Config, Event, Generator};
use crate::lock;
use crate::output::{show_counts, show_latency, write_report};
use crate::score::{Arrivals, Client, DEADLINE, Lanes, Pace, Tally};

/// Scores at a fixed rate, open loop, and reports latencies.
#[derive(clap::Args, Debug)]
pub struct Args {
    /// Where the service answers gRPC.
    #[arg(long)]
    grpc: String,
    /// Requests per second.
    #[arg(long, default_value_t = 1_000.0)]
    rate: f64,
    /// How many requests.
    #[arg(long, default_value_t = 30_000)]
    requests: usize,
    /// How requests are spread over time.
    #[arg(long, value_enum, default_value_t = Arrivals::Poisson)]
    arrivals: Arrivals,
    /// gRPC connections.
    #[arg(long, default_value_t = 4)]
    connections: usize,
    /// At most this many requests in flight; a request that must wait for a place waits on the clock.
    #[arg(long, default_value_t = 1_024)]
    in_flight: usize,
    /// How many cards pay.
    #[arg(long, default_value_t = 10_000)]
    cards: u32,
    /// The same seed gives the same transactions, under other ids in every run.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Where to write the numbers, as JSON.
    #[arg(long)]
    report: Option<PathBuf>,
}

#[derive(Serialize)]
struct Report<'a> {
    rate: f64,
    rate_reached: f64,
    requests: u64,
    answered: u64,
    late: u64,
    latency_us_p50: u64,
    latency_us_p99: u64,
    latency_us_p999: u64,
    latency_us_max: u64,
    degraded: &'a BTreeMap<&'static str, u64>,
    errors: &'a BTreeMap<&'static str, u64>,
}

pub fn run(args: &Args) -> Result<()> {
    let runtime = tokio::runtime::Runtime::new().context("cannot start the async runtime")?;
    let (tally, seconds) = runtime.block_on(play(args, DEADLINE))?;
    #[expect(clippy::cast_precision_loss, reason = "counts are far below 2^53")]
    let rate_reached = tally.ended() as f64 / seconds;
    let report = Report {
        rate: args.rate,
        rate_reached,
        requests: tally.ended(),
        answered: tally.answered,
        late: tally.late,
        latency_us_p50: tally.latency_us(0.5),
        latency_us_p99: tally.latency_us(0.99),
        latency_us_p999: tally.latency_us(0.999),
        latency_us_max: tally.latency_us_max(),
        degraded: &tally.degraded,
        errors: &tally.errors,
    };
    println!(
        "{} requests at {rate_reached:.0}/s: p50 {} · p99 {} · p99.9 {} · max {}",
        report.requests,
        show_latency(report.latency_us_p50),
        show_latency(report.latency_us_p99),
        show_latency(report.latency_us_p999),
        show_latency(report.latency_us_max)
    );
    println!(
        "late {} · errors: {} · degraded: {}",
        report.late,
        show_counts(report.errors),
        show_counts(report.degraded)
    );
    match &args.report {
        Some(path) => write_report(path, &report),
        None => Ok(()),
    }
}

type Due = (Instant, v1::Transaction);

/// Plays the load and returns what came back and how many seconds it took.
async fn play(args: &Args, deadline: Duration) -> Result<(Tally, f64)> {
    let client = Client::connect(&args.grpc, args.connections, deadline).await?;
    let transactions = transactions(args);
    let tally = Arc::new(Mutex::new(Tally::default()));
    let lanes = Lanes::start(args.in_flight, |lane, queue| {
        run_lane(lane, queue, client.clone(), Arc::clone(&tally))
    });
    let started = Instant::now();
    let mut pace = Pace::new(started, args.rate, args.arrivals, args.seed);
    lanes
        .feed(move |queues| {
            for mut transaction in transactions {
                // Another run is no retry of this one, which would be answered without being decided.
                transaction.transaction_id += &format!("-{}", std::process::id());
                let due = pace.sleep_until_next();
                let card = transaction.card_id.clone();
                if !queues.send(&card, (due, transaction)) {
                    return;
                }
            }
        })
        .await?;
    let tally = std::mem::take(&mut *lock(&tally));
    Ok((tally, started.elapsed().as_secs_f64()))
}

/// Made before the clock starts, so that generating never holds a request back.
fn transactions(args: &Args) -> Vec<v1::Transaction> {
    let config = Config::new(args.cards, u32::MAX, args.seed);
    let only = |event| match event {
        Event::Transaction(generated) => generated.event.transaction,
        Event::Label(_) => None,
    };
    Generator::new(config)
        .filter_map(only)
        .take(args.requests)
        .collect()
}

async fn run_lane(
    lane: usize,
    mut queue: mpsc::Receiver<Due>,
    client: Client,
    tally: Arc<Mutex<Tally>>,
) -> Result<()> {
    while let Some((due, transaction)) = queue.recv().await {
        let request = v1::ScoreRequest {
            transaction: Some(transaction),
            include_features: false,
        };
        let answer = client.score(lane, due, request).await;
        lock(&tally).count(&answer);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::score::fake;

    #[tokio::test(flavor = "multi_thread")]
    async fn every_request_is_sent_once_and_counted() {
        let service = fake::start().await;
        let args = Args {
            grpc: service.address.clone(),
            rate: 2_000.0,
            requests: 300,
            arrivals: Arrivals::Constant,
            connections: 2,
            in_flight: 64,
            cards: 200,
            seed: 1,
            report: None,
        };
        let (tally, _) = play(&args, fake::PATIENCE).await.unwrap();
        assert_eq!((tally.answered, tally.ended()), (300, 300));
        let mut ids = service.ids();
        ids.sort_unstable();
        ids.dedup();
        assert_eq!(ids.len(), 300);
    }
}
