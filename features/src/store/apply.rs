//! Applying events and labels.

use std::sync::atomic::Ordering;

use tollgate_types::{EventTime, Label, Record, TransactionKey};

use super::kind::EntityKind;
use super::{Applied, IN_FLIGHT_BYTES, Labelled, Origin, Store, TIME_MAX, TIME_MIN};
use crate::EntityKey;
use crate::block::{Flags, Row, Shape};
use crate::history::{Relabelled, Ties};
use crate::kept::Kept;
use crate::label::Verdict;
use crate::ledger::Shard;
use crate::slots::SlotId;

/// A retained transaction, as its row under its card has it.
pub(super) struct Found {
    pub(super) card: SlotId,
    pub(super) key: TransactionKey,
    pub(super) time: EventTime,
    pub(super) flags: Flags,
    /// Its other histories, in the order of the links.
    links: Vec<Option<SlotId>>,
}

/// A link as a row has it.
fn slot_id(link: Option<u64>) -> Option<SlotId> {
    link.and_then(|slot| u32::try_from(slot).ok()).map(SlotId)
}

/// What writing an event's rows leaves to be done once no lock is held, for all of them together: threads wait for each
/// other at what they share.
#[derive(Default)]
struct Rest {
    /// Keys of rows that went, to be struck from the ledger.
    gone: Vec<(TransactionKey, SlotId)>,
    /// Bytes of what was written to, before and after.
    bytes: (usize, usize),
}

impl Rest {
    fn resized(&mut self, before: usize, after: usize) {
        self.bytes.0 += before;
        self.bytes.1 += after;
    }
}

impl Store {
    /// Retains an event under each of its entities, once.
    pub fn apply(&self, record: &Record<'_>, origin: Origin) -> Applied {
        self.relieve(origin);
        let (at, watermark) = (record.event_time(), self.watermark());
        if at <= watermark.minus(self.schema.retention_max()) || !(TIME_MIN..TIME_MAX).contains(&at)
        {
            return Applied::TooOld;
        }
        let mut rest = Rest::default();
        let mut shard = self.ledger.lock(record.key());
        let applied = match self.find(&shard, record.key(), Some(at)) {
            Some(found) => self.apply_again(&mut shard, &found, record, origin, &mut rest),
            None => {
                self.insert(&mut shard, record, origin, &mut rest);
                if at < watermark {
                    Applied::Late
                } else {
                    Applied::New
                }
            }
        };
        drop(shard);
        self.strike(&rest.gone);
        self.resized(rest.bytes.0, rest.bytes.1);
        if let (Origin::Scored { expires_at }, Applied::New | Applied::Late) = (origin, applied) {
            let waiting = (expires_at, record.key());
            self.in_flight.lock().push_back(waiting);
            self.resized(0, IN_FLIGHT_BYTES);
        }
        applied
    }

    /// Attaches a label to its transaction, wherever that is retained.
    pub fn label(&self, label: &Label) -> Labelled {
        let key = TransactionKey::of(&label.transaction_id);
        let verdict = (label.known_at.clamp(TIME_MIN, TIME_MAX), label.fraud);
        // Locked in both cases, so the transaction cannot arrive between look and note.
        let mut shard = self.ledger.lock(key);
        match self.find(&shard, key, None) {
            Some(found) => match self.label_rows(&found, verdict) {
                Relabelled::First => Labelled::Known,
                Relabelled::Again => Labelled::Again,
                Relabelled::Changed => Labelled::Changed,
            },
            None if self.ledger.wait(&mut shard, key, verdict) => Labelled::Pending,
            None => Labelled::Dropped,
        }
    }

    /// Takes scored transactions out whose echo did not come in time, and returns how many.
    pub fn expire_in_flight(&self, now: EventTime) -> usize {
        let mut expired = 0;
        while let Some(key) = self.next_expired(now) {
            let mut shard = self.ledger.lock(key);
            if let Some(found) = self.find(&shard, key, None)
                && found.flags.has(Flags::IN_FLIGHT)
            {
                self.take_back(&mut shard, &found);
                expired += 1;
            }
        }
        expired
    }

