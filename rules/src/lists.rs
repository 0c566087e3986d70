//! Lists of values that expressions ask: `transaction.merchant_id in lists.blocked_merchants`.

use std::collections::HashMap;

use foldhash::fast::FixedState;
use tollgate_expr::{Frame, Layout, Network, SlotId};
use tollgate_types::{Cell, EventTime, FieldId, FieldType, Record, TextKey};

use crate::networks::Networks;

/// A list among [`Lists`].
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct ListId(pub u16);

/// The lists of a policy, by name.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Lists {
    lists: Vec<List>,
}

/// What the values of a list are.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum ListKind {
    Text,
    Number,
    /// IP networks and addresses; an address is listed if any network around it is.
    Network,
    /// Tokens that stand for cards.
    Card,
}

impl ListKind {
    pub const ALL: [Self; 4] = [Self::Text, Self::Number, Self::Network, Self::Card];

    /// The word in the header of a list: `value:network`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Text => "text",
            Self::Number => "number",
            Self::Network => "network",
            Self::Card => "card",
        }
    }

    /// The type of the fields that are looked up in it.
    pub const fn field_type(self) -> FieldType {
        match self {
            Self::Number => FieldType::Number,
            Self::Text | Self::Network | Self::Card => FieldType::Text,
        }
    }
}

/// Values of one kind, each until it expires. Asking takes one look into a hash table, for networks a few.
///
/// Texts, numbers and cards take 17 bytes a place, of which a table has up to 2.3 for each value: at most 36 MB for
/// a million values. Values themselves are not kept, only 64 bits of each.
#[derive(Clone, PartialEq, Debug)]
pub struct List {
    name: String,
    values: Values,
}

#[derive(Clone, PartialEq, Debug)]
enum Values {
    Texts(Until),
    Numbers(Until),
    Cards(Until),
    Networks(Networks),
}

/// The bits of a value, and until when it is listed. Not keyed by a secret: whoever writes lists can do worse
/// than make them slow.
pub(crate) type Until = HashMap<u64, EventTime, FixedState>;

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

    /// Whether the list has the value of a field as of the transaction's event time; `None` where the field is
    /// missing, or is no address and the list has networks.
    pub fn ask(&self, list: ListId, record: &Record<'_>, field: FieldId) -> Option<bool> {
        let value = record.cell(field);
        if value.is_missing() {
            return None;
        }
        let list = self.lists.get(usize::from(list.0))?;
        list.has(value, record.text(field), record.event_time())
    }
}

/// Which field is looked up in which list, and where the answer goes.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(crate) struct Lookups(Vec<(ListId, FieldId, SlotId)>);

impl Lookups {
    /// `None` if a list is not there, which the compiler has refused.
    pub(crate) fn resolve(layout: &Layout, lists: &Lists) -> Option<Self> {
        let resolved = layout
            .lookups
            .iter()
            .map(|(lookup, slot)| Some((lists.find(&lookup.list)?, lookup.field, *slot)));
        resolved.collect::<Option<_>>().map(Self)
    }

    /// Answers them for one transaction.
    pub(crate) fn fill(&self, lists: &Lists, record: &Record<'_>, frame: &mut Frame<'_>) {
        for &(list, field, slot) in &self.0 {
            if let Some(listed) = lists.ask(list, record, field) {
                frame.set(slot, Cell::flag(listed));
            }
        }
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
    /// Values by [`key_of_text`].
    pub(crate) fn texts(name: &str, until: Until) -> Self {
        Self::new(name, Values::Texts(until))
    }

    /// Values by [`key_of_number`].
    pub(crate) fn numbers(name: &str, until: Until) -> Self {
        Self::new(name, Values::Numbers(until))
    }

    /// Values by [`key_of_text`].
    pub(crate) fn cards(name: &str, until: Until) -> Self {
        Self::new(name, Values::Cards(until))
    }

    pub(crate) fn networks(
        name: &str,
        networks: impl IntoIterator<Item = (Network, EventTime)>,
    ) -> Self {
        Self::new(name, Values::Networks(Networks::new(networks)))
    }

    fn new(name: &str, values: Values) -> Self {
        Self {
            name: name.to_owned(),
            values,
        }
    }

    pub fn name(&self) -> &str {
        &self.name
    }

    pub const fn kind(&self) -> ListKind {
        match self.values {
            Values::Texts(_) => ListKind::Text,
            Values::Numbers(_) => ListKind::Number,
            Values::Cards(_) => ListKind::Card,
            Values::Networks(_) => ListKind::Network,
        }
    }

    /// How many values it has, expired ones included.
    pub fn len(&self) -> usize {
        match &self.values {
            Values::Texts(until) | Values::Numbers(until) | Values::Cards(until) => until.len(),
            Values::Networks(networks) => networks.len(),
        }
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Whether it has a value at that time; `None` if the value is not of its kind. `text` is the value's, where it has
    /// one.
    pub(crate) fn has(&self, value: Cell, text: Option<&str>, at: EventTime) -> Option<bool> {
        let listed =
            |until: &Until, key: u64| Some(until.get(&key).is_some_and(|until| at < *until));
        match &self.values {
            Values::Texts(until) | Values::Cards(until) => listed(until, value.as_text()?.bits()),
            Values::Numbers(until) => listed(until, key_of_number(value.as_number()?)),
            Values::Networks(networks) => networks.has(text?, at),
        }
    }
}

pub(crate) fn key_of_text(text: &str) -> u64 {
    TextKey::of(text).bits()
}

/// Zero has two signs in floating point but is one number to a list.
pub(crate) fn key_of_number(number: f64) -> u64 {
    (number + 0.0).to_bits()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn has(list: &List, text: &str, micros: i64) -> bool {
        let cell = Cell::text(TextKey::of(text));
        let has = list.has(cell, Some(text), EventTime::from_micros(micros));
        has.unwrap()
    }

    #[test]
    fn a_value_is_listed_until_the_moment_it_expires() {
        let time = EventTime::from_micros;
        let values = [("m1", time(10)), ("m2", EventTime::MAX)];
        let until: Until = values
            .map(|(text, until)| (key_of_text(text), until))
            .into_iter()
            .collect();
        for list in [List::texts("a", until.clone()), List::cards("a", until)] {
            assert!(has(&list, "m1", 9) && !has(&list, "m1", 10));
            assert!(has(&list, "m2", i64::MAX - 1) && !has(&list, "m3", 0));
            assert_eq!(list.has(Cell::MISSING, None, time(0)), None);
            assert_eq!(list.len(), 2);
        }
        let network = Network::parse("10.0.0.0/8").unwrap();
        let list = List::networks("a", [(network, time(10))]);
        assert!(has(&list, "10.1.1.1", 9) && !has(&list, "10.1.1.1", 10));
        assert_eq!(list.has(Cell::MISSING, None, time(0)), None);
        let no_address = Cell::text(TextKey::of("CDG"));
        assert_eq!(list.has(no_address, Some("CDG"), time(0)), None);
        let lists = Lists::new(vec![list]);
        assert_eq!((lists.find("a"), lists.find("b")), (Some(ListId(0)), None));
    }

    #[test]
    fn numbers_compare_as_numbers() {
        let entries = [4511.0, 0.0].map(|number| (key_of_number(number), EventTime::MAX));
        let list = List::numbers("mcc", entries.into_iter().collect());
        let at = EventTime::default();
        let has = |number| list.has(Cell::number(number), None, at).unwrap();
        assert!(has(4511.0) && has(-0.0) && !has(4512.0));
    }
}
