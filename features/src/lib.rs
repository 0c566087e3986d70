//! What is known of each card, merchant, terminal, device and address: their recent events, and exact rolling
//! aggregates over them on event time.
//!
//! The [`Store`] keeps events, not sums, so an aggregate that a rule names for the first time has its full
//! history at once. A [`ReadPlan`] is made once per policy from the aggregates its expressions use;
//! [`Store::read`] fills their slots for one transaction. Nothing here knows the wall clock, Kafka or gRPC.
//!
//! From the outside in: `store` applies and reads; `slots` finds an entity, `ledger` a transaction; `kept` is what is kept
//! of an entity, a `history` of `block`s or `steps`; `plan` says what to gather of them and `read` gathers it.

mod alone;
mod block;
mod bytes;
mod decimal;
mod history;
mod kept;
mod key;
mod label;
mod ledger;
mod memory;
mod plan;
mod read;
mod sketch;
mod slots;
mod steps;
mod store;
mod table;
mod totals;

pub use key::EntityKey;
pub use plan::ReadPlan;
pub use store::{
    Applied, Chunk, ChunkReader, Digest, ImageError, ImageSize, Imaging, Labelled, Limits, Origin,
    Reading, Restoring, Store, StoreSize, differences,
};
