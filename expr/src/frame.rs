//! The slots of one transaction while it is decided.

use tollgate_types::{Cell, FieldId, Record};

use crate::{Layout, SlotId, Slots};

/// The values of a [`Layout`]'s slots for one transaction. Every slot but the transaction's fields is missing
/// until it is set.
#[derive(Debug)]
pub struct Frame<'r> {
    cells: Vec<Cell>,
    record: &'r Record<'r>,
    /// Slots that have a text: the fields come first in a layout.
    fields: usize,
}

impl<'r> Frame<'r> {
    /// One allocation, of the layout's number of slots.
    pub fn new(layout: &Layout, record: &'r Record<'r>) -> Self {
        let mut cells = vec![Cell::MISSING; layout.slots];
        for (slot, field) in cells.iter_mut().zip(record.cells()) {
            *slot = *field;
        }
        Self {
            cells,
            record,
            fields: layout.fields,
        }
    }

    /// Puts a value where programs of the same layout read it.
    pub fn set(&mut self, slot: SlotId, cell: Cell) {
        debug_assert!(
            self.cells.len() > index(slot),
            "{slot:?} is of another layout"
        );
        if let Some(place) = self.cells.get_mut(index(slot)) {
            *place = cell;
        }
    }

    pub fn cell(&self, slot: SlotId) -> Cell {
        self.cells
            .get(index(slot))
            .copied()
            .unwrap_or(Cell::MISSING)
    }

    /// Computes the named features in their order, from the aggregates and lookups set before.
    pub fn evaluate_features(&mut self, layout: &Layout) {
        for feature in &layout.features {
            let cell = feature.program.eval(self);
            self.set(feature.slot, cell);
        }
    }
}

impl Slots for Frame<'_> {
    fn cell(&self, slot: SlotId) -> Cell {
        self.cell(slot)
    }

    fn text(&self, slot: SlotId) -> Option<&str> {
        if index(slot) >= self.fields.min(self.record.cells().len()) {
            return None;
        }
        u16::try_from(slot.0)
            .ok()
            .and_then(|field| self.record.text(FieldId(field)))
    }
}

fn index(slot: SlotId) -> usize {
    usize::try_from(slot.0).unwrap_or(usize::MAX)
}
