//! The key `tests` of a rule, or of a case of the fallback table, as it is written.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;

use tollgate_source::{
    Diagnostic, Diagnostics, Fields, Located, Node, NodeKind, SourceFile, did_you_mean,
};
use tollgate_types::{Degradation, Outcome, Span, contains_card_number};

use super::{Expect, Subject};
use crate::fallback::read_level;

/// What could be read of tests; their fields are checked once the schema is known.
pub(crate) type WrittenTests = Vec<WrittenTest>;

/// What could be read of a test. With a mistake in it, it never runs, but the rest of it is checked.
pub(crate) struct WrittenTest {
    pub(super) name: Option<Located<String>>,
    /// By the expression as it is written.
    pub(super) given: Words,
    pub(super) history: Vec<WrittenPast>,
    pub(super) transaction: Words,
    pub(super) expect: Option<Located<Expect>>,
    /// The level that the fallback table is asked at, where the test names one.
    pub(super) level: Option<Degradation>,
    /// Whether all of it could be read.
    pub(super) is_whole: bool,
}

/// One or more transactions of the past, alike but for their time.
pub(crate) struct WrittenPast {
    pub(super) span: Range<usize>,
    pub(super) repeat: usize,
    pub(super) every: Span,
    /// How long before the tested transaction the last of them was.
    pub(super) ago: Span,
    pub(super) declined: bool,
    pub(super) fraud: Option<bool>,
    /// How long after it happened it became known whether it was fraud.
    pub(super) known_after: Span,
    pub(super) fields: Words,
}

/// Names and what is written behind them.
pub(crate) type Words = Vec<(Located<String>, Located<Word>)>;

#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Word {
    Text(String),
    /// The word `missing`, or nothing.
    Missing,
}

/// What could be read of several, and whether that is all.
struct Read<T> {
    read: Vec<T>,
    is_whole: bool,
}

impl<T> FromIterator<Option<T>> for Read<T> {
    /// All are read before any is given up, so that all mistakes are noted.
    fn from_iter<I: IntoIterator<Item = Option<T>>>(all: I) -> Self {
        let mut is_whole = true;
        let mut read = Vec::new();
        for one in all {
            is_whole &= one.is_some();
            read.extend(one);
        }
        Self { read, is_whole }
    }
}

/// What a test may say, by what it is about.
const fn keys(subject: Subject) -> &'static [&'static str] {
    match subject {
        Subject::Rule => &["name", "given", "history", "transaction", "expect"],
        Subject::Case => &["name", "given", "transaction", "level", "expect"],
        // It has no condition that could read a given value.
        Subject::Otherwise => &["name", "transaction", "level", "expect"],
    }
}

/// What a transaction of the past says besides its fields.
pub(super) const PAST_KEYS: [&str; 6] =
    ["repeat", "every", "ago", "declined", "fraud", "known_after"];

/// Most transactions of one entry: a test that needs more says nothing that one with fewer does not.
const REPEAT_MAX: usize = 10_000;

/// Between transactions of the past, where the test does not say.
const EVERY: Span = Span::from_seconds(60);

/// What a rule can be expected to do, and what people write for it.
const NO_MATCH: &str = "no match";
const EXPECTED: [&str; 6] = ["match", NO_MATCH, "approve", "flag", "challenge", "decline"];
const SYNONYMS: [(&str, &str); 8] = [
    ("no_match", NO_MATCH),
    ("no-match", NO_MATCH),
    ("none", NO_MATCH),
    ("nothing", NO_MATCH),
    ("false", NO_MATCH),
    ("true", "match"),
    ("block", "decline"),
    ("allow", "approve"),
];

/// Reads the tests of one rule or case; mistakes are noted.
pub(crate) fn read(
    fields: &Fields<'_>,
    subject: Subject,
    file: &Arc<SourceFile>,
    notes: &mut Diagnostics,
) -> WrittenTests {
    let nodes = fields.list("tests", notes).unwrap_or_default();
    let mut names: BTreeMap<String, usize> = BTreeMap::new();
    let mut tests = Vec::new();
    for node in nodes {
        let Some(test) = read_test(node, subject, file, notes) else {
            continue;
        };
        if let Some(name) = &test.name {
            let line = file.position(name.span.start).0;
            if let Some(first) = names.insert(name.value.clone(), line) {
                let message = format!("{} has another test `{}`", subject.the(), name.value);
                let help = format!("choose another name; this one is taken by line {first}");
                notes.push(Diagnostic::error(file, name.span.clone(), message).with_help(help));
            }
        }
        tests.push(test);
    }
    tests
}

