//! Every entity's history, shared by ingest, which applies events, and by decisions, which read them.
//!
//! Locks, in the order in which they are taken: the ledger's part of the transaction, held while its rows are written,
//! so that an event is applied at most once (FS-2) and a label never slips between; then one entity at a time. A read
//! takes the lock of one entity at a time and no other (but for entities kept in steps, which ask the ledger first). Nothing
//! blocks while a lock is held.

mod ahead;
mod apply;
mod digest;
mod evict;
mod image;
mod kind;
mod outcome;
mod repack;

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicUsize, Ordering};

use parking_lot::Mutex;
use tollgate_expr::Frame;
use tollgate_types::{EventTime, Record, Schema, Span, TransactionKey};

use crate::EntityKey;
use crate::alone::Alone;
use crate::history::History;
use crate::kept::Kept;
use crate::ledger::Ledger;
use crate::plan::{Group, ReadPlan};
use crate::read::{self, Scene};
use crate::slots::SlotId;
pub use digest::Digest;
pub use image::{Chunk, ChunkReader, ImageError, ImageSize, Imaging, Restoring, differences};
use kind::EntityKind;
pub use outcome::{Applied, Labelled, Limits, Origin, Reading, StoreSize};

/// Event times beyond these, some nine thousand years from 1970, are no times.
pub(crate) const TIME_MIN: EventTime = EventTime::from_micros(-(1 << 58));
pub(crate) const TIME_MAX: EventTime = EventTime::from_micros(1 << 58);

/// What a transaction in flight takes in the queue of those that will expire.
const IN_FLIGHT_BYTES: usize = size_of::<(EventTime, TransactionKey)>();

/// The in-memory event store.
#[derive(Debug)]
pub struct Store {
    schema: Arc<Schema>,
    limits: Limits,
    /// One per entity of the schema, in its order, and perhaps one of our own behind them.
    kinds: Vec<EntityKind>,
    /// The kind whose rows the ledger points to.
    card: usize,
    ledger: Ledger,
    /// Scored transactions in the order in which their wait for the echo ends.
    in_flight: Mutex<VecDeque<(EventTime, TransactionKey)>>,
    watermark: AtomicI64,
    /// Bytes of histories and of the ledger's tables.
    bytes: Alone<AtomicUsize>,
    /// Where the search for what to let go goes on.
    hand: AtomicUsize,
    /// Entities that were moved together so far.
    repacked: AtomicUsize,
    counts: Counts,
    /// What an entity that was never seen has.
    nothing: History,
}

/// What happened since the store began.
#[derive(Debug, Default)]
struct Counts {
    cut_off: AtomicUsize,
    pushed_out: AtomicUsize,
}

impl Store {
    /// A store without a limit on memory.
    pub fn new(schema: Arc<Schema>) -> Self {
        Self::with_limits(schema, Limits::default())
    }

    pub fn with_limits(schema: Arc<Schema>, limits: Limits) -> Self {
        let (kinds, card) = kind::all(&schema);
        Self {
            kinds,
            card,
            limits,
            ledger: Ledger::new(),
            in_flight: Mutex::default(),
            watermark: AtomicI64::new(i64::MIN),
            bytes: Alone::default(),
            hand: AtomicUsize::new(0),
            repacked: AtomicUsize::new(0),
            counts: Counts::default(),
            nothing: History::default(),
            schema,
        }
    }

    /// Makes it as it was at first, but for the memory that it has: many short histories one after the other, such as
    /// those of rule tests, would take longer to make room for than to read.
    pub fn clear(&mut self) {
        for kind in &mut self.kinds {
            kind.slots.clear();
        }
        self.ledger.clear();
        self.in_flight.get_mut().clear();
        *self.watermark.get_mut() = i64::MIN;
        *self.bytes.0.get_mut() = 0;
        *self.hand.get_mut() = 0;
        *self.repacked.get_mut() = 0;
        self.counts = Counts::default();
    }

    pub fn schema(&self) -> &Arc<Schema> {
        &self.schema
    }

    /// The event time up to which the log has been applied; [`EventTime::MIN`] at first.
    pub fn watermark(&self) -> EventTime {
        EventTime::from_micros(self.watermark.load(Ordering::Relaxed))
    }

