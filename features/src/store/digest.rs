//! One number for all that the log has brought, to compare two stores by.

use tollgate_types::{EventTime, TransactionKey};
use xxhash_rust::xxh3::{xxh3_64, xxh3_128};

use super::Store;
use super::kind::EntityKind;
use crate::EntityKey;
use crate::block::{Flags, Kind, Shape};
use crate::bytes::Put;
use crate::history::{History, Place};
use crate::kept::Kept;
use crate::label::Verdict;
use crate::slots::SlotId;
use crate::steps::Steps;

/// What the log has brought to a store. Two stores that differ in anything that a window can see have another one, but for a
/// chance of 2^-128.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Digest {
    /// Of every event under each of its entities, with its result and its labels, of labels that wait, and of the watermark.
    pub sum: u128,
    /// Entities that have some event in it.
    pub entities: usize,
    /// Transactions in it.
    pub events: usize,
    /// Labels in it, those that wait for their transaction included.
    pub labels: usize,
}

impl Store {
    /// The same for two stores that have the same events, with the same results and labels and in the same order where they
    /// tie, under the same watermark, however they lie in memory and in whichever order they came. What is in flight is
    /// not in it, nor what is beyond retention. Visits everything: seconds at ten million events.
    pub fn digest(&self) -> Digest {
        let mut all = Digest::default();
        let mut bytes = Vec::new();
        let mut waiting: Vec<(TransactionKey, Verdict)> = Vec::new();
        self.ledger
            .for_each_waiting(|key, label| waiting.push((key, label)));
        for (at, kind) in self.kinds.iter().enumerate() {
            let name = xxh3_64(kind.entity.name.as_bytes());
            for slot in (0..kind.slots.end()).map(SlotId) {
                let Some(tenant) = kind.slots.read_at(slot) else {
                    continue;
                };
                let horizon = kind.horizon(self.watermark());
                let own = |bytes: &mut Vec<u8>| start(bytes, name, tenant.key);
                // A sum, so that the order in which things are visited does not matter.
                let mut parts = 0;
                let mut add = |bytes: &[u8]| {
                    all.sum = all.sum.wrapping_add(xxh3_128(bytes));
                    parts += 1;
                };
                match &tenant.kept {
                    Kept::Rows(history) => {
                        // As far as the log goes, labels of what is in flight still wait.
                        for (time, key) in history.in_flight(&kind.shape) {
                            if at == self.card
                                && let Some(place) = history.find(&kind.shape, time, key)
                            {
                                let labels = history.labels_of(&kind.shape, place);
                                waiting.extend(labels.into_iter().map(|label| (key, label)));
                            }
                        }
                        let labels =
                            digest_rows(kind, history, horizon, &mut bytes, &own, &mut add);
                        if at == self.card {
                            all.events += parts;
                            all.labels += labels;
                        }
                    }
                    Kept::Steps(steps) => {
                        digest_steps(kind, steps, horizon, &mut bytes, &own, &mut add);
                    }
                }
                all.entities += usize::from(parts > 0);
            }
        }
        // Stable: of two that became known in one moment the order of arrival counts.
        waiting.sort_by_key(|(key, label)| (*key, label.0));
        bytes.clear();
        bytes.put_i64(self.watermark().micros());
        waiting
            .iter()
            .for_each(|(key, label)| put_label(&mut bytes, *key, *label));
        all.sum = all.sum.wrapping_add(xxh3_128(&bytes));
        all.labels += waiting.len();
        all
    }
}

fn start(bytes: &mut Vec<u8>, name: u64, key: EntityKey) {
    bytes.clear();
    bytes.put_u64(name);
    key.halves()
        .into_iter()
        .for_each(|half| bytes.put_u64(half));
}

/// Adds the events of an entity, and returns how many labels they have.
fn digest_rows(
    kind: &EntityKind,
    history: &History,
    horizon: EventTime,
    bytes: &mut Vec<u8>,
    own: &impl Fn(&mut Vec<u8>),
    add: &mut impl FnMut(&[u8]),
) -> usize {
    let shape = &kind.shape;
    let mut labels = 0;
    // How many rows before this one have its time.
    let (mut time, mut ties) = (EventTime::MIN, 0);
    for block in 0..history.blocks() {
        for row in 0..history.block(block).rows() {
            let place = Place { block, row };
            let content = history.row(shape, place);
            if content.flags.has(Flags::IN_FLIGHT) || content.time() <= horizon {
                continue;
            }
            ties = if content.time() == time { ties + 1 } else { 0 };
            time = content.time();
            own(bytes);
            bytes.put_u64(content.key.bits());
            bytes.put_u32(ties);
            bytes.put_u8(u8::from(content.flags.has(Flags::DECLINED)));
            bytes.put_i64(time.micros());
            for column in Shape::KNOWN_AT + 1..shape.links().start {
                bytes.put_optional(same(shape.kind(column), content.values[column]));
            }
            for label in history.labels_of(shape, place) {
                put_label(bytes, content.key, label);
                labels += 1;
            }
            add(bytes);
        }
    }
    labels
}

fn digest_steps(
    kind: &EntityKind,
    steps: &Steps,
    horizon: EventTime,
    bytes: &mut Vec<u8>,
    own: &impl Fn(&mut Vec<u8>),
    add: &mut impl FnMut(&[u8]),
) {
    let length = kind.step().unwrap_or_default();
    let inside = |start: EventTime| start.plus(length) > horizon;
    for step in steps.all().filter(|step| inside(step.start)) {
        let mut step = step.clone();
        for (at, column) in step.columns.iter_mut().enumerate() {
            let kind = kind.shape.kind(at);
            let same = |bits| same(kind, Some(bits)).unwrap_or(bits);
            column.extremes = column
                .extremes
                .map(|(least, most)| (same(least), same(most)));
        }
        own(bytes);
        step.write(bytes);
        add(bytes);
    }
}

/// A value such that what compares as equal is the same: there are two zeros, and which one lies in a column depends on what
/// else is there.
fn same(kind: Kind, value: Option<u64>) -> Option<u64> {
    match kind {
        Kind::Number => value.map(|bits| (f64::from_bits(bits) + 0.0).to_bits()),
        _ => value,
    }
}

fn put_label(bytes: &mut Vec<u8>, key: TransactionKey, (known_at, fraud): Verdict) {
    bytes.put_u64(key.bits());
    bytes.put_i64(known_at.micros());
    bytes.put_u8(u8::from(fraud));
}
