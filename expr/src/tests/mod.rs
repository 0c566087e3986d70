//! Tests of the language as a whole: from source to program, and what is said about mistakes.

mod aggregates;
mod costs;
mod documentation;
pub(crate) mod equivalence;
mod groups;
mod hostile;
mod language;
mod missing;
mod mistakes;
mod parts;
mod sharing;

use tollgate_types::Cell;

pub(crate) use crate::sample::{lists, schema};
use crate::{SlotId, Slots};

/// Slots by number, some of them with texts.
#[derive(Default, Debug)]
pub(crate) struct Values {
    pub(crate) cells: Vec<Cell>,
    pub(crate) texts: Vec<Option<String>>,
}

impl Slots for Values {
    fn cell(&self, slot: SlotId) -> Cell {
        self.cells
            .get(slot.0 as usize)
            .copied()
            .unwrap_or(Cell::MISSING)
    }

    fn text(&self, slot: SlotId) -> Option<&str> {
        self.texts.get(slot.0 as usize)?.as_deref()
    }
}
