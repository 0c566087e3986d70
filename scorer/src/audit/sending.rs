//! The thread of the decision log: takes records in, sends them to Kafka, and has the spool keep what Kafka does not take in time.
//!
//! It may wait for the disk and nobody waits for it. Whatever fails is told, counted and tried again, and only what neither
//! memory nor the spool nor Kafka takes is lost.

use std::sync::Arc;
use std::time::{Duration, Instant};

use rdkafka::error::RDKafkaErrorCode;

use super::inbox::{Held, Inbox, Told};
use super::outbox::Outbox;
use super::publisher::{Delivery, NotSent, Publisher};
use super::spool::NotAppended;
use crate::clock;
use crate::config::DecisionLogConfig;
use crate::kafka;
use crate::lines::Lines;
use crate::metrics::{DecisionLogMetrics, RecordResult};

/// Records that are on their way at a time: far more than what is decided while Kafka acknowledges one.
const WINDOW: usize = 10_000;

/// Between two looks where nothing happens.
const TICK: Duration = Duration::from_millis(100);

/// Between two tries to hand a record to a producer that is full.
const ROOM_WAIT: Duration = Duration::from_millis(5);

/// Between two tries of what has failed.
const RETRY: Duration = Duration::from_secs(1);

/// How long after a failure to wait for what became of other records, before the producer is to give them up.
const SETTLE_MAX: Duration = Duration::from_secs(10);

/// How long a stopping service waits for the last records to be acknowledged.
const FLUSH_MAX: Duration = Duration::from_secs(5);

/// Between two marks on disk of how far Kafka has the records.
const MARK_EVERY: Duration = Duration::from_millis(500);

pub(super) struct Sending {
    outbox: Outbox,
    publisher: Publisher,
    inbox: Arc<Inbox>,
    config: DecisionLogConfig,
    metrics: DecisionLogMetrics,
    /// Records that were sent and of which nothing is known yet.
    in_flight: usize,
    /// Since when nothing is sent until it is known what became of all that was.
    failed_since: Option<Instant>,
    /// The producer had no room.
    is_crowded: bool,
    send_at: Instant,
    spill_at: Instant,
    mark_at: Instant,
    is_spooling: bool,
    failures: Lines,
    refusals: Lines,
    disk_failures: Lines,
    damages: Lines,
}

/// How it ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Ended {
    /// Records on disk that are sent after the next start.
    pub(super) kept: u64,
    pub(super) lost: u64,
}

impl Sending {
    pub(super) fn new(
        outbox: Outbox,
        publisher: Publisher,
        inbox: Arc<Inbox>,
        config: DecisionLogConfig,
        metrics: DecisionLogMetrics,
    ) -> Self {
        let now = clock::instant();
        Self {
            is_spooling: outbox.on_disk() > 0,
            outbox,
            publisher,
            inbox,
            config,
            metrics,
            in_flight: 0,
            failed_since: None,
            is_crowded: false,
            send_at: now,
            spill_at: now,
            mark_at: now,
            failures: Lines::new(),
            refusals: Lines::new(),
            disk_failures: Lines::new(),
            damages: Lines::new(),
        }
    }

    /// Until no more records come and Kafka has all, or has had its time.
    pub(super) fn run(mut self) -> Ended {
        let mut end_at = None;
        loop {
            let limit = if self.is_crowded { ROOM_WAIT } else { TICK };
            let told = self.inbox.wait(limit);
            let is_closed = told.is_closed;
            self.take(told);
            let now = clock::instant();
            self.spill_if_due(now);
            self.settle(now);
            self.send(now);
            self.note(now);
            if is_closed {
                let end_at = *end_at.get_or_insert(now + FLUSH_MAX);
                if self.outbox.is_empty() || now >= end_at {
                    return self.end(now);
                }
            }
        }
    }

    fn take(&mut self, told: Told) {
        for delivery in told.deliveries {
            self.in_flight = self.in_flight.saturating_sub(1);
            match delivery {
                Delivery::Acknowledged(number) => {
                    self.metrics.count(RecordResult::Published, 1);
                    self.outbox.done(number);
                }
                Delivery::Refused(number, code) => self.refused(number, code),
                Delivery::Failed(code) => self.failed(code),
            }
        }
        let now = clock::instant();
        for handed in told.records {
            self.outbox.push(handed.record, handed.ticket, now);
        }
    }

    /// Moves records to the spool where too many wait, or have waited too long.
    fn spill_if_due(&mut self, now: Instant) {
        if self.outbox.spool().is_none() || now < self.spill_at {
            return;
        }
        // With half of it left there is room for what comes while the disk is being written.
        let is_much = self.outbox.in_memory() >= self.config.memory_records_max / 2
            || self.outbox.memory_bytes() >= self.config.memory_bytes_max() / 2;
        let waited = self.outbox.waiting_since();
        let waited = waited.map(|since| now.saturating_duration_since(since));
        let is_long = waited.is_some_and(|waited| waited >= self.config.spool_after());
        if is_much || is_long {
            self.spill(now);
        }
    }

