//! From tokens to a tree, by the parser of the `cel` crate: the only file that knows it.
//!
//! Its tree places an operator at its sign and a call at its bracket, and knows no ends. Places become tokens
//! again here, and spans of whole operands are put together from those of their parts.

use std::ops::RangeInclusive;

use cel::common::ast::{CallExpr, Expr, IdedExpr, LiteralValue, SelectExpr, SourceInfo, operators};
use cel::parser::{ParseErrors, Parser};

use crate::Problem;
use crate::grammar;
use crate::scan::Tokens;
use crate::syntax::{Call, Operator, Syntax, SyntaxKind, Word};
use crate::values::{Arithmetic, Comparison};

/// Reads one expression. Problems are all of one kind: either the tokens are wrong, or their order, or what they
/// make is not part of the language.
pub(crate) fn parse(tokens: &Tokens<'_>) -> Result<Syntax, Vec<Problem>> {
    grammar::check(tokens)?;
    let (tree, places) = Parser::new()
        .parse_with_source_info(&without_macros(tokens))
        .map_err(|errors| refused(tokens, &errors))?;
    let mut converter = Converter {
        tokens,
        places,
        problems: Vec::new(),
    };
    let part = converter.convert(&tree);
    match part {
        Some(part) if converter.problems.is_empty() => Ok(part.syntax),
        _ => Err(or_unreadable(converter.problems, tokens)),
    }
}

/// The source in which `has(…)` is a function like others: CEL only lets it ask for fields, and reads anything else as a
/// mistake. Another name of the same length leaves every place where it is.
fn without_macros(tokens: &Tokens<'_>) -> String {
    let mut source = String::with_capacity(tokens.source.len());
    let mut copied = 0;
    for pair in tokens.list.windows(2) {
        let [name, open] = pair else { continue };
        if tokens.text(name) == "has" && tokens.text(open) == "(" {
            source.push_str(&tokens.source[copied..name.span.start]);
            source.push_str("Has");
            copied = name.span.end;
        }
    }
    source.push_str(&tokens.source[copied..]);
    source
}

struct Converter<'t> {
    tokens: &'t Tokens<'t>,
    places: SourceInfo,
    problems: Vec<Problem>,
}

/// A converted part and the tokens it is made of.
struct Part {
    syntax: Syntax,
    tokens: RangeInclusive<usize>,
}

