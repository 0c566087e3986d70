//! Generated from `tollgate/v1/*.proto`: messages, the gRPC client and server, and the descriptors.
//!
//! Nothing but the edges of the service may see these types: `scorer::grpc` and `scorer::ingest` convert them
//! into `tollgate-types` and refuse what does not fit.

mod json;

/// Package `tollgate.v1`.
#[allow(clippy::all, clippy::pedantic, clippy::nursery, unused_qualifications)]
pub mod v1 {
    tonic::include_proto!("tollgate.v1");
}

pub use json::{JsonError, JsonPlace, from_json, from_json_of_any_version, to_json};

/// The compiled descriptors of every message and service, for gRPC reflection and for JSON.
pub const DESCRIPTORS: &[u8] =
    include_bytes!(concat!(env!("OUT_DIR"), "/tollgate.v1.descriptors.bin"));
