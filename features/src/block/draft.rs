//! Laying a block out anew: the rows of another with one change to them, in the fewest bytes and with a little room.
//!
//! Small blocks are laid out often, when a value is larger than those before or another text, so all values are read once, into
//! one list, and nothing is allocated for each row.

use std::ops::Range;

use super::coding::{Coding, Form};
use super::layout::{BASE_BYTES, KEY_BYTES, Size, byte, grown};
use super::{Block, Row, Shape};

/// What a block is to have.
pub(super) struct Draft<'d> {
    pub(super) of: &'d Block,
    /// The rows of that block.
    pub(super) rows: Range<usize>,
    pub(super) change: Change<'d>,
}

#[derive(Clone, Copy)]
pub(super) enum Change<'d> {
    None,
    /// A row more, before the one at this place.
    Insert(usize, &'d Row),
    /// Another value in this row and column.
    Set(usize, usize, Option<u64>),
}

impl Draft<'_> {
    pub(super) fn lay_out(&self, shape: &Shape) -> Block {
        let rows = self.len();
        let all = self.values(shape);
        let values = |column: usize| &all[column * rows..(column + 1) * rows];
        let base = base_of(values(Shape::TIME));
        let coding = |column| match column {
            Shape::TIME => Coding::of_times(values(column), base),
            _ => Coding::of(shape.kind(column), values(column), base, grown(rows)),
        };
        let codings: Vec<Coding> = (0..shape.columns()).map(coding).collect();
        let size = Size::of(shape, codings.iter().copied());
        let room = size.room(rows);
        let mut block = Block {
            data: vec![0; size.bytes(room)].into(),
            rows: byte(rows),
            room: byte(room),
        };
        block.data[..BASE_BYTES].copy_from_slice(&base.to_le_bytes());
        self.put_keys_and_flags(shape, &mut block);
        let mut start = block.flags_at(shape) + room;
        for (column, coding) in codings.into_iter().enumerate() {
            let none = Coding {
                entries: 0,
                ..coding
            };
            block.set_coding(column, none);
            start = block.put_column(shape, start, column, values(column));
        }
        block
    }

    fn len(&self) -> usize {
        self.rows.len() + usize::from(matches!(self.change, Change::Insert(..)))
    }

    /// The values, column by column.
    fn values(&self, shape: &Shape) -> Vec<Option<u64>> {
        let mut values = Vec::with_capacity(self.len() * shape.columns());
        // A block that never had a row has no columns to look at.
        let mut views = (!self.rows.is_empty()).then(|| self.of.views(shape));
        for column in 0..shape.columns() {
            let start = values.len();
            if let Some(view) = views.as_mut().and_then(Iterator::next) {
                values.extend(self.rows.clone().map(|row| view.get(row)));
            }
            match self.change {
                Change::Insert(at, row) => values.insert(start + at, row.values[column]),
                Change::Set(row, of, value) if of == column => values[start + row] = value,
                _ => {}
            }
        }
        values
    }

    fn put_keys_and_flags(&self, shape: &Shape, block: &mut Block) {
        let (flags_at, keys_at) = (block.flags_at(shape), block.keys_at());
        let mut put = |at: usize, flags: u8, key: &[u8]| {
            block.data[flags_at + at] = flags;
            let key_at = keys_at + at * KEY_BYTES;
            block.data[key_at..key_at + KEY_BYTES].copy_from_slice(key);
        };
        let inserted = match self.change {
            Change::Insert(at, row) => Some((at, row)),
            _ => None,
        };
        let (of, first) = (self.of, self.rows.start);
        for row in self.rows.clone() {
            let behind = inserted.is_some_and(|(at, _)| row - first >= at);
            let key = of.key(row).bits().to_le_bytes();
            put(
                row - first + usize::from(behind),
                of.flags(shape)[row],
                &key,
            );
        }
        if let Some((at, row)) = inserted {
            put(at, row.flags.0, &row.key.bits().to_le_bytes());
        }
    }
}

impl Block {
    /// Writes the values of a column, of which none has been written, and returns where the next column begins.
    fn put_column(
        &mut self,
        shape: &Shape,
        start: usize,
        column: usize,
        values: &[Option<u64>],
    ) -> usize {
        let place = self.place_from(start, column);
        if let (Form::Constant, Some(Some(value))) = (self.coding(column).form, values.first()) {
            self.add_entry(column, &place.dictionary, *value);
        }
        for (row, value) in values.iter().enumerate() {
            let fits = self.put_at(shape, row, column, *value, &place);
            debug_assert!(fits, "a coding holds what it was chosen for");
        }
        place.dictionary.end
    }
}

/// A base from which four bytes reach from a little before the first of these times far beyond it: forty days of
/// milliseconds.
fn base_of(times: &[Option<u64>]) -> i64 {
    let micros = |time: &Option<u64>| time.unwrap_or(0).cast_signed();
    let first = times.first().map_or(0, micros);
    let whole = |unit: i64| times.iter().all(|time| micros(time) % unit == 0);
    let unit = if whole(1_000_000) {
        1_000_000
    } else if whole(1_000) {
        1_000
    } else {
        1
    };
    // One in sixteen of what four bytes hold is left for rows that come late.
    first.saturating_add((i64::from(i32::MAX) - (1 << 28)) * unit)
}