impl Converter<'_> {
    /// `None` where a problem was found, which is then listed.
    fn convert(&mut self, tree: &IdedExpr) -> Option<Part> {
        let token = self.token_of(tree);
        match &tree.expr {
            Expr::Literal(literal) => self.literal(literal, token?),
            Expr::Ident(name) => Some(self.part(SyntaxKind::Name(name.clone()), token?, token?)),
            Expr::Select(select) => self.select(select, token?),
            Expr::Call(call) => self.call(call, token?),
            Expr::List(list) => {
                let elements = self.convert_all(&list.elements);
                let end = self.tokens.list[token?].partner?;
                Some(self.part(SyntaxKind::List(elements?), token?, end))
            }
            Expr::Comprehension(loop_over) => {
                self.convert(&loop_over.iter_range);
                self.no_loops(token?)
            }
            Expr::Map(_) | Expr::Struct(_) | Expr::Unspecified => None,
        }
    }

    fn token_of(&self, tree: &IdedExpr) -> Option<usize> {
        let (start, _) = self.places.offset_for(tree.id)?;
        self.tokens.at(usize::try_from(start).ok()?)
    }

    fn convert_all(&mut self, trees: &[IdedExpr]) -> Option<Vec<Syntax>> {
        let parts: Vec<_> = trees.iter().map(|tree| self.convert(tree)).collect();
        parts
            .into_iter()
            .map(|part| part.map(|part| part.syntax))
            .collect()
    }

    /// A part made of the tokens from `first` to `last` and of the brackets that are needed to close it:
    /// `(a + b) * c` begins at the bracket, though no part of it does.
    fn part(&self, kind: SyntaxKind, first: usize, last: usize) -> Part {
        let (mut begin, mut end) = (first, last);
        for partner in self.tokens.list[first..=last]
            .iter()
            .filter_map(|token| token.partner)
        {
            begin = begin.min(partner);
            end = end.max(partner);
        }
        let span = self.tokens.list[begin].span.start..self.tokens.list[end].span.end;
        Part {
            syntax: Syntax { span, kind },
            tokens: begin..=end,
        }
    }

    fn word(&self, text: &str, token: usize) -> Word {
        Word {
            text: text.to_owned(),
            span: self.tokens.list[token].span.clone(),
        }
    }

    fn literal(&mut self, literal: &LiteralValue, token: usize) -> Option<Part> {
        let kind = match literal {
            #[expect(
                clippy::cast_precision_loss,
                reason = "numbers are doubles; beyond 2^53 they round"
            )]
            LiteralValue::Int(number) => SyntaxKind::Number(*number.inner() as f64),
            LiteralValue::Double(number) => SyntaxKind::Number(*number.inner()),
            LiteralValue::String(text) => SyntaxKind::Text(text.inner().to_owned()),
            LiteralValue::Boolean(flag) => SyntaxKind::Flag(*flag.inner()),
            LiteralValue::Null => SyntaxKind::Null,
            LiteralValue::UInt(_) | LiteralValue::Bytes(_) => return None,
        };
        // The parser reads the sign of a negative number into the literal but places it at the digits.
        let negative = matches!(kind, SyntaxKind::Number(number) if number.is_sign_negative());
        let signed = negative && token > 0 && self.text(token - 1) == "-";
        Some(self.part(kind, token - usize::from(signed), token))
    }

    fn text(&self, token: usize) -> &str {
        self.tokens.text(&self.tokens.list[token])
    }

    fn select(&mut self, select: &SelectExpr, dot: usize) -> Option<Part> {
        let of = self.convert(&select.operand)?;
        let field = self.word(&select.field, dot + 1);
        let first = *of.tokens.start();
        Some(self.part(
            SyntaxKind::Select {
                of: of.syntax.into(),
                field,
            },
            first,
            dot + 1,
        ))
    }

    fn call(&mut self, call: &CallExpr, token: usize) -> Option<Part> {
        match (call.func_name.as_str(), call.args.as_slice()) {
            (operators::LOGICAL_NOT, [of]) => self.sign(of, token, SyntaxKind::Not),
            (operators::NEGATE, [of]) => self.sign(of, token, SyntaxKind::Negate),
            (operators::CONDITIONAL, [condition, yes, no]) => {
                let parts = [condition, yes, no].map(|tree| self.convert(tree));
                let [Some(condition), Some(yes), Some(no)] = parts else {
                    return None;
                };
                let (first, last) = (*condition.tokens.start(), *no.tokens.end());
                let parts = Box::new([condition.syntax, yes.syntax, no.syntax]);
                Some(self.part(SyntaxKind::Choose(parts), first, last))
            }
            (name, [left, right]) if operator(name).is_some() => {
                let parts = [self.convert(left), self.convert(right)];
                let [Some(left), Some(right)] = parts else {
                    return None;
                };
                let (first, last) = (*left.tokens.start(), *right.tokens.end());
                let sign = self.tokens.list[token].span.clone();
                let sides = Box::new([left.syntax, right.syntax]);
                let operator = operator(name)?;
                Some(self.part(
                    SyntaxKind::Binary {
                        operator,
                        sign,
                        sides,
                    },
                    first,
                    last,
                ))
            }
            _ => self.function(call, token),
        }
    }

    fn sign(
        &mut self,
        of: &IdedExpr,
        token: usize,
        kind: impl FnOnce(Box<Syntax>) -> SyntaxKind,
    ) -> Option<Part> {
        let of = self.convert(of)?;
        let last = *of.tokens.end();
        Some(self.part(kind(of.syntax.into()), token, last))
    }

    /// The parser places a call at its bracket; its name is the token before.
    fn function(&mut self, call: &CallExpr, open: usize) -> Option<Part> {
        let name_at = open.checked_sub(1)?;
        let close = self.tokens.list[open].partner?;
        let of = call.target.as_ref().map(|of| self.convert(of));
        let arguments = self.convert_all(&call.args);
        let of = match of {
            Some(None) => return None,
            Some(Some(part)) => Some(part),
            None => None,
        };
        let first = of.as_ref().map_or(name_at, |of| *of.tokens.start());
        // As it is written: the parser may have been given another name.
        let name = self.word(self.text(name_at), name_at);
        let of = of.map(|of| of.syntax.into());
        Some(self.part(
            SyntaxKind::Call(Call {
                of,
                name,
                arguments: arguments?,
            }),
            first,
            close,
        ))
    }

    /// What the parser makes of `x.exists(…)`, `all`, `map` and `filter`.
    fn no_loops(&mut self, open: usize) -> Option<Part> {
        let token = &self.tokens.list[open.checked_sub(1)?];
        let message = format!("`{}` is not part of the language", self.tokens.text(token));
        let problem = Problem::error(token.span.clone(), message);
        self.problems
            .push(problem.with_help("to select events of an aggregate, write `.where(…)`"));
        None
    }
}

