//! Splits an expression into tokens, before the CEL parser sees it.
//!
//! The parser aborts the process on hostile input and speaks of grammar rules when something is amiss. So length is
//! bounded here, what the language leaves out of CEL (byte strings, raw strings, odd escapes) is refused here, and
//! the tokens' places give later problems their exact spans.

use std::ops::Range;

use tollgate_types::{Currency, contains_card_number};

use crate::Problem;
use crate::limits;

/// Longest expression in bytes; the longest sensible rule is a tenth of it.
const SOURCE_BYTES_MAX: usize = 4096;

/// What to say where a currency stands beside a number.
pub(crate) const AMOUNT_ALONE: &str = "write the amount alone: it is in the policy's base currency";

const COMMENT: &str = "write the comment above `when:`, on a line of its own that begins with `#`";

/// The tokens of one expression.
#[derive(Debug)]
pub(crate) struct Tokens<'s> {
    pub(crate) source: &'s str,
    pub(crate) list: Vec<Token>,
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Token {
    pub(crate) kind: Kind,
    pub(crate) span: Range<usize>,
    /// The other bracket of a pair, as an index of the list.
    pub(crate) partner: Option<usize>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Kind {
    Name,
    Number,
    Text,
    /// An opening bracket.
    Open,
    /// A closing bracket.
    Close,
    Dot,
    Comma,
    Question,
    Colon,
    /// Any other sign; [`crate::grammar`] tells whether it is one of the language.
    Operator,
}

/// Longest first, so that `<=` is not read as `<` and `=`. Some are what people write instead of an operator of
/// the language: read as one token, and refused with what to write.
#[rustfmt::skip]
const SIGNS: [&str; 26] = [
    "==", "!=", "<=", ">=", "&&", "||", "=<", "=>", "<>",
    "+", "-", "*", "/", "%", "!", "<", ">", "=", "&", "|", "?", ":", ".", ",", "(", ")",
];

/// Reads the tokens. All problems are found in one pass; one that makes the rest unreadable ends it.
pub(crate) fn scan(source: &str) -> Result<Tokens<'_>, Vec<Problem>> {
    if source.len() > SOURCE_BYTES_MAX {
        let length = source.len();
        let message =
            format!("the expression has {length} bytes; at most {SOURCE_BYTES_MAX} are allowed");
        let problem = Problem::error(0..floor_char(source, SOURCE_BYTES_MAX), message);
        return Err(vec![
            problem.with_help("name parts of it as features, or write several rules"),
        ]);
    }
    let mut scanner = Scanner {
        source,
        at: 0,
        list: Vec::new(),
        problems: Vec::new(),
    };
    while scanner.next() {}
    scanner.finish()
}

struct Scanner<'s> {
    source: &'s str,
    at: usize,
    list: Vec<Token>,
    problems: Vec<Problem>,
}

