//! Metrics of the topics that are read: whether they are waited for, and how many partitions they have.

use prometheus::{IntGauge, IntGaugeVec, Opts};

use super::Maker;

/// Labels are the two topics' words, not their names.
#[derive(Debug, Clone)]
pub(crate) struct TopicMetrics {
    waiting: IntGaugeVec,
    partitions: IntGaugeVec,
}

impl TopicMetrics {
    pub(super) fn new(make: &Maker) -> Result<Self, prometheus::Error> {
        let gauges = |name: &str, help: &str| -> Result<IntGaugeVec, prometheus::Error> {
            let gauges = IntGaugeVec::new(Opts::new(format!("tollgate_{name}"), help), &["topic"])?;
            make.registry.register(Box::new(gauges.clone()))?;
            Ok(gauges)
        };
        Ok(Self {
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

    pub(crate) fn partitions(&self, topic: &str) -> IntGauge {
        self.partitions.with_label_values(&[topic])
    }
}
