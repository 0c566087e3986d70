//! Times and durations: moments written out, parts of a calendar, units.

use std::ops::Range;

use jiff::Timestamp;
use jiff::tz::{TimeZone, TimeZoneDatabase};
use tollgate_types::{Cell, EventTime};

use super::{Checker, Typed, constant, suggest};
use crate::syntax::{Call, SyntaxKind};
use crate::tree::{Node, Zone};
use crate::values::{Part, Unit};
use crate::{Problem, Type};

/// Called as `time.name()` or `time.name("Europe/Paris")`.
pub(super) const PARTS: [(&str, Part); 9] = [
    ("getFullYear", Part::Year),
    ("getMonth", Part::Month),
    ("getDate", Part::Date),
    ("getDayOfMonth", Part::DayOfMonth),
    ("getDayOfWeek", Part::DayOfWeek),
    ("getDayOfYear", Part::DayOfYear),
    ("getHours", Part::Hours),
    ("getMinutes", Part::Minutes),
    ("getSeconds", Part::Seconds),
];

/// Called as `duration.name()`.
pub(super) const UNITS: [(&str, Unit); 3] = [
    ("getHours", Unit::Hours),
    ("getMinutes", Unit::Minutes),
    ("getSeconds", Unit::Seconds),
];

impl Checker<'_> {
    pub(super) fn part_of_time(
        &mut self,
        of: Typed,
        call: &Call,
        span: Range<usize>,
    ) -> Option<Typed> {
        let name = call.name.text.as_str();
        let Some((_, part)) = PARTS.iter().find(|(known, _)| *known == name) else {
            return self.unknown_function_of(Some(Type::Time), &call.name);
        };
        let zone = Zone(self.zone(call)?);
        let node = Node::Calendar(*part, zone, of.node.into());
        Some(Typed::new(Type::Number, node, span))
    }

    pub(super) fn units_of_duration(
        &mut self,
        of: Typed,
        call: &Call,
        span: Range<usize>,
    ) -> Option<Typed> {
        let name = call.name.text.as_str();
        let Some((_, unit)) = UNITS.iter().find(|(known, _)| *known == name) else {
            return self.unknown_function_of(Some(Type::Duration), &call.name);
        };
        let [] = self.arguments(call)?;
        let node = Node::Units(*unit, of.node.into());
        Some(Typed::new(Type::Number, node, span))
    }

    /// A moment written out, as RFC 3339 has it.
    pub(super) fn timestamp(&mut self, call: &Call, span: Range<usize>) -> Option<Typed> {
        let [argument] = self.arguments(call)?;
        let help = "write date, time and zone, such as \"2026-01-31T00:00:00Z\" or \
                    \"2026-01-31T00:00:00+01:00\"";
        let SyntaxKind::Text(text) = &argument.kind else {
            let problem =
                Problem::error(argument.span.clone(), "`timestamp` takes a time in quotes");
            return self.fail(problem.with_help(help));
        };
        let Ok(moment) = text.parse::<Timestamp>() else {
            let message = format!("\"{text}\" is not a time");
            return self.fail(Problem::error(argument.span.clone(), message).with_help(help));
        };
        let time = EventTime::from_micros(moment.as_microsecond());
        constant(Type::Time, Cell::time(time), span)
    }

    /// UTC, or the zone named in the only argument. Zones come with the program.
    fn zone(&mut self, call: &Call) -> Option<TimeZone> {
        if call.arguments.is_empty() {
            return Some(TimeZone::UTC);
        }
        let [argument] = self.arguments(call)?;
        let span = argument.span.clone();
        let help = "write a name such as \"UTC\" or \"Europe/Paris\"";
        let SyntaxKind::Text(name) = &argument.kind else {
            let message = format!("`{}` takes a time zone in quotes", call.name.text);
            return self.fail(Problem::error(span, message).with_help(help));
        };
        let database = TimeZoneDatabase::bundled();
        if let Ok(zone) = database.get(name) {
            return Some(zone);
        }
        let names: Vec<String> = database.available().map(|name| name.to_string()).collect();
        let meant = suggest::closest(name, names.iter().map(String::as_str));
        let help = meant.map_or(help.to_owned(), |meant| {
            format!("did you mean \"{meant}\"?")
        });
        let message = format!("there is no time zone \"{name}\"");
        self.fail(Problem::error(span, message).with_help(help))
    }
}
