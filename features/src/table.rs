//! Numbers found by a hash, eight bytes each.
//!
//! What is found is a candidate: whoever asks compares the whole key with what the number leads to. So a table keeps
//! half a hash and a number where a general map keeps keys, and a look-up reads one cache line where a general map
//! reads two. Tables grow by an eighth when they are nearly full, so an entry takes some ten bytes of
//! memory, where a general map would take twenty to forty.

use crate::memory;

/// Open addressing with linear probing. Entries with one hash lie close behind their home, without gaps. An entry has the
/// hash in its high half and the number plus one in its low half; 0 stands for none.
#[derive(Debug, Default)]
pub(crate) struct Table {
    entries: Vec<u64>,
    used: usize,
}

impl Table {
    pub(crate) const fn len(&self) -> usize {
        self.used
    }

    /// The numbers that were entered with this hash: nearly always none or the one that is meant.
    pub(crate) fn find(&self, hash: u32) -> impl Iterator<Item = u32> {
        let places = self.places(hash, self.home(hash));
        places.map(|at| number(self.entries[at]))
    }

    /// The entry at which a search for this hash begins, so that it is in the cache when the search comes.
    pub(crate) fn peek(&self, hash: u32) -> u64 {
        self.entries
            .get(self.home(hash))
            .copied()
            .unwrap_or_default()
    }

    /// Enters a number below 2³² − 1; returns by how many bytes the table grew.
    pub(crate) fn insert(&mut self, hash: u32, number: u32) -> usize {
        let before = self.entries.len();
        if (self.used + 1) * 8 > before * 7 {
            self.grow_to(before + before / 8 + 1);
        }
        self.place(entry(hash, number));
        self.used += 1;
        (self.entries.len() - before) * 8
    }

    /// Makes room for so many more at once; returns by how many bytes the table grew.
    pub(crate) fn reserve(&mut self, more: usize) -> usize {
        let before = self.entries.len();
        let wanted = (self.used + more) * 8 / 7 + 1;
        if more == 0 || wanted <= before {
            return 0;
        }
        self.grow_to(wanted);
        (self.entries.len() - before) * 8
    }

    fn grow_to(&mut self, entries: usize) {
        let room = memory::handed_out(entries * 8) / 8;
        let entries = std::mem::replace(&mut self.entries, vec![0; room]);
        for entry in entries.into_iter().filter(|entry| *entry != 0) {
            self.place(entry);
        }
    }

    /// Forgets everything, and the room for it.
    pub(crate) fn clear(&mut self) {
        if !self.entries.is_empty() {
            *self = Self::default();
        }
    }

    /// Moves into memory anew.
    pub(crate) fn repack(&mut self) {
        self.entries = self.entries.clone();
    }

    /// Takes an entry out, and moves those back that would no longer be found behind the gap; false if it is not there.
    pub(crate) fn remove(&mut self, hash: u32, number: u32) -> bool {
        let wanted = entry(hash, number);
        let mut places = self.places(hash, self.home(hash));
        let Some(mut gap) = places.find(|at| self.entries[*at] == wanted) else {
            return false;
        };
        drop(places);
        self.used -= 1;
        let mut at = self.next(gap);
        while self.entries[at] != 0 {
            let home = self.home(hash_of(self.entries[at]));
            let room = self.entries.len();
            // How far each lies behind the home of the entry at `at`, going round.
            if (gap + room - home) % room <= (at + room - home) % room {
                self.entries[gap] = self.entries[at];
                gap = at;
            }
            at = self.next(at);
        }
        self.entries[gap] = 0;
        true
    }

    /// The places of entries with this hash, from its home on.
    fn places(&self, hash: u32, mut at: usize) -> impl Iterator<Item = usize> {
        std::iter::from_fn(move || {
            loop {
                let entry = *self.entries.get(at)?;
                if entry == 0 {
                    return None;
                }
                let found = at;
                at = self.next(at);
                if hash_of(entry) == hash {
                    return Some(found);
                }
            }
        })
    }

    fn place(&mut self, entry: u64) {
        let mut at = self.home(hash_of(entry));
        while self.entries[at] != 0 {
            at = self.next(at);
        }
        self.entries[at] = entry;
    }

    /// Where an entry with this hash would best be.
    fn home(&self, hash: u32) -> usize {
        let scaled = u64::from(hash) * u64::try_from(self.entries.len()).unwrap_or(0);
        usize::try_from(scaled >> 32).unwrap_or(0)
    }

    const fn next(&self, at: usize) -> usize {
        if at + 1 == self.entries.len() {
            0
        } else {
            at + 1
        }
    }
}

fn entry(hash: u32, number: u32) -> u64 {
    u64::from(hash) << 32 | u64::from(number + 1)
}

fn hash_of(entry: u64) -> u32 {
    u32::try_from(entry >> 32).unwrap_or(0)
}

fn number(entry: u64) -> u32 {
    let [a, b, c, d, ..] = entry.to_le_bytes();
    u32::from_le_bytes([a, b, c, d]).wrapping_sub(1)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// The oracle is a plain list of pairs.
        #[test]
        fn a_table_holds_what_was_inserted_and_not_removed(
            steps in prop::collection::vec((any::<bool>(), 0..40_u32, 0..4_u32), 0..400),
        ) {
            let mut table = Table::default();
            let mut expected: Vec<(u32, u32)> = Vec::new();
            for (insert, hash, number) in steps {
                // Few different hashes, near both ends, so that runs are long and go round the end.
                let hash = hash.wrapping_mul(0x0fff_ffff);
                let pair = (hash, number);
                if insert && !expected.contains(&pair) {
                    table.insert(hash, number);
                    expected.push(pair);
                } else if !insert {
                    prop_assert_eq!(table.remove(hash, number), expected.contains(&pair));
                    expected.retain(|other| *other != pair);
                }
                let mut found: Vec<u32> = table.find(hash).collect();
                let mut there: Vec<u32> = expected.iter().filter(|other| other.0 == hash).map(|other| other.1).collect();
                found.sort_unstable();
                there.sort_unstable();
                prop_assert_eq!(found, there);
            }
            prop_assert_eq!(table.len(), expected.len());
        }
    }
}
