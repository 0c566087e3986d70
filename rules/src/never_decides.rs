//! Rules that can never decide, because another rule always wins where they match.
//!
//! Only what is certain is said: the other rule's condition follows from this one's, it is for every transaction that
//! this one is for, the precedence lets it win or makes no difference, and it is asked wherever this one is: a rule that
//! reads the score or an aggregate is left out where an answer has to do without. A winner that its guard may demote
//! wins only until then, and that is said too.

use std::ops::Range;
use std::sync::Arc;

use tollgate_expr::{ConditionId, Implications};
use tollgate_source::{Diagnostic, Diagnostics, SourceFile};
use tollgate_types::Outcome;

use crate::{Mode, Rule};

/// Where a rule stands.
#[derive(Clone, Debug)]
pub(crate) struct Place {
    pub(crate) file: Arc<SourceFile>,
    /// Its id.
    pub(crate) span: Range<usize>,
    /// What it decides by. Absent if it decides nothing.
    pub(crate) condition: Option<ConditionId>,
}

/// Warns of each enforced rule that another one always beats. Places, and the conditions in `implications`, are those
/// of the rules, in their order.
pub(crate) fn warn(
    rules: &[Rule],
    places: &[Place],
    implications: &Implications,
    notes: &mut Diagnostics,
) {
    let enforced = || rules.iter().filter(|rule| rule.mode == Mode::Enforce);
    let overridable = enforced().any(|rule| rule.overrides_allow);
    let may_beat = |winner: usize, beaten: usize| {
        let (winner, beaten) = (&rules[winner], &rules[beaten]);
        takes_precedence(winner, beaten, overridable)
            && is_asked_wherever(winner, beaten)
            && winner.reach.share.is_none()
            && winner.reach.period.covers(beaten.reach.period)
    };
    let deciding = rules.iter().zip(places).enumerate();
    for (at, (beaten, place)) in deciding.filter(|(_, (rule, _))| rule.mode == Mode::Enforce) {
        let winner = |may_be_demoted: bool| {
            implications.first_implied(at, |other| {
                rules[other].mode == Mode::Enforce
                    && rules[other].may_be_demoted() == may_be_demoted
                    && may_beat(other, at)
                    // Of two rules that beat one another, the later one is said to be idle, or the one that a
                    // guard may demote.
                    && ((rules[other].may_be_demoted(), other) < (rules[at].may_be_demoted(), at)
                        || !(may_beat(at, other) && implications.implies(other, at)))
            })
        };
        if let Some(winner) = winner(false).or_else(|| winner(true)) {
            notes.push(idle((beaten, place), (&rules[winner], &places[winner])));
        }
    }
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

/// At every level of degradation that leaves out `winner`, `beaten` is left out as well.
const fn is_asked_wherever(winner: &Rule, beaten: &Rule) -> bool {
    (!winner.reads_score || beaten.reads_score)
        && (!winner.reads_aggregates || beaten.reads_aggregates)
}

fn idle((beaten, place): (&Rule, &Place), (winner, other): (&Rule, &Place)) -> Diagnostic {
    let outcome = winner.answer.outcome();
    let line = other.file.position(other.span.start).0;
    let (id, winner_id) = (&beaten.id, &winner.id);
    let at = format!("`{winner_id}` is at {}:{line}", other.file.path);
    let (decides, help) = if winner.may_be_demoted() {
        (
            format!("decides only while the guard has demoted `{winner_id}`"),
            format!(
                "keep both if that is what this one is for, else remove one of the two, or let them ask \
                 different things; {at}"
            ),
        )
    } else {
        let help = format!("remove one of the two, or let them ask different things; {at}");
        ("never decides".to_owned(), help)
    };
    let also = if winner.may_be_demoted() {
        "that one".to_owned()
    } else {
        format!("`{winner_id}`")
    };
    let message = format!(
        "`{id}` {decides}: whenever it matches, {also} does too and {}",
        does(outcome)
    );
    Diagnostic::warning(&place.file, place.span.clone(), message).with_help(help)
}

const fn does(outcome: Outcome) -> &'static str {
    match outcome {
        Outcome::Approve => "approves",
        Outcome::Flag => "flags",
        Outcome::Challenge => "challenges",
        Outcome::Decline => "declines",
    }
}