    /// Takes a transaction in flight out. Its labels came from the log and wait again for what the log may still say of it.
    pub(super) fn take_back(&self, shard: &mut Shard, found: &Found) {
        let labels = self.labels_of(found);
        self.remove_rows(shard, found);
        for label in labels {
            self.ledger.wait(shard, found.key, label);
        }
    }

    fn next_expired(&self, now: EventTime) -> Option<TransactionKey> {
        let mut queue = self.in_flight.lock();
        let due = queue
            .front()
            .is_some_and(|(expires_at, _)| *expires_at <= now);
        if !due {
            return None;
        }
        self.resized(IN_FLIGHT_BYTES, 0);
        queue.pop_front().map(|(_, key)| key)
    }

    /// Whether a transaction is retained and its result is known.
    pub(super) fn is_confirmed(&self, key: TransactionKey) -> bool {
        let shard = self.ledger.lock(key);
        self.find(&shard, key, None)
            .is_some_and(|found| !found.flags.has(Flags::IN_FLIGHT))
    }

    fn card(&self) -> &EntityKind {
        &self.kinds[self.card]
    }

    /// A transaction's row under its card. Its event time, where known, spares looking through the card's keys.
    pub(super) fn find(
        &self,
        shard: &Shard,
        key: TransactionKey,
        time: Option<EventTime>,
    ) -> Option<Found> {
        let (slots, shape) = (&self.card().slots, &self.card().shape);
        shard.candidates(key).find_map(|card| {
            let tenant = slots.read_at(card)?;
            let history = tenant.kept.rows()?;
            let by_time = time.and_then(|time| history.find(shape, time, key));
            let place = by_time.or_else(|| history.find_key(key))?;
            let (time, flags, links) = history.links_of(shape, place);
            Some(Found {
                card,
                key,
                time,
                flags,
                links: links.map(slot_id).collect(),
            })
        })
    }

    /// Writes the first rows of an event, with the labels that waited for it.
    fn insert(&self, shard: &mut Shard, record: &Record<'_>, origin: Origin, rest: &mut Rest) {
        let flags = match origin {
            Origin::Scored { .. } => Flags::IN_FLIGHT,
            Origin::Log { authorized } => Flags::default().with(Flags::DECLINED, !authorized),
        };
        let mut row = Row::new(record.key(), flags);
        let mut links = Vec::with_capacity(self.kinds.len());
        for at in self.linked() {
            links.push(self.insert_row(at, record, &[], &mut row, rest));
        }
        let card = self.insert_row(self.card, record, &links, &mut row, rest);
        let Some(card) = card else {
            return;
        };
        rest.resized(0, shard.insert(record.key(), card));
        let waiting = self.ledger.take_waiting(shard, record.key());
        self.label_all(shard, record, waiting);
    }

    /// Attaches labels, oldest arrival first, to an event that was just inserted.
    fn label_all(&self, shard: &Shard, record: &Record<'_>, labels: Vec<Verdict>) {
        for label in labels {
            // Each changes the row, so each looks at it anew.
            if let Some(found) = self.find(shard, record.key(), Some(record.event_time())) {
                self.label_rows(&found, label);
            }
        }
    }

    /// The kinds that rows of the card link to, in the order of the links.
    fn linked(&self) -> impl Iterator<Item = usize> {
        let card = self.card;
        (0..self.kinds.len()).filter(move |at| *at != card)
    }

