//! Where the parts are put together, and taken apart again in order.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::AtomicI64;
use std::time::Duration;

use arc_swap::ArcSwap;
use tokio::task::JoinHandle;
use tollgate_features::Store;

use crate::admin::{AdminServer, AdminState, Digesting};
use crate::admit::Admission;
use crate::audit::{AuditError, AuditLog, DecisionIds, Publishing, SpoolError, Spools};
use crate::clock;
use crate::config::{Config, GrpcConfig};
use crate::grpc::{GrpcServer, Scoring, ServerError, seconds};
use crate::housekeeping;
use crate::idempotency::Idempotency;
use crate::ingest::{Ingest, IngestError, IngestState, Parts, Positions};
use crate::kafka::{self, EmbeddedBroker, EmbeddedBrokerError, SettingsError};
use crate::late::{self, Judging, LateVerdicts};
use crate::memory;
use crate::metrics::Metrics;
use crate::policy::{Loader, Policy};
use crate::readiness::Readiness;
use crate::reload::{self, Reload, Versions, Wake};
use crate::snapshot::{self, Before, SnapshotError, Snapshots};
use crate::watch::{DriftReports, Watch};
use crate::watchdog::{LateAnswers, Watchdog};

/// How long the decision log may take to empty its queues when the service stops.
const AUDIT_DRAIN_MAX: Duration = Duration::from_secs(10);

/// How long the service's threads may take to end: each looks several times a second whether it should, and one that hangs in
/// a library must not keep the process.
const THREADS_END_MAX: Duration = Duration::from_secs(5);

