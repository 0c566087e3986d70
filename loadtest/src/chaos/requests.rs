//! Requests and events that are encoded before the clock starts.
//!
//! Each is a template in which the transaction's id and the second of its event are of fixed width, so that one of its own
//! is made by writing over them: a generator that encodes anew would use as much of the machine as the service.

use anyhow::{Context, Result};
use bytes::Bytes;
use prost::Message as _;
use tollgate_proto::v1::Transaction;

use crate::generate;

/// Sent round after round, each round later than the one before.
const TEMPLATES: usize = 100_000;

/// Enough that an entity is not the same one again and again.
const CARDS: u32 = 20_000;

/// Numbers in the ids of events begin here, far beyond those of requests. Their times begin with those of requests: the service refuses
/// what lies in the future.
const EVENTS_FROM: u64 = 100_000_000_000;

/// `c-` and twelve digits.
const ID_BYTES: usize = 14;

/// Seconds between 1978 and 3058 take as many bytes as a varint.
const SECONDS_BYTES: usize = 5;

/// Field 1 with a length: the transaction, in requests and in events alike.
const FIELD_TRANSACTION: u8 = 0x0A;

/// Behind a transaction: its field 2, the time of its event, with the field 2 of that, the nanoseconds. What it has already is kept.
const FIELD_NANOS: [u8; 3] = [0x12, 6, 0x10];

/// Events happen so long after the request with their number: half a millisecond, while requests happen at whole ones, so that no event
/// ties with a request. Of events of a card in one moment, in two partitions, nothing says which was first.
const EVENTS_LATER_NANOS: i64 = 500_000;

/// Field 2 of an event: the payment was authorized.
const AUTHORIZED: [u8; 2] = [0x10, 0x01];

/// Transactions without end, each with an id of its own.
pub(crate) struct Requests {
    templates: Vec<Template>,
    /// Seconds from one round to the next.
    round: i64,
}

struct Template {
    /// An encoded `Transaction`.
    transaction: Vec<u8>,
    id_at: usize,
    seconds_at: usize,
    seconds: i64,
    nanos: i64,
    card_id: String,
}

impl Requests {
    pub(crate) fn make(seed: u64) -> Result<Self> {
        Self::with(CARDS, seed, TEMPLATES)
    }

    pub(crate) fn with(cards: u32, seed: u64, count: usize) -> Result<Self> {
        Self::of_transactions(generate::transactions(cards, seed, count))
    }

    /// Of these, in the order of their times.
    pub(crate) fn of_transactions(
        transactions: impl IntoIterator<Item = Transaction>,
    ) -> Result<Self> {
        let templates: Vec<Template> = transactions
            .into_iter()
            .map(Template::new)
            .collect::<Result<_>>()?;
        let seconds = |template: Option<&Template>| template.map_or(0, |template| template.seconds);
        let round = seconds(templates.last()) - seconds(templates.first()) + 1;
        Ok(Self { templates, round })
    }

    /// The id of the transaction with this number.
    pub(crate) fn id(number: u64) -> String {
        format!("c-{number:012}")
    }

    /// A `ScoreRequest` as gRPC frames it.
    pub(crate) fn request(&self, number: u64) -> Bytes {
        let (template, seconds) = self.of(number);
        let length = template.transaction.len();
        let mut framed = Vec::with_capacity(length + 16);
        framed.extend_from_slice(&[0; 5]);
        template.put(&mut framed, number, seconds, &[]);
        let message = u32::try_from(framed.len() - 5).unwrap_or(u32::MAX);
        framed[1..5].copy_from_slice(&message.to_be_bytes());
        Bytes::from(framed)
    }

    /// A `TransactionEvent` and its card, under an id that no request has.
    pub(crate) fn event(&self, number: u64) -> (&str, Vec<u8>) {
        self.published(number, EVENTS_FROM + number, &self.later(number), true)
    }

    /// The same of a payment that was not authorized.
    pub(crate) fn declined_event(&self, number: u64) -> (&str, Vec<u8>) {
        self.published(number, EVENTS_FROM + number, &self.later(number), false)
    }

    /// The id of that event.
    pub(crate) fn event_id(number: u64) -> String {
        Self::id(EVENTS_FROM + number)
    }

    /// What is published of a request once its authorization has ended, and its card.
    pub(crate) fn echo(&self, number: u64, authorized: bool) -> (&str, Vec<u8>) {
        self.published(number, number, &[], authorized)
    }

    /// The second since 1970 in which the transaction with this number happened, and its event.
    pub(crate) fn event_time_s(&self, number: u64) -> i64 {
        self.of(number).1
    }

    fn published(&self, number: u64, id: u64, more: &[u8], authorized: bool) -> (&str, Vec<u8>) {
        let (template, seconds) = self.of(number);
        let mut event = Vec::with_capacity(template.transaction.len() + 16);
        template.put(&mut event, id, seconds, more);
        if authorized {
            event.extend_from_slice(&AUTHORIZED);
        }
        (&template.card_id, event)
    }

