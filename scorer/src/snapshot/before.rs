//! What a start finds of an earlier run.

use std::sync::{Arc, OnceLock};

use tollgate_features::Store;
use tollgate_types::{EventTime, Span};

use super::load::{self, Wanted};
use super::{Folder, SnapshotError, Under};
use crate::config::Config;
use crate::ingest::LogPositions;
use crate::metrics::SnapshotMetrics;
use crate::policy::Policy;
use crate::{clock, kafka, memory};

/// What an earlier run has left; nothing where snapshots are off, or none can be used.
#[derive(Default)]
pub(crate) struct Before {
    pub(crate) store: Option<Store>,
    pub(crate) positions: Option<LogPositions>,
    /// When the snapshot was begun.
    pub(crate) created: Option<EventTime>,
    /// What snapshots are kept under from now on, and where, unless they are off.
    pub(crate) under: Option<Under>,
    pub(crate) folder: Option<Folder>,
}

impl Before {
    /// Reads the newest snapshot that can be used, on a thread that may wait for the disk.
    pub(crate) async fn look(
        config: &Config,
        bootstrap: &str,
        policy: &Policy,
        metrics: &SnapshotMetrics,
    ) -> Result<Self, SnapshotError> {
        metrics.age_seconds.set(-1);
        if !config.snapshot.is_on() {
            return Ok(Self::default());
        }
        let (config, bootstrap) = (config.clone(), bootstrap.to_owned());
        let (schema, base) = (policy.logic().schema.clone(), policy.logic().rates.base());
        let metrics = metrics.clone();
        let look = move || {
            let known = cluster(&config, &bootstrap)?;
            let under = Under {
                cluster: Arc::new(known.map_or_else(OnceLock::new, OnceLock::from)),
                transactions_topic: config.kafka.transactions_topic.clone(),
                labels_topic: config.kafka.labels_topic.clone(),
                base: base.code().to_owned(),
                retained: Store::retained(&schema),
            };
            let expires_s = i64::try_from(config.features.in_flight_expires_s);
            let wanted = Wanted {
                under: under.clone(),
                schema,
                limits: memory::limits(&config.features),
                expires_at: clock::steady_time()
                    .plus(Span::from_seconds(expires_s.unwrap_or(i64::MAX))),
            };
            let path = config.snapshot.path;
            let folder = Folder::open(&path);
            let found = folder.and_then(|folder| {
                let loaded = load::newest(&folder, &wanted, &metrics)?;
                Ok((folder, loaded))
            });
            let (folder, loaded) = found.map_err(|error| SnapshotError::Folder { path, error })?;
            let mut before = Self {
                under: Some(under),
                folder: Some(folder),
                ..Self::default()
            };
            if let Some(loaded) = loaded {
                before.store = Some(loaded.store);
                before.positions = Some(loaded.positions);
                before.created = Some(loaded.created);
            }
            Ok(before)
        };
        let looked = tokio::task::spawn_blocking(look).await;
        looked.unwrap_or_else(|error| Err(SnapshotError::Thread(std::io::Error::other(error))))
    }
}

/// The name of the cluster that positions are of; `None` if no broker says.
fn cluster(config: &Config, bootstrap: &str) -> Result<Option<String>, SnapshotError> {
    if config.kafka.bootstrap.is_empty() {
        // The embedded broker ends with the process, and so does the meaning of its positions.
        let began = clock::wall_time().micros();
        return Ok(Some(format!("embedded broker begun at {began}")));
    }
    let cluster = kafka::cluster_id(&config.kafka, bootstrap).map_err(SnapshotError::Kafka)?;
    if cluster.is_none() {
        tracing::warn!(
            bootstrap,
            "no broker said which cluster it belongs to; the newest snapshot is taken to be of it, and held against it \
             once one does"
        );
    }
    Ok(cluster)
}
