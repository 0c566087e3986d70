//! Looking ahead of applying, so that waits for memory overlap.
//!
//! What an event needs lies in memory that nobody touched lately, in places that lead from one to the next: a table, a slot,
//! a block. One event after another waits for each of them; here every event of a batch takes each step
//! before any takes the next, and the processor fetches for all of them at once. Blocks of a few rows are fetched whole; where the
//! columns of longer ones are written is left alone, since writing waits for nothing.

use std::hint::black_box;

use tollgate_types::Record;

use super::Store;
use super::kind::EntityKind;
use crate::EntityKey;
use crate::slots::SlotId;

impl Store {
    /// Events worth looking ahead for at once: many enough that waits overlap, few enough that what they need is still in
    /// the first-level cache when they are applied.
    pub const LOOK_AHEAD: usize = 32;

    /// Brings into the cache what applying these records will look at. Changes nothing; waits for no one longer than a
    /// look-up takes.
    pub fn look_ahead<'r>(&self, records: impl Iterator<Item = &'r Record<'r>> + Clone) {
        let ledger = records.clone().map(|record| self.ledger.peek(record.key()));
        let mut seen = ledger.fold(0, |all, entry| all ^ entry);
        let keys: Vec<(&EntityKind, EntityKey)> = records.flat_map(|of| self.keys(of)).collect();
        for (kind, key) in &keys {
            seen ^= kind.slots.peek(*key);
        }
        let slots = keys
            .into_iter()
            .filter_map(|(kind, key)| Some((kind, kind.slots.expected(key)?)));
        let slots: Vec<(&EntityKind, SlotId)> = slots.collect();
        for (kind, slot) in &slots {
            seen ^= u64::from(kind.slots.active(*slot).unwrap_or_default());
        }
        for (kind, slot) in &slots {
            if let Some(tenant) = kind.slots.read_at(*slot)
                && let Some(history) = tenant.kept.rows()
            {
                seen ^= u64::from(history.newest().peek());
            }
        }
        black_box(seen);
    }

    fn keys<'s>(
        &'s self,
        record: &Record<'_>,
    ) -> impl Iterator<Item = (&'s EntityKind, EntityKey)> {
        self.kinds
            .iter()
            .filter_map(move |kind| Some((kind, EntityKey::of(&kind.entity, record)?)))
    }
}
