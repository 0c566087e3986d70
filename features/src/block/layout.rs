//! How a block lies in its one allocation: laid out anew when a value does not fit, grown when rows run out of room.

use std::ops::Range;

use super::coding::{Coding, Form, MISSING_BITS, MISSING_ENTRY, missing_code};
use super::{Block, GROWTH_ROWS, ROWS_MAX, Row, Shape};
use crate::memory;

pub(super) const BASE_BYTES: usize = 8;
pub(super) const CODING_BYTES: usize = 4;
pub(super) const KEY_BYTES: usize = 8;

/// Where a column lies.
pub(super) struct Place {
    pub(super) codes: Range<usize>,
    pub(super) dictionary: Range<usize>,
}

impl Block {
    /// Makes room for more rows, leaving every coding as it is.
    pub(super) fn grow(&mut self, shape: &Shape) {
        let codings = (0..shape.columns()).map(|column| self.coding(column));
        let size = Size::of(shape, codings);
        let room = size.room(self.rows());
        let more = room - usize::from(self.room);
        let mut data = Vec::with_capacity(size.bytes(room));
        data.extend_from_slice(&self.data[..self.flags_at(shape)]);
        data.extend_from_slice(self.flags(shape));
        data.resize(self.flags_at(shape) + room, 0);
        self.for_each_place(shape, |coding, place| {
            data.extend_from_slice(&self.data[place.codes]);
            data.resize(data.len() + more * coding.form.width(), 0);
            data.extend_from_slice(&self.data[place.dictionary]);
        });
        data.extend_from_slice(&self.data[self.keys_at()..]);
        data.resize(data.len() + more * KEY_BYTES, 0);
        self.data = data.into_boxed_slice();
        self.room = byte(room);
    }

    /// Moves the rows from `from` on to begin at `to`.
    pub(super) fn shift(&mut self, shape: &Shape, from: usize, to: usize) {
        if from == self.rows() {
            return;
        }
        let mut columns = vec![(self.keys_at(), KEY_BYTES), (self.flags_at(shape), 1)];
        self.for_each_place(shape, |coding, place| {
            columns.push((place.codes.start, coding.form.width()));
        });
        for (start, width) in columns {
            let moved = start + from * width..start + self.rows() * width;
            self.data.copy_within(moved, start + to * width);
        }
    }

    /// Whether a row can be written without laying everything out anew.
    pub(super) fn takes(&self, shape: &Shape, row: &Row) -> bool {
        let mut start = self.flags_at(shape) + usize::from(self.room);
        row.values.iter().enumerate().all(|(column, value)| {
            let place = self.place_from(start, column);
            start = place.dictionary.end;
            self.takes_value(shape, column, *value, &place)
        })
    }

    fn takes_value(&self, shape: &Shape, column: usize, value: Option<u64>, place: &Place) -> bool {
        let coding = self.coding(column);
        match (coding.form, value) {
            (Form::Missing, value) => value.is_none(),
            (Form::Constant, None) => false,
            (Form::Constant, Some(bits)) => self.entry_of(coding, place, bits).is_some(),
            (Form::Dictionary, Some(bits)) => {
                coding.entries < coding.entries_max || self.entry_of(coding, place, bits).is_some()
            }
            (Form::Dictionary, None) | (Form::Raw, _) => true,
            (Form::Int1 | Form::Int2 | Form::Int4 | Form::Int8, value) => coding
                .code(shape.kind(column), value, self.base())
                .is_some(),
        }
    }

    /// Writes a row that the block takes.
    pub(super) fn put(&mut self, shape: &Shape, at: usize, row: &Row) {
        let key = self.keys_at() + at * KEY_BYTES;
        self.data[key..key + KEY_BYTES].copy_from_slice(&row.key.bits().to_le_bytes());
        let flags = self.flags_at(shape) + at;
        self.data[flags] = row.flags.0;
        let mut start = self.flags_at(shape) + usize::from(self.room);
        for (column, value) in row.values.iter().enumerate() {
            let place = self.place_from(start, column);
            start = place.dictionary.end;
            let fits = self.put_at(shape, at, column, *value, &place);
            debug_assert!(fits, "a row is written only where it fits");
        }
    }

    pub(super) fn put_value(
        &mut self,
        shape: &Shape,
        row: usize,
        column: usize,
        value: Option<u64>,
    ) -> bool {
        let (_, place) = self.place(shape, column);
        self.put_at(shape, row, column, value, &place)
    }

