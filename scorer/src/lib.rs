//! The scoring service: transactions come in by gRPC and Kafka, decisions go out.
//!
//! [`Service::start`] is the one place where the parts are put together; nothing else looks anything up.
//! `admit` says which requests are decided, `decide` holds the pipeline and knows neither gRPC nor Kafka; `grpc` and `ingest`
//! convert messages at the edge and refuse what does not fit; `audit` publishes what was decided, `late` makes full decisions on
//! what was answered without one, `watch` looks at what models
//! made of it; `admin` answers operators.

mod admin;
mod admit;
mod audit;
pub mod cli;
mod clock;
mod config;
mod convert;
mod decide;
mod disk;
mod frames;
mod grpc;
mod housekeeping;
mod idempotency;
mod ingest;
mod kafka;
mod late;
mod lines;
mod memory;
mod metrics;
mod model_report;
mod panics;
mod policy;
mod readiness;
mod reload;
mod service;
mod snapshot;
mod watch;
mod watchdog;

pub use config::{Config, Durability, Format, WhenUnlogged};
pub use policy::{Loader, ModelLimits, Policy};
pub use service::{Addresses, Service};