    /// Writes a row under one kind of entity, by way of `row`; `None` if the transaction has no such entity, or is too old
    /// for it.
    fn insert_row(
        &self,
        at: usize,
        record: &Record<'_>,
        links: &[Option<SlotId>],
        row: &mut Row,
        rest: &mut Rest,
    ) -> Option<SlotId> {
        let kind = &self.kinds[at];
        let key = EntityKey::of(&kind.entity, record)?;
        let horizon = kind.horizon(self.watermark());
        if record.event_time() <= horizon {
            return None;
        }
        kind.fill(row, record, links);
        let (slot, mut tenant) = kind.slots.write(key, record.event_time())?;
        let before = tenant.kept.bytes();
        if let Some(step) = kind.step() {
            let steps = tenant.kept.steps_mut();
            steps.evict(step, horizon);
            steps.add(&kind.shape, step, row);
        } else if let Kept::Rows(history) = &mut tenant.kept {
            let mut note = |key| {
                if at == self.card {
                    rest.gone.push((key, slot));
                }
            };
            history.evict(&kind.shape, horizon, &mut note);
            history.insert(&kind.shape, row, kind.ties);
            let rows_max = kind
                .entity
                .events_max
                .unwrap_or(self.limits.events_per_entity_max);
            let cut = history.cut_off(&kind.shape, rows_max, &mut note);
            if cut > 0 {
                self.counts.cut_off.fetch_add(cut, Ordering::Relaxed);
            }
        }
        rest.resized(before, tenant.kept.bytes());
        Some(slot)
    }

    /// An event with an id that is retained already.
    fn apply_again(
        &self,
        shard: &mut Shard,
        found: &Found,
        record: &Record<'_>,
        origin: Origin,
        rest: &mut Rest,
    ) -> Applied {
        let is_same = self.is_same(found, record);
        match origin {
            Origin::Log { authorized } if found.flags.has(Flags::IN_FLIGHT) => {
                if is_same && self.confirm_rows(found, authorized) {
                    return Applied::Confirmed;
                }
                let labels = self.labels_of(found);
                self.remove_rows(shard, found);
                self.insert(shard, record, origin, rest);
                self.label_all(shard, record, labels);
                if is_same {
                    Applied::Confirmed
                } else {
                    Applied::Corrected
                }
            }
            _ if is_same => Applied::Duplicate,
            _ => Applied::Conflicting,
        }
    }

    /// Whether what is retained of a transaction is what is said of it now.
    fn is_same(&self, found: &Found, record: &Record<'_>) -> bool {
        let kind = self.card();
        let Some(tenant) = kind.slots.read_at(found.card) else {
            return false;
        };
        let is_card = EntityKey::of(&kind.entity, record) == Some(tenant.key);
        let history = tenant
            .kept
            .rows()
            .filter(|_| is_card && record.event_time() == found.time);
        history.is_some_and(|history| {
            let place = history.find(&kind.shape, found.time, found.key);
            let listed = Shape::KNOWN_AT + 1..kind.shape.links().start;
            let mut own = Row::new(found.key, found.flags);
            kind.fill(&mut own, record, &[]);
            place.is_some_and(|place| {
                history.row(&kind.shape, place).values[listed.clone()] == own.values[listed]
            })
        })
    }

    /// Notes the result of an event in flight; false, with nothing changed, where its place among events that tie with it
    /// may be another now that the log has it.
    fn confirm_rows(&self, found: &Found, authorized: bool) -> bool {
        let flags = found
            .flags
            .with(Flags::IN_FLIGHT, false)
            .with(Flags::DECLINED, !authorized);
        if self.has_tie(found) {
            return false;
        }
        let labels = self.labels_for_steps(found);
        self.for_each_row(found, |kind, kept| match kept {
            Kept::Rows(history) => {
                if let Some(place) = history.find(&kind.shape, found.time, found.key) {
                    history.set_flags(&kind.shape, place, flags);
                }
            }
            Kept::Steps(steps) => {
                if let Some(step) = kind.step() {
                    steps.confirm(&kind.shape, step, (found.key, flags), &labels);
                }
            }
        });
        true
    }

