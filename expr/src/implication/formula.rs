//! Conditions as `all` and `any` of atoms, and when one follows from another.

use std::cell::Cell;

use super::Subject;
use super::atom::Atom;

#[derive(Clone, PartialEq, Debug)]
pub(super) enum Formula {
    /// Holds if all parts do; always, without a part.
    All(Vec<Formula>),
    /// Holds if any part does; never, without a part.
    Any(Vec<Formula>),
    Atom(Atom),
}

impl Formula {
    /// All of these, those about the same joined.
    pub(super) fn all(parts: impl IntoIterator<Item = Self>) -> Self {
        let mut all = Vec::new();
        for part in parts {
            match part {
                Self::All(inner) => inner
                    .into_iter()
                    .for_each(|part| join(&mut all, part, Atom::and)),
                part => join(&mut all, part, Atom::and),
            }
        }
        alone(all).unwrap_or_else(Self::All)
    }

    /// Any of these, those about the same joined.
    pub(super) fn any(parts: impl IntoIterator<Item = Self>) -> Self {
        let mut any = Vec::new();
        for part in parts {
            match part {
                Self::Any(inner) => inner
                    .into_iter()
                    .for_each(|part| join(&mut any, part, Atom::or)),
                part => join(&mut any, part, Atom::or),
            }
        }
        alone(any).unwrap_or_else(Self::Any)
    }

    /// What must hold for this to hold.
    pub(super) fn parts(&self) -> &[Self] {
        match self {
            Self::All(parts) => parts,
            _ => std::slice::from_ref(self),
        }
    }

    /// What its atoms are about, in ascending order.
    pub(super) fn subjects(&self) -> Vec<Subject> {
        let mut subjects = Vec::new();
        self.add_subjects(&mut subjects);
        subjects.sort_unstable();
        subjects.dedup();
        subjects
    }

    fn add_subjects(&self, subjects: &mut Vec<Subject>) {
        match self {
            Self::All(parts) | Self::Any(parts) => {
                parts.iter().for_each(|part| part.add_subjects(subjects));
            }
            Self::Atom(atom) => subjects.push(atom.subject),
        }
    }

    /// Whether the other holds whenever this does, as far as the steps last.
    pub(super) fn implies(&self, other: &Self, steps_left: &Cell<u64>) -> bool {
        let Some(left) = steps_left.get().checked_sub(1) else {
            return false;
        };
        steps_left.set(left);
        let implies = |one: &Self, other: &Self| one.implies(other, steps_left);
        match (self, other) {
            (_, Self::All(others)) => others.iter().all(|other| implies(self, other)),
            (Self::Any(parts), _) => parts.iter().all(|part| implies(part, other)),
            (Self::All(parts), Self::Any(others)) => {
                others.iter().any(|other| implies(self, other))
                    || parts.iter().any(|part| implies(part, other))
            }
            (Self::All(parts), Self::Atom(_)) => parts.iter().any(|part| implies(part, other)),
            (Self::Atom(_), Self::Any(others)) => others.iter().any(|other| implies(self, other)),
            (Self::Atom(atom), Self::Atom(other)) => atom.implies(other),
        }
    }
}

/// Adds a part, or joins it with one about the same.
fn join(parts: &mut Vec<Formula>, part: Formula, joined: fn(&Atom, &Atom) -> Option<Atom>) {
    if let Formula::Atom(atom) = &part {
        for known in &mut *parts {
            if let Formula::Atom(of) = known
                && let Some(both) = joined(of, atom)
            {
                *of = both;
                return;
            }
        }
    }
    parts.push(part);
}

/// The only one, or all of them back.
fn alone(mut parts: Vec<Formula>) -> Result<Formula, Vec<Formula>> {
    match (parts.pop(), parts.is_empty()) {
        (Some(only), true) => Ok(only),
        (last, _) => {
            parts.extend(last);
            Err(parts)
        }
    }
}
