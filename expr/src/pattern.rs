//! The patterns of `matches`: regular expressions read when a policy is loaded.
//!
//! The `regex` crate searches in time proportional to pattern and text, whatever they are, because it leaves out what
//! cannot be done so (look-around, back-references). Its searches use caches that it keeps from one to the next,
//! one per thread that searches at the same time; that is the only memory an evaluation may touch.

use std::hash::{Hash, Hasher};
use std::ops::Range;

use regex::{Regex, RegexBuilder};
use regex_syntax::ast::{self, ErrorKind};
use regex_syntax::hir::{self, Hir};
use regex_syntax::{Parser, ParserBuilder};

/// Deepest nesting of brackets in a pattern: its parser recurses.
const NESTING_MAX: u32 = 32;

/// How large a compiled pattern may be in bytes, and the steps it is counted as. Counts multiply (`(a{50}){50}`), so a
/// short pattern can be a large program. Larger ones take longer to search with; and as the steps of a policy are
/// bounded, so is the memory of all its patterns: to some 200 MB.
const SIZES: [(usize, u64); 3] = [(16 << 10, 50), (64 << 10, 150), (256 << 10, 400)];

/// Largest cache of one search in bytes, so that many patterns on many threads stay small.
const CACHE_BYTES_MAX: usize = 256 << 10;

/// A compiled pattern. It matches a text if it does so anywhere in it.
#[derive(Clone, Debug)]
pub(crate) struct Pattern {
    regex: Regex,
    steps: u64,
}

/// What is wrong with a pattern, and where: bytes of the pattern.
#[derive(PartialEq, Eq, Debug)]
pub(crate) struct Mistake {
    pub(crate) message: String,
    pub(crate) span: Range<usize>,
    pub(crate) help: Option<&'static str>,
}

/// What can be said of a pattern without a text.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Reach {
    Some,
    Every,
    None,
}

impl Pattern {
    pub(crate) fn parse(written: &str) -> Result<(Self, Reach), Mistake> {
        let whole = 0..written.len();
        let tree = parser().parse(written).map_err(|error| match error {
            regex_syntax::Error::Parse(error) => misread(written, &error),
            regex_syntax::Error::Translate(error) => untranslated(&error),
            _ => unreadable(whole.clone()),
        })?;
        for (bytes_max, steps) in SIZES {
            match build(written, bytes_max) {
                Ok(regex) => return Ok((Self { regex, steps }, reach(&tree))),
                Err(regex::Error::CompiledTooBig(_)) => {}
                Err(_) => return Err(unreadable(whole)),
            }
        }
        Err(Mistake {
            message: "this pattern is too large".to_owned(),
            span: whole,
            help: Some("use smaller counts in `{…}`, or several conditions"),
        })
    }

    /// What searching a text of some tens of bytes takes, in comparisons of a slot with a constant.
    pub(crate) const fn steps(&self) -> u64 {
        self.steps
    }

    #[inline]
    pub(crate) fn holds(&self, text: &str) -> bool {
        self.regex.is_match(text)
    }
}

impl PartialEq for Pattern {
    fn eq(&self, other: &Self) -> bool {
        self.regex.as_str() == other.regex.as_str()
    }
}

impl Eq for Pattern {}

impl Hash for Pattern {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.regex.as_str().hash(state);
    }
}

fn build(written: &str, bytes_max: usize) -> Result<Regex, regex::Error> {
    RegexBuilder::new(written)
        .nest_limit(NESTING_MAX)
        .size_limit(bytes_max)
        .dfa_size_limit(CACHE_BYTES_MAX)
        .build()
}

fn parser() -> Parser {
    ParserBuilder::new().nest_limit(NESTING_MAX).build()
}

/// A pattern that takes the empty text wherever it stands takes every text, because it may match anywhere.
fn reach(tree: &Hir) -> Reach {
    let properties = tree.properties();
    match properties.minimum_len() {
        None => Reach::None,
        Some(0) if properties.look_set().is_empty() => Reach::Every,
        Some(_) => Reach::Some,
    }
}

fn misread(written: &str, error: &ast::Error) -> Mistake {
    let start = error.span().start.offset;
    let next = written.get(start..).and_then(|rest| rest.chars().next());
    let end = start + next.map_or(0, char::len_utf8);
    let span = start..error.span().end.offset.max(end);
    let marked = written.get(span.clone()).unwrap_or("");
    let (message, help) = explained(error.kind(), marked);
    Mistake {
        message,
        span,
        help,
    }
}

