//! The decision log: one record per decision, published to Kafka after the answer has gone out.
//!
//! Answers never wait for the log. What was decided is first looked at by whatever watches the models ([`watch`]), whose
//! challengers can delay no answer here and change none (DE-1); then it waits for Kafka. Both queues are bounded: beyond
//! them records are dropped, counted, and logged. A Kafka that is away holds up its own queue only.

mod publisher;
pub(crate) mod record;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use prost::Message;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;
use tokio::time::MissedTickBehavior;
use tollgate_models::Rows;
use tollgate_proto::v1;
use tollgate_types::{CardId, Cell, EventTime, Outcome, Transaction};

use crate::config::{Format, KafkaConfig};
use crate::decide::{ModelTimings, Times};
use crate::lines;
use crate::metrics::Metrics;
use crate::policy::{FeatureTexts, Policy};
use crate::watch::{self, Watch};
use publisher::Publisher;
pub(crate) use publisher::PublisherError;

/// Decisions that may wait to be looked at: several times what a busy service decides while one batch waits for a
/// challenger that is stuck.
const QUEUE_MAX: usize = 32_768;

/// Records that may wait for Kafka: some 40 MB, ten seconds of a busy service.
const RECORDS_MAX: usize = 65_536;

/// Records taken from the queue at a time, and so scored by challengers together.
const BATCH_MAX: usize = 256;

/// What is known when a decision has been made.
pub(crate) struct Entry {
    pub(crate) response: v1::ScoreResponse,
    pub(crate) transaction: Arc<Transaction>,
    pub(crate) card_id: CardId,
    pub(crate) event_time: EventTime,
    pub(crate) decided_at: EventTime,
    /// Of a late verdict, what was answered.
    pub(crate) answered: Option<Outcome>,
    /// When the request had arrived, and how far the decision was when.
    pub(crate) arrived: Instant,
    pub(crate) times: Times,
    pub(crate) model_timings: Option<ModelTimings>,
    pub(crate) reasons_timings: Option<ModelTimings>,
    /// Ids of all rules that matched.
    pub(crate) matched_rules: Vec<Arc<str>>,
    /// The layout's aggregates, or none where histories were not read.
    pub(crate) aggregates: Option<Vec<Cell>>,
    pub(crate) model_reasons_max: usize,
    /// The champion's row, or none.
    pub(crate) model_inputs: Rows,
    /// Named features.
    pub(crate) features: Vec<Cell>,
    pub(crate) texts: FeatureTexts,
    /// The policy that decided; its challengers score, and not those of a later one.
    pub(crate) policy: Arc<Policy>,
}

impl Entry {
    /// Whether challengers and drift look at it: once at what was answered, where it was made with features, as models are, and
    /// not at a late verdict.
    pub(crate) fn is_watched(&self) -> bool {
        !self.features.is_empty() && self.answered.is_none()
    }
}

/// Where decisions are handed over. Cheap to clone.
#[derive(Clone)]
pub(crate) struct AuditLog {
    queue: mpsc::Sender<Entry>,
    /// Decisions handed over, whatever became of them.
    handed_over: Arc<AtomicU64>,
    metrics: Metrics,
}

impl AuditLog {
    /// Starts the tasks that look at what was decided, and publish it.
    pub(crate) fn start(
        config: &KafkaConfig,
        bootstrap: &str,
        watch: Watch,
        metrics: Metrics,
    ) -> Result<(Self, Publishing), PublisherError> {
        let (queue, waiting) = mpsc::channel(QUEUE_MAX);
        let (records, encoded) = mpsc::channel(RECORDS_MAX);
        let (close, closed) = oneshot::channel();
        let publisher = Publisher::new(config, bootstrap, metrics.clone())?;
        let (formats, counts) = (config.formats, metrics.clone());
        tokio::spawn(look(
            waiting,
            closed,
            watch,
            records,
            formats.decisions,
            counts,
        ));
        let task = tokio::spawn(publish(encoded, publisher));
        let handed_over = Arc::new(AtomicU64::new(0));
        let publishing = Publishing {
            close,
            task,
            handed_over: Arc::clone(&handed_over),
            metrics: metrics.clone(),
        };
        let log = Self {
            queue,
            handed_over,
            metrics,
        };
        Ok((log, publishing))
    }

