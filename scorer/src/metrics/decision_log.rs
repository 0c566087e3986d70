//! Metrics of the decision log: where records are, and what became of them.

use std::time::Duration;

use prometheus::{Gauge, Histogram, IntCounter, IntCounterVec, IntGauge};

use super::Maker;
use crate::clock;

/// What became of a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum RecordResult {
    /// Kafka has acknowledged it.
    Published,
    /// It went to the spool; it is counted again when Kafka has it.
    Spooled,
    /// There was no room for it.
    Dropped,
    /// Kafka will never take it: it is too large, say.
    Refused,
    /// It was in the spool and cannot be read.
    Damaged,
    /// The service stopped before Kafka had it, and there was no spool for it.
    Unflushed,
}

impl RecordResult {
    const ALL: [Self; 6] = [
        Self::Published,
        Self::Spooled,
        Self::Dropped,
        Self::Refused,
        Self::Damaged,
        Self::Unflushed,
    ];

    const fn name(self) -> &'static str {
        match self {
            Self::Published => "published",
            Self::Spooled => "spooled",
            Self::Dropped => "dropped",
            Self::Refused => "refused",
            Self::Damaged => "damaged",
            Self::Unflushed => "unflushed",
        }
    }
}

/// Where records are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Places {
    pub(crate) memory_records: i64,
    pub(crate) spool_records: i64,
    pub(crate) spool_bytes: i64,
}

/// Why a decision was not logged before it was answered, where it was to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unlogged {
    /// The log takes no more.
    Full,
    /// The disk did not have it in time.
    Slow,
    /// The disk failed.
    Failed,
}

impl Unlogged {
    const ALL: [Self; 3] = [Self::Full, Self::Slow, Self::Failed];

    const fn name(self) -> &'static str {
        match self {
            Self::Full => "full",
            Self::Slow => "slow",
            Self::Failed => "failed",
        }
    }
}

#[derive(Debug, Clone)]
pub(crate) struct DecisionLogMetrics {
    records: IntCounterVec,
    full: IntGauge,
    memory_records: IntGauge,
    memory_bytes: IntGauge,
    spool_records: IntGauge,
    spool_bytes: IntGauge,
    spool_oldest_seconds: Gauge,
    pub(crate) spool_full: IntGauge,
    pub(crate) spool_failures: IntCounter,
    pub(crate) spool_damages: IntCounter,
    pub(crate) spool_cuts: IntCounter,
    spool_latency: Histogram,
    sync_latency: Histogram,
    pub(crate) early_bytes: IntGauge,
    unlogged: IntCounterVec,
}

impl DecisionLogMetrics {
    pub(super) fn new(make: &Maker) -> Result<Self, prometheus::Error> {
        let records = make.counters(
            "audit_records",
            "Decision records by what became of them.",
            "result",
        )?;
        // So that an alert sees the first one as an increase.
        for result in RecordResult::ALL {
            records.with_label_values(&[result.name()]).inc_by(0);
        }
        let unlogged = make.counters(
            "decision_log_unlogged",
            "Decisions that could not be logged before they were answered, where they were to be.",
            "reason",
        )?;
        for reason in Unlogged::ALL {
            unlogged.with_label_values(&[reason.name()]).inc_by(0);
        }
        Ok(Self {
            records,
            unlogged,
            full: make.gauge(
                "decision_log_full",
                "1 while neither memory nor the spool takes more decisions.",
            )?,
            memory_records: make.gauge(
                "decision_log_memory_records",
                "Decision records in memory that Kafka has not acknowledged: what a crash would lose.",
            )?,
            memory_bytes: make.gauge("decision_log_memory_bytes", "Memory that they take.")?,
            spool_records: make.gauge(
                "decision_log_spool_records",
                "Decision records on disk that Kafka has not acknowledged.",
            )?,
            spool_bytes: make.gauge("decision_log_spool_bytes", "Size of the spool.")?,
            spool_oldest_seconds: make.seconds_gauge(
                "decision_log_spool_oldest_seconds",
                "Age of the oldest file of the spool; 0 while it is empty.",
            )?,
            spool_full: make.gauge(
                "decision_log_spool_full",
                "1 while the spool has as much as it may.",
            )?,
            spool_failures: make.counter(
                "decision_log_spool_failures",
                "Failures of the disk to write or read the spool.",
            )?,
            spool_damages: make.counter(
                "decision_log_spool_damages",
                "Places of the spool that could not be read and were skipped.",
            )?,
            spool_cuts: make.counter(
                "decision_log_spool_cuts",
                "Files of the spool that ended in the middle of a record at start.",
            )?,
            spool_latency: make.latency(
                "decision_log_spool",
                "Writing a batch of records to the spool, until the disk has it.",
            )?,
            sync_latency: make.latency(
                "decision_log_sync",
                "Writing decisions before they are answered, until the disk has them.",
            )?,
            early_bytes: make.gauge(
                "decision_log_early_bytes",
                "Size of what was written before it was answered and is still needed.",
            )?,
        })
    }

    pub(crate) fn count(&self, result: RecordResult, count: u64) {
        self.records
            .with_label_values(&[result.name()])
            .inc_by(count);
    }

    /// How many records have become of this.
    pub(crate) fn counted(&self, result: RecordResult) -> u64 {
        self.records.with_label_values(&[result.name()]).get()
    }

    /// So many records were written to the spool, which took so long.
    pub(crate) fn spooled(&self, records: usize, took: Duration) {
        let records = u64::try_from(records).unwrap_or(u64::MAX);
        self.count(RecordResult::Spooled, records);
        self.spool_latency.observe(took.as_secs_f64());
    }

    /// Decisions were written before they are answered, which took so long.
    pub(crate) fn synced(&self, took: Duration) {
        self.sync_latency.observe(took.as_secs_f64());
    }

    pub(crate) fn unlogged(&self, reason: Unlogged) {
        self.unlogged.with_label_values(&[reason.name()]).inc();
    }

    pub(crate) fn note_memory(&self, records: usize, bytes: usize) {
        self.memory_records.set(gauge(records));
        self.memory_bytes.set(gauge(bytes));
    }

    /// Where records are, as of the last look.
    pub(crate) fn places(&self) -> Places {
        Places {
            memory_records: self.memory_records.get(),
            spool_records: self.spool_records.get(),
            spool_bytes: self.spool_bytes.get(),
        }
    }

    pub(crate) fn note_full(&self, is_full: bool) {
        self.full.set(is_full.into());
    }

    /// `oldest` in microseconds since 1970.
    pub(crate) fn note_spool(&self, records: u64, bytes: u64, oldest: Option<i64>) {
        self.spool_records.set(gauge(records));
        self.spool_bytes.set(gauge(bytes));
        let age = oldest.map_or(0, |oldest| (clock::wall_time().micros() - oldest).max(0));
        let age = Duration::from_micros(u64::try_from(age).unwrap_or(0));
        self.spool_oldest_seconds.set(age.as_secs_f64());
    }
}

fn gauge<N: TryInto<i64>>(value: N) -> i64 {
    value.try_into().unwrap_or(i64::MAX)
}
