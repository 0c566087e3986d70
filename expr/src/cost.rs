//! What evaluating an expression costs, counted in steps before it is ever evaluated.
//!
//! One step is comparing a slot with a constant, a few nanoseconds. The weights of the other operations are round
//! numbers of the right size: they keep one rule from taking the time of a thousand, and say which parts are worth
//! computing only once.

use crate::Problem;
use crate::tree::Node;

/// Most steps of one condition or feature: far more than any sensible one takes (a dozen filtered aggregates take
/// a third), and still a small part of a decision.
pub(crate) const EXPRESSION_STEPS_MAX: u64 = 10_000;

/// Most steps of everything compiled together. With three to four nanoseconds a step that is about a millisecond, the
/// time in which nearly all decisions are to be made.
pub(crate) const SET_STEPS_MAX: u64 = 250_000;

/// Looking at a text of some tens of bytes.
const TEXT: u64 = 5;

/// Reading an IP address.
const ADDRESS: u64 = 10;

/// Finding a moment in a calendar, with the rules of its time zone.
const CALENDAR: u64 = 20;

/// Five calls of sine and cosine and their like.
const DISTANCE: u64 = 30;

/// Finding a value in a list of any size.
pub(crate) const LOOKUP: u64 = 10;

/// Computing an aggregate from the running totals of a history.
const AGGREGATE: u64 = 50;

/// How many events a filter is asked about, in a history of usual size.
const FILTERED_EVENTS: u64 = 100;

/// Steps of evaluating a tree, from its root down. Inputs that its slots need are not part of it.
pub(crate) fn steps(node: &Node) -> u64 {
    let own = match node {
        Node::Constant(_) | Node::Slot(_) | Node::Has(_) => 1,
        Node::Numbers(_, sides) | Node::Same { sides, .. } if is_one_test(sides) => return 1,
        Node::Not(_)
        | Node::All(_)
        | Node::Any(_)
        | Node::Unary(..)
        | Node::Units(..)
        | Node::Length(_) => 1,
        Node::Choose(_)
        | Node::Numbers(..)
        | Node::Moments(..)
        | Node::Same { .. }
        | Node::Arithmetic(..)
        | Node::Shift(..) => 2,
        // Half of the list is left at each step.
        Node::OneOf(_, bits) => 1 + u64::from(bits.len().max(1).ilog2()),
        Node::Calendar(..) => CALENDAR,
        Node::Distance(_) => DISTANCE,
        Node::TextTest(..) | Node::TextSize(_) => TEXT,
        Node::Matches(pattern, _) => pattern.steps(),
        Node::InNetwork(..) => ADDRESS,
    };
    own + node.children().map(steps).sum::<u64>()
}

/// A slot and a constant are compared in one operation.
fn is_one_test(sides: &[Node; 2]) -> bool {
    matches!(
        sides,
        [Node::Slot(_), Node::Constant(_)] | [Node::Constant(_), Node::Slot(_)]
    )
}

/// Steps of an aggregate, with the condition that selects its events, if it has one.
pub(crate) fn steps_of_aggregate(filter: Option<&Node>) -> u64 {
    AGGREGATE + filter.map_or(0, |filter| FILTERED_EVENTS * steps(filter))
}

/// An expression that takes too many steps. `dearest` is the aggregate with most of them.
pub(crate) fn too_dear(
    steps: u64,
    whole: std::ops::Range<usize>,
    dearest: Option<&Dear>,
) -> Problem {
    let message =
        format!("this takes {steps} steps to evaluate, and {EXPRESSION_STEPS_MAX} are allowed");
    let Some(dear) = dearest else {
        let problem = Problem::error(whole, message);
        return problem.with_help("write several rules");
    };
    let message = format!("{message}; {} of them are for this", dear.steps);
    let help = format!(
        "`where` is asked of each past transaction, counted as {FILTERED_EVENTS}: make it simpler, or write several rules"
    );
    Problem::error(dear.span.clone(), message).with_help(help)
}

/// All expressions together take too many steps, from this one on.
pub(crate) fn set_too_dear(steps: u64, whole: std::ops::Range<usize>) -> Problem {
    let message = format!(
        "with this, all conditions and features take {steps} steps to evaluate, and {SET_STEPS_MAX} are allowed"
    );
    let help = "remove rules that are no longer needed, or make conditions inside `where` simpler; \
                equal aggregates count once";
    Problem::error(whole, message).with_help(help)
}

/// An aggregate, where it is written and what it takes.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Dear {
    pub(crate) span: std::ops::Range<usize>,
    pub(crate) steps: u64,
}
