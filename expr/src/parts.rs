//! The parts of a condition that a person looks at: the terms it joins, and the values it reads.
//!
//! Tests of rules name values as they are written, and show what came of each term. Decisions need none of this.

use std::ops::Range;

use crate::parse::parse;
use crate::scan::scan;
use crate::syntax::{Operator, Syntax, SyntaxKind};
use crate::{Compiler, Problem, Program, SlotId, Type};

/// A part of an expression that has a value of its own.
#[derive(Clone, PartialEq, Debug)]
pub struct Part {
    /// Bytes of the source.
    pub span: Range<usize>,
    pub kind: Type,
    pub program: Program,
}

impl Part {
    /// The slot, if the part does nothing but read one.
    pub fn slot(&self) -> Option<SlotId> {
        self.program.slot()
    }
}

/// What a condition consists of.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Parts {
    /// What `&&`, `||`, `!` and `? :` join, in order, and conditions inside of other terms that choose a value; the
    /// whole condition where it has none.
    pub terms: Vec<Part>,
    /// What is read: fields, aggregates, look-ups, features, the score. In order, perhaps some twice.
    pub reads: Vec<Part>,
}

impl Compiler<'_> {
    /// Takes a condition apart that has been compiled by this compiler, so that it asks for no slot that is not
    /// there. Takes a few times as long as compiling it.
    pub fn parts(&mut self, source: &str) -> Result<Parts, Vec<Problem>> {
        let tokens = scan(source)?;
        let syntax = parse(&tokens)?;
        let mut parts = Parts::default();
        self.add_terms(source, &syntax, &mut parts);
        self.add_reads(source, &syntax, &mut parts);
        Ok(parts)
    }

    fn add_terms(&mut self, source: &str, syntax: &Syntax, parts: &mut Parts) {
        match &syntax.kind {
            SyntaxKind::Binary {
                operator: Operator::And | Operator::Or,
                sides,
                ..
            } => {
                for side in &**sides {
                    self.add_terms(source, side, parts);
                }
            }
            SyntaxKind::Not(of) => self.add_terms(source, of, parts),
            SyntaxKind::Choose(of) => {
                let [condition, branches @ ..] = &**of;
                self.add_terms(source, condition, parts);
                for branch in branches {
                    // One that is always the same, as in `a ? b : false`, is no term.
                    if !matches!(branch.kind, SyntaxKind::Flag(_)) {
                        self.add_terms(source, branch, parts);
                    }
                }
            }
            _ => {
                parts.terms.extend(self.part_of(source, syntax));
                self.add_choices(source, syntax, parts);
            }
        }
    }

    /// What the values inside of a term are chosen by.
    fn add_choices(&mut self, source: &str, syntax: &Syntax, parts: &mut Parts) {
        let inside: &[Syntax] = match &syntax.kind {
            SyntaxKind::Choose(of) => {
                self.add_terms(source, &of[0], parts);
                &of[1..]
            }
            SyntaxKind::Negate(of) => std::slice::from_ref(of),
            SyntaxKind::Binary { sides, .. } => &**sides,
            SyntaxKind::Call(call) if call.of.is_none() => &call.arguments,
            _ => &[],
        };
        for part in inside {
            self.add_choices(source, part, parts);
        }
    }

    /// The largest parts that are one slot. Only those are compiled that can be one: compiling every part of a long
    /// condition would take time by the square of its length.
    fn add_reads(&mut self, source: &str, syntax: &Syntax, parts: &mut Parts) {
        if may_be_slot(&syntax.kind)
            && let Some(read) = self.part_of(source, syntax)
            && read.slot().is_some()
        {
            parts.reads.push(read);
            return;
        }
        let mut each = |inner: &[Syntax]| {
            for part in inner {
                self.add_reads(source, part, parts);
            }
        };
        match &syntax.kind {
            SyntaxKind::Number(_)
            | SyntaxKind::Text(_)
            | SyntaxKind::Flag(_)
            | SyntaxKind::Null
            | SyntaxKind::Name(_)
            | SyntaxKind::Select { .. } => {}
            SyntaxKind::Not(of) | SyntaxKind::Negate(of) => self.add_reads(source, of, parts),
            SyntaxKind::Binary { sides, .. } => each(&**sides),
            SyntaxKind::Choose(of) => each(&**of),
            SyntaxKind::List(of) => each(of),
            SyntaxKind::Call(call) => {
                if let Some(of) = &call.of {
                    each(std::slice::from_ref(of));
                }
                each(&call.arguments);
            }
        }
    }

    fn part_of(&mut self, source: &str, syntax: &Syntax) -> Option<Part> {
        let (program, kind) = self.part(syntax, source)?;
        Some(Part {
            span: syntax.span.clone(),
            kind,
            program,
        })
    }
}

/// Fields, features and the score; aggregates; look-ups.
fn may_be_slot(kind: &SyntaxKind) -> bool {
    match kind {
        SyntaxKind::Select { .. } => true,
        SyntaxKind::Call(call) => call.of.is_some(),
        SyntaxKind::Binary { operator, .. } => *operator == Operator::In,
        _ => false,
    }
}
