//! Rules that can never decide, because another rule always wins where they match.
//!
//! Only what is certain is said: the other rule's condition follows from this one's term by term, it is for
//! every transaction that this one is for, and the precedence lets it win or makes no difference.

use std::collections::HashMap;
use std::ops::Range;
use std::sync::Arc;

use tollgate_source::{Diagnostic, Diagnostics, SourceFile};
use tollgate_types::Outcome;

use crate::conjuncts::Conjuncts;
use crate::{Mode, Rule};

/// Where a rule stands.
#[derive(Clone, Debug)]
pub(crate) struct Place {
    pub(crate) file: Arc<SourceFile>,
    /// Its id.
    pub(crate) span: Range<usize>,
}

struct Enforced<'r> {
    rule: &'r Rule,
    place: &'r Place,
    needs: Conjuncts,
}

/// Warns of each enforced rule that another one always beats. Places are those of the rules, in their order.
pub(crate) fn warn(rules: &[Rule], places: &[Place], notes: &mut Diagnostics) {
    let enforced: Vec<Enforced<'_>> = rules
        .iter()
        .zip(places)
        .filter(|(rule, _)| rule.mode == Mode::Enforce)
        .map(|(rule, place)| Enforced {
            rule,
            place,
            needs: Conjuncts::of(&rule.when),
        })
        .collect();
    let overridable = enforced.iter().any(|other| other.rule.overrides_allow);
    let candidates = by_rarest_subject(&enforced);
    for (at, beaten) in enforced.iter().enumerate() {
        let winner = beaten
            .needs
            .subjects()
            .filter_map(|subject| candidates.get(subject))
            .flatten()
            .filter(|&&other| other != at && beats(&enforced[other], beaten, overridable))
            // Of two rules that beat one another, the later one is said to be idle.
            .filter(|&&other| other < at || !beats(beaten, &enforced[other], overridable))
            .min();
        if let Some(&winner) = winner {
            notes.push(idle(beaten, &enforced[winner]));
        }
    }
}

/// The rules by the one subject of theirs that the fewest rules have: whatever implies a rule has all its subjects,
/// so looking it up by one is enough, and by the rarest the least work.
fn by_rarest_subject<'e>(enforced: &'e [Enforced<'_>]) -> HashMap<&'e str, Vec<usize>> {
    let mut counts: HashMap<&str, usize> = HashMap::new();
    for rule in enforced {
        for subject in rule.needs.subjects() {
            *counts.entry(subject).or_default() += 1;
        }
    }
    let mut by_subject: HashMap<&str, Vec<usize>> = HashMap::new();
    for (at, rule) in enforced.iter().enumerate() {
        let rarest = rule.needs.subjects().min_by_key(|subject| counts[subject]);
        if let Some(rarest) = rarest {
            by_subject.entry(rarest).or_default().push(at);
        }
    }
    by_subject
}

/// Whether the outcome is the same without `beaten`, whatever else matches.
fn beats(winner: &Enforced<'_>, beaten: &Enforced<'_>, overridable: bool) -> bool {
    takes_precedence(winner.rule, beaten.rule, overridable)
        && winner.rule.reach.share.is_none()
        && winner.rule.reach.period.covers(beaten.rule.reach.period)
        && beaten.needs.imply(&winner.needs)
}

/// Where both match. `overridable` says whether some rule overrides allow rules.
fn takes_precedence(winner: &Rule, beaten: &Rule, overridable: bool) -> bool {
    match (winner.is_allow(), beaten.is_allow()) {
        (true, true) => true,
        (false, true) => winner.overrides_allow,
        (true, false) => !overridable,
        (false, false) => {
            winner.answer.outcome() >= beaten.answer.outcome()
                && (winner.overrides_allow || !beaten.overrides_allow)
        }
    }
}

fn idle(beaten: &Enforced<'_>, winner: &Enforced<'_>) -> Diagnostic {
    let place = winner.place;
    let message = format!(
        "`{}` never decides: whenever it matches, `{}` does too and {}",
        beaten.rule.id,
        winner.rule.id,
        does(winner.rule.answer.outcome())
    );
    let line = place.file.position(place.span.start).0;
    let help = format!(
        "remove one of the two, or let them ask different things; `{}` is at {}:{line}",
        winner.rule.id, place.file.path
    );
    let file = &beaten.place.file;
    Diagnostic::warning(file, beaten.place.span.clone(), message).with_help(help)
}

const fn does(outcome: Outcome) -> &'static str {
    match outcome {
        Outcome::Approve => "approves",
        Outcome::Flag => "flags",
        Outcome::Challenge => "challenges",
        Outcome::Decline => "declines",
    }
}
