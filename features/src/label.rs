//! Labels of events that were labelled more than once.
//!
//! What was known at some moment must not change when more becomes known, so every label is kept with the moment it
//! became known. Nearly all events have one label at most, which lies in their row; for the others the row has the
//! one known last, and all before it are here.

use tollgate_types::{EventTime, TransactionKey};

/// Labels kept of one event. Investigations flip a few times; what goes on flipping is a loop somewhere.
const LABELS_MAX: usize = 16;

/// When it became known, and whether it says fraud.
pub(crate) type Verdict = (EventTime, bool);

#[derive(Debug, Default)]
pub(crate) struct EarlierLabels {
    /// In no order; there are few.
    labels: Vec<(TransactionKey, Verdict)>,
}

impl EarlierLabels {
    pub(crate) const fn is_empty(&self) -> bool {
        self.labels.is_empty()
    }

    pub(crate) fn has(&self, key: TransactionKey) -> bool {
        self.of(key).next().is_some()
    }

    /// Adds a label to those of an event of which `last` is known to its row. Gives the one for the row to know, and
    /// whether the new one says otherwise than those known before it; `None` if nothing is new. Of two labels that
    /// became known in the same moment, the one that arrived later counts.
    pub(crate) fn add(
        &mut self,
        key: TransactionKey,
        last: Verdict,
        new: Verdict,
    ) -> Option<(Verdict, bool)> {
        if new == last || self.of(key).any(|known| known == new) {
            return None;
        }
        let earlier = self.of(key).chain([last]).filter(|known| known.0 < new.0);
        let changed = earlier.max().is_some_and(|known| known.1 != new.1);
        if new.0 == last.0 {
            return Some((new, true));
        }
        self.labels
            .retain(|(of, known)| *of != key || known.0 != new.0);
        let (newest, other) = if new.0 > last.0 {
            (new, last)
        } else {
            (last, new)
        };
        if self.of(key).count() < LABELS_MAX {
            self.labels.push((key, other));
        }
        Some((newest, changed))
    }

    /// What was known of an event at some moment before its last label.
    pub(crate) fn was_fraud(&self, key: TransactionKey, at: EventTime) -> bool {
        let known = self.of(key).filter(|label| label.0 <= at).max();
        known.is_some_and(|label| label.1)
    }

    /// All of them, in no order.
    pub(crate) fn all(&self) -> &[(TransactionKey, Verdict)] {
        &self.labels
    }

    /// Takes back what [`EarlierLabels::all`] gave.
    pub(crate) fn restore(&mut self, key: TransactionKey, label: Verdict) {
        self.labels.push((key, label));
    }

    pub(crate) fn forget(&mut self, key: TransactionKey) {
        self.labels.retain(|(of, _)| *of != key);
    }

    pub(crate) const fn bytes(&self) -> usize {
        self.labels.capacity() * size_of::<(TransactionKey, Verdict)>()
    }

    pub(crate) fn of(&self, key: TransactionKey) -> impl Iterator<Item = Verdict> {
        self.labels
            .iter()
            .filter(move |(of, _)| *of == key)
            .map(|(_, known)| *known)
    }
}
