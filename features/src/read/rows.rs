//! What a walk sees: a history from the place of one transaction, block by block, row by row.

use std::ops::Range;

use tollgate_expr::{Program, SlotId, Slots};
use tollgate_types::{Cell, ColumnId, Entity, EventTime, FieldId, Record};

use super::Picked;
use crate::block::{Block, Flags, Shape, View};
use crate::history::{History, Place};
use crate::plan::Source;

/// A history, and the transaction it is read for.
pub(crate) struct Scene<'a> {
    pub(crate) history: &'a History,
    pub(crate) shape: &'a Shape,
    pub(crate) entity: &'a Entity,
    pub(crate) record: &'a Record<'a>,
}

/// A block laid open: its columns found once, for all that is read of it.
pub(crate) struct Opened<'a> {
    pub(crate) block: &'a Block,
    pub(crate) views: Vec<View<'a>>,
    pub(crate) flags: &'a [u8],
}

/// Opens blocks one after another, and keeps the last one open for whoever comes to it next.
pub(crate) struct Opener<'a> {
    scene: &'a Scene<'a>,
    last: Option<(usize, Opened<'a>)>,
}

impl<'a> Opener<'a> {
    pub(crate) const fn new(scene: &'a Scene<'a>) -> Self {
        Self { scene, last: None }
    }

    pub(crate) fn open(&mut self, at: usize) -> &Opened<'a> {
        let scene = self.scene;
        let last = self.last.get_or_insert_with(|| (at, scene.opened(at)));
        if last.0 != at {
            *last = (at, scene.opened(at));
        }
        &last.1
    }

    /// Calls with each wanted block between two places and the rows of it that lie between them, newest block first.
    pub(crate) fn for_each(
        &mut self,
        from: Place,
        to: Place,
        wanted: impl Fn(usize) -> bool,
        mut with: impl FnMut(usize, &Opened<'a>, Range<usize>),
    ) {
        for at in (from.block..=to.block).rev().filter(|at| wanted(*at)) {
            let first = if at == from.block { from.row } else { 0 };
            let end = if at == to.block {
                to.row
            } else {
                self.scene.history.block(at).rows()
            };
            if first < end {
                with(at, self.open(at), first..end);
            }
        }
    }
}

impl<'a> Scene<'a> {
    fn opened(&self, at: usize) -> Opened<'a> {
        let block = self.history.block(at);
        let mut views = Vec::with_capacity(self.shape.columns());
        if block.rows() > 0 {
            views.extend(block.views(self.shape));
        }
        Opened {
            block,
            views,
            flags: block.flags(self.shape),
        }
    }

    /// The rows that pass a filter.
    pub(crate) fn pick(
        &self,
        filter: Option<&Program>,
        opened: &Opened<'_>,
        range: Range<usize>,
    ) -> Picked {
        let Some(filter) = filter else {
            return Picked::Range(range);
        };
        let passes = |row: &u8| {
            filter.is_true(&RowSlots {
                scene: self,
                opened,
                row: usize::from(*row),
            })
        };
        let all = range.filter_map(|row| u8::try_from(row).ok());
        Picked::Some(all.filter(passes).collect())
    }

    /// Whether the transaction itself passes a filter.
    pub(crate) fn own_passes(&self, filter: Option<&Program>) -> bool {
        filter.is_none_or(|filter| filter.is_true(&OwnSlots(self)))
    }

    /// A column of the transaction itself, which knows neither its label nor its result.
    pub(crate) fn own_cell(&self, source: Source) -> Cell {
        match source {
            Source::Fraud => Cell::flag(false),
            Source::Declined => Cell::MISSING,
            Source::Stored(_, column) => {
                let field = self.entity.columns[usize::from(column.0)].field;
                field.map_or(Cell::MISSING, |field| self.record.cell(field))
            }
        }
    }

    /// The label of a row as known when the transaction happened.
    pub(crate) fn is_fraud(&self, opened: &Opened<'_>, row: usize) -> bool {
        let at = self.record.event_time();
        let known = opened.views[Shape::KNOWN_AT].get(row);
        match known.map(|bits| EventTime::from_micros(bits.cast_signed())) {
            Some(known) if known <= at => Flags::FRAUD.any_in(opened.flags[row]),
            Some(_) if Flags::RELABELLED.any_in(opened.flags[row]) => {
                let key = opened.block.key(row);
                self.history
                    .earlier_labels()
                    .is_some_and(|labels| labels.was_fraud(key, at))
            }
            _ => false,
        }
    }
}

impl Opened<'_> {
    pub(crate) fn time(&self, row: usize) -> EventTime {
        EventTime::from_micros(self.views[Shape::TIME].get(row).unwrap_or(0).cast_signed())
    }

    /// Whether a row was declined; missing while that is not known.
    pub(crate) fn declined(&self, row: usize) -> Cell {
        if Flags::IN_FLIGHT.any_in(self.flags[row]) {
            Cell::MISSING
        } else {
            Cell::flag(Flags::DECLINED.any_in(self.flags[row]))
        }
    }
}

/// What a filter reads: the row's columns, and the fields of the transaction being scored.
struct RowSlots<'a> {
    scene: &'a Scene<'a>,
    opened: &'a Opened<'a>,
    row: usize,
}

impl Slots for RowSlots<'_> {
    fn cell(&self, slot: SlotId) -> Cell {
        match column(slot) {
            Some(Entity::FRAUD) => Cell::flag(self.scene.is_fraud(self.opened, self.row)),
            Some(Entity::DECLINED) => self.opened.declined(self.row),
            Some(Entity::EVENT_TIME) => Cell::time(self.opened.time(self.row)),
            Some(ColumnId(listed)) => {
                let at = Shape::listed(usize::from(listed));
                Cell::from_bits(self.opened.views[at].get(self.row))
            }
            None => transaction_cell(self.scene.record, slot),
        }
    }

    fn text(&self, slot: SlotId) -> Option<&str> {
        transaction_text(self.scene.record, slot)
    }
}

/// The same for the transaction itself.
struct OwnSlots<'a>(&'a Scene<'a>);

impl Slots for OwnSlots<'_> {
    fn cell(&self, slot: SlotId) -> Cell {
        match column(slot) {
            Some(Entity::FRAUD) => self.0.own_cell(Source::Fraud),
            Some(Entity::DECLINED) => self.0.own_cell(Source::Declined),
            Some(column) => self.0.own_cell(Source::Stored(Shape::TIME, column)),
            None => transaction_cell(self.0.record, slot),
        }
    }

    fn text(&self, slot: SlotId) -> Option<&str> {
        transaction_text(self.0.record, slot)
    }
}

/// The column that a slot of a filter means; `None` if it means a field of the transaction.
fn column(slot: SlotId) -> Option<ColumnId> {
    let is_field = slot.0 >= Program::FILTER_FIELDS;
    u16::try_from(slot.0)
        .ok()
        .filter(|_| !is_field)
        .map(ColumnId)
}

fn transaction_field(slot: SlotId) -> Option<FieldId> {
    u16::try_from(slot.0.checked_sub(Program::FILTER_FIELDS)?)
        .ok()
        .map(FieldId)
}

fn transaction_cell(record: &Record<'_>, slot: SlotId) -> Cell {
    transaction_field(slot).map_or(Cell::MISSING, |field| record.cell(field))
}

fn transaction_text<'r>(record: &'r Record<'_>, slot: SlotId) -> Option<&'r str> {
    record.text(transaction_field(slot)?)
}
