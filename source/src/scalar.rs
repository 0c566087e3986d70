//! Where a part of a YAML scalar's value stands in the file.
//!
//! A scalar's value and its source differ in white space (folding, indentation, line breaks), in quotes and in
//! escapes, but have the same other characters in the same order. So value and source are walked together over
//! what is not white space.

use std::ops::Range;

/// The file's bytes for the bytes `part` of a scalar's value; `start` is where the scalar begins in `text`.
/// Where value and source cannot be matched, the answer is the scalar's beginning.
pub(crate) fn span_in_file(
    value: &str,
    text: &str,
    start: usize,
    part: Range<usize>,
) -> Range<usize> {
    let Some(source) = text.get(start..) else {
        return start..start;
    };
    let mut written = Written::new(source).filter(|(_, letter)| !letter.is_whitespace());
    let mut first = None;
    let mut end = 0;
    for (at, letter) in value
        .char_indices()
        .filter(|(_, letter)| !letter.is_whitespace())
    {
        if at >= part.end && first.is_some() {
            break;
        }
        let Some((place, _)) = written.next().filter(|(_, same)| *same == letter) else {
            return start..start;
        };
        if at + letter.len_utf8() > part.start {
            first.get_or_insert(place.start);
        }
        if at < part.end || first.is_none() {
            end = place.end;
        }
    }
    // What lies behind the last character of the value stands behind its last character in the file.
    let from = first.unwrap_or(end);
    start + from..start + end.max(from)
}

/// The characters of a scalar as they are written, each with its bytes in the source.
struct Written<'s> {
    source: &'s str,
    at: usize,
    style: Style,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Style {
    /// Plain scalars and the content of blocks: every character stands for itself.
    Verbatim,
    SingleQuoted,
    DoubleQuoted,
}

impl<'s> Written<'s> {
    /// `source` begins with the scalar. No plain scalar begins with a quote, `|` or `>`.
    fn new(source: &'s str) -> Self {
        let (at, style) = match source.bytes().next() {
            Some(b'\'') => (1, Style::SingleQuoted),
            Some(b'"') => (1, Style::DoubleQuoted),
            // The header of a block, with its indicators and comment, is the rest of its line.
            Some(b'|' | b'>') => (
                source
                    .find('\n')
                    .map_or(source.len(), |newline| newline + 1),
                Style::Verbatim,
            ),
            _ => (0, Style::Verbatim),
        };
        Self { source, at, style }
    }

    /// The character an escape in double quotes stands for, and the length of the escape with its backslash.
    fn escape(rest: &str) -> Option<(char, usize)> {
        let kind = rest.chars().nth(1)?;
        let digits = match kind {
            'x' => 2,
            'u' => 4,
            'U' => 8,
            // White space of every kind, line continuation among it, is skipped anyway.
            '0' | 'a' | 'b' | 'e' | 'f' | 'n' | 'r' | 't' | 'v' | 'N' | '_' | 'L' | 'P' => {
                return Some((' ', 2));
            }
            other => return Some((other, 1 + other.len_utf8())),
        };
        let code = u32::from_str_radix(rest.get(2..2 + digits)?, 16).ok()?;
        Some((char::from_u32(code)?, 2 + digits))
    }
}

