//! Functions: which there are, which of them a call means, and those of numbers.

use std::ops::Range;

use super::networks::{CIDR, CONTAINS_IP};
use super::texts::TEXT_FUNCTIONS;
use super::times::{PARTS, UNITS};
use super::{Checker, Scope, Typed, constant, suggest};
use crate::syntax::{Call, Syntax, SyntaxKind, Word};
use crate::tree::Node;
use crate::values::{Arithmetic, Shift, Unary};
use crate::{Problem, Type};

/// Called as `name(…)`.
const FREE: [&str; 10] = [
    "abs",
    CIDR,
    "distance_km",
    "duration",
    "has",
    "max",
    "min",
    "round",
    "size",
    "timestamp",
];

/// What people call the functions by, and what to write.
const FREE_ALIASES: [(&str, &str); 10] = [
    ("absolute", "abs(…)"),
    (
        "distance",
        "distance_km(latitude, longitude, latitude, longitude)",
    ),
    (
        "geo_distance",
        "distance_km(latitude, longitude, latitude, longitude)",
    ),
    (
        "haversine",
        "distance_km(latitude, longitude, latitude, longitude)",
    ),
    ("len", "size(…)"),
    ("length", "size(…)"),
    ("now", "transaction.event_time"),
    ("date", "timestamp(\"2026-01-31T00:00:00Z\")"),
    ("exists", "has(transaction.device_id)"),
    (
        "ip",
        "cidr(\"10.0.0.0/8\").containsIP(transaction.ip_address)",
    ),
];

