//! What a dead letter says: headers for programs, and as its value a sentence for people.
//!
//! The service writes letters about records that it cannot read. A replay reads them, and writes another kind into the same
//! topic: that a record was sent again, so that no later replay does. Neither has anything of the record itself.

use std::fmt::{self, Display, Formatter};

use rdkafka::message::{BorrowedMessage, Header, Headers, OwnedHeaders};
use rdkafka::{Message, Timestamp};
use tollgate_types::EventTime;

use crate::config::Format;

const TOPIC: &str = "topic";
const PARTITION: &str = "partition";
const OFFSET: &str = "offset";
const ERROR: &str = "error";
const FORMAT: &str = "format";
const TIME: &str = "time";
const VERSION: &str = "version";

/// In letters that say that a record was sent again: where its copy is.
const REPLAYED_TO: &str = "replayed_to";

/// What a copy has besides the headers of its record: where that is.
pub(super) const REPLAY_OF: &str = "tollgate-replay-of";

/// Where a record is in the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Place<'a> {
    pub(crate) topic: &'a str,
    pub(crate) partition: i32,
    pub(crate) offset: i64,
}

impl Display for Place<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}@{}", self.topic, self.partition, self.offset)
    }
}

/// A letter that is to be written.
pub(super) struct Written {
    pub(super) headers: OwnedHeaders,
    pub(super) value: String,
}

/// Of a record that cannot be read, for what reason, and the form its topic's records should have.
pub(super) fn refused(place: Place<'_>, error: &str, format: Format, now: EventTime) -> Written {
    Written {
        headers: with(
            headers(place, now),
            &[(ERROR, error), (FORMAT, format.name())],
        ),
        value: format!("{place}: {error}"),
    }
}

/// Of a record that was sent again.
pub(super) fn replayed(place: Place<'_>, copy: Place<'_>, now: EventTime) -> Written {
    Written {
        headers: with(headers(place, now), &[(REPLAYED_TO, &copy.to_string())]),
        value: format!("{place}: sent again, to {copy}"),
    }
}

fn headers(place: Place<'_>, now: EventTime) -> OwnedHeaders {
    let (partition, offset) = (place.partition.to_string(), place.offset.to_string());
    let told = [
        (TOPIC, place.topic),
        (PARTITION, &partition),
        (OFFSET, &offset),
        (TIME, &now.to_string()),
        (VERSION, env!("CARGO_PKG_VERSION")),
    ];
    with(OwnedHeaders::new(), &told)
}

fn with(headers: OwnedHeaders, more: &[(&str, &str)]) -> OwnedHeaders {
    more.iter().fold(headers, |headers, &(key, value)| {
        headers.insert(Header {
            key,
            value: Some(value),
        })
    })
}

/// A letter as it was read.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Letter<'a> {
    /// The record that it is about.
    pub(super) place: Place<'a>,
    pub(super) says: Says<'a>,
}

#[derive(Debug, PartialEq, Eq)]
pub(super) enum Says<'a> {
    Refused { error: &'a str },
    Replayed,
}

impl<'a> Letter<'a> {
    /// `None` if it is no letter of ours: it names no record, or does not say what became of it.
    pub(super) fn read(message: &'a BorrowedMessage<'_>) -> Option<Self> {
        let headers = message.headers()?;
        let text = |key| {
            let header = headers.iter().find(|header| header.key == key)?;
            std::str::from_utf8(header.value?).ok()
        };
        let place = Place {
            topic: text(TOPIC)?,
            partition: text(PARTITION)?.parse().ok().filter(|it| *it >= 0)?,
            offset: text(OFFSET)?.parse().ok().filter(|it| *it >= 0)?,
        };
        let says = match text(REPLAYED_TO) {
            Some(_) => Says::Replayed,
            None => Says::Refused {
                error: text(ERROR)?,
            },
        };
        Some(Self { place, says })
    }
}

/// When a record was written, as far as it says.
pub(super) fn written_at(message: &BorrowedMessage<'_>) -> Option<EventTime> {
    let written_ms = match message.timestamp() {
        Timestamp::NotAvailable => None,
        timestamp => timestamp.to_millis(),
    };
    written_ms.map(|ms| EventTime::from_micros(ms.saturating_mul(1_000)))
}
