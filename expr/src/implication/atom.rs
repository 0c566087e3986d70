//! What one subject must be.

use super::Subject;
use crate::check::ranges::Ranges;
use crate::network::Network;
use crate::values::TextTest;

#[derive(Clone, PartialEq, Debug)]
pub(super) struct Atom {
    pub(super) subject: Subject,
    pub(super) holds: Holds,
}

#[derive(Clone, PartialEq, Debug)]
pub(super) enum Holds {
    /// It is there and among these.
    Values(Ranges),
    /// Of something that is never negative and over a longer window never less: over a window of this length in
    /// microseconds it is among these.
    Window(i64, Ranges),
    Present,
    Missing,
    /// Whether a text does this.
    Text(bool, TextTest, String),
    /// Whether an address is of this network.
    Network(bool, Network),
}

impl Atom {
    /// Whether the other holds whenever this does.
    pub(super) fn implies(&self, other: &Self) -> bool {
        self.subject == other.subject && self.holds.imply(&other.holds)
    }

    /// Both at once as one, where they can be.
    pub(super) fn and(&self, other: &Self) -> Option<Self> {
        self.joined(other, Ranges::and)
    }

    /// Either as one, where they can be.
    pub(super) fn or(&self, other: &Self) -> Option<Self> {
        self.joined(other, Ranges::or)
    }

    fn joined(&self, other: &Self, join: fn(&Ranges, &Ranges) -> Ranges) -> Option<Self> {
        let holds = match (&self.holds, &other.holds) {
            (Holds::Values(ours), Holds::Values(theirs)) => Holds::Values(join(ours, theirs)),
            (Holds::Window(window, ours), Holds::Window(other, theirs)) if window == other => {
                Holds::Window(*window, join(ours, theirs))
            }
            (ours, theirs) if ours == theirs => ours.clone(),
            _ => return None,
        };
        let subject = self.subject;
        (subject == other.subject).then_some(Self { subject, holds })
    }
}

impl Holds {
    fn imply(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Values(ours), Self::Values(theirs)) => ours.is_within(theirs),
            (Self::Window(window, ours), Self::Window(other, theirs)) => {
                // A shorter window has no more than a longer one.
                let known = match window.cmp(other) {
                    std::cmp::Ordering::Less => ours.and_above(),
                    std::cmp::Ordering::Equal => ours.clone(),
                    std::cmp::Ordering::Greater => ours.and_below(),
                };
                let not_negative = Ranges::between(0, i64::MAX);
                known.and(&not_negative).is_within(theirs)
            }
            (Self::Missing, _) | (_, Self::Missing) => self == other,
            (_, Self::Present) => true,
            (Self::Text(true, test, text), Self::Text(true, other, part)) => {
                follows(*test, text, *other, part)
            }
            (Self::Text(false, test, text), Self::Text(false, other, part)) => {
                follows(*other, part, *test, text)
            }
            (Self::Network(true, inner), Self::Network(true, outer)) => is_within(inner, outer),
            (Self::Network(false, outer), Self::Network(false, inner)) => is_within(inner, outer),
            _ => false,
        }
    }
}

/// Whether what does the first thing with `text` does the other with `part`.
fn follows(test: TextTest, text: &str, other: TextTest, part: &str) -> bool {
    match (test, other) {
        (TextTest::StartsWith, TextTest::StartsWith) => text.starts_with(part),
        (TextTest::EndsWith, TextTest::EndsWith) => text.ends_with(part),
        (_, TextTest::Contains) => text.contains(part),
        _ => false,
    }
}

fn is_within(inner: &Network, outer: &Network) -> bool {
    outer.contains(inner.first()) && outer.shared_bits() <= inner.shared_bits()
}
