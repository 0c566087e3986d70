//! YAML into Rust values, with mistakes as diagnostics. The YAML library is used here and in `node` only.

use std::ops::Range;
use std::sync::Arc;

use serde::de::{Deserialize, DeserializeOwned, Deserializer};
use serde_saphyr::{Error, Location, MessageFormatter, Spanned, UserMessageFormatter};

use crate::{Diagnostic, SourceFile, did_you_mean, scalar};

/// Reads a whole file as one value. Stops at the first mistake, so it suits small files; files in which all
/// mistakes are to be shown at once are read with [`crate::parse`].
pub fn from_str<T: DeserializeOwned>(file: &Arc<SourceFile>) -> Result<T, Diagnostic> {
    serde_saphyr::from_str_with_options(&file.text, options())
        .map_err(|error| diagnostic(file, &error))
}

/// How every file is read. Tags are refused: `when: !transaction.is_guest` would lose its first word to one.
pub(crate) fn options() -> serde_saphyr::Options {
    serde_saphyr::options! {
        with_snippet: false,
        reject_unsupported_tags: true,
        budget: serde_saphyr::budget! { max_total_scalar_bytes: SCALAR_BYTES_MAX },
    }
}

/// Most bytes of all values together, a value that is repeated by an alias counted each time: some times what a file
/// may have, so that a short file of aliases cannot become a large tree.
const SCALAR_BYTES_MAX: usize = 4 << 20;

/// What mends most broken YAML.
const SYNTAX_HELP: &str = "check the indentation; a value that has `: ` or ` #` in it, or begins with one of \
                           ! & * @ % [ { \" ', goes into quotes or on its own lines below `>-`";

/// The library's words for the most common mistakes, words that say what is wrong to someone who does not know
/// YAML's, and what mends it.
const SYNTAX_MESSAGES: [(&str, &str, &str); 16] = [
    (
        "mapping values are not allowed in this context",
        "a key and its `:` cannot stand here",
        SYNTAX_HELP,
    ),
    (
        "illegal placement of ':' indicator",
        "a key and its `:` cannot stand here",
        SYNTAX_HELP,
    ),
    (
        "invalid trailing content after double-quoted scalar",
        "nothing can follow the closing quote of a value",
        SYNTAX_HELP,
    ),
    (
        "only single YAML document expected but multiple found",
        "the file has a second document, begun by `---`",
        "remove the line `---`, or make two files of it",
    ),
    ("simple key expected ':'", "this line has no key", KEY_HELP),
    (
        "while parsing a block collection, did not find expected '-' indicator",
        MISALIGNED,
        ALIGN_HELP,
    ),
    (
        "while parsing a block mapping, did not find expected key",
        MISALIGNED,
        ALIGN_HELP,
    ),
    ("while scanning a plain scalar, found a tab", TAB, TAB_HELP),
    (
        "tabs disallowed within this context (block indentation)",
        TAB,
        TAB_HELP,
    ),
    ("unclosed quote", "this quote is not closed", QUOTE_HELP),
    (
        "unclosed bracket '['",
        "this bracket is not closed; `]` is missing",
        "close it, or put the value into quotes if the bracket belongs to a text",
    ),
    (
        "unclosed bracket '{'",
        "this bracket is not closed; `}` is missing",
        "close it, or put the value into quotes if the bracket belongs to a text",
    ),
    (
        "misplaced bracket",
        "this bracket was not opened",
        "remove it, or put the value into quotes if it belongs to a text",
    ),
    (
        "while parsing a quoted scalar, found unknown escape character",
        "this backslash means nothing between double quotes",
        "write it twice, or put the value between single quotes: '…'",
    ),
    (
        "reference to unknown value",
        "a value that begins with `*` needs quotes",
        "put the value into quotes, or on its own lines below `>-`",
    ),
    (
        "while scanning a block scalar, did not find expected comment or line break",
        "nothing can stand behind `|` or `>` on the same line",
        "write the value on the lines below, indented further",
    ),
];

const KEY_HELP: &str =
    "write the key, `:` and a space before the value; lines that go on are indented further";
