//! Counting different values.

use std::collections::HashSet;

/// Up to this many values are told apart by looking at each; more are hashed.
const SCANNED_MAX: usize = 16;

/// The different values met so far.
#[derive(Debug, Default)]
pub(crate) struct Distinct {
    few: Vec<u64>,
    many: HashSet<u64, foldhash::fast::FixedState>,
}

impl Distinct {
    pub(crate) fn insert(&mut self, value: u64) {
        if !self.many.is_empty() {
            self.many.insert(value);
        } else if !self.few.contains(&value) {
            if self.few.len() < SCANNED_MAX {
                self.few.reserve(SCANNED_MAX - self.few.len());
                self.few.push(value);
            } else {
                self.many.extend(self.few.drain(..));
                self.many.insert(value);
            }
        }
    }

    pub(crate) fn for_each(&self, with: impl FnMut(u64)) {
        self.few.iter().chain(&self.many).copied().for_each(with);
    }

    pub(crate) fn len(&self) -> usize {
        self.few.len() + self.many.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_value_counts_once_whether_few_or_many() {
        for count in [0, 1, 15, 16, 17, 100] {
            let mut distinct = Distinct::default();
            (0..count)
                .chain(0..count)
                .for_each(|value| distinct.insert(value));
            assert_eq!(distinct.len(), usize::try_from(count).unwrap());
        }
    }
}
