//! The decision log: one record per decision, published to Kafka after the answer has gone out.
//!
//! Answers never wait for the log. Records wait in a bounded queue; beyond it they are dropped, counted, and
//! logged. Challengers score here, where they can delay no answer and change none (DE-1).

mod challengers;
mod publisher;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use prost::Message;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tollgate_proto::v1;
use tollgate_types::{CardId, Cell, EventTime};

use crate::convert;
use crate::metrics::Metrics;
use crate::policy::Policy;
use publisher::Publisher;
pub(crate) use publisher::PublisherError;

/// Records that may wait for Kafka: some 20 MB, ten seconds of a busy service.
const QUEUE_MAX: usize = 65_536;

/// Records taken from the queue at a time, and so scored by challengers together.
const BATCH_MAX: usize = 256;

/// What is known when a decision has been made.
pub(crate) struct Entry {
    pub(crate) response: v1::ScoreResponse,
    pub(crate) card_id: CardId,
    pub(crate) event_time: EventTime,
    pub(crate) decided_at: EventTime,
    pub(crate) model_inputs: Vec<f32>,
    /// Named features, for the challengers.
    pub(crate) features: Vec<Cell>,
    /// The policy that decided; its challengers score, and not those of a later one.
    pub(crate) policy: Arc<Policy>,
}

/// Where decisions are handed over. Cheap to clone.
#[derive(Clone)]
pub(crate) struct AuditLog {
    queue: mpsc::Sender<Entry>,
    metrics: Metrics,
}

impl AuditLog {
    /// Starts the task that publishes to `topic`.
    pub(crate) fn start(
        config: &crate::config::KafkaConfig,
        bootstrap: &str,
        metrics: Metrics,
    ) -> Result<(Self, JoinHandle<()>), PublisherError> {
        let (queue, waiting) = mpsc::channel(QUEUE_MAX);
        let publisher = Publisher::new(config, bootstrap, metrics.clone())?;
        let task = tokio::spawn(publish(waiting, publisher, metrics.clone()));
        Ok((Self { queue, metrics }, task))
    }

    /// Hands a decision over. Never blocks.
    pub(crate) fn record(&self, entry: Entry) {
        if let Err(error) = self.queue.try_send(entry) {
            self.metrics
                .audit_records
                .with_label_values(&["dropped"])
                .inc();
            tracing::error!(%error, "decision record dropped");
        }
    }
}

/// Publishes until every [`AuditLog`] is gone and the queue is empty.
async fn publish(mut waiting: mpsc::Receiver<Entry>, publisher: Publisher, metrics: Metrics) {
    let mut batch = Vec::with_capacity(BATCH_MAX);
    while waiting.recv_many(&mut batch, BATCH_MAX).await > 0 {
        let scores = challengers::score(&batch, &metrics).await;
        for (entry, challengers) in batch.drain(..).zip(scores) {
            let key = entry.card_id.clone();
            let bytes = record(entry, challengers).encode_to_vec();
            publisher.send(key.as_str(), &bytes).await;
        }
    }
    publisher.flush();
}

fn record(entry: Entry, challengers: Vec<v1::ChallengerScore>) -> v1::DecisionRecord {
    v1::DecisionRecord {
        response: Some(entry.response),
        card_id: entry.card_id.as_str().to_owned(),
        event_time: Some(convert::to_timestamp(entry.event_time)),
        decided_at: Some(convert::to_timestamp(entry.decided_at)),
        model_inputs: entry.model_inputs,
        challengers,
    }
}

/// Gives every decision an id: one part drawn when the process started, one counted.
#[derive(Debug)]
pub(crate) struct DecisionIds {
    process: u64,
    next: AtomicU64,
}

impl DecisionIds {
    /// `started_at` and the process id make the first part differ between processes.
    pub(crate) fn new(started_at: EventTime) -> Self {
        let seed = (started_at.micros(), std::process::id());
        let key = tollgate_types::TextKey::of(&format!("{seed:?}"));
        Self {
            process: key.bits(),
            next: AtomicU64::new(0),
        }
    }

    pub(crate) fn next(&self) -> String {
        format!(
            "{:016x}-{:08x}",
            self.process,
            self.next.fetch_add(1, Ordering::Relaxed)
        )
    }
}
