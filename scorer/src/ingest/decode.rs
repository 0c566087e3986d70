//! Bytes of a record into a transaction or a label, or the reason why not.

use prost::Message;
use prost::encoding::decode_varint;
use tollgate_proto::{JsonPlace, v1};
use tollgate_types::{EventTime, Label, Schema, Transaction};

use crate::config::Format;
use crate::convert::{self, FieldError};

/// Largest record read: real ones are below 2 KB.
const RECORD_BYTES_MAX: usize = 64 * 1024;

/// The first byte of what Confluent's serializers write; no message in protobuf form begins with it.
const CONFLUENT_MAGIC: u8 = 0;

/// Bytes of a schema's id in a registry.
const SCHEMA_ID_BYTES: usize = 4;

/// How deep messages are nested within messages, at most: ours are not at all.
const MESSAGE_DEPTH_MAX: u64 = 16;

/// Why a record cannot be read. Never repeats a value from it.
#[derive(Debug, thiserror::Error)]
pub(super) enum DecodeError {
    #[error("the record has no value")]
    Empty,
    #[error("the record is larger than {RECORD_BYTES_MAX} bytes")]
    TooLarge,
    #[error("the value is not a {message} in {} form{}", .format.name(), hint(.looks))]
    NotOfFormat {
        message: &'static str,
        format: Format,
        /// What it might be instead.
        looks: Option<Format>,
    },
    #[error("the value is not a {message} in json form: {place}")]
    NotJson {
        message: &'static str,
        place: JsonPlace,
    },
    #[error("{0}")]
    Field(#[from] FieldError),
}

fn hint(format: &Option<Format>) -> String {
    format.map_or_else(String::new, |format| {
        let name = format.name();
        format!(", but looks like {name}, which kafka.formats would have to say")
    })
}

/// With the attributes that the schema declares.
pub(super) fn transaction(
    value: Option<&[u8]>,
    format: Format,
    now: EventTime,
    schema: &Schema,
) -> Result<(Transaction, bool), DecodeError> {
    let event: v1::TransactionEvent = message(value, format, "TransactionEvent")?;
    let mut transaction = convert::transaction(event.transaction, now)?;
    convert::keep_declared(&mut transaction, schema);
    Ok((transaction, event.authorized))
}

pub(super) fn label(
    value: Option<&[u8]>,
    format: Format,
    now: EventTime,
) -> Result<Label, DecodeError> {
    let message: v1::Label = message(value, format, "Label")?;
    Ok(convert::label(&message, now)?)
}

fn message<M: Message + Default>(
    value: Option<&[u8]>,
    format: Format,
    message: &'static str,
) -> Result<M, DecodeError> {
    let value = value
        .filter(|value| !value.is_empty())
        .ok_or(DecodeError::Empty)?;
    if value.len() > RECORD_BYTES_MAX {
        return Err(DecodeError::TooLarge);
    }
    let other = || DecodeError::NotOfFormat {
        message,
        format,
        looks: seen(value).filter(|&seen| seen != format),
    };
    match format {
        Format::Protobuf => M::decode(value).map_err(|_| other()),
        Format::ConfluentProtobuf => {
            let value = unframed(value).ok_or_else(other)?;
            M::decode(value).map_err(|_| other())
        }
        Format::Json => {
            if seen(value) == Some(Format::ConfluentProtobuf) {
                return Err(other());
            }
            let name = format!("tollgate.v1.{message}");
            tollgate_proto::from_json_of_any_version(&name, value)
                .map_err(|place| DecodeError::NotJson { message, place })
        }
    }
}

/// What the first byte tells of a value: most protobuf begins with neither.
fn seen(value: &[u8]) -> Option<Format> {
    match value.first()? {
        b'{' => Some(Format::Json),
        &CONFLUENT_MAGIC => Some(Format::ConfluentProtobuf),
        _ => None,
    }
}

/// The message within Confluent's frame: a zero, a schema's id, and the path to the message in that schema, of which
/// a lone zero stands for the first. Neither is looked at: what the topic carries is known.
fn unframed(value: &[u8]) -> Option<&[u8]> {
    let rest = value.strip_prefix(&[CONFLUENT_MAGIC])?;
    let mut rest = rest.get(SCHEMA_ID_BYTES..)?;
    // Whole numbers that may be negative are written doubled; these never are.
    let depth = decode_varint(&mut rest).ok()? / 2;
    if depth > MESSAGE_DEPTH_MAX {
        return None;
    }
    for _ in 0..depth {
        decode_varint(&mut rest).ok()?;
    }
    Some(rest)
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: EventTime = EventTime::from_micros(1_770_000_000_000_000);

    fn label_bytes() -> Vec<u8> {
        let known_at = prost_types::Timestamp {
            seconds: 1_760_000_000,
            nanos: 0,
        };
        v1::Label {
            transaction_id: "t1".to_owned(),
            fraud: true,
            known_at: Some(known_at),
        }
        .encode_to_vec()
    }

    fn framed(path: &[u8]) -> Vec<u8> {
        [&[0, 0, 0, 0, 7], path, &label_bytes()].concat()
    }

    const JSON: &[u8] =
        br#"{"transactionId": "t1", "fraud": true, "knownAt": "2025-10-09T08:53:20Z"}"#;

    fn read(value: &[u8], format: Format) -> Result<Label, String> {
        label(Some(value), format, NOW).map_err(|error| error.to_string())
    }

    #[test]
    fn a_label_is_the_same_in_every_form() {
        let expected = read(&label_bytes(), Format::Protobuf).unwrap();
        assert_eq!(read(JSON, Format::Json).unwrap(), expected);
        // The first message of its schema, the first said at length, the second, and one within another.
        for path in [&[0][..], &[2, 0], &[2, 2], &[4, 2, 0]] {
            let read = read(&framed(path), Format::ConfluentProtobuf);
            assert_eq!(read.unwrap(), expected, "{path:?}");
        }
    }

    #[test]
    fn another_form_is_refused_and_recognised() {
        let cases = [
            (JSON.to_vec(), Format::Protobuf, "looks like json"),
            (JSON.to_vec(), Format::ConfluentProtobuf, "looks like json"),
            (
                framed(&[0]),
                Format::Protobuf,
                "looks like confluent_protobuf",
            ),
            (framed(&[0]), Format::Json, "looks like confluent_protobuf"),
            (
                label_bytes(),
                Format::ConfluentProtobuf,
                "not a Label in confluent_protobuf form",
            ),
            (
                label_bytes(),
                Format::Json,
                "not a Label in json form: line",
            ),
        ];
        for (value, format, expected) in cases {
            let error = read(&value, format).unwrap_err();
            assert!(error.contains(expected), "{error}");
        }
    }

    #[test]
    fn a_frame_that_ends_too_soon_is_refused() {
        let whole = framed(&[2, 0]);
        for length in 1..7 {
            assert!(read(&whole[..length], Format::ConfluentProtobuf).is_err());
        }
        // A path of more steps than any message has.
        let endless = [&[0, 0, 0, 0, 7, 0xff, 0xff, 0x03][..], &[0; 64]].concat();
        assert!(read(&endless, Format::ConfluentProtobuf).is_err());
    }
}
