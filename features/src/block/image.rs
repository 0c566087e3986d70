//! A block as bytes of an image of the store, and back: copied as it lies, and looked at before it is trusted.

use super::coding::{Form, Kind, missing_code};
use super::layout::{BASE_BYTES, CODING_BYTES, KEY_BYTES};
use super::{Block, Flags, ROWS_MAX, Shape};
use crate::bytes::{Malformed, Put, Take};
use crate::decimal;
use crate::store::{TIME_MAX, TIME_MIN};

/// Powers of ten that a coding may have.
const EXPONENTS: [u8; 4] = [0, 3, 4, 6];

/// Every flag that there is.
const FLAGS_ALL: u8 = 15;

impl Block {
    pub(crate) fn write(&self, into: &mut Vec<u8>) {
        // An empty block that has room is as good as one that has none.
        let (room, data) = if self.rows == 0 {
            (0, &[][..])
        } else {
            (self.room, &*self.data)
        };
        into.put_u8(self.rows);
        into.put_u8(room);
        into.put_list(data.len());
        into.extend_from_slice(data);
    }

    /// A block that [`Block::write`] wrote, or why it cannot be one.
    pub(crate) fn read(shape: &Shape, from: &mut Take<'_>) -> Result<Self, Malformed> {
        let (rows, room) = (from.u8()?, from.u8()?);
        let length = from.list(1)?;
        let data: Box<[u8]> = from.bytes(length)?.into();
        let block = Self { data, rows, room };
        if rows == 0 {
            let is_empty = room == 0 && length == 0;
            return is_empty.then_some(block).ok_or(Malformed("empty block"));
        }
        if rows > room || usize::from(room) > ROWS_MAX {
            return Err(Malformed("rows of a block"));
        }
        block.check_layout(shape)?;
        block.check_times(shape)?;
        block.check_numbers(shape)?;
        Ok(block)
    }

    /// Whether the codings are ones, and the columns that they tell of fill the block exactly.
    fn check_layout(&self, shape: &Shape) -> Result<(), Malformed> {
        let room = usize::from(self.room);
        let head = BASE_BYTES + CODING_BYTES * shape.columns();
        if self.data.len() < head + room * (KEY_BYTES + 1) {
            return Err(Malformed("length of a block"));
        }
        let mut length = head + room * (KEY_BYTES + 1);
        for column in 0..shape.columns() {
            let coding = self.coding(column);
            let form = self.data[BASE_BYTES + column * CODING_BYTES];
            let is_one = usize::from(form) < Form::ALL.len()
                && EXPONENTS.contains(&coding.exponent)
                && coding.entries <= coding.entries_max
                && (coding.form != Form::Constant || coding.entries == 1)
                && (coding.form != Form::Dictionary
                    || matches!(shape.kind(column), Kind::Text | Kind::Link));
            if !is_one {
                return Err(Malformed("coding of a column"));
            }
            length += room * coding.form.width() + coding.dictionary_bytes();
        }
        if length != self.data.len() {
            return Err(Malformed("length of a block"));
        }
        let flags = self.flags(shape).iter();
        if flags.into_iter().any(|flags| flags & !FLAGS_ALL != 0) {
            return Err(Malformed("flags of a row"));
        }
        Ok(())
    }

    /// Whether every row has a time, none before that of the row in front of it.
    fn check_times(&self, shape: &Shape) -> Result<(), Malformed> {
        let times = self.view(shape, Shape::TIME);
        if !matches!(times.coding.form, Form::Int4 | Form::Int8) {
            return Err(Malformed("coding of the times"));
        }
        let mut before = (i64::MIN, TIME_MIN);
        for row in 0..self.rows() {
            let code = times.code(row).unwrap_or(i64::MIN);
            let time = self.time(shape, row);
            let is_there = code != missing_code(times.coding.form)
                && code.checked_mul(times.coding.unit()).is_some()
                && (TIME_MIN..TIME_MAX).contains(&time);
            if !is_there || (code, time) < before || time < before.1 {
                return Err(Malformed("time of a row"));
            }
            before = (code, time);
        }
        Ok(())
    }

    /// Whether numbers in eight bytes are such that they can be added up.
    fn check_numbers(&self, shape: &Shape) -> Result<(), Malformed> {
        let numbers = (0..shape.columns()).filter(|column| shape.kind(*column) == Kind::Number);
        for view in numbers.map(|column| self.view(shape, column)) {
            if view.coding.form != Form::Int8 {
                continue;
            }
            for code in (0..self.rows()).filter_map(|row| view.code(row)) {
                let whole = code.checked_mul(view.coding.unit());
                let fits = whole.is_some_and(|whole| whole.unsigned_abs() <= decimal::WHOLE_MAX);
                if code != missing_code(Form::Int8) && !fits {
                    return Err(Malformed("number of a row"));
                }
            }
        }
        Ok(())
    }

    /// Whether some row is in flight.
    pub(crate) fn has_in_flight(&self, shape: &Shape) -> bool {
        let in_flight = |row: &u8| Flags::IN_FLIGHT.any_in(*row);
        self.rows > 0 && self.flags(shape).iter().any(in_flight)
    }
}
