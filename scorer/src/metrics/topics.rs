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
    partitions: IntGaugeVec,
    letters: IntCounterVec,
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
