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
    /// Lays rows out in the fewest bytes, with a little room.
    pub(super) fn of_rows(shape: &Shape, rows: &[Row]) -> Self {
        let base = base(rows);
        let mut codings = Vec::with_capacity(shape.columns());
        let mut values = Vec::with_capacity(rows.len());
        for column in 0..shape.columns() {
            values.clear();
            values.extend(rows.iter().map(|row| row.values[column]));
            codings.push(if column == Shape::TIME {
                Coding::of_times(&values, base)
            } else {
                Coding::of(shape.kind(column), &values, base, grown(rows.len()))
            });
        }
        let room = room(shape, &codings, rows.len());
        let mut block = Self {
            data: vec![0; bytes(shape, &codings, room)].into(),
            rows: byte(rows.len()),
            room: byte(room),
        };
        block.data[..BASE_BYTES].copy_from_slice(&base.to_le_bytes());
        for (column, coding) in codings.into_iter().enumerate() {
            let first = rows.first().and_then(|row| row.values[column]);
            block.set_coding(
                column,
                Coding {
                    entries: 0,
                    ..coding
                },
            );
            if coding.form == Form::Constant {
                block.add_entry(shape, column, first.unwrap_or(0));
            }
        }
        for (at, row) in rows.iter().enumerate() {
            let fits = block.put(shape, at, row);
            debug_assert!(fits, "a coding holds what it was chosen for");
        }
        block
    }

    /// Makes room for more rows, leaving every coding as it is.
    pub(super) fn grow(&mut self, shape: &Shape) {
        let codings: Vec<Coding> = (0..shape.columns())
            .map(|column| self.coding(column))
            .collect();
        let room = room(shape, &codings, self.rows());
        let more = room - usize::from(self.room);
        let mut data = Vec::with_capacity(bytes(shape, &codings, room));
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

    /// Writes a row; false if some value does not fit, and the row is then half written.
    pub(super) fn put(&mut self, shape: &Shape, at: usize, row: &Row) -> bool {
        let key = self.keys_at() + at * KEY_BYTES;
        self.data[key..key + KEY_BYTES].copy_from_slice(&row.key.bits().to_le_bytes());
        let flags = self.flags_at(shape) + at;
        self.data[flags] = row.flags.0;
        let mut start = self.flags_at(shape) + usize::from(self.room);
        let mut fits = true;
        for (column, value) in row.values.iter().enumerate() {
            let place = self.place_from(start, column);
            start = place.dictionary.end;
            fits &= self.put_at(shape, at, column, *value, place);
        }
        fits
    }

    pub(super) fn put_value(
        &mut self,
        shape: &Shape,
        row: usize,
        column: usize,
        value: Option<u64>,
    ) -> bool {
        let (_, place) = self.place(shape, column);
        self.put_at(shape, row, column, value, place)
    }

    fn put_at(
        &mut self,
        shape: &Shape,
        row: usize,
        column: usize,
        value: Option<u64>,
        place: Place,
    ) -> bool {
        let coding = self.coding(column);
        let at = place.codes.start + row * coding.form.width();
        match coding.form {
            Form::Missing => value.is_none(),
            Form::Constant => value.is_some() && value == self.view(shape, column).entry(0),
            Form::Dictionary => {
                let entry = match value {
                    None => Some(MISSING_ENTRY),
                    Some(bits) => self
                        .entry_of(coding, place.dictionary, bits)
                        .or_else(|| self.add_entry(shape, column, bits)),
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

    fn entry_of(&self, coding: Coding, dictionary: Range<usize>, bits: u64) -> Option<u8> {
        let entries = self.data[dictionary].as_chunks::<8>().0;
        let wanted = bits.to_le_bytes();
        let at = entries[..usize::from(coding.entries)]
            .iter()
            .position(|entry| *entry == wanted)?;
        u8::try_from(at).ok()
    }

    /// A new entry of a dictionary; `None` if it has no room.
    fn add_entry(&mut self, shape: &Shape, column: usize, bits: u64) -> Option<u8> {
        let (coding, place) = self.place(shape, column);
        if coding.entries >= coding.entries_max {
            return None;
        }
        let at = place.dictionary.start + usize::from(coding.entries) * 8;
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

/// A base from which four bytes reach from a little before the first row far beyond it: forty days of milliseconds.
fn base(rows: &[Row]) -> i64 {
    let first = rows.first().map_or(0, |row| row.time().micros());
    let whole = |unit: i64| rows.iter().all(|row| row.time().micros() % unit == 0);
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

/// Bytes of a block with room for so many rows.
fn bytes(shape: &Shape, codings: &[Coding], room: usize) -> usize {
    let dictionaries: usize = codings.iter().map(|coding| coding.dictionary_bytes()).sum();
    BASE_BYTES + CODING_BYTES * shape.columns() + dictionaries + room * row_bytes(codings)
}

/// Key, flags and codes of one row.
fn row_bytes(codings: &[Coding]) -> usize {
    KEY_BYTES
        + 1
        + codings
            .iter()
            .map(|coding| coding.form.width())
            .sum::<usize>()
}

/// A few rows more.
fn grown(rows: usize) -> usize {
    rows + (rows / 4).clamp(*GROWTH_ROWS.start(), *GROWTH_ROWS.end())
}

/// Room for a few rows more than there are, and for as many as fit into what an allocator hands out anyway.
fn room(shape: &Shape, codings: &[Coding], rows: usize) -> usize {
    let least = grown(rows).min(ROWS_MAX);
    let handed_out = memory::handed_out(bytes(shape, codings, least));
    let spare = (handed_out - bytes(shape, codings, least)) / row_bytes(codings);
    (least + spare).min(ROWS_MAX)
}

/// Counts of rows are at most [`ROWS_MAX`].
pub(super) fn byte(count: usize) -> u8 {
    u8::try_from(count).unwrap_or(u8::MAX)
}