impl Iterator for Written<'_> {
    type Item = (Range<usize>, char);

    fn next(&mut self) -> Option<Self::Item> {
        let rest = &self.source[self.at..];
        let first = rest.chars().next()?;
        let (letter, length) = match (self.style, first) {
            (Style::SingleQuoted, '\'') => rest.starts_with("''").then_some(('\'', 2))?,
            (Style::DoubleQuoted, '"') => return None,
            (Style::DoubleQuoted, '\\') => Self::escape(rest)?,
            _ => (first, first.len_utf8()),
        };
        let place = self.at..self.at + length;
        self.at = place.end;
        Some((place, letter))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use crate::{Located, SourceFile, from_str, parse};

    /// Every part of `value` that is asked for, as it is written in the file.
    #[track_caller]
    fn check(yaml: &str, asked: &[(&str, &str)]) {
        let file = SourceFile::new("a.yaml", yaml);
        let read: BTreeMap<String, Located<String>> = from_str(&file).unwrap();
        let when = &read["when"];
        let tree = parse(&file).unwrap();
        let crate::NodeKind::Map(entries) = &tree.kind else {
            panic!("not a map")
        };
        assert_eq!(
            entries.last().unwrap().1.span,
            when.span,
            "tree and value agree"
        );
        for &(part, written) in asked {
            let at = when
                .value
                .find(part)
                .unwrap_or_else(|| panic!("{part} in {:?}", when.value));
            let span = when.span_of(&file, at..at + part.len());
            assert_eq!(&yaml[span.clone()], written, "{yaml}");
            assert_eq!(when.offset(&file, at), span.start);
        }
    }

    #[test]
    fn plain() {
        check(
            "when: a > b # b",
            &[("a", "a"), ("b", "b"), ("a > b", "a > b")],
        );
        check("é: ü\nwhen:   a == ä\n", &[("ä", "ä")]);
        check("when: &x a > b\n", &[("b", "b")]);
        check("{id: x, when: a > b}", &[("b", "b")]);
    }

    #[test]
    fn plain_over_several_lines() {
        check(
            "id: b\nwhen: a > 1 &&\n  b\n\n  > 2\n",
            &[("b", "b"), ("&& b", "&&\n  b"), ("2", "2")],
        );
    }

    #[test]
    fn single_quoted() {
        check(
            "when: 'it''s > b'\n",
            &[("'", "''"), ("b", "b"), ("s", "s")],
        );
        check("when: 'a\n   > b'\n", &[("> b", "> b")]);
    }

    #[test]
    fn double_quoted() {
        check(
            r#"when: "a == \"b\" && \u00e9 \\ c""#,
            &[("\"b\"", r#"\"b\""#), ("é", r"\u00e9"), ("c", "c")],
        );
        check("when: \"a \\\n   > b\\tc\"\n", &[("b", "b"), ("c", "c")]);
    }

    #[test]
    fn literal_block() {
        check(
            "when: | # why\n  a > 1 &&\n    b > 2\nid: x\n"
                .replace("id: x\n", "")
                .as_str(),
            &[("a", "a"), ("b", "b"), ("2", "2")],
        );
        check("when: |-\n\n  a\n  |b\n", &[("|b", "|b")]);
    }

    #[test]
    fn folded_block() {
        check(
            "when: >-\n  a > 1 &&\n  b > 2\n",
            &[("b", "b"), ("&& b", "&&\n  b")],
        );
        check("when: >2+\n    a >\n  b\n", &[("b", "b")]);
    }

    #[test]
    fn tagged() {
        check("when: !!str a > b\n", &[("a", "a"), ("b", "b")]);
    }

    #[test]
    fn behind_an_alias_the_definition_is_shown() {
        check("base: &base a > b\nwhen: *base\n", &[("b", "b")]);
    }

    #[test]
    fn the_end_of_a_value_is_behind_its_last_character() {
        let file = SourceFile::new("a.yaml", "when: >-\n  a >\n  b\n");
        let read: BTreeMap<String, Located<String>> = from_str(&file).unwrap();
        let when = &read["when"];
        assert_eq!(when.value, "a > b");
        assert_eq!(when.offset(&file, 5), 18);
        assert_eq!(when.offset(&file, 999), 18);
    }

    #[test]
    fn a_value_that_does_not_match_its_source_points_at_the_beginning() {
        let file = SourceFile::new("a.yaml", "when: a > b\n");
        assert_eq!(Located::new("x + y".to_owned(), 6..11).offset(&file, 4), 6);
        assert_eq!(Located::new("x".to_owned(), 99..100).offset(&file, 0), 99);
    }
}