    /// Whether another event of the card happened in the same moment.
    fn has_tie(&self, found: &Found) -> bool {
        let kind = self.card();
        debug_assert_eq!(kind.ties, Ties::ByArrival);
        let tenant = kind.slots.read_at(found.card);
        let history = tenant.as_ref().and_then(|tenant| tenant.kept.rows());
        history.is_some_and(|history| history.ties_at(&kind.shape, found.time) > 1)
    }

    fn remove_rows(&self, shard: &mut Shard, found: &Found) {
        self.for_each_row(found, |kind, kept| match kept {
            Kept::Rows(history) => {
                if let Some(place) = history.find(&kind.shape, found.time, found.key) {
                    history.remove(&kind.shape, place);
                }
            }
            Kept::Steps(steps) => _ = steps.take_in_flight(found.key),
        });
        shard.remove(found.key, found.card);
    }

    /// Attaches a label to every row of a transaction.
    pub(super) fn label_rows(&self, found: &Found, label: Verdict) -> Relabelled {
        let before = self.labels_for_steps(found);
        let mut relabelled = Relabelled::Again;
        let key = found.key;
        // The card first, since what steps make of a label depends on all labels of the event.
        self.with_kept(self.card, found.card, |kind, kept| {
            if let Some(history) = kept.rows_mut()
                && let Some(place) = history.find(&kind.shape, found.time, key)
            {
                relabelled = history.label(&kind.shape, place, label.1, label.0);
            }
        });
        let after = self.labels_for_steps(found);
        for (at, slot) in self.links_of(found) {
            self.with_kept(at, slot, |kind, kept| match kept {
                Kept::Rows(history) => {
                    if let Some(place) = history.find(&kind.shape, found.time, key) {
                        history.label(&kind.shape, place, label.1, label.0);
                    }
                }
                Kept::Steps(steps) => {
                    if let Some(step) = kind.step() {
                        steps.relabel(step, (found.time, key), &before, &after);
                    }
                }
            });
        }
        relabelled
    }

    /// All labels of an event, if the schema has entities that are kept in steps and so need them.
    fn labels_for_steps(&self, found: &Found) -> Vec<Verdict> {
        if self.kinds.iter().any(|kind| kind.step().is_some()) {
            self.labels_of(found)
        } else {
            Vec::new()
        }
    }

    /// All labels of an event, in the order in which they became known.
    fn labels_of(&self, found: &Found) -> Vec<Verdict> {
        let kind = self.card();
        let tenant = kind.slots.read_at(found.card);
        let history = tenant.as_ref().and_then(|tenant| tenant.kept.rows());
        history.map_or_else(Vec::new, |history| {
            let place = history.find(&kind.shape, found.time, found.key);
            place.map_or_else(Vec::new, |place| history.labels_of(&kind.shape, place))
        })
    }

    /// The other histories that have the event.
    pub(super) fn links_of(&self, found: &Found) -> impl Iterator<Item = (usize, SlotId)> {
        let links = self.linked().zip(found.links.iter().copied());
        links.filter_map(|(at, slot)| Some((at, slot?)))
    }

    /// Changes each history that has the event, its card's too.
    fn for_each_row(&self, found: &Found, change: impl Fn(&EntityKind, &mut Kept)) {
        let own = std::iter::once((self.card, found.card));
        for (at, slot) in own.chain(self.links_of(found)) {
            self.with_kept(at, slot, &change);
        }
    }

    pub(super) fn with_kept(
        &self,
        at: usize,
        slot: SlotId,
        change: impl FnOnce(&EntityKind, &mut Kept),
    ) {
        let kind = &self.kinds[at];
        if let Some(mut tenant) = kind.slots.write_at(slot) {
            let before = tenant.kept.bytes();
            change(kind, &mut tenant.kept);
            self.resized(before, tenant.kept.bytes());
        }
    }

    /// Strikes transactions from the ledger whose rows are gone.
    pub(super) fn strike(&self, gone: &[(TransactionKey, SlotId)]) {
        for (key, card) in gone {
            self.ledger.lock(*key).remove(*key, *card);
        }
    }
}
