//! Snapshots: the store and its positions in the log, on disk, so that a restart goes on from there.
//!
//! A thread of its own writes one every few minutes and a last one when the service stops; nothing waits for it but
//! ingest, for some milliseconds each time. At the start the newest one that can be used is read. What goes wrong with any of
//! it is told, and the service goes on: the log has everything (docs/snapshots.md, ADR 19).

mod before;
mod file;
mod folder;
mod load;
mod pace;
#[cfg(test)]
mod tests;
mod write;

use std::path::PathBuf;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use rdkafka::error::KafkaError;
use tollgate_features::Store;
use tollgate_types::{EventTime, Span};

use crate::clock;
use crate::config::SnapshotConfig;
use crate::ingest::{IngestState, Positions};
use crate::metrics::SnapshotMetrics;
pub(crate) use before::Before;
pub(crate) use folder::Folder;

/// Between two looks at whether a snapshot is due, and how old the gauge of the age may be.
const TICK: Duration = Duration::from_secs(1);

/// Orders that may wait: the one to write a last snapshot and end.
const ORDERS_MAX: usize = 1;

/// What a snapshot is kept under; another one is of no use under anything else.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Under {
    /// The cluster's own name for itself, once a broker has said it; positions mean nothing in another one.
    pub(crate) cluster: Arc<OnceLock<String>>,
    pub(crate) transactions_topic: String,
    pub(crate) labels_topic: String,
    /// The currency that amounts are converted to.
    pub(crate) base: String,
    pub(crate) retained: Vec<String>,
}

/// Why there can be no snapshots.
#[derive(Debug, thiserror::Error)]
pub enum SnapshotError {
    #[error("snapshot.path: the folder {path} cannot be used: {error}")]
    Folder {
        path: PathBuf,
        error: std::io::Error,
    },
    #[error("Kafka: {0}")]
    Kafka(KafkaError),
    #[error("the thread that reads or writes snapshots failed: {0}")]
    Thread(std::io::Error),
}

/// Why a snapshot is not used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Skipped {
    #[error("it cannot be read: {0}")]
    Unreadable(std::io::Error),
    #[error("it ends in the middle: it was not written to its end")]
    Torn,
    #[error("it is damaged: {0}")]
    Corrupt(&'static str),
    #[error("it has the form {written:#x}, and this version of Tollgate reads {read:#x}")]
    OtherForm { written: u32, read: u32 },
    #[error("{0}")]
    OtherLog(String),
    #[error("the schema keeps other things than it has: {0}")]
    OtherSchema(String),
    #[error("it has more than fits into memory; raise features.memory_mib_max")]
    TooLarge,
}

impl Skipped {
    pub(crate) const REASONS: [&'static str; 7] = [
        "unreadable",
        "torn",
        "corrupt",
        "other_form",
        "other_log",
        "other_schema",
        "too_large",
    ];

    /// The word in metrics.
    pub(crate) const fn name(&self) -> &'static str {
        match self {
            Self::Unreadable(_) => "unreadable",
            Self::Torn => "torn",
            Self::Corrupt(_) => "corrupt",
            Self::OtherForm { .. } => "other_form",
            Self::OtherLog(_) => "other_log",
            Self::OtherSchema(_) => "other_schema",
            Self::TooLarge => "too_large",
        }
    }
}

/// What snapshots are made of.
pub(crate) struct Parts {
    pub(crate) config: SnapshotConfig,
    pub(crate) store: Arc<Store>,
    pub(crate) positions: Arc<Positions>,
    pub(crate) ingest: Arc<IngestState>,
    pub(crate) under: Under,
    pub(crate) metrics: SnapshotMetrics,
    /// When the one that was read at the start was begun.
    pub(crate) newest: Option<EventTime>,
    /// On the steady clock, in microseconds: a snapshot that is not written by then is given up. `i64::MAX` until the service
    /// stops and ingest has ended.
    pub(crate) give_up_at: Arc<AtomicI64>,
}

impl Parts {
    /// Whether the service stops: requests and ingest have ended.
    fn is_ending(&self) -> bool {
        self.give_up_at.load(Ordering::Relaxed) != i64::MAX
    }

