//! `card.last("24h").delayed("7d").where(amount > 5).sum(amount)`: from a chain of calls to an [`Aggregate`].

use std::ops::Range;

use tollgate_types::{ColumnId, EntityId, FieldId, FieldType, Span};

use super::chain::Chain;
use super::{Checker, Scope, Typed, compared};
use crate::compile::compile;
use crate::cost::{Dear, steps_of_aggregate};
use crate::syntax::{Call, Syntax, SyntaxKind, Word};
use crate::tree::Node;
use crate::{Aggregate, Function, Problem, Program, Type, Written};

/// Every aggregate and which columns it takes.
pub(super) const FUNCTIONS: [(&str, Columns); 11] = [
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
pub(super) const ALIASES: [(&str, &str); 9] = [
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
pub(super) enum Columns {
    None,
    Numbers,
    /// Numbers and times.
    Ordered,
    Flags,
    Any,
}

impl Checker<'_> {
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
        self.expect_steps_suffice(&chain, window, function)?;
        self.note_own_value(&chain, delay, filter.is_some(), function, &span);
        let steps = steps_of_aggregate(filter.as_ref().map(|(node, _)| node));
        let filter = filter.map(|(_, program)| program);
        let aggregate = Aggregate {
            entity: chain.entity,
            window,
            delay,
            filter,
            function,
        };
        let source = self.source.get(span.clone()).unwrap_or_default();
        let words: Vec<&str> = source.split_whitespace().collect();
        let written = Written {
            source: words.join(" "),
            kind,
        };
        let slot = self.layout.aggregate(aggregate, written, steps);
        self.dear.push(Dear {
            span: span.clone(),
            steps,
        });
        Some(Typed {
            field,
            ..Typed::new(kind, Node::Slot(slot), span)
        })
    }

    /// A window ends with the transaction being scored, so its last value is that transaction's own.
    fn note_own_value(
        &mut self,
        chain: &Chain<'_>,
        delay: Span,
        is_filtered: bool,
        function: Function,
        span: &Range<usize>,
    ) {
        let Function::Last(column) = function else {
            return;
        };
        let entity = self.schema.entity_at(chain.entity);
        let retained = &entity.columns[usize::from(column.0)];
        if delay != Span::ZERO
            || is_filtered
            || retained.field.is_none()
            || entity.resolution.is_some()
        {
            return;
        }
        let (entity, column) = (&entity.name, &retained.name);
        let message = format!(
            "this is the `{column}` of the transaction being scored itself, where it has one"
        );
        let help =
            format!("for those before it write `{entity}.last(…).delayed(\"1s\").last({column})`");
        self.warn(span.clone(), message, Some(&help));
    }

    /// The condition is checked in a scope of its own and becomes a program of its own.
    fn filter(&mut self, entity: EntityId, call: &Call) -> Option<(Node, Program)> {
        let [condition] = call.arguments.as_slice() else {
            let problem = Problem::error(call.name.span.clone(), "`where` takes one condition");
            return self
                .fail(problem.with_help(
                    "join several with `&&`, such as `.where(amount < 5 && declined)`",
                ));
        };
        let outside = std::mem::replace(&mut self.scope, Scope::Filter(entity));
        // Slots mean something else inside, so what is known about them outside has no place there.
        let operands = std::mem::take(&mut self.operands);
        let condition = self.expression(condition);
        if let Some(condition) = &condition {
            self.expect_sense(condition, "no transaction would be selected");
        }
        self.scope = outside;
        self.operands = operands;
        let condition = condition?;
        if condition.kind != Type::Flag {
            let (quoted, kind) = (self.quote(&condition.span), condition.kind.name());
            let message = format!("`where` needs a condition, but {quoted} is a {kind}");
            let problem = Problem::error(condition.span.clone(), message);
            return self.fail(problem.with_help_if(compared(&condition, &quoted)));
        }
        match compile(&condition.node) {
            Ok(program) => {
                self.note_nothing_past(entity, &condition.span, &program);
                Some((condition.node, program))
            }
            Err(too_deep) => self.fail(too_deep.problem(condition.span)),
        }
    }

    /// A condition that is the same for every past transaction: `transaction.` was written where the past one's field
    /// was meant.
    fn note_nothing_past(&mut self, entity: EntityId, span: &Range<usize>, program: &Program) {
        let is_noted = self.problems.iter().any(|problem| problem.span == *span);
        if is_noted || program.reads().any(|slot| slot.0 < Program::FILTER_FIELDS) {
            return;
        }
        let declared = self.schema.entity_at(entity);
        let fields = program.reads().filter_map(|slot| {
            let at = slot.0.checked_sub(Program::FILTER_FIELDS)?;
            self.schema.fields().get(usize::try_from(at).ok()?)
        });
        let names: Vec<&str> = fields.map(|field| field.name.as_str()).collect();
        let retained = names.iter().find(|name| declared.column(name).is_some());
        let help = match (retained, names.first()) {
            (Some(name), _) => {
                format!(
                    "for the `{name}` of past transactions write `{name}`, without `transaction.`"
                )
            }
            (None, Some(name)) => format!(
                "to ask for the `{name}` of past transactions, add it to `retain` of `{}` in schema.yaml and write `{name}`",
                declared.name
            ),
            (None, None) => "leave `where` out".to_owned(),
        };
        let message = "this asks nothing of past transactions: it takes all of them or none";
        self.warn(span.clone(), message, Some(&help));
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
