//! Event time and spans of time, in whole microseconds.
//!
//! Event time is when a transaction happened, as its sender says; it is never the wall clock. Finer fractions
//! than a microsecond are cut off when a message is converted, so two events less than a microsecond apart tie.

use std::fmt;

const MICROS_PER_SECOND: i64 = 1_000_000;

/// A point in event time: microseconds since 1970-01-01T00:00:00Z.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct EventTime(i64);

impl EventTime {
    /// Before every event: the start of an unbounded interval.
    pub const MIN: Self = Self(i64::MIN);
    /// After every event: stands for "never" where a moment is asked for.
    pub const MAX: Self = Self(i64::MAX);

    pub const fn from_micros(micros: i64) -> Self {
        Self(micros)
    }

    /// From seconds and nanoseconds since the epoch; `None` outside the range of an `i64` of microseconds.
    pub fn from_unix(seconds: i64, nanos: u32) -> Option<Self> {
        let micros = seconds.checked_mul(MICROS_PER_SECOND)?;
        micros.checked_add(i64::from(nanos / 1_000)).map(Self)
    }

    pub const fn micros(self) -> i64 {
        self.0
    }

    /// Whole seconds since the epoch, rounded down, and the remaining nanoseconds.
    pub fn unix(self) -> (i64, u32) {
        let nanos = self.0.rem_euclid(MICROS_PER_SECOND) * 1_000;
        (
            self.0.div_euclid(MICROS_PER_SECOND),
            u32::try_from(nanos).unwrap_or(0),
        )
    }

    /// This time less `span`, stopping at the ends of the range.
    #[must_use]
    pub const fn minus(self, span: Span) -> Self {
        Self(self.0.saturating_sub(span.0))
    }

    /// This time and `span`, stopping at the ends of the range.
    #[must_use]
    pub const fn plus(self, span: Span) -> Self {
        Self(self.0.saturating_add(span.0))
    }

    /// How long after `earlier` this time is; negative if before.
    pub const fn since(self, earlier: Self) -> Span {
        Span(self.0.saturating_sub(earlier.0))
    }
}

impl fmt::Display for EventTime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match jiff::Timestamp::from_microsecond(self.0) {
            Ok(timestamp) => write!(f, "{timestamp}"),
            Err(_) => write!(f, "{} µs since 1970", self.0),
        }
    }
}

/// A length of event time in microseconds; negative only as the difference of two times.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct Span(i64);

/// The units a span may be written in, longest first.
const UNITS: [(&str, i64); 5] = [
    ("d", 86_400 * MICROS_PER_SECOND),
    ("h", 3_600 * MICROS_PER_SECOND),
    ("ms", 1_000),
    ("m", 60 * MICROS_PER_SECOND),
    ("s", MICROS_PER_SECOND),
];

impl Span {
    pub const ZERO: Self = Self(0);

    pub const fn from_micros(micros: i64) -> Self {
        Self(micros)
    }

    pub const fn from_seconds(seconds: i64) -> Self {
        Self(seconds.saturating_mul(MICROS_PER_SECOND))
    }

    pub const fn from_days(days: i64) -> Self {
        Self::from_seconds(days.saturating_mul(86_400))
    }

    pub const fn micros(self) -> i64 {
        self.0
    }

    #[expect(
        clippy::cast_precision_loss,
        reason = "exact up to 285 years of microseconds"
    )]
    pub fn seconds(self) -> f64 {
        self.0 as f64 / 1e6
    }

    #[must_use]
    pub const fn plus(self, other: Self) -> Self {
        Self(self.0.saturating_add(other.0))
    }

    /// Reads `30s`, `10m`, `24h`, `7d`, `250ms` or a sequence such as `1h30m`. A day is 86,400 seconds.
    pub fn parse(text: &str) -> Result<Self, SpanError> {
        let wrong = || SpanError(text.to_owned());
        let mut rest = text;
        let mut total: i64 = 0;
        while !rest.is_empty() {
            let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
            let count: i64 = rest[..digits].parse().map_err(|_| wrong())?;
            rest = &rest[digits..];
            let (unit, micros) = UNITS
                .into_iter()
                .find(|(unit, _)| starts_with_unit(rest, unit))
                .ok_or_else(wrong)?;
            let part = count.checked_mul(micros).ok_or_else(wrong)?;
            total = total.checked_add(part).ok_or_else(wrong)?;
            rest = &rest[unit.len()..];
        }
        if total == 0 {
            Err(wrong())
        } else {
            Ok(Self(total))
        }
    }
}

/// Whether `text` begins with `unit` as a whole: `m` is not the beginning of `ms`.
fn starts_with_unit(text: &str, unit: &str) -> bool {
    text.strip_prefix(unit)
        .is_some_and(|rest| !rest.starts_with(|next: char| next.is_ascii_alphabetic()))
}

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0 < 0 {
            write!(f, "-")?;
        }
        let mut rest = self.0.unsigned_abs();
        if rest == 0 {
            return write!(f, "0s");
        }
        for (unit, micros) in [UNITS[0], UNITS[1], UNITS[3], UNITS[4], UNITS[2]] {
            let micros = micros.unsigned_abs();
            if rest >= micros {
                write!(f, "{}{unit}", rest / micros)?;
                rest %= micros;
            }
        }
        if rest > 0 {
            write!(f, "{rest}us")
        } else {
            Ok(())
        }
    }
}

/// A text that is not a span of time.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{0}` is not a length of time: write a number and a unit, such as \"30s\", \"10m\", \"24h\" or \"7d\""
)]
pub struct SpanError(String);

#[cfg(test)]
#[expect(clippy::float_cmp, reason = "whole seconds come out exactly")]
mod tests {
    use super::*;

    #[test]
    fn spans_are_read_and_written_in_the_same_form() {
        for text in ["250ms", "30s", "10m", "24h", "7d", "1h30m", "2d12h"] {
            let span = Span::parse(text).unwrap();
            assert_eq!(Span::parse(&span.to_string()).unwrap(), span, "{text}");
        }
        assert_eq!(Span::parse("24h").unwrap(), Span::from_days(1));
        assert_eq!(Span::parse("1h30m").unwrap().seconds(), 5400.0);
    }

    #[test]
    fn what_is_no_span_is_refused_with_what_to_write() {
        for text in [
            "",
            "10",
            "m",
            "10 m",
            "-5m",
            "0s",
            "5weeks",
            "99999999999999999d",
        ] {
            let error = Span::parse(text).unwrap_err().to_string();
            assert!(error.contains("such as"), "{text}: {error}");
        }
    }

    #[test]
    fn unix_seconds_round_down_before_the_epoch() {
        assert_eq!(EventTime::from_micros(-1).unix(), (-1, 999_999_000));
        assert_eq!(
            EventTime::from_unix(-1, 999_999_999),
            Some(EventTime::from_micros(-1))
        );
        assert_eq!(EventTime::from_unix(i64::MAX, 0), None);
    }
}
