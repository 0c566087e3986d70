//! The section `snapshot`: where the store is written to, so that a restart need not read the whole log.

use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct SnapshotConfig {
    /// The folder of snapshots, for this instance alone. Empty: none are written or read.
    pub path: PathBuf,
    /// From the end of one to the beginning of the next.
    pub every_s: u64,
    /// Snapshots that are kept; the newest that can be used is read at start.
    pub keep: usize,
    /// How much of one core writing takes at most until the service stops, in percent; 100: all it gets.
    pub core_percent: u32,
    /// How long a stopping service may take to write a last one.
    pub drain_ms: u64,
}

impl Default for SnapshotConfig {
    fn default() -> Self {
        Self {
            path: PathBuf::new(),
            every_s: 300,
            keep: 3,
            core_percent: 25,
            drain_ms: 10_000,
        }
    }
}

impl SnapshotConfig {
    /// Holds each value against the range it may have.
    pub(super) fn ranges(&self, range: &mut impl FnMut(&str, u64, RangeInclusive<u64>)) {
        range("snapshot.every_s", self.every_s, 1..=86_400);
        let keep = u64::try_from(self.keep).unwrap_or(u64::MAX);
        range("snapshot.keep", keep, 1..=100);
        let core_percent = u64::from(self.core_percent);
        range("snapshot.core_percent", core_percent, 1..=100);
        range("snapshot.drain_ms", self.drain_ms, 0..=600_000);
    }

    pub(crate) fn is_on(&self) -> bool {
        !self.path.as_os_str().is_empty()
    }

    pub(crate) const fn every(&self) -> Duration {
        Duration::from_secs(self.every_s)
    }

    pub(crate) const fn drain(&self) -> Duration {
        Duration::from_millis(self.drain_ms)
    }
}
