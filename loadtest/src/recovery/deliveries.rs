//! A producer that says of each record when Kafka acknowledged it, and where it is.

use anyhow::{Context, Result};
use rdkafka::ClientContext;
use rdkafka::message::DeliveryResult;
use rdkafka::message::Message as _;
use rdkafka::producer::{BaseRecord, ProducerContext, ThreadedProducer};
use tokio::sync::oneshot;
use tokio::time::Instant;

use super::log::Log;

/// Where a record is, and since when Kafka has it.
pub(super) struct Delivered {
    pub(super) at: Instant,
    pub(super) partition: i32,
    pub(super) offset: i64,
}

pub(super) struct Acknowledged(ThreadedProducer<Deliveries>);

struct Deliveries;

type Told = Result<Delivered, String>;

impl ClientContext for Deliveries {}

impl ProducerContext for Deliveries {
    type DeliveryOpaque = Box<oneshot::Sender<Told>>;

    fn delivery(&self, result: &DeliveryResult<'_>, waiting: Self::DeliveryOpaque) {
        let told = match result {
            Ok(message) => Ok(Delivered {
                at: Instant::now(),
                partition: message.partition(),
                offset: message.offset(),
            }),
            Err((error, _)) => Err(error.to_string()),
        };
        // Whoever asked may have given up.
        let _ = waiting.send(told);
    }
}

impl Acknowledged {
    /// Sends each record at once.
    pub(super) fn connect(log: &Log) -> Result<Self> {
        let producer = log
            .careful()
            .set("linger.ms", "0")
            .create_with_context(Deliveries);
        Ok(Self(producer.context("cannot create a Kafka producer")?))
    }

    /// Sends a record and waits until Kafka has it. Without a value it is a tombstone.
    pub(super) async fn send(
        &self,
        topic: &str,
        key: &str,
        value: Option<&[u8]>,
    ) -> Result<Delivered> {
        let (waiting, told) = oneshot::channel();
        let mut record = BaseRecord::with_opaque_to(topic, Box::new(waiting)).key(key);
        if let Some(value) = value {
            record = record.payload(value);
        }
        let sent = self.0.send(record).map_err(|(error, _)| error);
        sent.with_context(|| format!("cannot publish to {topic}"))?;
        let delivered = told.await.context("a record without an end")?;
        delivered.map_err(|error| anyhow::anyhow!("{topic} has not taken a record: {error}"))
    }
}
