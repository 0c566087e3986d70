//! A checked expression: every name is a slot, every operation is for the types it is given.

use jiff::tz::TimeZone;

use crate::SlotId;
use crate::values::{Arithmetic, Comparison, Part, Shift, TextTest, Unary, Unit};

/// What the checker makes of an expression and the compiler makes a program of.
#[derive(Clone, PartialEq, Debug)]
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
    Units(Unit, Box<Node>),
    Calendar(Part, TimeZone, Box<Node>),
    /// Reads the text itself, which only slots of the transaction's text fields have.
    TextTest(TextTest, SlotId, String),
    TextSize(SlotId),
}
