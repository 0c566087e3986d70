//! A thread that reads a share of a topic and applies what it says.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

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
use super::state::TopicState;
use super::topic::Topic;
use super::{IngestError, Parts};
use crate::clock;
use crate::kafka::Reports;

/// How long one wait for a record lasts: the delay in noticing that the service stops.
const POLL: Duration = Duration::from_millis(50);

/// How often a look is taken for partitions that the topic got since.
const PARTITIONS_LOOK: Duration = Duration::from_secs(5);

/// How soon the next look is taken if the brokers did not answer, or a partition has none that serves it.
const LOOK_AGAIN: Duration = Duration::from_secs(1);

/// How often records that were refused are asked for again. Each time the brokers may say once more, for each partition, that they
/// are refused.
const ASK_AGAIN: Duration = Duration::from_secs(15);

/// How often the watermark is brought up to date.
const HOUSEKEEPING: Duration = Duration::from_millis(100);

pub(super) struct Reader {
    topic: Topic,
    share: Share,
    parts: Parts,
    consumer: BaseConsumer<Reports>,
    applier: Applier,
    /// Of all shares of the topic.
    progress: Arc<Mutex<Progress>>,
    stop: Arc<AtomicBool>,
    /// A partition no longer has the record that was to be read next, and reading has not begun anew yet: nothing is read.
    is_cut: bool,
    /// Nothing is read until Kafka has taken more dead letters.
    is_held: bool,
    /// When records that were refused were last asked for again.
    asked_again: Option<Instant>,
}

impl Reader {
    /// Those of a topic, one for each share of its partitions.
    pub(super) fn all(
        topic: Topic,
        parts: &Parts,
        stop: &Arc<AtomicBool>,
    ) -> Result<Vec<Self>, IngestError> {
        let (config, positions) = (&parts.config, Arc::clone(&parts.positions));
        let metrics = parts.metrics.topics.clone();
        let dead_letters = DeadLetters::new(config, &parts.bootstrap, positions, metrics)?;
        let dead_letters = Arc::new(dead_letters);
        let mut consumers = Vec::new();
        let mut starts = Vec::new();
        for share in topic.shares(&parts.config) {
            let consumer = consumer::unassigned(&parts.config, &parts.bootstrap)?;
            let known = consumer::known_at_start((topic, share), parts);
            let begun = consumer::begin((topic, share), parts, &consumer, &known, stop)?;
            starts.extend(begun);
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
            stop: Arc::clone(stop),
            is_cut: false,
            is_held: false,
            asked_again: None,
        };
        Ok(consumers.into_iter().map(reader).collect())
    }

    pub(super) const fn topic(&self) -> Topic {
        self.topic
    }

    pub(super) fn run(mut self) {
        self.note_partitions();
        let mut housekeeping_due = clock::instant();
        let mut look_due = housekeeping_due + PARTITIONS_LOOK;
        while !self.stop.load(Ordering::Relaxed) {
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
            if now >= look_due {
                look_due = now + self.look();
            }
        }
        self.applier.dead_letters.flush();
    }

    fn state(&self) -> &TopicState {
        self.parts.state.topic(self.topic)
    }

    /// Whether nothing is to be read for now: dead letters wait for Kafka, or these are labels that have run too far ahead of
    /// transactions.
    fn must_wait(&mut self) -> bool {
        let is_held = self.applier.dead_letters.is_full();
        if is_held != self.is_held {
            self.is_held = is_held;
            let topic = self.topic.name();
            self.parts.metrics.topics.hold(topic, is_held);
            self.state().heard.hold(is_held);
            if is_held {
                tracing::warn!(topic, "reading waits until Kafka takes dead letters");
            } else {
                tracing::info!(topic, "reading goes on: Kafka takes dead letters");
            }
        }
        let waiting = self.parts.store.labels_waiting();
        let is_ahead = self.topic == Topic::Labels && self.parts.state.must_labels_wait(waiting);
        is_held || is_ahead
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
        let state = self.state();
        let now = clock::wall_time();
        if !messages.is_empty() {
            state.heard.came(now);
        }
        match end {
            // Comes behind the last record of its partition.
            Some(KafkaError::PartitionEOF(partition)) => {
                state.heard.came(now);
                self.progress.lock().at_end(partition, state);
            }
            // Whoever is asked for a record that is not there says so once for each partition; beginning anew ends that.
            Some(error)
                if error.rdkafka_error_code() == Some(RDKafkaErrorCode::AutoOffsetReset) =>
            {
                self.begin_again();
            }
            // What it is has been logged by whoever reports for the consumer.
            Some(error) if is_refusal(&error) && state.heard.refused(now) => {
                let topic = self.topic.topic(&self.parts.config);
                tracing::error!(%error, topic, "the brokers refuse records of the topic; histories age until they give them");
            }
            Some(_) | None => {}
        }
    }

