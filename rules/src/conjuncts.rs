//! What must hold for a condition to hold: the terms it joins with `&&`, as far as they can be read off its text.
//!
//! Used to find rules that another rule always beats. Only what is certain counts: a condition that this cannot
//! take apart is one term, which implies nothing but itself.

use std::collections::BTreeMap;

/// Terms by what they are about. A term that compares something with a number bounds it; terms about the same
/// are joined, so `x > 5 && x < 9` is one bound.
#[derive(Clone, PartialEq, Debug, Default)]
pub(crate) struct Conjuncts {
    terms: BTreeMap<String, Option<Bound>>,
}

/// The numbers between two ends.
#[derive(Clone, Copy, PartialEq, Debug)]
struct Bound {
    low: f64,
    low_included: bool,
    high: f64,
    high_included: bool,
}

impl Conjuncts {
    /// Takes a condition apart that was found right.
    pub(crate) fn of(condition: &str) -> Self {
        let mut conjuncts = Self::default();
        conjuncts.add(condition);
        conjuncts
    }

    /// What the terms are about.
    pub(crate) fn subjects(&self) -> impl Iterator<Item = &str> {
        self.terms.keys().map(String::as_str)
    }

    /// Whether the other condition holds whenever this one does: each of its terms follows from one of these.
    pub(crate) fn imply(&self, other: &Self) -> bool {
        let follows =
            |subject: &String, bound: &Option<Bound>| match (self.terms.get(subject), bound) {
                (Some(None), None) => true,
                (Some(Some(ours)), Some(theirs)) => ours.is_within(*theirs),
                _ => false,
            };
        other
            .terms
            .iter()
            .all(|(subject, bound)| follows(subject, bound))
    }

    fn add(&mut self, condition: &str) {
        let condition = without_brackets(condition);
        let tokens = top_level(condition);
        let cuts: Vec<usize> = tokens
            .iter()
            .filter(|(_, sign)| *sign == "&&")
            .map(|(at, _)| *at)
            .collect();
        let is_chain = tokens.iter().all(|(_, sign)| !["||", "?"].contains(sign));
        if cuts.is_empty() || !is_chain {
            return self.add_term(condition, &tokens);
        }
        let mut start = 0;
        for cut in cuts {
            self.add(&condition[start..cut]);
            start = cut + 2;
        }
        self.add(&condition[start..]);
    }

    fn add_term(&mut self, term: &str, tokens: &[(usize, &str)]) {
        let (subject, bound) = match bounded(term, tokens) {
            Some((subject, bound)) => (normalized(subject), Some(bound)),
            None => (normalized(term), None),
        };
        let known = self.terms.entry(subject).or_insert(bound);
        if let (Some(known), Some(bound)) = (known, bound) {
            known.narrow(bound);
        }
    }
}

impl Bound {
    fn new(sign: &str, number: f64) -> Option<Self> {
        let all = Self {
            low: f64::NEG_INFINITY,
            low_included: true,
            high: f64::INFINITY,
            high_included: true,
        };
        Some(match sign {
            "<" | "<=" => Self {
                high: number,
                high_included: sign == "<=",
                ..all
            },
            ">" | ">=" => Self {
                low: number,
                low_included: sign == ">=",
                ..all
            },
            "==" => Self {
                low: number,
                high: number,
                ..all
            },
            _ => return None,
        })
    }

    fn is_within(self, other: Self) -> bool {
        let low = self.low > other.low
            || (self.low >= other.low && (other.low_included || !self.low_included));
        let high = self.high < other.high
            || (self.high <= other.high && (other.high_included || !self.high_included));
        low && high
    }

    /// Leaves what is in both.
    fn narrow(&mut self, other: Self) {
        if other.low > self.low {
            (self.low, self.low_included) = (other.low, other.low_included);
        } else if other.low >= self.low {
            self.low_included &= other.low_included;
        }
        if other.high < self.high {
            (self.high, self.high_included) = (other.high, other.high_included);
        } else if other.high <= self.high {
            self.high_included &= other.high_included;
        }
    }
}

/// Signs that this file looks for, longer ones before those they begin with.
const SIGNS: [&str; 9] = ["&&", "||", "?", "<=", ">=", "==", "!=", "<", ">"];

/// The signs of a condition that stand outside of all brackets and quotes, and where.
fn top_level(condition: &str) -> Vec<(usize, &str)> {
    let mut found = Vec::new();
    let mut depth = 0;
    let mut at = 0;
    while at < condition.len() {
        let rest = &condition[at..];
        if let Some(length) = quoted(condition, at) {
            at += length;
            continue;
        }
        match rest.as_bytes()[0] {
            b'(' | b'[' => depth += 1,
            b')' | b']' => depth -= 1,
            _ => {}
        }
        let sign = SIGNS.into_iter().find(|sign| rest.starts_with(sign));
        if let Some(sign) = sign.filter(|_| depth == 0) {
            found.push((at, sign));
        }
        at += sign.map_or_else(|| rest.chars().next().map_or(1, char::len_utf8), str::len);
    }
    found
}

/// The length of the text literal that begins at a byte, if one does.
fn quoted(source: &str, at: usize) -> Option<usize> {
    let rest = &source[at..];
    let quote = rest
        .chars()
        .next()
        .filter(|first| ['"', '\''].contains(first))?;
    // In r"\d" a backslash is a letter like any other.
    let before = &source[..at];
    let is_raw = before.ends_with(['r', 'R'])
        && !before[..before.len() - 1].ends_with(|letter: char| letter.is_alphanumeric());
    let mut escaped = false;
    for (length, letter) in rest.char_indices().skip(1) {
        if escaped {
            escaped = false;
        } else if letter == '\\' && !is_raw {
            escaped = true;
        } else if letter == quote {
            return Some(length + 1);
        }
    }
    Some(rest.len())
}

