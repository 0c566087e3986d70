//! What is known about each card, merchant, terminal, device and address: their recent events, and exact rolling
//! aggregates over them on event time.
//!
//! The [`Store`] keeps events, not sums, so an aggregate that a rule names for the first time has its full
//! history at once. A [`ReadPlan`] is made once per policy from the aggregates its expressions use;
//! [`Store::read`] fills their slots for one transaction. Nothing here knows the wall clock, Kafka or gRPC.

mod aggregate;
mod history;
mod key;
mod plan;
mod store;

pub use key::EntityKey;
pub use plan::ReadPlan;
pub use store::{Applied, Labelled, Origin, Store, StoreSize};