    /// An error once it is too late to go on writing.
    fn in_time(&self) -> std::io::Result<()> {
        if clock::steady_time().micros() < self.give_up_at.load(Ordering::Relaxed) {
            Ok(())
        } else {
            Err(std::io::Error::other("the time to write it is over"))
        }
    }
}

/// The thread that writes snapshots.
pub(crate) struct Snapshots {
    /// Asks for a last one; the answer comes when it is there or has failed.
    last: SyncSender<SyncSender<()>>,
    give_up_at: Arc<AtomicI64>,
    drain: Duration,
}

impl Snapshots {
    pub(crate) fn start(folder: Folder, parts: Parts) -> Result<Self, SnapshotError> {
        let (last, orders) = sync_channel(ORDERS_MAX);
        let snapshots = Self {
            last,
            give_up_at: Arc::clone(&parts.give_up_at),
            drain: parts.config.drain(),
        };
        let writing = Writing { folder, parts };
        std::thread::Builder::new()
            .name("snapshot".to_owned())
            .spawn(move || writing.run(&orders))
            .map_err(SnapshotError::Thread)?;
        Ok(snapshots)
    }

    /// How long the last snapshot may take.
    pub(crate) const fn drain(&self) -> Duration {
        self.drain
    }

    /// Writes a last snapshot, once ingest has ended, and waits for it no longer than may be. Blocks.
    pub(crate) fn finish(self) {
        let limit = Span::from_micros(i64::try_from(self.drain.as_micros()).unwrap_or(i64::MAX));
        let give_up_at = clock::steady_time().plus(limit).micros();
        self.give_up_at.store(give_up_at, Ordering::Relaxed);
        let (done, wait) = sync_channel(ORDERS_MAX);
        // A disk that answers nothing keeps the thread, and not the service.
        if self.last.try_send(done).is_err() || wait.recv_timeout(self.drain).is_err() {
            tracing::error!("no last snapshot was written; the next start reads more of the log");
        }
    }
}

struct Writing {
    folder: Folder,
    parts: Parts,
}

impl Writing {
    fn run(mut self, orders: &Receiver<SyncSender<()>>) {
        let mut due = clock::instant() + self.parts.config.every();
        let mut has_all = false;
        loop {
            self.note_age();
            match orders.recv_timeout(TICK) {
                Ok(done) => {
                    if !has_all {
                        self.write();
                    }
                    // Nobody waits any more if it took too long.
                    let _ = done.send(());
                    return;
                }
                Err(RecvTimeoutError::Disconnected) => return,
                // While the log is still being read, most of what would be written changes at once.
                Err(RecvTimeoutError::Timeout)
                    if clock::instant() >= due && self.parts.ingest.is_ready() =>
                {
                    has_all = self.write();
                    due = clock::instant() + self.parts.config.every();
                }
                Err(RecvTimeoutError::Timeout) => {}
            }
        }
    }

    /// Returns whether it was written and has all that there will be: one during which ingest ended is the last one already.
    fn write(&mut self) -> bool {
        let began = clock::instant();
        let created = clock::wall_time();
        let metrics = &self.parts.metrics;
        let written = write::write(&self.folder, self.parts.config.keep, &self.parts);
        let has_all = written.as_ref().is_ok_and(|written| written.has_all);
        match written {
            Ok(written) => {
                let took = clock::instant().saturating_duration_since(began);
                metrics.written.inc();
                metrics.seconds.set(took.as_secs_f64());
                metrics.pause_seconds.set(written.pause.as_secs_f64());
                metrics
                    .bytes
                    .set(i64::try_from(written.bytes).unwrap_or(i64::MAX));
                tracing::info!(?took, ?written, "wrote a snapshot");
                self.parts.newest = Some(created);
            }
            Err(error) => {
                metrics.failures.inc();
                tracing::error!(%error, "the snapshot was not written; the one before it stays");
            }
        }
        self.note_age();
        has_all
    }

    fn note_age(&self) {
        let age = self.parts.newest.map_or(-1, |created| {
            clock::wall_time().since(created).max(Span::ZERO).micros() / 1_000_000
        });
        self.parts.metrics.age_seconds.set(age);
    }
}