fn read_test(
    node: &Node,
    subject: Subject,
    file: &Arc<SourceFile>,
    notes: &mut Diagnostics,
) -> Option<WrittenTest> {
    let what = match subject {
        Subject::Rule => "a test",
        Subject::Case => "a test of a case",
        Subject::Otherwise => "a test of `otherwise`",
    };
    let fields = Fields::of(what, node, file, keys(subject), notes)?;
    let help = "add `name:` with a few words that say what it shows";
    let name = fields.required_text("name", help, notes);
    let help = format!(
        "add `expect:` with match, no match, or what {} does, such as decline",
        subject.the()
    );
    let written = fields.required_text("expect", &help, notes);
    let expect = written.and_then(|written| read_expect(&written, subject, file, notes));
    let level = optional(&fields, "level", None, notes, |text| {
        read_level(&text, file).map(Some)
    });
    // What such a test cannot have has been said; what stands behind it is no second mistake.
    let known = |key: &str| fields.get(key).filter(|_| keys(subject).contains(&key));
    let given = read_words("`given`", known("given"), file, notes);
    let transaction = read_words("`transaction`", known("transaction"), file, notes);
    let history = read_history(known("history"), file, notes);
    let words = [&given, &transaction];
    let is_whole = name.is_some()
        && expect.is_some()
        && level.is_some()
        && words.iter().all(|words| words.is_whole)
        && history.is_whole;
    Some(WrittenTest {
        name,
        given: given.read,
        history: history.read,
        transaction: transaction.read,
        expect,
        level: level.flatten(),
        is_whole,
    })
}

fn read_expect(
    written: &Located<String>,
    subject: Subject,
    file: &Arc<SourceFile>,
    notes: &mut Diagnostics,
) -> Option<Located<Expect>> {
    let expect = match written.value.as_str() {
        "match" => Some(Expect::Match),
        NO_MATCH => Some(Expect::NoMatch),
        outcome => Outcome::parse(outcome).map(Expect::Outcome),
    };
    if expect.is_none() {
        let small = written.value.to_lowercase();
        let help = match SYNONYMS.iter().find(|(word, _)| *word == small) {
            Some((_, word)) => format!("write `{word}`"),
            None => did_you_mean(&written.value, EXPECTED),
        };
        let message = format!(
            "`{}` is nothing that {} can be expected to do",
            written.value,
            subject.a()
        );
        notes.push(Diagnostic::error(file, written.span.clone(), message).with_help(help));
    }
    expect.map(|expect| Located::new(expect, written.span.clone()))
}

fn read_history(
    node: Option<&Node>,
    file: &Arc<SourceFile>,
    notes: &mut Diagnostics,
) -> Read<WrittenPast> {
    let entries = match node.map(|node| (&node.kind, node)) {
        None => &[],
        Some((NodeKind::List(entries), _)) => entries.as_slice(),
        Some((_, only)) => std::slice::from_ref(only),
    };
    let entries = entries.iter();
    let mut is_whole = true;
    let read: Read<WrittenPast> = entries
        .map(|entry| read_past(entry, &mut is_whole, file, notes))
        .collect();
    Read {
        is_whole: is_whole && read.is_whole,
        ..read
    }
}

