//! Scenarios 4, 5 and 11: Kafka gone and back, a flood of events, and snapshots of what they have filled.

use std::sync::mpsc;
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::{Context, Result};
use rdkafka::error::KafkaError;
use rdkafka::mocking::MockCluster;
use rdkafka::producer::DefaultProducerContext;
use tokio::time::{Instant, sleep, sleep_until};
use tollgate_report::{Goal, Row};

use super::drive::{Client, Plan};
use super::service::Service;
use super::{Stage, Story};
use crate::figures::{count, figure};
use crate::kafka::{Decisions, Publisher};

const CONNECTIONS: usize = 4;
const DEADLINE: Duration = Duration::from_millis(100);

/// The broker keeps some 5 MB per partition: with so many, what is decided in a minute fits.
const PARTITIONS: i32 = 24;

/// A broker in this process, which outlives the service; it ends when this is dropped.
pub(super) struct Broker {
    pub(super) bootstrap: String,
    orders: Option<mpsc::SyncSender<Order>>,
    thread: Option<JoinHandle<()>>,
}

enum Order {
    Down,
    Up,
}

impl Broker {
    pub(super) fn start() -> Result<Self> {
        let (started, wait_started) = mpsc::sync_channel(1);
        // One order at a time, and nobody gives the next before it is carried out.
        let (orders, given) = mpsc::sync_channel(1);
        // The cluster cannot leave the thread that made it.
        let thread = std::thread::Builder::new()
            .name("broker".to_owned())
            .spawn(move || match cluster() {
                Ok(cluster) => {
                    let _ = started.send(Ok(cluster.bootstrap_servers()));
                    for order in given {
                        let done = match order {
                            Order::Down => cluster.broker_down(1),
                            Order::Up => cluster.broker_up(1),
                        };
                        if let Err(error) = done {
                            eprintln!("the broker does not obey: {error}");
                        }
                    }
                }
                Err(error) => {
                    let _ = started.send(Err(error));
                }
            })?;
        let bootstrap = wait_started.recv().context("the broker's thread ended")??;
        Ok(Self {
            bootstrap,
            orders: Some(orders),
            thread: Some(thread),
        })
    }

    fn order(&self, order: Order) -> Result<()> {
        let orders = self.orders.as_ref().context("the broker has ended")?;
        orders.send(order).context("the broker's thread ended")
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        drop(self.orders.take());
        if let Some(thread) = self.thread.take() {
            let _panicked = thread.join();
        }
    }
}

fn cluster() -> Result<MockCluster<'static, DefaultProducerContext>, KafkaError> {
    let cluster = MockCluster::new(1)?;
    for topic in ["transactions", "labels", "decisions", "dead-letters"] {
        cluster.create_topic(&format!("tollgate.{topic}"), PARTITIONS, 1)?;
    }
    Ok(cluster)
}

const RATE: f64 = 500.0;

/// Events before Kafka goes, and again once it is back.
const EVENTS: u64 = 10_000;

/// How long Kafka is away.
const AWAY_S: u64 = 60;

/// Histories are stale after this, so that an ingest that says it is behind shows within the minute.
const STALE_AFTER_S: &str = "10";

/// Scenario 4.
pub(super) async fn gone(stage: &Stage<'_>) -> Result<Story> {
    let broker = Broker::start()?;
    let variables = [
        ("TOLLGATE_KAFKA__BOOTSTRAP", broker.bootstrap.as_str()),
        ("TOLLGATE_FEATURES__STALE_AFTER_S", STALE_AFTER_S),
    ];
    let service = Service::start(stage, None, &variables).await?;
    let targets = service.targets();
    let publisher = Publisher::connect(&targets).await?;
    let mut decisions = Decisions::follow(&targets)?;
    let client = service.client(stage, CONNECTIONS).await?;
    let plan = Plan {
        rate: RATE,
        deadline: DEADLINE,
    };
    let course = async {
        let mut events = 0..;
        publish(&publisher, &client, &mut events, EVENTS).await?;
        publisher.wait_applied().await?;
        broker.order(Order::Down)?;
        sleep(stage.seconds(AWAY_S)).await;
        broker.order(Order::Up)?;
        let back = Instant::now();
        publish(&publisher, &client, &mut events, EVENTS).await?;
        publisher.wait_applied().await?;
        let applied = back.elapsed();
        sleep(Duration::from_secs(2)).await;
        anyhow::Ok(applied)
    };
    let (seen, applied) = client.drive(plan, |_| {}, course).await?;
    let applied = applied.inspect_err(|error| println!("   {error:#}")).ok();
    let answered = usize::try_from(seen.tally.answered)?;
    decisions.wait_for(answered).await;
    decisions.wait_until_quiet().await;
    let recorded = decisions.take();
    let twice = recorded
        .values()
        .filter(|recorded| recorded.count > 1)
        .count();
    let missing = answered.saturating_sub(recorded.len());
    let dropped = "tollgate_audit_records_total{result=\"dropped\"}";
    Ok(Story {
        late: service.late().await?,
        deadline: DEADLINE,
        offered_per_s: RATE,
        rows: vec![
            figure("applied_again", "s", applied.map(|span| span.as_secs_f64()))
                .goal(Goal::AtMost(30.0)),
            Row::new("records.missing", "count", count(missing)).goal(Goal::AtMost(0.0)),
            Row::new("records.twice", "count", count(twice)).goal(Goal::AtMost(0.0)),
            Row::new(
                "records.dropped",
                "count",
                count(service.admin.sum(dropped).await?),
            ),
        ],
        note: format!("Kafka was away for {} s", stage.seconds(AWAY_S).as_secs()),
        seen,
    })
}

