//! The folders of the decision log, opened before anything is answered.

use std::path::{Path, PathBuf};

use super::spool::{Left, Spool};
use crate::config::DecisionLogConfig;
use crate::metrics::DecisionLogMetrics;

/// How decisions are kept, and what an earlier run has left of them.
#[derive(Debug, Default)]
pub(crate) struct Spools {
    pub(super) config: DecisionLogConfig,
    /// Absent where there is no folder for it.
    pub(super) spool: Option<(Spool, Left)>,
}

/// A folder that cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("decision_log.spool_path: the folder {path} cannot be used: {error}")]
pub struct SpoolError {
    path: PathBuf,
    error: std::io::Error,
}

impl Spools {
    /// Opens the folders, on a thread that may wait for the disk.
    pub(crate) async fn open(
        config: &DecisionLogConfig,
        metrics: &DecisionLogMetrics,
    ) -> Result<Self, SpoolError> {
        if !config.has_spool() {
            return Ok(Self {
                config: config.clone(),
                spool: None,
            });
        }
        let (config, metrics) = (config.clone(), metrics.clone());
        let path = config.spool_path.clone();
        let opening = tokio::task::spawn_blocking(move || Self::look(config, &metrics)).await;
        opening.unwrap_or_else(|error| {
            let error = std::io::Error::other(error);
            Err(SpoolError { path, error })
        })
    }

    fn look(config: DecisionLogConfig, metrics: &DecisionLogMetrics) -> Result<Self, SpoolError> {
        let opened = open(&config.spool_path, config.spool_bytes_max(), metrics)?;
        Ok(Self {
            config,
            spool: Some(opened),
        })
    }
}

fn open(
    path: &Path,
    bytes_max: u64,
    metrics: &DecisionLogMetrics,
) -> Result<(Spool, Left), SpoolError> {
    let opened = Spool::open(path, bytes_max).map_err(|error| SpoolError {
        path: path.to_owned(),
        error,
    })?;
    let (_, left) = &opened;
    metrics.spool_cuts.inc_by(left.cut);
    if left.cut > 0 {
        let path = path.display();
        tracing::error!(%path, files = left.cut, "files of the spool end in the middle of a record: the process ended in a write");
    }
    let records = left.to - left.from;
    if records > 0 {
        tracing::info!(
            records,
            "decisions of an earlier run go to Kafka first; a few of them may be there already"
        );
    }
    Ok(opened)
}
