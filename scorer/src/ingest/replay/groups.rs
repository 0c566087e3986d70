//! What was wrong, told once for all records of which it was, with how many those are and where to look for some.

use std::collections::HashMap;

use tollgate_types::EventTime;

use crate::ingest::letter::Place;

/// Kinds of errors told apart; a reader of the list would not read more. Whatever else there is goes into one group.
const GROUPS_MAX: usize = 50;

/// Records named for each.
const EXAMPLES_MAX: usize = 3;

/// Longest error shown. Letters are read from a topic into which others may write, too.
const CHARACTERS_MAX: usize = 300;

#[derive(Debug, Default)]
pub(crate) struct Groups {
    groups: Vec<Group>,
    by_shape: HashMap<String, usize>,
}

/// Records with the same error but for its numbers.
#[derive(Debug)]
pub(crate) struct Group {
    /// In the words of the first.
    pub(crate) error: String,
    pub(crate) count: u64,
    /// `topic/partition@offset`.
    pub(crate) examples: Vec<String>,
    /// When the first and the last letter was written.
    pub(crate) first: EventTime,
    pub(crate) last: EventTime,
}

impl Groups {
    pub(crate) fn add(&mut self, error: &str, place: Place<'_>, letter_written_at: EventTime) {
        let group = self.group(error);
        self.add_to(group, place, letter_written_at);
    }

    /// The group that an error belongs to.
    pub(super) fn group(&mut self, error: &str) -> usize {
        let shape = shape(error);
        if let Some(&group) = self.by_shape.get(&shape) {
            return group;
        }
        if self.groups.len() > GROUPS_MAX {
            return GROUPS_MAX;
        }
        let is_last = self.groups.len() == GROUPS_MAX;
        self.groups.push(Group {
            error: if is_last {
                "other errors".to_owned()
            } else {
                self.by_shape.insert(shape, self.groups.len());
                printable(error)
            },
            count: 0,
            examples: Vec::new(),
            first: EventTime::MAX,
            last: EventTime::MIN,
        });
        self.groups.len() - 1
    }

    pub(super) fn add_to(&mut self, group: usize, place: Place<'_>, letter_written_at: EventTime) {
        let Some(group) = self.groups.get_mut(group) else {
            return;
        };
        group.count += 1;
        group.first = group.first.min(letter_written_at);
        group.last = group.last.max(letter_written_at);
        if group.examples.len() < EXAMPLES_MAX {
            group.examples.push(printable(&place.to_string()));
        }
    }

    /// Records in all of them.
    pub(crate) fn count(&self) -> u64 {
        self.groups.iter().map(|group| group.count).sum()
    }

    /// Those that have records, the largest first.
    pub(crate) fn largest_first(&self) -> Vec<&Group> {
        let mut groups: Vec<&Group> = self.groups.iter().filter(|group| group.count > 0).collect();
        groups.sort_by_key(|group| std::cmp::Reverse(group.count));
        groups
    }
}

/// An error without its numbers, by which lines, columns and sizes differ.
fn shape(error: &str) -> String {
    let mut shape = String::new();
    let mut in_number = false;
    for character in error.chars().take(CHARACTERS_MAX) {
        let is_digit = character.is_ascii_digit();
        if !is_digit {
            shape.push(character);
        } else if !in_number {
            shape.push('0');
        }
        in_number = is_digit;
    }
    shape
}

/// A text that does nothing to the terminal it is shown on.
fn printable(text: &str) -> String {
    let shown = text.chars().take(CHARACTERS_MAX);
    let plain = shown.map(|it| if it.is_control() { ' ' } else { it });
    plain.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn at(offset: i64) -> Place<'static> {
        Place {
            topic: "t",
            partition: 1,
            offset,
        }
    }

    const NOW: EventTime = EventTime::from_micros(5);

    #[test]
    fn errors_that_differ_by_numbers_are_one_and_the_largest_comes_first() {
        let mut groups = Groups::default();
        groups.add("no value", at(0), NOW);
        for offset in 1..6 {
            groups.add(&format!("line 1, column {offset}0"), at(offset), NOW);
        }
        let told = groups.largest_first();
        let counts: Vec<(&str, u64)> = told
            .iter()
            .map(|group| (group.error.as_str(), group.count))
            .collect();
        assert_eq!(counts, [("line 1, column 10", 5), ("no value", 1)]);
        assert_eq!(told[0].examples, ["t/1@1", "t/1@2", "t/1@3"]);
        assert_eq!(groups.count(), 6);
    }

    #[test]
    fn kinds_beyond_what_anyone_reads_are_counted_together() {
        let mut groups = Groups::default();
        let word = |mut number: usize| {
            let mut word = String::new();
            while number > 0 {
                word.push(char::from(b'a' + u8::try_from(number % 26).unwrap()));
                number /= 26;
            }
            word
        };
        for kind in 0..1_000 {
            groups.add(&word(kind), at(0), NOW);
        }
        groups.add(&word(3), at(0), NOW);
        assert_eq!(groups.groups.len(), GROUPS_MAX + 1);
        assert_eq!(groups.count(), 1_001);
        assert_eq!(groups.largest_first()[0].error, "other errors");
        assert_eq!(groups.largest_first()[1].count, 2);
    }

    #[test]
    fn what_others_wrote_does_nothing_to_a_terminal() {
        assert_eq!(printable("a\u{1b}[2Jb\nc"), "a [2Jb c");
        assert_eq!(printable(&"x".repeat(1_000)).len(), CHARACTERS_MAX);
    }
}
