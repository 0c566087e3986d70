//! Records that could not be read, kept for someone to look at.
//!
//! A dead letter says where the record was and what was wrong. The record's own bytes stay in the topic they
//! came from: they may hold a card number, and must not spread.
//!
//! A letter that Kafka does not take is kept and sent again until it does. Once too many are kept the topic's readers wait: a wrong
//! format makes a letter of every record, and a letter that is not written is a record that nobody hears of.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::{Mutex, RwLock};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{BorrowedHeaders, DeliveryResult, OwnedHeaders};
use rdkafka::producer::{BaseRecord, Producer, ProducerContext, ThreadedProducer};
use rdkafka::{ClientConfig, ClientContext, Message};

use super::letter::{self, Place};
use super::letters::Letters;
use super::positions::Positions;
use crate::config::{Format, KafkaConfig};
use crate::lines::Lines;
use crate::metrics::TopicMetrics;
use crate::{clock, kafka};

/// Letters that are kept before reading waits, besides those in the producer's queue: some megabytes, and more than a topic with a
/// bad record now and then has in days.
const KEPT_MAX: usize = 10_000;

/// How soon letters are sent again that Kafka did not take.
const AGAIN: Duration = Duration::from_secs(1);

/// How often it is said that it does not.
const TELL_EVERY: Duration = Duration::from_secs(30);

/// How long an ending reader waits for its last letters to be acknowledged: less than a service that stops waits for its threads.
const FLUSH_MAX: Duration = Duration::from_secs(3);

static REFUSED: Lines = Lines::new();
static LOST: Lines = Lines::new();

/// Those of one topic's readers.
pub(super) struct DeadLetters {
    settings: ClientConfig,
    producer: RwLock<ThreadedProducer<Delivery>>,
    delivery: Delivery,
}

/// What becomes of letters.
#[derive(Clone)]
struct Delivery {
    /// The letters' own.
    topic: String,
    positions: Arc<Positions>,
    metrics: TopicMetrics,
    kept: Arc<Mutex<Kept>>,
}

#[derive(Default)]
struct Kept {
    letters: VecDeque<Unsent>,
    /// Until then none is sent again.
    again_at: Option<Instant>,
    told_at: Option<Instant>,
}

/// A letter that is to be sent.
struct Unsent {
    number: usize,
    value: Vec<u8>,
    headers: OwnedHeaders,
}

impl ClientContext for Delivery {}

impl ProducerContext for Delivery {
    /// The letter's number.
    type DeliveryOpaque = usize;

    fn delivery(&self, result: &DeliveryResult<'_>, number: usize) {
        match result {
            Ok(_) => {
                self.metrics.letter_published();
                self.letters().done(number);
            }
            Err((error, message)) => {
                let headers = message.headers().map(BorrowedHeaders::detach);
                let unsent = Unsent {
                    number,
                    value: message.payload().unwrap_or_default().to_vec(),
                    headers: headers.unwrap_or_default(),
                };
                self.not_taken(unsent, error);
            }
        }
    }
}

impl Delivery {
    fn letters(&self) -> &Letters {
        self.positions.letters()
    }

    /// Keeps a letter, unless Kafka would never take it. Until one that is kept has arrived, no snapshot is written behind its
    /// record, and where the service ends before, the next start reads the record again.
    fn not_taken(&self, unsent: Unsent, error: &KafkaError) {
        use RDKafkaErrorCode::{
            InvalidMessageSize, MessageSizeTooLarge, PurgeInflight, PurgeQueue, QueueFull,
        };
        match error.rdkafka_error_code() {
            Some(MessageSizeTooLarge | InvalidMessageSize) => self.lose(unsent.number, error),
            // There is no room yet, or the producer has ended.
            Some(QueueFull | PurgeQueue | PurgeInflight) => {
                self.kept.lock().letters.push_front(unsent);
            }
            _ => {
                let now = clock::instant();
                let mut kept = self.kept.lock();
                kept.letters.push_front(unsent);
                kept.again_at = Some(now + AGAIN);
                let told_at = kept.told_at;
                if told_at.is_some_and(|at| now.saturating_duration_since(at) < TELL_EVERY) {
                    return;
                }
                kept.told_at = Some(now);
                drop(kept);
                let what = what(error, &self.topic);
                tracing::error!("dead letters are kept and sent again: {what}");
            }
        }
    }

