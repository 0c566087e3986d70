//! What records say, into the store, and those that cannot be read to dead letters.

use std::sync::Arc;

use rdkafka::Message;
use rdkafka::message::BorrowedMessage;
use tollgate_features::Origin;
use tollgate_types::{EventTime, Record};

use super::Parts;
use super::dead_letters::DeadLetters;
use super::decode::{self, DecodeError};
use super::letter::Place;
use super::topic::Topic;
use crate::metrics::IngestResult;
use crate::{clock, convert};

/// Applies records of one topic.
pub(super) struct Applier {
    pub(super) topic: Topic,
    pub(super) parts: Parts,
    pub(super) dead_letters: Arc<DeadLetters>,
}

impl Applier {
    /// Applies records, in order. Returns the event time of each that had one.
    pub(super) fn apply(&self, messages: &[BorrowedMessage<'_>]) -> Vec<Option<EventTime>> {
        match self.topic {
            Topic::Transactions => self.transactions(messages),
            Topic::Labels => self.labels(messages),
        }
    }

    fn transactions(&self, messages: &[BorrowedMessage<'_>]) -> Vec<Option<EventTime>> {
        let policy = self.parts.policy.load();
        let logic = policy.logic();
        let format = self.topic.format(&self.parts.config);
        let now = clock::wall_time();
        let decode = |message: &BorrowedMessage<'_>| {
            decode::transaction(message.payload(), format, now, &logic.schema)
        };
        let decoded: Vec<Result<_, DecodeError>> = messages.iter().map(decode).collect();
        let records = decoded.iter().map(|decoded| {
            let (transaction, authorized) = decoded.as_ref().map_err(ToString::to_string)?;
            let record = convert::record(transaction, logic).map_err(|error| error.to_string())?;
            Ok((record, *authorized))
        });
        let records: Vec<Result<(Record<'_>, bool), String>> = records.collect();
        let ahead = records.iter().flatten();
        self.parts.store.look_ahead(ahead.map(|(record, _)| record));
        let each = messages.iter().zip(&records);
        each.map(|(message, record)| match record {
            Ok((record, authorized)) => {
                let origin = Origin::Log {
                    authorized: *authorized,
                };
                let applied = self.parts.store.apply(record, origin);
                self.count(IngestResult::Transaction(applied));
                Some(record.event_time())
            }
            Err(error) => self.refuse(message, error),
        })
        .collect()
    }

    /// Labels move no event time.
    fn labels(&self, messages: &[BorrowedMessage<'_>]) -> Vec<Option<EventTime>> {
        let format = self.topic.format(&self.parts.config);
        let now = clock::wall_time();
        let apply = |message: &BorrowedMessage<'_>| {
            let label = match decode::label(message.payload(), format, now) {
                Ok(label) => label,
                Err(error) => return self.refuse(message, &error.to_string()),
            };
            self.count(IngestResult::Label(self.parts.store.label(&label)));
            None
        };
        messages.iter().map(apply).collect()
    }

    /// Sends a record to dead letters.
    fn refuse(&self, message: &BorrowedMessage<'_>, error: &str) -> Option<EventTime> {
        let place = Place {
            topic: message.topic(),
            partition: message.partition(),
            offset: message.offset(),
        };
        let format = self.topic.format(&self.parts.config);
        self.dead_letters.send(place, error, format);
        self.count(IngestResult::DeadLetter);
        None
    }

    fn count(&self, result: IngestResult) {
        self.parts.metrics.ingest.count(result);
    }
}
