//! Reading one column of a block: a row's value, or a fold over many rows in one loop per form.

use std::ops::Range;

use super::codes;
use super::coding::{Coding, Form, Kind, MISSING_BITS, missing_code};
use crate::decimal;

/// Rows of a block: all in a range, or those picked by a filter, in order.
#[derive(Clone)]
pub(crate) enum Rows<'r> {
    Range(Range<usize>),
    Picked(&'r [u8]),
}

impl Rows<'_> {
    pub(crate) fn len(&self) -> usize {
        match self {
            Self::Range(range) => range.len(),
            Self::Picked(rows) => rows.len(),
        }
    }

    pub(crate) fn first(&self) -> Option<usize> {
        match self {
            Self::Range(range) => (!range.is_empty()).then_some(range.start),
            Self::Picked(rows) => rows.first().map(|row| usize::from(*row)),
        }
    }

    pub(crate) fn last(&self) -> Option<usize> {
        match self {
            Self::Range(range) => range.end.checked_sub(1).filter(|last| range.start <= *last),
            Self::Picked(rows) => rows.last().map(|row| usize::from(*row)),
        }
    }

    /// Newest first.
    pub(crate) fn backwards(&self) -> impl Iterator<Item = usize> {
        let (range, picked) = match self {
            Self::Range(range) => (range.clone(), &[][..]),
            Self::Picked(rows) => (0..0, *rows),
        };
        range
            .rev()
            .chain(picked.iter().rev().map(|row| usize::from(*row)))
    }
}

/// One column of a block.
#[derive(Clone, Copy)]
pub(crate) struct View<'b> {
    pub(crate) kind: Kind,
    pub(crate) coding: Coding,
    pub(crate) base: i64,
    pub(crate) codes: &'b [u8],
    pub(crate) dictionary: &'b [u8],
}

/// What adding numbers up gives. Sums of disjoint runs of rows can be added and taken from one another exactly.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Sums {
    /// Values that are there.
    pub(crate) count: usize,
    /// In millionths.
    pub(crate) sum: i128,
    /// In millionths of millionths; only where asked for. Wraps beyond 2¹²⁷, which takes two million numbers as
    /// large as can be.
    pub(crate) squares: i128,
    /// Values that are no whole count of millionths and so are not in the sums.
    pub(crate) inexact: usize,
}

impl Sums {
    pub(crate) const ZERO: Self = Self {
        count: 0,
        sum: 0,
        squares: 0,
        inexact: 0,
    };

    #[must_use]
    pub(crate) const fn plus(self, other: Self) -> Self {
        Self {
            count: self.count + other.count,
            sum: self.sum.wrapping_add(other.sum),
            squares: self.squares.wrapping_add(other.squares),
            inexact: self.inexact + other.inexact,
        }
    }

    /// These less those of some of their rows.
    #[must_use]
    pub(crate) const fn minus(self, part: Self) -> Self {
        Self {
            count: self.count - part.count,
            sum: self.sum.wrapping_sub(part.sum),
            squares: self.squares.wrapping_sub(part.squares),
            inexact: self.inexact - part.inexact,
        }
    }

    /// The sums of one number.
    pub(crate) fn of(number: f64) -> Self {
        let whole = decimal::millionths(number).map(i128::from);
        let sum = whole.unwrap_or(0);
        Self {
            count: 1,
            sum,
            squares: sum * sum,
            inexact: usize::from(whole.is_none()),
        }
    }

    /// The sums of one number, rounded to whole millionths where it is not.
    pub(crate) fn rounded(number: f64) -> Self {
        let sum = decimal::nearest(number);
        Self {
            count: 1,
            sum,
            squares: sum.wrapping_mul(sum),
            inexact: 0,
        }
    }

    /// The sums of one number so many times.
    fn repeated(number: f64, times: usize) -> Self {
        let (one, factor) = (Self::of(number), i128::try_from(times).unwrap_or(0));
        Self {
            count: times,
            sum: one.sum * factor,
            squares: one.squares.wrapping_mul(factor),
            inexact: one.inexact * times,
        }
    }
}

