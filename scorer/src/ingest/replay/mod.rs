//! Dead letters again: what could not be read and why, and, after a fix, the records sent to their topic once more.
//!
//! Letters say where a record is, so it is read there and decoded as ingest does it, with the formats and the schema of now. What
//! can be read is sent again as it was: a service that reads it counts it, once, by the transaction's id (FS-2), however often it is
//! sent. That it was sent is noted by a letter of another kind, so that a later replay leaves it out (ADR 23).

mod groups;
mod letters;
mod log;
mod records;
mod send;

use std::time::Duration;

use rdkafka::Message;
use rdkafka::error::KafkaError;
use rdkafka::message::BorrowedMessage;
use tollgate_rules::Logic;
use tollgate_types::EventTime;

use super::decode;
use super::letter::Place;
use super::topic::Topic;
use crate::config::KafkaConfig;
use crate::{clock, convert};
pub(crate) use groups::Groups;
use letters::{Known, Letters, Places};
use log::Log;
use records::Gone;
use send::Sender;

/// Which letters are looked at, by when they were written: from a moment on, and before another.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Window {
    pub(crate) since: Option<EventTime>,
    pub(crate) until: Option<EventTime>,
}

impl Window {
    fn has(&self, written_at: EventTime) -> bool {
        self.since.is_none_or(|since| written_at >= since)
            && self.until.is_none_or(|until| written_at < until)
    }
}

/// How far a replay has come.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Step {
    pub(crate) doing: &'static str,
    pub(crate) done: u64,
    pub(crate) of: u64,
}

/// Why there was no replay, or not all of one.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ReplayError {
    #[error("Kafka: {0}")]
    Kafka(#[from] KafkaError),
    #[error(
        "topic {topic} does not exist; set kafka.dead_letters_topic to the topic that has the letters"
    )]
    NoTopic { topic: String },
    #[error("no broker said anything for {} s: {}", .waited.as_secs(), .last.as_deref().unwrap_or("no reason was given"))]
    Silent {
        waited: Duration,
        last: Option<String>,
    },
    #[error("{topic} was cut while it was read; try again")]
    Cut { topic: String },
    #[error(
        "there are letters about more than {max} records; name less of them by --since and --until"
    )]
    TooMany { max: usize },
}

/// What letters there are.
pub(crate) struct Listed {
    /// Records that letters are about.
    pub(crate) records: u64,
    /// Those among them that were sent again.
    pub(crate) replayed: u64,
    /// The others, by what was wrong.
    pub(crate) errors: Groups,
    /// Records in the topic that are no letters.
    pub(crate) foreign: u64,
}

/// What became of a replay.
pub(crate) struct Replayed {
    /// Records that letters are about.
    pub(crate) records: u64,
    /// Those that an earlier replay sent.
    pub(crate) before: u64,
    /// Those that can be read now and, unless that was not wanted, have reached their topic.
    pub(crate) sent: u64,
    /// Those that still cannot be read.
    pub(crate) unreadable: Groups,
    /// Those that the log does not have any more.
    pub(crate) gone: Groups,
    /// Those that Kafka did not take.
    pub(crate) failed: Groups,
    /// Those that were sent without a letter to say so: the next replay sends them again.
    pub(crate) unmarked: u64,
    /// Records in the letters' topic that are no letters.
    pub(crate) foreign: u64,
}

/// Tells which letters there are.
pub(crate) fn list(
    config: &KafkaConfig,
    window: Window,
    tell: &dyn Fn(Step),
) -> Result<Listed, ReplayError> {
    let letters = Letters::read(&Log::new(config)?, config, window, tell)?;
    Ok(Listed {
        records: letters.records(),
        replayed: letters.replayed(),
        foreign: letters.foreign,
        errors: letters.into_errors(),
    })
}

