//! Whether the tokens can be an expression at all, with problems in words of the language.
//!
//! Values and operators take turns, commas stand in calls and lists, every `?` has its `:`. What passes here the
//! CEL parser accepts but for rare orders, which it refuses itself.

use std::ops::Range;

use crate::Problem;
use crate::scan::{AMOUNT_ALONE, Kind, Token, Tokens, is_currency};

/// Words that CEL keeps for itself.
const RESERVED: [&str; 17] = [
    "as",
    "break",
    "const",
    "continue",
    "else",
    "for",
    "function",
    "if",
    "import",
    "let",
    "loop",
    "package",
    "namespace",
    "return",
    "var",
    "void",
    "while",
];

/// What people write for an operator, and the operator.
const WORDS: [(&str, &str); 14] = [
    ("and", "&&"),
    ("or", "||"),
    ("not", "!"),
    ("is", "=="),
    ("equals", "=="),
    ("eq", "=="),
    ("ne", "!="),
    ("gt", ">"),
    ("lt", "<"),
    ("gte", ">="),
    ("lte", "<="),
    ("mod", "%"),
    ("then", "?"),
    ("otherwise", ":"),
];

const SIGNS: [(&str, &str); 6] = [
    ("=", "=="),
    ("=<", "<="),
    ("=>", ">="),
    ("<>", "!="),
    ("&", "&&"),
    ("|", "||"),
];

pub(crate) fn check(tokens: &Tokens<'_>) -> Result<(), Vec<Problem>> {
    if tokens.list.is_empty() {
        let problem = Problem::error(0..tokens.source.len(), "the expression is empty");
        return Err(vec![problem.with_help(
            "write a condition, such as `transaction.amount > 500`",
        )]);
    }
    let mut reader = Reader {
        tokens,
        at: 0,
        open: vec![Group::outermost()],
        problems: Vec::new(),
    };
    match reader.read() {
        Err(problem) => reader.problems.push(*problem),
        Ok(()) if reader.problems.is_empty() => return Ok(()),
        Ok(()) => {}
    }
    Err(reader.problems)
}

struct Reader<'t> {
    tokens: &'t Tokens<'t>,
    at: usize,
    /// Brackets that are open around the current token.
    open: Vec<Group>,
    /// Mistakes after which reading could go on.
    problems: Vec<Problem>,
}

/// What stands between two brackets, or in none.
struct Group {
    /// A call's arguments or a list.
    commas: bool,
    /// Every `?` whose `:` has not come.
    questions: Vec<usize>,
}

impl Group {
    const fn outermost() -> Self {
        Self {
            commas: false,
            questions: Vec::new(),
        }
    }
}

/// A mistake after which nothing can be said about the rest.
type Stop = Box<Problem>;

impl<'t> Reader<'t> {
    /// Reads values and operators in turns.
    fn read(&mut self) -> Result<(), Stop> {
        loop {
            self.value()?;
            if !self.operator()? {
                return Ok(());
            }
        }
    }