    fn lose(&self, number: usize, error: &KafkaError) {
        self.letters().done(number);
        self.metrics.letter_lost();
        if let Some(count) = LOST.next() {
            let topic = &self.topic;
            tracing::error!(%error, topic, count, "dead letter lost: Kafka will never take it");
        }
    }

    /// A letter that may be sent now.
    fn next(&self) -> Option<Unsent> {
        let mut kept = self.kept.lock();
        if kept.again_at.is_some_and(|at| clock::instant() < at) {
            return None;
        }
        kept.again_at = None;
        kept.letters.pop_front()
    }
}

/// Why Kafka does not take letters and, where that is known, what to do about it.
fn what(error: &KafkaError, topic: &str) -> String {
    use RDKafkaErrorCode::TopicAuthorizationFailed;
    match error.rdkafka_error_code() {
        Some(code) if kafka::is_no_topic(code) => format!(
            "topic {topic} does not exist; create it, or set kafka.dead_letters_topic to the topic to write"
        ),
        Some(TopicAuthorizationFailed) => format!(
            "topic {topic} may not be written; allow it, or set kafka.dead_letters_topic to the topic to write"
        ),
        _ => format!("topic {topic} (kafka.dead_letters_topic): {error}"),
    }
}

impl DeadLetters {
    pub(super) fn new(
        config: &KafkaConfig,
        bootstrap: &str,
        positions: Arc<Positions>,
        metrics: TopicMetrics,
    ) -> Result<Self, KafkaError> {
        let mut settings = kafka::producer_config(config, bootstrap);
        // However long Kafka is away, giving up is not the producer's to decide.
        settings.remove("delivery.timeout.ms");
        settings.set("message.timeout.ms", "0");
        let delivery = Delivery {
            topic: config.dead_letters_topic.clone(),
            positions,
            metrics,
            kept: Arc::default(),
        };
        Ok(Self {
            producer: RwLock::new(settings.create_with_context(delivery.clone())?),
            settings,
            delivery,
        })
    }

    /// Publishes a dead letter about a record that should have been of this format. Never waits.
    pub(super) fn send(&self, place: Place<'_>, error: &str, format: Format) {
        if let Some(count) = REFUSED.next() {
            tracing::warn!(
                place.topic,
                place.partition,
                place.offset,
                error,
                count,
                "record to dead letters"
            );
        }
        let letter = letter::refused(place, error, format, clock::wall_time());
        let unsent = Unsent {
            number: self.delivery.letters().send(),
            value: letter.value.into_bytes(),
            headers: letter.headers,
        };
        self.delivery.kept.lock().letters.push_back(unsent);
        self.send_kept();
    }

    /// Whether so many are kept that reading should wait.
    pub(super) fn is_full(&self) -> bool {
        self.send_kept();
        self.delivery.kept.lock().letters.len() > KEPT_MAX
    }

    /// Sends what is kept and can be sent by now.
    pub(super) fn keep_house(&self) {
        self.revive();
        self.send_kept();
        let waiting = self.delivery.letters().waiting();
        self.delivery.metrics.letters_wait(waiting);
    }

    /// Waits, bounded, until every letter sent has been acknowledged.
    pub(super) fn flush(&self) {
        self.send_kept();
        let flushed = self.producer.read().flush(FLUSH_MAX);
        let kept = self.delivery.kept.lock().letters.len();
        if flushed.is_err() || kept > 0 {
            let waiting = self.delivery.letters().waiting();
            tracing::error!(
                waiting,
                "Kafka has not taken all dead letters; no snapshot is written behind their records, and the next start reads \
                 those again"
            );
        }
    }

    fn send_kept(&self) {
        while let Some(unsent) = self.delivery.next() {
            if !self.hand_over(unsent) {
                return;
            }
        }
    }

    /// Whether the producer has taken a letter.
    fn hand_over(&self, unsent: Unsent) -> bool {
        let Unsent {
            number,
            value,
            headers,
        } = unsent;
        let record = BaseRecord::<(), [u8], usize>::with_opaque_to(&self.delivery.topic, number)
            .payload(&value)
            .headers(headers);
        let sent = self.producer.read().send(record);
        let Err((error, record)) = sent else {
            return true;
        };
        let headers = record.headers.unwrap_or_default();
        let unsent = Unsent {
            number,
            value,
            headers,
        };
        self.delivery.not_taken(unsent, &error);
        false
    }

