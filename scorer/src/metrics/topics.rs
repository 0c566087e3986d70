//! Metrics of the topics that are read: whether they are waited for, how many partitions they have, and what became of the
//! letters about records that could not be read.

use prometheus::{IntCounterVec, IntGauge, IntGaugeVec, Opts};

use super::Maker;

const PUBLISHED: &str = "published";
const LOST: &str = "lost";

/// Labels are the two topics' words, not their names.
#[derive(Debug, Clone)]
pub(crate) struct TopicMetrics {
    waiting: IntGaugeVec,
    held: IntGaugeVec,
    partitions: IntGaugeVec,
    letters: IntCounterVec,
    letters_waiting: IntGauge,
}

impl TopicMetrics {
    pub(super) fn new(make: &Maker) -> Result<Self, prometheus::Error> {
        let gauges = |name: &str, help: &str| -> Result<IntGaugeVec, prometheus::Error> {
            let gauges = IntGaugeVec::new(Opts::new(format!("tollgate_{name}"), help), &["topic"])?;
            make.registry.register(Box::new(gauges.clone()))?;
            Ok(gauges)
        };
        let letters = make.counters(
            "dead_letters",
            "Dead letters: `published` once Kafka has one, `lost` if it never will.",
            "result",
        )?;
        for result in [PUBLISHED, LOST] {
            letters.with_label_values(&[result]).inc_by(0);
        }
        Ok(Self {
            letters,
            letters_waiting: make.gauge(
                "dead_letters_waiting",
                "Dead letters that Kafka has not acknowledged yet.",
            )?,
            held: gauges(
                "ingest_held",
                "1 while a topic is not read on, since too many dead letters wait for Kafka.",
            )?,
            waiting: gauges(
                "ingest_waiting",
                "1 while Kafka does not answer or the topic is not there, so that reading cannot begin.",
            )?,
            partitions: gauges("ingest_partitions", "Partitions of a topic that are read.")?,
        })
    }

    pub(crate) fn waiting(&self, topic: &str) -> IntGauge {
        self.waiting.with_label_values(&[topic])
    }

    /// Whether a topic is not read on until Kafka has taken dead letters.
    pub(crate) fn hold(&self, topic: &str, is_held: bool) {
        let held = self.held.with_label_values(&[topic]);
        held.set(i64::from(is_held));
    }

    pub(crate) fn letters_wait(&self, count: usize) {
        let count = i64::try_from(count).unwrap_or(i64::MAX);
        self.letters_waiting.set(count);
    }

    pub(crate) fn letter_published(&self) {
        self.letters.with_label_values(&[PUBLISHED]).inc();
    }

    pub(crate) fn letter_lost(&self) {
        self.letters.with_label_values(&[LOST]).inc();
    }

    pub(crate) fn partitions(&self, topic: &str) -> IntGauge {
        self.partitions.with_label_values(&[topic])
    }
}
