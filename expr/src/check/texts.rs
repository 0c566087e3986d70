//! Functions of texts, which only whole texts have: those of the transaction.

use std::ops::Range;

use super::{Checker, Scope, Typed};
use crate::pattern::{Mistake, Pattern, Reach};
use crate::syntax::{Call, Syntax, SyntaxKind};
use crate::tree::Node;
use crate::values::TextTest;
use crate::{Problem, Program, SlotId, Type};

/// Called as `text.name("…")`.
pub(super) const TEXT_FUNCTIONS: [&str; 4] = ["startsWith", "endsWith", "contains", "matches"];

impl Checker<'_> {
    pub(super) fn text_method(
        &mut self,
        of: &Typed,
        call: &Call,
        span: Range<usize>,
    ) -> Option<Typed> {
        let test = match call.name.text.as_str() {
            "startsWith" => Some(TextTest::StartsWith),
            "endsWith" => Some(TextTest::EndsWith),
            "contains" => Some(TextTest::Contains),
            "matches" => None,
            _ => return self.unknown_function_of(Some(Type::Text), &call.name),
        };
        let slot = self.text_read(of, &call.name.text)?;
        let [argument] = self.arguments(call)?;
        let SyntaxKind::Text(written) = &argument.kind else {
            let message = format!("`{}` takes a text in quotes", call.name.text);
            return self.fail(Problem::error(argument.span.clone(), message));
        };
        let node = match test {
            Some(test) => {
                if written.is_empty() {
                    let message = format!("every text {} \"\"", test.says());
                    self.warn(argument.span.clone(), message, None);
                }
                Node::TextTest(test, slot, written.clone())
            }
            None => Node::Matches(self.pattern(argument, written)?, slot),
        };
        Some(Typed::new(Type::Flag, node, span))
    }

    fn pattern(&mut self, argument: &Syntax, written: &str) -> Option<Pattern> {
        let span = argument.span.clone();
        match Pattern::parse(written) {
            Ok((pattern, reach)) => {
                match reach {
                    Reach::Some => {}
                    Reach::Every => self.warn(
                        span,
                        "every text matches this pattern",
                        Some("a pattern may match anywhere: begin with `^` and end with `$` to tie it to both ends"),
                    ),
                    Reach::None => self.warn(span, "no text matches this pattern", None),
                }
                Some(pattern)
            }
            Err(Mistake {
                message,
                span,
                help,
            }) => {
                let span = self.within_text(argument, span);
                self.fail(Problem::error(span, message).with_help_if(help.map(str::to_owned)))
            }
        }
    }

    /// Where a part of a text stands in the source, where a backslash takes two bytes for one.
    fn within_text(&self, text: &Syntax, part: Range<usize>) -> Range<usize> {
        let source = self.source.get(text.span.clone()).unwrap_or("");
        let mut read = 0;
        let mut escaped = false;
        let mut places = Vec::new();
        for (at, next) in source.char_indices().skip(1) {
            if next == '\\' && !escaped {
                escaped = true;
                places.push((read, at));
                continue;
            }
            if !escaped {
                places.push((read, at));
            }
            escaped = false;
            read += next.len_utf8();
        }
        let place = |wanted: usize| {
            let found = places.iter().find(|(read, _)| *read >= wanted);
            found.map_or(text.span.end, |(_, at)| text.span.start + at)
        };
        let (start, end) = (place(part.start), place(part.end));
        if start < end {
            start..end
        } else {
            // Something is missing at this place: the text's end is shown.
            start.min(text.span.end - 1)..text.span.end
        }
    }

    pub(super) fn size(&mut self, call: &Call, span: Range<usize>) -> Option<Typed> {
        let [of] = self.arguments(call)?;
        let of = self.expression(of)?;
        let slot = self.text_read(&of, "size")?;
        Some(Typed::new(Type::Number, Node::TextSize(slot), span))
    }

    /// The slot of a text field of the transaction. Past texts are kept as 64 bits, which tell equal ones from
    /// different ones and nothing else.
    pub(super) fn text_read(&mut self, part: &Typed, function: &str) -> Option<SlotId> {
        if part.kind != Type::Text {
            let (quoted, kind) = (self.quote(&part.span), part.kind.name());
            let message = format!("`{function}` is for texts, but {quoted} is a {kind}");
            return self.fail(Problem::error(part.span.clone(), message));
        }
        let first = match self.scope {
            Scope::Filter(_) => Program::FILTER_FIELDS,
            _ => 0,
        };
        let fields = self.schema.fields().len();
        match part.node {
            Node::Slot(SlotId(slot))
                if slot
                    .checked_sub(first)
                    .is_some_and(|at| (at as usize) < fields) =>
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
}