    /// An idempotent producer that has met what it cannot mend sends nothing any more: it is replaced by another, which sends what
    /// the first had not.
    fn revive(&self) {
        let fatal = self.producer.read().client().fatal_error();
        let Some((code, why)) = fatal else {
            return;
        };
        tracing::error!(%code, why, "the producer of dead letters has failed; another one is started");
        match self.settings.create_with_context(self.delivery.clone()) {
            Ok(producer) => {
                let failed = std::mem::replace(&mut *self.producer.write(), producer);
                // Gives back what it has.
                drop(failed);
            }
            Err(error) => tracing::error!(%error, "the producer of dead letters did not start"),
        }
    }
}

#[cfg(test)]
mod tests {
    use rdkafka::mocking::MockCluster;
    use rdkafka::types::{RDKafkaApiKey, RDKafkaRespErr};

    use super::*;
    use crate::metrics::Metrics;

    /// Where no broker is.
    const NOBODY: &str = "127.0.0.1:1";

    struct Tested {
        letters: DeadLetters,
        positions: Arc<Positions>,
        metrics: Metrics,
    }

    impl Tested {
        fn new(bootstrap: &str, properties: &[(&str, &str)]) -> Self {
            let mut config = KafkaConfig::default();
            let owned = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
            config.properties.extend(properties.iter().map(owned));
            let (positions, metrics) = (Arc::<Positions>::default(), Metrics::new().unwrap());
            let topics = metrics.topics.clone();
            let letters = DeadLetters::new(&config, bootstrap, Arc::clone(&positions), topics);
            Self {
                letters: letters.unwrap(),
                positions,
                metrics,
            }
        }

        fn send(&self, count: usize) {
            for offset in 0..count {
                let place = Place {
                    topic: "transactions",
                    partition: 0,
                    offset: i64::try_from(offset).unwrap(),
                };
                self.letters.send(place, "is wrong", Format::Json);
            }
        }

        fn have_arrived(&self) -> bool {
            let letters = self.positions.letters();
            letters.are_done(letters.next())
        }

        fn counted(&self, result: &str, count: u64) {
            let sample = format!("tollgate_dead_letters_total{{result=\"{result}\"}} {count}\n");
            let page = self.metrics.render();
            assert!(page.contains(&sample), "{sample}: {page}");
        }
    }

    #[test]
    fn letters_without_room_are_kept_and_reading_waits_once_they_are_too_many() {
        let tested = Tested::new(NOBODY, &[("queue.buffering.max.messages", "1")]);
        tested.send(1 + KEPT_MAX);
        assert!(!tested.letters.is_full());
        tested.send(1);
        assert!(tested.letters.is_full());
        tested.letters.keep_house();
        let waiting = format!("tollgate_dead_letters_waiting {}\n", KEPT_MAX + 2);
        assert!(tested.metrics.render().contains(&waiting));
        assert!(
            !tested.have_arrived(),
            "a snapshot would be written behind them"
        );
        tested.counted("lost", 0);
    }

    #[test]
    fn a_letter_that_kafka_refuses_is_sent_again_until_it_does_not() {
        let cluster = MockCluster::new(1).unwrap();
        let topic = KafkaConfig::default().dead_letters_topic;
        cluster.create_topic(&topic, 1, 1).unwrap();
        let refusal = RDKafkaRespErr::RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED;
        cluster.request_errors(RDKafkaApiKey::Produce, &[refusal]);
        let tested = Tested::new(&cluster.bootstrap_servers(), &[]);
        tested.send(1);
        let give_up = clock::instant() + Duration::from_secs(60);
        while !tested.have_arrived() {
            tested.letters.keep_house();
            assert!(clock::instant() < give_up, "the letter does not arrive");
            std::thread::yield_now();
        }
        tested.counted("published", 1);
        tested.counted("lost", 0);
    }

    #[test]
    fn what_is_told_names_the_topic_and_its_key() {
        for (code, expected) in [
            (RDKafkaErrorCode::UnknownTopic, "topic d does not exist"),
            (
                RDKafkaErrorCode::TopicAuthorizationFailed,
                "topic d may not be written",
            ),
            (RDKafkaErrorCode::NotEnoughReplicas, "topic d"),
        ] {
            let told = what(&KafkaError::MessageProduction(code), "d");
            let is_whole = told.contains(expected) && told.contains("kafka.dead_letters_topic");
            assert!(is_whole, "{told}");
        }
    }
}
