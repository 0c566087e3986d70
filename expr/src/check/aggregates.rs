//! `card.last("24h").delayed("7d").where(amount > 5).sum(amount)`: from a chain of calls to an [`Aggregate`].

use std::ops::Range;

use tollgate_types::{ColumnId, EntityId, FieldId, FieldType, Span};

use super::{Checker, Scope, Typed, compared, suggest};
use crate::compile::compile;
use crate::syntax::{Call, Syntax, SyntaxKind, Word};
use crate::tree::Node;
use crate::{Aggregate, Function, Problem, Program, Type};

/// Every aggregate, which columns it takes, and an example's end for help.
const FUNCTIONS: [(&str, Columns); 11] = [
    ("count", Columns::None),
    ("sum", Columns::Numbers),
    ("avg", Columns::Numbers),
    ("min", Columns::Ordered),
    ("max", Columns::Ordered),
    ("stddev", Columns::Numbers),
    ("distinct", Columns::Any),
    ("rate", Columns::Flags),
    ("last", Columns::Any),
    ("since_last", Columns::None),
    ("first_seen", Columns::None),
];

/// Other words for an aggregate.
const ALIASES: [(&str, &str); 9] = [
    ("average", "avg"),
    ("mean", "avg"),
    ("total", "sum"),
    ("unique", "distinct"),
    ("count_distinct", "distinct"),
    ("std", "stddev"),
    ("size", "count"),
    ("minimum", "min"),
    ("maximum", "max"),
];

/// What may stand in an aggregate's brackets.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Columns {
    None,
    Numbers,
    /// Numbers and times.
    Ordered,
    Flags,
    Any,
}