impl<'s> Scanner<'s> {
    fn rest(&self) -> &'s str {
        &self.source[self.at..]
    }

    /// Reads one token or blank; `false` at the end.
    fn next(&mut self) -> bool {
        let rest = self.rest();
        let Some(first) = rest.chars().next() else {
            return false;
        };
        match first {
            ' ' | '\t' | '\n' | '\r' => self.at += 1,
            _ if rest.starts_with("//") => self.comment(),
            'a'..='z' | 'A'..='Z' | '_' => self.name(),
            '0'..='9' => self.number(),
            '"' | '\'' => self.text(first),
            '[' => self.push(Kind::Open, 1),
            ']' => self.push(Kind::Close, 1),
            _ => match SIGNS.into_iter().find(|sign| rest.starts_with(sign)) {
                Some(sign) => self.push(kind_of(sign), sign.len()),
                None => self.foreign(first),
            },
        }
        true
    }

    /// CEL has comments to the end of the line, but YAML folds several lines into one: a comment would take the
    /// rest of the rule with it, unseen.
    fn comment(&mut self) {
        let span = self.at..self.at + length_while(self.rest(), |next| next != '\n');
        self.at = span.end;
        let message = "an expression cannot hold a comment";
        self.problems
            .push(Problem::error(span, message).with_help(COMMENT));
    }

    fn push(&mut self, kind: Kind, length: usize) {
        let span = self.at..self.at + length;
        self.at = span.end;
        self.list.push(Token {
            kind,
            span,
            partner: None,
        });
    }

    fn name(&mut self) {
        let length = length_while(self.rest(), is_name_char);
        if self.rest()[length..].starts_with(['"', '\'']) && length <= 2 {
            let span = self.at..self.at + length;
            let message = format!(
                "`{}` before a quote has no meaning here",
                &self.source[span.clone()]
            );
            self.problems
                .push(Problem::error(span, message).with_help("write the text in quotes only"));
        }
        self.push(Kind::Name, length);
    }

    fn number(&mut self) {
        let rest = self.rest();
        let length = number_length(rest);
        let suffix = length_while(&rest[length..], is_name_char);
        let written = &rest[..length + suffix];
        let span = self.at..self.at + written.len();
        if suffix > 0 {
            let problem = bad_number(span, written, &rest[..length], self.called());
            self.problems.push(problem);
        } else if !fits(written) {
            let message = format!("the number {written} is too large");
            self.problems.push(Problem::error(span, message));
        }
        self.push(Kind::Number, written.len());
    }

    /// The function whose brackets were just opened.
    fn called(&self) -> Option<&'s str> {
        match self.list.as_slice() {
            [.., name, open] if open.kind == Kind::Open && name.kind == Kind::Name => {
                Some(&self.source[name.span.clone()])
            }
            _ => None,
        }
    }

    fn text(&mut self, quote: char) {
        let start = self.at;
        let mut escaped = false;
        let mut length = None;
        for (at, next) in self.rest().char_indices().skip(1) {
            if next == '\n' {
                break;
            }
            if escaped {
                escaped = false;
                if !matches!(next, '\\' | '"' | '\'' | 'n' | 't' | 'r') {
                    let span = start + at - 1..start + at + next.len_utf8();
                    let problem = Problem::error(span, "this backslash sequence is not known");
                    self.problems
                        .push(problem.with_help(format!("write two backslashes: `\\\\{next}`")));
                }
            } else if next == '\\' {
                escaped = true;
            } else if next == quote {
                length = Some(at + 1);
                break;
            } else if next.is_control() {
                self.problems.push(control(start + at, next));
            }
        }
        if length.is_none() {
            let span = start..start + length_while(self.rest(), |next| next != '\n');
            let problem = Problem::error(span, "this text is not closed");
            self.problems
                .push(problem.with_help(format!("end it with `{quote}`")));
        }
        let to_line_end = length_while(self.rest(), |next| next != '\n');
        self.push(Kind::Text, length.unwrap_or(to_line_end));
    }

    /// A character outside texts that no expression has.
    fn foreign(&mut self, first: char) {
        let span = self.at..self.at + first.len_utf8();
        self.at = span.end;
        if first.is_control() {
            self.problems.push(control(span.start, first));
            return;
        }
        let help = match first {
            '“' | '”' | '„' | '‘' | '’' | '«' | '»' | '`' => {
                "write straight quotes: \"…\""
            }
            '≥' => "write `>=`",
            '≤' => "write `<=`",
            '≠' => "write `!=`",
            '×' => "write `*`",
            '÷' => "write `/`",
            '−' | '–' | '—' => "write `-`",
            '{' | '}' => "write `(` and `)` to group, `[` and `]` for a list",
            ';' => "an expression is one condition: join several with `&&` or `||`",
            '€' | '$' | '£' | '¥' => AMOUNT_ALONE,
            '#' => COMMENT,
            _ if first.is_whitespace() => "write an ordinary space",
            _ => "letters beyond a–z, and signs, belong in quotes",
        };
        let shown = if first.is_whitespace() {
            "this kind of space".to_owned()
        } else {
            format!("`{first}`")
        };
        let problem = Problem::error(span, format!("{shown} is not part of the language"));
        self.problems.push(problem.with_help(help));
    }

    fn finish(self) -> Result<Tokens<'s>, Vec<Problem>> {
        let card_numbers = self.card_numbers();
        if !card_numbers.is_empty() {
            // What else there is to say may repeat them.
            return Err(card_numbers);
        }
        if !self.problems.is_empty() {
            return Err(self.problems);
        }
        let mut tokens = Tokens {
            source: self.source,
            list: self.list,
        };
        limits::match_brackets(&mut tokens).map_err(|problem| vec![problem])?;
        limits::check(&tokens).map_err(|problem| vec![problem])?;
        Ok(tokens)
    }
}

impl Scanner<'_> {
    /// Card numbers among texts, and such as stand there without quotes.
    fn card_numbers(&self) -> Vec<Problem> {
        let values = self
            .list
            .iter()
            .filter(|token| matches!(token.kind, Kind::Text | Kind::Number));
        values
            .filter(|token| contains_card_number(&self.source[token.span.clone()]))
            .map(|token| Problem::card_number(token.span.clone()))
            .collect()
    }
}

impl Tokens<'_> {
    pub(crate) fn text(&self, token: &Token) -> &str {
        &self.source[token.span.clone()]
    }

    /// The token that begins at a byte offset.
    pub(crate) fn at(&self, start: usize) -> Option<usize> {
        self.list
            .binary_search_by_key(&start, |token| token.span.start)
            .ok()
    }

    /// The source with white space made uniform.
    pub(crate) fn canonical(&self) -> String {
        let mut text = String::with_capacity(self.source.len());
        let mut previous: Option<Kind> = None;
        for token in &self.list {
            let apart = |kind| matches!(kind, Kind::Operator | Kind::Question | Kind::Colon);
            let words = |kind| matches!(kind, Kind::Name | Kind::Number | Kind::Text);
            let space = previous.is_some_and(|previous| {
                apart(previous)
                    || apart(token.kind)
                    || previous == Kind::Comma
                    || (words(previous) && (words(token.kind) || self.is_list(token)))
            });
            if space {
                text.push(' ');
            }
            text.push_str(self.text(token));
            previous = Some(token.kind);
        }
        text
    }

    fn is_list(&self, token: &Token) -> bool {
        token.kind == Kind::Open && self.text(token) == "["
    }
}

