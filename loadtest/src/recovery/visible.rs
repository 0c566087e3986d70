//! Line 4: how long after Kafka has acknowledged an event a score counts it, while many others come in.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use prost::Message as _;
use tokio::time::{Instant, sleep};
use tollgate_proto::v1;
use tollgate_report::{Goal, Row};

use super::Stage;
use super::deliveries::Acknowledged;
use super::log::{Log, Producer, Shape, TRANSACTIONS};
use crate::chaos::requests::Requests;
use crate::figures::count;
use crate::generate;
use crate::score::{Arrivals, Client, DEADLINE, Pace};

/// Events a second besides those that are looked for.
const RATE: f64 = 5_000.0;

/// Events that are looked for, each of a card of its own.
const PROBES: u64 = 1_200;
const PROBES_QUICK: u64 = 50;

/// Between the end of one look and the next event.
const PAUSE: Duration = Duration::from_millis(20);

/// Scores that ask for one event, at most: more than a second.
const LOOKS_MAX: u32 = 5_000;

const PATIENCE: Duration = Duration::from_secs(120);

/// Counts the card's transactions of an hour, the one that is being scored included.
const FEATURE: &str = "card_count_1h";

const SHAPE: Shape = Shape {
    partitions: 12,
    replicas: 1,
};

pub(super) async fn run(stage: &Stage<'_>) -> Result<Vec<Row>> {
    let log = stage.log("visible", SHAPE).await?;
    let service = stage.launch("service", &log, &[])?.start().await?;
    service.wait_until_ready(PATIENCE).await?;
    let client = Client::connect(&service.addresses.grpc, 1, DEADLINE).await?;
    let background = Background::start(log.producer()?)?;
    // Brokers and clients have met by then.
    sleep(Duration::from_secs(2)).await;
    let began = Instant::now();
    let before = background.sent();
    let probes = stage.count(PROBES, PROBES_QUICK);
    let mut took = look(&client, &log, probes).await?;
    let seconds = began.elapsed().as_secs_f64();
    let rate = count(background.sent() - before) / seconds;
    background.finish().await?;
    took.sort_unstable();
    let at = |percent: usize| {
        let at = (took.len() * percent / 100).min(took.len().saturating_sub(1));
        took.get(at).map_or(0.0, |took| 1e3 * took.as_secs_f64())
    };
    Ok(vec![
        Row::new("probes", "count", count(took.len())).goal(Goal::AtLeast(count(probes))),
        Row::new("seconds", "s", seconds),
        Row::new("background", "1/s", rate).goal(Goal::AtLeast(0.98 * RATE)),
        Row::new("p50", "ms", at(50)).goal(Goal::AtMost(5.0)),
        Row::new("p99", "ms", at(99)).goal(Goal::AtMost(25.0)),
        Row::new("max", "ms", at(100)),
    ])
}

/// How long after its acknowledgement each event was counted: until the answer that counted it, so the score is in it.
async fn look(client: &Client, log: &Log, probes: u64) -> Result<Vec<Duration>> {
    let producer = Acknowledged::connect(log)?;
    let topic = log.topic(TRANSACTIONS);
    let template = generate::transactions(1, 1, 1).pop();
    let template = template.context("no transaction is generated")?;
    let mut took = Vec::new();
    for probe in 0..probes {
        let transaction = v1::Transaction {
            card_id: format!("probe-{probe}"),
            transaction_id: format!("probe-{probe}"),
            ..template.clone()
        };
        let event = v1::TransactionEvent {
            transaction: Some(transaction.clone()),
            authorized: true,
        };
        let card = transaction.card_id.clone();
        let value = event.encode_to_vec();
        let delivered = producer.send(&topic, &card, Some(&value)).await?;
        let counted = wait_until_counted(client, &transaction).await?;
        took.push(counted.saturating_duration_since(delivered.at));
        sleep(PAUSE).await;
    }
    Ok(took)
}

/// Scores one transaction of the card after the other. Each is in flight from then on and counts for the next, so what is
/// to be seen is one more than that.
async fn wait_until_counted(client: &Client, event: &v1::Transaction) -> Result<Instant> {
    for looks in 1..=LOOKS_MAX {
        let mut transaction = v1::Transaction {
            transaction_id: format!("{}-{looks}", event.transaction_id),
            ..event.clone()
        };
        // Behind the event, and behind each other.
        if let Some(at) = &mut transaction.event_time {
            at.nanos = i32::try_from(looks)? * 1_000;
            at.seconds += 1;
        }
        let request = v1::ScoreRequest {
            transaction: Some(transaction),
            include_features: true,
        };
        let answer = client.score(0, Instant::now(), request).await;
        let ended = Instant::now();
        let features: BTreeMap<String, f64> = answer.result?.features;
        let counted = features.get(FEATURE).copied();
        let counted = counted.with_context(|| format!("an answer without {FEATURE}"))?;
        let own = f64::from(looks);
        ensure!(
            counted >= own - 0.5 && counted <= own + 1.5,
            "{FEATURE} is {counted} at the {looks}. transaction"
        );
        if counted > own + 0.5 {
            return Ok(ended);
        }
    }
    bail!("an event that Kafka has acknowledged is not counted by {LOOKS_MAX} scores")
}

/// A thread that publishes events at a steady rate, whatever becomes of them.
struct Background {
    ended: Arc<AtomicBool>,
    sent: Arc<AtomicU64>,
    task: tokio::task::JoinHandle<Result<Producer>>,
}

impl Background {
    fn start(producer: Producer) -> Result<Self> {
        let requests = Requests::make(1)?;
        let (ended, sent) = (
            Arc::new(AtomicBool::new(false)),
            Arc::new(AtomicU64::new(0)),
        );
        let (is_over, counting) = (Arc::clone(&ended), Arc::clone(&sent));
        let runtime = tokio::runtime::Handle::current();
        let task = tokio::task::spawn_blocking(move || {
            let mut pace = Pace::new(Instant::now(), RATE, Arrivals::Poisson, 1);
            for number in 0.. {
                if is_over.load(Ordering::Relaxed) {
                    break;
                }
                pace.sleep_until_next();
                let (card, event) = requests.event(number);
                runtime.block_on(producer.transaction(card, &event))?;
                counting.fetch_add(1, Ordering::Relaxed);
            }
            Ok(producer)
        });
        Ok(Self { ended, sent, task })
    }

    fn sent(&self) -> u64 {
        self.sent.load(Ordering::Relaxed)
    }

    /// Ends it once Kafka has everything.
    async fn finish(self) -> Result<()> {
        self.ended.store(true, Ordering::Relaxed);
        self.task
            .await
            .context("the publisher panicked")??
            .flush()
            .await
    }
}
