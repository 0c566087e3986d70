//! The chain of calls that an aggregate is written as: entity, window, delay, filter, function.

use std::ops::Range;

use tollgate_types::{Entity, EntityId, Span};

use super::aggregates::{ALIASES, FUNCTIONS};
use super::{Checker, suggest};
use crate::syntax::{Call, Syntax, SyntaxKind, Word};
use crate::{Function, Problem};

/// The parts of a chain, outermost last.
pub(super) struct Chain<'s> {
    pub(super) entity: EntityId,
    pub(super) window: Option<&'s Call>,
    pub(super) delay: Option<&'s Call>,
    pub(super) filter: Option<&'s Call>,
    pub(super) function: Option<&'s Call>,
}

impl Checker<'_> {
    /// Whether a call is, or was meant to be, part of an aggregate: it begins at an entity, or at an unknown name
    /// followed by `last`, `delayed` or `where`.
    pub(super) fn is_aggregate(&self, call: &Call) -> bool {
        let mut windowed = is_step(&call.name.text);
        let mut of = call.of.as_deref();
        while let Some(part) = of {
            of = match &part.kind {
                SyntaxKind::Call(inner) => {
                    windowed |= is_step(&inner.name.text);
                    inner.of.as_deref()
                }
                SyntaxKind::Name(root) => return windowed || self.schema.entity(root).is_some(),
                _ => return false,
            };
        }
        false
    }

    /// Takes the chain apart from its end.
    pub(super) fn chain<'s>(&mut self, call: &'s Call) -> Option<Chain<'s>> {
        let mut chain = Chain {
            entity: EntityId(0),
            window: None,
            delay: None,
            filter: None,
            function: None,
        };
        let mut current = call;
        loop {
            let of = current.of.as_deref()?;
            let is_first = !matches!(of.kind, SyntaxKind::Call(_));
            let place = match current.name.text.as_str() {
                "last" if is_first => &mut chain.window,
                "last" if is_window(current) => return self.not_first(current),
                "delayed" => &mut chain.delay,
                "where" => &mut chain.filter,
                _ => {
                    if !std::ptr::eq(current, call) {
                        return self.not_last(current);
                    }
                    &mut chain.function
                }
            };
            if place.replace(current).is_some() {
                let message = format!("`{}` stands twice", current.name.text);
                let help = "join conditions in one `where` with `&&`; one delay is enough";
                return self
                    .fail(Problem::error(current.name.span.clone(), message).with_help(help));
            }
            match &of.kind {
                SyntaxKind::Call(inner) => current = inner,
                SyntaxKind::Name(root) => {
                    let Some((entity, _)) = self.schema.entity(root) else {
                        return self.unknown_entity(root, of.span.clone());
                    };
                    chain.entity = entity;
                    return Some(chain);
                }
                _ => return None,
            }
        }
    }

    /// A window that does not stand right after its entity.
    fn not_first<T>(&mut self, window: &Call) -> Option<T> {
        let (mut windows, mut root) = (0, "");
        let mut of = window.of.as_deref();
        while let Some(part) = of {
            of = match &part.kind {
                SyntaxKind::Call(inner) => {
                    windows += usize::from(is_window(inner));
                    inner.of.as_deref()
                }
                SyntaxKind::Name(name) => {
                    root = name;
                    None
                }
                _ => None,
            };
        }
        let span = window.name.span.clone();
        if windows > 0 {
            let problem = Problem::error(span, "there can be only one window");
            return self.fail(problem.with_help("write two aggregates and compare them"));
        }
        let end = window.arguments.last().map_or(0, |last| last.span.end);
        let written = self.source.get(window.name.span.start..end).unwrap_or("");
        let message =
            format!("`last` stands right after `{root}`, before what chooses and computes");
        let help = format!("write `{root}.{written})`, and then `.where(…)` and what to compute");
        self.fail(Problem::error(span, message).with_help(help))
    }

    /// Something is called on the result of an aggregate function.
    fn not_last<T>(&mut self, call: &Call) -> Option<T> {
        let name = &call.name;
        if FUNCTIONS.iter().any(|(known, _)| *known == name.text) {
            let message = format!("`{}` must come last", name.text);
            let problem = Problem::error(name.span.clone(), message);
            return self.fail(
                problem.with_help("write `.last(…)`, `.delayed(…)` and `.where(…)` before it"),
            );
        }
        self.unknown_function(name)
    }

    fn unknown_entity<T>(&mut self, root: &str, span: Range<usize>) -> Option<T> {
        let entities = self
            .schema
            .entities()
            .iter()
            .map(|entity| entity.name.as_str());
        let help = suggest::help(root, entities);
        let message = format!("there is no entity `{root}`");
        self.fail(Problem::error(span, message).with_help_if(help))
    }

    pub(super) fn unknown_function<T>(&mut self, name: &Word) -> Option<T> {
        let small = name.text.to_ascii_lowercase();
        let alias = ALIASES.iter().find(|(alias, _)| *alias == small);
        let help = match alias {
            Some((_, known)) => Some(format!("did you mean `{known}`?")),
            None => {
                let known = FUNCTIONS.iter().map(|(known, _)| *known);
                match suggest::closest(&name.text, known.clone().chain(["delayed", "where"])) {
                    Some(known) => Some(format!("did you mean `{known}`?")),
                    None => Some(format!(
                        "known are {}",
                        known.collect::<Vec<_>>().join(", ")
                    )),
                }
            }
        };
        let message = format!("there is no aggregate `{}`", name.text);
        self.fail(Problem::error(name.span.clone(), message).with_help_if(help))
    }

    pub(super) fn window(&mut self, chain: &Chain<'_>, span: &Range<usize>) -> Option<Span> {
        let Some(window) = chain.window else {
            let name = &self.schema.entity_at(chain.entity).name;
            let message = format!("a window is missing after `{name}`");
            let help = format!("write `{name}.last(\"24h\")` and then what to compute");
            return self.fail(Problem::error(span.clone(), message).with_help(help));
        };
        self.length_of_time(window)
    }

    /// The only argument of a call, a length of time in quotes.
    pub(super) fn length_of_time(&mut self, call: &Call) -> Option<Span> {
        let name = &call.name.text;
        let [argument] = call.arguments.as_slice() else {
            let message = format!("`{name}` takes one length of time");
            let problem = Problem::error(call.name.span.clone(), message);
            return self.fail(problem.with_help(format!("write `{name}(\"24h\")`")));
        };
        let span = argument.span.clone();
        let SyntaxKind::Text(text) = &argument.kind else {
            let message = format!("`{name}` takes a length of time in quotes");
            return self
                .fail(Problem::error(span, message).with_help(format!("write `{name}(\"24h\")`")));
        };
        match Span::parse(text) {
            Ok(length) => Some(length),
            Err(_) => {
                let problem = Problem::error(span, format!("\"{text}\" is not a length of time"));
                let help = "write a number and a unit, such as \"30s\", \"10m\", \"24h\" or \"7d\"";
                self.fail(problem.with_help(help))
            }
        }
    }

    pub(super) fn expect_retained(
        &mut self,
        chain: &Chain<'_>,
        window: Span,
        delay: Span,
    ) -> Option<()> {
        let entity = self.schema.entity_at(chain.entity);
        let reach = window.plus(delay);
        if reach <= entity.retention {
            return Some(());
        }
        let (name, retention) = (&entity.name, entity.retention);
        let message = if delay == Span::ZERO {
            format!(
                "the window of {window} is longer than `{name}` keeps transactions: {retention}"
            )
        } else {
            format!(
                "window and delay reach {reach} back, longer than `{name}` keeps transactions: {retention}"
            )
        };
        let argument = chain.window.and_then(|window| window.arguments.first());
        let span = argument.map_or(0..0, |argument| argument.span.clone());
        let help = format!("use a shorter one, or raise `retention` of `{name}` in schema.yaml");
        self.fail(Problem::error(span, message).with_help(help))
    }

    /// Of an entity whose events are merged into steps, what needs them one by one cannot be asked.
    pub(super) fn expect_steps_suffice(
        &mut self,
        chain: &Chain<'_>,
        window: Span,
        function: Function,
    ) -> Option<()> {
        let entity = self.schema.entity_at(chain.entity);
        let Some(step) = entity.resolution else {
            return Some(());
        };
        let name = &entity.name;
        let (span, message, help) = if let Some(filter) = chain.filter {
            (
                filter.name.span.clone(),
                format!("`{name}` keeps steps of {step}, not single transactions to choose from"),
                "leave `where` out; for shares write `rate(declined)` or `rate(fraud)`".to_owned(),
            )
        } else if window < step {
            let argument = chain.window.and_then(|window| window.arguments.first());
            (
                argument.map_or(0..0, |argument| argument.span.clone()),
                format!("the window of {window} is shorter than the steps of `{name}`: {step}"),
                format!("write {step} or more, or lower `resolution` of `{name}` in schema.yaml"),
            )
        } else if let Function::Distinct(Entity::FRAUD | Entity::DECLINED)
        | Function::Last(Entity::FRAUD | Entity::DECLINED) = function
        {
            (
                chain.function.map_or(0..0, |call| call.name.span.clone()),
                format!("steps of `{name}` know only how many were fraud or declined"),
                "write `rate(fraud)` or `rate(declined)`".to_owned(),
            )
        } else {
            return Some(());
        };
        self.fail(Problem::error(span, message).with_help(help))
    }
}

/// `last("24h")`, not `last(amount)`.
fn is_window(call: &Call) -> bool {
    let [Syntax { kind, .. }] = call.arguments.as_slice() else {
        return false;
    };
    call.name.text == "last" && matches!(kind, SyntaxKind::Text(text) if Span::parse(text).is_ok())
}

pub(super) fn is_step(name: &str) -> bool {
    matches!(name, "last" | "delayed" | "where")
}
