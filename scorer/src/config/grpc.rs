//! The section `grpc`: where to listen, and how to stop without leaving a request unanswered.

use std::net::SocketAddr;
use std::ops::RangeInclusive;
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// Longest time that either part of stopping may be given: nobody waits ten minutes for a service to go.
const STOPPING_MS_MAX: u64 = 600_000;

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct GrpcConfig {
    /// Address of the scoring service; port 0 takes a free one.
    pub listen: SocketAddr,
    /// How long a service that is told to stop goes on answering as before, while probes say that it is not ready:
    /// load balancers take that long to notice.
    pub lame_duck_ms: u64,
    /// How long it then waits for requests in progress, and for clients to let go of their connections.
    pub drain_ms: u64,
}

impl Default for GrpcConfig {
    /// Five seconds for a load balancer to see two probes fail; then far more than any answer takes.
    fn default() -> Self {
        Self {
            listen: SocketAddr::from(([127, 0, 0, 1], 7070)),
            lame_duck_ms: 5_000,
            drain_ms: 5_000,
        }
    }
}

impl GrpcConfig {
    /// Holds each value against the range it may have.
    pub(super) fn ranges(&self, range: &mut impl FnMut(&str, u64, RangeInclusive<u64>)) {
        let allowed = 0..=STOPPING_MS_MAX;
        range("grpc.lame_duck_ms", self.lame_duck_ms, allowed.clone());
        range("grpc.drain_ms", self.drain_ms, allowed);
    }

    pub(crate) const fn lame_duck(&self) -> Duration {
        Duration::from_millis(self.lame_duck_ms)
    }

    pub(crate) const fn drain(&self) -> Duration {
        Duration::from_millis(self.drain_ms)
    }
}
