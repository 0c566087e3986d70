//! A thread that reads a share of a topic and applies what it says.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use rdkafka::Message;
use rdkafka::consumer::BaseConsumer;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::BorrowedMessage;
use tollgate_features::Store;
use tollgate_types::EventTime;

use super::apply::Applier;
use super::consumer;
use super::dead_letters::DeadLetters;
use super::partitions;
use super::positions;
use super::progress::Progress;
use super::share::Share;
use super::topic::Topic;
use super::{IngestError, Parts};
use crate::clock;
use crate::kafka::Reports;

/// How long one wait for a record lasts: the delay in noticing that the service stops.
const POLL: Duration = Duration::from_millis(50);

/// How often a look is taken for partitions that the topic got since.
const PARTITIONS_LOOK: Duration = Duration::from_secs(5);

/// How often the watermark and the gauge of lateness are brought up to date.
const HOUSEKEEPING: Duration = Duration::from_millis(100);

pub(super) struct Reader {
    topic: Topic,
    share: Share,
    parts: Parts,
    consumer: BaseConsumer<Reports>,
    applier: Applier,
    /// Of all shares of the topic.
    progress: Arc<Mutex<Progress>>,
    /// A partition no longer has the record that was to be read next, and reading has not begun anew yet: nothing is read.
    is_cut: bool,
}

impl Reader {
    /// Those of a topic, one for each share of its partitions.
    pub(super) fn all(topic: Topic, parts: &Parts) -> Result<Vec<Self>, IngestError> {
        let dead_letters = Arc::new(DeadLetters::new(parts)?);
        let mut consumers = Vec::new();
        let mut starts = Vec::new();
        for share in topic.shares(&parts.config) {
            let consumer = consumer::unassigned(&parts.config, &parts.bootstrap)?;
            let known = consumer::known_at_start((topic, share), parts);
            starts.extend(consumer::begin((topic, share), parts, &consumer, &known)?);
            consumers.push((share, consumer));
        }
        let progress = Progress::new(&starts, parts.state.topic(topic));
        let progress = Arc::new(Mutex::new(progress));
        let reader = |(share, consumer)| Self {
            topic,
            share,
            parts: parts.clone(),
            consumer,
            applier: Applier {
                topic,
                parts: parts.clone(),
                dead_letters: Arc::clone(&dead_letters),
            },
            progress: Arc::clone(&progress),
            is_cut: false,
        };
        Ok(consumers.into_iter().map(reader).collect())
    }

    pub(super) const fn topic(&self) -> Topic {
        self.topic
    }

    pub(super) fn run(mut self, stop: &AtomicBool) {
        self.note_partitions();
        let mut housekeeping_due = clock::instant();
        let mut partitions_due = housekeeping_due + PARTITIONS_LOOK;
        while !stop.load(Ordering::Relaxed) {
            if self.is_cut || self.must_wait() {
                std::thread::sleep(POLL);
            } else {
                self.poll();
            }
            let now = clock::instant();
            if now >= housekeeping_due {
                housekeeping_due = now + HOUSEKEEPING;
                self.keep_house();
            }
            if now >= partitions_due {
                partitions_due = now + PARTITIONS_LOOK;
                if self.is_cut {
                    self.begin_again();
                }
                self.read_added_partitions();
            }
        }
        self.applier.dead_letters.flush();
    }

    /// Whether these are labels that have run too far ahead of transactions.
    fn must_wait(&self) -> bool {
        let waiting = self.parts.store.labels_waiting();
        self.topic == Topic::Labels && self.parts.state.must_labels_wait(waiting)
    }

    /// Waits for a record, takes those that are there behind it, and deals with all of them.
    fn poll(&mut self) {
        let mut messages = Vec::with_capacity(Store::LOOK_AHEAD);
        let mut end = None;
        let mut wait = POLL;
        while messages.len() < Store::LOOK_AHEAD {
            match self.consumer.poll(wait) {
                Some(Ok(message)) => messages.push(message),
                Some(Err(error)) => {
                    end = Some(error);
                    break;
                }
                None => break,
            }
            wait = Duration::ZERO;
        }
        self.apply(&messages);
        let state = self.parts.state.topic(self.topic);
        match end {
            // Comes behind the last record of its partition.
            Some(KafkaError::PartitionEOF(partition)) => {
                self.progress.lock().at_end(partition, state)
            }
            Some(error) => {
                tracing::warn!(%error, topic = self.topic.name(), "kafka consumer");
                // Whoever is asked for a record that is not there says so once for each partition; beginning anew ends that.
                if error.rdkafka_error_code() == Some(RDKafkaErrorCode::AutoOffsetReset) {
                    self.begin_again();
                }
            }
            None => {}
        }
    }

