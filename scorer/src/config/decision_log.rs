//! The section `decision_log`: what becomes of decisions on their way to Kafka.

use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Serialize};

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct DecisionLogConfig {
    pub durability: Durability,
    /// What becomes of a decision that cannot be logged, or not in time.
    pub when_unlogged: WhenUnlogged,
    /// Records that Kafka has not acknowledged and that are in memory, at most.
    pub memory_records_max: usize,
    /// Memory they take, at most.
    pub memory_mib_max: u64,
    /// The folder of what does not fit into memory, or for which Kafka is away too long; for this instance alone. Empty: there
    /// is none.
    pub spool_path: PathBuf,
    /// Most disk it takes. `spool-first` takes as much again for what it writes before answers.
    pub spool_mib_max: u64,
    /// Records go to the spool once the oldest has waited for Kafka so long.
    pub spool_after_ms: u64,
    /// With `spool-first`, how long an answer waits for the disk at most; never longer than its deadline allows.
    pub sync_wait_ms_max: u64,
}

/// When a decision is safe from the end of the process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Durability {
    /// Once Kafka or the spool has it, which no answer waits for.
    Async,
    /// Before it is answered: it is on disk by then.
    SpoolFirst,
}

/// What becomes of a decision that cannot be logged, or not in time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum WhenUnlogged {
    /// It is answered as it is, and counted.
    Answer,
    /// The fallback answers, and says why.
    Degrade,
}

impl Default for DecisionLogConfig {
    /// A record has some 1,600 bytes, so of a thousand decisions a second memory holds a minute, and the spool forty.
    fn default() -> Self {
        Self {
            durability: Durability::Async,
            when_unlogged: WhenUnlogged::Answer,
            memory_records_max: 65_536,
            memory_mib_max: 128,
            spool_path: PathBuf::new(),
            spool_mib_max: 4_096,
            spool_after_ms: 2_000,
            sync_wait_ms_max: 20,
        }
    }
}

impl DecisionLogConfig {
    /// Holds each value against the range it may have.
    pub(super) fn ranges(&self, range: &mut impl FnMut(&str, u64, RangeInclusive<u64>)) {
        let records_max = u64::try_from(self.memory_records_max).unwrap_or(u64::MAX);
        let key = "decision_log.memory_records_max";
        range(key, records_max, 256..=10_000_000);
        let mebibytes = self.memory_mib_max;
        range("decision_log.memory_mib_max", mebibytes, 1..=1 << 16);
        let mebibytes = self.spool_mib_max;
        range("decision_log.spool_mib_max", mebibytes, 1..=1 << 24);
        let wait = self.spool_after_ms;
        range("decision_log.spool_after_ms", wait, 10..=600_000);
        let wait = self.sync_wait_ms_max;
        range("decision_log.sync_wait_ms_max", wait, 1..=100);
    }

    /// Says what is wrong with the folder. `snapshots` is that of snapshots.
    pub(super) fn check(&self, snapshots: &Path, wrong: &mut Vec<String>) {
        if self.is_spool_first() && !self.has_spool() {
            wrong.push(
                "decision_log.durability: `spool-first` needs a folder; set decision_log.spool_path, or write async"
                    .to_owned(),
            );
        }
        if self.has_spool() && self.spool_path == snapshots {
            let path = self.spool_path.display();
            wrong.push(format!(
                "decision_log.spool_path: {path} is already snapshot.path; give each its own"
            ));
        }
    }

    pub(crate) fn has_spool(&self) -> bool {
        !self.spool_path.as_os_str().is_empty()
    }

    pub(crate) fn is_spool_first(&self) -> bool {
        self.durability == Durability::SpoolFirst
    }

    pub(crate) fn memory_bytes_max(&self) -> usize {
        usize::try_from(self.memory_mib_max << 20).unwrap_or(usize::MAX)
    }

    pub(crate) const fn spool_bytes_max(&self) -> u64 {
        self.spool_mib_max << 20
    }

    pub(crate) const fn spool_after(&self) -> Duration {
        Duration::from_millis(self.spool_after_ms)
    }

    pub(crate) const fn sync_wait_max(&self) -> Duration {
        Duration::from_millis(self.sync_wait_ms_max)
    }
}

impl Durability {
    /// The word in the configuration.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Async => "async",
            Self::SpoolFirst => "spool-first",
        }
    }
}