fn operator(name: &str) -> Option<Operator> {
    Some(match name {
        operators::LOGICAL_AND => Operator::And,
        operators::LOGICAL_OR => Operator::Or,
        operators::IN => Operator::In,
        operators::EQUALS => Operator::Compare(Comparison::Equal),
        operators::NOT_EQUALS => Operator::Compare(Comparison::NotEqual),
        operators::LESS => Operator::Compare(Comparison::Less),
        operators::LESS_EQUALS => Operator::Compare(Comparison::LessOrEqual),
        operators::GREATER => Operator::Compare(Comparison::Greater),
        operators::GREATER_EQUALS => Operator::Compare(Comparison::GreaterOrEqual),
        operators::ADD => Operator::Arithmetic(Arithmetic::Add),
        operators::SUBSTRACT => Operator::Arithmetic(Arithmetic::Subtract),
        operators::MULTIPLY => Operator::Arithmetic(Arithmetic::Multiply),
        operators::DIVIDE => Operator::Arithmetic(Arithmetic::Divide),
        operators::MODULO => Operator::Arithmetic(Arithmetic::Remainder),
        _ => return None,
    })
}

/// The first thing the parser did not like; what it says after that is guesswork.
fn refused(tokens: &Tokens<'_>, errors: &ParseErrors) -> Vec<Problem> {
    let Some(error) = errors.errors.first() else {
        return or_unreadable(Vec::new(), tokens);
    };
    let at = offset_of(tokens.source, error.pos);
    let token = tokens
        .list
        .iter()
        .find(|token| token.span.end > at)
        .or(tokens.list.last());
    let Some(token) = token else {
        return or_unreadable(Vec::new(), tokens);
    };
    let message = format!("`{}` cannot stand here", tokens.text(token));
    let problem = Problem::error(token.span.clone(), message);
    vec![problem.with_help("put the parts that belong together in brackets")]
}

/// From the parser's line and column, both from 1 and in characters.
fn offset_of(source: &str, (line, column): (isize, isize)) -> usize {
    let line = usize::try_from(line - 1).unwrap_or(0);
    let column = usize::try_from(column - 1).unwrap_or(0);
    let start: usize = source.split_inclusive('\n').take(line).map(str::len).sum();
    let rest = source.get(start..).unwrap_or("");
    start
        + rest
            .char_indices()
            .nth(column)
            .map_or(rest.len(), |(at, _)| at)
}

/// Nothing is refused without a word.
fn or_unreadable(mut problems: Vec<Problem>, tokens: &Tokens<'_>) -> Vec<Problem> {
    if problems.is_empty() {
        problems.push(Problem::error(
            0..tokens.source.len(),
            "this is not an expression of the language",
        ));
    }
    problems
}
