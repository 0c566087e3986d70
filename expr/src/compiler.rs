//! Compiles the expressions of one policy so that they share their slots.

use std::collections::{BTreeMap, BTreeSet};

use tollgate_types::{Cell, FieldType, Schema, contains_card_number};

use crate::check::{Checker, Scope, never_true};
use crate::compile::{TooDeep, compile};
use crate::layout::Mark;
use crate::parse::parse;
use crate::scan::scan;
use crate::share::{self, Shared, Tree};
use crate::syntax::Syntax;
use crate::tree::Node;
use crate::{
    ConditionId, Conditions, Feature, Layout, Problem, Program, Severity, SlotId, Slots, Type, cost,
};

/// Checks and compiles expressions against one schema, and gives equal aggregates and lookups one slot.
#[derive(Clone, Debug)]
pub struct Compiler<'s> {
    schema: &'s Schema,
    /// Type of the values of each list. Networks are asked for addresses, which are texts.
    lists: BTreeMap<String, FieldType>,
    layout: Layout,
    failed_features: BTreeSet<String>,
    /// What features and conditions are made of, for linking.
    features: Vec<(Node, SlotId)>,
    conditions: Vec<Tree>,
    /// What everything takes to evaluate, inputs included.
    steps: u64,
    /// That is too much, which has been said.
    is_too_dear: bool,
}

/// A compiled expression and what is worth knowing about it.
#[derive(Clone, PartialEq, Debug)]
pub struct Compiled {
    /// Computes the condition by itself, whatever others share with it.
    pub program: Program,
    /// What [`Compiler::link`] calls it. Absent of what is no condition of a rule.
    pub id: Option<ConditionId>,
    /// What it takes to evaluate, everything it reads included, in comparisons of a slot with a constant.
    pub steps: u64,
    pub warnings: Vec<Problem>,
    /// It can only be evaluated once the model has answered.
    pub reads_score: bool,
}

impl<'s> Compiler<'s> {
    pub fn new(schema: &'s Schema, lists: BTreeMap<String, FieldType>) -> Self {
        let fields = schema.fields().len();
        let score = SlotId(u32::try_from(fields).unwrap_or(u32::MAX));
        let layout = Layout {
            fields,
            score,
            aggregates: Vec::new(),
            written: Vec::new(),
            lookups: Vec::new(),
            features: Vec::new(),
            slots: fields + 1,
            computed: Shared::default(),
            input_steps: BTreeMap::new(),
        };
        Self {
            schema,
            lists,
            layout,
            failed_features: BTreeSet::new(),
            features: Vec::new(),
            conditions: Vec::new(),
            steps: 0,
            is_too_dear: false,
        }
    }

    /// Declares a named feature. Later expressions read it as `features.<name>`; it may read earlier features but
    /// not the model's score, which is computed from features.
    ///
    /// Problems about the name span the whole source. With the type come warnings.
    pub fn feature(
        &mut self,
        name: &str,
        source: &str,
    ) -> Result<(Type, Vec<Problem>), Vec<Problem>> {
        let checked = self.check_name(name, source).and_then(|()| {
            let checked = self.check(source, Scope::Feature, None)?;
            let slot = self.layout.next_slot();
            Ok((checked, slot))
        });
        let (checked, slot) = checked.inspect_err(|_| {
            self.failed_features.insert(name.to_owned());
        })?;
        let Checked {
            compiled,
            kind,
            canonical,
            mut node,
        } = checked;
        let Compiled {
            mut program,
            warnings,
            ..
        } = compiled;
        if self.is_too_dear {
            // Only its type is of use to what follows.
            node = Node::Constant(0);
            program = compile(&node).map_err(|deep| vec![deep.problem(0..source.len())])?;
        }
        let feature = Feature {
            name: name.to_owned(),
            kind,
            program,
            slot,
            canonical,
        };
        self.layout.features.push(feature);
        self.features.push((node, slot));
        Ok((kind, warnings))
    }

    /// Compiles the condition of a rule.
    pub fn condition(&mut self, source: &str) -> Result<Compiled, Vec<Problem>> {
        let Checked { compiled, node, .. } = self.check(source, Scope::Rule, Some(Type::Flag))?;
        if self.is_too_dear {
            return Ok(compiled);
        }
        let id = u32::try_from(self.conditions.len()).ok().map(ConditionId);
        self.conditions.push(Tree {
            node,
            program: compiled.program.clone(),
            reads_score: compiled.reads_score,
        });
        Ok(Compiled { id, ..compiled })
    }

