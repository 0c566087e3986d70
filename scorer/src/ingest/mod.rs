//! From Kafka into the store: transactions and labels, partition by partition, each record once.
//!
//! One thread per topic reads all its partitions by assignment, from where the snapshot ends that the store was read from or
//! else as far back as anything is retained, and applies records where it stands: an event is in the store microseconds after it was received. A record that cannot be read
//! goes to dead letters and never stops its partition.

mod dead_letters;
mod decode;
mod letter;
mod letters;
mod partitions;
mod positions;
mod progress;
mod reader;
pub(crate) mod replay;
mod start;
mod topic;
mod waiting;

use std::panic::AssertUnwindSafe;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::thread::JoinHandle;

use arc_swap::ArcSwap;
use rdkafka::error::KafkaError;
use tollgate_features::Store;

use crate::config::KafkaConfig;
use crate::metrics::Metrics;
use crate::policy::Policy;
pub(crate) use positions::{LogPositions, Positions};
pub(crate) use progress::IngestState;
pub(crate) use start::Lost;
use topic::Topic;
use waiting::Waiting;

/// What ingest needs of the rest of the service.
#[derive(Clone)]
pub(crate) struct Parts {
    pub(crate) config: KafkaConfig,
    pub(crate) bootstrap: String,
    pub(crate) store: Arc<Store>,
    pub(crate) policy: Arc<ArcSwap<Policy>>,
    pub(crate) metrics: Metrics,
    pub(crate) state: Arc<IngestState>,
    pub(crate) positions: Arc<Positions>,
    /// Where the snapshot ends that the store was read from.
    pub(crate) from: Option<LogPositions>,
    /// The cluster that positions are of, once it is known; `None` if there are no snapshots, to which alone it matters.
    pub(crate) cluster: Option<Arc<OnceLock<String>>>,
}

/// The running threads; they end when this is dropped.
pub(crate) struct Ingest {
    stop: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
}

/// Why ingest did not start.
#[derive(Debug, thiserror::Error)]
pub enum IngestError {
    #[error("Kafka: {0}")]
    Kafka(#[from] KafkaError),
    #[error("topic {topic} does not exist; create it, or set kafka.{key} to the topic to read")]
    NoTopic { topic: String, key: &'static str },
    #[error("partition {partition} of topic {topic} has no leader; its brokers are not there")]
    NoLeader { topic: String, partition: i32 },
    #[error(
        "no broker says which cluster it belongs to, so whether the snapshot is of its log is not known"
    )]
    NoCluster,
    #[error(
        "the snapshot that was read is of the cluster `{known}`, and the brokers that answer are of `{found}`; mend \
         kafka.bootstrap, or restart the service to go on without the snapshot"
    )]
    OtherCluster { known: String, found: String },
    #[error("the ingest thread did not start: {0}")]
    Thread(#[from] std::io::Error),
}

impl Ingest {
    /// Begins to read as soon as Kafka answers and the topics are there.
    pub(crate) fn start(parts: &Parts) -> Result<Self, IngestError> {
        let mut ingest = Self {
            stop: Arc::new(AtomicBool::new(false)),
            threads: Vec::new(),
        };
        for topic in Topic::ALL {
            // Until reading begins the store is what the snapshot was; another one may be written meanwhile.
            let from = parts.from.iter().flat_map(|from| from.topic(topic));
            let from = from.map(|position| (position.partition, *position));
            parts.positions.lock(topic).extend(from);
            let waiting = Waiting::new(topic, parts.clone())?;
            let stop = Arc::clone(&ingest.stop);
            let state = Arc::clone(&parts.state);
            let thread = std::thread::Builder::new()
                .name(format!("ingest-{}", topic.name()))
                .spawn(move || {
                    // Without this thread histories age unseen, so nobody should send traffic here.
                    let run = AssertUnwindSafe(|| {
                        if let Some(reader) = waiting.reader(&stop) {
                            reader.run(&stop);
                        }
                    });
                    if std::panic::catch_unwind(run).is_err() {
                        tracing::error!(topic = topic.name(), "ingest failed; this is a bug");
                        state.withdraw();
                    }
                })?;
            ingest.threads.push(thread);
        }
        Ok(ingest)
    }
}

impl Drop for Ingest {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        for thread in self.threads.drain(..) {
            // A panic in the thread was reported when it happened.
            let _ = thread.join();
        }
    }
}