/// Those that people make, in their words; the rest is rare enough for one sentence.
fn explained(kind: &ErrorKind, marked: &str) -> (String, Option<&'static str>) {
    let (message, help) = match kind {
        ErrorKind::UnsupportedLookAround => (
            "a pattern cannot look ahead or behind".to_owned(),
            "write two conditions: `….matches(\"…\") && !….matches(\"…\")`",
        ),
        ErrorKind::UnsupportedBackreference => (
            format!("a pattern cannot repeat what an earlier part found, as `{marked}` would"),
            "write that part of the pattern again",
        ),
        ErrorKind::RepetitionMissing => (
            format!("nothing stands before this `{marked}` that it could repeat"),
            "`.*` stands for any characters; for the character itself write `[*]`, `[+]` or `[?]`",
        ),
        ErrorKind::GroupUnclosed => (
            "this `(` of the pattern is not closed".to_owned(),
            "add `)`; for the character itself write `[(]`",
        ),
        ErrorKind::GroupUnopened => (
            "this `)` of the pattern closes nothing".to_owned(),
            "remove it; for the character itself write `[)]`",
        ),
        ErrorKind::ClassUnclosed => (
            "this `[` of the pattern is not closed".to_owned(),
            "add `]`; for the character itself write `\\\\[`",
        ),
        ErrorKind::ClassRangeInvalid => (
            format!("the range `{marked}` goes backwards"),
            "write the smaller end first, such as `a-z` or `0-9`",
        ),
        ErrorKind::RepetitionCountInvalid => (
            format!("the count `{marked}` goes backwards"),
            "write the smaller number first, such as `{2,5}`",
        ),
        ErrorKind::RepetitionCountUnclosed
        | ErrorKind::RepetitionCountDecimalEmpty
        | ErrorKind::DecimalEmpty
        | ErrorKind::DecimalInvalid => (
            "`{` begins a count, and this is none".to_owned(),
            "write a count such as `{3}` or `{2,5}`; for the character itself write `[{]`",
        ),
        ErrorKind::EscapeUnrecognized | ErrorKind::ClassEscapeInvalid => (
            format!("`{marked}` has no meaning in a pattern"),
            "`\\\\d` is a digit, `\\\\w` a letter, digit or underscore, `\\\\.` a dot itself",
        ),
        ErrorKind::EscapeUnexpectedEof => (
            "the pattern ends with a lone backslash".to_owned(),
            "for a backslash itself write four: `\\\\\\\\`",
        ),
        ErrorKind::FlagUnrecognized => (
            format!("`{marked}` is not an option of patterns"),
            "`(?i)` at the beginning makes capitals and small letters equal",
        ),
        ErrorKind::NestLimitExceeded(_) => (
            format!("brackets of the pattern are nested more than {NESTING_MAX} deep"),
            "write several conditions",
        ),
        _ => return ("this is not a pattern".to_owned(), None),
    };
    (message, Some(help))
}

fn untranslated(error: &hir::Error) -> Mistake {
    let span = error.span().start.offset..error.span().end.offset;
    match error.kind() {
        hir::ErrorKind::UnicodePropertyNotFound
        | hir::ErrorKind::UnicodePropertyValueNotFound
        | hir::ErrorKind::UnicodePerlClassNotFound => Mistake {
            message: "this kind of characters is not known".to_owned(),
            span,
            help: Some("`\\\\p{L}` is any letter, `\\\\p{Lu}` any capital, `\\\\d` any digit"),
        },
        _ => unreadable(span),
    }
}

fn unreadable(span: Range<usize>) -> Mistake {
    Mistake {
        message: "this is not a pattern".to_owned(),
        span,
        help: None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_match_anywhere_unless_they_are_tied_to_an_end() {
        let table = [
            ("gift", "e-gift-shop", true),
            ("^gift", "e-gift-shop", false),
            ("shop$", "e-gift-shop", true),
            ("(?i)GIFT", "e-gift-shop", true),
            ("GIFT", "e-gift-shop", false),
            (r"^\d{4}-\d{2}$", "2026-03", true),
            (r"^\p{Lu}\w+$", "Élan", true),
            ("^m(1|2)[a-c]?$", "m2c", true),
        ];
        for (pattern, text, expected) in table {
            let (pattern, reach) = Pattern::parse(pattern).unwrap();
            assert_eq!(
                (pattern.holds(text), reach),
                (expected, Reach::Some),
                "{pattern:?}"
            );
        }
    }

    #[test]
    fn patterns_that_take_every_text_or_none_are_told() {
        for every in ["", ".*", "a?", "x*|y", "(?:)"] {
            assert_eq!(Pattern::parse(every).unwrap().1, Reach::Every, "{every}");
        }
        for some in ["^", "$", "a", r"\b", "^$"] {
            assert_eq!(Pattern::parse(some).unwrap().1, Reach::Some, "{some}");
        }
        assert_eq!(Pattern::parse("[a&&b]").unwrap().1, Reach::None);
    }

    #[test]
    fn patterns_are_equal_if_they_are_written_alike() {
        let pattern = |written| Pattern::parse(written).unwrap().0;
        assert_eq!(pattern("a+"), pattern("a+"));
        assert_ne!(pattern("a+"), pattern("aa*"));
    }
}