    /// Moves the watermark forward; it never goes back. Only whoever reads the log can say how far it has been read: an
    /// event by itself never moves it, however far ahead its time is.
    pub fn advance_watermark(&self, to: EventTime) {
        self.watermark.fetch_max(to.micros(), Ordering::Relaxed);
    }

    /// Fills the slots of a plan's aggregates, as of the transaction's own place among the events: those
    /// after it, and those that tie with it but come later, do not count.
    pub fn read(&self, plan: &ReadPlan, record: &Record<'_>, frame: &mut Frame<'_>) -> Reading {
        let mut reading = Reading::default();
        for group in &plan.groups {
            self.read_group(group, record, frame, &mut reading);
        }
        reading
    }

    fn read_group(
        &self,
        group: &Group,
        record: &Record<'_>,
        frame: &mut Frame<'_>,
        reading: &mut Reading,
    ) {
        let kind = &self.kinds[usize::from(group.entity.0)];
        // Where a transaction has no such entity (no terminal, say), every aggregate over it is missing.
        let Some(key) = EntityKey::of(&kind.entity, record) else {
            return;
        };
        // Asked before the entity is locked: the ledger comes first in the order of locks.
        let is_merged = kind.step().is_some() && self.is_confirmed(record.key());
        let tenant = kind.slots.read(key);
        let scene = |history| Scene {
            history,
            shape: &kind.shape,
            entity: &kind.entity,
            record,
        };
        match tenant.as_ref().map(|tenant| &tenant.kept) {
            Some(Kept::Rows(history)) => {
                reading.cut_off |= read::is_cut_off(group, history, record.event_time());
                read::fill(group, &scene(history), kind.ties, frame);
            }
            Some(Kept::Steps(steps)) => {
                let step = kind.step().unwrap_or(Span::ZERO);
                read::fill_stepped(group, steps, step, is_merged, &scene(&self.nothing), frame);
            }
            None => read::fill(group, &scene(&self.nothing), kind.ties, frame),
        }
    }

    /// As many labels may wait for their transaction; further ones are dropped.
    pub const LABELS_WAITING_MAX: usize = crate::ledger::PENDING_LABELS_MAX;

    /// Labels that wait for their transaction.
    pub fn labels_waiting(&self) -> usize {
        self.ledger.waiting()
    }

    /// Counts what is held. Visits every part of the ledger.
    pub fn size(&self) -> StoreSize {
        StoreSize {
            entities: self.kinds.iter().map(|kind| kind.slots.len()).sum(),
            transactions: self.ledger.len(),
            pending_labels: self.ledger.waiting(),
            in_flight: self.in_flight.lock().len(),
            bytes: self.bytes(),
            events_cut_off: self.counts.cut_off.load(Ordering::Relaxed),
            entities_pushed_out: self.counts.pushed_out.load(Ordering::Relaxed),
        }
    }

    /// Bytes that the events of one kind of entity take; `None` if the schema has no such kind. Visits all of them.
    pub fn size_of(&self, entity: &str) -> Option<usize> {
        let kind = self.kinds.iter().find(|kind| kind.entity.name == entity)?;
        let slots = (0..kind.slots.end()).filter_map(|at| kind.slots.read_at(SlotId(at)));
        Some(slots.map(|tenant| tenant.kept.bytes()).sum())
    }

    /// Bytes of memory, as far as they grow with what is held.
    fn bytes(&self) -> usize {
        let slots: usize = self.kinds.iter().map(|kind| kind.slots.bytes()).sum();
        // Below none for a moment, if what another thread is still to count was let go already.
        let others = self.bytes.0.load(Ordering::Relaxed).cast_signed().max(0);
        slots + self.ledger.waiting_bytes() + others.unsigned_abs()
    }

    /// Takes note that something of `before` bytes now has `after`.
    fn resized(&self, before: usize, after: usize) {
        match after.checked_sub(before) {
            Some(0) => {}
            Some(more) => _ = self.bytes.0.fetch_add(more, Ordering::Relaxed),
            None => _ = self.bytes.0.fetch_sub(before - after, Ordering::Relaxed),
        }
    }
}
