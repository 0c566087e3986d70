//! What one operation does to present values. Programs and the reference interpreter share it; how missing
//! values and branches are treated is each one's own.

use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::TimeZone;
use tollgate_types::{EventTime, Span};

/// Its number has a bit for each of less, equal and greater: those for which it holds.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(crate) enum Comparison {
    Less = 0b001,
    Equal = 0b010,
    LessOrEqual = 0b011,
    Greater = 0b100,
    NotEqual = 0b101,
    GreaterOrEqual = 0b110,
}

impl Comparison {
    /// For values that have an order, as all of a cell's have. Without a branch, because which comparison comes
    /// next cannot be predicted when a thousand rules are evaluated in a row.
    #[inline]
    pub(crate) fn holds<T: PartialOrd + Copy>(self, left: T, right: T) -> bool {
        let found =
            u8::from(left < right) | (u8::from(left == right) << 1) | (u8::from(left > right) << 2);
        found & self as u8 != 0
    }

    /// The comparison that holds for exchanged sides.
    pub(crate) const fn mirrored(self) -> Self {
        match self {
            Self::Equal | Self::NotEqual => self,
            Self::Less => Self::Greater,
            Self::LessOrEqual => Self::GreaterOrEqual,
            Self::Greater => Self::Less,
            Self::GreaterOrEqual => Self::LessOrEqual,
        }
    }
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(crate) enum Arithmetic {
    Add,
    Subtract,
    Multiply,
    Divide,
    Remainder,
    Min,
    Max,
}

impl Arithmetic {
    /// May be infinite or not a number, which a cell takes for missing.
    #[inline]
    pub(crate) fn apply(self, left: f64, right: f64) -> f64 {
        match self {
            Self::Add => left + right,
            Self::Subtract => left - right,
            Self::Multiply => left * right,
            Self::Divide => left / right,
            Self::Remainder => left % right,
            Self::Min => left.min(right),
            Self::Max => left.max(right),
        }
    }
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(crate) enum Unary {
    Negate,
    Absolute,
    /// To the nearest whole number, halves away from zero.
    Round,
}

impl Unary {
    #[inline]
    pub(crate) fn apply(self, number: f64) -> f64 {
        match self {
            Self::Negate => -number,
            Self::Absolute => number.abs(),
            Self::Round => number.round(),
        }
    }
}

/// Time and duration are both a count of microseconds, so one set of operations serves every mix of them.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(crate) enum Shift {
    Plus,
    Minus,
    /// The earlier time or the shorter duration.
    Min,
    Max,
}

impl Shift {
    /// Stops at the ends of the range.
    #[inline]
    pub(crate) fn apply(self, left: i64, right: i64) -> i64 {
        match self {
            Self::Plus => left.saturating_add(right),
            Self::Minus => left.saturating_sub(right),
            Self::Min => left.min(right),
            Self::Max => left.max(right),
        }
    }
}

/// A duration without its sign; it stops at the end of the range.
#[inline]
pub(crate) const fn length(span: Span) -> Span {
    Span::from_micros(span.micros().saturating_abs())
}

/// A unit in which a duration is asked for, whole units only, as in CEL.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(crate) enum Unit {
    Hours,
    Minutes,
    Seconds,
}

impl Unit {
    pub(crate) fn count(self, span: Span) -> f64 {
        let seconds = match self {
            Self::Hours => 3_600,
            Self::Minutes => 60,
            Self::Seconds => 1,
        };
        whole(span.micros() / (seconds * 1_000_000))
    }
}

#[expect(
    clippy::cast_precision_loss,
    reason = "seconds of an i64 of microseconds are below 2^53"
)]
fn whole(count: i64) -> f64 {
    count as f64
}

/// A part of a moment as a calendar and a clock show it in some time zone. Numbered as in CEL: months, days of
/// the month and days of the year from 0, Sunday is 0.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(crate) enum Part {
    Year,
    Month,
    Date,
    DayOfMonth,
    DayOfWeek,
    DayOfYear,
    Hours,
    Minutes,
    Seconds,
}