    /// How many decisions were handed over.
    #[cfg(test)]
    pub(crate) fn handed_over(&self) -> u64 {
        self.handed_over.load(Ordering::Relaxed)
    }

    /// Hands a decision over; `false` if there was no room. Never blocks.
    pub(crate) fn record(&self, entry: Entry) -> bool {
        self.handed_over.fetch_add(1, Ordering::Relaxed);
        let sent = self.queue.try_send(entry);
        if let Err(error) = &sent {
            count_dropped(&self.metrics, error);
        }
        sent.is_ok()
    }
}

fn count_dropped(metrics: &Metrics, error: &dyn std::fmt::Display) {
    let dropped = metrics.audit_records.with_label_values(&["dropped"]);
    dropped.inc();
    // One line for many: this happens when there is least time to write lines.
    if lines::is_told(dropped.get()) {
        tracing::error!(%error, dropped = dropped.get(), "decision records dropped");
    }
}

/// The running publisher.
pub(crate) struct Publishing {
    close: oneshot::Sender<()>,
    task: JoinHandle<()>,
    handed_over: Arc<AtomicU64>,
    metrics: Metrics,
}

impl Publishing {
    /// Publishes what was handed over so far, takes nothing more, and waits for Kafka, `limit` at most. Clients
    /// that hold on to a stream do not hold this up.
    pub(crate) async fn finish(self, limit: Duration) {
        let count = |result| {
            let records = &self.metrics.audit_records;
            records.with_label_values(&[result]).get()
        };
        // Those were told of when it happened.
        let lost_before = count("failed") + count("dropped");
        // An error means that the task has ended by itself.
        let _ = self.close.send(());
        let in_time = tokio::time::timeout(limit, self.task).await.is_ok();
        let handed_over = self.handed_over.load(Ordering::Relaxed);
        let lost = handed_over.saturating_sub(count("published") + lost_before);
        if !in_time || lost > 0 {
            tracing::error!(
                lost,
                "the decision log was not flushed in time: records that Kafka has not acknowledged are lost"
            );
        }
    }
}

/// A record as Kafka takes it.
struct Encoded {
    card_id: CardId,
    bytes: Vec<u8>,
}

/// Looks at what was decided and hands it on to be published, until it is told to close, or every [`AuditLog`] is gone,
/// and the queue is empty.
async fn look(
    mut waiting: mpsc::Receiver<Entry>,
    mut close: oneshot::Receiver<()>,
    mut watch: Watch,
    records: mpsc::Sender<Encoded>,
    format: Format,
    metrics: Metrics,
) {
    let mut batch = Vec::with_capacity(BATCH_MAX);
    let mut report = tokio::time::interval(watch::REPORT_EVERY);
    report.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            biased;
            _ = report.tick() => watch.report(),
            count = waiting.recv_many(&mut batch, BATCH_MAX) => {
                if count == 0 {
                    break;
                }
            }
            // What is in the queue is still received; nothing more gets in.
            _ = &mut close, if !waiting.is_closed() => waiting.close(),
        }
        let scores = watch.look_at(&batch).await;
        for (entry, challengers) in batch.drain(..).zip(scores) {
            let card_id = entry.card_id.clone();
            let record = record::record(entry, challengers);
            let bytes = encode(&record, format);
            if let Err(error) = records.try_send(Encoded { card_id, bytes }) {
                count_dropped(&metrics, &error);
            }
        }
    }
}

/// Publishes until nothing more is looked at and the queue is empty.
async fn publish(mut records: mpsc::Receiver<Encoded>, publisher: Publisher) {
    while let Some(Encoded { card_id, bytes }) = records.recv().await {
        publisher.send(card_id.as_str(), &bytes).await;
    }
    // Waits for acknowledgements, so not on a thread that serves requests.
    let flushed = tokio::task::spawn_blocking(move || publisher.flush()).await;
    if let Err(error) = flushed {
        tracing::error!(%error, "the decision log was not flushed");
    }
}

fn encode(record: &v1::DecisionRecord, format: Format) -> Vec<u8> {
    if format == Format::Json {
        match tollgate_proto::to_json("tollgate.v1.DecisionRecord", record) {
            Ok(json) => return json.into_bytes(),
            // Our own message by our own descriptors: this is a bug, and the record is kept all the same.
            Err(error) => tracing::error!(%error, "decision record written in protobuf form"),
        }
    }
    record.encode_to_vec()
}

#[cfg(test)]
mod tests;

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