impl View<'_> {
    /// The value of a row.
    pub(crate) fn get(&self, row: usize) -> Option<u64> {
        match self.coding.form {
            Form::Missing => None,
            Form::Constant => self.entry(0),
            Form::Dictionary => self.entry(*self.codes.get(row)?),
            Form::Raw => {
                let bits = u64::from_le_bytes(*self.codes.as_chunks().0.get(row)?);
                (bits != MISSING_BITS).then_some(bits)
            }
            _ => self.coding.value(self.kind, self.code(row)?, self.base),
        }
    }

    /// The whole number of a row, for forms that have one.
    pub(crate) fn code(&self, row: usize) -> Option<i64> {
        Some(match self.coding.form {
            Form::Int1 => i8::from_le_bytes([*self.codes.get(row)?]).into(),
            Form::Int2 => i16::from_le_bytes(*self.codes.as_chunks().0.get(row)?).into(),
            Form::Int4 => i32::from_le_bytes(*self.codes.as_chunks().0.get(row)?).into(),
            Form::Int8 => i64::from_le_bytes(*self.codes.as_chunks().0.get(row)?),
            _ => return None,
        })
    }

    /// Of so many rows in order, how many are at or before a moment, counted from the base.
    pub(crate) fn up_to(&self, rows: usize, offset: i64) -> usize {
        let code = offset.div_euclid(self.coding.unit());
        if self.coding.form == Form::Int4 {
            let codes = self.codes.as_chunks().0.get(..rows).unwrap_or_default();
            codes.partition_point(|at| i64::from(i32::from_le_bytes(*at)) <= code)
        } else {
            let codes = self.codes.as_chunks().0.get(..rows).unwrap_or_default();
            codes.partition_point(|at| i64::from_le_bytes(*at) <= code)
        }
    }

    pub(crate) fn entry(&self, at: u8) -> Option<u64> {
        if at >= self.coding.entries {
            return None;
        }
        let entries = self.dictionary.as_chunks().0;
        entries
            .get(usize::from(at))
            .map(|bytes| u64::from_le_bytes(*bytes))
    }

    /// Sums of the numbers in these rows.
    pub(crate) fn sums(&self, rows: &Rows<'_>, with_squares: bool) -> Sums {
        let mut sums = Sums::default();
        match self.coding.form {
            Form::Missing => {}
            Form::Constant => {
                if let Some(bits) = self.entry(0) {
                    sums = Sums::repeated(f64::from_bits(bits), rows.len());
                }
            }
            Form::Raw | Form::Dictionary => {
                self.for_each(rows, |bits| {
                    sums = sums.plus(Sums::of(f64::from_bits(bits)))
                });
            }
            _ => {
                let sum = match self.coding.form {
                    Form::Int1 => codes::sum::<i8>,
                    Form::Int2 => codes::sum::<i16>,
                    Form::Int4 => codes::sum::<i32>,
                    _ => codes::sum::<i64>,
                };
                let unit = i128::from(self.coding.unit());
                let (sum, count) = sum(self.codes, rows);
                (sums.count, sums.sum) = (count, i128::from(sum) * unit);
                if with_squares {
                    let mut squares = 0_i128;
                    self.for_each_code(rows, |code| squares += i128::from(code) * i128::from(code));
                    sums.squares = squares.wrapping_mul(unit * unit);
                }
            }
        }
        sums
    }

    /// The least and the greatest value there is in these rows, by the order of its kind.
    pub(crate) fn extremes(&self, rows: &Rows<'_>) -> Option<(u64, u64)> {
        match self.coding.form {
            Form::Missing => None,
            Form::Constant if rows.len() == 0 => None,
            Form::Constant => self.entry(0).map(|value| (value, value)),
            Form::Dictionary | Form::Raw => {
                let mut found: Option<(u64, u64)> = None;
                self.for_each(rows, |bits| {
                    found = Some(wider(self.kind, found, (bits, bits)))
                });
                found
            }
            _ => {
                let extremes = match self.coding.form {
                    Form::Int1 => codes::extremes::<i8>,
                    Form::Int2 => codes::extremes::<i16>,
                    Form::Int4 => codes::extremes::<i32>,
                    _ => codes::extremes::<i64>,
                };
                let (least, most) = extremes(self.codes, rows)?;
                let value = |code| self.coding.value(self.kind, code, self.base);
                value(least).zip(value(most))
            }
        }
    }

    /// Calls with each value that is there; one that repeats may be given once only.
    pub(crate) fn for_each_distinct(&self, rows: &Rows<'_>, mut with: impl FnMut(u64)) {
        match self.coding.form {
            Form::Constant if rows.len() > 0 => self.entry(0).into_iter().for_each(with),
            Form::Dictionary => {
                let mut met = [false; 256];
                walk::<1>(self.codes, rows, |[code]| met[usize::from(code)] = true);
                for (at, _) in (0..self.coding.entries).zip(&met).filter(|(_, met)| **met) {
                    self.entry(at).into_iter().for_each(&mut with);
                }
            }
            _ => self.for_each(rows, with),
        }
    }

    /// Calls with each value that is there, oldest first.
    pub(crate) fn for_each(&self, rows: &Rows<'_>, mut with: impl FnMut(u64)) {
        match self.coding.form {
            Form::Missing => {}
            Form::Constant => {
                let value = self.entry(0);
                (0..rows.len()).filter_map(|_| value).for_each(with);
            }
            Form::Dictionary => walk::<1>(self.codes, rows, |[code]| {
                self.entry(code).into_iter().for_each(&mut with);
            }),
            Form::Raw => walk::<8>(self.codes, rows, |bytes| {
                let bits = u64::from_le_bytes(bytes);
                if bits != MISSING_BITS {
                    with(bits);
                }
            }),
            _ => self.for_each_code(rows, |code| {
                self.coding
                    .value(self.kind, code, self.base)
                    .into_iter()
                    .for_each(&mut with);
            }),
        }
    }

    /// Calls with each whole number that is there.
    #[inline]
    fn for_each_code(&self, rows: &Rows<'_>, mut with: impl FnMut(i64)) {
        let missing = missing_code(self.coding.form);
        let mut present = |code: i64| {
            if code != missing {
                with(code);
            }
        };
        match self.coding.form {
            Form::Int1 => walk::<1>(self.codes, rows, |bytes| {
                present(i8::from_le_bytes(bytes).into())
            }),
            Form::Int2 => walk::<2>(self.codes, rows, |bytes| {
                present(i16::from_le_bytes(bytes).into())
            }),
            Form::Int4 => walk::<4>(self.codes, rows, |bytes| {
                present(i32::from_le_bytes(bytes).into())
            }),
            Form::Int8 => walk::<8>(self.codes, rows, |bytes| present(i64::from_le_bytes(bytes))),
            Form::Missing | Form::Constant | Form::Dictionary | Form::Raw => {}
        }
    }
}

/// The wider of two pairs of least and greatest.
pub(crate) fn wider(kind: Kind, known: Option<(u64, u64)>, other: (u64, u64)) -> (u64, u64) {
    let Some((least, most)) = known else {
        return other;
    };
    let below = |left: u64, right: u64| match kind {
        Kind::Number => f64::from_bits(left) < f64::from_bits(right),
        _ => left.cast_signed() < right.cast_signed(),
    };
    (
        if below(other.0, least) {
            other.0
        } else {
            least
        },
        if below(most, other.1) { other.1 } else { most },
    )
}

/// Calls with the bytes of each row.
#[inline]
fn walk<const WIDTH: usize>(codes: &[u8], rows: &Rows<'_>, mut with: impl FnMut([u8; WIDTH])) {
    let codes = codes.as_chunks::<WIDTH>().0;
    match rows {
        Rows::Range(range) => {
            for bytes in codes.get(range.clone()).unwrap_or_default() {
                with(*bytes);
            }
        }
        Rows::Picked(picked) => {
            for bytes in picked.iter().filter_map(|row| codes.get(usize::from(*row))) {
                with(*bytes);
            }
        }
    }
}
