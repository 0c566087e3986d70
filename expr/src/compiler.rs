//! Compiles the expressions of one policy so that they share their slots.

use std::collections::{BTreeMap, BTreeSet};

use tollgate_types::Schema;

use crate::check::{Checker, Scope};
use crate::compile::compile;
use crate::parse::parse;
use crate::scan::scan;
use crate::{Feature, Layout, ListKind, Problem, Program, Severity, SlotId, Type};

/// Checks and compiles expressions against one schema, and gives equal aggregates and lookups one slot.
#[derive(Clone, Debug)]
pub struct Compiler<'s> {
    schema: &'s Schema,
    lists: BTreeMap<String, ListKind>,
    layout: Layout,
    failed_features: BTreeSet<String>,
}

/// A compiled expression and what is worth knowing about it.
#[derive(Clone, PartialEq, Debug)]
pub struct Compiled {
    pub program: Program,
    pub warnings: Vec<Problem>,
    /// It can only be evaluated once the model has answered.
    pub reads_score: bool,
}

impl<'s> Compiler<'s> {
    pub fn new(schema: &'s Schema, lists: BTreeMap<String, ListKind>) -> Self {
        let fields = schema.fields().len();
        let score = SlotId(u32::try_from(fields).unwrap_or(u32::MAX));
        let layout = Layout {
            fields,
            score,
            aggregates: Vec::new(),
            lookups: Vec::new(),
            features: Vec::new(),
            slots: fields + 1,
        };
        Self {
            schema,
            lists,
            layout,
            failed_features: BTreeSet::new(),
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
            definition,
        } = checked;
        let Compiled {
            program, warnings, ..
        } = compiled;
        let definition = self.with_definitions_read(definition, &program);
        let feature = Feature {
            name: name.to_owned(),
            kind,
            program,
            slot,
            definition,
        };
        self.layout.features.push(feature);
        Ok((kind, warnings))
    }

    /// A feature means what the features it reads mean, so their definitions belong to its own.
    fn with_definitions_read(&self, mut definition: String, program: &Program) -> String {
        let reads: BTreeSet<SlotId> = program.reads().collect();
        for read in self
            .layout
            .features
            .iter()
            .filter(|feature| reads.contains(&feature.slot))
        {
            definition.push_str(&format!("; features.{} = {}", read.name, read.definition));
        }
        definition
    }

    /// Compiles a flag.
    pub fn condition(&mut self, source: &str) -> Result<Compiled, Vec<Problem>> {
        Ok(self.check(source, Scope::Rule, Some(Type::Flag))?.compiled)
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

    /// The slots of everything compiled.
    pub fn finish(self) -> Layout {
        self.layout
    }

    /// What an expression found wrong had asked for is taken out of the layout again.
    fn check(
        &mut self,
        source: &str,
        scope: Scope,
        wanted: Option<Type>,
    ) -> Result<Checked, Vec<Problem>> {
        let mark = self.layout.mark();
        let result = self.check_unguarded(source, scope, wanted);
        if result.is_err() {
            self.layout.back_to(mark);
        }
        result
    }

    fn check_unguarded(
        &mut self,
        source: &str,
        scope: Scope,
        wanted: Option<Type>,
    ) -> Result<Checked, Vec<Problem>> {
        let tokens = scan(source)?;
        let syntax = parse(&tokens)?;
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
        };
        let whole = checker.whole(&syntax, wanted);
        let (mut problems, reads_score) = (checker.problems, checker.reads_score);
        let Some((node, kind)) = whole.filter(|_| problems.iter().all(is_warning)) else {
            return Err(never_silent(problems, source));
        };
        let program = compile(&node).map_err(|deep| vec![deep.problem(syntax.span.clone())])?;
        if program.reads().next().is_none() {
            let message = "this reads nothing of the transaction, so it is always the same";
            problems.push(Problem::warning(syntax.span, message));
        }
        let compiled = Compiled {
            program,
            warnings: problems,
            reads_score,
        };
        Ok(Checked {
            compiled,
            kind,
            definition: tokens.canonical(),
        })
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

/// What comes of one expression.
struct Checked {
    compiled: Compiled,
    kind: Type,
    definition: String,
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