/// The parts of a chain, outermost last.
struct Chain<'s> {
    entity: EntityId,
    window: Option<&'s Call>,
    delay: Option<&'s Call>,
    filter: Option<&'s Call>,
    function: Option<&'s Call>,
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

    pub(super) fn aggregate(&mut self, call: &Call, span: Range<usize>) -> Option<Typed> {
        if self.scope != Scope::Rule && self.scope != Scope::Feature {
            return self.out_of_scope("an aggregate", span);
        }
        let chain = self.chain(call)?;
        let window = self.window(&chain, &span);
        let delay = match chain.delay {
            Some(delay) => self.length_of_time(delay),
            None => Some(Span::ZERO),
        };
        let filter = match chain.filter {
            Some(filter) => self.filter(chain.entity, filter).map(Some),
            None => Some(None),
        };
        let function = self.function(&chain, &span);
        let (window, delay) = window.zip(delay)?;
        self.expect_retained(&chain, window, delay)?;
        let (filter, (function, kind, field)) = filter.zip(function)?;
        let aggregate = Aggregate {
            entity: chain.entity,
            window,
            delay,
            filter,
            function,
        };
        let slot = self.layout.aggregate(aggregate);
        Some(Typed {
            kind,
            node: Node::Slot(slot),
            span,
            field,
        })
    }

    /// Takes the chain apart from its end.
    fn chain<'s>(&mut self, call: &'s Call) -> Option<Chain<'s>> {
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

    /// Something is called on the result of an aggregate function.
    fn not_last<T>(&mut self, call: &Call) -> Option<T> {
        let name = &call.name;
        let is_window = matches!(
            call.arguments.as_slice(),
            [Syntax {
                kind: SyntaxKind::Text(_),
                ..
            }]
        );
        if name.text == "last" && is_window {
            let problem = Problem::error(name.span.clone(), "there can be only one window");
            return self.fail(problem.with_help("write two aggregates and compare them"));
        }
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

    fn unknown_function<T>(&mut self, name: &Word) -> Option<T> {
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

    fn window(&mut self, chain: &Chain<'_>, span: &Range<usize>) -> Option<Span> {
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

    fn expect_retained(&mut self, chain: &Chain<'_>, window: Span, delay: Span) -> Option<()> {
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

    /// The condition is checked in a scope of its own and becomes a program of its own.
    fn filter(&mut self, entity: EntityId, call: &Call) -> Option<Program> {
        let [condition] = call.arguments.as_slice() else {
            let problem = Problem::error(call.name.span.clone(), "`where` takes one condition");
            return self
                .fail(problem.with_help(
                    "join several with `&&`, such as `.where(amount < 5 && declined)`",
                ));
        };
        let outside = std::mem::replace(&mut self.scope, Scope::Filter(entity));
        let condition = self.expression(condition);
        self.scope = outside;
        let condition = condition?;
        if condition.kind != Type::Flag {
            let (quoted, kind) = (self.quote(&condition.span), condition.kind.name());
            let message = format!("`where` needs a condition, but {quoted} is a {kind}");
            let problem = Problem::error(condition.span.clone(), message);
            return self.fail(problem.with_help_if(compared(&condition, &quoted)));
        }
        match compile(&condition.node) {
            Ok(program) => Some(program),
            Err(too_deep) => self.fail(too_deep.problem(condition.span)),
        }
    }

    fn function(
        &mut self,
        chain: &Chain<'_>,
        span: &Range<usize>,
    ) -> Option<(Function, Type, Option<FieldId>)> {
        let Some(call) = chain.function else {
            let problem = Problem::error(
                span.clone(),
                "this says which transactions, but not what to compute",
            );
            return self.fail(
                problem.with_help("end it with `.count()`, `.sum(amount)` or another aggregate"),
            );
        };
        let name = &call.name;
        let Some((_, columns)) = FUNCTIONS.iter().find(|(known, _)| *known == name.text) else {
            return self.unknown_function(name);
        };
        if *columns == Columns::None {
            return self.without_column(call);
        }
        let [argument] = call.arguments.as_slice() else {
            let message = format!("`{}` takes the name of one retained field", name.text);
            let help = format!(
                "write `{}({})`",
                name.text,
                self.example(chain.entity, *columns)
            );
            return self.fail(Problem::error(name.span.clone(), message).with_help(help));
        };
        self.over_column(chain.entity, name, *columns, argument)
    }

    fn without_column(&mut self, call: &Call) -> Option<(Function, Type, Option<FieldId>)> {
        let name = &call.name.text;
        if let Some(argument) = call.arguments.first() {
            let message = format!("`{name}` takes nothing in its brackets");
            let help = if name == "count" {
                "to count different values write `distinct(…)`; to count some write `.where(…).count()`".to_owned()
            } else {
                format!("write `{name}()`")
            };
            return self.fail(Problem::error(argument.span.clone(), message).with_help(help));
        }
        Some(match name.as_str() {
            "since_last" => (Function::SinceLast, Type::Duration, None),
            "first_seen" => (Function::FirstSeen, Type::Time, None),
            _ => (Function::Count, Type::Number, None),
        })
    }

    fn over_column(
        &mut self,
        entity: EntityId,
        function: &Word,
        columns: Columns,
        argument: &Syntax,
    ) -> Option<(Function, Type, Option<FieldId>)> {
        let span = argument.span.clone();
        let name = match &argument.kind {
            SyntaxKind::Name(name) => name,
            SyntaxKind::Select {
                field: Word { text, .. },
                ..
            }
            | SyntaxKind::Text(text) => {
                let message = format!(
                    "`{}` takes the bare name of a retained field",
                    function.text
                );
                let help = format!("write `{}({text})`", function.text);
                return self.fail(Problem::error(span, message).with_help(help));
            }
            _ => {
                let message = format!("`{}` takes the name of one retained field", function.text);
                let help = format!(
                    "write `{}({})`",
                    function.text,
                    self.example(entity, columns)
                );
                return self.fail(Problem::error(span, message).with_help(help));
            }
        };
        let declared = self.schema.entity_at(entity);
        let Some((id, column)) = declared.column(name) else {
            return self.unknown_column(entity, name, span);
        };
        if !columns.take(column.kind) {
            let kind = column.kind.name();
            let message = format!(
                "`{}` is for {}s, but `{name}` is a {kind}",
                function.text,
                columns.wanted()
            );
            let help = matches!(columns, Columns::Numbers | Columns::Ordered)
                .then(|| format!("to count different values write `distinct({name})`"));
            return self.fail(Problem::error(span, message).with_help_if(help));
        }
        Some(of_column(
            &function.text,
            id,
            column.kind.into(),
            column.field,
        ))
    }

    /// A column that the function takes.
    fn example(&self, entity: EntityId, columns: Columns) -> &str {
        let listed = self.schema.entity_at(entity);
        let all = listed.listed_columns().iter().chain(&listed.columns);
        let mut fitting = all.filter(|column| columns.take(column.kind));
        fitting.next().map_or("amount", |column| &column.name)
    }
}

impl Columns {
    const fn take(self, kind: FieldType) -> bool {
        match self {
            Self::None => false,
            Self::Numbers => matches!(kind, FieldType::Number),
            Self::Ordered => matches!(kind, FieldType::Number | FieldType::Time),
            Self::Flags => matches!(kind, FieldType::Flag),
            Self::Any => true,
        }
    }

    const fn wanted(self) -> &'static str {
        match self {
            Self::Flags => "flag",
            Self::Ordered => "numbers and time",
            _ => "number",
        }
    }
}

fn is_step(name: &str) -> bool {
    matches!(name, "last" | "delayed" | "where")
}

fn of_column(
    function: &str,
    column: ColumnId,
    kind: Type,
    field: Option<FieldId>,
) -> (Function, Type, Option<FieldId>) {
    match function {
        "sum" => (Function::Sum(column), Type::Number, None),
        "avg" => (Function::Average(column), Type::Number, None),
        "min" => (Function::Min(column), kind, None),
        "max" => (Function::Max(column), kind, None),
        "stddev" => (Function::Stddev(column), Type::Number, None),
        "rate" => (Function::Rate(column), Type::Number, None),
        "last" => (Function::Last(column), kind, field),
        _ => (Function::Distinct(column), Type::Number, None),
    }
}
