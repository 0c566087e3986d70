//! Scenarios 4, 5 and 11: Kafka gone and back, a flood of events, and snapshots of what they have filled.

use std::sync::{Arc, Mutex, mpsc};
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use rdkafka::ClientConfig;
use rdkafka::error::KafkaError;
use rdkafka::mocking::MockCluster;
use rdkafka::producer::{BaseProducer, DefaultProducerContext, Producer as _};
use tokio::sync::oneshot;
use tokio::time::{Instant, sleep, sleep_until};
use tollgate_report::{Goal, Row};

use super::drive::{Client, Noted, Plan};
use super::service::Service;
use super::wire::Reply;
use super::{Stage, Story};
use crate::figures::{count, figure};
use crate::kafka::{Decisions, Publisher};
use crate::lock;

const CONNECTIONS: usize = 4;
const DEADLINE: Duration = Duration::from_millis(100);

/// The broker keeps some 5 MB per partition: with so many, what is decided in a minute fits.
const PARTITIONS: i32 = 24;

/// A broker in this process, which outlives the service; it ends when this is dropped.
pub(super) struct Broker {
    pub(super) bootstrap: String,
    orders: Option<mpsc::SyncSender<Given>>,
    thread: Option<JoinHandle<()>>,
}

enum Order {
    Down,
    Up,
}

/// An order, and where it is said what became of it.
type Given = (Order, oneshot::Sender<Result<(), KafkaError>>);