fn kind_of(sign: &str) -> Kind {
    match sign {
        "(" => Kind::Open,
        ")" => Kind::Close,
        "." => Kind::Dot,
        "," => Kind::Comma,
        "?" => Kind::Question,
        ":" => Kind::Colon,
        _ => Kind::Operator,
    }
}

fn is_name_char(next: char) -> bool {
    next.is_ascii_alphanumeric() || next == '_'
}

fn length_while(text: &str, belongs: impl Fn(char) -> bool) -> usize {
    text.find(|next| !belongs(next)).unwrap_or(text.len())
}

/// `12`, `12.5`, `12e3`, `12.5e-3`: without the suffix that may wrongly follow.
fn number_length(text: &str) -> usize {
    let digits = |text: &str| length_while(text, |next| next.is_ascii_digit());
    let mut length = digits(text);
    if let Some(fraction) = text[length..].strip_prefix('.') {
        let places = digits(fraction);
        if places > 0 {
            length += 1 + places;
        }
    }
    if let Some(exponent) = text[length..].strip_prefix(['e', 'E']) {
        let sign = usize::from(exponent.starts_with(['+', '-']));
        let places = digits(&exponent[sign..]);
        if places > 0 {
            length += 1 + sign + places;
        }
    }
    length
}

fn fits(number: &str) -> bool {
    let whole = number.bytes().all(|byte| byte.is_ascii_digit());
    if whole {
        number.parse::<i64>().is_ok()
    } else {
        number.parse::<f64>().is_ok_and(f64::is_finite)
    }
}

fn bad_number(span: Range<usize>, written: &str, digits: &str, called: Option<&str>) -> Problem {
    let suffix = &written[digits.len()..];
    let message = format!("`{written}` is not a number");
    let problem = Problem::error(span, message);
    match suffix {
        "d" | "h" | "m" | "s" | "ms" => match called {
            Some(name @ ("last" | "delayed" | "duration")) => problem.with_help(format!(
                "a length of time is written in quotes: `{name}(\"{written}\")`"
            )),
            _ => problem.with_help(format!(
                "a length of time is written `duration(\"{written}\")`"
            )),
        },
        _ if is_currency(suffix) => problem.with_help(AMOUNT_ALONE),
        _ if suffix.starts_with('_') => {
            problem.with_help("write all digits together, without `_` between them")
        }
        _ => problem.with_help("write digits, with `.` before decimals; texts belong in quotes"),
    }
}

/// Whether somebody means a currency by this word.
pub(crate) fn is_currency(word: &str) -> bool {
    let capitals = word.to_ascii_uppercase();
    Currency::parse(&capitals).is_ok()
        || matches!(
            capitals.as_str(),
            "EURO" | "EUROS" | "DOLLAR" | "DOLLARS" | "POUNDS"
        )
}

fn control(at: usize, found: char) -> Problem {
    let message = format!(
        "there is an invisible control character (U+{:04X}) here",
        u32::from(found)
    );
    Problem::error(at..at + found.len_utf8(), message)
        .with_help("delete it and type this part again")
}

fn floor_char(text: &str, at: usize) -> usize {
    (0..=at)
        .rev()
        .find(|&at| text.is_char_boundary(at))
        .unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn definitions_differ_only_where_the_tokens_do() {
        let same = [
            "card.last('1h').count()>=6&&!x in[1,-2]",
            "card . last( '1h' )\n.count( ) >= 6\n && !x in [ 1 , -2 ]",
        ];
        let [first, second] = same.map(|source| scan(source).unwrap().canonical());
        assert_eq!(first, "card.last('1h').count() >= 6 && ! x in [1, - 2]");
        assert_eq!(first, second);
        let again = scan(&first).unwrap().canonical();
        assert_eq!(first, again);
        for other in [
            "card.last('1h').count() >= 7",
            "card.last('1 h').count() >= 6",
        ] {
            assert_ne!(scan(other).unwrap().canonical(), first);
        }
    }

    #[test]
    fn every_token_has_its_place() {
        let source = "a.b(\"é\") <= 1.5e-3";
        let tokens = scan(source).unwrap();
        let texts: Vec<&str> = tokens.list.iter().map(|token| tokens.text(token)).collect();
        assert_eq!(texts, ["a", ".", "b", "(", "\"é\"", ")", "<=", "1.5e-3"]);
        assert_eq!(
            (tokens.list[3].partner, tokens.list[5].partner),
            (Some(5), Some(3))
        );
        assert_eq!(
            (tokens.at(3), tokens.at(4), tokens.at(5)),
            (Some(3), Some(4), None)
        );
    }
}