    /// Writes one value; false if it does not fit.
    pub(super) fn put_at(
        &mut self,
        shape: &Shape,
        row: usize,
        column: usize,
        value: Option<u64>,
        place: &Place,
    ) -> bool {
        let coding = self.coding(column);
        let at = place.codes.start + row * coding.form.width();
        match coding.form {
            Form::Missing => value.is_none(),
            Form::Constant => {
                value.is_some_and(|bits| self.entry_of(coding, place, bits).is_some())
            }
            Form::Dictionary => {
                let entry = match value {
                    None => Some(MISSING_ENTRY),
                    Some(bits) => self
                        .entry_of(coding, place, bits)
                        .or_else(|| self.add_entry(column, &place.dictionary, bits)),
                };
                self.data[at] = entry.unwrap_or(MISSING_ENTRY);
                entry.is_some()
            }
            Form::Raw => {
                let bits = value.unwrap_or(MISSING_BITS);
                self.data[at..at + 8].copy_from_slice(&bits.to_le_bytes());
                true
            }
            Form::Int1 | Form::Int2 | Form::Int4 | Form::Int8 => {
                let code = coding.code(shape.kind(column), value, self.base());
                let width = coding.form.width();
                let bytes = code.unwrap_or(missing_code(coding.form)).to_le_bytes();
                self.data[at..at + width].copy_from_slice(&bytes[..width]);
                code.is_some()
            }
        }
    }

    fn entry_of(&self, coding: Coding, place: &Place, bits: u64) -> Option<u8> {
        let entries = self.data[place.dictionary.clone()].as_chunks::<8>().0;
        let wanted = bits.to_le_bytes();
        let at = entries[..usize::from(coding.entries)]
            .iter()
            .position(|entry| *entry == wanted)?;
        u8::try_from(at).ok()
    }

    /// A new entry of a dictionary; `None` if it has no room.
    pub(super) fn add_entry(
        &mut self,
        column: usize,
        dictionary: &Range<usize>,
        bits: u64,
    ) -> Option<u8> {
        let coding = self.coding(column);
        if coding.entries >= coding.entries_max {
            return None;
        }
        let at = dictionary.start + usize::from(coding.entries) * 8;
        self.data[at..at + 8].copy_from_slice(&bits.to_le_bytes());
        let entries = coding.entries + 1;
        self.set_coding(column, Coding { entries, ..coding });
        Some(coding.entries)
    }

    pub(super) fn coding(&self, column: usize) -> Coding {
        Coding::from_bytes(self.data[BASE_BYTES..].as_chunks().0[column])
    }

    pub(super) fn set_coding(&mut self, column: usize, coding: Coding) {
        let at = BASE_BYTES + column * CODING_BYTES;
        self.data[at..at + CODING_BYTES].copy_from_slice(&coding.to_bytes());
    }

    /// What times are counted from.
    pub(super) fn base(&self) -> i64 {
        let bytes = self.data.first_chunk::<BASE_BYTES>();
        bytes.map_or(0, |bytes| i64::from_le_bytes(*bytes))
    }

    pub(super) const fn flags_at(&self, shape: &Shape) -> usize {
        BASE_BYTES + CODING_BYTES * shape.columns()
    }

    pub(super) const fn keys_at(&self) -> usize {
        self.data.len() - self.room as usize * KEY_BYTES
    }

    pub(super) fn place(&self, shape: &Shape, column: usize) -> (Coding, Place) {
        let mut start = self.flags_at(shape) + usize::from(self.room);
        for before in 0..column {
            start = self.place_from(start, before).dictionary.end;
        }
        (self.coding(column), self.place_from(start, column))
    }

    pub(super) fn place_from(&self, start: usize, column: usize) -> Place {
        let coding = self.coding(column);
        let codes = start..start + usize::from(self.room) * coding.form.width();
        let dictionary = codes.end..codes.end + coding.dictionary_bytes();
        Place { codes, dictionary }
    }

    fn for_each_place(&self, shape: &Shape, mut with: impl FnMut(Coding, Place)) {
        let mut start = self.flags_at(shape) + usize::from(self.room);
        for column in 0..shape.columns() {
            let place = self.place_from(start, column);
            start = place.dictionary.end;
            with(self.coding(column), place);
        }
    }
}

/// What a block takes: the bytes of its head and its dictionaries, and those of each row that it has room for.
#[derive(Clone, Copy)]
pub(super) struct Size {
    fixed: usize,
    row: usize,
}

impl Size {
    pub(super) fn of(shape: &Shape, codings: impl Iterator<Item = Coding>) -> Self {
        let none = Self {
            fixed: BASE_BYTES + CODING_BYTES * shape.columns(),
            // Key and flags.
            row: KEY_BYTES + 1,
        };
        codings.fold(none, |size, coding| Self {
            fixed: size.fixed + coding.dictionary_bytes(),
            row: size.row + coding.form.width(),
        })
    }

    pub(super) const fn bytes(self, room: usize) -> usize {
        self.fixed + room * self.row
    }

    /// Room for a few rows more than there are, and for as many as fit into what an allocator hands out anyway.
    pub(super) fn room(self, rows: usize) -> usize {
        let least = grown(rows).min(ROWS_MAX);
        let spare = memory::handed_out(self.bytes(least)) - self.bytes(least);
        (least + spare / self.row).min(ROWS_MAX)
    }
}

/// A few rows more.
pub(super) fn grown(rows: usize) -> usize {
    rows + (rows / 4).clamp(*GROWTH_ROWS.start(), *GROWTH_ROWS.end())
}

/// Counts of rows are at most [`ROWS_MAX`].
pub(super) fn byte(count: usize) -> u8 {
    u8::try_from(count).unwrap_or(u8::MAX)
}
