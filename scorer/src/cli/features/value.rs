//! One cell of a history file, and what it means where a time, an amount or a flag is expected.
//!
//! Text formats have texts only, columnar ones have types; both are read into the same few meanings here. No
//! error repeats a value: it may be a card number.

use std::borrow::Cow;

use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::TimeZone;
use tollgate_types::EventTime;

/// How far a floating-point amount may lie from a whole number of minor units: far more than the error of a
/// double, far less than a digit that someone wrote.
const MINOR_UNIT_TOLERANCE: f64 = 1e-6;

/// A cell as the file has it.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(super) enum Value<'v> {
    Missing,
    /// Never empty: an empty text is missing.
    Text(&'v str),
    Integer(i128),
    Number(f64),
    /// `digits` × 10^−`scale`.
    Decimal {
        digits: i128,
        scale: u32,
    },
    Flag(bool),
    Time(EventTime),
}

/// What whole numbers count where a time is expected.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum TimeUnit {
    Seconds,
    Milliseconds,
    Microseconds,
}

/// What is wrong with a cell, and what to write instead.
pub(super) type Problem = Cow<'static, str>;

impl TimeUnit {
    pub(super) const NAMES: [&str; 3] = ["s", "ms", "us"];

    pub(super) fn parse(name: &str) -> Option<Self> {
        match name {
            "s" => Some(Self::Seconds),
            "ms" => Some(Self::Milliseconds),
            "us" => Some(Self::Microseconds),
            _ => None,
        }
    }

    const fn micros(self) -> i128 {
        match self {
            Self::Seconds => 1_000_000,
            Self::Milliseconds => 1_000,
            Self::Microseconds => 1,
        }
    }
}

impl<'v> Value<'v> {
    pub(super) const fn of_text(text: &'v str) -> Self {
        if text.is_empty() {
            Self::Missing
        } else {
            Self::Text(text)
        }
    }

    pub(super) fn is_missing(&self) -> bool {
        *self == Self::Missing
    }

