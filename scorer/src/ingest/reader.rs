//! The thread that reads one topic and applies what it says.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use rdkafka::consumer::{BaseConsumer, Consumer, ConsumerContext};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::BorrowedMessage;
use rdkafka::{ClientContext, Message, Offset, TopicPartitionList};
use tollgate_features::{Applied, Labelled, Origin, Store};
use tollgate_types::{EventTime, Record};

use super::dead_letters::DeadLetters;
use super::decode::{self, DecodeError};
use super::letter::Place;
use super::partitions;
use super::positions::{self, Position};
use super::progress::Progress;
use super::start::{self, Known, Start};
use super::topic::Topic;
use super::{IngestError, Parts};
use crate::config::KafkaConfig;
use crate::{clock, convert, kafka};

/// How long one wait for a record lasts: the delay in noticing that the service stops.
const POLL: Duration = Duration::from_millis(50);

/// How long to wait for a broker's answer at start.
const METADATA_TIMEOUT: Duration = Duration::from_secs(10);

/// How often a look is taken for partitions that the topic got since.
const PARTITIONS_LOOK: Duration = Duration::from_secs(5);

/// How often the watermark and the gauge of lateness are brought up to date.
const HOUSEKEEPING: Duration = Duration::from_millis(100);

pub(super) struct Reader {
    topic: Topic,
    parts: Parts,
    consumer: BaseConsumer<Context>,
    dead_letters: DeadLetters,
    progress: Progress,
    /// A partition no longer has the record that was to be read next, and reading has not begun anew yet: nothing is read.
    is_cut: bool,
}