    fn spill(&mut self, now: Instant) {
        let began = clock::instant();
        let (moved, result) = self.outbox.spill();
        let took = clock::instant().saturating_duration_since(began);
        self.metrics.spooled(moved, took);
        if moved > 0 && !self.is_spooling {
            self.is_spooling = true;
            tracing::warn!(
                records = moved,
                "Kafka does not take decisions in time: they go to the spool, and to Kafka when it does"
            );
        }
        let Err(error) = result else {
            self.metrics.spool_full.set(0);
            return;
        };
        self.spill_at = now + RETRY;
        match &error {
            NotAppended::Full => self.metrics.spool_full.set(1),
            NotAppended::Disk(_) => self.metrics.spool_failures.inc(),
        }
        if let Some(times) = self.disk_failures.next() {
            let waiting = self.outbox.in_memory();
            tracing::error!(%error, times, waiting, "decisions wait in memory and will be lost if there is no more room");
        }
    }

    /// After a failure: sends again what Kafka does not have, once it is known what it has.
    fn settle(&mut self, now: Instant) {
        let Some(since) = self.failed_since else {
            return;
        };
        let waited = now.saturating_duration_since(since);
        if self.in_flight > 0 && waited < SETTLE_MAX {
            return;
        }
        if self.in_flight > 0 && waited < 2 * SETTLE_MAX {
            self.publisher.give_up();
            return;
        }
        if let Err(error) = self.publisher.revive() {
            tracing::error!(%error, "the decision log has no producer; tried again");
            self.failed_since = Some(now);
            return;
        }
        self.failed_since = None;
        self.in_flight = 0;
        self.outbox.rewind();
        self.send_at = now + RETRY;
    }

    fn send(&mut self, now: Instant) {
        self.is_crowded = false;
        if now < self.send_at {
            return;
        }
        while self.failed_since.is_none() && self.in_flight < WINDOW {
            let (number, record) = match self.outbox.peek() {
                Ok(Some(next)) => next,
                Ok(None) => break,
                Err(error) => {
                    self.metrics.spool_failures.inc();
                    if let Some(times) = self.disk_failures.next() {
                        tracing::error!(%error, times, "the spool cannot be read; tried again");
                    }
                    self.send_at = now + RETRY;
                    break;
                }
            };
            match self.publisher.send(number, record) {
                Ok(()) => {
                    self.in_flight += 1;
                    self.outbox.handed_over();
                }
                Err(NotSent::Full) => {
                    self.is_crowded = true;
                    break;
                }
                Err(NotSent::Refused(code)) => {
                    self.outbox.handed_over();
                    self.refused(number, code);
                }
                Err(NotSent::Failed(code)) => self.failed(code),
            }
        }
    }

    /// A record that Kafka will never take must not keep all behind it.
    fn refused(&mut self, number: u64, code: RDKafkaErrorCode) {
        self.metrics.count(RecordResult::Refused, 1);
        if let Some(refused) = self.refusals.next() {
            tracing::error!(%code, refused, "Kafka refuses a decision record; it is lost");
        }
        self.outbox.done(number);
    }

    fn failed(&mut self, code: RDKafkaErrorCode) {
        self.failed_since.get_or_insert_with(clock::instant);
        if let Some(failures) = self.failures.next() {
            let topic = self.publisher.topic();
            if kafka::is_no_topic(code) {
                tracing::error!(%code, failures, "topic {topic} does not exist; create it, or set kafka.decisions_topic to the topic for decision records, which wait until then");
            } else {
                tracing::error!(%code, failures, topic, "a decision record was not delivered to kafka.decisions_topic; it is sent again");
            }
        }
    }

    fn note(&mut self, now: Instant) {
        let damage = self.outbox.take_damage();
        if damage.records + damage.places > 0 {
            self.metrics.count(RecordResult::Damaged, damage.records);
            self.metrics.spool_damages.inc_by(damage.places);
            if let Some(times) = self.damages.next() {
                tracing::error!(?damage, times, "the spool is damaged; look at the disk");
            }
        }
        let held = Held {
            records: self.outbox.in_memory(),
            bytes: self.outbox.memory_bytes(),
        };
        self.inbox.note_held(held);
        self.metrics.note_memory(held.records, held.bytes);
        self.metrics.note_full(self.inbox.is_full());
        let on_disk = self.outbox.on_disk();
        if let Some(spool) = self.outbox.spool() {
            let oldest = spool.oldest().filter(|_| on_disk > 0);
            self.metrics.note_spool(on_disk, spool.bytes(), oldest);
        }
        if self.is_spooling && on_disk == 0 {
            self.is_spooling = false;
            self.metrics.spool_full.set(0);
            tracing::info!("Kafka has all decisions that were in the spool");
        }
        if on_disk > 0 && now >= self.mark_at {
            self.mark_at = now + MARK_EVERY;
            self.outbox.mark();
        }
    }

    /// What Kafka has not taken goes to the spool.
    fn end(mut self, now: Instant) -> Ended {
        if !self.outbox.is_empty() {
            self.spill(now);
            self.outbox.mark();
        }
        self.note(now);
        let on_disk = self.outbox.on_disk();
        let (kept, lost) = self.outbox.abandon();
        self.metrics.count(RecordResult::Unflushed, lost);
        Ended {
            kept: on_disk + kept,
            lost,
        }
    }
}
