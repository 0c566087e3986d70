//! An image of the store: all that it has of the log, in chunks of bytes, written while events are applied and decisions
//! read.
//!
//! Nothing is stopped for it. A pass visits one entity after another, each under its own lock for as long as copying it
//! takes; each further pass visits only those that changed since the one before began, so they get short. The last pass, of
//! [`Imaging::finish`], is the one for which nothing may be applied from the log: it makes the image that of one position.
//! So what is read from there on is applied to exactly what it was applied to before, and nothing depends on
//! how often an event may be applied (FS-3; ADR 19 says why that matters). Scoring goes on even then; transactions
//! that come in flight meanwhile may be in one history and not in another, and are put right when the image is read.
//!
//! Later chunks replace what earlier ones say of the same slot. Slots keep their numbers, by which rows of a card refer to them.

mod reconcile;
mod restore;
mod retained;

use tollgate_types::EventTime;

use super::Store;
use crate::EntityKey;
use crate::bytes::{Malformed, Put};
use crate::kept::Kept;
use crate::slots::{SlotId, Tenant};
pub use restore::{Chunk, ChunkReader, Restoring};
pub use retained::differences;

/// A chunk is handed over once it has as many bytes: small beside any store, large enough to compress well. One entity is
/// never parted, so one with many events makes a larger chunk.
const CHUNK_BYTES: usize = 1 << 20;

/// Slots that are visited between two rests: some microseconds of copying.
const SLOTS_BETWEEN_RESTS: u32 = 32;

/// What a chunk has: its first byte.
const ENTITIES: u8 = 1;
const LABELS: u8 = 2;
const END: u8 = 3;

/// How an entity is kept: a byte of its record.
const FREE: u8 = 0;
const ROWS: u8 = 1;
const STEPS: u8 = 2;

/// An image that is being written.
#[derive(Debug)]
pub struct Imaging<'s> {
    store: &'s Store,
    /// Per kind, the pass since which changes are still to be written; 0 before the first.
    since: Vec<u32>,
    chunk: Vec<u8>,
    size: ImageSize,
}

/// What an image has.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct ImageSize {
    /// Entities written, those written again included.
    pub entities: usize,
    /// Labels written, those written again included.
    pub labels: usize,
    pub chunks: usize,
    /// Bytes of all chunks.
    pub bytes: usize,
}

/// Why chunks are no image of a store.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ImageError {
    /// The bytes make no sense; says what was being read.
    Malformed(&'static str),
    /// Chunks are missing.
    Incomplete,
    /// It has more than the store may hold.
    TooLarge,
}

impl std::error::Error for ImageError {}

impl std::fmt::Display for ImageError {
    fn fmt(&self, to: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Malformed(what) => write!(to, "the bytes make no sense: {what}"),
            Self::Incomplete => write!(to, "parts are missing"),
            Self::TooLarge => write!(
                to,
                "it has more than the store may hold; allow it more memory"
            ),
        }
    }
}

impl From<Malformed> for ImageError {
    fn from(Malformed(what): Malformed) -> Self {
        Self::Malformed(what)
    }
}

impl Store {
    /// The form of images: another number is another form.
    pub const IMAGE_VERSION: u32 = 1;

    /// Begins an image of the store.
    pub fn image(&self) -> Imaging<'_> {
        Imaging {
            store: self,
            since: vec![0; self.kinds.len()],
            chunk: Vec::new(),
            size: ImageSize::default(),
        }
    }
}

