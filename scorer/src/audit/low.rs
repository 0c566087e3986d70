//! Which of the records that were numbered one after the other are done with: all below one number, and some above it.

use std::collections::BTreeSet;

#[derive(Debug, Default)]
pub(super) struct Low {
    low: u64,
    /// Those above. As many as may be done before the one at `low`, at most.
    above: BTreeSet<u64>,
}

impl Low {
    /// All below `low` are done.
    pub(super) const fn at(low: u64) -> Self {
        Self {
            low,
            above: BTreeSet::new(),
        }
    }

    /// The first that is not done.
    pub(super) const fn get(&self) -> u64 {
        self.low
    }

    pub(super) fn is_done(&self, number: u64) -> bool {
        number < self.low || self.above.contains(&number)
    }

    /// One is done, perhaps again. Returns how many more there are now of which all before them are.
    pub(super) fn done(&mut self, number: u64) -> u64 {
        let before = self.low;
        if number >= before {
            self.above.insert(number);
        }
        while self.above.remove(&self.low) {
            self.low += 1;
        }
        self.low - before
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_that_is_not_done_holds_back_those_behind_it() {
        let mut low = Low::at(3);
        assert_eq!((low.done(4), low.done(6), low.get()), (0, 0, 3));
        assert!(low.is_done(2) && low.is_done(4) && !low.is_done(5));
        assert_eq!((low.done(3), low.get()), (2, 5));
        assert_eq!((low.done(3), low.done(5), low.get()), (0, 2, 7));
    }
}
