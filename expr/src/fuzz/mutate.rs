//! Random changes to texts: a small, blind stand-in for the fuzzer, for the run that belongs to the tests.
//!
//! It does not look at what the program does with a text, so it finds less than the fuzzer in the same time; but it
//! needs no tools and gives the same texts from the same seed.

/// Numbers from a seed (`SplitMix64` of Steele, Lea and Flood, 2014).
#[derive(Clone, Debug)]
pub(super) struct Random(u64);

impl Random {
    pub(super) const fn new(seed: u64) -> Self {
        Self(seed)
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// From 0 up to, but without, `end`; 0 if that is 0.
    pub(super) fn below(&mut self, end: usize) -> usize {
        let end = u64::try_from(end).unwrap_or(u64::MAX).max(1);
        usize::try_from(self.next() % end).unwrap_or(0)
    }
}

/// Makes new texts out of known ones.
#[derive(Clone, Debug)]
pub struct Mutator<'m> {
    random: Random,
    corpus: &'m [String],
    words: &'m [String],
    /// Most bytes of a text that is made.
    bytes_max: usize,
}

impl<'m> Mutator<'m> {
    pub const fn new(
        seed: u64,
        corpus: &'m [String],
        words: &'m [String],
        bytes_max: usize,
    ) -> Self {
        Self {
            random: Random::new(seed),
            corpus,
            words,
            bytes_max,
        }
    }

    /// A text of the corpus with one to four changes.
    pub fn text(&mut self) -> String {
        let mut text = self.known().to_owned();
        for _ in 0..=self.random.below(4) {
            self.change(&mut text);
        }
        text.truncate(text.floor_char_boundary(self.bytes_max));
        text
    }

    fn known(&mut self) -> &'m str {
        let at = self.random.below(self.corpus.len());
        self.corpus.get(at).map_or("", String::as_str)
    }

    fn change(&mut self, text: &mut String) {
        let (start, end) = self.part(text);
        match self.random.below(7) {
            0 => text.replace_range(start..end, ""),
            1 => {
                let part = text[start..end].to_owned();
                text.insert_str(end, &part);
            }
            2 => {
                // Some of the bounds are only met by repeating.
                let times = 1 << self.random.below(9);
                let part = text[start..end].repeat(times);
                text.insert_str(end, &part);
            }
            3 | 4 => {
                let at = self.random.below(self.words.len());
                let word = self.words.get(at).map_or("", String::as_str);
                let end = if self.random.below(2) == 0 {
                    start
                } else {
                    end
                };
                text.replace_range(start..end, word);
            }
            5 => {
                let other = self.known();
                let (from, to) = self.part(other);
                text.replace_range(start..end, &other[from..to]);
            }
            _ => {
                let letter = u32::try_from(self.random.below(0x300)).ok();
                let letter = letter.and_then(char::from_u32).unwrap_or('\u{fffd}');
                text.insert(start, letter);
            }
        }
    }

    /// A part of a text between two characters, mostly a short one.
    fn part(&mut self, text: &str) -> (usize, usize) {
        let start = text.floor_char_boundary(self.random.below(text.len() + 1));
        let longest = [1, 8, 32, text.len()][self.random.below(4)];
        let end = (start + self.random.below(longest + 1)).min(text.len());
        (start, text.floor_char_boundary(end).max(start))
    }
}

/// The words of a dictionary in the fuzzer's form: a quoted word a line, `#` before remarks.
pub fn words(dictionary: &str) -> Vec<String> {
    let quoted = dictionary.lines().filter_map(|line| {
        let line = line.trim();
        line.strip_prefix('"')?.strip_suffix('"')
    });
    quoted.map(unescaped).collect()
}

fn unescaped(word: &str) -> String {
    word.replace("\\x0A", "\n")
        .replace("\\\"", "\"")
        .replace("\\\\", "\\")
}