    /// Compiles a flag that reads only the transaction's fields and lists, so that it can always be evaluated.
    pub fn request_condition(&mut self, source: &str) -> Result<Compiled, Vec<Problem>> {
        Ok(self
            .check(source, Scope::Request, Some(Type::Flag))?
            .compiled)
    }

    /// Compiles an expression of any type.
    pub fn expression(&mut self, source: &str) -> Result<(Compiled, Type), Vec<Problem>> {
        let checked = self.check(source, Scope::Rule, None)?;
        Ok((checked.compiled, checked.kind))
    }

    /// What a condition was compiled from.
    pub(crate) fn tree(&self, id: ConditionId) -> Option<&Node> {
        let tree = self.conditions.get(usize::try_from(id.0).ok()?)?;
        Some(&tree.node)
    }

    /// What everything compiled takes to evaluate, in comparisons of a slot with a constant; what several
    /// expressions share is counted for each.
    pub const fn steps(&self) -> u64 {
        self.steps
    }

    /// Whether everything together takes too much, which has been said. Further expressions are checked, but as the
    /// policy is refused, there is no use in keeping them.
    pub const fn is_too_dear(&self) -> bool {
        self.is_too_dear
    }

    pub(crate) const fn schema(&self) -> &Schema {
        self.schema
    }

    /// What has been asked for so far.
    pub const fn layout(&self) -> &Layout {
        &self.layout
    }

    /// The slots of everything compiled, for whoever evaluates each condition by its own program.
    pub fn finish(self) -> Layout {
        self.link_all(&[]).0
    }

    /// The slots of everything compiled, and the conditions of rules so that what they have in common is computed
    /// once per decision.
    pub fn link(self) -> (Layout, Conditions) {
        self.link_all(&self.conditions)
    }

    fn link_all(&self, conditions: &[Tree]) -> (Layout, Conditions) {
        let mut layout = self.layout.clone();
        match share::link(&self.features, conditions, layout.slots) {
            Ok(linked) => {
                (layout.computed, layout.slots) = (linked.features, linked.slots);
                (layout, linked.conditions)
            }
            // A part needs no more stack than the whole it is a part of, and that was compiled.
            Err(TooDeep) => {
                debug_assert!(false, "a part is deeper than the whole");
                let features = layout.features.iter();
                layout.computed = Shared(
                    features
                        .map(|feature| (feature.program.clone(), feature.slot))
                        .collect(),
                );
                let programs = conditions.iter().map(|tree| tree.program.clone());
                let conditions = Conditions {
                    nodes: conditions.iter().map(|tree| tree.node.clone()).collect(),
                    programs: programs.collect(),
                    ..Conditions::default()
                };
                (layout, conditions)
            }
        }
    }

    /// What an expression found wrong had asked for is taken out of the layout again.
    fn check(
        &mut self,
        source: &str,
        scope: Scope,
        wanted: Option<Type>,
    ) -> Result<Checked, Vec<Problem>> {
        let mark = self.layout.mark();
        let result = self
            .check_unguarded(source, scope, wanted)
            .map_err(|problems| without_card_numbers(problems, source));
        let result = result.and_then(|checked| {
            // What is only looked at is not evaluated in every decision.
            let counts = scope != Scope::Rule || wanted.is_some();
            if counts {
                self.count_steps(&checked, mark, source)?;
            }
            Ok(checked)
        });
        if result.is_err() {
            self.layout.back_to(mark);
        }
        result
    }

    /// Adds what an expression takes, without what others have asked for already.
    fn count_steps(
        &mut self,
        checked: &Checked,
        mark: Mark,
        source: &str,
    ) -> Result<(), Vec<Problem>> {
        let added = cost::steps(&checked.node) + self.layout.input_steps_since(mark);
        let steps = self.steps.saturating_add(added);
        if steps > cost::SET_STEPS_MAX && !self.is_too_dear {
            self.is_too_dear = true;
            return Err(vec![cost::set_too_dear(steps, 0..source.len())]);
        }
        self.steps = steps;
        Ok(())
    }

    fn check_unguarded(
        &mut self,
        source: &str,
        scope: Scope,
        wanted: Option<Type>,
    ) -> Result<Checked, Vec<Problem>> {
        let tokens = scan(source)?;
        let syntax = parse(&tokens)?;
        let (compiled, kind, node) = self.check_syntax(&syntax, source, scope, wanted)?;
        Ok(Checked {
            compiled,
            kind,
            canonical: tokens.canonical(),
            node,
        })
    }

