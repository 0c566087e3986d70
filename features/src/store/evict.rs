//! Letting go: of events beyond retention, and of entities when memory is short.

use std::sync::atomic::Ordering;

use tollgate_types::TransactionKey;

use super::{Origin, Store};
use crate::kept::Kept;
use crate::slots::{SlotId, Tenant};

/// Hundredths of the limit that are not used, but left for what the allocator adds to what it is asked for. While entities
/// come and go all the time that was measured at a fourth.
const ALLOCATOR_PERCENT: usize = 30;

/// One part in so many of the limit is kept free by letting entities go as events come from the log, so that scored ones,
/// which have a deadline, find room.
const RESERVE: usize = 32;

/// Slots looked at, spread over all, to find out which entities were active least recently.
const SAMPLED: usize = 256;

/// Of the sampled, one in so many counts as active least recently.
const OLDEST_SHARE: usize = 8;

/// Slots visited at a time: the work that one event may have to do for others.
const VISITED: usize = 512;

/// Visits in a row when memory is at its limit.
const VISITS_MAX: usize = 64;

impl Store {
    /// Lets go of events beyond their entity's retention and of entities without events; returns how many
    /// rows went. Visits everything: meant for every few minutes.
    pub fn evict(&self) -> usize {
        let watermark = self.watermark();
        let mut evicted = 0;
        for (at, kind) in self.kinds.iter().enumerate() {
            let horizon = kind.horizon(watermark);
            for slot in (0..kind.slots.end()).map(SlotId) {
                let mut gone: Vec<TransactionKey> = Vec::new();
                let Some(mut tenant) = kind.slots.write_unnoted(slot) else {
                    continue;
                };
                let before = tenant.kept.bytes();
                match &mut tenant.kept {
                    Kept::Rows(history) => {
                        history.evict(&kind.shape, horizon, |key| gone.push(key))
                    }
                    Kept::Steps(steps) => steps.evict(kind.step().unwrap_or_default(), horizon),
                }
                if !gone.is_empty() || tenant.kept.bytes() != before {
                    kind.slots.note_change(slot);
                }
                self.resized(before, tenant.kept.bytes());
                let is_empty = tenant.kept.is_empty();
                drop(tenant);
                evicted += gone.len();
                if at == self.card {
                    self.strike(&gone.into_iter().map(|key| (key, slot)).collect::<Vec<_>>());
                }
                if is_empty
                    && let Some(kept) = kind.slots.remove(slot, |tenant| tenant.kept.is_empty())
                {
                    self.resized(kept.bytes(), 0);
                }
            }
        }
        self.ledger
            .forget_waiting(watermark.minus(self.schema.retention_max()));
        evicted
    }

    /// Makes sure that there is memory for one more event.
    pub(super) fn relieve(&self, origin: Origin) {
        let limit = self.limits.bytes_max / 100 * (100 - ALLOCATOR_PERCENT);
        let reserve = match origin {
            Origin::Log { .. } => limit / RESERVE,
            Origin::Scored { .. } => 0,
        };
        let mut visits = 0;
        while self.bytes() > limit - reserve && visits < VISITS_MAX {
            self.push_out();
            visits += 1;
        }
    }

    /// Visits some slots and lets those entities go that were active least recently.
    fn push_out(&self) {
        let Some(oldest) = self.least_recent() else {
            return;
        };
        let total = self.slots_end();
        let from = self.hand.fetch_add(VISITED, Ordering::Relaxed);
        for at in (0..VISITED.min(total)).map(|step| (from + step) % total) {
            let Some((kind, slot)) = self.slot_at(at) else {
                continue;
            };
            let slots = &self.kinds[kind].slots;
            let is_old = |slot| {
                slots
                    .active(slot)
                    .is_some_and(|active| active > 0 && active <= oldest)
            };
            if !is_old(slot) {
                continue;
            }
            let Some(kept) = slots.remove(slot, |_: &Tenant| is_old(slot)) else {
                continue;
            };
            self.counts.pushed_out.fetch_add(1, Ordering::Relaxed);
            self.resized(kept.bytes(), 0);
            if kind == self.card
                && let Some(history) = kept.rows()
            {
                let mut gone = Vec::new();
                history.for_each_key(|key| gone.push((key, slot)));
                self.strike(&gone);
            }
        }
    }

    /// The second of event time up to which an entity's last activity makes it one of the oldest.
    fn least_recent(&self) -> Option<u32> {
        let total = self.slots_end();
        let from = self.hand.load(Ordering::Relaxed);
        let stride = (total / SAMPLED).max(1);
        let sampled = (0..SAMPLED.min(total)).map(|step| (from + step * stride) % total);
        let active = sampled.filter_map(|at| {
            let (kind, slot) = self.slot_at(at)?;
            self.kinds[kind]
                .slots
                .active(slot)
                .filter(|active| *active > 0)
        });
        let mut active: Vec<u32> = active.collect();
        active.sort_unstable();
        active.get(active.len() / OLDEST_SHARE).copied()
    }

    /// How many slots all kinds have given out.
    pub(super) fn slots_end(&self) -> usize {
        let ends = self.kinds.iter().map(|kind| kind.slots.end());
        ends.map(|end| usize::try_from(end).unwrap_or(0)).sum()
    }

    /// The kind and the slot at a number that runs over all kinds.
    pub(super) fn slot_at(&self, mut at: usize) -> Option<(usize, SlotId)> {
        for (kind, slots) in self.kinds.iter().map(|kind| &kind.slots).enumerate() {
            let end = usize::try_from(slots.end()).unwrap_or(0);
            if at < end {
                return u32::try_from(at).ok().map(|at| (kind, SlotId(at)));
            }
            at -= end;
        }
        None
    }
}