/// A running service.
pub struct Service {
    addresses: Addresses,
    grpc: GrpcServer,
    grpc_config: GrpcConfig,
    admin: AdminServer,
    ingest: Ingest,
    ingest_state: Arc<IngestState>,
    readiness: Readiness,
    late: Judging,
    audit: Publishing,
    housekeeping: JoinHandle<()>,
    reload: Reload,
    snapshots: Option<Snapshots>,
    watchdog: Watchdog,
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
    Settings(SettingsError),
    #[error(transparent)]
    Broker(EmbeddedBrokerError),
    #[error("the decision log: {0}")]
    Audit(AuditError),
    #[error(transparent)]
    Spool(#[from] SpoolError),
    #[error(transparent)]
    Ingest(IngestError),
    #[error(transparent)]
    Grpc(ServerError),
    #[error("cannot listen on {address} for metrics and probes: {error}")]
    Admin {
        address: SocketAddr,
        error: std::io::Error,
    },
    #[error("the thread that loads changes of the policy did not start: {0}")]
    Reload(std::io::Error),
    #[error("{0}; or leave snapshot.path empty to do without")]
    Snapshot(#[from] SnapshotError),
    #[error("the thread that notices stalls of the machine did not start: {0}")]
    Watchdog(std::io::Error),
    #[error("metrics: {0}")]
    Metrics(#[from] prometheus::Error),
}

impl Service {
    /// Starts everything with a policy that `loader` has loaded, and loads it again as it changes. Returns as soon as
    /// requests are answered; [`Service::ready`] waits until the log has been read.
    pub async fn start(
        mut config: Config,
        loader: Loader,
        policy: Policy,
    ) -> Result<Self, StartError> {
        config.kafka = kafka::settle(&config.kafka).map_err(StartError::Settings)?;
        let broker = if config.kafka.bootstrap.is_empty() {
            Some(EmbeddedBroker::start(&config.kafka).map_err(StartError::Broker)?)
        } else {
            config.lacks().for_each(|what| tracing::warn!("{what}"));
            None
        };
        let bootstrap = broker
            .as_ref()
            .map_or(config.kafka.bootstrap.as_str(), EmbeddedBroker::bootstrap);
        let metrics = Metrics::new()?;
        let spools = Spools::open(&config.decision_log, &metrics.decision_log).await?;
        let before = Before::look(&config, bootstrap, &policy, &metrics.snapshot).await?;
        let core = Core::new(&config, policy, metrics, before);
        let (reload, wake) = core.start_reload(loader, &config)?;
        let metrics = core.metrics.clone();
        let watch = core.watch(&config);
        let (audit_log, audit) = AuditLog::start(&config.kafka, bootstrap, spools, watch, &metrics)
            .map_err(StartError::Audit)?;
        let ingest = core.start_ingest(&config, bootstrap)?;
        let snapshots = core.start_snapshots(&config)?;
        let (watchdog, late_answers) =
            Watchdog::start(metrics.stalls.clone()).map_err(StartError::Watchdog)?;
        let idempotency = Idempotency::new(&config.idempotency, metrics.idempotency.clone());
        let idempotency = Arc::new(idempotency);
        let (late_verdicts, late) = core.late_verdicts(&config, audit_log.clone());
        let log = audit_log.clone();
        let kept = Arc::clone(&idempotency);
        let scoring = core.scoring(&config, (audit_log, late_verdicts), kept, late_answers);
        let grpc = GrpcServer::start(&config.grpc, Arc::new(scoring));
        let grpc = grpc.await.map_err(StartError::Grpc)?;
        let address = config.admin.listen;
        let admin = AdminServer::start(address, core.admin_state(wake, log)).await;
        let admin = admin.map_err(|error| StartError::Admin { address, error })?;
        let (ingest_state, ready) = (Arc::clone(&core.ingest_state), metrics.ready.clone());
        let readiness = Readiness::follow(ingest_state, grpc.health(), ready);
        let keeping = housekeeping::keep(core.store, idempotency, metrics, config.features);
        let addresses = Addresses {
            grpc: grpc.address(),
            admin: admin.address(),
            kafka: bootstrap.to_owned(),
        };
        Ok(Self {
            addresses,
            grpc,
            grpc_config: config.grpc,
            admin,
            ingest,
            ingest_state: core.ingest_state,
            readiness,
            late,
            audit,
            housekeeping: tokio::spawn(keeping),
            reload,
            snapshots,
            watchdog,
            broker,
        })
    }

    pub const fn addresses(&self) -> &Addresses {
        &self.addresses
    }

    /// Waits until the log has been read to where it ended at start, and probes have been told.
    pub async fn ready(&self) {
        self.readiness.wait().await;
    }

    /// Stops without waiting for load balancers to notice: for services that have none.
    pub async fn stop(self) {
        self.drain(std::future::ready(())).await;
    }

    /// Stops in order and in bounded time: probes are told, and everything goes on until load balancers have noticed, or `hurry`
    /// ends; then requests in progress are answered and their decisions published. docs/shutdown.md has the timeline.
    pub async fn drain(self, hurry: impl Future<Output = ()>) {
        self.ingest_state.withdraw();
        self.readiness.withdraw().await;
        let lame_duck = self.grpc_config.lame_duck();
        tracing::info!(?lame_duck, "not ready any more, still answering");
        // Either way it is over.
        let _ = tokio::time::timeout(lame_duck, hurry).await;
        let drain = self.grpc_config.drain();
        tracing::info!(
            ?drain,
            "taking no new connections, ending requests in progress"
        );
        self.grpc.drain(drain).await;
        self.late.finish().await;
        self.audit.finish(AUDIT_DRAIN_MAX).await;
        self.housekeeping.abort();
        // Ending threads and the broker waits for them, so not on a thread that serves requests.
        let snapshots = self.snapshots;
        let limit = THREADS_END_MAX + snapshots.as_ref().map_or(Duration::ZERO, Snapshots::drain);
        let (reload, ingest, watchdog, broker) =
            (self.reload, self.ingest, self.watchdog, self.broker);
        let ended = tokio::task::spawn_blocking(move || {
            drop(reload);
            drop(ingest);
            if let Some(snapshots) = snapshots {
                snapshots.finish();
            }
            drop(watchdog);
            drop(broker);
        });
        match tokio::time::timeout(limit, ended).await {
            Ok(Ok(())) => tracing::info!("stopped"),
            Ok(Err(error)) => tracing::error!(%error, "a thread did not end as it should"),
            Err(_) => tracing::error!("a thread did not end in time and is left behind"),
        }
        // Probes and metrics until the end.
        drop(self.admin);
    }
}

/// What several parts share.
struct Core {
    metrics: Metrics,
    store: Arc<Store>,
    policy: Arc<ArcSwap<Policy>>,
    versions: Arc<Versions>,
    ingest_state: Arc<IngestState>,
    positions: Arc<Positions>,
    before: Before,
    drift: DriftReports,
    admission: Arc<Admission>,
}

impl Core {
    fn new(config: &Config, policy: Policy, metrics: Metrics, mut before: Before) -> Self {
        let schema = Arc::clone(&policy.logic().schema);
        let limits = memory::limits(&config.features);
        metrics.store.note_limit(limits);
        let store = before.store.take();
        let store = store.unwrap_or_else(|| Store::with_limits(schema, limits));
        let policy = Arc::new(ArcSwap::from_pointee(policy));
        let versions = Versions::new(
            Arc::clone(&policy),
            config.policy.versions_max,
            metrics.policy.clone(),
            clock::steady_time(),
        );
        Self {
            store: Arc::new(store),
            versions: Arc::new(versions),
            ingest_state: Arc::new(IngestState::default()),
            positions: Arc::default(),
            before,
            drift: DriftReports::default(),
            admission: Arc::new(Admission::new(&config.overload, metrics.admission.clone())),
            metrics,
            policy,
        }
    }

    fn start_reload(&self, loader: Loader, config: &Config) -> Result<(Reload, Wake), StartError> {
        let parts = reload::Parts {
            loader,
            versions: Arc::clone(&self.versions),
            store: Arc::clone(&self.store),
            base: self.policy.load().logic().rates.base(),
            poll: Duration::from_secs(config.policy.poll_s),
        };
        Reload::start(parts).map_err(StartError::Reload)
    }

    fn start_ingest(&self, config: &Config, bootstrap: &str) -> Result<Ingest, StartError> {
        let parts = Parts {
            config: config.kafka.clone(),
            bootstrap: bootstrap.to_owned(),
            store: Arc::clone(&self.store),
            policy: Arc::clone(&self.policy),
            metrics: self.metrics.clone(),
            state: Arc::clone(&self.ingest_state),
            positions: Arc::clone(&self.positions),
            from: self.before.positions.clone(),
            from_time: self.before.created,
            cluster: self
                .before
                .under
                .as_ref()
                .map(|under| Arc::clone(&under.cluster)),
        };
        Ingest::start(&parts).map_err(StartError::Ingest)
    }

    fn start_snapshots(&self, config: &Config) -> Result<Option<Snapshots>, StartError> {
        let folder = self.before.folder.clone();
        let Some((under, folder)) = self.before.under.clone().zip(folder) else {
            return Ok(None);
        };
        let parts = snapshot::Parts {
            config: config.snapshot.clone(),
            store: Arc::clone(&self.store),
            positions: Arc::clone(&self.positions),
            ingest: Arc::clone(&self.ingest_state),
            under,
            metrics: self.metrics.snapshot.clone(),
            newest: self.before.created,
            give_up_at: Arc::new(AtomicI64::new(i64::MAX)),
        };
        Ok(Some(Snapshots::start(folder, parts)?))
    }

    fn watch(&self, config: &Config) -> Watch {
        let (policy, reports) = (Arc::clone(&self.policy), self.drift.clone());
        Watch::new(&config.watch, policy, reports, &self.metrics)
    }

    fn late_verdicts(&self, config: &Config, audit: AuditLog) -> (LateVerdicts, Judging) {
        LateVerdicts::start(late::Parts {
            config: config.late_verdict.clone(),
            policy: Arc::clone(&self.policy),
            admission: Arc::clone(&self.admission),
            store: Arc::clone(&self.store),
            ingest: Arc::clone(&self.ingest_state),
            audit,
            metrics: self.metrics.late_verdicts.clone(),
            stale_after: seconds(config.features.stale_after_s),
            model_reasons_max: config.watch.reasons_max,
        })
    }

    fn scoring(
        &self,
        config: &Config,
        (audit, late_verdicts): (AuditLog, LateVerdicts),
        idempotency: Arc<Idempotency>,
        late_answers: LateAnswers,
    ) -> Scoring {
        Scoring {
            policy: Arc::clone(&self.policy),
            store: Arc::clone(&self.store),
            ingest: Arc::clone(&self.ingest_state),
            audit,
            late_verdicts,
            decision_ids: DecisionIds::new(clock::wall_time()),
            idempotency,
            late_answers,
            metrics: self.metrics.clone(),
            deadline: config.deadline.clone(),
            features: config.features.clone(),
            model_reasons_max: config.watch.reasons_max,
            admission: Arc::clone(&self.admission),
            overload: config.overload.clone(),
            #[cfg(test)]
            sabotage: Default::default(),
        }
    }

    fn admin_state(&self, wake: Wake, audit: AuditLog) -> AdminState {
        AdminState {
            metrics: self.metrics.clone(),
            ingest: Arc::clone(&self.ingest_state),
            policy: Arc::clone(&self.policy),
            versions: Arc::clone(&self.versions),
            wake,
            drift: self.drift.clone(),
            admission: Arc::clone(&self.admission),
            digesting: Digesting::new(
                Arc::clone(&self.store),
                Arc::clone(&self.ingest_state),
                Arc::clone(&self.positions),
            ),
            audit,
        }
    }
}
