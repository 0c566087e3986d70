//! Which card's history has a transaction, by the transaction's id alone.
//!
//! Labels name nothing but the transaction, and an id that comes again must be recognised whatever else comes with it.
//! An entry is eight bytes: half of the transaction's key and the place of the card's history, whose row has the whole
//! key. Tables grow by a quarter when they are nearly full, so an entry takes some ten bytes of memory, where a
//! general hash map would take twenty to forty.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};

use parking_lot::{Mutex, MutexGuard};
use tollgate_types::TransactionKey;

use crate::label::Verdict;
use crate::memory;
use crate::slots::SlotId;

/// Locks. One is held while a transaction is applied or labelled; with this many, two threads meet at one once in
/// thousands of times, and the table that grows under it has some 25,000 entries at a hundred million transactions.
const SHARDS: usize = 4096;

/// Labels kept for transactions that have not arrived yet; further ones are dropped and counted.
const PENDING_LABELS_MAX: usize = 1_000_000;

/// Rough bytes that a waiting label takes.
const PENDING_LABEL_BYTES: usize = 96;

#[derive(Debug)]
pub(crate) struct Ledger {
    shards: Box<[Mutex<Shard>]>,
    pending: AtomicUsize,
}

/// A part of the ledger. While it is locked, nothing else happens to its transactions (FS-2).
#[derive(Debug, Default)]
pub(crate) struct Shard {
    table: Table,
    /// Labels that arrived before their transaction, in order of arrival.
    pending: HashMap<TransactionKey, Vec<Verdict>, foldhash::fast::FixedState>,
}

impl Ledger {
    pub(crate) fn new() -> Self {
        Self {
            shards: (0..SHARDS).map(|_| Mutex::default()).collect(),
            pending: AtomicUsize::new(0),
        }
    }

    /// Forgets every transaction and every label that waits.
    pub(crate) fn clear(&mut self) {
        for shard in &mut self.shards {
            let shard = shard.get_mut();
            if shard.table.used > 0 || !shard.pending.is_empty() {
                *shard = Shard::default();
            }
        }
        *self.pending.get_mut() = 0;
    }

    /// Locks the part that a transaction belongs to.
    pub(crate) fn lock(&self, key: TransactionKey) -> MutexGuard<'_, Shard> {
        // The high half chooses the shard, the low half is kept in the entry.
        let at = usize::try_from(key.bits() >> 52).unwrap_or(0);
        self.shards[at % SHARDS].lock()
    }

    /// Lets a label wait for its transaction; false if too many wait already.
    pub(crate) fn wait(&self, shard: &mut Shard, key: TransactionKey, label: Verdict) -> bool {
        let known = shard
            .pending
            .get(&key)
            .is_some_and(|labels| labels.contains(&label));
        if known {
            return true;
        }
        if self.pending.load(Ordering::Relaxed) >= PENDING_LABELS_MAX {
            return false;
        }
        shard.pending.entry(key).or_default().push(label);
        self.pending.fetch_add(1, Ordering::Relaxed);
        true
    }

    /// Takes the labels out that waited for a transaction.
    pub(crate) fn take_waiting(&self, shard: &mut Shard, key: TransactionKey) -> Vec<Verdict> {
        if self.pending.load(Ordering::Relaxed) == 0 {
            return Vec::new();
        }
        let labels = shard.pending.remove(&key).unwrap_or_default();
        self.pending.fetch_sub(labels.len(), Ordering::Relaxed);
        labels
    }

    /// Lets go of waiting labels that became known before `horizon`, whose transactions will not be taken any more;
    /// returns how many.
    pub(crate) fn forget_waiting(&self, horizon: tollgate_types::EventTime) -> usize {
        if self.pending.load(Ordering::Relaxed) == 0 {
            return 0;
        }
        let mut gone = 0;
        for shard in &self.shards {
            shard.lock().pending.retain(|_, labels| {
                let before = labels.len();
                labels.retain(|label| label.0 > horizon);
                gone += before - labels.len();
                !labels.is_empty()
            });
        }
        self.pending.fetch_sub(gone, Ordering::Relaxed);
        gone
    }

    pub(crate) fn waiting(&self) -> usize {
        self.pending.load(Ordering::Relaxed)
    }

    /// Transactions in it. Visits every shard.
    pub(crate) fn len(&self) -> usize {
        self.shards
            .iter()
            .map(|shard| shard.lock().table.used)
            .sum()
    }

    /// Bytes of memory of waiting labels.
    pub(crate) fn waiting_bytes(&self) -> usize {
        self.waiting() * PENDING_LABEL_BYTES
    }
}

impl Shard {
    /// Histories that may have the transaction: nearly always none or the one that has it.
    pub(crate) fn candidates(&self, key: TransactionKey) -> impl Iterator<Item = SlotId> {
        self.table
            .find(half(key))
            .map(|at| place(self.table.entries[at]))
    }