    /// As a text or an identifier; empty if missing.
    pub(super) fn text(self) -> Result<Cow<'v, str>, Problem> {
        match self {
            Self::Missing => Ok(Cow::Borrowed("")),
            Self::Text(text) => Ok(Cow::Borrowed(text)),
            Self::Integer(number) => Ok(Cow::Owned(number.to_string())),
            Self::Number(_) | Self::Decimal { .. } | Self::Flag(_) | Self::Time(_) => {
                Err("is not a text; expected a text or a whole number".into())
            }
        }
    }

    /// As a point in time; texts without a zone are UTC.
    pub(super) fn time(self, unit: Option<TimeUnit>) -> Result<EventTime, Problem> {
        match self {
            Self::Missing => Err("is empty; expected a time such as 2026-11-20T21:40:00Z".into()),
            Self::Time(time) => Ok(time),
            Self::Text(text) if is_whole_number(text) => {
                let number = text.parse().map_err(|_| out_of_range())?;
                Self::Integer(number).time(unit)
            }
            Self::Text(text) => parse_time(text).ok_or_else(|| {
                "is not a time; expected 2026-11-20T21:40:00Z, with any offset, or \
                 2026-11-20 21:40:00, which is read as UTC"
                    .into()
            }),
            Self::Integer(number) => {
                let unit = unit.ok_or(
                    "is a whole number; write `event_time_unit: s` (or ms, us) in the --columns \
                     file to say what it counts since 1970",
                )?;
                number
                    .checked_mul(unit.micros())
                    .and_then(|micros| i64::try_from(micros).ok())
                    .map(EventTime::from_micros)
                    .ok_or_else(out_of_range)
            }
            Self::Number(_) | Self::Decimal { .. } | Self::Flag(_) => {
                Err("is not a time; expected a text, a timestamp or a whole number".into())
            }
        }
    }

    /// As a flag; `None` if missing.
    pub(super) fn flag(self) -> Result<Option<bool>, Problem> {
        match self {
            Self::Missing => Ok(None),
            Self::Flag(flag) => Ok(Some(flag)),
            Self::Integer(0) | Self::Text("0" | "false" | "False" | "FALSE") => Ok(Some(false)),
            Self::Integer(1) | Self::Text("1" | "true" | "True" | "TRUE") => Ok(Some(true)),
            _ => Err("is not a flag; expected true, false, 1, 0 or nothing".into()),
        }
    }

    /// As a finite number; `None` if missing.
    pub(super) fn number(self) -> Result<Option<f64>, Problem> {
        let wrong = || Problem::from("is not a number; expected one such as 12.5");
        match self {
            Self::Missing => Ok(None),
            Self::Number(number) => Ok(Some(number)),
            Self::Text(text) => text.parse().map(Some).map_err(|_| wrong()),
            Self::Integer(number) => Ok(Some(to_number(number))),
            // By way of the text, which is read to the nearest double.
            Self::Decimal { digits, scale } => format!("{digits}e-{scale}")
                .parse()
                .map(Some)
                .map_err(|_| wrong()),
            Self::Flag(_) | Self::Time(_) => Err(wrong()),
        }
    }

    /// As a whole number; `None` if missing.
    pub(super) fn whole(self) -> Result<Option<i64>, Problem> {
        let wrong = || Problem::from("is not a whole number; expected digits only");
        match self {
            Self::Missing => Ok(None),
            Self::Integer(number) => i64::try_from(number).map(Some).map_err(|_| wrong()),
            Self::Text(text) => text.parse().map(Some).map_err(|_| wrong()),
            Self::Decimal { digits, scale: 0 } => Self::Integer(digits).whole(),
            _ => Err(wrong()),
        }
    }

    /// As an amount in major units: the minor units of a currency with `exponent` decimals. Exact: what has
    /// more decimals than the currency is refused, not rounded.
    pub(super) fn amount_minor(self, exponent: u8) -> Result<i64, Problem> {
        let exponent = u32::from(exponent);
        let (digits, scale) = match self {
            Self::Missing => return Err("is empty; expected an amount such as 57.16".into()),
            Self::Integer(number) => (number, 0),
            Self::Decimal { digits, scale } => (digits, scale),
            Self::Text(text) => parse_decimal(text).ok_or(
                "is not an amount; expected digits with a point before the decimals, such as 57.16",
            )?,
            Self::Number(number) => return minor_units_of(number, exponent),
            Self::Flag(_) | Self::Time(_) => {
                return Err("is not an amount; expected a number such as 57.16".into());
            }
        };
        let minor = if scale <= exponent {
            10_i128
                .checked_pow(exponent - scale)
                .and_then(|factor| digits.checked_mul(factor))
        } else {
            match 10_i128.checked_pow(scale - exponent) {
                Some(factor) if digits % factor == 0 => Some(digits / factor),
                _ => return Err(too_many_decimals(exponent)),
            }
        };
        minor
            .and_then(|minor| i64::try_from(minor).ok())
            .ok_or_else(|| "is too large for an amount".into())
    }
}

fn out_of_range() -> Problem {
    "is too far from 1970 to be a time; check `event_time_unit` in the --columns file".into()
}

fn too_many_decimals(exponent: u32) -> Problem {
    format!("has more decimals than its currency, which has {exponent}; expected the exact amount")
        .into()
}

/// The minor units that a floating-point amount stands for: the nearest whole number, if it is as near as only
/// rounding to a double explains.
#[expect(
    clippy::cast_possible_truncation,
    reason = "checked to be a whole number below 2^53"
)]
fn minor_units_of(major: f64, exponent: u32) -> Result<i64, Problem> {
    let minor = major * f64::from(10_u32.pow(exponent));
    let nearest = minor.round();
    // Written so that a NaN does not pass.
    let exact = nearest.abs() < 9e15;
    if !exact {
        return Err("is too large for an amount, or not a number".into());
    }
    let tolerance = MINOR_UNIT_TOLERANCE.max(minor.abs() * 4.0 * f64::EPSILON);
    if (minor - nearest).abs() > tolerance {
        return Err(too_many_decimals(exponent));
    }
    Ok(nearest as i64)
}

