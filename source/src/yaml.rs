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
    serde_saphyr::options! { with_snippet: false, reject_unsupported_tags: true }
}

/// What mends most broken YAML.
const SYNTAX_HELP: &str = "check the indentation; a value that has `: ` or ` #` in it, or begins with one of \
                           ! & * @ % [ { \" ', goes into quotes or on its own lines below `>-`";

/// The library's words for the most common mistakes, and words that say what is wrong to someone who does not
/// know YAML's.
const SYNTAX_MESSAGES: [(&str, &str); 4] = [
    (
        "mapping values are not allowed in this context",
        "a key and its `:` cannot stand here",
    ),
    (
        "illegal placement of ':' indicator",
        "a key and its `:` cannot stand here",
    ),
    (
        "invalid trailing content after double-quoted scalar",
        "nothing can follow the closing quote of a value",
    ),
    (
        "only single YAML document expected but multiple found",
        "the file has a second document, begun by `---`",
    ),
];

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
        other => {
            let message = UserMessageFormatter.format_message(other);
            let known = SYNTAX_MESSAGES
                .iter()
                .find(|(theirs, _)| *theirs == message);
            let message = known.map_or(message.as_ref(), |(_, ours)| ours);
            at(message.to_owned()).with_help(SYNTAX_HELP)
        }
    }
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
        for (yaml, message, position) in [
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
            ("port: \"1\n", "unclosed quote", (1, 7)),
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
        ] {
            let error = crate::parse(&SourceFile::new("a.yaml", yaml)).unwrap_err();
            assert_eq!(
                (error.message.as_str(), error.position()),
                (message, position)
            );
            assert_eq!(error.help.as_deref(), Some(SYNTAX_HELP));
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
