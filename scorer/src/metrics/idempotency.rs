//! What becomes of transactions that come again.

use prometheus::{IntCounter, IntCounterVec, IntGauge};

use super::Maker;

#[derive(Debug, Clone)]
pub(crate) struct IdempotencyMetrics {
    duplicates: IntCounterVec,
    entries: IntGauge,
    bytes: IntGauge,
    evicted: IntCounter,
}

/// What became of a transaction that came again.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Duplicate {
    /// It was given the answer of the first.
    Replayed,
    /// It came while the first was being decided, and waited.
    Joined,
    /// Its content was another, and it was refused.
    Refused,
    /// Its content was another, and it was decided.
    DecidedAnew,
}

impl Duplicate {
    const ALL: [Self; 4] = [
        Self::Replayed,
        Self::Joined,
        Self::Refused,
        Self::DecidedAnew,
    ];

    const fn name(self) -> &'static str {
        match self {
            Self::Replayed => "replayed",
            Self::Joined => "joined",
            Self::Refused => "refused",
            Self::DecidedAnew => "decided_anew",
        }
    }
}

impl IdempotencyMetrics {
    pub(super) fn new(make: &Maker) -> Result<Self, prometheus::Error> {
        let duplicates = make.counters(
            "duplicates",
            "Transactions whose id came before, by what became of them.",
            "result",
        )?;
        // All series from the start, so that the first duplicate is seen to be one.
        for duplicate in Duplicate::ALL {
            duplicates.with_label_values(&[duplicate.name()]);
        }
        Ok(Self {
            duplicates,
            entries: make.gauge(
                "idempotency_entries",
                "Answers kept for those who ask again.",
            )?,
            bytes: make.gauge("idempotency_bytes", "Memory that kept answers take.")?,
            evicted: make.counter(
                "idempotency_evicted",
                "Answers that went before their time, because there were too many.",
            )?,
        })
    }

    pub(crate) fn count(&self, duplicate: Duplicate) {
        self.duplicates.with_label_values(&[duplicate.name()]).inc();
    }

    pub(crate) fn count_evicted(&self, count: usize) {
        self.evicted
            .inc_by(u64::try_from(count).unwrap_or(u64::MAX));
    }

    pub(crate) fn note(&self, answers: usize, bytes: usize) {
        let gauge = |count: usize| i64::try_from(count).unwrap_or(i64::MAX);
        self.entries.set(gauge(answers));
        self.bytes.set(gauge(bytes));
    }
}
