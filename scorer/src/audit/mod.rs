//! The decision log: one record per decision, published to Kafka after the answer has gone out.
//!
//! What was decided is first looked at by whatever watches the models ([`watch`]), whose challengers can delay no answer here and
//! change none (DE-1). Then a thread of its own ([`sending`]) sends it to Kafka. What Kafka does not take in time waits in memory,
//! and then on disk ([`spool`]); all of it is bounded, and what is beyond is counted and told (docs/decision-log.md, ADR 21).

mod early;
mod inbox;
mod low;
mod outbox;
mod publisher;
pub(crate) mod record;
mod sending;
mod spool;
mod spools;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use prost::Message;
use tokio::sync::{mpsc, oneshot};
use tokio::time::MissedTickBehavior;
use tollgate_models::Rows;
use tollgate_proto::v1;
use tollgate_types::{CardId, Cell, EventTime, Outcome, Transaction};

use crate::clock;
use crate::config::{Durability, Format, KafkaConfig, WhenUnlogged};
use crate::decide::{ModelTimings, Times};
use crate::lines;
use crate::metrics::{DecisionLogMetrics, Metrics, RecordResult, Unlogged};
use crate::policy::{FeatureTexts, Policy};
use crate::watch::{self, Watch};
use early::Early;
use inbox::{Handed, Inbox};
use outbox::{Outbox, Record};
use publisher::Publisher;
pub(crate) use publisher::PublisherError;
use sending::{Ended, Sending};
pub(crate) use spools::{SpoolError, Spools};

/// Decisions that may wait to be looked at: several times what a busy service decides while one batch waits for a
/// challenger that is stuck.
const QUEUE_MAX: usize = 32_768;

/// Records taken from the queue at a time, and so scored by challengers together.
const BATCH_MAX: usize = 256;

/// How long the thread that writes what answers wait for may take to end.
const EARLY_END_MAX: Duration = Duration::from_secs(1);

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

/// A decision on its way, and its ticket if it was written before it was answered.
type Queued = (Entry, Option<early::Ticket>);

/// A decision that was written before it is answered. It has its place in the queue by then: what is answered because the disk has it
/// is not turned away afterwards.
pub(crate) struct Ticket {
    written: early::Ticket,
    place: mpsc::OwnedPermit<Queued>,
}

/// Where decisions are handed over. Cheap to clone.
#[derive(Clone)]
pub(crate) struct AuditLog {
    queue: mpsc::Sender<Queued>,
    counts: Arc<Counts>,
    inbox: Arc<Inbox>,
    early: Option<Early>,
    settings: Settings,
    metrics: DecisionLogMetrics,
}

/// What the path has to know of the configuration.
#[derive(Clone, Copy, Debug)]
struct Settings {
    durability: Durability,
    when_unlogged: WhenUnlogged,
    sync_wait_max: Duration,
    format: Format,
}

/// Where records are, for the admin page.
#[derive(Clone, Copy, Debug, serde::Serialize)]
pub(crate) struct LogReport {
    durability: &'static str,
    /// Neither memory nor the spool takes more.
    is_full: bool,
    memory_records: i64,
    spool_records: i64,
    spool_bytes: i64,
}

/// Decisions that are between being handed over and being a record.
#[derive(Debug, Default)]
struct Counts {
    handed_over: AtomicU64,
    /// Of those, how many are records by now, or were dropped.
    settled: AtomicU64,
}