    fn apply(&self, messages: &[BorrowedMessage<'_>]) {
        // Held until the positions are those of what was applied.
        let mut applied = self.parts.positions.lock(self.topic, self.share);
        let event_times = self.applier.apply(messages);
        let state = self.parts.state.topic(self.topic);
        let mut progress = self.progress.lock();
        for (message, event_time) in messages.iter().zip(event_times) {
            let written_ms = message.timestamp().to_millis().unwrap_or(0);
            let written_at = EventTime::from_micros(written_ms.saturating_mul(1_000));
            let place = (message.partition(), message.offset());
            positions::applied(&mut applied, place, event_time);
            progress.applied(place, event_time, written_at, state);
        }
        drop(progress);
        drop(applied);
        // Counted last: whoever sees the count may rely on the records being applied.
        let metrics = &self.parts.metrics.ingest;
        let records = match self.topic {
            Topic::Transactions => &metrics.transactions,
            Topic::Labels => &metrics.labels,
        };
        records.inc_by(u64::try_from(messages.len()).unwrap_or(0));
    }

    /// The log was cut where we read: reads on where it still has what comes next, and all that it has of the other partitions
    /// of the share. The service is not ready until it has done so. Tried again later if the brokers do not answer.
    fn begin_again(&mut self) {
        let topic = self.topic.name();
        let (part, share) = ((self.topic, self.share), self.share);
        let state = self.parts.state.topic(self.topic);
        let is_mine = |partition| share.has(partition);
        let mut progress = self.progress.lock();
        progress.is_cut(is_mine);
        // Before another share's end is noted: it may be what was last to be read.
        self.parts.state.begin_again(self.topic);
        drop(progress);
        let known = consumer::known_now(part, &self.parts);
        let starts = consumer::begin(part, &self.parts, &self.consumer, &known);
        self.is_cut = starts.is_err();
        match starts {
            Ok(starts) => {
                self.progress.lock().begin_again(is_mine, &starts, state);
                self.note_partitions();
                tracing::warn!(topic, "reading has begun anew, since the log was cut");
            }
            Err(error) => {
                tracing::error!(%error, topic, "the log was cut, and reading cannot begin anew yet");
            }
        }
    }

    fn keep_house(&self) {
        // What follows is of the whole topic.
        if !self.share.is_first() {
            return;
        }
        let (now, state) = (clock::wall_time(), &self.parts.state);
        let mut progress = self.progress.lock();
        progress.report(self.topic, clock::instant(), state.topic(self.topic));
        let watermark = progress.watermark();
        drop(progress);
        let (left, rate) = state.replay();
        self.parts.metrics.snapshot.replay_left.set(left);
        self.parts.metrics.snapshot.replay_rate.set(rate);
        if self.topic == Topic::Transactions {
            self.parts.store.advance_watermark(watermark);
            let behind = state.behind(now).micros() / 1_000_000;
            self.parts.metrics.ingest.behind_seconds.set(behind);
        }
    }

    fn read_added_partitions(&self) {
        let topic = self.topic.topic(&self.parts.config);
        let is_added =
            |partition| self.share.has(partition) && !self.progress.lock().knows(partition);
        match partitions::read_added(&self.consumer, &topic, is_added) {
            Ok(added) if added.is_empty() => {}
            Ok(added) => {
                tracing::info!(topic, partitions = ?added, "the topic has got partitions; reading them");
                for partition in added {
                    self.progress.lock().add(partition);
                }
                self.note_partitions();
            }
            // Whoever reads is told of brokers that are away.
            Err(error) => tracing::debug!(%error, topic, "cannot look for partitions"),
        }
    }

    fn note_partitions(&self) {
        let count = self.progress.lock().partitions();
        let partitions = self.parts.metrics.topics.partitions(self.topic.name());
        partitions.set(i64::try_from(count).unwrap_or(i64::MAX));
    }
}