/// Reads the records that letters are about, and sends those that can be read now; with `dry`, only tells which those are.
pub(crate) fn replay(
    config: &KafkaConfig,
    logic: &Logic,
    (window, dry): (Window, bool),
    tell: &dyn Fn(Step),
) -> Result<Replayed, ReplayError> {
    let log = Log::new(config)?;
    let letters = Letters::read(&log, config, window, tell)?;
    let sender = match dry {
        true => None,
        false => Some(Sender::new(config)?),
    };
    let mut replaying = Replaying {
        config,
        logic,
        log: &log,
        sender: sender.as_ref(),
        tell,
        open: letters.records() - letters.replayed(),
        looked_at: 0,
        readable: 0,
        unreadable: Groups::default(),
        gone: Groups::default(),
    };
    let mut all = letters.topics();
    let read = all.try_for_each(|(topic, places)| replaying.topic(topic, places));
    let Replaying {
        readable,
        unreadable,
        gone,
        ..
    } = replaying;
    // Whatever stopped it: of what was sent it is noted that it was.
    let sent = sender.map(Sender::finish).transpose();
    read?;
    let sent = sent?;
    Ok(Replayed {
        records: letters.records(),
        before: letters.replayed(),
        sent: sent.as_ref().map_or(readable, |sent| sent.arrived),
        unreadable,
        gone,
        unmarked: sent.as_ref().map_or(0, |sent| sent.unmarked),
        failed: sent.map(|sent| sent.failed).unwrap_or_default(),
        foreign: letters.foreign,
    })
}

struct Replaying<'r> {
    config: &'r KafkaConfig,
    logic: &'r Logic,
    log: &'r Log,
    sender: Option<&'r Sender>,
    tell: &'r dyn Fn(Step),
    /// Records that no replay has sent, and how many of them have been looked at.
    open: u64,
    looked_at: u64,
    readable: u64,
    unreadable: Groups,
    gone: Groups,
}

impl Replaying<'_> {
    fn topic(&mut self, name: &str, places: &Places) -> Result<(), ReplayError> {
        let read = Topic::ALL
            .into_iter()
            .find(|topic| topic.topic(self.config) == name);
        let Some(topic) = read else {
            let error =
                format!("topic {name} is neither kafka.transactions_topic nor kafka.labels_topic");
            for (&(partition, offset), known) in places.iter().filter(|(_, known)| known.is_open())
            {
                self.looked_at += 1;
                let place = Place {
                    topic: name,
                    partition,
                    offset,
                };
                self.unreadable.add(&error, place, known.written_at);
            }
            return Ok(());
        };
        let ends = self.log.ends(name)?;
        let mut partitions: Vec<i32> = places.keys().map(|(partition, _)| *partition).collect();
        partitions.dedup();
        for partition in partitions {
            let of = places.range((partition, 0)..=(partition, i64::MAX));
            let open: Vec<(i64, &Known)> = of
                .filter(|(_, known)| known.is_open())
                .map(|(&(_, offset), known)| (offset, known))
                .collect();
            let at = (name, partition, ends.get(&partition).copied());
            records::read(self.log, at, &open, |(offset, known), found| {
                let place = Place {
                    topic: name,
                    partition,
                    offset,
                };
                self.record(topic, place, known, found)
            })?;
        }
        Ok(())
    }

    fn record(
        &mut self,
        topic: Topic,
        place: Place<'_>,
        known: &Known,
        found: Result<&BorrowedMessage<'_>, Gone>,
    ) -> Result<(), ReplayError> {
        self.looked_at += 1;
        (self.tell)(Step {
            doing: "reading records",
            done: self.looked_at,
            of: self.open,
        });
        let message = match found {
            Ok(message) => message,
            Err(gone) => {
                self.gone.add(gone.why(), place, known.written_at);
                return Ok(());
            }
        };
        if let Err(error) = self.decode(topic, message) {
            self.unreadable.add(&error, place, known.written_at);
            return Ok(());
        }
        self.readable += 1;
        match self.sender {
            Some(sender) => sender.send_again(message, place, known.letter_partition),
            None => Ok(()),
        }
    }

    /// As the reader of the topic does it; what comes out is what the reader will make of the copy, and is not needed here.
    fn decode(&self, topic: Topic, message: &BorrowedMessage<'_>) -> Result<(), String> {
        let (value, format) = (message.payload(), topic.format(self.config));
        let (now, schema) = (clock::wall_time(), &self.logic.schema);
        match topic {
            Topic::Transactions => {
                let (transaction, _) = decode::transaction(value, format, now, schema)
                    .map_err(|error| error.to_string())?;
                convert::record(&transaction, self.logic).map_err(|error| error.to_string())?;
            }
            Topic::Labels => {
                decode::label(value, format, now).map_err(|error| error.to_string())?;
            }
        }
        Ok(())
    }
}