/// Why there can be no decision log.
#[derive(Debug, thiserror::Error)]
pub enum AuditError {
    #[error(transparent)]
    Publisher(#[from] PublisherError),
    #[error("the thread that sends decisions did not start: {0}")]
    Thread(std::io::Error),
}

impl AuditLog {
    /// Starts the task that looks at what was decided, and the thread that publishes it.
    pub(crate) fn start(
        config: &KafkaConfig,
        bootstrap: &str,
        spools: Spools,
        watch: Watch,
        metrics: &Metrics,
    ) -> Result<(Self, Publishing), AuditError> {
        let (queue, waiting) = mpsc::channel(QUEUE_MAX);
        let (close, closed) = oneshot::channel();
        let metrics = metrics.decision_log.clone();
        let counts = Arc::<Counts>::default();
        let bytes_max = spools.config.memory_bytes_max();
        let inbox = Arc::new(Inbox::new(spools.config.memory_records_max, bytes_max));
        let settings = Settings {
            durability: spools.config.durability,
            when_unlogged: spools.config.when_unlogged,
            sync_wait_max: spools.config.sync_wait_max(),
            format: config.formats.decisions,
        };
        let publisher = Publisher::new(config, bootstrap, Arc::clone(&inbox))?;
        let early = spools.early;
        let early = early.map(|spool| Early::start(spool, metrics.clone()));
        let early = early.transpose().map_err(AuditError::Thread)?;
        let (early, early_ended) = early.unzip();
        let outbox = Outbox::new(spools.spool);
        let sending = Sending::new(
            outbox,
            publisher,
            Arc::clone(&inbox),
            spools.config,
            metrics.clone(),
        );
        let (tell, ended) = oneshot::channel();
        std::thread::Builder::new()
            .name("decision-log".to_owned())
            .spawn(move || {
                // Nobody waits for it any more if it took too long.
                let _ = tell.send(sending.run());
            })
            .map_err(AuditError::Thread)?;
        let looking = Looking {
            watch,
            inbox: Arc::clone(&inbox),
            format: settings.format,
            counts: Arc::clone(&counts),
            metrics: metrics.clone(),
        };
        tokio::spawn(looking.run(waiting, closed));
        let publishing = Publishing {
            close,
            ended,
            early: early.clone().zip(early_ended),
            counts: Arc::clone(&counts),
        };
        let log = Self {
            queue,
            counts,
            inbox,
            early,
            settings,
            metrics,
        };
        Ok((log, publishing))
    }

    /// How many decisions were handed over.
    #[cfg(test)]
    pub(crate) fn handed_over(&self) -> u64 {
        self.counts.handed_over.load(Ordering::Relaxed)
    }

    /// Whether decisions are to be written before they are answered.
    pub(crate) const fn is_spool_first(&self) -> bool {
        self.early.is_some()
    }

    /// Whether the fallback is to answer what cannot be logged.
    pub(crate) fn degrades(&self) -> bool {
        self.settings.when_unlogged == WhenUnlogged::Degrade
    }

    /// Whether a decision that is made now had better be one of the fallback, since it cannot be logged; counted.
    pub(crate) fn is_closed_to_decisions(&self) -> bool {
        let is_closed = self.degrades() && !self.is_spool_first() && self.inbox.is_full();
        if is_closed {
            self.metrics.unlogged(Unlogged::Full);
        }
        is_closed
    }

    /// Has a decision written before it is answered, and waits for that, until `until` at most. `None`, counted, if the disk does
    /// not have it by then, or the log has no room for it.
    pub(crate) async fn write_early(&self, entry: Entry, until: Instant) -> Option<Ticket> {
        let early = self.early.as_ref()?;
        self.written_early(early, entry, until)
            .await
            .inspect_err(|reason| self.metrics.unlogged(*reason))
            .ok()
    }

    async fn written_early(
        &self,
        early: &Early,
        entry: Entry,
        until: Instant,
    ) -> Result<Ticket, Unlogged> {
        let left = until.saturating_duration_since(clock::instant());
        let limit = left.min(self.settings.sync_wait_max);
        let place = self.queue.clone().try_reserve_owned();
        let place = place.ok().filter(|_| !self.inbox.is_full());
        let place = place.ok_or(Unlogged::Full)?;
        let record = encoded(entry, Vec::new(), self.settings.format);
        let written = early.write(record, limit).await?;
        Ok(Ticket { written, place })
    }

    /// Where records are.
    pub(crate) fn report(&self) -> LogReport {
        let places = self.metrics.places();
        LogReport {
            durability: self.settings.durability.name(),
            is_full: self.inbox.is_full(),
            memory_records: places.memory_records,
            spool_records: places.spool_records,
            spool_bytes: places.spool_bytes,
        }
    }

