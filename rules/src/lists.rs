//! Lists of values that expressions ask: `transaction.merchant_id in lists.blocked_merchants`.

use std::collections::HashMap;

use foldhash::fast::FixedState;
use tollgate_types::{Cell, EventTime, FieldType, TextKey};

/// A list among [`Lists`].
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct ListId(pub u16);

/// The lists of a policy, by name.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Lists {
    lists: Vec<List>,
}

/// Values of one type, each until it expires.
#[derive(Clone, PartialEq, Debug)]
pub struct List {
    name: String,
    kind: FieldType,
    /// The bits of a value, and until when it is listed. Not keyed by a secret: whoever writes lists can do
    /// worse than make them slow.
    until: HashMap<u64, EventTime, FixedState>,
}

impl Lists {
    pub(crate) fn new(lists: Vec<List>) -> Self {
        Self { lists }
    }

    pub fn find(&self, name: &str) -> Option<ListId> {
        let at = self.lists.iter().position(|list| list.name == name)?;
        u16::try_from(at).ok().map(ListId)
    }

    pub fn iter(&self) -> std::slice::Iter<'_, List> {
        self.lists.iter()
    }

    /// Whether the list has the value at that time. A missing value is in no list; O(1).
    pub fn contains(&self, list: ListId, value: Cell, at: EventTime) -> bool {
        self.lists
            .get(usize::from(list.0))
            .is_some_and(|list| list.contains(value, at))
    }
}

impl<'l> IntoIterator for &'l Lists {
    type Item = &'l List;
    type IntoIter = std::slice::Iter<'l, List>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

impl List {
    pub(crate) fn texts<'t>(
        name: &str,
        entries: impl IntoIterator<Item = (&'t str, EventTime)>,
    ) -> Self {
        let keyed = entries
            .into_iter()
            .map(|(text, until)| (TextKey::of(text).bits(), until));
        Self {
            name: name.to_owned(),
            kind: FieldType::Text,
            until: latest(keyed),
        }
    }

    pub(crate) fn numbers(name: &str, entries: impl IntoIterator<Item = (f64, EventTime)>) -> Self {
        let keyed = entries
            .into_iter()
            .map(|(number, until)| (number_bits(number), until));
        Self {
            name: name.to_owned(),
            kind: FieldType::Number,
            until: latest(keyed),
        }
    }

    pub fn name(&self) -> &str {
        &self.name
    }

    /// The type of its values: text or number.
    pub const fn kind(&self) -> FieldType {
        self.kind
    }

    /// How many values it has, expired ones included.
    pub fn len(&self) -> usize {
        self.until.len()
    }

    pub fn is_empty(&self) -> bool {
        self.until.is_empty()
    }

    fn contains(&self, value: Cell, at: EventTime) -> bool {
        let bits = match self.kind {
            FieldType::Number => value.as_number().map(number_bits),
            _ => value.as_text().map(TextKey::bits),
        };
        bits.and_then(|bits| self.until.get(&bits))
            .is_some_and(|until| at < *until)
    }
}

/// Zero has two signs in floating point but is one number to a list.
fn number_bits(number: f64) -> u64 {
    (number + 0.0).to_bits()
}

/// A value that is listed twice is listed until the later time.
fn latest(entries: impl Iterator<Item = (u64, EventTime)>) -> HashMap<u64, EventTime, FixedState> {
    let mut until = HashMap::default();
    for (bits, time) in entries {
        let known = until.entry(bits).or_insert(time);
        *known = (*known).max(time);
    }
    until
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(text: &str) -> Cell {
        Cell::text(TextKey::of(text))
    }

    #[test]
    fn a_value_is_listed_until_the_moment_it_expires() {
        let time = EventTime::from_micros;
        let list = List::texts("a", [("m1", time(10)), ("m2", EventTime::MAX)]);
        let lists = Lists::new(vec![list]);
        let id = lists.find("a").unwrap();
        assert_eq!(lists.find("b"), None);
        assert!(lists.contains(id, text("m1"), time(9)));
        assert!(!lists.contains(id, text("m1"), time(10)));
        assert!(lists.contains(id, text("m2"), time(i64::MAX - 1)));
        assert!(!lists.contains(id, text("m3"), time(0)));
        assert!(!lists.contains(id, Cell::MISSING, time(0)));
    }

    #[test]
    fn of_two_entries_the_later_expiry_counts() {
        let time = EventTime::from_micros;
        for times in [[time(5), time(9)], [time(9), time(5)]] {
            let lists = Lists::new(vec![List::texts("a", times.map(|until| ("m1", until)))]);
            assert!(lists.contains(ListId(0), text("m1"), time(8)));
        }
    }

    #[test]
    fn numbers_compare_as_numbers() {
        let entries = [4511.0, 0.0].map(|number| (number, EventTime::MAX));
        let lists = Lists::new(vec![List::numbers("mcc", entries)]);
        let at = EventTime::default();
        assert!(lists.contains(ListId(0), Cell::number(4511.0), at));
        assert!(lists.contains(ListId(0), Cell::number(-0.0), at));
        assert!(!lists.contains(ListId(0), Cell::number(4512.0), at));
    }
}