#[expect(
    clippy::cast_precision_loss,
    reason = "numbers are doubles in expressions, whatever a file has"
)]
const fn to_number(number: i128) -> f64 {
    number as f64
}

fn is_whole_number(text: &str) -> bool {
    let digits = text.strip_prefix('-').unwrap_or(text);
    !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit())
}

/// `-12.50` as (−1250, 2).
fn parse_decimal(text: &str) -> Option<(i128, u32)> {
    let unsigned = text.strip_prefix('-').unwrap_or(text);
    let (whole, decimals) = unsigned.split_once('.').unwrap_or((unsigned, ""));
    if whole.is_empty() && decimals.is_empty() {
        return None;
    }
    let mut digits: i128 = 0;
    for byte in whole.bytes().chain(decimals.bytes()) {
        let digit = byte.is_ascii_digit().then(|| i128::from(byte - b'0'))?;
        digits = digits.checked_mul(10)?.checked_add(digit)?;
    }
    let scale = u32::try_from(decimals.len()).ok()?;
    Some((
        if unsigned.len() < text.len() {
            -digits
        } else {
            digits
        },
        scale,
    ))
}

/// RFC 3339, or the same without a zone, read as UTC. Fractions finer than a microsecond are cut off.
fn parse_time(text: &str) -> Option<EventTime> {
    let timestamp = match text.parse::<DateTime>() {
        // A civil time takes a text with an offset too, and would ignore it.
        Ok(civil) if !has_zone(text) => TimeZone::UTC.to_timestamp(civil).ok()?,
        _ => text.parse::<Timestamp>().ok()?,
    };
    let micros = timestamp.as_nanosecond().div_euclid(1_000);
    i64::try_from(micros).ok().map(EventTime::from_micros)
}

