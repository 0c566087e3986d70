//! Connections of clients, and requests that never became one.

use prometheus::{IntCounter, IntCounterVec, IntGauge};

use super::Maker;

#[derive(Debug, Clone)]
pub(crate) struct ConnectionMetrics {
    pub(crate) open: IntGauge,
    pub(crate) events: IntCounterVec,
    pub(crate) incomplete: IntCounter,
    pub(crate) exhausted: IntCounter,
}

/// What became of a connection.
#[derive(Debug, Clone, Copy)]
pub(crate) enum ConnectionEvent {
    Accepted,
    /// The operating system could not hand it over.
    AcceptFailed,
    /// It was idle, and there were too many.
    SentAway,
    /// There were too many, and none was idle.
    Refused,
    /// Its client did not let go before the end of a drain.
    Cut,
}

impl ConnectionEvent {
    const fn name(self) -> &'static str {
        match self {
            Self::Accepted => "accepted",
            Self::AcceptFailed => "accept_failed",
            Self::SentAway => "sent_away",
            Self::Refused => "refused",
            Self::Cut => "cut",
        }
    }
}

impl ConnectionMetrics {
    pub(crate) fn note(&self, event: ConnectionEvent) {
        self.events.with_label_values(&[event.name()]).inc();
    }

    pub(super) fn new(make: &Maker) -> Result<Self, prometheus::Error> {
        Ok(Self {
            open: make.gauge("connections", "Open connections of gRPC clients.")?,
            events: make.counters(
                "connection_events",
                "Connections of gRPC clients by what became of them.",
                "event",
            )?,
            incomplete: make.counter(
                "requests_incomplete",
                "Requests answered DEADLINE_EXCEEDED because they had not arrived in full by then.",
            )?,
            exhausted: make.counter(
                "requests_exhausted",
                "Requests answered RESOURCE_EXHAUSTED because there were too many in progress to even read them.",
            )?,
        })
    }
}
