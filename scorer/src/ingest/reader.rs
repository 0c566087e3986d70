//! The thread that reads one topic and applies what it says.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use rdkafka::consumer::{BaseConsumer, Consumer, ConsumerContext};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::BorrowedMessage;
use rdkafka::{ClientContext, Message, Offset, TopicPartitionList};
use tollgate_features::{Applied, Labelled, Origin};
use tollgate_types::EventTime;

use super::dead_letters::{DeadLetters, Place};
use super::decode::{self, DecodeError};
use super::progress::Progress;
use super::topic::Topic;
use super::{IngestError, Parts};
use crate::{clock, convert, kafka};

/// How long one wait for a record lasts: the delay in noticing that the service stops.
const POLL: Duration = Duration::from_millis(50);

/// How long to wait for a broker's answer at start.
const METADATA_TIMEOUT: Duration = Duration::from_secs(10);

/// How often the watermark and the gauge of lateness are brought up to date.
const HOUSEKEEPING: Duration = Duration::from_millis(100);

pub(super) struct Reader {
    topic: Topic,
    parts: Parts,
    consumer: BaseConsumer<Context>,
    dead_letters: DeadLetters,
    progress: Progress,
}

impl Reader {
    pub(super) fn new(topic: Topic, parts: Parts) -> Result<Self, IngestError> {
        let mut settings = kafka::client_config(&parts.config, &parts.bootstrap);
        settings
            // Positions are the store's own; the group exists because the protocol asks for a name.
            .set("group.id", "tollgate")
            .set("enable.auto.commit", "false")
            .set("enable.partition.eof", "true")
            // If the log lost what was to be read next, all that is left is read: applying is idempotent.
            .set("auto.offset.reset", "earliest");
        if parts.config.bootstrap.is_empty() {
            // The embedded broker answers a fetch only after this time, whatever has arrived since.
            settings.set("fetch.wait.max.ms", "5");
        }
        let consumer: BaseConsumer<Context> = settings.create_with_context(Context)?;
        let name = topic.topic(&parts.config);
        let partitions = partitions(&consumer, &name)?;
        if partitions.is_empty() {
            return Err(IngestError::NoTopic {
                topic: name,
                key: topic.config_key(),
            });
        }
        let mut assignment = TopicPartitionList::new();
        let mut ends = Vec::with_capacity(partitions.len());
        for partition in partitions {
            let ends_now = consumer.fetch_watermarks(&name, partition, METADATA_TIMEOUT)?;
            ends.push((partition, ends_now));
            assignment.add_partition_offset(&name, partition, Offset::Beginning)?;
        }
        consumer.assign(&assignment)?;
        let dead_letters = DeadLetters::new(&parts.config, &parts.bootstrap)?;
        let progress = Progress::new(ends.into_iter(), parts.state.topic(topic));
        Ok(Self {
            topic,
            parts,
            consumer,
            dead_letters,
            progress,
        })
    }

    pub(super) fn run(mut self, stop: &AtomicBool) {
        let mut housekeeping_due = clock::instant();
        while !stop.load(Ordering::Relaxed) {
            self.poll();
            let now = clock::instant();
            if now >= housekeeping_due {
                housekeeping_due = now + HOUSEKEEPING;
                self.keep_house();
            }
        }
        self.dead_letters.flush();
    }

    /// Waits for one record and deals with it.
    fn poll(&mut self) {
        let state = self.parts.state.topic(self.topic);
        match self.consumer.poll(POLL) {
            Some(Ok(message)) => {
                let event_time = self.apply(&message);
                let written_ms = message.timestamp().to_millis().unwrap_or(0);
                let written_at = EventTime::from_micros(written_ms.saturating_mul(1_000));
                let place = (message.partition(), message.offset());
                self.progress.applied(place, event_time, written_at, state);
                // Counted last: whoever sees the count may rely on the record being applied.
                self.parts
                    .metrics
                    .ingest_records
                    .with_label_values(&[self.topic.name()])
                    .inc();
            }
            Some(Err(KafkaError::PartitionEOF(partition))) => {
                self.progress.at_end(partition, state);
            }
            Some(Err(error)) => tracing::warn!(%error, topic = self.topic.name(), "kafka consumer"),
            None => {}
        }
    }

    fn keep_house(&self) {
        let now = clock::wall_time();
        if self.topic == Topic::Transactions {
            self.parts
                .store
                .advance_watermark(self.progress.watermark());
            let behind = self.parts.state.behind(now).micros() / 1_000_000;
            self.parts.metrics.ingest_behind_seconds.set(behind);
        }
    }

    /// Applies a record, or sends it to dead letters. Returns its event time if it had one.
    fn apply(&self, message: &BorrowedMessage<'_>) -> Option<EventTime> {
        let applied = match self.topic {
            Topic::Transactions => self.apply_transaction(message),
            Topic::Labels => self.apply_label(message),
        };
        let (result, event_time) = applied.unwrap_or_else(|error| {
            let place = Place {
                topic: message.topic(),
                partition: message.partition(),
                offset: message.offset(),
            };
            self.dead_letters.send(place, &error.to_string());
            ("dead_letter", None)
        });
        self.parts
            .metrics
            .ingest_results
            .with_label_values(&[result])
            .inc();
        event_time
    }

    fn apply_transaction(
        &self,
        message: &BorrowedMessage<'_>,
    ) -> Result<(&'static str, Option<EventTime>), DecodeError> {
        let (mut transaction, authorized) =
            decode::transaction(message.payload(), clock::wall_time())?;
        let policy = self.parts.policy.load();
        let logic = policy.logic();
        convert::keep_declared(&mut transaction, &logic.schema);
        let record = convert::record(&transaction, logic)?;
        let result = match self.parts.store.apply(&record, Origin::Log { authorized }) {
            Applied::New => "new",
            Applied::Late => "late",
            Applied::Confirmed => "confirmed",
            Applied::Corrected => "corrected",
            Applied::Duplicate => "duplicate",
            Applied::Conflicting => "conflicting",
            Applied::TooOld => "too_old",
        };
        Ok((result, Some(transaction.event_time)))
    }

    fn apply_label(
        &self,
        message: &BorrowedMessage<'_>,
    ) -> Result<(&'static str, Option<EventTime>), DecodeError> {
        let label = decode::label(message.payload(), clock::wall_time())?;
        let result = match self.parts.store.label(&label) {
            Labelled::Known => "label",
            Labelled::Again => "label_again",
            Labelled::Changed => "label_changed",
            Labelled::Pending => "label_pending",
            Labelled::Dropped => "label_dropped",
        };
        Ok((result, None))
    }
}

/// What librdkafka reports besides records. The end of a partition is no error here: it is asked for.
struct Context;

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

fn partitions(consumer: &BaseConsumer<Context>, topic: &str) -> Result<Vec<i32>, KafkaError> {
    let metadata = consumer.fetch_metadata(Some(topic), METADATA_TIMEOUT)?;
    let found = metadata
        .topics()
        .first()
        .map_or(&[][..], |found| found.partitions());
    Ok(found
        .iter()
        .map(rdkafka::metadata::MetadataPartition::id)
        .collect())
}