const MISALIGNED: &str = "this line begins further left or right than those it belongs to";
const ALIGN_HELP: &str = "let keys that belong together begin in the same column";
const TAB: &str = "a tab cannot indent a line";
const TAB_HELP: &str = "write spaces instead of the tab";
const QUOTE_HELP: &str = "close it at the end of the value; a quote inside of it is written \\\" between \" and '' between '";

/// A value and the bytes of the file's text it was read from.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Located<T> {
    pub value: T,
    /// Empty at 0 where the position is not known (inside `#[serde(flatten)]` and untagged enums).
    pub span: Range<usize>,
}

impl<T> Located<T> {
    pub const fn new(value: T, span: Range<usize>) -> Self {
        Self { value, span }
    }
}

impl Located<String> {
    /// Where the byte `at` of the value stands in the file, for every style of scalar: plain, quoted, and the
    /// blocks `|` and `>`. Where that cannot be told, the beginning of the scalar.
    pub fn offset(&self, file: &SourceFile, at: usize) -> usize {
        scalar::span_in_file(&self.value, &file.text, self.span.start, at..at).start
    }

    /// Where the bytes `part` of the value stand in the file.
    pub fn span_of(&self, file: &SourceFile, part: Range<usize>) -> Range<usize> {
        scalar::span_in_file(&self.value, &file.text, self.span.start, part)
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Located<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let spanned = Spanned::<T>::deserialize(deserializer)?;
        // Behind an alias, the text itself is where it was defined.
        Ok(Self::new(spanned.value, bytes(spanned.defined)))
    }
}

/// The bytes of a location; empty at 0 where it is not known.
fn bytes(location: Location) -> Range<usize> {
    let part = |number: Option<u64>| number.and_then(|number| usize::try_from(number).ok());
    let start = part(location.span().byte_offset()).unwrap_or(0);
    start..start + part(location.span().byte_len()).unwrap_or(0)
}

/// The same where only line and column are known, as in errors of the YAML itself.
fn bytes_in(text: &str, location: Location) -> Range<usize> {
    if location.span().byte_offset().is_some() {
        return bytes(location);
    }
    let place = usize::try_from(location.line())
        .ok()
        .zip(usize::try_from(location.column()).ok());
    let (line, column) = place.unwrap_or_default();
    let line_start = text
        .split_inclusive('\n')
        .take(line.saturating_sub(1))
        .map(str::len)
        .sum();
    let before = text[line_start..]
        .chars()
        .take(column.saturating_sub(1))
        .map(char::len_utf8);
    let start: usize = line_start + before.sum::<usize>();
    start..start
}

/// What the library found wrong, in the words the rest of the messages use.
pub(crate) fn diagnostic(file: &Arc<SourceFile>, error: &Error) -> Diagnostic {
    let error = innermost(error);
    let span = error
        .location()
        .map_or(0..0, |location| bytes_in(&file.text, location));
    let at = |message: String| Diagnostic::error(file, span.clone(), message);
    match error {
        Error::SerdeUnknownField {
            field, expected, ..
        } => at(format!("unknown key `{field}`"))
            .with_help(did_you_mean(field, expected.iter().copied())),
        Error::SerdeUnknownVariant {
            variant, expected, ..
        } => at(format!("`{variant}` is not known here"))
            .with_help(did_you_mean(variant, expected.iter().copied())),
        Error::SerdeMissingField { field, .. } => at(format!("the key `{field}` is missing"))
            .with_help(format!("add `{field}:` and its value here")),
        Error::SerdeInvalidType {
            unexpected,
            expected,
            ..
        } => at(format!("this is {unexpected}")).with_help(format!("write {expected}")),
        Error::SerdeInvalidValue {
            unexpected,
            expected,
            ..
        } => at(format!("{unexpected} does not fit here")).with_help(format!("write {expected}")),
        Error::InvalidScalar { ty, .. } | Error::Unexpected { expected: ty, .. } => {
            let written = file.text.get(span.clone()).unwrap_or_default().trim();
            at(format!("`{written}` is not {}", kind_name(ty)))
                .with_help(format!("write {} here", kind_name(ty)))
        }
        Error::DuplicateMappingKey { key, .. } => {
            let key = key
                .as_ref()
                .map(|key| format!("`{key}` "))
                .unwrap_or_default();
            at(format!("the key {key}is written twice")).with_help("keep one of them")
        }
        Error::Budget { .. } | Error::AliasReplayLimitExceeded { .. } => {
            at("the file has too many values, those that aliases repeat included".to_owned())
                .with_help("make several files of it, without `&` and `*`")
        }
        Error::Eof { .. } => at("the file ends too early".to_owned()),
        Error::Message { msg, .. } | Error::HookError { msg, .. } => at(msg.clone()),
        Error::UnsupportedTag { tag, .. } => {
            // The library points behind the tag.
            let start = file.text[..span.start]
                .rfind(tag.as_str())
                .unwrap_or(span.start);
            let end = start + tag.len();
            Diagnostic::error(
                file,
                start..end,
                format!("`{tag}` is a tag to YAML and would be lost"),
            )
            .with_help(
                "a value that begins with `!` goes into quotes or on its own lines below `>-`",
            )
        }
        other => of_syntax(file, other, span),
    }
}

