//! Bytes of a record into a transaction or a label, or the reason why not.

use prost::Message;
use tollgate_proto::v1;
use tollgate_types::{EventTime, Label, Transaction};

use crate::convert::{self, FieldError};

/// Largest record read: real ones are below 2 KB.
const RECORD_BYTES_MAX: usize = 64 * 1024;

/// Why a record cannot be read. Never repeats a value from it.
#[derive(Debug, thiserror::Error)]
pub(super) enum DecodeError {
    #[error("the record has no value")]
    Empty,
    #[error("the record is larger than {RECORD_BYTES_MAX} bytes")]
    TooLarge,
    #[error("the value is not a {0} in protobuf form")]
    NotProtobuf(&'static str),
    #[error("{0}")]
    Field(#[from] FieldError),
}

pub(super) fn transaction(
    value: Option<&[u8]>,
    now: EventTime,
) -> Result<(Transaction, bool), DecodeError> {
    let event: v1::TransactionEvent = message(value, "TransactionEvent")?;
    Ok((
        convert::transaction(event.transaction, now)?,
        event.authorized,
    ))
}

pub(super) fn label(value: Option<&[u8]>, now: EventTime) -> Result<Label, DecodeError> {
    let message: v1::Label = message(value, "Label")?;
    Ok(convert::label(&message, now)?)
}

fn message<M: Message + Default>(
    value: Option<&[u8]>,
    name: &'static str,
) -> Result<M, DecodeError> {
    let value = value
        .filter(|value| !value.is_empty())
        .ok_or(DecodeError::Empty)?;
    if value.len() > RECORD_BYTES_MAX {
        return Err(DecodeError::TooLarge);
    }
    M::decode(value).map_err(|_| DecodeError::NotProtobuf(name))
}
