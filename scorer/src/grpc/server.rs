//! The gRPC server: scoring, health and reflection on one port.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tollgate_proto::v1::scoring_service_server::ScoringServiceServer;
use tonic::transport::Server;
use tonic::transport::server::TcpIncoming;
use tonic_health::ServingStatus;
use tonic_health::server::HealthReporter;

use super::{Scoring, ScoringHandler};

/// Largest request read: real ones are below 2 KB.
const REQUEST_BYTES_MAX: usize = 64 * 1024;

type Handler = ScoringServiceServer<ScoringHandler>;

/// The running server.
pub(crate) struct GrpcServer {
    address: SocketAddr,
    health: HealthReporter,
    stop: watch::Sender<bool>,
    task: JoinHandle<Result<(), tonic::transport::Error>>,
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
    /// whole, until [`GrpcServer::set_ready`].
    pub(crate) async fn start(
        listen: SocketAddr,
        scoring: Arc<Scoring>,
    ) -> Result<Self, ServerError> {
        let listening = |error| ServerError::Listen {
            address: listen,
            error,
        };
        let listener = TcpListener::bind(listen).await.map_err(listening)?;
        let address = listener.local_addr().map_err(listening)?;
        let (health, health_service) = tonic_health::server::health_reporter();
        set_health(&health, ServingStatus::NotServing).await;
        let reflection = || {
            tonic_reflection::server::Builder::configure()
                .register_encoded_file_descriptor_set(tollgate_proto::DESCRIPTORS)
                .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
        };
        // Many clients still ask for the older version.
        let (reflection_v1, reflection_v1alpha) =
            (reflection().build_v1()?, reflection().build_v1alpha()?);
        let handler = ScoringServiceServer::new(ScoringHandler::new(scoring))
            .max_decoding_message_size(REQUEST_BYTES_MAX);
        let (stop, mut stopped) = watch::channel(false);
        // The listener's own setting: tonic's is ignored for a listener it did not open, and a delayed segment
        // would cost milliseconds.
        let incoming = TcpIncoming::from(listener).with_nodelay(Some(true));
        let serving = Server::builder()
            .add_service(health_service)
            .add_service(reflection_v1)
            .add_service(reflection_v1alpha)
            .add_service(handler)
            .serve_with_incoming_shutdown(incoming, async move {
                // An error means that the sender is gone, and the service with it.
                let _ = stopped.wait_for(|stop| *stop).await;
            });
        Ok(Self {
            address,
            health,
            stop,
            task: tokio::spawn(serving),
        })
    }

    pub(crate) const fn address(&self) -> SocketAddr {
        self.address
    }

    /// What probes see: whether to send traffic here.
    pub(crate) async fn set_ready(&self, ready: bool) {
        let status = if ready {
            ServingStatus::Serving
        } else {
            ServingStatus::NotServing
        };
        set_health(&self.health, status).await;
    }

    /// Takes no new connections, lets requests in progress end, and stops waiting for clients after `limit`.
    pub(crate) async fn drain(mut self, limit: Duration) {
        self.set_ready(false).await;
        self.stop.send_replace(true);
        if tokio::time::timeout(limit, &mut self.task).await.is_err() {
            tracing::warn!(?limit, "clients kept their connections open; closing them");
            self.task.abort();
        }
    }
}

/// Probes ask for the scoring service by name, or for the empty name, which stands for the server.
async fn set_health(health: &HealthReporter, status: ServingStatus) {
    for service in ["", <Handler as tonic::server::NamedService>::NAME] {
        health.set_service_status(service, status).await;
    }
}
