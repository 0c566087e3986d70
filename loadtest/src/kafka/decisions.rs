//! Follows the log of decisions from where it ends now.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use prost::Message as _;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::{ClientConfig, Message as _, Offset, TopicPartitionList};
use tokio::sync::watch;
use tollgate_proto::v1;

/// How long the broker may take to say where a partition ends.
const BROKER_TIMEOUT: Duration = Duration::from_secs(10);

/// A thread that hands every new decision record to a sink.
pub(crate) struct Decisions {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
    seen: watch::Receiver<u64>,
}

impl Decisions {
    /// Follows all partitions by assignment: joining a group would take seconds. The sink runs on the
    /// consumer's thread and must be quick.
    pub(crate) fn follow(
        kafka: &str,
        topic: &str,
        sink: impl FnMut(v1::DecisionRecord) + Send + 'static,
    ) -> Result<Self> {
        let consumer: BaseConsumer = ClientConfig::new()
            .set("bootstrap.servers", kafka)
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
        let (counter, seen) = watch::channel(0);
        let stopped = Arc::clone(&stop);
        let thread = std::thread::Builder::new()
            .name("decisions".to_owned())
            .spawn(move || consume(&consumer, &stopped, &counter, sink))?;
        Ok(Self {
            stop,
            thread: Some(thread),
            seen,
        })
    }

    /// Waits until `reached` says yes; it is asked again after every record. `false` if no record arrives for
    /// as long as `patience`.
    pub(crate) async fn wait_until(
        &mut self,
        patience: Duration,
        mut reached: impl FnMut() -> bool,
    ) -> bool {
        while !reached() {
            match tokio::time::timeout(patience, self.seen.changed()).await {
                Ok(Ok(())) => {}
                Ok(Err(_)) | Err(_) => return reached(),
            }
        }
        true
    }
}

impl Drop for Decisions {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            // A panic of the sink has been printed by then.
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
    counter: &watch::Sender<u64>,
    mut sink: impl FnMut(v1::DecisionRecord),
) {
    while !stop.load(Ordering::Relaxed) {
        match consumer.poll(Duration::from_millis(50)) {
            None => {}
            Some(Err(error)) => eprintln!("decisions: {error}"),
            Some(Ok(message)) => {
                match v1::DecisionRecord::decode(message.payload().unwrap_or_default()) {
                    Ok(record) => sink(record),
                    Err(error) => eprintln!("decisions: not a DecisionRecord: {error}"),
                }
                counter.send_modify(|seen| *seen += 1);
            }
        }
    }
}
