//! Brackets in pairs, and bounds on depth and size, before the CEL parser sees an expression.
//!
//! The parser recurses, and takes the process with it when the stack ends: at some 500 brackets, or 8,000 terms.

use crate::Problem;
use crate::scan::{Kind, Tokens};

/// Deepest nesting of brackets and of `? :`. The parser recurses about ten calls for each.
const NESTING_MAX: usize = 64;

/// Most operators, dots, calls and commas: they bound the depth of the parser's tree and the time it takes.
const OPERATORS_MAX: usize = 256;

/// Gives every bracket its partner.
pub(crate) fn match_brackets(tokens: &mut Tokens<'_>) -> Result<(), Problem> {
    let mut open: Vec<usize> = Vec::new();
    for at in 0..tokens.list.len() {
        let token = &tokens.list[at];
        let text = tokens.text(token);
        match token.kind {
            Kind::Open => open.push(at),
            Kind::Close => {
                let message = format!("`{text}` closes a bracket that was not opened");
                let problem = Problem::error(token.span.clone(), message);
                let Some(opening) = open.pop() else {
                    return Err(problem);
                };
                let expected = closing(tokens.text(&tokens.list[opening]));
                if text != expected {
                    let help = format!("close the bracket before it with `{expected}`");
                    return Err(problem.with_help(help));
                }
                tokens.list[opening].partner = Some(at);
                tokens.list[at].partner = Some(opening);
            }
            _ => {}
        }
    }
    let Some(&opening) = open.last() else {
        return Ok(());
    };
    let token = &tokens.list[opening];
    let expected = closing(tokens.text(token));
    let message = format!("this bracket is not closed; `{expected}` is missing");
    Err(Problem::error(token.span.clone(), message))
}

/// Refuses what is too deep or too large. Every `?` counts as deep, as if all were inside one another.
pub(crate) fn check(tokens: &Tokens<'_>) -> Result<(), Problem> {
    let mut brackets = 0;
    let mut questions = 0;
    let mut operators = 0;
    for token in &tokens.list {
        match token.kind {
            Kind::Open => brackets += 1,
            Kind::Close => brackets -= 1,
            Kind::Question => questions += 1,
            _ => {}
        }
        operators += usize::from(match token.kind {
            Kind::Name => tokens.text(token) == "in",
            Kind::Number | Kind::Text | Kind::Close | Kind::Colon => false,
            _ => true,
        });
        if brackets + questions > NESTING_MAX {
            let message = format!("brackets and `? :` are nested more than {NESTING_MAX} deep");
            let problem = Problem::error(token.span.clone(), message);
            return Err(problem.with_help("name the inner parts as features"));
        }
        if operators > OPERATORS_MAX {
            let message = format!("the expression has more than {OPERATORS_MAX} operators");
            let problem = Problem::error(token.span.clone(), message);
            return Err(problem.with_help("use `in [..]` or a list, or write several rules"));
        }
    }
    Ok(())
}

fn closing(open: &str) -> &'static str {
    if open == "(" { ")" } else { "]" }
}