/// What is wrong with the YAML itself.
fn of_syntax(file: &Arc<SourceFile>, error: &Error, span: Range<usize>) -> Diagnostic {
    let message = UserMessageFormatter.format_message(error);
    let known = SYNTAX_MESSAGES
        .iter()
        .find(|(theirs, ..)| *theirs == message);
    let (message, help) = known.map_or((message.as_ref(), SYNTAX_HELP), |(_, ours, help)| {
        (ours, help)
    });
    let span = match message {
        TAB => first_tab(&file.text, span.start),
        _ => span,
    };
    Diagnostic::error(file, span, message).with_help(help)
}

/// The tab that a line from `near` on, or the one before, is indented with.
fn first_tab(text: &str, near: usize) -> Range<usize> {
    let line = text[..near].rfind('\n').map_or(0, |newline| newline + 1);
    let tab = text[line..].find('\t').map_or(near, |tab| line + tab);
    tab..tab
}

/// A Rust type in the words of someone who edits a file.
fn kind_name(rust: &str) -> &str {
    match rust {
        "u8" | "u16" | "u32" | "u64" | "u128" | "usize" => "a whole number, zero or more",
        "i8" | "i16" | "i32" | "i64" | "i128" | "isize" => "a whole number",
        "f32" | "f64" => "a number",
        "bool" => "true or false",
        "string scalar" => "a single value",
        "mapping start" => "a map of keys and values",
        "sequence start" => "a list",
        other => other,
    }
}

