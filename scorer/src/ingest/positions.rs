//! Up to where the log has been applied, per partition, and the pause in which that is exact for the whole store.
//!
//! A reading thread holds the lock of its share's positions while it applies a batch of records, and writes them before
//! it lets go. So whoever holds all locks knows that every record before the positions is in the store and none
//! behind them.

use std::collections::BTreeMap;
use std::ops::{Deref, DerefMut};
use std::sync::atomic::{AtomicBool, Ordering};

use parking_lot::{Mutex, MutexGuard};
use serde::{Deserialize, Serialize};
use tollgate_types::EventTime;

use super::letters::Letters;
use super::share::Share;
use super::start::Start;
use super::topic::Topic;

/// How far a partition has been applied.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Position {
    pub(crate) partition: i32,
    /// The offset of the next record.
    pub(crate) next: i64,
    /// The latest event time seen in it, in microseconds, which the watermark is made of.
    pub(crate) event_time_max: i64,
}

/// How far both topics have been applied.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct LogPositions {
    pub(crate) transactions: Vec<Position>,
    pub(crate) labels: Vec<Position>,
}

impl LogPositions {
    pub(super) fn topic(&self, topic: Topic) -> &[Position] {
        match topic {
            Topic::Transactions => &self.transactions,
            Topic::Labels => &self.labels,
        }
    }

    /// The latest event time up to here, which the watermark comes to once there is nothing more to read.
    pub(crate) fn event_time_max(&self) -> EventTime {
        let times = self.transactions.iter().map(|known| known.event_time_max);
        EventTime::from_micros(times.max().unwrap_or(i64::MIN))
    }
}

/// Those of a share of a topic, by partition.
pub(super) type SharePositions = BTreeMap<i32, Position>;

/// Those of a topic, by the place of the share.
type TopicPositions = [Mutex<SharePositions>; Share::COUNT_MAX];

/// The positions, as the reading threads write them.
#[derive(Debug, Default)]
pub(crate) struct Positions {
    transactions: TopicPositions,
    labels: TopicPositions,
    /// A reading thread failed in the midst of a batch.
    broken: AtomicBool,
    /// Of records before the positions that could not be read.
    letters: Letters,
}

/// The positions of a share, for as long as a batch of it is applied.
pub(super) struct Batch<'p> {
    positions: MutexGuard<'p, SharePositions>,
    broken: &'p AtomicBool,
}

impl Deref for Batch<'_> {
    type Target = SharePositions;

    fn deref(&self) -> &SharePositions {
        &self.positions
    }
}

impl DerefMut for Batch<'_> {
    fn deref_mut(&mut self) -> &mut SharePositions {
        &mut self.positions
    }
}

impl Drop for Batch<'_> {
    fn drop(&mut self) {
        // Before the lock is let go: a snapshot that waits for it must know.
        if std::thread::panicking() {
            self.broken.store(true, Ordering::Release);
        }
    }
}

/// While this lives nothing is applied from the log.
pub(crate) struct Pause<'p> {
    transactions: Vec<MutexGuard<'p, SharePositions>>,
    labels: Vec<MutexGuard<'p, SharePositions>>,
}

impl Positions {
    /// Those of one share. A panic while they are held leaves them broken.
    pub(super) fn lock(&self, topic: Topic, share: Share) -> Batch<'_> {
        let positions = match topic {
            Topic::Transactions => &self.transactions,
            Topic::Labels => &self.labels,
        };
        Batch {
            positions: positions[share.place()].lock(),
            broken: &self.broken,
        }
    }

    /// Waits for the batches that are being applied, some microseconds, and lets no other begin.
    pub(crate) fn pause(&self) -> Pause<'_> {
        Pause {
            transactions: self.transactions.iter().map(Mutex::lock).collect(),
            labels: self.labels.iter().map(Mutex::lock).collect(),
        }
    }

    pub(crate) fn are_broken(&self) -> bool {
        self.broken.load(Ordering::Acquire)
    }

    /// Letters about records that could not be read.
    pub(crate) const fn letters(&self) -> &Letters {
        &self.letters
    }
}

impl Pause<'_> {
    pub(crate) fn positions(&self) -> LogPositions {
        let all = |topic: &[MutexGuard<'_, SharePositions>]| {
            let shares = topic.iter().flat_map(|share| share.values().copied());
            let mut all: Vec<Position> = shares.collect();
            all.sort_unstable_by_key(|position| position.partition);
            all
        };
        LogPositions {
            transactions: all(&self.transactions),
            labels: all(&self.labels),
        }
    }
}

/// The position at which a partition is begun.
pub(super) const fn at(start: &Start) -> Position {
    Position {
        partition: start.partition,
        next: start.offset,
        event_time_max: start.event_time_max.micros(),
    }
}

/// The record at `offset` was applied.
pub(super) fn applied(
    positions: &mut SharePositions,
    (partition, offset): (i32, i64),
    event_time: Option<EventTime>,
) {
    let position = positions.entry(partition).or_insert(Position {
        partition,
        next: offset,
        event_time_max: i64::MIN,
    });
    position.next = offset + 1;
    let event_time = event_time.map_or(i64::MIN, EventTime::micros);
    position.event_time_max = position.event_time_max.max(event_time);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn share(partition: i32) -> Share {
        let share = Share::all(2).find(|share| share.has(partition));
        share.unwrap()
    }

    #[test]
    fn positions_are_those_of_all_shares() {
        let positions = Positions::default();
        for partition in [3, 0, 2] {
            let mut batch = positions.lock(Topic::Transactions, share(partition));
            applied(&mut batch, (partition, 10), None);
        }
        let all = positions.pause().positions();
        let all = all.transactions.iter();
        let all: Vec<(i32, i64)> = all.map(|at| (at.partition, at.next)).collect();
        assert_eq!(all, [(0, 11), (2, 11), (3, 11)]);
    }

    #[test]
    fn a_batch_that_fails_breaks_the_positions_before_anyone_else_has_them() {
        let positions = Positions::default();
        drop(positions.lock(Topic::Labels, share(0)));
        assert!(!positions.are_broken());
        std::thread::scope(|threads| {
            let batch = threads.spawn(|| {
                let _batch = positions.lock(Topic::Transactions, share(1));
                panic!("a batch that fails");
            });
            assert!(batch.join().is_err());
        });
        let _pause = positions.pause();
        assert!(positions.are_broken());
    }
}
