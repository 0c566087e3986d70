//! The gRPC server: scoring, health and reflection on one port, and the end of it in order.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::sync::watch;
use tonic::service::Routes;
use tonic_health::ServingStatus;
use tonic_health::server::HealthReporter;

use super::accept::{Acceptor, Phase};
use super::connections::Connections;
use super::entrance::{self, Services};
use super::{Scoring, ScoringHandler};
use crate::config::GrpcConfig;
use crate::metrics::{ConnectionEvent, ConnectionMetrics};

/// Largest request read: real ones are below 2 KB.
const REQUEST_BYTES_MAX: usize = 64 * 1024;

/// Probes ask for the scoring service by name, or for the empty name, which stands for the server.
const HEALTH_NAMES: [&str; 2] = ["", <entrance::Scoring as tonic::server::NamedService>::NAME];

/// The running server. Dropping it closes every connection.
pub(crate) struct GrpcServer {
    address: SocketAddr,
    health: Health,
    phase: watch::Sender<Phase>,
    connections: Arc<Connections>,
    metrics: ConnectionMetrics,
}

/// What probes are told by `grpc.health.v1`.
#[derive(Clone)]
pub(crate) struct Health(HealthReporter);

impl Health {
    /// Whether to send traffic here.
    pub(crate) async fn set_ready(&self, ready: bool) {
        let status = if ready {
            ServingStatus::Serving
        } else {
            ServingStatus::NotServing
        };
        for service in HEALTH_NAMES {
            self.0.set_service_status(service, status).await;
        }
    }
}

/// Why the server did not start.
#[derive(Debug, thiserror::Error)]
pub enum ServerError {
    #[error("cannot listen on {address}: {error}")]
    Listen {
        address: SocketAddr,
        error: std::io::Error,
    },
    #[error("gRPC reflection: {0}")]
    Reflection(#[from] tonic_reflection::server::Error),
}

impl GrpcServer {
    /// Opens the port. Scoring answers at once; health says NOT_SERVING, for the service and for the server as a
    /// whole, until [`Health::set_ready`].
    pub(crate) async fn start(
        config: &GrpcConfig,
        scoring: Arc<Scoring>,
    ) -> Result<Self, ServerError> {
        let listening = |error| ServerError::Listen {
            address: config.listen,
            error,
        };
        let listener = TcpListener::bind(config.listen).await.map_err(listening)?;
        let address = listener.local_addr().map_err(listening)?;
        let (health, health_service) = tonic_health::server::health_reporter();
        let health = Health(health);
        health.set_ready(false).await;
        let others = with_reflection(Routes::new(health_service))?.prepare();
        let metrics = scoring.metrics.connections.clone();
        let services = Services {
            others,
            deadline: scoring.deadline.clone(),
            requests_max: scoring.overload.requests_max,
            metrics: metrics.clone(),
            scoring: entrance::Scoring::new(ScoringHandler::new(scoring))
                .max_decoding_message_size(REQUEST_BYTES_MAX),
        };
        let connections = Arc::new(Connections::new(
            config.connections_max,
            metrics.open.clone(),
        ));
        let (phase, phases) = watch::channel(Phase::Open);
        let acceptor = Acceptor {
            listener,
            services: Arc::new(services),
            connections: Arc::clone(&connections),
            config: config.clone(),
            phase: phases,
        };
        tokio::spawn(acceptor.run());
        Ok(Self {
            address,
            health,
            phase,
            connections,
            metrics,
        })
    }

    pub(crate) const fn address(&self) -> SocketAddr {
        self.address
    }

    /// What probes see.
    pub(crate) fn health(&self) -> Health {
        self.health.clone()
    }

    /// Takes no new connections and tells every client to open no further request on the ones there are (GOAWAY). What has
    /// been sent until a client reads that is answered.
    pub(crate) fn close(&self) {
        self.phase.send_replace(Phase::Drain);
    }

    /// After [`GrpcServer::close`]: waits for requests in progress, and for clients to let go, for `limit` at most; then
    /// closes the connections that are left. How many those were.
    pub(crate) async fn closed(self, limit: Duration) -> usize {
        if tokio::time::timeout(limit, self.phase.closed())
            .await
            .is_ok()
        {
            return 0;
        }
        let cut = self.connections.count();
        tracing::warn!(
            ?limit,
            cut,
            "clients kept their connections open; closing them"
        );
        for _ in 0..cut {
            self.metrics.note(ConnectionEvent::Cut);
        }
        self.phase.send_replace(Phase::Cut);
        // Nothing that a task of a connection waits for is without this, so they end as soon as they are looked at.
        self.phase.closed().await;
        cut
    }

    /// GOAWAY, the end of health watches, and the wait. Probes have been told.
    pub(crate) async fn drain(mut self, limit: Duration) {
        self.close();
        // Clients hold a watch for as long as they run. It ends behind the news that the service is not ready, and then
        // nothing holds their connections any more.
        for service in HEALTH_NAMES {
            self.health.0.clear_service_status(service).await;
        }
        self.closed(limit).await;
    }
}

impl Drop for GrpcServer {
    fn drop(&mut self) {
        self.phase.send_replace(Phase::Cut);
    }
}

/// Clients that know only the address can ask what there is.
fn with_reflection(routes: Routes) -> Result<Routes, ServerError> {
    let reflection = || {
        tonic_reflection::server::Builder::configure()
            .register_encoded_file_descriptor_set(tollgate_proto::DESCRIPTORS)
            .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
    };
    // Many clients still ask for the older version.
    Ok(routes
        .add_service(reflection().build_v1()?)
        .add_service(reflection().build_v1alpha()?))
}
