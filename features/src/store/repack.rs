//! Moving histories together in memory.
//!
//! An allocator keeps pages of blocks of one size. As histories grow, most blocks of a page leave it for a larger size
//! and a few stay behind, and those few hold the whole page: with a million cards that were new on the same day, a
//! fourth of the memory. Moving every block into memory of its own size anew fills pages one after
//! another and empties those it leaves.

use std::sync::atomic::Ordering;

use super::Store;
use crate::ledger;

impl Store {
    /// Moves the histories of the next `entities` entities, and as large a part of the ledger, round and round over all of
    /// them. Each is locked while it moves: some microseconds.
    pub fn repack(&self, entities: usize) {
        let total = self.slots_end();
        let entities = entities.min(total);
        if entities == 0 {
            return;
        }
        let from = self.repacked.fetch_add(entities, Ordering::Relaxed);
        let tables = |moved: usize| moved.saturating_mul(ledger::SHARDS) / total;
        self.ledger.repack(tables(from)..tables(from + entities));
        for at in 0..entities {
            let slot = self.slot_at((from + at) % total);
            let tenant = slot.and_then(|(kind, slot)| self.kinds[kind].slots.write_unnoted(slot));
            if let Some(mut tenant) = tenant {
                tenant.kept.repack();
            }
        }
    }
}
