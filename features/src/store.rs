//! Every entity's history, shared by ingest, which applies events, and by decisions, which read them.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use dashmap::{DashMap, Entry};
use tollgate_expr::Frame;
use tollgate_types::{Entity, EventTime, Label, Record, Schema, TransactionKey};

use crate::EntityKey;
use crate::history::{History, State, row_words, write_row};
use crate::plan::{Group, ReadPlan};

type Map<K, V> = DashMap<K, V, foldhash::fast::RandomState>;

/// Locks of each map. Evicting holds one at a time for the visit of its share of the keys, and readers of those
/// keys wait: with this many, some tens of microseconds at a million keys.
const SHARDS: usize = 1024;

/// Labels kept for transactions that have not arrived yet; further ones are dropped and counted.
const PENDING_LABELS_MAX: usize = 1_000_000;

/// The in-memory event store.
///
/// Locks: a transaction's entry in `transactions` is held while its rows are written, so that an event is
/// applied at most once (FS-2) and a label never slips between. Entity maps are locked one shard at a time,
/// always after `transactions`, and nothing blocks while a lock is held.
#[derive(Debug)]
pub struct Store {
    schema: Arc<Schema>,
    /// One map per entity of the schema, in its order.
    entities: Vec<Map<EntityKey, History>>,
    transactions: Map<TransactionKey, Located>,
    pending_labels: Map<TransactionKey, (bool, EventTime)>,
    /// Scored transactions in the order in which their wait for the echo ends.
    in_flight: Mutex<VecDeque<(EventTime, TransactionKey)>>,
    watermark: AtomicI64,
}

/// Where a transaction's rows are.
#[derive(Debug)]
struct Located {
    event_time: EventTime,
    in_flight: bool,
    /// Its entities in the order of the schema; `None` where the transaction has none.
    keys: Box<[Option<EntityKey>]>,
}

/// Where an event comes from.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Origin {
    /// It is being scored now. It counts at once, until its echo confirms it or `expires_at` (wall clock) passes.
    Scored { expires_at: EventTime },
    /// It was read from the log, with the result of its authorization.
    Log { authorized: bool },
}

/// What became of an event.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Applied {
    /// It is now retained.
    New,
    /// It was in flight and the log has confirmed it.
    Confirmed,
    /// It was retained already; nothing changed (FS-2).
    Duplicate,
    /// It is older than anything retained.
    TooOld,
}

/// What became of a label.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Labelled {
    /// Its transaction is retained and now carries it.
    Known,
    /// Its transaction has not arrived; the label waits for it.
    Pending,
    /// Too many labels wait already.
    Dropped,
}

/// How much a store holds.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct StoreSize {
    pub entities: usize,
    pub transactions: usize,
    pub pending_labels: usize,
    /// Bytes of the rows alone, without the maps around them.
    pub row_bytes: usize,
}

impl Store {
    pub fn new(schema: Arc<Schema>) -> Self {
        Self {
            entities: schema.entities().iter().map(|_| sharded()).collect(),
            transactions: sharded(),
            pending_labels: sharded(),
            in_flight: Mutex::default(),
            watermark: AtomicI64::new(i64::MIN),
            schema,
        }
    }

    pub fn schema(&self) -> &Arc<Schema> {
        &self.schema
    }

    /// The event time up to which the log has been applied; [`EventTime::MIN`] at first.
    pub fn watermark(&self) -> EventTime {
        EventTime::from_micros(self.watermark.load(Ordering::Relaxed))
    }

    /// Moves the watermark forward; it never goes back.
    pub fn advance_watermark(&self, to: EventTime) {
        self.watermark.fetch_max(to.micros(), Ordering::Relaxed);
    }

