//! `tollgate-loadtest load`: scoring at a fixed rate, open loop, nothing but gRPC.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::{Context, Result};
use serde::Serialize;
use tokio::sync::mpsc;
use tokio::time::Instant;
use tollgate_proto::v1;

use crate::generate::{Config, Event, Generator};
use crate::report::write_json;
use crate::score::{Arrivals, Client, DEADLINE, Lanes, Pace, Tally, lane_of, show};

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
    /// The same seed gives the same transactions.
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
    degraded: &'a std::collections::BTreeMap<&'static str, u64>,
    errors: &'a std::collections::BTreeMap<String, u64>,
}

pub fn run(args: &Args) -> Result<()> {
    let runtime = tokio::runtime::Runtime::new().context("cannot start the async runtime")?;
    let (tally, seconds) = runtime.block_on(play(args))?;
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
        "{} requests at {rate_reached:.0}/s: p50 {} · p99 {} · p99.9 {} · max {} · late {} · errors {:?} · degraded {:?}",
        report.requests,
        show(report.latency_us_p50),
        show(report.latency_us_p99),
        show(report.latency_us_p999),
        show(report.latency_us_max),
        report.late,
        report.errors,
        report.degraded
    );
    args.report
        .as_ref()
        .map_or(Ok(()), |path| write_json(path, &report))
}

type Due = (Instant, v1::Transaction);

/// Plays the load and returns what came back and how many seconds it took.
async fn play(args: &Args) -> Result<(Tally, f64)> {
    let client = Client::connect(&args.grpc, args.connections, DEADLINE).await?;
    let transactions = transactions(args);
    let tally = Arc::new(Mutex::new(Tally::default()));
    let lanes = Lanes::start(args.in_flight, |lane, queue| {
        run_lane(lane, queue, client.clone(), Arc::clone(&tally))
    });
    let queues = lanes.queues();
    let started = Instant::now();
    let mut pace = Pace::new(started, args.rate, args.arrivals, args.seed);
    let pacer = tokio::task::spawn_blocking(move || {
        for transaction in transactions {
            let due = pace.sleep_until_next();
            let lane = lane_of(&transaction.card_id, queues.len());
            if queues[lane].blocking_send((due, transaction)).is_err() {
                return;
            }
        }
    });
    lanes.finish().await?;
    pacer.await.context("the pacer panicked")?;
    let tally = std::mem::take(&mut *tally.lock().unwrap_or_else(PoisonError::into_inner));
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
        tally
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .count(&answer);
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
        let (tally, seconds) = play(&args).await.unwrap();
        assert_eq!((tally.answered, tally.ended()), (300, 300));
        assert!(
            seconds >= 0.15,
            "300 requests at 2,000/s cannot take {seconds} s"
        );
        let mut ids = service.ids();
        ids.sort_unstable();
        ids.dedup();
        assert_eq!(ids.len(), 300);
    }
}
