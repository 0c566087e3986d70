//! Transactions in flight, once an image was read.
//!
//! Scoring goes on while the last pass is written, so a transaction that was scored in that moment may be in its
//! merchant's history and not in its card's, or the other way round. Whatever is in flight and not in all of its histories is
//! taken out of those it is in: it counts again when its echo comes, as any other that was scored after the image.

use std::collections::BTreeSet;

use tollgate_types::{EventTime, TransactionKey};

use crate::block::Flags;
use crate::kept::Kept;
use crate::slots::SlotId;
use crate::store::apply::Found;
use crate::store::{IN_FLIGHT_BYTES, Store};

impl Store {
    /// `slots`, by the number of their kind, are those in which something may be in flight.
    pub(super) fn reconcile(&self, slots: &BTreeSet<(usize, u32)>, expires_at: EventTime) {
        let slots = slots.iter().map(|(at, slot)| (*at, SlotId(*slot)));
        let (cards, others): (Vec<_>, Vec<_>) = slots.partition(|(at, _)| *at == self.card);
        let mut waiting: Vec<(EventTime, TransactionKey)> = Vec::new();
        for (at, slot) in cards {
            for (time, key) in self.in_flight_of(at, slot) {
                let mut shard = self.ledger.lock(key);
                let Some(found) = self.find(&shard, key, Some(time)) else {
                    continue;
                };
                if self.is_everywhere(&found) {
                    waiting.push((time, key));
                } else {
                    self.take_back(&mut shard, &found);
                }
            }
        }
        for (at, slot) in others {
            for (time, key) in self.in_flight_of(at, slot) {
                if !self.links_to(key, (at, slot)) {
                    self.remove_alone((at, slot), time, key);
                }
            }
        }
        waiting.sort_unstable();
        self.resized(0, waiting.len() * IN_FLIGHT_BYTES);
        let waiting = waiting.into_iter().map(|(_, key)| (expires_at, key));
        self.in_flight.lock().extend(waiting);
    }

    fn in_flight_of(&self, at: usize, slot: SlotId) -> Vec<(EventTime, TransactionKey)> {
        let kind = &self.kinds[at];
        match kind.slots.read_at(slot).as_ref().map(|tenant| &tenant.kept) {
            Some(Kept::Rows(history)) => history.in_flight(&kind.shape),
            Some(Kept::Steps(steps)) => {
                let rows = steps.in_flight();
                rows.map(|row| (row.time(), row.key)).collect()
            }
            None => Vec::new(),
        }
    }

    /// Whether each history that a transaction in flight links to has it, in flight too, or need not have it any more.
    fn is_everywhere(&self, found: &Found) -> bool {
        self.links_of(found).all(|(at, slot)| {
            let kind = &self.kinds[at];
            if found.time <= kind.horizon(self.watermark()) {
                return true;
            }
            let tenant = kind.slots.read_at(slot);
            match tenant.as_ref().map(|tenant| &tenant.kept) {
                Some(Kept::Rows(history)) => {
                    let place = history.find(&kind.shape, found.time, found.key);
                    place.is_some_and(|place| {
                        let (_, flags, _) = history.links_of(&kind.shape, place);
                        flags.has(Flags::IN_FLIGHT)
                    })
                }
                Some(Kept::Steps(steps)) => steps.in_flight().any(|row| row.key == found.key),
                None => false,
            }
        })
    }

    /// Whether a transaction is in flight and links to a history.
    fn links_to(&self, key: TransactionKey, history: (usize, SlotId)) -> bool {
        let shard = self.ledger.lock(key);
        let found = self.find(&shard, key, None);
        found.is_some_and(|found| {
            found.flags.has(Flags::IN_FLIGHT) && self.links_of(&found).any(|link| link == history)
        })
    }

    fn remove_alone(&self, (at, slot): (usize, SlotId), time: EventTime, key: TransactionKey) {
        self.with_kept(at, slot, |kind, kept| match kept {
            Kept::Rows(history) => {
                if let Some(place) = history.find(&kind.shape, time, key) {
                    history.remove(&kind.shape, place);
                }
            }
            Kept::Steps(steps) => _ = steps.take_in_flight(key),
        });
    }
}