    /// Hands a decision over, with its ticket if it was written before it was answered; `false` if there was no room. Never
    /// blocks.
    pub(crate) fn record(&self, entry: Entry, ticket: Option<Ticket>) -> bool {
        self.counts.handed_over.fetch_add(1, Ordering::Relaxed);
        if let Some(Ticket { written, place }) = ticket {
            place.send((entry, Some(written)));
            return true;
        }
        let sent = self.queue.try_send((entry, None));
        if let Err(error) = &sent {
            count_dropped(&self.metrics, error);
            self.counts.settled.fetch_add(1, Ordering::Relaxed);
        }
        sent.is_ok()
    }
}

fn count_dropped(metrics: &DecisionLogMetrics, error: &dyn std::fmt::Display) {
    metrics.count(RecordResult::Dropped, 1);
    let dropped = metrics.counted(RecordResult::Dropped);
    // One line for many: this happens when there is least time to write lines.
    if lines::is_told(dropped) {
        tracing::error!(%error, dropped, "decision records dropped");
    }
}

/// The running publisher.
pub(crate) struct Publishing {
    close: oneshot::Sender<()>,
    ended: oneshot::Receiver<Ended>,
    early: Option<(Early, oneshot::Receiver<()>)>,
    counts: Arc<Counts>,
}

impl Publishing {
    /// Publishes what was handed over so far, takes nothing more, and waits for Kafka, `limit` at most. Clients
    /// that hold on to a stream do not hold this up.
    pub(crate) async fn finish(self, limit: Duration) {
        // An error means that the task has ended by itself.
        let _ = self.close.send(());
        let ended = tokio::time::timeout(limit, self.ended).await;
        if let Some((early, ended)) = self.early {
            early.close();
            if tokio::time::timeout(EARLY_END_MAX, ended).await.is_err() {
                tracing::error!(
                    "what was written before it was answered was not put away; some of it is sent again after the next start"
                );
            }
        }
        let handed_over = self.counts.handed_over.load(Ordering::Relaxed);
        let unsettled = handed_over.saturating_sub(self.counts.settled.load(Ordering::Relaxed));
        match ended {
            Ok(Ok(Ended { kept, lost })) => {
                if kept > 0 {
                    tracing::warn!(
                        kept,
                        "Kafka has not taken all decisions: they are in the spool, and go to Kafka after the next start"
                    );
                }
                let lost = lost + unsettled;
                if lost > 0 {
                    tracing::error!(
                        lost,
                        "the decision log was not flushed in time: records that Kafka has not acknowledged are lost"
                    );
                }
            }
            Ok(Err(_)) | Err(_) => tracing::error!(
                unsettled,
                "the decision log did not end in time: decisions that neither Kafka nor the spool has are lost"
            ),
        }
    }
}

/// The task that looks at what was decided.
struct Looking {
    watch: Watch,
    inbox: Arc<Inbox>,
    format: Format,
    counts: Arc<Counts>,
    metrics: DecisionLogMetrics,
}

impl Looking {
    /// Looks at what was decided and hands it on to be published, until it is told to close, or every [`AuditLog`] is gone,
    /// and the queue is empty.
    async fn run(mut self, mut waiting: mpsc::Receiver<Queued>, mut close: oneshot::Receiver<()>) {
        let mut batch = Vec::with_capacity(BATCH_MAX);
        let mut report = tokio::time::interval(watch::REPORT_EVERY);
        report.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                biased;
                _ = report.tick() => self.watch.report(),
                count = waiting.recv_many(&mut batch, BATCH_MAX) => {
                    if count == 0 {
                        break;
                    }
                }
                // What is in the queue is still received; nothing more gets in.
                _ = &mut close, if !waiting.is_closed() => waiting.close(),
            }
            let (entries, tickets): (Vec<_>, Vec<_>) = batch.drain(..).unzip();
            let scores = self.watch.look_at(&entries).await;
            for ((entry, ticket), challengers) in entries.into_iter().zip(tickets).zip(scores) {
                self.hand_on((entry, ticket), challengers);
            }
        }
    }

    fn hand_on(&self, (entry, ticket): Queued, challengers: Vec<v1::ChallengerScore>) {
        let record = encoded(entry, challengers, self.format);
        if !self.inbox.hand_over(Handed { record, ticket }) {
            count_dropped(&self.metrics, &"no more fit into memory");
        }
        self.counts.settled.fetch_add(1, Ordering::Relaxed);
    }
}

impl Drop for Looking {
    /// However it ends, nothing more comes.
    fn drop(&mut self) {
        self.inbox.close();
    }
}

fn encoded(entry: Entry, challengers: Vec<v1::ChallengerScore>, format: Format) -> Record {
    let key = entry.card_id.as_str().as_bytes().to_vec();
    let at = entry.decided_at.micros();
    let value = encode(&record::record(entry, challengers), format);
    Record { key, value, at }
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
