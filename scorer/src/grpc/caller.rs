//! Who asks, as far as it says who goes first.

use tollgate_types::Channel;
use tonic::Request;

use super::Scoring;
use crate::admit::{ConnectionId, PRIORITY_HEADER, Priority};
use crate::config::ChannelPriorities;

/// How often gRPC has sent the request before; absent in the first attempt (gRPC retry design, A6).
const ATTEMPTS_HEADER: &str = "grpc-previous-rpc-attempts";

#[derive(Debug, Clone, Copy)]
pub(crate) struct Caller {
    pub(super) connection: ConnectionId,
    /// What the request says of itself.
    priority: Option<Priority>,
}

impl Caller {
    /// What the caller asked for, else what its channel has. A retry goes last, whatever it asks for.
    pub(super) fn priority(
        &self,
        channel: Option<Channel>,
        channels: &ChannelPriorities,
    ) -> Priority {
        self.priority.unwrap_or_else(|| channels.of(channel))
    }
}

impl Scoring {
    /// Reads the headers. A priority that is none is ignored: no payment fails for it.
    pub(super) fn caller<T>(&self, request: &Request<T>, connection: ConnectionId) -> Caller {
        let headers = request.metadata();
        let text = |name| Some(headers.get(name)?.to_str().unwrap_or_default());
        let is_retry = text(ATTEMPTS_HEADER)
            .and_then(|attempts| attempts.parse::<u32>().ok())
            .is_some_and(|attempts| attempts > 0);
        let asked = text(PRIORITY_HEADER).map(Priority::parse);
        if asked == Some(None) {
            self.metrics.admission.priority_unknown.inc();
        }
        let priority = if is_retry {
            Some(Priority::Retry)
        } else {
            asked.flatten()
        };
        Caller {
            connection,
            priority,
        }
    }
}