impl Broker {
    pub(super) fn start() -> Result<Self> {
        let (started, wait_started) = mpsc::sync_channel(1);
        // One order at a time, and nobody gives the next before it is carried out.
        let (orders, given) = mpsc::sync_channel::<Given>(1);
        // The cluster cannot leave the thread that made it.
        let thread = std::thread::Builder::new()
            .name("broker".to_owned())
            .spawn(move || match cluster() {
                Ok(cluster) => {
                    let _ = started.send(Ok(cluster.bootstrap_servers()));
                    for (order, tell) in given {
                        let done = match order {
                            Order::Down => cluster.broker_down(1),
                            Order::Up => cluster.broker_up(1),
                        };
                        let _ = tell.send(done);
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

    /// Returns once it is carried out.
    async fn order(&self, order: Order) -> Result<()> {
        let orders = self.orders.as_ref().context("the broker has ended")?;
        let (tell, told) = oneshot::channel();
        let sent = orders.send((order, tell));
        sent.ok().context("the broker's thread ended")?;
        let done = told.await.context("the broker's thread ended")?;
        done.context("the broker does not obey")
    }

    /// Waits until nobody answers there any more.
    async fn wait_until_away(&self) -> Result<()> {
        let began = Instant::now();
        loop {
            let producer: BaseProducer = ClientConfig::new()
                .set("bootstrap.servers", &self.bootstrap)
                .create()?;
            let asking = move || producer.client().fetch_metadata(None, ANSWER_MAX).is_err();
            if tokio::task::spawn_blocking(asking).await? {
                return Ok(());
            }
            if began.elapsed() > GONE_MAX {
                bail!("the broker is down and still answers after {GONE_MAX:?}");
            }
            sleep(POLL).await;
        }
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

/// How long Kafka is away, and how long at least: ingest says that it is behind once it has heard nothing for ten seconds.
const AWAY_S: u64 = 60;
const AWAY_MIN: Duration = Duration::from_secs(20);

/// Histories are stale after this, so that an ingest that says it is behind shows within the minute.
const STALE_AFTER_S: &str = "10";

/// The cause of answers from stale histories.
const LAGGING: &str = "features_lagging";

/// How long answers are looked at in the end, and what goes before: all is applied, and everybody has noticed.
const END: Duration = Duration::from_secs(3);
const NOTICED: Duration = Duration::from_secs(2);

/// Within this a broker says which topics there are, or is away; and it is away within this after it was told to go.
const ANSWER_MAX: Duration = Duration::from_secs(1);
const GONE_MAX: Duration = Duration::from_secs(10);

const POLL: Duration = Duration::from_millis(50);

/// What time of the scenario it is.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
enum Time {
    #[default]
    Other,
    Away,
    End,
}

/// Answers from histories that are too old, while Kafka is away and in the end.
#[derive(Default)]
struct Lagging {
    time: Time,
    away: u64,
    end: u64,
}

impl Lagging {
    fn note(&mut self, noted: &Noted<'_>) {
        let Reply::Answer(response, _) = noted.reply else {
            return;
        };
        let mut causes = response.degradation_causes.iter();
        let is_lagging = u64::from(causes.any(|cause| cause == LAGGING));
        match self.time {
            Time::Away => self.away += is_lagging,
            Time::End => self.end += is_lagging,
            Time::Other => {}
        }
    }
}

/// Scenario 4.
pub(super) async fn gone(stage: &Stage<'_>) -> Result<Story> {
    let broker = Broker::start()?;
    let variables = [
        ("TOLLGATE_KAFKA__BOOTSTRAP", broker.bootstrap.as_str()),
        ("TOLLGATE_FEATURES__STALE_AFTER_S", STALE_AFTER_S),
        // One record per answer is what is waited for in the end.
        ("TOLLGATE_LATE_VERDICT__ENABLED", "false"),
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
    let lagging = Arc::new(Mutex::new(Lagging::default()));
    let noting = Arc::clone(&lagging);
    let note = move |noted: &Noted<'_>| lock(&noting).note(noted);
    let away = stage.seconds(AWAY_S).max(AWAY_MIN);
    let course = go_and_return(away, &broker, (&publisher, &client), &lagging);
    let (seen, applied) = client.drive(plan, note, course).await?;
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
    let (lagging_away, lagging_end) = {
        let lagging = lock(&lagging);
        (lagging.away, lagging.end)
    };
    Ok(Story {
        late: service.late().await?,
        deadline: DEADLINE,
        offered_per_s: RATE,
        rows: vec![
            figure("applied_again", "s", applied.map(|span| span.as_secs_f64()))
                .goal(Goal::AtMost(30.0)),
            Row::new("lagging.away", "answers", count(lagging_away)).goal(Goal::AtLeast(1.0)),
            Row::new("lagging.end", "answers", count(lagging_end)).goal(Goal::AtMost(0.0)),
            Row::new("records.missing", "count", count(missing)).goal(Goal::AtMost(0.0)),
            Row::new("records.twice", "count", count(twice)).goal(Goal::AtMost(0.0)),
            Row::new(
                "records.dropped",
                "count",
                count(service.admin.sum(dropped).await?),
            ),
        ],
        note: format!("Kafka was away for {} s", away.as_secs()),
        seen,
    })
}

/// Kafka has events, goes, comes back and has more. Returns how soon after its return all of them were applied.
async fn go_and_return(
    away: Duration,
    broker: &Broker,
    (publisher, client): (&Publisher, &Client),
    lagging: &Mutex<Lagging>,
) -> Result<Duration> {
    let mut events = 0..;
    publish(publisher, client, &mut events, EVENTS).await?;
    publisher.wait_applied().await?;
    broker.order(Order::Down).await?;
    broker.wait_until_away().await?;
    lock(lagging).time = Time::Away;
    sleep(away).await;
    lock(lagging).time = Time::Other;
    broker.order(Order::Up).await?;
    let back = Instant::now();
    publish(publisher, client, &mut events, EVENTS).await?;
    publisher.wait_applied().await?;
    let applied = back.elapsed();
    sleep(NOTICED).await;
    lock(lagging).time = Time::End;
    sleep(END).await;
    Ok(applied)
}

/// Publishes the events of the next so many numbers.
pub(super) async fn publish(
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

/// Events on their way at most: over all partitions a twentieth of what the broker keeps. With fewer the rate would be bounded by how
/// often the service is asked how many it has applied.
const FLOOD_AHEAD_MAX: u64 = 20_000;

/// With less it is no flood.
const FLOOD_RATE_MIN: f64 = 50_000.0;

/// Share of the wanted rate with which it counts as reached: the last events are waited for.
const FLOOD_REACHED: f64 = 0.95;

/// What became of events, and of those that could not be read: none of the flood may be among them.
const RESULTS: &str = "tollgate_ingest_results_total";
const DEAD_LETTERS: &str = "tollgate_ingest_results_total{result=\"dead_letter\"}";

/// Scenario 5. Broker, producer and service share the machine, which may be too small for the rate that is wanted.
pub(super) async fn flooded(stage: &Stage<'_>) -> Result<Story> {
    let partitions = PARTITIONS.to_string();
    let variables = [("TOLLGATE_KAFKA__EMBEDDED_PARTITIONS", partitions.as_str())];
    let service = Service::start(stage, None, &variables).await?;
    let publisher = Publisher::connect_ahead(&service.targets(), FLOOD_AHEAD_MAX).await?;
    let client = service.client(stage, CONNECTIONS).await?;
    let plan = Plan {
        rate: RATE,
        deadline: DEADLINE,
    };
    client.drive_for(plan, Duration::from_secs(2)).await?;
    let course = flood(&publisher, &client, stage.seconds(15));
    let (seen, flooded) = client.drive(plan, |_| {}, course).await?;
    let (published, took) = flooded?;
    let rate = count(published) / took.as_secs_f64();
    let of_wanted = rate / count(FLOOD_RATE);
    // A quick run shows that it works.
    let goal = |row: Row, goal| {
        if stage.setting.quick {
            row
        } else {
            row.goal(goal)
        }
    };
    let applied = service.admin.sum(RESULTS).await? - service.admin.sum(DEAD_LETTERS).await?;
    Ok(Story {
        seen,
        late: service.late().await?,
        deadline: DEADLINE,
        offered_per_s: RATE,
        rows: vec![
            Row::new("events", "count", count(published)).goal(Goal::AtLeast(1.0)),
            goal(
                Row::new("events.rate", "1/s", rate),
                Goal::AtLeast(FLOOD_RATE_MIN),
            ),
            goal(
                Row::new("events.of_wanted", "share", of_wanted),
                Goal::AtLeast(FLOOD_REACHED),
            ),
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

#[cfg(test)]
mod tests {
    use tollgate_proto::v1::ScoreResponse;

    use super::*;

    #[test]
    fn answers_from_old_histories_count_at_their_time_and_others_do_not() {
        let mut lagging = Lagging::default();
        let mut note = |time, cause: &str| {
            lagging.time = time;
            let response = ScoreResponse {
                degradation_causes: vec![cause.to_owned()],
                ..ScoreResponse::default()
            };
            lagging.note(&Noted {
                due: Instant::now(),
                reply: &Reply::Answer(response, bytes::Bytes::new()),
            });
            (lagging.away, lagging.end)
        };
        assert_eq!(note(Time::Other, LAGGING), (0, 0));
        assert_eq!(note(Time::Away, "overload"), (0, 0));
        assert_eq!(note(Time::Away, LAGGING), (1, 0));
        assert_eq!(note(Time::End, LAGGING), (1, 1));
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_broker_that_is_told_to_go_is_away_and_comes_back() {
        let broker = Broker::start().unwrap();
        broker.order(Order::Down).await.unwrap();
        broker.wait_until_away().await.unwrap();
        broker.order(Order::Up).await.unwrap();
        let producer: BaseProducer = ClientConfig::new()
            .set("bootstrap.servers", &broker.bootstrap)
            .create()
            .unwrap();
        let asking = move || {
            let patience = Duration::from_secs(60);
            let answered = producer.client().fetch_metadata(None, patience);
            answered.is_ok()
        };
        assert!(tokio::task::spawn_blocking(asking).await.unwrap());
    }
}
