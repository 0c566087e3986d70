//! Waits for Kafka and for the topic to read: the service may be started before either is there.
//!
//! Until then it answers requests and is not ready. What is waited for is said at once, and again now and then.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use rdkafka::consumer::{BaseConsumer, Consumer};

use super::consumer;
use super::partitions;
use super::reader::Reader;
use super::topic::Topic;
use super::{IngestError, Parts};
use crate::clock;
use crate::kafka::Reports;

/// How long one look for the topic may take: the delay in noticing that the service stops.
const LOOK_MAX: Duration = Duration::from_secs(1);

/// Between two looks.
const LOOK_EVERY: Duration = Duration::from_millis(500);

/// How often the same is said again.
const TELL_EVERY: Duration = Duration::from_secs(30);

pub(super) struct Waiting {
    topic: Topic,
    parts: Parts,
    consumer: BaseConsumer<Reports>,
    told: Option<(String, Instant)>,
}

impl Waiting {
    /// Fails on settings that no Kafka could mend.
    pub(super) fn new(topic: Topic, parts: Parts) -> Result<Self, IngestError> {
        let consumer = consumer::unassigned(&parts.config, &parts.bootstrap)?;
        Ok(Self {
            topic,
            parts,
            consumer,
            told: None,
        })
    }

    /// Who reads it, once there is something to read; `None` if the service stops before.
    pub(super) fn readers(mut self, stop: &Arc<AtomicBool>) -> Option<Vec<Reader>> {
        let waiting = self.parts.metrics.topics.waiting(self.topic.name());
        let state = Arc::clone(&self.parts.state);
        let state = state.topic(self.topic);
        while !stop.load(Ordering::Relaxed) {
            let found = self
                .look()
                .and_then(|()| Reader::all(self.topic, &self.parts, stop));
            match found {
                Ok(readers) => {
                    waiting.set(0);
                    *state.waits_for.lock() = None;
                    state.heard.looked(true, clock::wall_time());
                    return Some(readers);
                }
                // Whatever it was, the stop may have caused it.
                Err(_) if stop.load(Ordering::Relaxed) => return None,
                Err(error) => {
                    let what = error.to_string();
                    self.tell(&what);
                    *state.waits_for.lock() = Some(what);
                }
            }
            waiting.set(1);
            // Nothing is assigned, so no record comes; what librdkafka has to say, of a refused password for one, does.
            let _ = self.consumer.poll(LOOK_EVERY);
        }
        None
    }

    /// Whether the topic is there and can be read, asked in less time than the reader would wait.
    fn look(&self) -> Result<(), IngestError> {
        let name = self.topic.topic(&self.parts.config);
        let partitions = partitions::of(&self.consumer, &name, LOOK_MAX)?;
        if partitions.is_empty() {
            return Err(IngestError::NoTopic {
                topic: name,
                key: self.topic.config_key(),
            });
        }
        // A topic that was just made, or whose brokers are gone.
        let mut partitions = partitions.into_iter();
        match partitions.find(|partition| !partition.has_leader) {
            Some(partition) => Err(IngestError::NoLeader {
                topic: name,
                partition: partition.id,
            }),
            None => self.look_whose(),
        }
    }

    /// Whether the brokers are of the cluster whose positions the store has; if it is not known yet, it is theirs.
    fn look_whose(&self) -> Result<(), IngestError> {
        let Some(cluster) = &self.parts.cluster else {
            return Ok(());
        };
        // The embedded broker was asked at the start, and is nobody else's.
        if self.parts.config.bootstrap.is_empty() {
            return Ok(());
        }
        let found = self.consumer.client().fetch_cluster_id(LOOK_MAX);
        let found = found.ok_or(IngestError::NoCluster)?;
        let known = cluster.get_or_init(|| found.clone());
        if *known == found {
            Ok(())
        } else {
            Err(IngestError::OtherCluster {
                known: known.clone(),
                found,
            })
        }
    }

    fn tell(&mut self, what: &str) {
        let now = clock::instant();
        let again = |(told, at): &(String, Instant)| told != what || now - *at >= TELL_EVERY;
        if self.told.as_ref().is_none_or(again) {
            let bootstrap = self.parts.bootstrap.as_str();
            tracing::warn!(bootstrap, "not ready, and waiting: {what}");
            self.told = Some((what.to_owned(), now));
        }
    }
}
