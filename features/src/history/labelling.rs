//! Labels of the rows of a history: the last of each lies in its row, earlier ones beside the blocks.

use tollgate_types::{EventTime, TransactionKey};

use super::{History, Place};
use crate::block::{Flags, Shape};
use crate::label::{EarlierLabels, Verdict};

/// What a label did to a row.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Relabelled {
    First,
    /// It was known already, or says what another said.
    Again,
    /// It says otherwise than the labels before it.
    Changed,
}

impl History {
    /// All labels of a row, in the order in which they became known.
    pub(crate) fn labels_of(&self, shape: &Shape, place: Place) -> Vec<Verdict> {
        let key = self.block(place.block).key(place.row);
        let earlier = self.older.iter().flat_map(|older| older.labels.of(key));
        let mut labels: Vec<Verdict> = earlier.chain(self.last_label(shape, place)).collect();
        labels.sort_unstable();
        labels
    }

    /// Attaches a label to a row.
    pub(crate) fn label(
        &mut self,
        shape: &Shape,
        place: Place,
        fraud: bool,
        known_at: EventTime,
    ) -> Relabelled {
        let block = self.block(place.block);
        let key = block.key(place.row);
        let flags = block.flags_of(shape, place.row);
        let Some(last) = self.last_label(shape, place) else {
            self.set_label(shape, place, flags, (known_at, fraud));
            return Relabelled::First;
        };
        let older = self.older.get_or_insert_default();
        let Some((newest, changed)) = older.labels.add(key, last, (known_at, fraud)) else {
            return Relabelled::Again;
        };
        let earlier = older.labels.has(key);
        self.set_label(shape, place, flags.with(Flags::RELABELLED, earlier), newest);
        if changed {
            Relabelled::Changed
        } else {
            Relabelled::Again
        }
    }

    fn last_label(&self, shape: &Shape, place: Place) -> Option<Verdict> {
        let block = self.block(place.block);
        let known_at = block.view(shape, Shape::KNOWN_AT).get(place.row)?;
        let fraud = block.flags_of(shape, place.row).has(Flags::FRAUD);
        Some((EventTime::from_micros(known_at.cast_signed()), fraud))
    }

    fn set_label(
        &mut self,
        shape: &Shape,
        place: Place,
        flags: Flags,
        (known_at, fraud): (EventTime, bool),
    ) {
        let known_at = Some(known_at.micros().cast_unsigned());
        self.mark(shape, place, flags.with(Flags::FRAUD, fraud), |block| {
            block.set(shape, place.row, Shape::KNOWN_AT, known_at);
        });
    }

    /// Labels of rows that were labelled more than once, but for the last of each.
    pub(crate) fn earlier_labels(&self) -> Option<&EarlierLabels> {
        self.older.as_ref().map(|older| &older.labels)
    }

    pub(super) fn forget_labels(&mut self, key: TransactionKey) {
        if let Some(older) = self.older.as_mut() {
            older.labels.forget(key);
        }
    }
}
