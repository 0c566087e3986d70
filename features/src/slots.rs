//! Every entity of one kind: found by key, numbered, each behind a lock of its own.
//!
//! A table leads from half of an entity's key to the number of its slot; the slot has the whole key, so two entities whose
//! halves agree are never taken for one. The tables' locks are held only while a number is looked up or written; whoever
//! reads or writes one entity's history holds that entity's lock and nobody else's. Numbers fit 32 bits, so others
//! can refer to an entity cheaply; a slot that was given to another entity since is recognised by its key.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering};

use parking_lot::{Mutex, RwLock, RwLockReadGuard, RwLockWriteGuard};
use tollgate_types::EventTime;

use crate::EntityKey;
use crate::alone::Alone;
use crate::kept::Kept;
use crate::table::Table;

/// The number of an entity among those of its kind.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub(crate) struct SlotId(pub(crate) u32);

/// Tables. A new entity holds the lock of one while it is entered, and now and then while the table grows: a thousandth
/// of all, with this many.
const SHARDS: usize = 1024;

/// Slots that are made at once, and how many times that, in two steps: 268 million entities of a kind.
const CHUNK_SLOTS: usize = 4096;
const CHUNKS_PER_BANK: usize = 1024;
const BANKS: usize = 64;
const SLOTS_MAX: u32 = 1 << 28;

/// How often a look-up is repeated when a slot that it found was given to another entity in between.
const TRIES: usize = 4;

type Chunk = Box<[Slot]>;
type Bank = Box<[OnceLock<Chunk>]>;

/// What every look-up reads lies apart from what every new entity writes.
#[derive(Debug)]
pub(crate) struct Slots {
    shards: Box<[Shard]>,
    banks: Box<[OnceLock<Bank>]>,
    /// The number that slots are given when they change: that of the latest pass of an image over them.
    pass: AtomicU32,
    /// Memory of slots and tables; grows by many at a time.
    bytes: AtomicUsize,
    given: Alone<Given>,
}

/// Which slots have been given out.
#[derive(Debug, Default)]
struct Given {
    /// Those up to here.
    end: AtomicU32,
    /// Of them, the ones that are free again.
    free: Mutex<Vec<u32>>,
    /// How many those are, so that nobody waits to learn that there are none.
    freed: AtomicUsize,
}

/// A table on a cache line of its own, so that threads at different ones do not wait for each other.
#[derive(Debug, Default)]
#[repr(align(64))]
struct Shard(RwLock<Table>);

/// A place for an entity: one cache line, since most entities nobody asked for lately and each line costs a wait for
/// memory.
#[derive(Debug, Default)]
#[repr(align(64))]
pub(crate) struct Slot {
    inner: RwLock<Tenant>,
    /// Second of event time of its newest event: what was active least recently is let go first.
    active: AtomicU32,
    /// The pass since which it changed last, written while the lock is held.
    changed: AtomicU32,
}

const _: () = assert!(size_of::<Slot>() == 64, "a slot is one cache line");

/// The entity in a slot.
#[derive(Debug, Default)]
pub(crate) struct Tenant {
    /// All zero while the slot is free, which no hash is.
    pub(crate) key: EntityKey,
    pub(crate) kept: Kept,
}

/// An entity and its slot, for writing.
type Entered<'s> = (SlotId, RwLockWriteGuard<'s, Tenant>);

impl Slots {
    pub(crate) fn new() -> Self {
        Self {
            shards: (0..SHARDS).map(|_| Shard::default()).collect(),
            banks: (0..BANKS).map(|_| OnceLock::new()).collect(),
            pass: AtomicU32::new(1),
            bytes: AtomicUsize::new(0),
            given: Alone::default(),
        }
    }

    /// Lets every entity go; the slots stay for the next ones.
    pub(crate) fn clear(&mut self) {
        for shard in &mut self.shards {
            shard.0.get_mut().clear();
        }
        *self.bytes.get_mut() = 0;
        for at in 0..std::mem::take(&mut self.given.0).end.into_inner() {
            if let Some(slot) = self.slot(SlotId(at)) {
                *slot.inner.write() = Tenant::default();
                slot.active.store(0, Ordering::Relaxed);
            }
        }
    }

