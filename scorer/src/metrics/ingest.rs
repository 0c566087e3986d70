//! Metrics of records of the log: how many were dealt with, and what became of each.
//!
//! Every counter is looked up once: at hundreds of thousands of records a second, looking one up by its labels is a good part
//! of the work.

use prometheus::{IntCounter, IntCounterVec, IntGauge};
use tollgate_features::{Applied, Labelled};

use super::Maker;

/// What became of a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum IngestResult {
    Transaction(Applied),
    Label(Labelled),
    DeadLetter,
}

#[derive(Debug, Clone)]
pub(crate) struct IngestMetrics {
    pub(crate) transactions: IntCounter,
    pub(crate) labels: IntCounter,
    results: [IntCounter; IngestResult::NAMES.len()],
    pub(crate) behind_seconds: IntGauge,
}

impl IngestResult {
    /// The words in metrics, in the order of [`IngestResult::place`].
    const NAMES: [&'static str; 13] = [
        "new",
        "late",
        "confirmed",
        "corrected",
        "duplicate",
        "conflicting",
        "too_old",
        "label",
        "label_again",
        "label_changed",
        "label_pending",
        "label_dropped",
        "dead_letter",
    ];

    const fn place(self) -> usize {
        match self {
            Self::Transaction(applied) => match applied {
                Applied::New => 0,
                Applied::Late => 1,
                Applied::Confirmed => 2,
                Applied::Corrected => 3,
                Applied::Duplicate => 4,
                Applied::Conflicting => 5,
                Applied::TooOld => 6,
            },
            Self::Label(labelled) => match labelled {
                Labelled::Known => 7,
                Labelled::Again => 8,
                Labelled::Changed => 9,
                Labelled::Pending => 10,
                Labelled::Dropped => 11,
            },
            Self::DeadLetter => 12,
        }
    }
}

impl IngestMetrics {
    pub(super) fn new(make: &Maker) -> Result<Self, prometheus::Error> {
        let records = make.counters(
            "ingest_records",
            "Records of a topic that were dealt with, whatever became of them.",
            "topic",
        )?;
        let results: IntCounterVec = make.counters(
            "ingest_results",
            "What became of records and labels.",
            "result",
        )?;
        Ok(Self {
            transactions: records.with_label_values(&["transactions"]),
            labels: records.with_label_values(&["labels"]),
            results: IngestResult::NAMES.map(|name| results.with_label_values(&[name])),
            behind_seconds: make.gauge(
                "ingest_behind_seconds",
                "Age of the last record applied while more are waiting, or seconds since brokers were heard of, whichever is more; 0 if \
                 caught up.",
            )?,
        })
    }

    pub(crate) fn count(&self, result: IngestResult) {
        self.results[result.place()].inc();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::Metrics;

    #[test]
    fn each_result_is_counted_under_its_own_word() {
        let metrics = Metrics::new().unwrap();
        for result in [
            IngestResult::Transaction(Applied::TooOld),
            IngestResult::Label(Labelled::Known),
            IngestResult::Label(Labelled::Known),
            IngestResult::DeadLetter,
        ] {
            metrics.ingest.count(result);
        }
        let page = metrics.render();
        for (result, count) in [
            ("too_old", 1),
            ("label", 2),
            ("dead_letter", 1),
            ("label_dropped", 0),
        ] {
            let line = format!("tollgate_ingest_results_total{{result=\"{result}\"}} {count}");
            assert!(page.contains(&line), "{line}");
        }
    }
}