    fn apply(&self, messages: &[BorrowedMessage<'_>]) {
        // Held until the positions are those of what was applied.
        let mut applied = self.parts.positions.lock(self.topic, self.share);
        let event_times = self.applier.apply(messages);
        let state = self.state();
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
        let starts = consumer::begin(part, &self.parts, &self.consumer, &known, &self.stop);
        self.is_cut = starts.is_err();
        match starts {
            Ok(starts) => {
                self.progress.lock().begin_again(is_mine, &starts, state);
                self.note_partitions();
                tracing::warn!(topic, "reading has begun anew, since the log was cut");
            }
            Err(_) if self.stop.load(Ordering::Relaxed) => {}
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
        self.applier.dead_letters.keep_house();
        let mut progress = self.progress.lock();
        progress.report(self.topic, clock::instant(), self.state());
        let watermark = progress.watermark();
        drop(progress);
        if self.topic == Topic::Transactions {
            self.parts.store.advance_watermark(watermark);
        }
    }

    /// Sees whether there is more to read, and whether the brokers are there to say so. Returns how soon the next look is due.
    fn look(&mut self) -> Duration {
        if self.is_cut {
            self.begin_again();
        }
        let is_whole = self.read_added_partitions();
        if let Some(is_whole) = is_whole {
            self.state().heard.looked(is_whole, clock::wall_time());
        }
        if is_whole != Some(true) {
            return LOOK_AGAIN;
        }
        if self.state().heard.is_refused() && !self.is_cut {
            self.ask_again();
        }
        PARTITIONS_LOOK
    }

    /// Asks anew for records that were refused, now and then.
    fn ask_again(&mut self) {
        let now = clock::instant();
        let is_soon = |at: Instant| now.saturating_duration_since(at) < ASK_AGAIN;
        if self.asked_again.is_some_and(is_soon) {
            return;
        }
        self.asked_again = Some(now);
        let topic = self.topic.topic(&self.parts.config);
        let positions = self.parts.positions.lock(self.topic, self.share);
        let next: Vec<(i32, i64)> = positions
            .values()
            .map(|position| (position.partition, position.next))
            .collect();
        drop(positions);
        if let Err(error) = partitions::ask_again(&self.consumer, &topic, next.into_iter()) {
            tracing::debug!(%error, topic, "cannot ask for records again");
        }
    }

    /// Whether the topic is whole; `None` if the brokers do not say.
    fn read_added_partitions(&self) -> Option<bool> {
        let topic = self.topic.topic(&self.parts.config);
        let is_added =
            |partition| self.share.has(partition) && !self.progress.lock().knows(partition);
        let look = match partitions::read_added(&self.consumer, &topic, is_added) {
            Ok(look) => look,
            // Whoever reads is told of brokers that are away.
            Err(error) => {
                tracing::debug!(%error, topic, "cannot look for partitions");
                return None;
            }
        };
        if !look.added.is_empty() {
            tracing::info!(topic, partitions = ?look.added, "the topic has got partitions; reading them");
            for partition in look.added {
                self.progress.lock().add(partition);
            }
            self.note_partitions();
        }
        Some(look.is_whole)
    }

    fn note_partitions(&self) {
        let count = self.progress.lock().partitions();
        let partitions = self.parts.metrics.topics.partitions(self.topic.name());
        partitions.set(i64::try_from(count).unwrap_or(i64::MAX));
    }
}

/// Whether the brokers give no records, though they are there: they may not be read, or not as they are. That a topic is not there,
/// and that brokers are away, shows when its partitions are looked at.
fn is_refusal(error: &KafkaError) -> bool {
    use RDKafkaErrorCode::{
        BadCompression, BadMessage, InvalidMessage, NotImplemented, TopicAuthorizationFailed,
        UnsupportedCompressionType,
    };
    matches!(
        error.rdkafka_error_code(),
        Some(
            BadCompression
                | BadMessage
                | InvalidMessage
                | NotImplemented
                | TopicAuthorizationFailed
                | UnsupportedCompressionType
        )
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn brokers_that_refuse_are_told_from_those_that_are_away() {
        use RDKafkaErrorCode::{
            AllBrokersDown, AutoOffsetReset, BrokerTransportFailure, NotImplemented,
            TopicAuthorizationFailed, UnknownTopicOrPartition,
        };
        for (code, expected) in [
            (TopicAuthorizationFailed, true),
            (NotImplemented, true),
            (AllBrokersDown, false),
            (AutoOffsetReset, false),
            (BrokerTransportFailure, false),
            (UnknownTopicOrPartition, false),
        ] {
            let error = KafkaError::MessageConsumption(code);
            assert_eq!(is_refusal(&error), expected, "{error}");
        }
        assert!(!is_refusal(&KafkaError::PartitionEOF(0)));
    }
}