    /// A part of an expression, as if it stood alone. Nothing is left of it where it cannot.
    pub(crate) fn part(&mut self, syntax: &Syntax, source: &str) -> Option<(Program, Type)> {
        let mark = self.layout.mark();
        let checked = self.check_syntax(syntax, source, Scope::Rule, None);
        if checked.is_err() {
            self.layout.back_to(mark);
        }
        let (compiled, kind, _) = checked.ok()?;
        Some((compiled.program, kind))
    }

    fn check_syntax(
        &mut self,
        syntax: &Syntax,
        source: &str,
        scope: Scope,
        wanted: Option<Type>,
    ) -> Result<(Compiled, Type, Node), Vec<Problem>> {
        let mut checker = Checker {
            schema: self.schema,
            lists: &self.lists,
            failed_features: &self.failed_features,
            layout: &mut self.layout,
            source,
            scope,
            problems: Vec::new(),
            reads_score: false,
            operands: Default::default(),
            dear: Vec::new(),
        };
        let whole = checker.whole(syntax, wanted);
        let (mut problems, reads_score) = (checker.problems, checker.reads_score);
        let dear = checker.dear;
        let Some((node, kind)) = whole.filter(|_| problems.iter().all(is_warning)) else {
            return Err(never_silent(problems, source));
        };
        let span = syntax.span.clone();
        let program = compile(&node).map_err(|deep| vec![deep.problem(span.clone())])?;
        let inputs: BTreeSet<SlotId> = program.reads().collect();
        let inputs = inputs
            .iter()
            .filter_map(|slot| self.layout.input_steps.get(slot));
        let steps = cost::steps(&node) + inputs.sum::<u64>();
        if steps > cost::EXPRESSION_STEPS_MAX {
            let dearest = dear.iter().rev().max_by_key(|part| part.steps);
            return Err(vec![cost::too_dear(steps, span, dearest)]);
        }
        if program.reads().next().is_none() {
            if wanted.is_some() && program.eval(&Nothing).as_flag() != Some(true) {
                return Err(vec![never_true(span, scope, "it would do nothing")]);
            }
            if problems.is_empty() {
                let message = "this reads nothing of the transaction, so it is always the same";
                problems.push(Problem::warning(span, message));
            }
        }
        let compiled = Compiled {
            program,
            id: None,
            steps,
            warnings: problems,
            reads_score,
        };
        Ok((compiled, kind, node))
    }

    fn check_name(&self, name: &str, source: &str) -> Result<(), Vec<Problem>> {
        let fits = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_';
        let begins = name.starts_with(|first: char| first.is_ascii_lowercase());
        let problem = |message: String| Err(vec![Problem::error(0..source.len(), message)]);
        if !begins || !name.bytes().all(fits) {
            return problem(format!(
                "`{name}` cannot name a feature: write small letters, digits and underscores"
            ));
        }
        let known = self
            .layout
            .features
            .iter()
            .any(|feature| feature.name == name);
        if known {
            problem(format!("there is another feature `{name}`"))
        } else {
            Ok(())
        }
    }
}

/// What an expression reads that reads nothing.
struct Nothing;

impl Slots for Nothing {
    fn cell(&self, _: SlotId) -> Cell {
        Cell::MISSING
    }

    fn text(&self, _: SlotId) -> Option<&str> {
        None
    }
}

/// What comes of one expression.
struct Checked {
    compiled: Compiled,
    kind: Type,
    canonical: String,
    node: Node,
}

/// What is wrong is shown with the source and repeats parts of it, so of one with a card number nothing else is said.
fn without_card_numbers(mut problems: Vec<Problem>, source: &str) -> Vec<Problem> {
    if problems.iter().any(|problem| !problem.shows_source) {
        problems.retain(|problem| !problem.shows_source);
    } else if contains_card_number(source) {
        problems = vec![Problem::card_number(0..source.len())];
    }
    problems
}

/// An expression is never refused without a word.
fn never_silent(mut problems: Vec<Problem>, source: &str) -> Vec<Problem> {
    debug_assert!(
        !problems.iter().all(is_warning),
        "refused without a reason: {source}"
    );
    if problems.iter().all(is_warning) {
        problems.push(Problem::error(
            0..source.len(),
            "this expression is not understood",
        ));
    }
    problems
}

fn is_warning(problem: &Problem) -> bool {
    problem.severity == Severity::Warning
}
