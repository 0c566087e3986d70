//! A checked expression: every name is a slot, every operation is for the types it is given.

use std::hash::{Hash, Hasher};

use jiff::tz::TimeZone;

use crate::SlotId;
use crate::network::Network;
use crate::pattern::Pattern;
use crate::values::{Arithmetic, Comparison, Part, Shift, TextTest, Unary, Unit};

/// What the checker makes of an expression and the compiler makes a program of.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub(crate) enum Node {
    /// The bits of a present [`tollgate_types::Cell`].
    Constant(u64),
    Slot(SlotId),
    /// Whether the slot is there; never missing itself.
    Has(SlotId),
    Not(Box<Node>),
    /// `&&` of two or more: false if any is, else missing if any is.
    All(Vec<Node>),
    /// `||` of two or more: true if any is, else missing if any is.
    Any(Vec<Node>),
    /// Condition, value if it is true, value if it is false; missing if the condition is.
    Choose(Box<[Node; 3]>),
    Numbers(Comparison, Box<[Node; 2]>),
    /// Times with times, or durations with durations.
    Moments(Comparison, Box<[Node; 2]>),
    /// Equality of texts or flags: of bits.
    Same {
        equal: bool,
        sides: Box<[Node; 2]>,
    },
    /// Whether the bits are among these.
    OneOf(Box<Node>, Vec<u64>),
    Unary(Unary, Box<Node>),
    Arithmetic(Arithmetic, Box<[Node; 2]>),
    Shift(Shift, Box<[Node; 2]>),
    /// A duration without its sign.
    Length(Box<Node>),
    Units(Unit, Box<Node>),
    Calendar(Part, Zone, Box<Node>),
    /// Kilometres between two places: latitude and longitude of each.
    Distance(Box<[Node; 4]>),
    /// Reads the text itself, which only slots of the transaction's text fields have.
    TextTest(TextTest, SlotId, String),
    Matches(Pattern, SlotId),
    /// Whether a text is an address of the network; missing if it is no address.
    InNetwork(Network, SlotId),
    TextSize(SlotId),
}

/// A time zone, equal to those that are called as it is.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Zone(pub(crate) TimeZone);

impl Hash for Zone {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.0.iana_name().hash(state);
    }
}

impl Node {
    /// The parts it is made of.
    pub(crate) fn children(&self) -> impl Iterator<Item = &Self> {
        let children: &[Self] = match self {
            Self::Constant(_)
            | Self::Slot(_)
            | Self::Has(_)
            | Self::TextTest(..)
            | Self::Matches(..)
            | Self::InNetwork(..)
            | Self::TextSize(_) => &[],
            Self::Not(of)
            | Self::OneOf(of, _)
            | Self::Unary(_, of)
            | Self::Length(of)
            | Self::Units(_, of)
            | Self::Calendar(_, _, of) => std::slice::from_ref(of),
            Self::All(terms) | Self::Any(terms) => terms,
            Self::Choose(parts) => &**parts,
            Self::Numbers(_, sides)
            | Self::Moments(_, sides)
            | Self::Same { sides, .. }
            | Self::Arithmetic(_, sides)
            | Self::Shift(_, sides) => &**sides,
            Self::Distance(places) => &**places,
        };
        children.iter()
    }

    /// The same with every part exchanged for another.
    pub(crate) fn with_children(&self, mut other: impl FnMut(&Self) -> Self) -> Self {
        let mut node = self.clone();
        match &mut node {
            Self::Constant(_)
            | Self::Slot(_)
            | Self::Has(_)
            | Self::TextTest(..)
            | Self::Matches(..)
            | Self::InNetwork(..)
            | Self::TextSize(_) => {}
            Self::Not(of)
            | Self::OneOf(of, _)
            | Self::Unary(_, of)
            | Self::Length(of)
            | Self::Units(_, of)
            | Self::Calendar(_, _, of) => **of = other(of),
            Self::All(terms) | Self::Any(terms) => each(terms, other),
            Self::Choose(parts) => each(&mut **parts, other),
            Self::Numbers(_, sides)
            | Self::Moments(_, sides)
            | Self::Same { sides, .. }
            | Self::Arithmetic(_, sides)
            | Self::Shift(_, sides) => each(&mut **sides, other),
            Self::Distance(places) => each(&mut **places, other),
        }
        node
    }
}

fn each(nodes: &mut [Node], mut other: impl FnMut(&Node) -> Node) {
    for node in nodes {
        *node = other(node);
    }
}
