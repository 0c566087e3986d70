//! One value of the expression language at run time: 64 bits and whether they are there.

use crate::{EventTime, Span, TextKey};

/// A value in a slot. Its type is known when a program is compiled, so the cell carries none: reading a
/// number as a time is a bug of the compiler, not a run-time case.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cell {
    bits: u64,
    present: bool,
}

impl Cell {
    /// Missing is not zero: comparing with it is unknown, and a rule fires only on true.
    pub const MISSING: Self = Self {
        bits: 0,
        present: false,
    };

    const fn present(bits: u64) -> Self {
        Self {
            bits,
            present: true,
        }
    }

    /// A finite number; what is not finite (an overflow, 0/0) is missing. There is one zero: -0.0 becomes 0.0,
    /// so that equal numbers have equal bits.
    pub fn number(value: f64) -> Self {
        if value.is_finite() {
            Self::present((value + 0.0).to_bits())
        } else {
            Self::MISSING
        }
    }

    pub fn flag(value: bool) -> Self {
        Self::present(u64::from(value))
    }

    pub fn text(value: TextKey) -> Self {
        Self::present(value.bits())
    }

    pub fn time(value: EventTime) -> Self {
        Self::present(value.micros().cast_unsigned())
    }

    pub fn span(value: Span) -> Self {
        Self::present(value.micros().cast_unsigned())
    }

    pub const fn is_missing(self) -> bool {
        !self.present
    }

    pub fn as_number(self) -> Option<f64> {
        self.present.then_some(f64::from_bits(self.bits))
    }

    pub fn as_flag(self) -> Option<bool> {
        self.present.then_some(self.bits != 0)
    }

    pub fn as_text(self) -> Option<TextKey> {
        self.present.then_some(TextKey::from_bits(self.bits))
    }

    pub fn as_time(self) -> Option<EventTime> {
        self.present
            .then_some(EventTime::from_micros(self.bits.cast_signed()))
    }

    pub fn as_span(self) -> Option<Span> {
        self.present
            .then_some(Span::from_micros(self.bits.cast_signed()))
    }

    /// The bits if present, for storage and for comparing two cells of one type for equality.
    pub const fn bits(self) -> Option<u64> {
        if self.present { Some(self.bits) } else { None }
    }

    /// What [`Cell::bits`] gave, as a cell again.
    pub const fn from_bits(bits: Option<u64>) -> Self {
        match bits {
            Some(bits) => Self::present(bits),
            None => Self::MISSING,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_that_are_not_finite_are_missing() {
        assert!(Cell::number(f64::NAN).is_missing());
        assert!(Cell::number(f64::INFINITY).is_missing());
        assert_eq!(Cell::number(0.0).as_number(), Some(0.0));
        assert_eq!(Cell::number(-0.0), Cell::number(0.0));
    }
}
