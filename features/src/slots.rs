//! Every entity of one kind: found by key, numbered, each behind a lock of its own.
//!
//! A map leads from half of an entity's key to the number of its slot; the slot has the whole key, so two entities whose
//! halves agree are never taken for one. The map's locks are held only while a number is looked up or written; whoever
//! reads or writes one entity's history holds that entity's lock and nobody else's. Numbers fit 32 bits, so others
//! can refer to an entity cheaply; a slot that was given to another entity since is recognised by its key.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering};

use dashmap::{DashMap, Entry};
use parking_lot::{Mutex, RwLock, RwLockReadGuard, RwLockWriteGuard};
use tollgate_types::EventTime;

use crate::EntityKey;
use crate::kept::Kept;

/// The number of an entity among those of its kind.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub(crate) struct SlotId(pub(crate) u32);

/// Locks of the map. A new entity holds one while it is entered, and now and then while its share of the map grows:
/// a thousandth of all, with this many.
const SHARDS: usize = 1024;

/// Slots that are made at once, and how many times that, in two steps: 268 million entities of a kind.
const CHUNK_SLOTS: usize = 4096;
const CHUNKS_PER_BANK: usize = 1024;
const BANKS: usize = 64;
const SLOTS_MAX: u32 = 1 << 28;

/// A map's entry, with its byte of control and the room that a hash map leaves.
const MAP_ENTRY_BYTES: usize = 32;

/// How often a look-up is repeated when the slot it found was given to another entity in between. More means that two
/// entities have the same half key, which at ten million has a chance of three in a million: the later one goes
/// without history then.
const TRIES: usize = 4;

type Map = DashMap<u64, u32, PassThrough>;
type Chunk = Box<[Slot]>;
type Bank = Box<[OnceLock<Chunk>]>;

#[derive(Debug)]
pub(crate) struct Slots {
    map: Map,
    banks: Box<[OnceLock<Bank>]>,
    /// Slots up to here have been given out.
    end: AtomicU32,
    /// Of those, the ones that are free again.
    free: Mutex<Vec<u32>>,
    entities: AtomicUsize,
}

/// A place for an entity.
#[derive(Debug, Default)]
pub(crate) struct Slot {
    inner: RwLock<Tenant>,
    /// Second of event time of its newest event: what was active least recently is let go first.
    active: AtomicU32,
}

/// The entity in a slot.
#[derive(Debug, Default)]
pub(crate) struct Tenant {
    /// All zero while the slot is free, which no hash is.
    pub(crate) key: EntityKey,
    pub(crate) kept: Kept,
}

impl Slots {
    pub(crate) fn new() -> Self {
        Self {
            map: DashMap::with_hasher_and_shard_amount(PassThrough, SHARDS),
            banks: (0..BANKS).map(|_| OnceLock::new()).collect(),
            end: AtomicU32::new(0),
            free: Mutex::default(),
            entities: AtomicUsize::new(0),
        }
    }

    /// Lets every entity go; the memory stays for the next ones.
    pub(crate) fn clear(&mut self) {
        for at in 0..std::mem::take(self.end.get_mut()) {
            if let Some(slot) = self.slot(SlotId(at)) {
                let tenant = std::mem::take(&mut *slot.inner.write());
                self.map.remove(&tenant.key.half());
                slot.active.store(0, Ordering::Relaxed);
            }
        }
        self.free.get_mut().clear();
        *self.entities.get_mut() = 0;
    }

    /// How many entities there are.
    pub(crate) fn len(&self) -> usize {
        self.entities.load(Ordering::Relaxed)
    }

    /// Bytes of memory for so many entities, without their events.
    pub(crate) fn bytes(&self) -> usize {
        let end = usize::try_from(self.end.load(Ordering::Relaxed)).unwrap_or(0);
        end.next_multiple_of(CHUNK_SLOTS) * size_of::<Slot>() + self.len() * MAP_ENTRY_BYTES
    }

    /// Slots that have been given out, free ones among them.
    pub(crate) fn end(&self) -> u32 {
        self.end.load(Ordering::Relaxed)
    }