impl Reader {
    pub(super) fn new(topic: Topic, parts: Parts) -> Result<Self, IngestError> {
        let consumer = consumer(&parts.config, &parts.bootstrap)?;
        let starts = begin(topic, &parts, &consumer, &known_at_start(topic, &parts))?;
        let dead_letters = DeadLetters::new(&parts)?;
        let progress = Progress::new(&starts, parts.state.topic(topic));
        Ok(Self {
            topic,
            parts,
            consumer,
            dead_letters,
            progress,
            is_cut: false,
        })
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
        self.dead_letters.flush();
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
        // Held until the positions are those of what was applied.
        let mut applied = self.parts.positions.lock(self.topic);
        let event_times = match self.topic {
            Topic::Transactions => self.apply_transactions(&messages),
            Topic::Labels => self.apply_labels(&messages),
        };
        let state = self.parts.state.topic(self.topic);
        for (message, event_time) in messages.iter().zip(event_times) {
            let written_ms = message.timestamp().to_millis().unwrap_or(0);
            let written_at = EventTime::from_micros(written_ms.saturating_mul(1_000));
            let place = (message.partition(), message.offset());
            positions::applied(&mut applied, place, event_time);
            self.progress.applied(place, event_time, written_at, state);
            // Counted last: whoever sees the count may rely on the record being applied.
            self.parts
                .metrics
                .ingest_records
                .with_label_values(&[self.topic.name()])
                .inc();
        }
        drop(applied);
        match end {
            // Comes behind the last record of its partition.
            Some(KafkaError::PartitionEOF(partition)) => self.progress.at_end(partition, state),
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

    /// The log was cut where we read: reads on where it still has what comes next, and all that it has of the other partitions.
    /// The service is not ready until it has done so. Tried again later if the brokers do not answer.
    fn begin_again(&mut self) {
        let topic = self.topic.name();
        let state = self.parts.state.topic(self.topic);
        self.parts.state.begin_again(self.topic);
        let read: Vec<Position> = self
            .parts
            .positions
            .lock(self.topic)
            .values()
            .copied()
            .collect();
        let known = Known::Positions(&read);
        let starts = begin(self.topic, &self.parts, &self.consumer, &known);
        self.is_cut = starts.is_err();
        match starts {
            Ok(starts) => {
                self.progress = Progress::new(&starts, state);
                self.note_partitions();
                tracing::warn!(topic, "reading has begun anew, since the log was cut");
            }
            Err(error) => {
                tracing::error!(%error, topic, "the log was cut, and reading cannot begin anew yet");
            }
        }
    }

    fn keep_house(&mut self) {
        let now = clock::wall_time();
        self.progress.report(
            self.topic,
            clock::instant(),
            self.parts.state.topic(self.topic),
        );
        let (left, rate) = self.parts.state.replay();
        self.parts.metrics.snapshot.replay_left.set(left);
        self.parts.metrics.snapshot.replay_rate.set(rate);
        if self.topic == Topic::Transactions {
            self.parts
                .store
                .advance_watermark(self.progress.watermark());
            let behind = self.parts.state.behind(now).micros() / 1_000_000;
            self.parts.metrics.ingest_behind_seconds.set(behind);
        }
    }

    fn read_added_partitions(&mut self) {
        let topic = self.topic.topic(&self.parts.config);
        let known = |partition| self.progress.knows(partition);
        match partitions::read_added(&self.consumer, &topic, known) {
            Ok(added) if added.is_empty() => {}
            Ok(added) => {
                tracing::info!(topic, partitions = ?added, "the topic has got partitions; reading them");
                for partition in added {
                    self.progress.add(partition);
                }
                self.note_partitions();
            }
            // Whoever reads is told of brokers that are away.
            Err(error) => tracing::debug!(%error, topic, "cannot look for partitions"),
        }
    }

    fn note_partitions(&self) {
        let partitions = self.parts.metrics.topics.partitions(self.topic.name());
        partitions.set(i64::try_from(self.progress.partitions()).unwrap_or(i64::MAX));
    }

    /// Applies transactions, in order. Returns the event time of each that had one.
    fn apply_transactions(&self, messages: &[BorrowedMessage<'_>]) -> Vec<Option<EventTime>> {
        let policy = self.parts.policy.load();
        let logic = policy.logic();
        let format = self.topic.format(&self.parts.config);
        let decode = |message: &BorrowedMessage<'_>| {
            decode::transaction(message.payload(), format, clock::wall_time(), &logic.schema)
        };
        let decoded: Vec<Result<_, DecodeError>> = messages.iter().map(decode).collect();
        let records = decoded.iter().map(|decoded| {
            let (transaction, authorized) = decoded.as_ref().map_err(ToString::to_string)?;
            let record = convert::record(transaction, logic).map_err(|error| error.to_string())?;
            Ok((record, *authorized))
        });
        let records: Vec<Result<(Record<'_>, bool), String>> = records.collect();
        let ahead = records.iter().flatten();
        self.parts.store.look_ahead(ahead.map(|(record, _)| record));
        let each = messages.iter().zip(&records);
        each.map(|(message, record)| match record {
            Ok((record, authorized)) => {
                self.apply_transaction(record, *authorized);
                Some(record.event_time())
            }
            Err(error) => self.refuse(message, error),
        })
        .collect()
    }

    fn apply_transaction(&self, record: &Record<'_>, authorized: bool) {
        self.count(
            match self.parts.store.apply(record, Origin::Log { authorized }) {
                Applied::New => "new",
                Applied::Late => "late",
                Applied::Confirmed => "confirmed",
                Applied::Corrected => "corrected",
                Applied::Duplicate => "duplicate",
                Applied::Conflicting => "conflicting",
                Applied::TooOld => "too_old",
            },
        );
    }

    /// Applies labels, in order; they move no event time.
    fn apply_labels(&self, messages: &[BorrowedMessage<'_>]) -> Vec<Option<EventTime>> {
        let apply = |message: &BorrowedMessage<'_>| {
            let format = self.topic.format(&self.parts.config);
            let label = match decode::label(message.payload(), format, clock::wall_time()) {
                Ok(label) => label,
                Err(error) => return self.refuse(message, &error.to_string()),
            };
            self.count(match self.parts.store.label(&label) {
                Labelled::Known => "label",
                Labelled::Again => "label_again",
                Labelled::Changed => "label_changed",
                Labelled::Pending => "label_pending",
                Labelled::Dropped => "label_dropped",
            });
            None
        };
        messages.iter().map(apply).collect()
    }

    /// Sends a record to dead letters.
    fn refuse(&self, message: &BorrowedMessage<'_>, error: &str) -> Option<EventTime> {
        let place = Place {
            topic: message.topic(),
            partition: message.partition(),
            offset: message.offset(),
        };
        let format = self.topic.format(&self.parts.config);
        self.dead_letters.send(place, error, format);
        self.count("dead_letter");
        None
    }

    fn count(&self, result: &str) {
        self.parts
            .metrics
            .ingest_results
            .with_label_values(&[result])
            .inc();
    }
}

/// A consumer that has nothing assigned yet. Does not wait for Kafka.
pub(super) fn consumer(
    config: &KafkaConfig,
    bootstrap: &str,
) -> Result<BaseConsumer<Context>, KafkaError> {
    let mut settings = kafka::client_config(config, bootstrap);
    settings
        // Positions are the store's own; the group exists because the protocol asks for a name.
        .set("group.id", "tollgate")
        .set("enable.auto.commit", "false")
        .set("enable.partition.eof", "true")
        // If the log lost what was to be read next, that must not go unnoticed.
        .set("auto.offset.reset", "error");
    if config.bootstrap.is_empty() {
        // The embedded broker answers a fetch only after this time, whatever has arrived since.
        settings.set("fetch.wait.max.ms", "5");
    }
    settings.create_with_context(Context)
}

/// What librdkafka reports besides records. The end of a partition is no error here: it is asked for.
pub(super) struct Context;

impl ClientContext for Context {
    fn error(&self, error: KafkaError, reason: &str) {
        if !matches!(
            error.rdkafka_error_code(),
            Some(RDKafkaErrorCode::PartitionEOF)
        ) {
            tracing::warn!(%error, reason, "kafka consumer");
        }
    }
}

impl ConsumerContext for Context {}

/// Begins to read every partition of a topic where what is known says, and sets the positions to that.
fn begin(
    topic: Topic,
    parts: &Parts,
    consumer: &BaseConsumer<Context>,
    known: &Known<'_>,
) -> Result<Vec<Start>, IngestError> {
    let name = topic.topic(&parts.config);
    let ends = partitions::ends(consumer, &name, METADATA_TIMEOUT)?;
    if ends.is_empty() {
        return Err(IngestError::NoTopic {
            topic: name,
            key: topic.config_key(),
        });
    }
    let starts = start::find(consumer, &name, &ends, known, |partition, lost| {
        parts.metrics.snapshot.lost(lost);
        tracing::error!(
            topic = name,
            partition,
            lost = lost.name(),
            "the log no longer has what was to be read next; all that it has of the partition is read"
        );
    })?;
    let mut assignment = TopicPartitionList::new();
    for start in &starts {
        let offset = Offset::Offset(start.offset);
        assignment.add_partition_offset(&name, start.partition, offset)?;
    }
    consumer.assign(&assignment)?;
    let begun = starts.iter().map(|start| {
        let position = positions::at(start);
        (position.partition, position)
    });
    // Partitions that were known and that the topic has not any more go.
    *parts.positions.lock(topic) = begun.collect();
    Ok(starts)
}

/// What a start knows of where to begin.
fn known_at_start(topic: Topic, parts: &Parts) -> Known<'_> {
    match &parts.from {
        // A snapshot that was written before reading began knows of no partition.
        Some(from) if !from.topic(topic).is_empty() => Known::Positions(from.topic(topic)),
        // The embedded broker cannot look times up, and has nothing that is old.
        _ if parts.config.bootstrap.is_empty() => Known::Nothing,
        _ => {
            let retention_max = parts.store.schema().retention_max();
            Known::retention(clock::wall_time(), retention_max)
        }
    }
}