/// Brackets that enclose the whole condition say nothing.
fn without_brackets(condition: &str) -> &str {
    let trimmed = condition.trim();
    let inner = trimmed
        .strip_prefix('(')
        .and_then(|rest| rest.strip_suffix(')'));
    match inner.filter(|_| closes_at_its_end(trimmed)) {
        Some(inner) => without_brackets(inner),
        None => trimmed,
    }
}

/// Whether the bracket that a text begins with is closed by its last letter.
fn closes_at_its_end(text: &str) -> bool {
    let mut depth = 0;
    let mut at = 0;
    while at < text.len() {
        if let Some(length) = quoted(text, at) {
            at += length;
            continue;
        }
        match text.as_bytes()[at] {
            b'(' => depth += 1,
            b')' => depth -= 1,
            _ => {}
        }
        at += text[at..].chars().next().map_or(1, char::len_utf8);
        if depth == 0 {
            return at == text.len();
        }
    }
    false
}

/// A comparison of anything with a number, whichever side that is on.
fn bounded<'t>(term: &'t str, tokens: &[(usize, &str)]) -> Option<(&'t str, Bound)> {
    let [(at, sign)] = tokens else { return None };
    let (left, right) = (term[..*at].trim(), term[*at + sign.len()..].trim());
    let mirrored = match *sign {
        "<" => ">",
        ">" => "<",
        "<=" => ">=",
        ">=" => "<=",
        other => other,
    };
    match (number(left), number(right)) {
        (None, Some(number)) => Some((left, Bound::new(sign, number)?)),
        (Some(number), None) => Some((right, Bound::new(mirrored, number)?)),
        _ => None,
    }
}

fn number(text: &str) -> Option<f64> {
    let digits = text.strip_prefix('-').unwrap_or(text);
    let begins = digits.starts_with(|first: char| first.is_ascii_digit());
    text.parse().ok().filter(|_| begins)
}

/// The text without the white space that means nothing.
fn normalized(text: &str) -> String {
    let mut normalized = String::with_capacity(text.len());
    let mut at = 0;
    let mut space = false;
    let is_word = |letter: char| letter.is_alphanumeric() || letter == '_';
    while at < text.len() {
        let length = quoted(text, at);
        let letter = text[at..].chars().next().unwrap_or(' ');
        let length = length.unwrap_or(letter.len_utf8());
        if letter.is_whitespace() {
            space = true;
        } else {
            // Between two words it is what keeps them apart.
            if space && normalized.ends_with(is_word) && is_word(letter) {
                normalized.push(' ');
            }
            space = false;
            normalized.push_str(&text[at..at + length]);
        }
        at += length;
    }
    normalized
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_follows_from_what() {
        let table = [
            ("a > 5", "a > 5", true),
            ("a > 5", "a > 3", true),
            ("a > 5", "a >= 5", true),
            ("a >= 5", "a > 5", false),
            ("a > 3", "a > 5", false),
            ("a == 5", "a >= 5", true),
            ("a == 5", "a < 5.5", true),
            ("5 < a", "a > 3", true),
            ("3 <= a", "a > 3", false),
            ("a < -1", "a < 0", true),
            ("a > 5 && a < 9", "a > 5", true),
            ("a > 5 && a > 9", "a > 7", true),
            ("a > 5 && a < 9", "a > 4 && a <= 9", true),
            ("a > 5", "a > 5 && b", false),
            ("c && (b && a > 5)", "a>5&&b", true),
            ("((b))", "b", true),
            ("(b) && (c)", "c", true),
            // Not chains of `&&`, so each is one term.
            ("a > 5 || b", "b", false),
            ("a > 5 || b", "a>5||b", true),
            ("b && (a > 5 || c)", "a > 5 || c", true),
            ("b && c || d", "b", false),
            ("b ? c && d : e", "d : e", false),
            ("!(b && c)", "b", false),
            ("f(b && c)", "b", false),
            // Texts are not looked into.
            ("x == \"a && b\"", "b", false),
            ("x == \"a  b\"", "x == \"a b\"", false),
            (r#"x == "\" && b""#, "b", false),
            (r#"x.matches(r"\") && b"#, "b", true),
            ("x == 'ü' && b", "b", true),
            // What is no number is not a bound.
            ("x == \"5\"", "x > 3", false),
            ("a > b", "a > 3", false),
            ("a != 5", "a != 5", true),
            ("a != 5", "a > 3", false),
            ("x in lists.a", "x in lists.a", true),
            ("x  in\nlists.a && b", "x in lists.a", true),
            ("xin lists.a", "x in lists.a", false),
            ("a > 5", "b > 5", false),
            ("a", "a > 5", false),
        ];
        for (condition, other, expected) in table {
            let implies = Conjuncts::of(condition).imply(&Conjuncts::of(other));
            assert_eq!(implies, expected, "{condition} => {other}");
        }
    }

    #[test]
    fn anything_can_be_taken_apart() {
        for text in [
            "", "(", ")", "\"", "'\\", "&&", "a &&", "&& a", "((a)", "r\"", "é && ü", "a)(b",
        ] {
            assert!(Conjuncts::of(text).imply(&Conjuncts::of(text)), "{text}");
        }
    }
}
