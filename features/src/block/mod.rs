//! Up to 128 events of one entity, in order of event time, column by column in one allocation.
//!
//! The layout: the base that times are counted from; four bytes of [`Coding`] per column; then, with room for some rows
//! more than there are, the flags, each column's codes followed by its dictionary, and the transaction keys, which
//! reading hardly needs and so come last. What the codings hold is decided anew when a value does not fit,
//! so a block is never larger than its values need and never loses a bit of them.

mod codes;
mod coding;
mod draft;
mod image;
mod layout;
mod view;

use std::hint::black_box;
use std::ops::{Range, RangeInclusive};

use tollgate_types::{Entity, EventTime, TransactionKey};

use coding::Form;
pub(crate) use coding::Kind;
use draft::{Change, Draft};
use layout::byte;
pub(crate) use view::{Rows, Sums, View, wider};

/// Rows of a full block. Few enough that inserting into its middle is cheap and a byte counts them; many enough that
/// its beginning weighs little.
pub(crate) const ROWS_MAX: usize = 128;

/// Rows by which a block grows at least: a fourth of what it has, between these. Most entities have few events, and
/// room for many more would take more than the events.
const GROWTH_ROWS: RangeInclusive<usize> = 2..=8;

/// Bytes that memory is fetched by.
const CACHE_LINE: usize = 64;

/// As many lines are fetched ahead of a row: those of a block of a dozen rows.
const LINES_AHEAD: usize = 8;

/// Most links are numbers of this many bytes.
const LINK_BYTES: usize = 4;

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

    pub(crate) const fn bits(self) -> u8 {
        self.0
    }

    pub(crate) const fn from_bits(bits: u8) -> Self {
        Self(bits)
    }

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
    pub(crate) const fn new(key: TransactionKey, flags: Flags) -> Self {
        Self {
            key,
            flags,
            values: Vec::new(),
        }
    }

    pub(crate) fn time(&self) -> EventTime {
        EventTime::from_micros(self.values[Shape::TIME].unwrap_or(0).cast_signed())
    }
}

/// A run of events.
#[derive(Debug, Default)]
pub(crate) struct Block {
    data: Box<[u8]>,
    rows: u8,
    room: u8,
}

impl Block {
    pub(crate) const fn rows(&self) -> usize {
        self.rows as usize
    }

    pub(crate) fn bytes(&self) -> usize {
        crate::memory::handed_out(self.data.len())
    }

    /// Moves into memory anew.
    pub(crate) fn repack(&mut self) {
        self.data = self.data.clone();
    }

    pub(crate) fn key(&self, row: usize) -> TransactionKey {
        let keys = self.data[self.keys_at()..].as_chunks().0;
        TransactionKey::from_bits(u64::from_le_bytes(keys[row]))
    }

    /// The row of a transaction, by its key alone.
    pub(crate) fn row_of(&self, key: TransactionKey) -> Option<usize> {
        let keys = self.data[self.keys_at()..].as_chunks::<8>().0;
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
            base: self.base(),
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
                base: self.base(),
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
        self.up_to_within(shape, time, self.rows())
    }

    /// The same of the first rows only.
    pub(crate) fn up_to_within(&self, shape: &Shape, time: EventTime, rows: usize) -> usize {
        if rows == 0 {
            return 0;
        }
        let times = self.view(shape, Shape::TIME);
        times.up_to(rows, time.micros().saturating_sub(times.base))
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
                .code(shape.kind(Shape::TIME), bits, self.base())
                .is_none()
    }

    /// Reads a byte of every cache line that has what aggregates look at, and of the last row's key, none depending on
    /// another, so that the memory of an entity nobody asked for lately comes in all at once and not line by line as
    /// it is needed.
    pub(crate) fn touch(&self, shape: &Shape) {
        let keys = self.keys_at();
        // What links take at most: reading does not follow them.
        let links = shape.links().len() * LINK_BYTES * usize::from(self.room);
        let lines = self.data[..keys.saturating_sub(links)].iter();
        let all = lines.step_by(CACHE_LINE).fold(0, |all, byte| all | byte);
        let newest = self.data.get(keys + self.rows().saturating_sub(1) * 8);
        black_box((all, newest.copied()));
    }

    /// Reads a byte of each of the first cache lines, so that they are in the cache when a row is inserted; what they say
    /// means nothing. Small blocks are read whole, since most rows make them grow or be laid out anew.
    pub(crate) fn peek(&self) -> u8 {
        let lines = self.data.iter().step_by(CACHE_LINE).take(LINES_AHEAD);
        lines.fold(0, |all, byte| all ^ byte)
    }

    pub(crate) fn is_full(&self) -> bool {
        self.rows() >= ROWS_MAX
    }

    /// Inserts a row before the one at `at`. The block must not be full.
    pub(crate) fn insert(&mut self, shape: &Shape, at: usize, row: &Row) {
        debug_assert!(!self.is_full() && at <= self.rows());
        if self.rows == 0 || !self.takes(shape, row) {
            self.lay_out(shape, 0..self.rows(), Change::Insert(at, row));
            return;
        }
        if self.rows == self.room {
            self.grow(shape);
        }
        self.shift(shape, at, at + 1);
        self.rows += 1;
        self.put(shape, at, row);
    }

    /// Takes rows out.
    pub(crate) fn remove(&mut self, shape: &Shape, rows: Range<usize>) {
        self.shift(shape, rows.end, rows.start);
        self.rows -= byte(rows.len());
        if self.rows() * 2 < usize::from(self.room) {
            self.lay_out(shape, 0..self.rows(), Change::None);
        }
    }

    /// Replaces one value.
    pub(crate) fn set(&mut self, shape: &Shape, row: usize, column: usize, value: Option<u64>) {
        if !self.put_value(shape, row, column, value) {
            self.lay_out(shape, 0..self.rows(), Change::Set(row, column, value));
        }
    }

    /// Moves the rows from `at` on into a block of their own.
    pub(crate) fn split_off(&mut self, shape: &Shape, at: usize) -> Self {
        let newer = Draft {
            of: self,
            rows: at..self.rows(),
            change: Change::None,
        };
        let newer = newer.lay_out(shape);
        self.lay_out(shape, 0..at, Change::None);
        newer
    }

    /// Lays these rows of it out anew, changed.
    fn lay_out(&mut self, shape: &Shape, rows: Range<usize>, change: Change<'_>) {
        let of = &*self;
        *self = Draft { of, rows, change }.lay_out(shape);
    }

    pub(crate) fn row(&self, shape: &Shape, row: usize) -> Row {
        let columns = 0..shape.columns();
        Row {
            key: self.key(row),
            flags: self.flags_of(shape, row),
            values: columns
                .map(|column| self.view(shape, column).get(row))
                .collect(),
        }
    }
}