    /// Notes where a transaction is; returns by how many bytes the table grew.
    pub(crate) fn insert(&mut self, key: TransactionKey, slot: SlotId) -> usize {
        self.table.insert(entry(key, slot))
    }

    pub(crate) fn remove(&mut self, key: TransactionKey, slot: SlotId) {
        self.table.remove(entry(key, slot));
    }
}

fn half(key: TransactionKey) -> u32 {
    let [a, b, c, d, ..] = key.bits().to_le_bytes();
    u32::from_le_bytes([a, b, c, d])
}

fn entry(key: TransactionKey, slot: SlotId) -> u64 {
    // Slots are numbered from 0, and 0 stands for an empty entry.
    u64::from(half(key)) << 32 | u64::from(slot.0 + 1)
}

fn place(entry: u64) -> SlotId {
    let [a, b, c, d, ..] = entry.to_le_bytes();
    SlotId(u32::from_le_bytes([a, b, c, d]).wrapping_sub(1))
}

/// Open addressing with linear probing. Entries with one hash lie close behind their home, without gaps.
#[derive(Debug, Default)]
struct Table {
    entries: Vec<u64>,
    used: usize,
}

impl Table {
    /// The places of entries with this hash.
    fn find(&self, hash: u32) -> impl Iterator<Item = usize> {
        let home = self.home(hash);
        let places = (home..self.entries.len()).chain(0..home);
        let used = places.take_while(|at| self.entries[*at] != 0);
        used.filter(move |at| self.entries[*at] >> 32 == u64::from(hash))
    }

    fn insert(&mut self, entry: u64) -> usize {
        let before = self.entries.len();
        if (self.used + 1) * 8 > before * 7 {
            let room = memory::handed_out((before + before / 4 + 1) * 8) / 8;
            let entries = std::mem::replace(&mut self.entries, vec![0; room]);
            for entry in entries.into_iter().filter(|entry| *entry != 0) {
                self.place(entry);
            }
        }
        self.place(entry);
        self.used += 1;
        (self.entries.len() - before) * 8
    }

    fn place(&mut self, entry: u64) {
        let mut at = self.home(hash(entry));
        while self.entries[at] != 0 {
            at = self.next(at);
        }
        self.entries[at] = entry;
    }

    /// Takes an entry out and moves those back that would no longer be found behind the gap.
    fn remove(&mut self, entry: u64) {
        let Some(mut gap) = self.find(hash(entry)).find(|at| self.entries[*at] == entry) else {
            return;
        };
        self.used -= 1;
        let mut at = self.next(gap);
        while self.entries[at] != 0 {
            let home = self.home(hash(self.entries[at]));
            let room = self.entries.len();
            // How far each lies behind the home of the entry at `at`, going round.
            if (gap + room - home) % room <= (at + room - home) % room {
                self.entries[gap] = self.entries[at];
                gap = at;
            }
            at = self.next(at);
        }
        self.entries[gap] = 0;
    }

    /// Where an entry with this hash would best be.
    fn home(&self, hash: u32) -> usize {
        let scaled = u64::from(hash) * u64::try_from(self.entries.len()).unwrap_or(0);
        usize::try_from(scaled >> 32).unwrap_or(0)
    }

    const fn next(&self, at: usize) -> usize {
        if at + 1 == self.entries.len() {
            0
        } else {
            at + 1
        }
    }
}

fn hash(entry: u64) -> u32 {
    u32::try_from(entry >> 32).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// The oracle is a plain set of pairs.
        #[test]
        fn a_table_holds_what_was_inserted_and_not_removed(
            steps in prop::collection::vec((any::<bool>(), 0..40_u64, 0..4_u32), 0..400),
        ) {
            let mut shard = Shard::default();
            let mut expected: Vec<(u64, u32)> = Vec::new();
            for (insert, number, slot) in steps {
                // Few different hashes, near both ends, so that runs are long and go round the end.
                let key = TransactionKey::from_bits(number.wrapping_mul(0x0fff_ffff) & 0xffff_ffff);
                let pair = (key.bits(), slot);
                if insert && !expected.contains(&pair) {
                    shard.insert(key, SlotId(slot));
                    expected.push(pair);
                } else if !insert {
                    shard.remove(key, SlotId(slot));
                    expected.retain(|other| *other != pair);
                }
                let mut found: Vec<u32> = shard.candidates(key).map(|slot| slot.0).collect();
                let mut there: Vec<u32> = expected.iter().filter(|other| other.0 == key.bits()).map(|other| other.1).collect();
                found.sort_unstable();
                there.sort_unstable();
                prop_assert_eq!(found, there);
            }
            prop_assert_eq!(shard.table.used, expected.len());
        }
    }
}
