//! Where the parts are put together, and taken apart again in order.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use tokio::task::JoinHandle;
use tollgate_features::Store;

use crate::admin::{AdminServer, AdminState};
use crate::audit::{AuditLog, DecisionIds, PublisherError, Publishing};
use crate::clock;
use crate::config::Config;
use crate::grpc::{GrpcServer, Scoring, ServerError};
use crate::housekeeping;
use crate::ingest::{Ingest, IngestError, IngestState, Parts};
use crate::kafka::{EmbeddedBroker, EmbeddedBrokerError};
use crate::memory;
use crate::metrics::Metrics;
use crate::policy::Policy;

/// Between two looks at whether the log has been read.
const READINESS_POLL: Duration = Duration::from_millis(20);

/// How long the decision log may take to empty its queue when the service stops.
const AUDIT_DRAIN_MAX: Duration = Duration::from_secs(10);

/// A running service.
pub struct Service {
    addresses: Addresses,
    grpc: GrpcServer,
    grpc_drain: Duration,
    admin: AdminServer,
    ingest: Ingest,
    ingest_state: Arc<IngestState>,
    metrics: Metrics,
    audit: Publishing,
    housekeeping: JoinHandle<()>,
    /// Dropped last: everything above talks to it.
    broker: Option<EmbeddedBroker>,
}

/// Where a running service can be reached.
#[derive(Debug, Clone, serde::Serialize)]
pub struct Addresses {
    pub grpc: SocketAddr,
    pub admin: SocketAddr,
    /// Kafka's bootstrap servers, those of the embedded broker if there is one.
    pub kafka: String,
}

/// Why a service did not start. Its parts say it in their own words; callers only show it.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    #[error(transparent)]
    Broker(EmbeddedBrokerError),
    #[error("the decision log: {0}")]
    Audit(PublisherError),
    #[error(transparent)]
    Ingest(IngestError),
    #[error(transparent)]
    Grpc(ServerError),
    #[error("cannot listen on {address} for metrics and probes: {error}")]
    Admin {
        address: SocketAddr,
        error: std::io::Error,
    },
    #[error("metrics: {0}")]
    Metrics(#[from] prometheus::Error),
}

impl Service {
    /// Starts everything with a policy that has been loaded. Returns as soon as requests are answered;
    /// [`Service::ready`] waits until the log has been read.
    pub async fn start(config: Config, policy: Policy) -> Result<Self, StartError> {
        let metrics = Metrics::new()?;
        let broker = if config.kafka.bootstrap.is_empty() {
            Some(EmbeddedBroker::start(&config.kafka).map_err(StartError::Broker)?)
        } else {
            None
        };
        let bootstrap = broker
            .as_ref()
            .map_or(config.kafka.bootstrap.as_str(), EmbeddedBroker::bootstrap);
        let schema = Arc::clone(&policy.logic().schema);
        let limits = memory::limits(&config.features);
        metrics
            .store_bytes_max
            .set(i64::try_from(limits.bytes_max).unwrap_or(i64::MAX));
        let store = Arc::new(Store::with_limits(schema, limits));
        let policy = Arc::new(ArcSwap::from_pointee(policy));
        let ingest_state = Arc::new(IngestState::default());
        let (audit_log, audit) = AuditLog::start(&config.kafka, bootstrap, metrics.clone())
            .map_err(StartError::Audit)?;
        let ingest = Ingest::start(&Parts {
            config: config.kafka.clone(),
            bootstrap: bootstrap.to_owned(),
            store: Arc::clone(&store),
            policy: Arc::clone(&policy),
            metrics: metrics.clone(),
            state: Arc::clone(&ingest_state),
        })
        .map_err(StartError::Ingest)?;
        let scoring = Scoring {
            policy: Arc::clone(&policy),
            store: Arc::clone(&store),
            ingest: Arc::clone(&ingest_state),
            audit: audit_log,
            decision_ids: DecisionIds::new(clock::wall_time()),
            metrics: metrics.clone(),
            deadline: config.deadline.clone(),
            features: config.features.clone(),
        };
        let grpc = GrpcServer::start(config.grpc.listen, Arc::new(scoring));
        let grpc = grpc.await.map_err(StartError::Grpc)?;
        let admin_state = AdminState {
            metrics: metrics.clone(),
            ingest: Arc::clone(&ingest_state),
            policy,
        };
        let address = config.admin.listen;
        let admin = AdminServer::start(address, admin_state).await;
        let admin = admin.map_err(|error| StartError::Admin { address, error })?;
        let housekeeping =
            tokio::spawn(housekeeping::keep(store, metrics.clone(), config.features));
        let kafka = bootstrap.to_owned();
        let addresses = Addresses {
            grpc: grpc.address(),
            admin: admin.address(),
            kafka,
        };
        let grpc_drain = Duration::from_millis(config.grpc.drain_ms);
        Ok(Self {
            addresses,
            grpc,
            grpc_drain,
            admin,
            ingest,
            ingest_state,
            metrics,
            audit,
            housekeeping,
            broker,
        })
    }

    pub const fn addresses(&self) -> &Addresses {
        &self.addresses
    }

    /// Waits until the log has been read to where it ended at start, then tells probes.
    pub async fn ready(&self) {
        while !self.ingest_state.is_ready() {
            tokio::time::sleep(READINESS_POLL).await;
        }
        self.metrics.ready.set(1);
        self.grpc.set_ready(true).await;
    }

    /// Stops in order: probes are told, requests in progress answered, their decisions published.
    pub async fn stop(self) {
        self.metrics.ready.set(0);
        self.ingest_state.withdraw();
        self.grpc.drain(self.grpc_drain).await;
        self.audit.finish(AUDIT_DRAIN_MAX).await;
        self.housekeeping.abort();
        drop(self.admin);
        // Ending threads and the broker waits for them, so not on a thread that serves requests.
        let (ingest, broker) = (self.ingest, self.broker);
        let ended = tokio::task::spawn_blocking(move || {
            drop(ingest);
            drop(broker);
        });
        if let Err(error) = ended.await {
            tracing::error!(%error, "ingest did not end as it should");
        }
    }
}
