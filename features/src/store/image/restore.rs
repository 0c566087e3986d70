//! A store from the chunks of an image.
//!
//! Blocks are copied as they lie; what leads to them, tables and totals, is made anew. Bytes are not trusted: whatever
//! they are, the outcome is a store that can be used, or an error, and memory for no more than the store may hold.
//!
//! Most of the time goes into reading chunks, of which several may be read at once; they are taken in their order.

use std::collections::BTreeSet;
use std::num::NonZero;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

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
use crate::store::kind::{self, EntityKind};
use crate::store::{Limits, Store};

/// More threads than this would wait for memory rather than for each other's end.
const THREADS_MAX: usize = 8;

/// A store that is being read from an image.
#[derive(Debug)]
pub struct Restoring {
    store: Store,
    reader: Arc<ChunkReader>,
    entities: usize,
    labels: Vec<(TransactionKey, Verdict)>,
    /// Slots, by the number of their kind, that had something in flight when they were read.
    in_flight: BTreeSet<(usize, u32)>,
    ended: bool,
}

/// Makes sense of chunks, on as many threads as there may be.
#[derive(Debug)]
pub struct ChunkReader {
    /// How each kind of entity is kept; nothing is kept in them.
    kinds: Vec<EntityKind>,
}

/// A chunk that was read, and is to be taken.
#[derive(Debug)]
pub struct Chunk(Content);

#[derive(Debug)]
enum Content {
    /// Of the kind with this number.
    Entities(usize, Vec<Entered>),
    Labels(Vec<(TransactionKey, Verdict)>),
    End {
        watermark: EventTime,
        entities: usize,
        labels: usize,
    },
}

/// An entity, and the slot it belongs to.
#[derive(Debug)]
struct Entered {
    slot: SlotId,
    tenant: Tenant,
    active: u32,
    has_in_flight: bool,
}

impl ChunkReader {
    /// Reads a chunk, whichever.
    pub fn read(&self, bytes: &[u8]) -> Result<Chunk, ImageError> {
        let mut from = Take::new(bytes);
        let content = match from.u8()? {
            ENTITIES => self.entities(&mut from),
            LABELS => labels(&mut from),
            END => end(&mut from),
            _ => Err(Malformed("kind of a chunk")),
        };
        Ok(Chunk(content?))
    }

    fn entities(&self, from: &mut Take<'_>) -> Result<Content, Malformed> {
        let at = usize::from(from.u16()?);
        let kind = self.kinds.get(at);
        let kind = kind.ok_or(Malformed("kind of an entity"))?;
        let mut entered = Vec::new();
        while !from.is_empty() {
            let slot = SlotId(from.u32()?);
            let (tenant, active) = read(kind, from)?;
            let has_in_flight = match &tenant.kept {
                Kept::Rows(history) => !history.in_flight(&kind.shape).is_empty(),
                Kept::Steps(steps) => steps.in_flight().next().is_some(),
            };
            entered.push(Entered {
                slot,
                tenant,
                active,
                has_in_flight,
            });
        }
        Ok(Content::Entities(at, entered))
    }
}

fn labels(from: &mut Take<'_>) -> Result<Content, Malformed> {
    let mut labels = Vec::new();
    while !from.is_empty() {
        let key = TransactionKey::from_bits(from.u64()?);
        let known_at = EventTime::from_micros(from.i64()?);
        labels.push((key, (known_at, from.flag()?)));
    }
    Ok(Content::Labels(labels))
}

fn end(from: &mut Take<'_>) -> Result<Content, Malformed> {
    let watermark = EventTime::from_micros(from.i64()?);
    let (entities, labels) = (from.count()?, from.count()?);
    if !from.is_empty() || !is_watermark(watermark) {
        return Err(Malformed("end of the image"));
    }
    Ok(Content::End {
        watermark,
        entities,
        labels,
    })
}