    /// The fields that make a transaction an event's.
    fn later(&self, number: u64) -> [u8; 8] {
        let (template, _) = self.of(number);
        let mut field = [0; 8];
        field[..FIELD_NANOS.len()].copy_from_slice(&FIELD_NANOS);
        field[FIELD_NANOS.len()..].copy_from_slice(&varint5(template.nanos + EVENTS_LATER_NANOS));
        field
    }

    fn of(&self, number: u64) -> (&Template, i64) {
        let count = self.templates.len() as u64;
        let at = usize::try_from(number % count).unwrap_or(0);
        let round = i64::try_from(number / count).unwrap_or(0);
        let template = &self.templates[at];
        (template, template.seconds + round * self.round)
    }
}

impl Template {
    fn new(mut transaction: Transaction) -> Result<Self> {
        let (seconds, nanos) = transaction
            .event_time
            .map_or((0, 0), |at| (at.seconds, i64::from(at.nanos)));
        transaction.transaction_id = "c".repeat(ID_BYTES);
        let id = transaction.transaction_id.clone();
        let encoded = transaction.encode_to_vec();
        let find = |wanted: &[u8]| {
            let mut windows = encoded.windows(wanted.len());
            windows.position(|window| window == wanted)
        };
        let id_at = find(id.as_bytes()).context("an encoded transaction without its id")?;
        let seconds_at = find(&varint5(seconds)).context("an encoded transaction without time")?;
        Ok(Self {
            card_id: transaction.card_id,
            transaction: encoded,
            id_at,
            seconds_at,
            seconds,
            nanos,
        })
    }

    /// Appends the field `transaction` with this id and this time, and these fields of its own.
    fn put(&self, to: &mut Vec<u8>, number: u64, seconds: i64, more: &[u8]) {
        to.push(FIELD_TRANSACTION);
        let mut length = self.transaction.len() + more.len();
        while length >= 0x80 {
            to.push(low_bits(length as u64) | 0x80);
            length >>= 7;
        }
        to.push(low_bits(length as u64));
        let begin = to.len();
        to.extend_from_slice(&self.transaction);
        let id = &mut to[begin + self.id_at..][..ID_BYTES];
        id[1] = b'-';
        let mut rest = number;
        for digit in id[2..].iter_mut().rev() {
            *digit = b'0' + low_bits(rest % 10);
            rest /= 10;
        }
        to[begin + self.seconds_at..][..SECONDS_BYTES].copy_from_slice(&varint5(seconds));
        to.extend_from_slice(more);
    }
}

/// A varint of five bytes.
fn varint5(value: i64) -> [u8; SECONDS_BYTES] {
    let value = value.unsigned_abs();
    let mut bytes = [0; SECONDS_BYTES];
    for (at, byte) in bytes.iter_mut().enumerate() {
        *byte = low_bits(value >> (7 * at)) | 0x80;
    }
    bytes[SECONDS_BYTES - 1] &= 0x7F;
    bytes
}

/// The lowest seven.
const fn low_bits(value: u64) -> u8 {
    (value & 0x7F) as u8
}

#[cfg(test)]
mod tests {
    use tollgate_proto::v1;

    use super::*;

    #[test]
    fn requests_and_events_are_what_encoding_them_anew_would_give() {
        let requests = Requests::with(50, 1, 300).unwrap();
        let made = generate::transactions(50, 1, 300);
        for number in [0, 1, 299, 300, 12_345] {
            let mut expected = made[usize::try_from(number % 300).unwrap()].clone();
            expected.transaction_id = Requests::id(number);
            let round = i64::try_from(number / 300).unwrap();
            expected.event_time.as_mut().unwrap().seconds += round * requests.round;

            let framed = requests.request(number);
            let length = u32::from_be_bytes(framed[1..5].try_into().unwrap());
            assert_eq!((framed[0], length as usize), (0, framed.len() - 5));
            let request = v1::ScoreRequest::decode(&framed[5..]).unwrap();
            assert_eq!(request.transaction.as_ref(), Some(&expected));
            assert!(!request.include_features);

            let (card, event) = requests.event(number);
            let event = v1::TransactionEvent::decode(event.as_slice()).unwrap();
            assert_eq!(card, expected.card_id);
            let at_s = expected.event_time.map(|at| at.seconds);
            assert_eq!(Some(requests.event_time_s(number)), at_s);
            expected.transaction_id = Requests::event_id(number);
            let of_request = expected.event_time;
            expected.event_time.as_mut().unwrap().nanos += 500_000;
            assert_eq!(
                (event.transaction, event.authorized),
                (Some(expected.clone()), true)
            );
            let (_, declined) = requests.declined_event(number);
            let declined = v1::TransactionEvent::decode(declined.as_slice()).unwrap();
            assert_eq!(
                (declined.transaction, declined.authorized),
                (Some(expected.clone()), false)
            );
            let (_, echo) = requests.echo(number, false);
            let echo = v1::TransactionEvent::decode(echo.as_slice()).unwrap();
            expected.transaction_id = Requests::id(number);
            expected.event_time = of_request;
            assert_eq!((echo.transaction, echo.authorized), (Some(expected), false));
        }
    }
}