impl Checker<'_> {
    pub(super) fn call(&mut self, call: &Call, span: Range<usize>) -> Option<Typed> {
        if let Some(of) = &call.of {
            self.refuse_field_before(of, &call.name)?;
        }
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
            "abs" => self.absolute(call, span),
            "round" => {
                let [argument] = self.arguments(call)?;
                let of = self.number(argument, "round")?;
                let node = Node::Unary(Unary::Round, of.node.into());
                Some(Typed::new(Type::Number, node, span))
            }
            "min" => self.least_or_greatest(Arithmetic::Min, Shift::Min, call, span),
            "max" => self.least_or_greatest(Arithmetic::Max, Shift::Max, call, span),
            "distance_km" => self.distance(call, span),
            "duration" => {
                let length = self.length_of_time(call)?;
                constant(Type::Duration, tollgate_types::Cell::span(length), span)
            }
            "timestamp" => self.timestamp(call, span),
            "size" => self.size(call, span),
            CIDR => self.network_alone(call, span),
            "has" => self.has(call, span),
            _ => self.unknown_function_of(None, &call.name),
        }
    }

    /// As many arguments as the function takes.
    pub(super) fn arguments<'s, const N: usize>(
        &mut self,
        call: &'s Call,
    ) -> Option<&'s [Syntax; N]> {
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
        self.wrong_kind(&argument, &format!("`{function}` is for numbers"))
    }

    fn wrong_kind<T>(&mut self, argument: &Typed, wanted: &str) -> Option<T> {
        let (quoted, kind) = (self.quote(&argument.span), argument.kind.name());
        let message = format!("{wanted}, but {quoted} is a {kind}");
        self.fail(Problem::error(argument.span.clone(), message))
    }

    fn absolute(&mut self, call: &Call, span: Range<usize>) -> Option<Typed> {
        let [argument] = self.arguments(call)?;
        let of = self.expression(argument)?;
        let node = match of.kind {
            Type::Number => Node::Unary(Unary::Absolute, of.node.into()),
            Type::Duration => Node::Length(of.node.into()),
            _ => return self.wrong_kind(&of, "`abs` is for numbers and durations"),
        };
        Some(Typed::new(of.kind, node, span))
    }

    /// Of numbers, of times or of durations.
    fn least_or_greatest(
        &mut self,
        arithmetic: Arithmetic,
        shift: Shift,
        call: &Call,
        span: Range<usize>,
    ) -> Option<Typed> {
        let [left, right] = self.arguments(call)?;
        let sides = (self.expression(left), self.expression(right));
        let (left, right) = sides.0.zip(sides.1)?;
        let wanted = format!("`{}` is for numbers, times and durations", call.name.text);
        for side in [&left, &right] {
            if matches!(side.kind, Type::Text | Type::Flag) {
                return self.wrong_kind(side, &wanted);
            }
        }
        if left.kind != right.kind {
            let (quoted, kind) = (self.quote(&left.span), left.kind.name());
            let wanted = format!("{quoted} is a {kind}");
            return self.wrong_kind(&right, &wanted);
        }
        let pair = Box::new([left.node, right.node]);
        let node = match left.kind {
            Type::Number => Node::Arithmetic(arithmetic, pair),
            _ => Node::Shift(shift, pair),
        };
        Some(Typed::new(left.kind, node, span))
    }

    fn distance(&mut self, call: &Call, span: Range<usize>) -> Option<Typed> {
        let Ok(arguments) = <&[Syntax; 4]>::try_from(call.arguments.as_slice()) else {
            let given = call.arguments.len();
            let message = format!("`distance_km` takes 4 values, but {given} are given");
            let help = "write the latitude and the longitude of one place, then those of the other";
            return self.fail(Problem::error(call.name.span.clone(), message).with_help(help));
        };
        let places = arguments
            .each_ref()
            .map(|argument| self.number(argument, "distance_km"));
        for (at, argument) in arguments.iter().enumerate() {
            self.expect_on_earth(argument, at % 2 == 0)?;
        }
        let [lat1, lon1, lat2, lon2] = places;
        let places = [lat1?.node, lon1?.node, lat2?.node, lon2?.node];
        Some(Typed::new(
            Type::Number,
            Node::Distance(Box::new(places)),
            span,
        ))
    }

    /// A coordinate that is written out must be one.
    fn expect_on_earth(&mut self, argument: &Syntax, is_latitude: bool) -> Option<()> {
        let SyntaxKind::Number(number) = argument.kind else {
            return Some(());
        };
        let (name, most) = if is_latitude {
            ("latitude", 90.0)
        } else {
            ("longitude", 180.0)
        };
        if number.abs() <= most {
            return Some(());
        }
        let message = format!("{number} is not a {name}: they go from -{most} to {most}");
        let help = "the order is latitude, longitude, latitude, longitude";
        self.fail(Problem::error(argument.span.clone(), message).with_help(help))
    }

    /// `of.name(…)` on a value. An unknown name before the dot is reported as such, not as a wrong type.
    fn method(&mut self, of: &Syntax, call: &Call, span: Range<usize>) -> Option<Typed> {
        let of = match &of.kind {
            SyntaxKind::Name(root) if !matches!(self.scope, Scope::Filter(_)) => {
                return self.method_of_name(root, of, call);
            }
            SyntaxKind::Call(network) if network.of.is_none() && network.name.text == CIDR => {
                return self.network(network, call, span);
            }
            _ => self.expression(of)?,
        };
        match of.kind {
            Type::Text => self.text_method(&of, call, span),
            Type::Time => self.part_of_time(of, call, span),
            Type::Duration => self.units_of_duration(of, call, span),
            Type::Number | Type::Flag => self.unknown_function_of(Some(of.kind), &call.name),
        }
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

    pub(super) fn unknown_function_of(&mut self, of: Option<Type>, name: &Word) -> Option<Typed> {
        let written = name.text.as_str();
        let known: Vec<&str> = match of {
            None => FREE.to_vec(),
            Some(Type::Text) => TEXT_FUNCTIONS.to_vec(),
            Some(Type::Time) => PARTS.iter().map(|(known, _)| *known).collect(),
            Some(Type::Duration) => UNITS.iter().map(|(known, _)| *known).collect(),
            Some(Type::Number | Type::Flag) => Vec::new(),
        };
        let message = match of {
            None => format!("there is no function `{written}`"),
            Some(kind) => format!("a {} has no function `{written}`", kind.name()),
        };
        let small = written.to_ascii_lowercase();
        let alias = FREE_ALIASES.iter().find(|(alias, _)| *alias == small);
        let help = match (of, alias) {
            (None, _) if TEXT_FUNCTIONS.contains(&written) => {
                Some(format!("write `transaction.merchant_id.{written}(\"…\")`"))
            }
            (None, Some((_, instead))) => Some(format!("write `{instead}`")),
            (Some(Type::Text), _) if written == CONTAINS_IP || small.contains("cidr") => {
                Some("write `cidr(\"10.0.0.0/8\").containsIP(transaction.ip_address)`".to_owned())
            }
            _ => suggest::help(written, known),
        };
        self.fail(Problem::error(name.span.clone(), message).with_help_if(help))
    }
}

/// Whether a name is one that values have, and aggregates do not.
pub(super) fn is_method(name: &str) -> bool {
    let parts = PARTS.iter().map(|(known, _)| *known);
    TEXT_FUNCTIONS
        .into_iter()
        .chain([CONTAINS_IP])
        .chain(parts)
        .any(|known| known.eq_ignore_ascii_case(name))
}
