//! How the values of one column lie in a block: in the fewest bytes that keep them exactly.
//!
//! Numbers are whole millionths divided by the largest power of ten that all share, in 1, 2, 4 or 8 bytes, so that
//! amounts in cents take two or four; times are the same, counted from the block's base. Texts take one byte into
//! a dictionary where they repeat. A column that is missing or the same in every row takes none. The choice is
//! made when a block is laid out; a value that does not fit makes the block lay itself out anew.

use tollgate_types::FieldType;

use crate::decimal;

/// What the values of a column are.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Kind {
    /// The bits of a double.
    Number,
    /// The bits of a text key.
    Text,
    Flag,
    /// Microseconds.
    Time,
    /// The place of another entity's history.
    Link,
}

impl From<FieldType> for Kind {
    fn from(kind: FieldType) -> Self {
        match kind {
            FieldType::Number => Self::Number,
            FieldType::Text => Self::Text,
            FieldType::Flag => Self::Flag,
            FieldType::Time => Self::Time,
        }
    }
}

/// In which form a column is kept.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub(crate) enum Form {
    /// Missing in every row.
    Missing,
    /// In every row what the dictionary's one entry says.
    Constant,
    /// A byte per row into the dictionary.
    Dictionary,
    Int1,
    Int2,
    Int4,
    Int8,
    /// The bits themselves.
    Raw,
}

impl Form {
    pub(crate) const ALL: [Self; 8] = [
        Self::Missing,
        Self::Constant,
        Self::Dictionary,
        Self::Int1,
        Self::Int2,
        Self::Int4,
        Self::Int8,
        Self::Raw,
    ];

    /// Bytes per row.
    pub(crate) const fn width(self) -> usize {
        match self {
            Self::Missing | Self::Constant => 0,
            Self::Dictionary | Self::Int1 => 1,
            Self::Int2 => 2,
            Self::Int4 => 4,
            Self::Int8 | Self::Raw => 8,
        }
    }

    /// The narrowest that holds whole numbers between these; the least of each width stands for missing.
    fn of_range(least: i64, most: i64) -> Self {
        let fits = |bits: u32| least > -(1_i64 << (bits - 1)) && most < 1_i64 << (bits - 1);
        match (least, most) {
            _ if fits(8) => Self::Int1,
            _ if fits(16) => Self::Int2,
            _ if fits(32) => Self::Int4,
            _ => Self::Int8,
        }
    }
}

/// Form, unit and dictionary of a column: four bytes at the beginning of its block.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Coding {
    pub(crate) form: Form,
    /// The power of ten by which whole numbers were divided.
    pub(crate) exponent: u8,
    /// Entries of the dictionary, in use and at most.
    pub(crate) entries: u8,
    pub(crate) entries_max: u8,
}

/// The byte that stands for missing among those of a dictionary.
pub(crate) const MISSING_ENTRY: u8 = u8::MAX;

/// The bits that stand for missing among raw ones: those of a NaN, which no number has, and of no text's key.
pub(crate) const MISSING_BITS: u64 = u64::MAX;

/// Powers of ten that whole numbers are divided by: whole units, cents, thousandths.
const NUMBER_EXPONENTS: [u8; 4] = [6, 4, 3, 0];
/// Whole seconds, milliseconds, microseconds.
const TIME_EXPONENTS: [u8; 3] = [6, 3, 0];

/// Ten to the power of an exponent that a coding has: looked at for every value, and a power takes a loop.
const fn unit(exponent: u8) -> i64 {
    match exponent {
        0 => 1,
        3 => 1_000,
        4 => 10_000,
        6 => 1_000_000,
        other => 10_i64.pow(other as u32),
    }
}

impl Coding {
    const fn new(form: Form, exponent: u8) -> Self {
        Self {
            form,
            exponent,
            entries: 0,
            entries_max: 0,
        }
    }

    pub(crate) fn from_bytes(bytes: [u8; 4]) -> Self {
        let [form, exponent, entries, entries_max] = bytes;
        let form = Form::ALL.get(usize::from(form)).copied();
        Self {
            form: form.unwrap_or(Form::Missing),
            exponent,
            entries,
            entries_max,
        }
    }

    pub(crate) const fn to_bytes(self) -> [u8; 4] {
        [
            self.form as u8,
            self.exponent,
            self.entries,
            self.entries_max,
        ]
    }

    /// What one step of a whole number is worth, in millionths or microseconds.
    pub(crate) const fn unit(self) -> i64 {
        unit(self.exponent)
    }

    /// Bytes of the dictionary.
    pub(crate) fn dictionary_bytes(self) -> usize {
        usize::from(self.entries_max) * 8
    }

