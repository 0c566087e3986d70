//! A store from the chunks of an image.
//!
//! Blocks are copied as they lie; what leads to them, tables and totals, is made anew. Bytes are not trusted: whatever
//! they are, the outcome is a store that can be used, or an error, and memory for no more than the store may hold.

use std::collections::BTreeSet;
use std::sync::Arc;

use tollgate_types::{EventTime, Schema, TransactionKey};

use super::{END, ENTITIES, FREE, ImageError, LABELS, ROWS, STEPS, is_watermark};
use crate::EntityKey;
use crate::bytes::{Malformed, Take};
use crate::history::History;
use crate::kept::Kept;
use crate::label::Verdict;
use crate::ledger::{self, Ledger, PENDING_LABELS_MAX};
use crate::slots::{SlotId, Tenant};
use crate::steps::Steps;
use crate::store::kind::EntityKind;
use crate::store::{Limits, Store};

/// A store that is being read from an image.
#[derive(Debug)]
pub struct Restoring {
    store: Store,
    entities: usize,
    labels: Vec<(TransactionKey, Verdict)>,
    /// Slots, by the number of their kind, that had something in flight when they were read.
    in_flight: BTreeSet<(usize, u32)>,
    ended: bool,
}

impl Restoring {
    /// Begins with an empty store. The schema must retain what the one did under which the image was written (see
    /// [`super::differences`]).
    pub fn new(schema: Arc<Schema>, limits: Limits) -> Self {
        Self {
            store: Store::with_limits(schema, limits),
            entities: 0,
            labels: Vec::new(),
            in_flight: BTreeSet::new(),
            ended: false,
        }
    }

    /// Takes the next chunk, in the order in which they were written.
    pub fn chunk(&mut self, bytes: &[u8]) -> Result<(), ImageError> {
        let mut from = Take::new(bytes);
        if self.ended {
            return Err(Malformed("chunk behind the last one").into());
        }
        match from.u8()? {
            ENTITIES => self.entities(&mut from),
            LABELS => self.labels(&mut from),
            END => self.end(&mut from),
            _ => Err(Malformed("kind of a chunk").into()),
        }
    }

    /// The store, once every chunk was taken. Transactions in flight wait for their echo until `expires_at`.
    pub fn finish(self, expires_at: EventTime) -> Result<Store, ImageError> {
        if !self.ended {
            return Err(ImageError::Incomplete);
        }
        let store = self.store;
        for gone in store.kinds.iter().flat_map(|kind| kind.slots.index()) {
            store.resized(gone.bytes(), 0);
        }
        store.index_transactions();
        store.reconcile(&self.in_flight, expires_at);
        for (key, verdict) in self.labels {
            store.label_again(key, verdict);
        }
        Ok(store)
    }

    fn entities(&mut self, from: &mut Take<'_>) -> Result<(), ImageError> {
        let at = usize::from(from.u16()?);
        if at >= self.store.kinds.len() {
            return Err(Malformed("kind of an entity").into());
        }
        while !from.is_empty() {
            self.entity(at, from)?;
            self.entities += 1;
        }
        Ok(())
    }

    fn entity(&mut self, at: usize, from: &mut Take<'_>) -> Result<(), ImageError> {
        let kind = &self.store.kinds[at];
        let slot = SlotId(from.u32()?);
        let (tenant, active) = read(kind, from)?;
        let has_in_flight = match &tenant.kept {
            Kept::Rows(history) => !history.in_flight(&kind.shape).is_empty(),
            Kept::Steps(steps) => steps.in_flight().next().is_some(),
        };
        if has_in_flight {
            self.in_flight.insert((at, slot.0));
        }
        let slots_bytes = usize::try_from(slot.0)
            .unwrap_or(usize::MAX)
            .saturating_mul(64);
        let bytes = tenant.kept.bytes();
        let all = self.store.bytes().saturating_add(bytes);
        if slots_bytes.max(all) > self.store.limits.bytes_max {
            return Err(ImageError::TooLarge);
        }
        let before = kind.slots.place(slot, tenant, active);
        let before = before.ok_or(Malformed("number of a slot"))?;
        self.store.resized(before.kept.bytes(), bytes);
        Ok(())
    }

    fn labels(&mut self, from: &mut Take<'_>) -> Result<(), ImageError> {
        while !from.is_empty() {
            let key = TransactionKey::from_bits(from.u64()?);
            let known_at = EventTime::from_micros(from.i64()?);
            self.labels.push((key, (known_at, from.flag()?)));
        }
        // They are written twice, and some more may wait than are meant to.
        if self.labels.len() > 3 * PENDING_LABELS_MAX {
            return Err(Malformed("number of labels").into());
        }
        Ok(())
    }

    fn end(&mut self, from: &mut Take<'_>) -> Result<(), ImageError> {
        let watermark = EventTime::from_micros(from.i64()?);
        let (entities, labels) = (from.count()?, from.count()?);
        if (entities, labels) != (self.entities, self.labels.len()) {
            return Err(ImageError::Incomplete);
        }
        if !from.is_empty() || !is_watermark(watermark) {
            return Err(Malformed("end of the image").into());
        }
        self.store.advance_watermark(watermark);
        self.ended = true;
        Ok(())
    }
}

/// A record of a slot, behind its number.
fn read(kind: &EntityKind, from: &mut Take<'_>) -> Result<(Tenant, u32), Malformed> {
    let form = from.u8()?;
    if form == FREE {
        return Ok((Tenant::default(), 0));
    }
    let key = EntityKey::from_halves([from.u64()?, from.u64()?]);
    if key == EntityKey::default() {
        return Err(Malformed("key of an entity"));
    }
    let active = from.u32()?;
    let kept = match (form, kind.step()) {
        (ROWS, None) => Kept::Rows(History::read(&kind.shape, from)?),
        (STEPS, Some(step)) => Kept::Steps(Box::new(Steps::read(&kind.shape, step, from)?)),
        // One that was entered and has no event yet.
        (ROWS, Some(_)) => {
            let history = History::read(&kind.shape, from)?;
            if history.rows() > 0 {
                return Err(Malformed("rows of an entity that is kept in steps"));
            }
            Kept::default()
        }
        _ => return Err(Malformed("form of an entity")),
    };
    Ok((Tenant { key, kept }, active))
}

impl Store {
    /// Enters every transaction that a card has into the ledger.
    fn index_transactions(&self) {
        let slots = &self.kinds[self.card].slots;
        let mut parts = vec![0_usize; ledger::SHARDS];
        let for_each = |with: &mut dyn FnMut(TransactionKey, SlotId)| {
            for slot in (0..slots.end()).map(SlotId) {
                let tenant = slots.read_at(slot);
                if let Some(history) = tenant.as_ref().and_then(|tenant| tenant.kept.rows()) {
                    history.for_each_key(|key| with(key, slot));
                }
            }
        };
        // Counted first, so that each table is given its size at once.
        for_each(&mut |key, _| parts[Ledger::part(key)] += 1);
        self.resized(0, self.ledger.reserve(&parts));
        for_each(&mut |key, slot| {
            let grown = self.ledger.lock(key).insert(key, slot);
            self.resized(0, grown);
        });
    }

    /// Attaches a label that waited when the image was written, or lets it go on waiting.
    fn label_again(&self, key: TransactionKey, verdict: Verdict) {
        let mut shard = self.ledger.lock(key);
        match self.find(&shard, key, None) {
            Some(found) => _ = self.label_rows(&found, verdict),
            None => _ = self.ledger.wait(&mut shard, key, verdict),
        }
    }
}
