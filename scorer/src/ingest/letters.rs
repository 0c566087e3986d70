//! Dead letters that Kafka has not acknowledged yet.
//!
//! A snapshot says of every record before its positions that it was dealt with; of one that could not be read that is so only
//! once its letter has arrived. So whoever writes a snapshot waits for the letters that were sent before.

use std::collections::BTreeSet;

use parking_lot::Mutex;

#[derive(Debug, Default)]
pub(crate) struct Letters(Mutex<Sent>);

#[derive(Debug, Default)]
struct Sent {
    /// The number of the next letter.
    next: usize,
    /// Those that are on their way. As many as the producer's queue holds, and are kept until it has room, at most.
    waiting: BTreeSet<usize>,
}

impl Letters {
    /// A letter is sent; returns its number.
    pub(super) fn send(&self) -> usize {
        let mut sent = self.0.lock();
        let number = sent.next;
        sent.next += 1;
        sent.waiting.insert(number);
        number
    }

    /// A letter has arrived, or never will.
    pub(super) fn done(&self, number: usize) {
        self.0.lock().waiting.remove(&number);
    }

    /// How many are on their way.
    pub(super) fn waiting(&self) -> usize {
        self.0.lock().waiting.len()
    }

    /// The number of the next letter: all letters so far are below it.
    pub(crate) fn next(&self) -> usize {
        self.0.lock().next
    }

    /// Whether no letter below this number is on its way.
    pub(crate) fn are_done(&self, below: usize) -> bool {
        let sent = self.0.lock();
        sent.waiting.first().is_none_or(|first| *first >= below)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn letters_of_before_are_waited_for_and_later_ones_are_not() {
        let letters = Letters::default();
        assert!(letters.are_done(letters.next()));
        let (first, second) = (letters.send(), letters.send());
        assert_eq!(letters.waiting(), 2);
        let before = letters.next();
        let later = letters.send();
        letters.done(second);
        assert!(!letters.are_done(before));
        letters.done(first);
        assert!(letters.are_done(before));
        assert!(!letters.are_done(letters.next()));
        letters.done(later);
        assert!(letters.are_done(letters.next()));
    }
}
