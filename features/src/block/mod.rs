//! Up to 128 events of one entity, in order of event time, column by column in one allocation.
//!
//! The layout: four bytes of [`Coding`] per column; then, with room for some rows more than there are, the transaction
//! keys, the flags, and each column's codes followed by its dictionary. What the codings hold is decided anew
//! when a value does not fit, so a block is never larger than its values need and never loses a bit of them.

mod coding;
mod view;

use std::ops::Range;

use tollgate_types::{Entity, EventTime, TransactionKey};

use crate::memory;
pub(crate) use coding::Kind;
use coding::{Coding, Form, MISSING_ENTRY, missing_code};
pub(crate) use view::{Rows, Sums, View, wider};

/// Rows of a full block. Few enough that inserting into its middle is cheap and a byte counts them; many enough that
/// its beginning weighs little.
pub(crate) const ROWS_MAX: usize = 128;

/// Rows by which a block grows at least.
const GROWTH_ROWS: usize = 8;

/// Bytes that memory is fetched by.
const CACHE_LINE: usize = 64;

/// A block with at least this many rows is ended rather than given wider times.
const WIDER_TIMES_ROWS: usize = 32;

/// The columns of an entity's blocks, the same for all of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Shape {
    kinds: Box<[Kind]>,
    first_link: usize,
}

impl Shape {
    /// When the event happened.
    pub(crate) const TIME: usize = 0;
    /// When its label became known; missing without a label.
    pub(crate) const KNOWN_AT: usize = 1;
    /// Of the columns that the entity lists.
    const LISTED: usize = 2;

    /// The columns of an entity, and links to so many other histories.
    pub(crate) fn new(entity: &Entity, links: usize) -> Self {
        let listed = entity
            .listed_columns()
            .iter()
            .map(|column| Kind::from(column.kind));
        let own = [Kind::Time, Kind::Time].into_iter().chain(listed);
        let kinds: Box<[Kind]> = own.chain(std::iter::repeat_n(Kind::Link, links)).collect();
        let first_link = kinds.len() - links;
        Self { kinds, first_link }
    }

    /// The place of a column that the entity lists, by its number among all of the entity's columns.
    pub(crate) const fn listed(column: usize) -> usize {
        column - Entity::IMPLIED_COLUMNS + Self::LISTED
    }

    pub(crate) const fn columns(&self) -> usize {
        self.kinds.len()
    }

    pub(crate) const fn links(&self) -> Range<usize> {
        self.first_link..self.kinds.len()
    }

    pub(crate) fn kind(&self, column: usize) -> Kind {
        self.kinds[column]
    }
}

/// What is known of an event in yes or no.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct Flags(u8);

impl Flags {
    /// The authorization was refused.
    pub(crate) const DECLINED: Self = Self(1);
    /// Scored, but its echo has not arrived: whether it was declined is not known yet.
    pub(crate) const IN_FLIGHT: Self = Self(2);
    /// The label that became known last says fraud.
    pub(crate) const FRAUD: Self = Self(4);
    /// There were labels before the last one; they are kept beside the blocks.
    pub(crate) const RELABELLED: Self = Self(8);

    pub(crate) const fn has(self, flag: Self) -> bool {
        self.0 & flag.0 != 0
    }

    /// Whether any of these is set in the byte of a row.
    pub(crate) const fn any_in(self, row: u8) -> bool {
        row & self.0 != 0
    }

    #[must_use]
    pub(crate) const fn with(self, flag: Self, on: bool) -> Self {
        if on {
            Self(self.0 | flag.0)
        } else {
            Self(self.0 & !flag.0)
        }
    }
}

/// One event on its way into a block.
#[derive(Debug, Clone)]
pub(crate) struct Row {
    pub(crate) key: TransactionKey,
    pub(crate) flags: Flags,
    /// A value per column of the shape, times among them.
    pub(crate) values: Vec<Option<u64>>,
}

impl Row {
    pub(crate) fn time(&self) -> EventTime {
        EventTime::from_micros(self.values[Shape::TIME].unwrap_or(0).cast_signed())
    }
}

/// A run of events.
#[derive(Debug, Default)]
pub(crate) struct Block {
    data: Box<[u8]>,
    /// Times are counted from here.
    base: i64,
    rows: u8,
    room: u8,
}

/// Where a column lies.
struct Place {
    codes: Range<usize>,
    dictionary: Range<usize>,
}

impl Block {
    pub(crate) const fn rows(&self) -> usize {
        self.rows as usize
    }

    pub(crate) fn bytes(&self) -> usize {
        memory::handed_out(self.data.len())
    }

    pub(crate) fn key(&self, shape: &Shape, row: usize) -> TransactionKey {
        let keys = self.data[self.keys_at(shape)..].as_chunks().0;
        TransactionKey::from_bits(u64::from_le_bytes(keys[row]))
    }

    /// The row of a transaction, by its key alone.
    pub(crate) fn row_of(&self, shape: &Shape, key: TransactionKey) -> Option<usize> {
        if self.rows == 0 {
            return None;
        }
        let keys = self.data[self.keys_at(shape)..].as_chunks::<8>().0;
        let wanted = key.bits().to_le_bytes();
        keys[..self.rows()].iter().position(|key| *key == wanted)
    }