    /// An entity, for reading.
    pub(crate) fn read(&self, key: EntityKey) -> Option<RwLockReadGuard<'_, Tenant>> {
        for _ in 0..TRIES {
            let at = SlotId(*self.map.get(&key.half())?);
            let tenant = self.slot(at)?.inner.read();
            if tenant.key == key {
                return Some(tenant);
            }
        }
        None
    }

    /// An entity, for writing; it is entered if it is new.
    pub(crate) fn write(
        &self,
        key: EntityKey,
        at: EventTime,
    ) -> Option<(SlotId, RwLockWriteGuard<'_, Tenant>)> {
        for _ in 0..TRIES {
            let id = self.enter(key)?;
            let slot = self.slot(id)?;
            let tenant = slot.inner.write();
            if tenant.key == key {
                slot.active.fetch_max(second(at), Ordering::Relaxed);
                return Some((id, tenant));
            }
        }
        None
    }

    /// Whoever is in a slot now.
    pub(crate) fn write_at(&self, id: SlotId) -> Option<RwLockWriteGuard<'_, Tenant>> {
        self.slot(id).map(|slot| slot.inner.write())
    }

    pub(crate) fn read_at(&self, id: SlotId) -> Option<RwLockReadGuard<'_, Tenant>> {
        self.slot(id).map(|slot| slot.inner.read())
    }

    /// The second of event time in which a slot's entity was last active.
    pub(crate) fn active(&self, id: SlotId) -> Option<u32> {
        self.slot(id)
            .map(|slot| slot.active.load(Ordering::Relaxed))
    }

    /// Lets an entity go if `if_so` still says so, and hands over what was kept of it.
    pub(crate) fn remove(&self, id: SlotId, if_so: impl Fn(&Tenant) -> bool) -> Option<Kept> {
        let slot = self.slot(id)?;
        let key = slot.inner.read().key;
        let Entry::Occupied(entry) = self.map.entry(key.half()) else {
            return None;
        };
        // Whoever is busy with it shows that it is in use.
        let mut tenant = slot.inner.try_write()?;
        if *entry.get() != id.0 || tenant.key != key || !if_so(&tenant) {
            return None;
        }
        let gone = std::mem::take(&mut *tenant);
        slot.active.store(0, Ordering::Relaxed);
        drop(tenant);
        entry.remove();
        self.entities.fetch_sub(1, Ordering::Relaxed);
        self.free.lock().push(id.0);
        Some(gone.kept)
    }

    /// The slot of an entity, which is given one if it has none.
    fn enter(&self, key: EntityKey) -> Option<SlotId> {
        // Nearly every entity is known, and looking takes a shared lock only.
        if let Some(known) = self.map.get(&key.half()) {
            return Some(SlotId(*known));
        }
        match self.map.entry(key.half()) {
            Entry::Occupied(known) => Some(SlotId(*known.get())),
            Entry::Vacant(vacant) => {
                let free = self.free.lock().pop();
                let id = SlotId(free.or_else(|| self.next())?);
                self.slot(id)?.inner.write().key = key;
                vacant.insert(id.0);
                self.entities.fetch_add(1, Ordering::Relaxed);
                Some(id)
            }
        }
    }

    /// A slot that was never used, in memory that is there.
    fn next(&self) -> Option<u32> {
        let id = self.end.load(Ordering::Relaxed);
        let taken = self
            .end
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |end| {
                (end < SLOTS_MAX).then_some(end + 1)
            });
        let id = taken.unwrap_or(id);
        let (bank, chunk, _) = parts(SlotId(id));
        let bank = self.banks.get(bank)?;
        let bank = bank.get_or_init(|| (0..CHUNKS_PER_BANK).map(|_| OnceLock::new()).collect());
        bank.get(chunk)?
            .get_or_init(|| (0..CHUNK_SLOTS).map(|_| Slot::default()).collect());
        taken.ok()
    }

    fn slot(&self, id: SlotId) -> Option<&Slot> {
        let (bank, chunk, slot) = parts(id);
        self.banks.get(bank)?.get()?.get(chunk)?.get()?.get(slot)
    }
}

/// Bank, chunk in it, and slot in that.
fn parts(id: SlotId) -> (usize, usize, usize) {
    let at = usize::try_from(id.0).unwrap_or(usize::MAX);
    let chunk = at / CHUNK_SLOTS;
    (
        chunk / CHUNKS_PER_BANK,
        chunk % CHUNKS_PER_BANK,
        at % CHUNK_SLOTS,
    )
}

/// Seconds since 1970, from 1 on, which 32 bits hold until 2106: 0 stands for nobody.
fn second(time: EventTime) -> u32 {
    u32::try_from(time.micros().max(0) / 1_000_000).map_or(u32::MAX, |second| second.max(1))
}

/// Keys are hashes already.
#[derive(Clone, Copy, Debug, Default)]
struct PassThrough;

struct Passed(u64);

impl std::hash::BuildHasher for PassThrough {
    type Hasher = Passed;

    fn build_hasher(&self) -> Passed {
        Passed(0)
    }
}

impl std::hash::Hasher for Passed {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = self.0.rotate_left(8) ^ u64::from(*byte);
        }
    }

    fn write_u64(&mut self, hash: u64) {
        self.0 = hash;
    }
}
