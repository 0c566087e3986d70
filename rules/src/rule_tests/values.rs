//! Values as tests write them.

use tollgate_expr::Type;
use tollgate_types::{Cell, EventTime, Span, TextKey};

use crate::moment;

/// A number that is there: no infinity, nothing that is not a number.
pub(super) fn number(text: &str) -> Option<f64> {
    let digits = text.strip_prefix(['-', '+']).unwrap_or(text);
    let begins = digits.starts_with(|first: char| first.is_ascii_digit());
    let number: f64 = text.replace('_', "").parse().ok()?;
    (begins && number.is_finite()).then_some(number)
}

pub(super) fn flag(text: &str) -> Option<bool> {
    match text {
        "true" => Some(true),
        "false" => Some(false),
        _ => None,
    }
}

/// A moment, or a length of time after (`+30h`) or before (`-10d`) the transaction.
pub(super) fn time(text: &str, event_time: EventTime) -> Option<EventTime> {
    if let Some(after) = text.strip_prefix('+') {
        return Span::parse(after).ok().map(|span| event_time.plus(span));
    }
    if let Some(before) = text.strip_prefix('-') {
        return Span::parse(before).ok().map(|span| event_time.minus(span));
    }
    moment::parse(text)
}

/// A value of a type; the event time is that of the transaction.
pub(super) fn cell(kind: Type, text: &str, event_time: EventTime) -> Option<Cell> {
    match kind {
        Type::Number => number(text).map(Cell::number),
        Type::Flag => flag(text).map(Cell::flag),
        Type::Text => Some(Cell::text(TextKey::of(text))),
        Type::Time => time(text, event_time).map(Cell::time),
        Type::Duration => Span::parse(text).ok().map(Cell::span),
    }
}

/// What to write for a value of a type.
pub(super) const fn help(kind: Type) -> &'static str {
    match kind {
        Type::Number => "write a number, such as 5 or 12.50, or missing",
        Type::Flag => "write true, false or missing",
        Type::Text => "write a text or missing",
        Type::Time => {
            "write a date, a time with its zone, or how long after or before the transaction, such as +30h or -10d"
        }
        Type::Duration => "write a length of time, such as 90s or 2h, or missing",
    }
}

/// A value in words; `text` is what it stands for where that is known.
pub(super) fn shown(kind: Type, cell: Cell, text: Option<&str>) -> String {
    let shown = match kind {
        Type::Number => cell.as_number().map(|number| number.to_string()),
        Type::Flag => cell.as_flag().map(|flag| flag.to_string()),
        Type::Time => cell.as_time().map(|time| time.to_string()),
        Type::Duration => cell.as_span().map(|span| span.to_string()),
        Type::Text => cell.as_text().map(|key| match text {
            Some(text) => format!("\"{text}\""),
            // Of long texts histories keep no letters.
            None => key
                .whole()
                .map_or("some text".to_owned(), |text| format!("\"{text}\"")),
        }),
    };
    shown.unwrap_or_else(|| "missing".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_read_and_shown_alike() {
        let at = EventTime::from_micros(0);
        for (kind, text) in [
            (Type::Number, "12.5"),
            (Type::Number, "-3"),
            (Type::Flag, "true"),
            (Type::Time, "1970-01-02T00:00:00Z"),
            (Type::Duration, "1h30m"),
        ] {
            let cell = cell(kind, text, at).unwrap();
            assert_eq!(shown(kind, cell, None), text);
        }
        let text = cell(Type::Text, "FR", at).unwrap();
        assert_eq!(shown(Type::Text, text, None), "\"FR\"");
        let long = cell(Type::Text, "card_present", at).unwrap();
        assert_eq!(shown(Type::Text, long, None), "some text");
        assert_eq!(
            shown(Type::Text, long, Some("card_present")),
            "\"card_present\""
        );
        assert_eq!(shown(Type::Number, Cell::MISSING, None), "missing");
        for (kind, text) in [
            (Type::Number, "many"),
            (Type::Number, "inf"),
            (Type::Number, ""),
            (Type::Flag, "yes"),
            (Type::Time, "+3"),
            (Type::Time, "soon"),
            (Type::Duration, "5"),
        ] {
            assert_eq!(cell(kind, text, at), None, "{text}");
        }
        assert_eq!(time("-1s", at), Some(EventTime::from_micros(-1_000_000)));
        assert_eq!(time("+1s", at), Some(EventTime::from_micros(1_000_000)));
    }
}