async fn publish(
    publisher: &Publisher,
    client: &Client,
    numbers: &mut impl Iterator<Item = u64>,
    events: u64,
) -> Result<()> {
    for number in numbers.take(usize::try_from(events)?) {
        let (card, event) = client.requests().event(number);
        publisher.encoded_transaction(card, &event).await?;
    }
    Ok(())
}

/// What is to be published a second, and how many at a time.
const FLOOD_RATE: u64 = 300_000;
const FLOOD_BATCH: u64 = 1_500;

/// What became of events, and of those that could not be read: none of the flood may be among them.
const RESULTS: &str = "tollgate_ingest_results_total";
const DEAD_LETTERS: &str = "tollgate_ingest_results_total{result=\"dead_letter\"}";

/// Scenario 5. Broker, producer and service share the machine, so how much is reached is a figure, not a goal.
pub(super) async fn flooded(stage: &Stage<'_>) -> Result<Story> {
    let partitions = PARTITIONS.to_string();
    let variables = [("TOLLGATE_KAFKA__EMBEDDED_PARTITIONS", partitions.as_str())];
    let service = Service::start(stage, None, &variables).await?;
    let publisher = Publisher::connect(&service.targets()).await?;
    let client = service.client(stage, CONNECTIONS).await?;
    let plan = Plan {
        rate: RATE,
        deadline: DEADLINE,
    };
    client.drive_for(plan, Duration::from_secs(2)).await?;
    let course = flood(&publisher, &client, stage.seconds(15));
    let (seen, flooded) = client.drive(plan, |_| {}, course).await?;
    let (published, took) = flooded?;
    let seconds = took.as_secs_f64();
    let applied = service.admin.sum(RESULTS).await? - service.admin.sum(DEAD_LETTERS).await?;
    Ok(Story {
        seen,
        late: service.late().await?,
        deadline: DEADLINE,
        offered_per_s: RATE,
        rows: vec![
            Row::new("events", "count", count(published)).goal(Goal::AtLeast(1.0)),
            Row::new("events.rate", "1/s", count(published) / seconds),
            Row::new("events.applied", "count", count(applied))
                .goal(Goal::AtLeast(count(published))),
        ],
        note: format!(
            "{FLOOD_RATE} events a second were to be published; every one was waited for"
        ),
    })
}

/// Publishes as much as is wanted, or as the service can take, and waits until all is applied.
async fn flood(publisher: &Publisher, client: &Client, lasts: Duration) -> Result<(u64, Duration)> {
    let started = Instant::now();
    let mut numbers = 0..;
    let batch_every = Duration::from_secs(1) / u32::try_from(FLOOD_RATE / FLOOD_BATCH)?;
    let mut next = started;
    while started.elapsed() < lasts {
        publish(publisher, client, &mut numbers, FLOOD_BATCH).await?;
        next += batch_every;
        sleep_until(next).await;
    }
    publisher.wait_applied().await?;
    Ok((publisher.published(), started.elapsed()))
}

/// What the store is filled with before it is written again and again.
const FILL_S: u64 = 10;

const WRITTEN: &str = "tollgate_snapshot_written_total";
const FAILURES: &str = "tollgate_snapshot_failures_total";

/// Scenario 11.
pub(super) async fn snapshots(stage: &Stage<'_>) -> Result<Story> {
    let partitions = PARTITIONS.to_string();
    let folder = stage.folder().join("snapshots");
    let folder = folder.to_str().context("a folder whose name is no text")?;
    let variables = [
        ("TOLLGATE_KAFKA__EMBEDDED_PARTITIONS", partitions.as_str()),
        ("TOLLGATE_SNAPSHOT__PATH", folder),
        ("TOLLGATE_SNAPSHOT__EVERY_S", "1"),
    ];
    let service = Service::start(stage, None, &variables)
        .await
        .context("no snapshot metric: the service takes no `snapshot.path`")?;
    let publisher = Publisher::connect(&service.targets()).await?;
    let client = service.client(stage, CONNECTIONS).await?;
    let (events, _) = flood(&publisher, &client, stage.seconds(FILL_S)).await?;
    let plan = Plan {
        rate: 2.0 * RATE,
        deadline: DEADLINE,
    };
    client.drive_for(plan, Duration::from_secs(2)).await?;
    let before = service.admin.sum(WRITTEN).await?;
    let seen = client.drive_for(plan, stage.seconds(15)).await?;
    let written = service.admin.sum(WRITTEN).await? - before;
    let failures = service.admin.sum(FAILURES).await?;
    let bytes = service.admin.sum("tollgate_snapshot_bytes").await?;
    Ok(Story {
        seen,
        late: service.late().await?,
        deadline: DEADLINE,
        offered_per_s: plan.rate,
        rows: vec![
            Row::new("events", "count", count(events)),
            Row::new("snapshots", "count", count(written)).goal(Goal::AtLeast(1.0)),
            Row::new("snapshots.failed", "count", count(failures)).goal(Goal::AtMost(0.0)),
            Row::new("snapshot.size", "MiB", count(bytes) / 1_048_576.0),
        ],
        note: String::new(),
    })
}
