//! What follows from what: whether one condition holds whenever another one does.
//!
//! Only what is certain is said. A condition becomes a formula of `all` and `any` over atoms, each of which says what
//! one subject must be: a range of values, there or not, a text that begins in some way. One formula follows from
//! another if each of its parts follows from some part of the other. What is not understood is a subject of its own,
//! which implies nothing but itself.
//!
//! To hold is to be true: a condition that is missing does not hold, and none of the steps here takes it for false.

mod atom;
mod build;
mod formula;

use std::cell::Cell;
use std::collections::HashMap;

use formula::Formula;

use crate::{Compiler, ConditionId};

/// Conditions of one policy, so that it can be asked what follows from each.
#[derive(Debug)]
pub struct Implications {
    conditions: Vec<Option<Condition>>,
    /// Conditions by subjects of which whatever implies them has at least one.
    by_subject: HashMap<Subject, Vec<usize>>,
    /// Those that always hold.
    always: Vec<usize>,
    steps_left: Cell<u64>,
}

#[derive(Debug)]
struct Condition {
    formula: Formula,
    /// In ascending order.
    subjects: Vec<Subject>,
}

/// What atoms are about, by number: equal numbers, equal subjects.
type Subject = u32;

/// Steps that may be taken for all conditions of a policy: what the largest sets need is far below, and comparing that
/// many takes less than a second. Then nothing more follows from anything.
const STEPS_MAX: u64 = 20_000_000;

impl Compiler<'_> {
    /// What follows from what among conditions that this has compiled, by their places here. Nothing follows from, or
    /// implies, one that is not given.
    pub fn implications(&self, ids: impl IntoIterator<Item = Option<ConditionId>>) -> Implications {
        let mut builder = build::Builder::new(self.schema(), self.layout());
        let mut condition = |id: Option<ConditionId>| {
            let formula = builder.formula(self.tree(id?)?);
            let subjects = formula.subjects();
            Some(Condition { formula, subjects })
        };
        Implications::of(ids.into_iter().map(&mut condition).collect())
    }
}

impl Implications {
    fn of(conditions: Vec<Option<Condition>>) -> Self {
        let mut counts: HashMap<Subject, usize> = HashMap::new();
        for condition in conditions.iter().flatten() {
            for subject in &condition.subjects {
                *counts.entry(*subject).or_default() += 1;
            }
        }
        let mut by_subject: HashMap<Subject, Vec<usize>> = HashMap::new();
        let mut always = Vec::new();
        for (at, condition) in conditions.iter().enumerate() {
            let Some(condition) = condition else { continue };
            // Whatever implies the whole implies each part, so one is enough, and the rarest the least work.
            let parts = condition.formula.parts().iter().map(Formula::subjects);
            let rarest = parts.min_by_key(|subjects| {
                let counted = subjects.iter().filter_map(|subject| counts.get(subject));
                counted.sum::<usize>()
            });
            match rarest {
                Some(subjects) => subjects
                    .into_iter()
                    .for_each(|subject| by_subject.entry(subject).or_default().push(at)),
                None => always.push(at),
            }
        }
        Self {
            conditions,
            by_subject,
            always,
            steps_left: Cell::new(STEPS_MAX),
        }
    }

    /// The first condition but itself that is wanted and holds whenever this one does.
    pub fn first_implied(&self, by: usize, wanted: impl Fn(usize) -> bool) -> Option<usize> {
        let subjects = &self.conditions.get(by)?.as_ref()?.subjects;
        let of_subjects = subjects
            .iter()
            .filter_map(|subject| self.by_subject.get(subject));
        let first = |candidates: &Vec<usize>| {
            let mut candidates = candidates.iter().copied();
            candidates.find(|&other| other != by && wanted(other) && self.implies(by, other))
        };
        of_subjects
            .chain(std::iter::once(&self.always))
            .filter_map(first)
            .min()
    }

    /// Whether the other condition holds whenever this one does.
    pub fn implies(&self, one: usize, other: usize) -> bool {
        let condition = |at: usize| self.conditions.get(at).and_then(Option::as_ref);
        let (Some(one), Some(other)) = (condition(one), condition(other)) else {
            return false;
        };
        one.formula.implies(&other.formula, &self.steps_left)
    }
}

#[cfg(test)]
mod tests;