impl Imaging<'_> {
    /// Writes every entity that changed since the pass before began, all of them at first, and returns how many. Each is
    /// locked, against writers only, while it is copied: a microsecond, or one millisecond at a hundred thousand events.
    /// No lock is held while `sink` is called, nor while `rest` is: again and again, after some microseconds of work each time,
    /// for whoever does not want to take a core for the whole of a pass.
    pub fn pass<E>(
        &mut self,
        sink: &mut impl FnMut(&[u8]) -> Result<(), E>,
        rest: &mut impl FnMut(),
    ) -> Result<usize, E> {
        let before = self.size.entities;
        self.pass_over_all(false, sink, rest)?;
        Ok(self.size.entities - before)
    }

    /// Writes what is left. While this runs nothing from the log, neither event nor label, may be applied: the image is
    /// that of the position at which the log then stands.
    pub fn finish<E>(
        mut self,
        sink: &mut impl FnMut(&[u8]) -> Result<(), E>,
    ) -> Result<ImageSize, E> {
        // A transaction that is scored meanwhile takes the labels that wait for it, and then has them; one that expires gives them
        // back. So they are looked for before and behind: twice is once.
        self.labels(sink)?;
        self.pass_over_all(true, sink, &mut || {})?;
        self.labels(sink)?;
        self.chunk.put_u8(END);
        self.chunk.put_i64(self.store.watermark().micros());
        self.chunk.put_count(self.size.entities);
        self.chunk.put_count(self.size.labels);
        self.flush(sink)?;
        Ok(self.size)
    }

    fn pass_over_all<E>(
        &mut self,
        is_last: bool,
        sink: &mut impl FnMut(&[u8]) -> Result<(), E>,
        rest: &mut impl FnMut(),
    ) -> Result<(), E> {
        (0..self.store.kinds.len()).try_for_each(|at| self.pass_over(at, is_last, sink, rest))
    }

    fn pass_over<E>(
        &mut self,
        at: usize,
        is_last: bool,
        sink: &mut impl FnMut(&[u8]) -> Result<(), E>,
        rest: &mut impl FnMut(),
    ) -> Result<(), E> {
        let slots = &self.store.kinds[at].slots;
        let since = std::mem::replace(&mut self.since[at], slots.begin_pass());
        for slot in (0..slots.end()).map(SlotId) {
            if slot.0.is_multiple_of(SLOTS_BETWEEN_RESTS) {
                rest();
            }
            let is_unchanged = || since > 0 && !slots.changed_since(slot, since);
            // Quick, but a change that is being made may not be noted yet. In the last pass nobody makes any but those of scoring,
            // which are put right when the image is read.
            if is_last && is_unchanged() {
                continue;
            }
            let Some(tenant) = slots.read_at(slot) else {
                continue;
            };
            if is_unchanged() {
                continue;
            }
            if since == 0 && tenant.key == EntityKey::default() {
                continue;
            }
            if self.chunk.is_empty() {
                self.chunk.put_u8(ENTITIES);
                self.chunk.put_u16(u16::try_from(at).unwrap_or(u16::MAX));
            }
            let active = slots.active(slot).unwrap_or_default();
            write(&mut self.chunk, slot, active, &tenant);
            drop(tenant);
            self.size.entities += 1;
            if self.chunk.len() >= CHUNK_BYTES {
                self.flush(sink)?;
            }
        }
        self.flush(sink)
    }

    fn labels<E>(&mut self, sink: &mut impl FnMut(&[u8]) -> Result<(), E>) -> Result<(), E> {
        let (chunk, labels) = (&mut self.chunk, &mut self.size.labels);
        self.store
            .ledger
            .for_each_waiting(|key, (known_at, fraud)| {
                if chunk.is_empty() {
                    chunk.put_u8(LABELS);
                }
                chunk.put_u64(key.bits());
                chunk.put_i64(known_at.micros());
                chunk.put_u8(u8::from(fraud));
                *labels += 1;
            });
        self.flush(sink)
    }

    /// Hands the chunk over, if there is one.
    fn flush<E>(&mut self, sink: &mut impl FnMut(&[u8]) -> Result<(), E>) -> Result<(), E> {
        if self.chunk.is_empty() {
            return Ok(());
        }
        sink(&self.chunk)?;
        self.size.chunks += 1;
        self.size.bytes += self.chunk.len();
        self.chunk.clear();
        Ok(())
    }
}

/// The record of a slot: number, key, time of last use, and what is kept.
fn write(into: &mut Vec<u8>, slot: SlotId, active: u32, tenant: &Tenant) {
    into.put_u32(slot.0);
    if tenant.key == EntityKey::default() {
        into.put_u8(FREE);
        return;
    }
    into.put_u8(match &tenant.kept {
        Kept::Rows(_) => ROWS,
        Kept::Steps(_) => STEPS,
    });
    let halves = tenant.key.halves().into_iter();
    halves.for_each(|half| into.put_u64(half));
    into.put_u32(active);
    match &tenant.kept {
        Kept::Rows(history) => history.write(into),
        Kept::Steps(steps) => steps.write(into),
    }
}

/// A watermark that an image may have.
fn is_watermark(time: EventTime) -> bool {
    time == EventTime::MIN || (super::TIME_MIN..super::TIME_MAX).contains(&time)
}