/// Whether something stands behind the time of day. Dates have hyphens too, so only what follows them counts.
fn has_zone(text: &str) -> bool {
    text.get(10..)
        .is_some_and(|time| time.contains(['Z', 'z', '+', '-', '[']))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn micros(text: &str) -> Option<i64> {
        Value::of_text(text).time(None).ok().map(EventTime::micros)
    }

    #[test]
    fn times_are_read_in_every_form_and_without_a_zone_as_utc() {
        let expected = Some(1_522_540_831_000_000);
        for text in [
            "2018-04-01T00:00:31Z",
            "2018-04-01T00:00:31",
            "2018-04-01 00:00:31",
            "2018-04-01 00:00:31.000",
            "2018-04-01T02:00:31+02:00",
            "2018-03-31 20:00:31-04:00",
        ] {
            assert_eq!(micros(text), expected, "{text}");
        }
        assert_eq!(
            micros("2018-04-01 00:00:31.25"),
            expected.map(|time| time + 250_000)
        );
        assert_eq!(micros("1969-12-31T23:59:59.9999999Z"), Some(-1));
        for text in [
            "",
            "yesterday",
            "2018-02-30 00:00:00",
            "01.04.2018 00:00",
            "12:00",
        ] {
            assert_eq!(micros(text), None, "{text}");
        }
    }

    #[test]
    fn whole_numbers_are_times_only_where_the_unit_is_known() {
        for value in [Value::Integer(1_522_540_831), Value::Text("1522540831")] {
            let error = value.time(None).unwrap_err();
            assert!(error.contains("event_time_unit: s"), "{error}");
            let time = value.time(Some(TimeUnit::Seconds)).unwrap();
            assert_eq!(time.micros(), 1_522_540_831_000_000);
        }
        let milliseconds = Value::Integer(-1).time(Some(TimeUnit::Milliseconds));
        assert_eq!(milliseconds.map(EventTime::micros), Ok(-1_000));
        assert!(
            Value::Integer(i128::MAX)
                .time(Some(TimeUnit::Seconds))
                .is_err()
        );
        assert!(
            Value::Integer(i64::MAX.into())
                .time(Some(TimeUnit::Seconds))
                .is_err()
        );
    }

    #[test]
    fn amounts_become_minor_units_exactly() {
        for (text, exponent, expected) in [
            ("57.16", 2, 5_716),
            ("57.1", 2, 5_710),
            ("57", 2, 5_700),
            ("57.160", 2, 5_716),
            (".29", 2, 29),
            ("0.00", 2, 0),
            ("-1.5", 2, -150),
            ("57", 0, 57),
            ("57.0", 0, 57),
            ("5.716", 3, 5_716),
            ("90071992547409.93", 2, 9_007_199_254_740_993),
        ] {
            assert_eq!(
                Value::Text(text).amount_minor(exponent),
                Ok(expected),
                "{text}"
            );
        }
        for (text, exponent) in [
            ("57.161", 2),
            ("57.5", 0),
            ("57,16", 2),
            ("1e3", 2),
            (".", 2),
            ("EUR 5", 2),
            ("--5", 2),
            ("99999999999999999999", 2),
        ] {
            assert!(Value::Text(text).amount_minor(exponent).is_err(), "{text}");
        }
        assert_eq!(Value::Integer(57).amount_minor(2), Ok(5_700));
        let decimal = Value::Decimal {
            digits: 57_160,
            scale: 3,
        };
        assert_eq!(decimal.amount_minor(2), Ok(5_716));
    }

    #[test]
    fn floating_point_amounts_are_the_decimals_they_were_written_as() {
        for (number, expected) in [(57.16, 5_716), (0.1 + 0.2, 30), (1.005, 0), (8.29, 829)] {
            let minor = Value::Number(number).amount_minor(2);
            if expected == 0 {
                let error = minor.unwrap_err();
                assert!(error.contains("more decimals"), "{error}");
            } else {
                assert_eq!(minor, Ok(expected), "{number}");
            }
        }
        assert_eq!(
            Value::Number(123_456_789_012.34).amount_minor(2),
            Ok(12_345_678_901_234)
        );
        for number in [f64::NAN, f64::INFINITY, 1e300] {
            assert!(Value::Number(number).amount_minor(2).is_err(), "{number}");
        }
    }

    #[test]
    fn flags_have_several_spellings_and_may_be_missing() {
        for (value, expected) in [
            (Value::Text("true"), Some(true)),
            (Value::Text("0"), Some(false)),
            (Value::Integer(1), Some(true)),
            (Value::Flag(false), Some(false)),
            (Value::Missing, None),
        ] {
            assert_eq!(value.flag(), Ok(expected));
        }
        for value in [Value::Text("yes"), Value::Integer(2), Value::Number(1.0)] {
            assert!(value.flag().is_err(), "{value:?}");
        }
    }

    #[test]
    fn numbers_and_texts_come_from_any_type_that_holds_them() {
        let decimal = Value::Decimal {
            digits: 125,
            scale: 1,
        };
        for value in [Value::Text("12.5"), Value::Number(12.5), decimal] {
            assert_eq!(value.number(), Ok(Some(12.5)));
        }
        assert_eq!(Value::Integer(3).number(), Ok(Some(3.0)));
        assert_eq!(Value::Integer(596).text().unwrap(), "596");
        assert_eq!(Value::Missing.text().unwrap(), "");
        assert!(Value::Number(1.5).text().is_err());
        assert_eq!(Value::Text("4511").whole(), Ok(Some(4511)));
        assert!(Value::Text("4511.0").whole().is_err());
    }
}