impl Part {
    /// `None` for moments that no calendar shows, beyond the year 9999.
    pub(crate) fn of(self, time: EventTime, zone: &TimeZone) -> Option<f64> {
        let moment = Timestamp::from_microsecond(time.micros()).ok()?;
        Some(self.shown_by(zone.to_datetime(moment)))
    }

    fn shown_by(self, local: DateTime) -> f64 {
        match self {
            Self::Year => f64::from(local.year()),
            Self::Month => f64::from(local.month()) - 1.0,
            Self::Date => f64::from(local.day()),
            Self::DayOfMonth => f64::from(local.day()) - 1.0,
            Self::DayOfWeek => f64::from(local.weekday().to_sunday_zero_offset()),
            Self::DayOfYear => f64::from(local.day_of_year()) - 1.0,
            Self::Hours => f64::from(local.hour()),
            Self::Minutes => f64::from(local.minute()),
            Self::Seconds => f64::from(local.second()),
        }
    }
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(crate) enum TextTest {
    StartsWith,
    EndsWith,
    Contains,
}

impl TextTest {
    /// As the verb of a sentence about a text.
    pub(crate) const fn says(self) -> &'static str {
        match self {
            Self::StartsWith => "starts with",
            Self::EndsWith => "ends with",
            Self::Contains => "contains",
        }
    }

    pub(crate) fn holds(self, text: &str, part: &str) -> bool {
        match self {
            Self::StartsWith => text.starts_with(part),
            Self::EndsWith => text.ends_with(part),
            Self::Contains => text.contains(part),
        }
    }
}

/// The length of a text in characters.
pub(crate) fn size(text: &str) -> f64 {
    u32::try_from(text.chars().count()).map_or(f64::INFINITY, f64::from)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_of_a_moment_are_numbered_as_in_cel() {
        // Sunday, 1 March 2026, 23:30:15 UTC: already Monday in Paris.
        let time = EventTime::from_unix(1_772_407_815, 0).unwrap();
        let table = [
            (Part::Year, 2026.0, 2026.0),
            (Part::Month, 2.0, 2.0),
            (Part::Date, 1.0, 2.0),
            (Part::DayOfMonth, 0.0, 1.0),
            (Part::DayOfWeek, 0.0, 1.0),
            (Part::DayOfYear, 59.0, 60.0),
            (Part::Hours, 23.0, 0.0),
            (Part::Minutes, 30.0, 30.0),
            (Part::Seconds, 15.0, 15.0),
        ];
        let paris = jiff::tz::TimeZoneDatabase::bundled()
            .get("Europe/Paris")
            .unwrap();
        for (part, utc, local) in table {
            assert_eq!(part.of(time, &TimeZone::UTC), Some(utc), "{part:?}");
            assert_eq!(part.of(time, &paris), Some(local), "{part:?} in Paris");
        }
        assert_eq!(Part::Year.of(EventTime::MAX, &TimeZone::UTC), None);
    }

    #[test]
    fn durations_count_whole_units_towards_zero() {
        let span = Span::parse("1h59m59s999ms").unwrap();
        let whole = |unit: Unit| format!("{}", unit.count(span));
        let counts = [Unit::Hours, Unit::Minutes, Unit::Seconds].map(whole);
        assert_eq!(counts, ["1", "119", "7199"]);
        let negative = Unit::Seconds.count(Span::from_micros(-1_900_000));
        assert_eq!(format!("{negative}"), "-1");
    }

    #[test]
    fn mirrored_comparisons_agree() {
        use Comparison::{Equal, Greater, GreaterOrEqual, Less, LessOrEqual, NotEqual};
        for comparison in [Equal, NotEqual, Less, LessOrEqual, Greater, GreaterOrEqual] {
            for (left, right) in [(1, 2), (2, 2), (3, 2)] {
                let mirrored = comparison.mirrored().holds(right, left);
                assert_eq!(comparison.holds(left, right), mirrored, "{comparison:?}");
            }
        }
    }
}