    /// How many entities there are.
    pub(crate) fn len(&self) -> usize {
        let end = usize::try_from(self.end()).unwrap_or(0);
        end.saturating_sub(self.given.0.freed.load(Ordering::Relaxed))
    }

    /// Bytes of memory for so many entities, without their events.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes.load(Ordering::Relaxed)
    }

    /// Slots that have been given out, free ones among them.
    pub(crate) fn end(&self) -> u32 {
        self.given.0.end.load(Ordering::Relaxed)
    }

    /// An entity, for reading.
    pub(crate) fn read(&self, key: EntityKey) -> Option<RwLockReadGuard<'_, Tenant>> {
        for _ in 0..TRIES {
            let mut candidates = 0;
            while let Some(id) = self.candidate(key, candidates) {
                let tenant = self.slot(id)?.inner.read();
                if tenant.key == key {
                    return Some(tenant);
                }
                candidates += 1;
            }
            if candidates == 0 {
                return None;
            }
        }
        None
    }

    /// An entity, for writing; it is entered if it is new.
    pub(crate) fn write(&self, key: EntityKey, at: EventTime) -> Option<Entered<'_>> {
        for _ in 0..TRIES {
            let mut candidates = 0;
            while let Some(id) = self.candidate(key, candidates) {
                let slot = self.slot(id)?;
                let tenant = slot.inner.write();
                if tenant.key == key {
                    slot.active.fetch_max(second(at), Ordering::Relaxed);
                    self.note(slot);
                    return Some((id, tenant));
                }
                candidates += 1;
            }
            if let Some(entered) = self.enter(key, at)? {
                return Some(entered);
            }
        }
        None
    }

    /// Brings into the cache what a look-up will read; what it returns means nothing.
    pub(crate) fn peek(&self, key: EntityKey) -> u64 {
        self.shard(key).read().peek(hash(key))
    }

    /// The slot in which an entity most likely is.
    pub(crate) fn expected(&self, key: EntityKey) -> Option<SlotId> {
        self.candidate(key, 0)
    }

    /// The nth slot that an entity may have, by half of its key. Nearly always the first one is right, and looking takes a
    /// shared lock only.
    fn candidate(&self, key: EntityKey, nth: usize) -> Option<SlotId> {
        let table = self.shard(key).read();
        table.find(hash(key)).nth(nth).map(SlotId)
    }

    fn shard(&self, key: EntityKey) -> &RwLock<Table> {
        // The high bits choose the shard, the low ones are what its table is searched by.
        let at = usize::try_from(key.half() >> 54).unwrap_or(0);
        &self.shards[at % SHARDS].0
    }

    /// Whoever is in a slot now.
    pub(crate) fn write_at(&self, id: SlotId) -> Option<RwLockWriteGuard<'_, Tenant>> {
        let slot = self.slot(id)?;
        let tenant = slot.inner.write();
        self.note(slot);
        Some(tenant)
    }

    /// The same for whoever changes nothing that an image has, or else says so with [`Slots::note_change`] while holding
    /// what this returns.
    pub(crate) fn write_unnoted(&self, id: SlotId) -> Option<RwLockWriteGuard<'_, Tenant>> {
        self.slot(id).map(|slot| slot.inner.write())
    }

    pub(crate) fn note_change(&self, id: SlotId) {
        if let Some(slot) = self.slot(id) {
            self.note(slot);
        }
    }

    /// Takes note that what a slot has changes, while its lock is held: so whoever looks at it for an image, under the
    /// lock too, either sees the change or finds the note at the next pass.
    fn note(&self, slot: &Slot) {
        let pass = self.pass.load(Ordering::Relaxed);
        slot.changed.store(pass, Ordering::Relaxed);
    }

    /// Begins a pass over all slots and returns its number: what changes from now on is noted with it or a later one.
    pub(crate) fn begin_pass(&self) -> u32 {
        self.pass.fetch_add(1, Ordering::Relaxed) + 1
    }

    /// Whether a slot changed since a pass began.
    pub(crate) fn changed_since(&self, id: SlotId, pass: u32) -> bool {
        let slot = self.slot(id);
        slot.is_some_and(|slot| slot.changed.load(Ordering::Relaxed) >= pass)
    }

    /// Puts an entity into a slot, as an image has it, and hands over what was there; `None` if there is no such slot.
    /// Nothing is found by its key before [`Slots::index`].
    pub(crate) fn place(&self, id: SlotId, tenant: Tenant, active: u32) -> Option<Tenant> {
        if id.0 >= SLOTS_MAX {
            return None;
        }
        self.make(id)?;
        let before = self.given.0.end.fetch_max(id.0 + 1, Ordering::Relaxed);
        self.grown(chunks_bytes(id.0 + 1).saturating_sub(chunks_bytes(before)));
        let slot = self.slot(id)?;
        slot.active.store(active, Ordering::Relaxed);
        Some(std::mem::replace(&mut *slot.inner.write(), tenant))
    }

    /// Enters all entities that were put into slots. Hands over what is let go: an entity that was moved while the last pass
    /// of an image was at work is there twice, and a pass comes to slots in their order, so the later one counts.
    pub(crate) fn index(&self) -> Vec<Kept> {
        let mut free = self.given.0.free.lock();
        let mut gone = Vec::new();
        for id in 0..self.end() {
            let Some(key) = self.read_at(SlotId(id)).map(|tenant| tenant.key) else {
                free.push(id);
                continue;
            };
            if key == EntityKey::default() {
                free.push(id);
                continue;
            }
            let mut table = self.shard(key).write();
            let is_same = |other: &u32| {
                let tenant = self.read_at(SlotId(*other));
                tenant.is_some_and(|tenant| tenant.key == key)
            };
            let same = table.find(hash(key)).find(is_same);
            if let Some((slot, other)) = same.and_then(|id| Some((self.slot(SlotId(id))?, id))) {
                gone.push(std::mem::take(&mut *slot.inner.write()).kept);
                slot.active.store(0, Ordering::Relaxed);
                table.remove(hash(key), other);
                free.push(other);
            }
            self.insert(&mut table, key, id);
        }
        self.given.0.freed.store(free.len(), Ordering::Relaxed);
        gone
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
        let mut table = self.shard(key).write();
        // Whoever is busy with it shows that it is in use.
        let mut tenant = slot.inner.try_write()?;
        if tenant.key != key || !if_so(&tenant) || !table.remove(hash(key), id.0) {
            return None;
        }
        let gone = std::mem::take(&mut *tenant);
        slot.active.store(0, Ordering::Relaxed);
        self.note(slot);
        drop((tenant, table));
        let mut free = self.given.0.free.lock();
        free.push(id.0);
        self.given.0.freed.store(free.len(), Ordering::Relaxed);
        Some(gone.kept)
    }

    /// Gives an entity a slot and hands it over for writing; nothing if it has one by now. `None` if there are no more.
    fn enter(&self, key: EntityKey, at: EventTime) -> Option<Option<Entered<'_>>> {
        let mut table = self.shard(key).write();
        // While the table is locked, no slot is given to or taken from any of its entities.
        let is_here = |id| {
            let slot = self.slot(SlotId(id));
            slot.is_some_and(|slot| slot.inner.read().key == key)
        };
        if table.find(hash(key)).any(is_here) {
            return Some(None);
        }
        let id = self.take_free().or_else(|| self.next())?;
        // One that an image left out has no memory yet.
        self.make(SlotId(id))?;
        let slot = self.slot(SlotId(id))?;
        // The table waits at most for whoever looks at a slot that belongs to no one, which is soon done.
        let mut tenant = slot.inner.write();
        tenant.key = key;
        slot.active.store(second(at), Ordering::Relaxed);
        self.note(slot);
        self.insert(&mut table, key, id);
        Some(Some((SlotId(id), tenant)))
    }

    fn insert(&self, table: &mut Table, key: EntityKey, id: u32) {
        self.grown(table.insert(hash(key), id));
    }

    fn grown(&self, bytes: usize) {
        if bytes > 0 {
            self.bytes.fetch_add(bytes, Ordering::Relaxed);
        }
    }

    /// A slot whose entity was let go.
    fn take_free(&self) -> Option<u32> {
        let given = &self.given.0;
        if given.freed.load(Ordering::Relaxed) == 0 {
            return None;
        }
        let mut free = given.free.lock();
        let id = free.pop();
        given.freed.store(free.len(), Ordering::Relaxed);
        id
    }

    /// A slot that was never used.
    fn next(&self) -> Option<u32> {
        let more = |end: u32| (end < SLOTS_MAX).then_some(end + 1);
        let end = &self.given.0.end;
        let id = end.fetch_update(Ordering::Relaxed, Ordering::Relaxed, more);
        let id = id.ok()?;
        self.grown(chunks_bytes(id + 1) - chunks_bytes(id));
        Some(id)
    }

    /// Makes sure that there is memory for a slot.
    fn make(&self, id: SlotId) -> Option<()> {
        let (bank, chunk, _) = parts(id);
        let bank = self.banks.get(bank)?;
        let bank = bank.get_or_init(|| (0..CHUNKS_PER_BANK).map(|_| OnceLock::new()).collect());
        bank.get(chunk)?
            .get_or_init(|| (0..CHUNK_SLOTS).map(|_| Slot::default()).collect());
        Some(())
    }

    fn slot(&self, id: SlotId) -> Option<&Slot> {
        let (bank, chunk, slot) = parts(id);
        self.banks.get(bank)?.get()?.get(chunk)?.get()?.get(slot)
    }
}

