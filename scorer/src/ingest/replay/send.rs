//! Sends records once more, as they were, and notes of each that has arrived that it was sent.

use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{BorrowedMessage, DeliveryResult, Header, ToBytes};
use rdkafka::producer::{BaseRecord, Producer, ProducerContext, ThreadedProducer};
use rdkafka::{ClientContext, Message};

use super::{Groups, ReplayError};
use crate::config::KafkaConfig;
use crate::ingest::letter::{self, Place, REPLAY_OF};
use crate::{clock, kafka};

/// Records on their way at once, and so those whose arrival is still to be noted.
const ON_THE_WAY_MAX: &str = "10000";

/// How long Kafka may take for one record: someone waits for the command to end.
const DELIVERY_MS_MAX: &str = "60000";

/// How long all that is on its way may take, and the wait for room for one more: a little longer than any of it.
const FLUSH_MAX: Duration = Duration::from_secs(70);

/// One wait for room.
const ROOM_WAIT: Duration = Duration::from_millis(100);

pub(super) struct Sender {
    producer: ThreadedProducer<Delivery>,
    letters_topic: String,
    arrivals: Arc<Mutex<Arrivals>>,
}

/// What was sent.
pub(super) struct Sent {
    /// Records that have reached their topic.
    pub(super) arrived: u64,
    /// Of how many of them no letter says so.
    pub(super) unmarked: u64,
    /// Records that Kafka did not take.
    pub(super) failed: Groups,
}

#[derive(Default)]
struct Arrivals {
    arrived: u64,
    unmarked: u64,
    failed: Groups,
    /// Those of which nothing says yet that they have arrived. Emptied before each record that is sent, so there are no more than
    /// are on their way.
    unnoted: Vec<Arrived>,
}

/// What is on its way.
enum Load {
    Copy(Copied),
    /// A letter that says of a record that it was sent.
    Mark,
}

struct Copied {
    topic: String,
    partition: i32,
    offset: i64,
    letter_partition: i32,
}

struct Arrived {
    of: Copied,
    offset: i64,
}

impl Copied {
    fn place(&self) -> Place<'_> {
        Place {
            topic: &self.topic,
            partition: self.partition,
            offset: self.offset,
        }
    }
}

struct Delivery {
    arrivals: Arc<Mutex<Arrivals>>,
}

impl ClientContext for Delivery {}

impl ProducerContext for Delivery {
    type DeliveryOpaque = Box<Load>;

    fn delivery(&self, result: &DeliveryResult<'_>, load: Box<Load>) {
        let mut arrivals = self.arrivals.lock();
        match (*load, result) {
            (Load::Copy(of), Ok(copy)) => {
                arrivals.arrived += 1;
                let offset = copy.offset();
                arrivals.unnoted.push(Arrived { of, offset });
            }
            (Load::Copy(of), Err((error, _))) => {
                let now = clock::wall_time();
                arrivals.failed.add(&error.to_string(), of.place(), now);
            }
            (Load::Mark, Ok(_)) => {}
            (Load::Mark, Err(_)) => arrivals.unmarked += 1,
        }
    }
}

impl Sender {
    pub(super) fn new(config: &KafkaConfig) -> Result<Self, ReplayError> {
        let arrivals = Arc::default();
        let mut settings = kafka::producer_config(config, &config.bootstrap);
        settings
            .set("queue.buffering.max.messages", ON_THE_WAY_MAX)
            .set("delivery.timeout.ms", DELIVERY_MS_MAX);
        let producer = settings.create_with_context(Delivery {
            arrivals: Arc::clone(&arrivals),
        })?;
        Ok(Self {
            producer,
            letters_topic: config.dead_letters_topic.clone(),
            arrivals,
        })
    }

    /// Sends a record to the partition it is in, with its key, value, headers and time, and a header that says what it is a copy of.
    pub(super) fn send_again(
        &self,
        message: &BorrowedMessage<'_>,
        place: Place<'_>,
        letter_partition: i32,
    ) -> Result<(), ReplayError> {
        self.note_arrivals()?;
        let headers = message
            .headers()
            .map(rdkafka::message::BorrowedHeaders::detach);
        let headers = headers.unwrap_or_default().insert(Header {
            key: REPLAY_OF,
            value: Some(&place.to_string()),
        });
        let load = Load::Copy(Copied {
            topic: place.topic.to_owned(),
            partition: place.partition,
            offset: place.offset,
            letter_partition,
        });
        // Its partition was chosen by whoever sent it first, by rules that are not known here.
        let mut record = BaseRecord::<[u8], [u8], _>::with_opaque_to(place.topic, Box::new(load))
            .partition(place.partition)
            .headers(headers);
        record.key = message.key();
        record.payload = message.payload();
        record.timestamp = message.timestamp().to_millis();
        self.send(record)
    }

    /// Writes letters that say of what has arrived that it was sent, beside those about the same records: so they outlive them.
    fn note_arrivals(&self) -> Result<(), ReplayError> {
        let arrived = std::mem::take(&mut self.arrivals.lock().unnoted);
        for Arrived { of, offset } in arrived {
            let copy = Place {
                offset,
                ..of.place()
            };
            let letter = letter::replayed(of.place(), copy, clock::wall_time());
            let record =
                BaseRecord::<(), str, _>::with_opaque_to(&self.letters_topic, Box::new(Load::Mark))
                    .partition(of.letter_partition)
                    .payload(&letter.value)
                    .headers(letter.headers);
            self.send(record)?;
        }
        Ok(())
    }

    /// Waits for room, if there is none.
    fn send<K, P>(&self, mut record: BaseRecord<'_, K, P, Box<Load>>) -> Result<(), ReplayError>
    where
        K: ToBytes + ?Sized,
        P: ToBytes + ?Sized,
    {
        let give_up = clock::instant() + FLUSH_MAX;
        loop {
            let (error, back) = match self.producer.send(record) {
                Ok(()) => return Ok(()),
                Err(refused) => refused,
            };
            let is_full = error.rdkafka_error_code() == Some(RDKafkaErrorCode::QueueFull);
            if !is_full || clock::instant() >= give_up {
                return Err(error.into());
            }
            record = back;
            // What has arrived by then made room.
            let _ = self.producer.flush(ROOM_WAIT);
        }
    }

    /// Waits for everything that is on its way, and for the letters about it.
    pub(super) fn finish(self) -> Result<Sent, ReplayError> {
        self.flush()?;
        self.note_arrivals()?;
        self.flush()?;
        let arrivals = std::mem::take(&mut *self.arrivals.lock());
        Ok(Sent {
            arrived: arrivals.arrived,
            unmarked: arrivals.unmarked,
            failed: arrivals.failed,
        })
    }

    fn flush(&self) -> Result<(), KafkaError> {
        self.producer.flush(FLUSH_MAX)
    }
}