    pub(crate) fn flags(&self, shape: &Shape) -> &[u8] {
        let at = self.flags_at(shape);
        &self.data[at..at + self.rows()]
    }

    pub(crate) fn flags_of(&self, shape: &Shape, row: usize) -> Flags {
        Flags(self.flags(shape)[row])
    }

    pub(crate) fn set_flags(&mut self, shape: &Shape, row: usize, flags: Flags) {
        let at = self.flags_at(shape) + row;
        self.data[at] = flags.0;
    }

    pub(crate) fn view(&self, shape: &Shape, column: usize) -> View<'_> {
        let (coding, place) = self.place(shape, column);
        View {
            kind: shape.kind(column),
            coding,
            base: self.base,
            codes: &self.data[place.codes],
            dictionary: &self.data[place.dictionary],
        }
    }

    /// Every column, in order: cheaper than one after another.
    pub(crate) fn views<'b>(&'b self, shape: &'b Shape) -> impl Iterator<Item = View<'b>> {
        let mut start = self.flags_at(shape) + usize::from(self.room);
        (0..shape.columns()).map(move |column| {
            let place = self.place_from(start, column);
            start = place.dictionary.end;
            View {
                kind: shape.kind(column),
                coding: self.coding(column),
                base: self.base,
                codes: &self.data[place.codes],
                dictionary: &self.data[place.dictionary],
            }
        })
    }

    pub(crate) fn time(&self, shape: &Shape, row: usize) -> EventTime {
        let bits = self.view(shape, Shape::TIME).get(row);
        EventTime::from_micros(bits.unwrap_or(0).cast_signed())
    }

    /// How many rows are at or before `time`.
    pub(crate) fn up_to(&self, shape: &Shape, time: EventTime) -> usize {
        if self.rows == 0 {
            return 0;
        }
        let times = self.view(shape, Shape::TIME);
        times.up_to(self.rows(), time.micros().saturating_sub(self.base))
    }

    /// Whether a row at `time` is better begun a new block with, because this one's times would grow to eight bytes.
    pub(crate) fn ends_before(&self, shape: &Shape, time: EventTime) -> bool {
        if self.rows() < WIDER_TIMES_ROWS {
            return false;
        }
        let coding = self.coding(Shape::TIME);
        let bits = Some(time.micros().cast_unsigned());
        coding.form == Form::Int4
            && coding
                .code(shape.kind(Shape::TIME), bits, self.base)
                .is_none()
    }

    /// Reads a byte of every cache line, none depending on another, so that the memory of an entity nobody asked for
    /// lately comes in all at once and not line by line as it is needed.
    pub(crate) fn touch(&self) {
        let lines = self.data.iter().step_by(CACHE_LINE);
        std::hint::black_box(lines.fold(0, |all, byte| all | byte));
    }

    pub(crate) fn is_full(&self) -> bool {
        self.rows() >= ROWS_MAX
    }

    /// Inserts a row before the one at `at`. The block must not be full.
    pub(crate) fn insert(&mut self, shape: &Shape, at: usize, row: &Row) {
        debug_assert!(!self.is_full() && at <= self.rows());
        if self.rows == 0 {
            *self = Self::of_rows(shape, std::slice::from_ref(row));
            return;
        }
        if self.rows == self.room {
            self.grow(shape);
        }
        self.shift(shape, at, at + 1);
        self.rows += 1;
        if !self.put(shape, at, row) {
            let mut rows = self.to_rows(shape);
            rows[at] = row.clone();
            *self = Self::of_rows(shape, &rows);
        }
    }

    /// Takes rows out.
    pub(crate) fn remove(&mut self, shape: &Shape, rows: Range<usize>) {
        self.shift(shape, rows.end, rows.start);
        self.rows -= byte(rows.len());
        if self.rows() * 2 < usize::from(self.room) {
            let rows = self.to_rows(shape);
            *self = Self::of_rows(shape, &rows);
        }
    }

    /// Replaces one value.
    pub(crate) fn set(&mut self, shape: &Shape, row: usize, column: usize, value: Option<u64>) {
        if !self.put_value(shape, row, column, value) {
            let mut rows = self.to_rows(shape);
            rows[row].values[column] = value;
            *self = Self::of_rows(shape, &rows);
        }
    }

    /// Moves the rows from `at` on into a block of their own.
    pub(crate) fn split_off(&mut self, shape: &Shape, at: usize) -> Self {
        let rows = self.to_rows(shape);
        *self = Self::of_rows(shape, &rows[..at]);
        Self::of_rows(shape, &rows[at..])
    }

    pub(crate) fn row(&self, shape: &Shape, row: usize) -> Row {
        let columns = 0..shape.columns();
        Row {
            key: self.key(shape, row),
            flags: self.flags_of(shape, row),
            values: columns
                .map(|column| self.view(shape, column).get(row))
                .collect(),
        }
    }

    fn to_rows(&self, shape: &Shape) -> Vec<Row> {
        (0..self.rows()).map(|row| self.row(shape, row)).collect()
    }

    /// Lays rows out in the fewest bytes, with a little room.
    fn of_rows(shape: &Shape, rows: &[Row]) -> Self {
        let mut block = Self {
            base: base(rows),
            rows: byte(rows.len()),
            ..Self::default()
        };
        let mut codings = Vec::with_capacity(shape.columns());
        let mut values = Vec::with_capacity(rows.len());
        for column in 0..shape.columns() {
            values.clear();
            values.extend(rows.iter().map(|row| row.values[column]));
            codings.push(if column == Shape::TIME {
                Coding::of_times(&values, block.base)
            } else {
                Coding::of(
                    shape.kind(column),
                    &values,
                    block.base,
                    rows.len() + GROWTH_ROWS,
                )
            });
        }
        let room = room(shape, &codings, rows.len());
        block.room = byte(room);
        block.data = vec![0; bytes(shape, &codings, room)].into();
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
    fn grow(&mut self, shape: &Shape) {
        let codings: Vec<Coding> = (0..shape.columns())
            .map(|column| self.coding(column))
            .collect();
        let room = room(shape, &codings, self.rows());
        let more = room - usize::from(self.room);
        let mut data = Vec::with_capacity(bytes(shape, &codings, room));
        let keys = self.keys_at(shape);
        data.extend_from_slice(&self.data[..self.flags_at(shape)]);
        data.resize(keys + room * 8, 0);
        data.extend_from_slice(self.flags(shape));
        data.resize(keys + room * 9, 0);
        self.for_each_place(shape, |coding, place| {
            data.extend_from_slice(&self.data[place.codes]);
            data.resize(data.len() + more * coding.form.width(), 0);
            data.extend_from_slice(&self.data[place.dictionary]);
        });
        self.data = data.into_boxed_slice();
        self.room = byte(room);
    }

    /// Moves the rows from `from` on to begin at `to`.
    fn shift(&mut self, shape: &Shape, from: usize, to: usize) {
        if from == self.rows() {
            return;
        }
        let mut columns = vec![(self.keys_at(shape), 8), (self.flags_at(shape), 1)];
        self.for_each_place(shape, |coding, place| {
            columns.push((place.codes.start, coding.form.width()));
        });
        for (start, width) in columns {
            let moved = start + from * width..start + self.rows() * width;
            self.data.copy_within(moved, start + to * width);
        }
    }

    /// Writes a row; false if some value does not fit, and the row is then half written.
    fn put(&mut self, shape: &Shape, at: usize, row: &Row) -> bool {
        let key = self.keys_at(shape) + at * 8;
        self.data[key..key + 8].copy_from_slice(&row.key.bits().to_le_bytes());
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

    fn put_value(&mut self, shape: &Shape, row: usize, column: usize, value: Option<u64>) -> bool {
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
                let bits = value.unwrap_or(coding::MISSING_BITS);
                self.data[at..at + 8].copy_from_slice(&bits.to_le_bytes());
                true
            }
            Form::Int1 | Form::Int2 | Form::Int4 | Form::Int8 => {
                let code = coding.code(shape.kind(column), value, self.base);
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

    fn coding(&self, column: usize) -> Coding {
        Coding::from_bytes(self.data.as_chunks().0[column])
    }

    fn set_coding(&mut self, column: usize, coding: Coding) {
        self.data[column * 4..column * 4 + 4].copy_from_slice(&coding.to_bytes());
    }

    const fn keys_at(&self, shape: &Shape) -> usize {
        4 * shape.columns()
    }

    const fn flags_at(&self, shape: &Shape) -> usize {
        self.keys_at(shape) + self.room as usize * 8
    }

    fn place(&self, shape: &Shape, column: usize) -> (Coding, Place) {
        let mut start = self.flags_at(shape) + usize::from(self.room);
        for before in 0..column {
            start = self.place_from(start, before).dictionary.end;
        }
        (self.coding(column), self.place_from(start, column))
    }

    fn place_from(&self, start: usize, column: usize) -> Place {
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
    4 * shape.columns() + dictionaries + room * row_bytes(codings)
}

/// Key, flags and codes of one row.
fn row_bytes(codings: &[Coding]) -> usize {
    9 + codings
        .iter()
        .map(|coding| coding.form.width())
        .sum::<usize>()
}

/// Room for a few rows more than there are, and for as many as fit into what an allocator hands out anyway.
fn room(shape: &Shape, codings: &[Coding], rows: usize) -> usize {
    let least = (rows + GROWTH_ROWS).min(ROWS_MAX);
    let handed_out = memory::handed_out(bytes(shape, codings, least));
    let spare = (handed_out - bytes(shape, codings, least)) / row_bytes(codings);
    (least + spare).min(ROWS_MAX)
}

/// Counts of rows are at most [`ROWS_MAX`].
fn byte(count: usize) -> u8 {
    u8::try_from(count).unwrap_or(u8::MAX)
}
