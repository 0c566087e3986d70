//! When and from where a request came, noted before anything can hold it up.

use std::time::{Duration, Instant};

use tonic::Extensions;

use crate::admit::ConnectionId;
use crate::clock;

/// What is known of a request as soon as its headers have been read. In its extensions.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Arrival {
    /// When its headers had been read: the wait for a thread to look at it counts from here.
    pub(crate) at: Instant,
    pub(crate) connection: ConnectionId,
    /// The client's `grpc-timeout`.
    pub(crate) timeout: Option<Duration>,
}

impl Arrival {
    /// What the server noted of the request. Every request comes through the server; one that did not has arrived now.
    pub(super) fn of(extensions: &Extensions) -> Self {
        extensions.get().copied().unwrap_or_else(|| Self {
            at: clock::instant(),
            connection: ConnectionId::new(0),
            timeout: None,
        })
    }
}
