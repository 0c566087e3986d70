//! From Kafka into the store: transactions and labels, partition by partition, each record once.
//!
//! Each topic's partitions are shared out among a few threads ([`share`], ADR 25), which read them by assignment, from where the
//! snapshot ends that the store was read from or else as far back as anything is retained, and apply records where they stand: an
//! event is in the store microseconds after it was received. A record that cannot be read goes to dead letters and does not stop its
//! partition.

mod apply;
mod consumer;
mod dead_letters;
mod decode;
mod heard;
mod letter;
mod letters;
mod partitions;
mod positions;
mod progress;
mod reader;
pub(crate) mod replay;
mod share;
mod start;
mod state;
mod topic;
mod waiting;

use std::panic::AssertUnwindSafe;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::thread::JoinHandle;

use arc_swap::ArcSwap;
use rdkafka::error::KafkaError;
use tollgate_features::Store;
use tollgate_types::EventTime;

use crate::clock;
use crate::config::KafkaConfig;
use crate::metrics::Metrics;
use crate::policy::Policy;
use positions::Position;
pub(crate) use positions::{LogPositions, Positions};
use reader::Reader;
pub(crate) use share::Share;
pub(crate) use start::Lost;
pub(crate) use state::{IngestState, Replay};
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
    /// When that was begun.
    pub(crate) from_time: Option<EventTime>,
    /// The cluster that positions are of, once it is known; `None` if there are no snapshots, to which alone it matters.
    pub(crate) cluster: Option<Arc<OnceLock<String>>>,
}

impl Parts {
    /// Up to where the snapshot has a topic.
    fn known(&self, topic: Topic) -> impl Iterator<Item = Position> + '_ {
        let known = self.from.iter().flat_map(move |from| from.topic(topic));
        known.copied()
    }
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
        let now = clock::wall_time();
        let known_until = parts.from_time.map_or(now, |from| from.min(now));
        for topic in Topic::ALL {
            parts.state.topic(topic).heard.begin(known_until);
            // Until reading begins the store is what the snapshot was; another one may be written meanwhile.
            let from: Vec<Position> = parts.known(topic).collect();
            for share in topic.shares(&parts.config) {
                let own = from.iter().filter(|known| share.has(known.partition));
                let own = own.map(|position| (position.partition, *position));
                parts.positions.lock(topic, share).extend(own);
            }
            let waiting = Waiting::new(topic, parts.clone())?;
            let stop = Arc::clone(&ingest.stop);
            let state = Arc::clone(&parts.state);
            let thread = std::thread::Builder::new()
                .name(format!("ingest-{}", topic.name()))
                .spawn(move || {
                    watched(topic, &state, || {
                        if let Some(readers) = waiting.readers(&stop) {
                            read(readers, &state);
                        }
                    });
                })?;
            ingest.threads.push(thread);
        }
        Ok(ingest)
    }
}

/// Reads until told to stop, each share on a thread of its own.
fn read(readers: Vec<Reader>, state: &IngestState) {
    std::thread::scope(|threads| {
        for reader in readers {
            let topic = reader.topic();
            let thread = std::thread::Builder::new().name(format!("read-{}", topic.name()));
            let run = move || watched(topic, state, || reader.run());
            if let Err(error) = thread.spawn_scoped(threads, run) {
                tracing::error!(%error, topic = topic.name(), "a part of the topic is not read: its thread did not start");
                state.withdraw();
            }
        }
    });
}

/// Does what a thread of ingest is there for. Without it histories age unseen, so nobody should send traffic here if it fails.
fn watched(topic: Topic, state: &IngestState, work: impl FnOnce()) {
    if std::panic::catch_unwind(AssertUnwindSafe(work)).is_err() {
        tracing::error!(topic = topic.name(), "ingest failed; this is a bug");
        state.withdraw();
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