    /// The smallest coding for these values in a block with room for so many rows.
    pub(crate) fn of(kind: Kind, values: &[Option<u64>], base: i64, room: usize) -> Self {
        let mut present = values.iter().flatten();
        let Some(first) = present.next() else {
            return Self::new(Form::Missing, 0);
        };
        // The next amount is rarely that of the only one there is.
        let is_guess = values.len() == 1 && kind == Kind::Number;
        if !is_guess && present.all(|value| value == first) && values.iter().all(Option::is_some) {
            return Self {
                entries: 1,
                entries_max: 1,
                ..Self::new(Form::Constant, 0)
            };
        }
        let plain = Self::plain(kind, values, base);
        if !matches!(kind, Kind::Text | Kind::Link) {
            return plain;
        }
        let distinct = distinct(values);
        let spare = distinct + distinct / 4 + 1;
        match u8::try_from(spare) {
            Ok(entries_max)
                if room + spare * 8 < room * plain.form.width() && entries_max < MISSING_ENTRY =>
            {
                Self {
                    entries_max,
                    ..Self::new(Form::Dictionary, 0)
                }
            }
            _ => plain,
        }
    }

    /// The coding of a block's event times: always whole numbers, so that they can be searched, and never fewer than
    /// four bytes, which events still to come will need.
    pub(crate) fn of_times(times: &[Option<u64>], base: i64) -> Self {
        let plain = Self::plain(Kind::Time, times, base);
        let form = match plain.form {
            Form::Int8 | Form::Raw => Form::Int8,
            _ => Form::Int4,
        };
        let exponent = if plain.form == Form::Raw {
            0
        } else {
            plain.exponent
        };
        Self::new(form, exponent)
    }

    /// The smallest coding without a dictionary.
    fn plain(kind: Kind, values: &[Option<u64>], base: i64) -> Self {
        let exponents: &[u8] = match kind {
            Kind::Number => &NUMBER_EXPONENTS,
            Kind::Time => &TIME_EXPONENTS,
            Kind::Flag | Kind::Link => &[0],
            Kind::Text => return Self::new(Form::Raw, 0),
        };
        let mut at = 0;
        let (mut least, mut most) = (0_i64, 0_i64);
        for value in values.iter().flatten() {
            let Some(whole) = whole(kind, *value, base) else {
                return Self::new(Form::Raw, 0);
            };
            while whole % unit(exponents[at]) != 0 {
                at += 1;
            }
            (least, most) = (least.min(whole), most.max(whole));
        }
        let unit = unit(exponents[at]);
        Self::new(Form::of_range(least / unit, most / unit), exponents[at])
    }

    /// What stands for a value that is a whole number in this column; `None` if it does not fit.
    pub(crate) fn code(self, kind: Kind, value: Option<u64>, base: i64) -> Option<i64> {
        let Some(bits) = value else {
            return Some(missing_code(self.form));
        };
        let whole = whole(kind, bits, base)?;
        let code = whole / self.unit();
        let fits =
            whole % self.unit() == 0 && Form::of_range(code, code).width() <= self.form.width();
        (fits && code != i64::MIN).then_some(code)
    }

    /// The value that a whole number of this column stands for.
    pub(crate) fn value(self, kind: Kind, code: i64, base: i64) -> Option<u64> {
        if code == missing_code(self.form) {
            return None;
        }
        let whole = code.wrapping_mul(self.unit());
        Some(match kind {
            Kind::Number => decimal::number(i128::from(whole)).to_bits(),
            Kind::Time => whole.wrapping_add(base).cast_unsigned(),
            Kind::Flag | Kind::Link | Kind::Text => whole.cast_unsigned(),
        })
    }
}

/// The whole number that stands for missing: the least of its width.
pub(crate) const fn missing_code(form: Form) -> i64 {
    match form {
        Form::Int1 => i8::MIN as i64,
        Form::Int2 => i16::MIN as i64,
        Form::Int4 => i32::MIN as i64,
        _ => i64::MIN,
    }
}

/// A value as a whole number: millionths, microseconds from the base, or the bits themselves.
fn whole(kind: Kind, bits: u64, base: i64) -> Option<i64> {
    match kind {
        Kind::Number => decimal::millionths(f64::from_bits(bits)),
        Kind::Time => bits.cast_signed().checked_sub(base),
        Kind::Flag | Kind::Link => i64::try_from(bits).ok(),
        Kind::Text => None,
    }
}

/// How many different values there are.
fn distinct(values: &[Option<u64>]) -> usize {
    let mut sorted: Vec<u64> = values.iter().flatten().copied().collect();
    sorted.sort_unstable();
    sorted.dedup();
    sorted.len()
}
