//! Moments as people write them in policy files: a date, or date, time and zone.

use jiff::Timestamp;
use jiff::civil::{Date, DateTime};
use jiff::tz::TimeZone;
use tollgate_types::EventTime;

/// What to write, for help lines.
pub const MOMENT_HELP: &str =
    "write a date, such as 2026-12-31, or a time with its zone, such as 2026-12-31T18:00:00+01:00";

/// Letters of a date as ISO 8601 writes it.
const DATE_LENGTH: usize = 10;

/// RFC 3339 to the microsecond, or a date, which is its first moment in UTC.
pub fn parse(text: &str) -> Option<EventTime> {
    let timestamp = if text.len() == DATE_LENGTH {
        let date: Date = text.parse().ok()?;
        TimeZone::UTC.to_timestamp(date.at(0, 0, 0, 0)).ok()?
    } else {
        text.parse::<Timestamp>().ok()?
    };
    Some(EventTime::from_micros(timestamp.as_microsecond()))
}

/// What is wrong with a text that is no moment, and what to write instead.
pub(crate) fn mistake(text: &str) -> (String, String) {
    if text.parse::<DateTime>().is_ok() {
        let message = format!("`{text}` does not say its time zone");
        let help = "add the zone behind it: Z for UTC, or its hours, such as +01:00";
        return (message, help.to_owned());
    }
    (
        format!("`{text}` is not a date or a time"),
        MOMENT_HELP.to_owned(),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_begin_at_midnight_utc_and_times_need_their_zone() {
        let day = 86_400_000_000;
        for (text, expected) in [
            ("1970-01-02", Some(day)),
            ("1970-01-02T00:00:00Z", Some(day)),
            ("1970-01-02T01:00:00+01:00", Some(day)),
            ("1970-01-02T00:00:00.000001Z", Some(day + 1)),
            ("1970-01-02T00:00:00", None),
            ("1970-13-02", None),
            ("02.01.1970", None),
            ("1970-1-2", None),
            ("tomorrow", None),
            ("", None),
        ] {
            assert_eq!(parse(text).map(EventTime::micros), expected, "{text}");
        }
        let (message, _) = mistake("2026-12-01T08:00");
        assert_eq!(message, "`2026-12-01T08:00` does not say its time zone");
        let (message, _) = mistake("2026-13-01");
        assert_eq!(message, "`2026-13-01` is not a date or a time");
    }
}