    fn peek(&self) -> Option<&'t Token> {
        self.tokens.list.get(self.at)
    }

    fn text(&self, token: &Token) -> &'t str {
        &self.tokens.source[token.span.clone()]
    }

    /// Everything up to and including a value: signs before it, and opening brackets.
    fn value(&mut self) -> Result<(), Stop> {
        loop {
            let Some(token) = self.peek() else {
                return Err(self.ends_early());
            };
            let text = self.text(token);
            match token.kind {
                Kind::Number | Kind::Text => break,
                Kind::Name if text == "not" => self.problems.push(instead(&token.span, text, "!")),
                Kind::Name if RESERVED.contains(&text) => return Err(reserved(token, text)),
                Kind::Name if text == "in" => return Err(self.value_missing(token)),
                Kind::Name => break,
                Kind::Operator if text == "!" || text == "-" => self.sign(token)?,
                Kind::Open => {
                    let commas = text == "[" || self.is_call();
                    self.open.push(Group {
                        commas,
                        questions: Vec::new(),
                    });
                    if commas && token.partner == Some(self.at + 1) {
                        self.at += 1;
                        self.close()?;
                        break;
                    }
                }
                _ => return Err(self.value_missing(token)),
            }
            self.at += 1;
        }
        self.at += 1;
        Ok(())
    }

    /// Everything after a value up to where the next one is expected; `false` at the end.
    fn operator(&mut self) -> Result<bool, Stop> {
        loop {
            let Some(token) = self.peek() else {
                return self.end().map(|()| false);
            };
            let text = self.text(token);
            match token.kind {
                Kind::Close => self.close()?,
                Kind::Dot => self.member()?,
                Kind::Open if text == "(" && self.is_call() => return Ok(true),
                Kind::Open if text == "[" => return Err(self.index(token)),
                Kind::Operator => {
                    if let Some((_, right)) = SIGNS.iter().find(|(wrong, _)| *wrong == text) {
                        self.problems.push(instead(&token.span, text, right));
                    } else if text == "!" {
                        return Err(self.operator_missing(token));
                    }
                    break;
                }
                Kind::Name if text == "in" => break,
                Kind::Name => {
                    self.word(token)?;
                    break;
                }
                Kind::Comma => {
                    self.comma(token)?;
                    break;
                }
                Kind::Question => {
                    self.question(token)?;
                    break;
                }
                Kind::Colon => {
                    if self.group().questions.pop().is_none() {
                        let problem =
                            Problem::error(token.span.clone(), "this `:` has no `?` before it");
                        return Err(Box::new(
                            problem.with_help("write `condition ? value : value`"),
                        ));
                    }
                    break;
                }
                Kind::Number | Kind::Text | Kind::Open => return Err(self.operator_missing(token)),
            }
            self.at += 1;
        }
        self.at += 1;
        Ok(true)
    }

    /// The parser takes several of one sign, but not one after the other sign.
    fn sign(&self, token: &Token) -> Result<(), Stop> {
        let before = self
            .at
            .checked_sub(1)
            .map(|at| self.text(&self.tokens.list[at]));
        match before {
            Some("!") if self.text(token) == "-" => {
                Err(Self::needs_brackets(token, "`-` cannot follow `!`"))
            }
            _ => Ok(()),
        }
    }

    fn question(&mut self, token: &Token) -> Result<(), Stop> {
        if !self.group().questions.is_empty() {
            return Err(Self::needs_brackets(
                token,
                "this `?` stands inside another one",
            ));
        }
        let at = self.at;
        self.group().questions.push(at);
        Ok(())
    }

    fn needs_brackets(token: &Token, message: &str) -> Stop {
        let problem = Problem::error(token.span.clone(), message);
        Box::new(problem.with_help("put the inner part in brackets"))
    }

    /// Whether the opening bracket at hand begins a call's arguments.
    fn is_call(&self) -> bool {
        let before = self
            .at
            .checked_sub(1)
            .and_then(|at| self.tokens.list.get(at));
        let name = |token: &Token| token.kind == Kind::Name && self.text(token) != "in";
        before.is_some_and(name)
    }

    /// The innermost bracket. There is always one: the outermost is never closed.
    fn group(&mut self) -> &mut Group {
        if self.open.is_empty() {
            self.open.push(Group::outermost());
        }
        let last = self.open.len() - 1;
        &mut self.open[last]
    }

    fn close(&mut self) -> Result<(), Stop> {
        self.end()?;
        self.open.pop();
        Ok(())
    }

    /// At the end of a bracket or of the expression no `?` may be left alone.
    fn end(&mut self) -> Result<(), Stop> {
        let Some(question) = self.group().questions.last().copied() else {
            return Ok(());
        };
        let span = self.tokens.list[question].span.clone();
        let problem = Problem::error(span, "this `?` has no `:` after it");
        Err(Box::new(
            problem.with_help("write `condition ? value : value`"),
        ))
    }

    fn member(&mut self) -> Result<(), Stop> {
        let next = self.tokens.list.get(self.at + 1);
        if next.is_some_and(|next| next.kind == Kind::Name) {
            self.at += 1;
            return Ok(());
        }
        let dot = self.tokens.list[self.at].span.clone();
        Err(Box::new(Problem::error(
            dot,
            "a name is missing after this `.`",
        )))
    }

    fn comma(&mut self, token: &Token) -> Result<(), Stop> {
        if self.group().commas && self.group().questions.is_empty() {
            return Ok(());
        }
        let neighbors = [self.at.wrapping_sub(1), self.at + 1].map(|at| self.tokens.list.get(at));
        let number = |token: &Option<&Token>| token.is_some_and(|token| token.kind == Kind::Number);
        let help = if neighbors.iter().all(number) {
            "write numbers without separators, and decimals after a `.`"
        } else {
            "join conditions with `&&` (and) or `||` (or)"
        };
        let problem = Problem::error(token.span.clone(), "a comma has no meaning here");
        Err(Box::new(problem.with_help(help)))
    }

    /// A name where an operator belongs.
    fn word(&mut self, token: &'t Token) -> Result<(), Stop> {
        let text = self.text(token);
        let next = self.tokens.list.get(self.at + 1);
        if text == "not" && next.is_some_and(|next| self.text(next) == "in") {
            let problem =
                Problem::error(token.span.clone(), "`not in` is not part of the language");
            self.problems
                .push(problem.with_help("write `!(x in list)`"));
            self.at += 1;
            return Ok(());
        }
        let small = text.to_ascii_lowercase();
        match WORDS
            .iter()
            .find(|(word, _)| *word == small && small != "not")
        {
            Some((_, sign)) => {
                self.problems.push(instead(&token.span, text, sign));
                Ok(())
            }
            None => Err(self
                .foreign_word(token, &small)
                .unwrap_or_else(|| self.operator_missing(token))),
        }
    }

    /// Words that other languages have between two values.
    fn foreign_word(&self, token: &Token, small: &str) -> Option<Stop> {
        let subject = self.name_before(self.at).unwrap_or("x");
        let value = |after: usize, otherwise: &'static str| {
            let token = self.tokens.list.get(self.at + after);
            let is_value =
                |token: &&Token| matches!(token.kind, Kind::Number | Kind::Text | Kind::Name);
            token
                .filter(is_value)
                .map_or(otherwise, |token| self.text(token))
        };
        let help = match small {
            "between" => format!(
                "write two comparisons: `{subject} >= {} && {subject} <= {}`",
                value(1, "5"),
                value(3, "10")
            ),
            "like" | "ilike" => format!(
                "write `{subject}.startsWith(\"…\")`, `{subject}.contains(\"…\")`, or `{subject}.matches(\"…\")` with a pattern"
            ),
            "contains" | "startswith" | "endswith" | "matches" => {
                let name = match small {
                    "startswith" => "startsWith",
                    "endswith" => "endsWith",
                    other => other,
                };
                format!("write `{subject}.{name}({})`", value(1, "\"…\""))
            }
            _ => return None,
        };
        let message = format!("`{}` is not part of the language", self.text(token));
        Some(Box::new(
            Problem::error(token.span.clone(), message).with_help(help),
        ))
    }

    /// The dotted name that ends before a token.
    fn name_before(&self, at: usize) -> Option<&'t str> {
        let is_part = |token: &&Token| matches!(token.kind, Kind::Name | Kind::Dot);
        let before = self.tokens.list.get(..at)?;
        let first = before.iter().rev().take_while(is_part).last()?;
        let last = before.last()?;
        (first.kind == Kind::Name).then(|| &self.tokens.source[first.span.start..last.span.end])
    }

    /// The number before a `%` that stands where no division can be meant: `92 %` instead of 0.92.
    fn percent_before(&self, at: usize) -> Option<String> {
        let [.., number, sign] = self.tokens.list.get(..at)? else {
            return None;
        };
        if self.text(sign) != "%" || number.kind != Kind::Number {
            return None;
        }
        let percent = self.text(number);
        let share = percent.parse::<f64>().ok()? / 100.0;
        Some(format!(
            "`%` is the rest of a division: {percent} % is written {share}"
        ))
    }

    fn ends_early(&self) -> Stop {
        let last = &self.tokens.list[self.tokens.list.len() - 1];
        let message = format!(
            "the expression ends after `{}`, where a value is missing",
            self.text(last)
        );
        let help = self.percent_before(self.tokens.list.len());
        Box::new(Problem::error(last.span.clone(), message).with_help_if(help))
    }

    fn value_missing(&self, token: &Token) -> Stop {
        let message = format!("a value is missing before `{}`", self.text(token));
        let problem = Problem::error(token.span.clone(), message);
        let next = self.tokens.list.get(self.at + 1);
        let decimal = token.kind == Kind::Dot && next.is_some_and(|next| next.kind == Kind::Number);
        let help = next
            .filter(|_| decimal)
            .map(|next| format!("write `0.{}`", self.text(next)));
        let help = help.or_else(|| self.percent_before(self.at));
        Box::new(problem.with_help_if(help))
    }

    fn operator_missing(&self, token: &Token) -> Stop {
        let before = &self.tokens.list[self.at.saturating_sub(1)];
        let (left, right) = (self.text(before), self.text(token));
        let message = format!("an operator is missing between `{left}` and `{right}`");
        let problem = Problem::error(token.span.clone(), message);
        let is_group = right.len() == 3 && right.bytes().all(|byte| byte.is_ascii_digit());
        let help = match (before.kind, token.kind) {
            (Kind::Number, Kind::Number) if is_group => {
                format!("write all digits together: {left}{right}")
            }
            (Kind::Number, Kind::Name) if is_currency(right) => AMOUNT_ALONE.to_owned(),
            _ => "join conditions with `&&` (and) or `||` (or)".to_owned(),
        };
        Box::new(problem.with_help(help))
    }

    fn index(&self, token: &Token) -> Stop {
        let end = token
            .partner
            .map_or(token.span.end, |at| self.tokens.list[at].span.end);
        if let Some(dotted) = self.dotted(token) {
            let message = "a part of something is written after a dot";
            let problem = Problem::error(token.span.start..end, message);
            return Box::new(problem.with_help(format!("write `{dotted}`")));
        }
        let problem = Problem::error(token.span.start..end, "values have no numbered parts");
        Box::new(problem.with_help("to ask whether a value is one of several, write `x in [a, b]`"))
    }
}

impl Reader<'_> {
    /// `transaction['amount']` as it should be written.
    fn dotted(&self, open: &Token) -> Option<String> {
        let inner = self.tokens.list.get(self.at + 1)?;
        let is_alone = open.partner == Some(self.at + 2) && inner.kind == Kind::Text;
        let name = self.text(inner).trim_matches(['"', '\'']).to_owned();
        let is_name = !name.is_empty()
            && name
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
        let of = self.name_before(self.at)?;
        (is_alone && is_name).then(|| format!("{of}.{name}"))
    }
}

fn instead(span: &Range<usize>, wrong: &str, right: &str) -> Problem {
    Problem::error(
        span.clone(),
        format!("`{wrong}` is not part of the language"),
    )
    .with_help(format!("write `{right}`"))
}

fn reserved(token: &Token, text: &str) -> Stop {
    let problem = Problem::error(
        token.span.clone(),
        format!("`{text}` is not part of the language"),
    );
    let help =
        matches!(text, "if" | "else").then(|| "write `condition ? value : value`".to_owned());
    Box::new(problem.with_help_if(help))
}