/// Bytes of the chunks that have so many slots.
fn chunks_bytes(slots: u32) -> usize {
    let slots = usize::try_from(slots).unwrap_or(usize::MAX);
    slots.next_multiple_of(CHUNK_SLOTS) * size_of::<Slot>()
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

/// The part of a key that tables are searched by.
fn hash(key: EntityKey) -> u32 {
    let [a, b, c, d, ..] = key.half().to_le_bytes();
    u32::from_le_bytes([a, b, c, d])
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn key(number: u64) -> EntityKey {
        EntityKey::from_halves([number << 32 | number, number])
    }

    fn place(slots: &Slots, id: u32, key: EntityKey) {
        let tenant = Tenant {
            key,
            kept: Kept::default(),
        };
        assert!(slots.place(SlotId(id), tenant, 1).is_some());
    }

    #[test]
    fn slots_that_an_image_left_out_are_there_for_new_entities() {
        let slots = Slots::new();
        // Two chunks, all of whose slots were free, and one slot behind them.
        let left_out = 2 * u32::try_from(CHUNK_SLOTS).unwrap();
        place(&slots, left_out, key(1));
        assert!(slots.index().is_empty());
        for number in 0..u64::from(left_out) {
            let entered = slots.write(key(2 + number), EventTime::from_micros(0));
            assert!(entered.is_some(), "entity {number}");
        }
        assert_eq!(slots.end(), left_out + 1, "no further slot is needed");
        assert!((1..2 + u64::from(left_out)).all(|number| slots.read(key(number)).is_some()));
    }

    #[test]
    fn of_an_entity_that_an_image_has_twice_the_later_one_counts() {
        let slots = Slots::new();
        place(&slots, 3, key(1));
        place(&slots, 5, key(1));
        assert_eq!(slots.index().len(), 1);
        assert_eq!(slots.len(), 1);
        assert_eq!(slots.expected(key(1)), Some(SlotId(5)));
        assert!(slots.read(key(1)).is_some());
    }
}