/// What could be read of an entry; `is_whole` says whether its fields all could.
fn read_past(
    node: &Node,
    is_whole: &mut bool,
    file: &Arc<SourceFile>,
    notes: &mut Diagnostics,
) -> Option<WrittenPast> {
    let fields = Fields::open("an entry of `history`", node, file, notes)?;
    let repeat = optional(&fields, "repeat", 1, notes, |text| read_repeat(&text, file));
    let span = |text: Located<String>| read_span(&text, file);
    let every = optional(&fields, "every", EVERY, notes, span);
    let ago = optional(&fields, "ago", every.unwrap_or(EVERY), notes, span);
    let known_after = optional(&fields, "known_after", Span::ZERO, notes, span);
    let declined = fields.flag("declined", notes);
    let fraud = fields.flag("fraud", notes);
    let flags_read = [("declined", declined.is_some()), ("fraud", fraud.is_some())]
        .iter()
        .all(|(key, read)| *read || fields.get(key).is_none());
    let words = read_words("an entry of `history`", Some(node), file, notes);
    *is_whole &= words.is_whole && flags_read;
    let is_field = |name: &str| !PAST_KEYS.contains(&name);
    Some(WrittenPast {
        span: fields.span(),
        repeat: repeat?,
        every: every?,
        ago: ago?,
        declined: declined.is_some_and(|flag| flag.value),
        fraud: fraud.map(|flag| flag.value),
        known_after: known_after?,
        fields: words
            .read
            .into_iter()
            .filter(|(name, _)| is_field(&name.value))
            .collect(),
    })
}

/// A key that may be left out; `None` if there is a mistake in it.
fn optional<T>(
    fields: &Fields<'_>,
    key: &str,
    absent: T,
    notes: &mut Diagnostics,
    read: impl FnOnce(Located<String>) -> Result<T, Diagnostic>,
) -> Option<T> {
    match fields.text(key, notes) {
        Some(written) => read(written).map_err(|error| notes.push(error)).ok(),
        None => fields.get(key).is_none().then_some(absent),
    }
}

fn read_repeat(written: &Located<String>, file: &Arc<SourceFile>) -> Result<usize, Diagnostic> {
    let count = written.value.replace('_', "").parse().ok();
    match count.filter(|count| (1..=REPEAT_MAX).contains(count)) {
        Some(count) => Ok(count),
        None => {
            let message = format!("`{}` is not how often something happened", written.value);
            let help = format!("write a whole number from 1 to {REPEAT_MAX}");
            Err(Diagnostic::error(file, written.span.clone(), message).with_help(help))
        }
    }
}

fn read_span(written: &Located<String>, file: &Arc<SourceFile>) -> Result<Span, Diagnostic> {
    Span::parse(&written.value).map_err(|_| {
        let message = format!("`{}` is not a length of time", written.value);
        Diagnostic::error(file, written.span.clone(), message)
            .with_help("write a number and a unit, such as 1m, 12h or 7d")
    })
}

/// The keys of a map and single values behind them; nothing where the map is absent.
fn read_words(
    what: &str,
    node: Option<&Node>,
    file: &Arc<SourceFile>,
    notes: &mut Diagnostics,
) -> Read<(Located<String>, Located<Word>)> {
    let Some(node) = node else {
        return std::iter::empty().collect();
    };
    let Some(fields) = Fields::open(what, node, file, notes) else {
        return std::iter::once(None).collect();
    };
    let entries = fields.entries().iter();
    entries
        .map(|(name, node)| Some((name.clone(), read_word(name, node, file, notes)?)))
        .collect()
}

fn read_word(
    name: &Located<String>,
    node: &Node,
    file: &Arc<SourceFile>,
    notes: &mut Diagnostics,
) -> Option<Located<Word>> {
    let located = |word| Some(Located::new(word, node.span.clone()));
    match &node.kind {
        NodeKind::Empty => located(Word::Missing),
        NodeKind::Scalar(text) if text == "missing" => located(Word::Missing),
        NodeKind::Scalar(text) if contains_card_number(text) => {
            notes.push(
                Diagnostic::error(file, node.span.clone(), "this value has a card number")
                    .with_help("write a token that stands for a card; the line is not shown here")
                    .without_source(),
            );
            None
        }
        NodeKind::Scalar(text) => located(Word::Text(text.clone())),
        other => {
            let message = format!(
                "`{}` must be a single value; this is {}",
                name.value,
                other.name()
            );
            notes.push(
                Diagnostic::error(file, node.span.clone(), message)
                    .with_help(format!("write `{}: ` and the value", name.value)),
            );
            None
        }
    }
}
