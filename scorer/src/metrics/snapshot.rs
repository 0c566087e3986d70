//! Metrics of snapshots, and of reading the log from where one ends.

use prometheus::{Gauge, IntCounter, IntCounterVec, IntGauge};

use super::Maker;
use crate::ingest::{Lost, Replay};
use crate::snapshot::Skipped;

#[derive(Debug, Clone)]
pub(crate) struct SnapshotMetrics {
    pub(crate) written: IntCounter,
    pub(crate) failures: IntCounter,
    pub(crate) seconds: Gauge,
    pub(crate) pause_seconds: Gauge,
    pub(crate) bytes: IntGauge,
    pub(crate) age_seconds: IntGauge,
    pub(crate) load_seconds: Gauge,
    skipped: IntCounterVec,
    positions_lost: IntCounterVec,
    replay_left: IntGauge,
    replay_rate: IntGauge,
    replay_seconds: IntGauge,
}

impl SnapshotMetrics {
    pub(super) fn new(make: &Maker) -> Result<Self, prometheus::Error> {
        let skipped = make.counters(
            "snapshot_skipped",
            "Snapshots that could not be used at start.",
            "reason",
        )?;
        let positions_lost = make.counters(
            "positions_lost",
            "Partitions that were not read on from where reading had come to, since the log does not have it any more.",
            "reason",
        )?;
        // So that an alert sees the first one as an increase.
        for reason in Skipped::REASONS {
            skipped.with_label_values(&[reason]).inc_by(0);
        }
        for lost in Lost::ALL {
            positions_lost.with_label_values(&[lost.name()]).inc_by(0);
        }
        Ok(Self {
            written: make.counter("snapshot_written", "Snapshots written.")?,
            failures: make.counter("snapshot_failures", "Snapshots that could not be written.")?,
            seconds: make.seconds_gauge(
                "snapshot_write_seconds",
                "How long the last snapshot took to write.",
            )?,
            pause_seconds: make.seconds_gauge(
                "snapshot_pause_seconds",
                "How long nothing was applied from the log for the last snapshot.",
            )?,
            bytes: make.gauge("snapshot_bytes", "Size of the newest snapshot.")?,
            age_seconds: make.gauge(
                "snapshot_age_seconds",
                "Age of the newest snapshot; -1 while there is none.",
            )?,
            load_seconds: make.seconds_gauge(
                "snapshot_load_seconds",
                "How long reading a snapshot took at start.",
            )?,
            skipped,
            positions_lost,
            replay_left: make.gauge(
                "replay_events_left",
                "Records up to where the log ended at start that are still to be read; -1 while that is not known.",
            )?,
            replay_rate: make.gauge(
                "replay_events_per_second",
                "Records read per second while reading up to where the log ended at start.",
            )?,
            replay_seconds: make.gauge(
                "replay_seconds_left",
                "Time to ready, at that pace; -1 while that is not known.",
            )?,
        })
    }

    pub(crate) fn note_replay(&self, replay: Replay) {
        const UNKNOWN: i64 = -1;
        self.replay_left.set(replay.events_left.unwrap_or(UNKNOWN));
        self.replay_rate.set(replay.events_per_second);
        let seconds_left = replay.seconds_left.unwrap_or(UNKNOWN);
        self.replay_seconds.set(seconds_left);
    }

    pub(crate) fn skipped(&self, reason: &Skipped) {
        self.skipped.with_label_values(&[reason.name()]).inc();
    }

    pub(crate) fn lost(&self, lost: Lost) {
        self.positions_lost.with_label_values(&[lost.name()]).inc();
    }
}
