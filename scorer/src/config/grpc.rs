//! The section `grpc`: where requests come in, how many connections may be held, and how they are let go of.

use std::net::SocketAddr;
use std::ops::RangeInclusive;
use std::time::Duration;

use serde::{Deserialize, Serialize};

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
    /// Connections held at once. Beyond, those idle for longest are sent away, and new ones closed if none is idle.
    pub connections_max: usize,
    /// Requests in progress on one connection; a client that sends more waits with them at its own side.
    pub streams_per_connection_max: u32,
    /// How often a connection is asked whether its client is still there.
    pub keepalive_s: u64,
    /// A client that does not answer that for so long is gone, and its connection is closed.
    pub keepalive_timeout_s: u64,
}

impl Default for GrpcConfig {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from(([127, 0, 0, 1], 7070)),
            // A load balancer has seen two probes fail by then; and then far more than any answer takes.
            lame_duck_ms: 5_000,
            drain_ms: 5_000,
            // Far more than any payment path opens, and some 300 MB at most.
            connections_max: 10_000,
            // Below the 100 that RFC 9113 (6.5.2) recommends for browsers' sake: what one connection has sent waits for threads before
            // those of others, and 32 answers of a millisecond are 32,000 a second (ADR 16).
            streams_per_connection_max: 32,
            keepalive_s: 20,
            keepalive_timeout_s: 10,
        }
    }
}

impl GrpcConfig {
    /// Holds each value against the range it may have.
    pub(super) fn ranges(&self, range: &mut impl FnMut(&str, u64, RangeInclusive<u64>)) {
        range("grpc.lame_duck_ms", self.lame_duck_ms, 0..=600_000);
        range("grpc.drain_ms", self.drain_ms, 0..=600_000);
        let connections_max = u64::try_from(self.connections_max).unwrap_or(u64::MAX);
        range("grpc.connections_max", connections_max, 1..=1_000_000);
        let streams_max = self.streams_per_connection_max.into();
        range("grpc.streams_per_connection_max", streams_max, 1..=100_000);
        range("grpc.keepalive_s", self.keepalive_s, 1..=3_600);
        let timeout_s = self.keepalive_timeout_s;
        range("grpc.keepalive_timeout_s", timeout_s, 1..=3_600);
    }

    pub(crate) const fn lame_duck(&self) -> Duration {
        Duration::from_millis(self.lame_duck_ms)
    }

    pub(crate) const fn drain(&self) -> Duration {
        Duration::from_millis(self.drain_ms)
    }

    pub(crate) const fn keepalive(&self) -> Duration {
        Duration::from_secs(self.keepalive_s)
    }

    pub(crate) const fn keepalive_timeout(&self) -> Duration {
        Duration::from_secs(self.keepalive_timeout_s)
    }
}
