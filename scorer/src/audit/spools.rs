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
    /// With `spool-first`, what is written before it is answered.
    pub(super) early: Option<Spool>,
}

/// The folder, in that of the spool, of what is written before it is answered.
const EARLY: &str = "early";

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
                ..Self::default()
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
        let (path, bytes_max) = (&config.spool_path, config.spool_bytes_max());
        let failed = |path: &Path| {
            let path = path.to_owned();
            |error| SpoolError { path, error }
        };
        let (mut spool, mut left) = Spool::open(path, bytes_max).map_err(failed(path))?;
        let path = &path.join(EARLY);
        let mut early = None;
        // What an earlier run has written there is sent whatever this one does.
        if config.is_spool_first() || path.exists() {
            let (mut written, of_it) = Spool::open(path, bytes_max).map_err(failed(path))?;
            let taken = spool.take_over(&mut written, &of_it, &mut left);
            let taken = taken.map_err(failed(path))?;
            left.cut += of_it.cut;
            left.damages += of_it.damages;
            if taken.records > 0 {
                tracing::warn!(
                    records = taken.records,
                    "the process ended before decisions that it had answered were on their way; they are sent without challengers' scores"
                );
            }
            if taken.unread > 0 {
                tracing::error!(
                    path = %path.display(),
                    files = taken.unread,
                    "decisions that were answered may be in files that cannot be read; they are tried again at the next start"
                );
            }
            early = Some(written);
        }
        tell(&left, path, metrics);
        Ok(Self {
            early: early.filter(|_| config.is_spool_first()),
            config,
            spool: Some((spool, left)),
        })
    }
}

fn tell(left: &Left, path: &Path, metrics: &DecisionLogMetrics) {
    metrics.spool_cuts.inc_by(left.cut);
    metrics.spool_damages.inc_by(left.damages);
    if left.cut + left.damages > 0 {
        let path = path.display();
        tracing::error!(%path, cut = left.cut, damages = left.damages, "the spool has files that end in the middle of a record or are damaged");
    }
    let records = left.to - left.from;
    if records > 0 {
        tracing::info!(
            records,
            "decisions of an earlier run go to Kafka first; a few of them may be there already"
        );
    }
}
