//! Functions: of numbers, of texts, of times and durations.

use std::ops::Range;

use jiff::tz::{TimeZone, TimeZoneDatabase};
use tollgate_types::{Cell, Field};

use super::{Checker, Scope, Typed, constant, suggest};
use crate::syntax::{Call, Syntax, SyntaxKind, Word};
use crate::tree::Node;
use crate::values::{Arithmetic, Part, TextTest, Unary, Unit};
use crate::{Problem, Program, SlotId, Type};

/// Called as `name(…)`.
const FREE: [&str; 7] = ["abs", "duration", "has", "max", "min", "round", "size"];

/// Called as `text.name("…")`.
const TEXT_TESTS: [(&str, TextTest); 3] = [
    ("startsWith", TextTest::StartsWith),
    ("endsWith", TextTest::EndsWith),
    ("contains", TextTest::Contains),
];

/// Called as `time.name()` or `time.name("Europe/Paris")`.
const PARTS: [(&str, Part); 9] = [
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
const UNITS: [(&str, Unit); 3] = [
    ("getHours", Unit::Hours),
    ("getMinutes", Unit::Minutes),
    ("getSeconds", Unit::Seconds),
];

impl Checker<'_> {
    pub(super) fn call(&mut self, call: &Call, span: Range<usize>) -> Option<Typed> {
        match &call.of {
            Some(_) if !is_method(&call.name.text) && self.is_aggregate(call) => {
                self.aggregate(call, span)
            }
            Some(of) => self.method(of, call, span),
            None => self.free_function(call, span),
        }
    }

    fn free_function(&mut self, call: &Call, span: Range<usize>) -> Option<Typed> {
        match call.name.text.as_str() {
            "abs" => self.unary(Unary::Absolute, call, span),
            "round" => self.unary(Unary::Round, call, span),
            "min" => self.least_or_greatest(Arithmetic::Min, call, span),
            "max" => self.least_or_greatest(Arithmetic::Max, call, span),
            "duration" => {
                let length = self.length_of_time(call)?;
                constant(Type::Duration, Cell::span(length), span)
            }
            "size" => {
                let [of] = self.arguments(call)?;
                let of = self.expression(of)?;
                let slot = self.text_read(&of, "size")?;
                Some(Typed::new(Type::Number, Node::TextSize(slot), span))
            }
            // With one argument it was read as a question for that name.
            "has" => self
                .arguments(call)
                .and_then(|[of]: &[Syntax; 1]| self.expression(of)),
            _ => self.unknown_function_of(None, &call.name),
        }
    }

    /// As many arguments as the function takes.
    fn arguments<'s, const N: usize>(&mut self, call: &'s Call) -> Option<&'s [Syntax; N]> {
        let given = call.arguments.len();
        if let Ok(arguments) = call.arguments.as_slice().try_into() {
            return Some(arguments);
        }
        let name = &call.name.text;
        let plural = if N == 1 { "" } else { "s" };
        let are = if given == 1 { "is" } else { "are" };
        let message = format!("`{name}` takes {N} value{plural}, but {given} {are} given");
        self.fail(Problem::error(call.name.span.clone(), message))
    }

    fn number(&mut self, argument: &Syntax, function: &str) -> Option<Typed> {
        let argument = self.expression(argument)?;
        if argument.kind == Type::Number {
            return Some(argument);
        }
        let (quoted, kind) = (self.quote(&argument.span), argument.kind.name());
        let message = format!("`{function}` is for numbers, but {quoted} is a {kind}");
        self.fail(Problem::error(argument.span, message))
    }

    fn unary(&mut self, unary: Unary, call: &Call, span: Range<usize>) -> Option<Typed> {
        let [argument] = self.arguments(call)?;
        let of = self.number(argument, &call.name.text)?;
        Some(Typed::new(
            Type::Number,
            Node::Unary(unary, of.node.into()),
            span,
        ))
    }

    fn least_or_greatest(
        &mut self,
        arithmetic: Arithmetic,
        call: &Call,
        span: Range<usize>,
    ) -> Option<Typed> {
        let [left, right] = self.arguments(call)?;
        let sides = (
            self.number(left, &call.name.text),
            self.number(right, &call.name.text),
        );
        let (left, right) = sides.0.zip(sides.1)?;
        let pair = Box::new([left.node, right.node]);
        Some(Typed::new(
            Type::Number,
            Node::Arithmetic(arithmetic, pair),
            span,
        ))
    }

    /// `of.name(…)` on a value. An unknown name before the dot is reported as such, not as a wrong type.
    fn method(&mut self, of: &Syntax, call: &Call, span: Range<usize>) -> Option<Typed> {
        let of = match &of.kind {
            SyntaxKind::Name(root) if !matches!(self.scope, Scope::Filter(_)) => {
                return self.method_of_name(root, of, call);
            }
            _ => self.expression(of)?,
        };
        let name = call.name.text.as_str();
        match of.kind {
            Type::Text => {
                if let Some((_, test)) = TEXT_TESTS.iter().find(|(known, _)| *known == name) {
                    return self.text_test(*test, &of, call, span);
                }
            }
            Type::Time => {
                if let Some((_, part)) = PARTS.iter().find(|(known, _)| *known == name) {
                    let zone = self.zone(call)?;
                    return Some(Typed::new(
                        Type::Number,
                        Node::Calendar(*part, zone, of.node.into()),
                        span,
                    ));
                }
            }
            Type::Duration => {
                if let Some((_, unit)) = UNITS.iter().find(|(known, _)| *known == name) {
                    let [] = self.arguments(call)?;
                    return Some(Typed::new(
                        Type::Number,
                        Node::Units(*unit, of.node.into()),
                        span,
                    ));
                }
            }
            Type::Number | Type::Flag => {}
        }
        self.unknown_function_of(Some(of.kind), &call.name)
    }

    /// `merchant_id.contains("x")`: `transaction.` was forgotten, or the name is misspelled.
    fn method_of_name(&mut self, root: &str, of: &Syntax, call: &Call) -> Option<Typed> {
        let is_aggregate =
            ["count", "sum", "avg", "distinct", "since_last"].contains(&call.name.text.as_str());
        let entities = self
            .schema
            .entities()
            .iter()
            .map(|entity| entity.name.as_str());
        if is_aggregate && suggest::closest(root, entities).is_some() {
            return self.unknown_root(root, of.span.clone());
        }
        self.name(root, of.span.clone())
    }

    fn unknown_function_of(&mut self, of: Option<Type>, name: &Word) -> Option<Typed> {
        let known: Vec<&str> = match of {
            None => FREE.to_vec(),
            Some(Type::Text) => TEXT_TESTS.iter().map(|(known, _)| *known).collect(),
            Some(Type::Time) => PARTS.iter().map(|(known, _)| *known).collect(),
            Some(Type::Duration) => UNITS.iter().map(|(known, _)| *known).collect(),
            Some(Type::Number | Type::Flag) => Vec::new(),
        };
        let message = match of {
            None => format!("there is no function `{}`", name.text),
            Some(kind) => format!("a {} has no function `{}`", kind.name(), name.text),
        };
        let method = TEXT_TESTS
            .iter()
            .find(|(known, _)| of.is_none() && *known == name.text);
        let help = match method {
            Some((known, _)) => Some(format!("write `transaction.merchant_id.{known}(\"…\")`")),
            None => suggest::help(&name.text, known),
        };
        self.fail(Problem::error(name.span.clone(), message).with_help_if(help))
    }

    fn text_test(
        &mut self,
        test: TextTest,
        of: &Typed,
        call: &Call,
        span: Range<usize>,
    ) -> Option<Typed> {
        let slot = self.text_read(of, &call.name.text)?;
        let [argument] = self.arguments(call)?;
        let SyntaxKind::Text(part) = &argument.kind else {
            let message = format!("`{}` takes a text in quotes", call.name.text);
            return self.fail(Problem::error(argument.span.clone(), message));
        };
        Some(Typed::new(
            Type::Flag,
            Node::TextTest(test, slot, part.clone()),
            span,
        ))
    }

    /// The slot of a text field of the transaction. Past texts are kept as 64 bits, which tell equal ones from
    /// different ones and nothing else.
    fn text_read(&mut self, part: &Typed, function: &str) -> Option<SlotId> {
        if part.kind != Type::Text {
            let (quoted, kind) = (self.quote(&part.span), part.kind.name());
            let message = format!("`{function}` is for texts, but {quoted} is a {kind}");
            return self.fail(Problem::error(part.span.clone(), message));
        }
        let first = match self.scope {
            Scope::Filter(_) => Program::FILTER_FIELDS,
            _ => 0,
        };
        let fields: &[Field] = self.schema.fields();
        match part.node {
            Node::Slot(SlotId(slot))
                if slot
                    .checked_sub(first)
                    .is_some_and(|at| (at as usize) < fields.len()) =>
            {
                Some(SlotId(slot))
            }
            _ => {
                let message = format!("`{function}` is only for fields of the transaction");
                let problem = Problem::error(part.span.clone(), message);
                self.fail(problem.with_help("texts of past transactions can only be compared"))
            }
        }
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

/// Whether a name is one that values have, and aggregates do not.
fn is_method(name: &str) -> bool {
    let tests = TEXT_TESTS.iter().map(|(known, _)| *known);
    let parts = PARTS.iter().map(|(known, _)| *known);
    tests
        .chain(parts)
        .any(|known| known.eq_ignore_ascii_case(name))
}
