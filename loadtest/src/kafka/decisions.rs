//! Follows the log of decisions from where it ends now.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use prost::Message as _;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::{ClientConfig, Message as _, Offset, TopicPartitionList};
use tokio::sync::watch;
use tollgate_proto::v1;

use super::Targets;
use crate::lock;

/// How long the broker may take to say where a partition ends.
const BROKER_TIMEOUT: Duration = Duration::from_secs(10);
/// How long no record may arrive while some are due.
const PATIENCE: Duration = Duration::from_secs(20);
/// Without a record for this long, nothing more is on its way: the service writes records within milliseconds.
const QUIET: Duration = Duration::from_millis(500);

/// A thread that keeps what every new decision record says.
pub(crate) struct Decisions {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
    records: Arc<Mutex<Records>>,
    /// Changes after every record.
    arrivals: watch::Receiver<()>,
}

/// What the log said, by transaction id.
type Records = HashMap<String, Recorded>;

/// What the log said about one transaction.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Recorded {
    /// Records of this transaction; one is right.
    pub(crate) count: u32,
    pub(crate) challengers: Vec<v1::ChallengerScore>,
}

impl Decisions {
    /// Follows all partitions by assignment: joining a group would take seconds.
    pub(crate) fn follow(targets: &Targets) -> Result<Self> {
        let topic = &targets.decisions_topic;
        let consumer: BaseConsumer = ClientConfig::new()
            .set("bootstrap.servers", &targets.kafka)
            .set("group.id", "tollgate-loadtest")
            .set("enable.auto.commit", "false")
            .set("enable.auto.offset.store", "false")
            .set("allow.auto.create.topics", "true")
            .set("auto.offset.reset", "earliest")
            .set("fetch.wait.max.ms", "10")
            .create()
            .context("cannot create a Kafka consumer")?;
        assign_ends(&consumer, topic).with_context(|| format!("cannot follow {topic}"))?;
        let stop = Arc::new(AtomicBool::new(false));
        let records = Arc::default();
        let (arrived, arrivals) = watch::channel(());
        let (stopped, sink) = (Arc::clone(&stop), Arc::clone(&records));
        let thread = std::thread::Builder::new()
            .name("decisions".to_owned())
            .spawn(move || consume(&consumer, &stopped, &sink, &arrived))?;
        Ok(Self {
            stop,
            thread: Some(thread),
            records,
            arrivals,
        })
    }

    /// Waits until as many transactions have a record, or until none has come for [`PATIENCE`]: whether all are
    /// there is for the caller to see.
    pub(crate) async fn wait_for(&mut self, transactions: usize) {
        while lock(&self.records).len() < transactions && self.arrives_within(PATIENCE).await {}
    }

    /// Waits until no record has come for [`QUIET`], so that those nobody waits for are seen as well.
    pub(crate) async fn wait_until_quiet(&mut self) {
        while self.arrives_within(QUIET).await {}
    }

    async fn arrives_within(&mut self, patience: Duration) -> bool {
        let arrival = tokio::time::timeout(patience, self.arrivals.changed()).await;
        matches!(arrival, Ok(Ok(())))
    }

    /// All that was recorded since the last time.
    pub(crate) fn take(&self) -> Records {
        std::mem::take(&mut *lock(&self.records))
    }
}

impl Drop for Decisions {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            // A panic of the thread has been printed by then.
            let _panicked = thread.join();
        }
    }
}

fn assign_ends(consumer: &BaseConsumer, topic: &str) -> Result<()> {
    let metadata = consumer.fetch_metadata(Some(topic), BROKER_TIMEOUT)?;
    let partitions = metadata
        .topics()
        .first()
        .map(|found| found.partitions())
        .unwrap_or_default();
    if partitions.is_empty() {
        bail!("the topic has no partitions");
    }
    let mut assignment = TopicPartitionList::new();
    for partition in partitions {
        // The end is asked for here, not left to the first fetch, so that no later record is missed.
        let (_, end) = consumer.fetch_watermarks(topic, partition.id(), BROKER_TIMEOUT)?;
        assignment.add_partition_offset(topic, partition.id(), Offset::Offset(end))?;
    }
    consumer.assign(&assignment)?;
    Ok(())
}

fn consume(
    consumer: &BaseConsumer,
    stop: &AtomicBool,
    records: &Mutex<Records>,
    arrived: &watch::Sender<()>,
) {
    while !stop.load(Ordering::Relaxed) {
        match consumer.poll(Duration::from_millis(50)) {
            None => {}
            Some(Err(error)) => eprintln!("decisions: {error}"),
            Some(Ok(message)) => {
                match v1::DecisionRecord::decode(message.payload().unwrap_or_default()) {
                    Ok(record) => add(&mut lock(records), record),
                    Err(error) => eprintln!("decisions: not a DecisionRecord: {error}"),
                }
                arrived.send_replace(());
            }
        }
    }
}

fn add(records: &mut Records, record: v1::DecisionRecord) {
    // What the decision would have been is no second decision.
    if record.late_verdict {
        return;
    }
    let id = record.response.unwrap_or_default().transaction_id;
    let recorded = records.entry(id).or_default();
    recorded.count += 1;
    recorded.challengers.extend(record.challengers);
}