fn innermost(error: &Error) -> &Error {
    match error {
        Error::AliasError { error, .. } | Error::WithSnippet { error, .. } => innermost(error),
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use serde::Deserialize;

    use super::*;

    #[derive(Deserialize, Debug)]
    #[serde(deny_unknown_fields)]
    struct Config {
        port: Located<u16>,
        #[serde(default)]
        mode: Option<Mode>,
    }

    #[derive(Deserialize, Debug, PartialEq)]
    #[serde(rename_all = "snake_case")]
    enum Mode {
        Shadow,
        Enforce,
    }

    #[track_caller]
    fn check(yaml: &str, expected: &str) {
        let file = SourceFile::new("tollgate.yaml", yaml);
        assert_eq!(
            from_str::<Config>(&file).unwrap_err().render(),
            expected.trim_start()
        );
    }

    #[test]
    fn values_know_where_they_stand() {
        let file = SourceFile::new("tollgate.yaml", "# é\nport:  9000 # gRPC\nmode: shadow\n");
        let config: Config = from_str(&file).unwrap();
        assert_eq!((config.port.value, config.port.span), (9000, 12..16));
        assert_eq!(config.mode, Some(Mode::Shadow));
    }

    #[test]
    fn an_unknown_key_is_shown_with_the_one_that_was_meant() {
        check(
            "port: 1\nmoed: shadow\n",
            "
error: unknown key `moed`
 --> tollgate.yaml:2:1
  |
2 | moed: shadow
  | ^^^^
  |
  = help: did you mean `mode`?",
        );
    }

    #[test]
    fn a_missing_key_is_named() {
        check(
            "mode: shadow\n",
            "
error: the key `port` is missing
 --> tollgate.yaml:1:1
  |
1 | mode: shadow
  | ^^^^
  |
  = help: add `port:` and its value here",
        );
    }

    #[test]
    fn an_unknown_word_is_shown_with_the_one_that_was_meant() {
        check(
            "port: 1\nmode: shadwo\n",
            "
error: `shadwo` is not known here
 --> tollgate.yaml:2:7
  |
2 | mode: shadwo
  |       ^^^^^^
  |
  = help: did you mean `shadow`?",
        );
    }

    #[test]
    fn a_value_of_the_wrong_kind_is_shown() {
        check(
            "port: many\n",
            "
error: `many` is not a whole number, zero or more
 --> tollgate.yaml:1:7
  |
1 | port: many
  |       ^^^^
  |
  = help: write a whole number, zero or more here",
        );
    }

    #[test]
    fn a_key_written_twice_is_refused() {
        check(
            "port: 1\nport: 2\n",
            "
error: the key `port` is written twice
 --> tollgate.yaml:2:1
  |
2 | port: 2
  | ^^^^
  |
  = help: keep one of them",
        );
    }

    #[test]
    fn broken_yaml_is_shown_where_it_breaks() {
        let table = [
            (
                "é: 1\n  mode: a\n",
                "a key and its `:` cannot stand here",
                (2, 7),
            ),
            (
                "port: [1\nmode: a\n",
                "a key and its `:` cannot stand here",
                (2, 5),
            ),
            ("port: \"1\n", "this quote is not closed", (1, 7)),
            ("a: b\n\tc: d\n", TAB, (2, 1)),
            ("a:\n\tb: c\n", TAB, (2, 1)),
            ("- a: b\n c: d\n", MISALIGNED, (2, 2)),
            ("a:\n  b: 1\n c: 2\n", MISALIGNED, (3, 2)),
            ("a: b\nc:d\n", "this line has no key", (2, 1)),
            (
                "a: [b\n",
                "this bracket is not closed; `]` is missing",
                (1, 4),
            ),
            (
                "a: \"\\d\"\n",
                "this backslash means nothing between double quotes",
                (1, 4),
            ),
            (
                "a: b ? c : d\n",
                "a key and its `:` cannot stand here",
                (1, 10),
            ),
            (
                "a: \"x\" in b\n",
                "nothing can follow the closing quote of a value",
                (1, 8),
            ),
            (
                "a: 1\n---\nb: 2\n",
                "the file has a second document, begun by `---`",
                (3, 1),
            ),
        ];
        for (yaml, message, position) in table {
            let error = crate::parse(&SourceFile::new("a.yaml", yaml)).unwrap_err();
            assert_eq!(
                (error.message.as_str(), error.position()),
                (message, position)
            );
            assert!(error.help.is_some(), "{yaml}");
        }
    }

    #[test]
    fn an_expression_that_yaml_takes_for_a_tag_is_refused() {
        let file = SourceFile::new("a.yaml", "when: !transaction.is_guest && a\n");
        let read = from_str::<BTreeMap<String, String>>(&file);
        for error in [crate::parse(&file).unwrap_err(), read.unwrap_err()] {
            assert_eq!(
                error.message,
                "`!transaction.is_guest` is a tag to YAML and would be lost"
            );
            assert_eq!(error.span, 6..27);
            assert!(error.help.unwrap().contains("quotes"));
        }
    }

    #[test]
    fn an_endless_nesting_is_refused_not_followed() {
        let file = SourceFile::new("a.yaml", "[".repeat(10_000));
        assert!(from_str::<BTreeMap<String, u8>>(&file).is_err());
        assert!(crate::parse(&file).is_err());
    }
}
