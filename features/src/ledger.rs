//! Which card's history has a transaction, by the transaction's id alone.
//!
//! Labels name nothing but the transaction, and an id that comes again must be recognised whatever else comes with it.
//! A [`Table`] leads from a part of the transaction's key to the card's history, whose row has the whole key. Labels that
//! come before their transaction wait here for it.

use std::ops::Range;
use std::sync::atomic::{AtomicUsize, Ordering};

use dashmap::{DashMap, Entry};
use parking_lot::{Mutex, MutexGuard};
use tollgate_types::{EventTime, TransactionKey};

use crate::label::Verdict;
use crate::slots::SlotId;
use crate::table::Table;

/// Locks. One is held while a transaction is applied or labelled; with this many, two threads meet at one once in
/// thousands of times, and the table that grows under it has some 25,000 entries at a hundred million transactions.
pub(crate) const SHARDS: usize = 4096;

/// Labels kept for transactions that have not arrived yet; further ones are dropped and counted.
pub(crate) const PENDING_LABELS_MAX: usize = 1_000_000;

/// Rough bytes that a waiting label takes.
const PENDING_LABEL_BYTES: usize = 96;

#[derive(Debug)]
pub(crate) struct Ledger {
    shards: Box<[Mutex<Shard>]>,
    /// Labels that arrived before their transaction, in order of arrival; touched only while the transaction's shard is
    /// locked, or to let go of labels that nothing will come for.
    pending: DashMap<TransactionKey, Vec<Verdict>, foldhash::fast::FixedState>,
    pending_labels: AtomicUsize,
}

/// A part of the ledger. While it is locked, nothing else happens to its transactions (FS-2).
#[derive(Debug, Default)]
pub(crate) struct Shard {
    table: Table,
}

impl Ledger {
    pub(crate) fn new() -> Self {
        Self {
            shards: (0..SHARDS).map(|_| Mutex::default()).collect(),
            pending: DashMap::default(),
            pending_labels: AtomicUsize::new(0),
        }
    }

    /// Forgets every transaction and every label that waits.
    pub(crate) fn clear(&mut self) {
        for shard in &mut self.shards {
            shard.get_mut().table.clear();
        }
        self.pending.clear();
        *self.pending_labels.get_mut() = 0;
    }

    /// Locks the part that a transaction belongs to.
    pub(crate) fn lock(&self, key: TransactionKey) -> MutexGuard<'_, Shard> {
        self.shards[Self::part(key)].lock()
    }

    /// The number of the part that a transaction belongs to.
    pub(crate) fn part(key: TransactionKey) -> usize {
        // The high bits choose the shard, the low ones are what its table is searched by.
        usize::try_from(key.bits() >> 52).unwrap_or(0) % SHARDS
    }

    /// Brings into the cache what a look-up will read; what it returns means nothing.
    pub(crate) fn peek(&self, key: TransactionKey) -> u64 {
        self.lock(key).table.peek(hash(key))
    }

    /// Moves the tables with these numbers into memory anew.
    pub(crate) fn repack(&self, tables: Range<usize>) {
        for at in tables {
            self.shards[at % SHARDS].lock().table.repack();
        }
    }

    /// Lets a label wait for its transaction, whose shard is locked; false if too many wait already.
    pub(crate) fn wait(&self, _shard: &mut Shard, key: TransactionKey, label: Verdict) -> bool {
        let waiting = self.pending.entry(key);
        if matches!(&waiting, Entry::Occupied(labels) if labels.get().contains(&label)) {
            return true;
        }
        if self.waiting() >= PENDING_LABELS_MAX {
            return false;
        }
        waiting.or_default().push(label);
        self.pending_labels.fetch_add(1, Ordering::Relaxed);
        true
    }

    /// Takes the labels out that waited for a transaction, whose shard is locked.
    pub(crate) fn take_waiting(&self, _shard: &mut Shard, key: TransactionKey) -> Vec<Verdict> {
        if self.waiting() == 0 {
            return Vec::new();
        }
        let labels = self.pending.remove(&key).map(|(_, labels)| labels);
        let labels = labels.unwrap_or_default();
        self.pending_labels
            .fetch_sub(labels.len(), Ordering::Relaxed);
        labels
    }

    /// Lets go of waiting labels that became known before `horizon`, whose transactions will not be taken any more;
    /// returns how many.
    pub(crate) fn forget_waiting(&self, horizon: EventTime) -> usize {
        if self.waiting() == 0 {
            return 0;
        }
        let mut gone = 0;
        self.pending.retain(|_, labels| {
            let before = labels.len();
            labels.retain(|label| label.0 > horizon);
            gone += before - labels.len();
            !labels.is_empty()
        });
        self.pending_labels.fetch_sub(gone, Ordering::Relaxed);
        gone
    }

    pub(crate) fn waiting(&self) -> usize {
        self.pending_labels.load(Ordering::Relaxed)
    }

    /// Every label that waits, with its transaction: those of one in the order of their arrival.
    pub(crate) fn for_each_waiting(&self, mut with: impl FnMut(TransactionKey, Verdict)) {
        for labels in &self.pending {
            labels.iter().for_each(|label| with(*labels.key(), *label));
        }
    }

    /// Makes room for transactions by their number in each part; returns by how many bytes the tables grew.
    pub(crate) fn reserve(&self, transactions: &[usize]) -> usize {
        let parts = self.shards.iter().zip(transactions);
        parts
            .map(|(shard, more)| shard.lock().table.reserve(*more))
            .sum()
    }

    /// Transactions in it. Visits every shard.
    pub(crate) fn len(&self) -> usize {
        self.shards
            .iter()
            .map(|shard| shard.lock().table.len())
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
        self.table.find(hash(key)).map(SlotId)
    }

    /// Notes where a transaction is; returns by how many bytes the table grew.
    pub(crate) fn insert(&mut self, key: TransactionKey, slot: SlotId) -> usize {
        self.table.insert(hash(key), slot.0)
    }

    pub(crate) fn remove(&mut self, key: TransactionKey, slot: SlotId) {
        self.table.remove(hash(key), slot.0);
    }
}

/// The part of a key that tables are searched by.
fn hash(key: TransactionKey) -> u32 {
    let [a, b, c, d, ..] = key.bits().to_le_bytes();
    u32::from_le_bytes([a, b, c, d])
}