    /// Retains an event under each of its entities, once.
    pub fn apply(&self, record: &Record<'_>, origin: Origin) -> Applied {
        let watermark = self.watermark();
        if record.event_time() <= watermark.minus(self.schema.retention_max()) {
            return Applied::TooOld;
        }
        match self.transactions.entry(record.key()) {
            Entry::Occupied(mut located) => self.confirm(located.get_mut(), record.key(), origin),
            Entry::Vacant(vacant) => {
                let state = self.first_state(record.key(), origin);
                let keys = self.insert_rows(record, state, watermark);
                let in_flight = state.in_flight;
                vacant.insert(Located {
                    event_time: record.event_time(),
                    in_flight,
                    keys,
                });
                if let Origin::Scored { expires_at } = origin {
                    self.in_flight_queue().push_back((expires_at, record.key()));
                }
                Applied::New
            }
        }
    }

    /// Attaches a label to its transaction, wherever that is retained.
    pub fn label(&self, label: &Label) -> Labelled {
        let key = TransactionKey::of(&label.transaction_id);
        // The entry is locked in both cases, so the transaction cannot arrive between look and note.
        match self.transactions.entry(key) {
            Entry::Occupied(located) => {
                self.update_rows(located.get(), key, |state| {
                    state.label(label.fraud, label.known_at);
                });
                Labelled::Known
            }
            Entry::Vacant(_) if self.pending_labels.len() >= PENDING_LABELS_MAX => {
                Labelled::Dropped
            }
            Entry::Vacant(_) => {
                let mut waiting = self
                    .pending_labels
                    .entry(key)
                    .or_insert((false, EventTime::MIN));
                if label.known_at >= waiting.1 {
                    *waiting = (label.fraud, label.known_at);
                }
                Labelled::Pending
            }
        }
    }

    /// Fills the slots of a plan's aggregates, as of the transaction's own place among the events: those
    /// after it, and those that tie with it but came later, do not count.
    pub fn read(&self, plan: &ReadPlan, record: &Record<'_>, frame: &mut Frame<'_>) {
        for group in &plan.groups {
            let entity = self.schema.entity_at(group.entity);
            // Where a transaction has no such entity (no terminal, say), every aggregate over it is missing.
            let key = EntityKey::of(entity, record);
            let history = key.and_then(|key| self.map(group).get(&key));
            let width = row_words(entity);
            let own = history.as_deref().and_then(|history| {
                history
                    .rows(width)
                    .position(record.event_time(), record.key())
            });
            match (history.as_deref(), own, key) {
                (_, _, None) => {}
                (Some(history), Some(own), _) => {
                    group.fill(entity, history.rows(width), own, record, frame);
                }
                (history, _, _) => {
                    let before = history.map(|history| history.until(width, record.event_time()));
                    fill_unretained(group, entity, before.unwrap_or_default(), record, frame);
                }
            }
        }
    }

    /// Takes scored transactions out whose echo did not come in time, and returns how many.
    pub fn expire_in_flight(&self, now: EventTime) -> usize {
        let mut expired = 0;
        while let Some(key) = self.next_expired(now) {
            if let Entry::Occupied(located) = self.transactions.entry(key)
                && located.get().in_flight
            {
                let Located {
                    event_time, keys, ..
                } = located.remove();
                for ((map, entity), key_of) in self.maps().zip(keys) {
                    if let Some(mut history) = key_of.and_then(|of| map.get_mut(&of)) {
                        history.remove(row_words(entity), event_time, key);
                    }
                }
                expired += 1;
            }
        }
        expired
    }

    /// Lets go of events beyond their entity's retention and of entities without events; returns how many
    /// events went. Visits everything: meant for every few minutes.
    pub fn evict(&self) -> usize {
        let watermark = self.watermark();
        let mut evicted = 0;
        for (map, entity) in self.maps() {
            let (width, horizon) = (row_words(entity), watermark.minus(entity.retention));
            map.retain(|_, history| {
                evicted += history.evict(width, horizon);
                history.rows(width).len() > 0
            });
        }
        let horizon = watermark.minus(self.schema.retention_max());
        self.transactions
            .retain(|_, located| located.event_time > horizon);
        self.pending_labels
            .retain(|_, (_, known_at)| *known_at > horizon);
        evicted
    }