impl Restoring {
    /// Begins with an empty store. The schema must retain what the one did under which the image was written (see
    /// [`super::differences`]).
    pub fn new(schema: Arc<Schema>, limits: Limits) -> Self {
        let (kinds, _) = kind::all(&schema);
        Self {
            store: Store::with_limits(schema, limits),
            reader: Arc::new(ChunkReader { kinds }),
            entities: 0,
            labels: Vec::new(),
            in_flight: BTreeSet::new(),
            ended: false,
        }
    }

    /// What reads chunks of this image.
    pub fn reader(&self) -> Arc<ChunkReader> {
        Arc::clone(&self.reader)
    }

    /// Reads and takes the next chunk.
    pub fn chunk(&mut self, bytes: &[u8]) -> Result<(), ImageError> {
        let chunk = self.reader.read(bytes)?;
        self.take(chunk)
    }

    /// Takes the next chunk, in the order in which they were written.
    pub fn take(&mut self, Chunk(content): Chunk) -> Result<(), ImageError> {
        if self.ended {
            return Err(Malformed("chunk behind the last one").into());
        }
        match content {
            Content::Entities(at, entered) => {
                self.entities += entered.len();
                entered
                    .into_iter()
                    .try_for_each(|entered| self.enter(at, entered))
            }
            Content::Labels(labels) => {
                self.labels.extend(labels);
                // They are written twice, and some more may wait than are meant to.
                if self.labels.len() > 3 * PENDING_LABELS_MAX {
                    return Err(Malformed("number of labels").into());
                }
                Ok(())
            }
            Content::End {
                watermark,
                entities,
                labels,
            } => {
                if (entities, labels) != (self.entities, self.labels.len()) {
                    return Err(ImageError::Incomplete);
                }
                self.store.advance_watermark(watermark);
                self.ended = true;
                Ok(())
            }
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

    fn enter(&mut self, at: usize, entered: Entered) -> Result<(), ImageError> {
        let Entered {
            slot,
            tenant,
            active,
            has_in_flight,
        } = entered;
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
        let before = self.store.kinds[at].slots.place(slot, tenant, active);
        let before = before.ok_or(Malformed("number of a slot"))?;
        self.store.resized(before.kept.bytes(), bytes);
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
    /// Enters every transaction that a card has into the ledger, on all cores: what takes time is to wait for memory.
    fn index_transactions(&self) {
        let end = self.kinds[self.card].slots.end();
        let threads = std::thread::available_parallelism().map_or(1, NonZero::get);
        let threads = u32::try_from(threads.min(THREADS_MAX)).unwrap_or(1);
        let share = end.div_ceil(threads).max(1);
        let shares = || {
            let begins = (0..threads).map(|at| at.saturating_mul(share).min(end));
            begins.map(|begin| begin..begin.saturating_add(share).min(end))
        };
        // Counted first, so that each table is given its size at once.
        let parts: Vec<AtomicUsize> = (0..ledger::SHARDS).map(|_| AtomicUsize::new(0)).collect();
        std::thread::scope(|threads| {
            for share in shares() {
                threads.spawn(|| {
                    self.for_each_transaction(share, |key, _| {
                        parts[Ledger::part(key)].fetch_add(1, Ordering::Relaxed);
                    });
                });
            }
        });
        let parts: Vec<usize> = parts.into_iter().map(AtomicUsize::into_inner).collect();
        self.resized(0, self.ledger.reserve(&parts));
        std::thread::scope(|threads| {
            for share in shares() {
                threads.spawn(|| {
                    self.for_each_transaction(share, |key, slot| {
                        let grown = self.ledger.lock(key).insert(key, slot);
                        self.resized(0, grown);
                    });
                });
            }
        });
    }

    /// Every transaction of the cards in these slots.
    fn for_each_transaction(
        &self,
        cards: Range<u32>,
        mut with: impl FnMut(TransactionKey, SlotId),
    ) {
        let slots = &self.kinds[self.card].slots;
        for slot in cards.map(SlotId) {
            let tenant = slots.read_at(slot);
            if let Some(history) = tenant.as_ref().and_then(|tenant| tenant.kept.rows()) {
                history.for_each_key(|key| with(key, slot));
            }
        }
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
