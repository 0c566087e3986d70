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
    /// What `&&`, `||` and `!` join, in order; the whole condition where it has none.
    pub terms: Vec<Part>,
    /// What is read: fields, aggregates, look-ups, features, the score. In order, perhaps some twice.
    pub reads: Vec<Part>,
}

impl Compiler<'_> {
    /// Takes a condition apart that has been compiled by this compiler, so that it asks for no slot that is not
    /// there. Takes time proportional to the square of the source's length at most.
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
            _ => parts.terms.extend(self.part(source, syntax.span.clone())),
        }
    }

    /// The largest parts that are one slot.
    fn add_reads(&mut self, source: &str, syntax: &Syntax, parts: &mut Parts) {
        let whole = self.part(source, syntax.span.clone());
        if let Some(read) = whole.filter(|part| part.slot().is_some()) {
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
            SyntaxKind::Has { of, field } => {
                let asked = of.span.start..field.span.end;
                let read = self.part(source, asked);
                parts
                    .reads
                    .extend(read.filter(|part| part.slot().is_some()));
            }
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

    fn part(&mut self, source: &str, span: Range<usize>) -> Option<Part> {
        let (compiled, kind) = self.expression(source.get(span.clone())?).ok()?;
        Some(Part {
            span,
            kind,
            program: compiled.program,
        })
    }
}