    /// Counts what is held. Visits everything.
    pub fn size(&self) -> StoreSize {
        let row_bytes = |map: &Map<EntityKey, History>| {
            map.iter().map(|history| history.bytes()).sum::<usize>()
        };
        StoreSize {
            entities: self.entities.iter().map(DashMap::len).sum(),
            transactions: self.transactions.len(),
            pending_labels: self.pending_labels.len(),
            row_bytes: self.entities.iter().map(row_bytes).sum(),
        }
    }

    fn maps(&self) -> impl Iterator<Item = (&Map<EntityKey, History>, &Entity)> {
        self.entities.iter().zip(self.schema.entities())
    }

    fn map(&self, group: &Group) -> &Map<EntityKey, History> {
        &self.entities[usize::from(group.entity.0)]
    }

    fn in_flight_queue(&self) -> std::sync::MutexGuard<'_, VecDeque<(EventTime, TransactionKey)>> {
        self.in_flight
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    fn next_expired(&self, now: EventTime) -> Option<TransactionKey> {
        let mut queue = self.in_flight_queue();
        let due = queue
            .front()
            .is_some_and(|(expires_at, _)| *expires_at <= now);
        if due {
            queue.pop_front().map(|(_, key)| key)
        } else {
            None
        }
    }

    /// The state of an event when it first arrives, with the label that waited for it.
    fn first_state(&self, key: TransactionKey, origin: Origin) -> State {
        let mut state = match origin {
            Origin::Scored { .. } => State::new(false, true),
            Origin::Log { authorized } => State::new(!authorized, false),
        };
        if let Some((_, (fraud, known_at))) = self.pending_labels.remove(&key) {
            state.label(fraud, known_at);
        }
        state
    }

    fn confirm(&self, located: &mut Located, key: TransactionKey, origin: Origin) -> Applied {
        match origin {
            Origin::Log { authorized } if located.in_flight => {
                located.in_flight = false;
                self.update_rows(located, key, |state| {
                    state.in_flight = false;
                    state.declined = !authorized;
                });
                Applied::Confirmed
            }
            Origin::Log { .. } | Origin::Scored { .. } => Applied::Duplicate,
        }
    }

    fn insert_rows(
        &self,
        record: &Record<'_>,
        state: State,
        watermark: EventTime,
    ) -> Box<[Option<EntityKey>]> {
        let mut row = Vec::with_capacity(16);
        let insert = |(map, entity): (&Map<EntityKey, History>, &Entity)| {
            let key = EntityKey::of(entity, record)?;
            let horizon = watermark.minus(entity.retention);
            if record.event_time() > horizon {
                write_row(entity, record, state, &mut row);
                let mut history = map.entry(key).or_default();
                history.evict(row_words(entity), horizon);
                history.insert(&row);
            }
            Some(key)
        };
        self.maps().map(insert).collect()
    }

    fn update_rows(&self, located: &Located, key: TransactionKey, change: impl Fn(&mut State)) {
        for ((map, entity), of) in self.maps().zip(&located.keys) {
            if let Some(mut history) = of.and_then(|of| map.get_mut(&of)) {
                history.update(row_words(entity), located.event_time, key, &change);
            }
        }
    }
}

fn sharded<K: Eq + std::hash::Hash, V>() -> Map<K, V> {
    DashMap::with_hasher_and_shard_amount(foldhash::fast::RandomState::default(), SHARDS)
}

/// Reads a transaction that is not retained (it is older than the retention, say) as if it were, after the
/// events that came before it.
fn fill_unretained(
    group: &Group,
    entity: &Entity,
    mut history: History,
    record: &Record<'_>,
    frame: &mut Frame<'_>,
) {
    let mut row = Vec::with_capacity(16);
    write_row(entity, record, State::new(false, true), &mut row);
    history.insert(&row);
    let rows = history.rows(row.len());
    if let Some(own) = rows.position(record.event_time(), record.key()) {
        group.fill(entity, rows, own, record, frame);
    }
}
