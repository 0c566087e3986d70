//! The Kafka side of a payment system: what it publishes, how far ahead it may be, what the service answers.

mod admin;
mod decisions;
mod flow;
mod publisher;

pub(crate) use decisions::Decisions;
pub(crate) use publisher::{Publisher, Targets};

#[cfg(test)]
pub(crate) mod fake;
#[cfg(test)]
mod tests;
