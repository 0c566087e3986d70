//! The words Tollgate is written in.
//!
//! Everything here is plain data: no I/O, no clock, no threads. A transaction as the payment path sends it
//! ([`Transaction`]), the schema that says which fields exist ([`Schema`]), the same transaction laid out
//! in numbered slots ([`Record`]), and what comes back ([`Outcome`], [`Reason`], [`Degradation`]).

mod cell;
mod currency;
mod id;
mod money;
mod outcome;
mod record;
mod schema;
mod text;
mod time;
mod transaction;

pub use cell::Cell;
pub use currency::{Currency, UnknownCurrency};
pub use id::{CardId, IdError, TransactionId, contains_card_number};
pub use money::{Money, Rates, RatesError};
pub use outcome::{Cause, Degradation, Outcome, Reason, ReasonCode, ReasonCodeError};
pub use record::{Record, TypeMismatch};
pub use schema::{
    ColumnId, EVENTS_MAX_LEAST, Entity, EntityId, Field, FieldId, FieldType, Retained, Schema,
    SchemaBuilder, SchemaChange, SchemaError, builtin,
};
pub use text::TextKey;
pub use time::{EventTime, Span, SpanError};
pub use transaction::{AttributeValue, Channel, Label, Transaction, TransactionKey};
