//! What every request passes before anything else: its arrival is noted, its body gets a deadline, and it is refused if
//! there are too many already.
//!
//! `call` runs on the task of the connection as soon as the headers have been read, before the task of the request
//! is first looked at, so the wait for a thread is part of a request's age.

use std::convert::Infallible;
use std::future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use hyper::body::Incoming;
use hyper::{Request, Response};
use tollgate_proto::v1::scoring_service_server::ScoringServiceServer;
use tonic::Status;
use tonic::body::Body;
use tonic::server::NamedService;
use tonic::service::Routes;
use tower_service::Service;

use super::ScoringHandler;
use super::arrival::Arrival;
use super::body::DueBody;
use super::connections::{Connection, Connections, Counted};
use super::deadline;
use crate::clock;
use crate::config::DeadlineConfig;
use crate::metrics::ConnectionMetrics;

/// A body may take so long however soon its answer is due: it comes right behind its headers, but the thread that reads it may
/// be held up, and a caller in a hurry is better served by an answer that is late than by an error.
const BODIES_MIN: Duration = Duration::from_millis(50);

/// For bodies of health checks and the like whose client sets no deadline.
const OTHER_BODIES_MAX: Duration = Duration::from_secs(10);

pub(super) type Scoring = ScoringServiceServer<ScoringHandler>;

/// The services, and what is asked of requests before they reach one. Shared by all connections.
pub(super) struct Services {
    /// Reached without the router: nearly all requests are for it.
    pub(super) scoring: Scoring,
    pub(super) others: Routes,
    pub(super) deadline: DeadlineConfig,
    /// Scoring calls in progress on all connections, beyond which one is refused.
    pub(super) requests_max: usize,
    pub(super) metrics: ConnectionMetrics,
}

/// The entrance of one connection.
pub(super) struct Entrance {
    pub(super) services: Arc<Services>,
    pub(super) connections: Arc<Connections>,
    pub(super) connection: Arc<Connection>,
}

/// How a method takes its messages.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Method {
    Score,
    ScoreStream,
    /// Of other services, with one message.
    Other,
    OtherStream,
}

impl Method {
    fn of(path: &str) -> Self {
        let service = path.strip_prefix('/').unwrap_or(path);
        match service.strip_prefix(Scoring::NAME) {
            Some("/ScoreStream") => Self::ScoreStream,
            Some(method) if method.starts_with('/') => Self::Score,
            // The only other service that is sent more than one message.
            _ if service.starts_with("grpc.reflection.") => Self::OtherStream,
            _ => Self::Other,
        }
    }
}

impl Entrance {
    /// When the body must be there: for a call with one message, when its answer is due; a stream is as long as its client
    /// wants it to be.
    fn body_due(&self, method: Method, arrival: &Arrival) -> Option<Instant> {
        let patience = match method {
            Method::Score => {
                let budget = deadline::budget(arrival.timeout, &self.services.deadline);
                Some(budget.max(BODIES_MIN))
            }
            Method::Other => Some(arrival.timeout.unwrap_or(OTHER_BODIES_MAX)),
            Method::ScoreStream | Method::OtherStream => arrival.timeout,
        };
        patience.and_then(|patience| arrival.at.checked_add(patience))
    }
}

impl hyper::service::Service<Request<Incoming>> for Entrance {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Response<Body>, Infallible>> + Send>>;

    fn call(&self, mut request: Request<Incoming>) -> Self::Future {
        let arrival = Arrival {
            at: clock::instant(),
            connection: self.connection.id(),
            timeout: deadline::grpc_timeout(request.headers()),
        };
        let method = Method::of(request.uri().path());
        let services = &self.services;
        let is_scoring = matches!(method, Method::Score | Method::ScoreStream);
        if is_scoring && self.connections.calls() >= services.requests_max {
            services.metrics.exhausted.inc();
            let refusal = Status::resource_exhausted(
                "more requests are in progress than can be answered in time; do not repeat this one: decide without Tollgate, \
                 as docs/clients.md says",
            );
            return Box::pin(future::ready(Ok(refusal.into_http())));
        }
        request.extensions_mut().insert(arrival);
        let due = self.body_due(method, &arrival);
        let incomplete = (method == Method::Score).then(|| services.metrics.incomplete.clone());
        let mut request = request.map(|body| DueBody::new(body, due, incomplete));
        if is_scoring {
            let counted = Counted::new(&self.connections, &self.connection);
            request.extensions_mut().insert(Arc::new(counted));
            services.scoring.clone().call(request)
        } else {
            Box::pin(services.others.clone().call(request))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn methods_are_told_apart_by_their_path() {
        let of = |path| Method::of(path);
        assert!(of("/tollgate.v1.ScoringService/Score") == Method::Score);
        assert!(of("/tollgate.v1.ScoringService/ScoreStream") == Method::ScoreStream);
        assert!(of("/tollgate.v1.ScoringServiceOfOthers/Score") == Method::Other);
        assert!(of("/grpc.health.v1.Health/Check") == Method::Other);
        let reflection = "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo";
        assert!(of(reflection) == Method::OtherStream);
    }
}
