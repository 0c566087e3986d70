//! Which fields an expression looks up in which lists, read off it before it is compiled.
//!
//! What the values of a list must be follows from the fields that are looked up in it, and a list must be known before
//! expressions that ask it can be compiled.

use std::ops::Range;

use crate::parse::parse;
use crate::scan::scan;
use crate::syntax::{Operator, Syntax, SyntaxKind};

/// `transaction.<field> in lists.<list>`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct WrittenLookup {
    pub field: String,
    pub list: String,
    /// The bytes of `transaction.<field>` in the source.
    pub span: Range<usize>,
}

/// The look-ups of an expression in the order of the source. None of one that cannot be parsed, which is said when it
/// is compiled; names are as they are written, whether or not there are such fields and lists.
pub fn written_lookups(source: &str) -> Vec<WrittenLookup> {
    let mut found = Vec::new();
    if source.contains("lists") {
        let syntax = scan(source).and_then(|tokens| parse(&tokens));
        if let Ok(syntax) = syntax {
            collect(&syntax, &mut found);
        }
    }
    found
}

fn collect(syntax: &Syntax, found: &mut Vec<WrittenLookup>) {
    let parts: &[Syntax] = match &syntax.kind {
        SyntaxKind::Number(_)
        | SyntaxKind::Text(_)
        | SyntaxKind::Flag(_)
        | SyntaxKind::Null
        | SyntaxKind::Name(_)
        | SyntaxKind::Select { .. } => &[],
        SyntaxKind::Not(of) | SyntaxKind::Negate(of) => std::slice::from_ref(of),
        SyntaxKind::Binary {
            operator, sides, ..
        } => {
            if *operator == Operator::In {
                found.extend(lookup(sides));
            }
            &**sides
        }
        SyntaxKind::Choose(of) => &**of,
        SyntaxKind::List(of) => of,
        SyntaxKind::Call(call) => {
            if let Some(of) = &call.of {
                collect(of, found);
            }
            &call.arguments
        }
    };
    for part in parts {
        collect(part, found);
    }
}

fn lookup([value, list]: &[Syntax; 2]) -> Option<WrittenLookup> {
    Some(WrittenLookup {
        field: selected("transaction", value)?.to_owned(),
        list: selected("lists", list)?.to_owned(),
        span: value.span.clone(),
    })
}

/// What is selected of a root.
fn selected<'s>(root: &str, syntax: &'s Syntax) -> Option<&'s str> {
    match &syntax.kind {
        SyntaxKind::Select { of, field } if of.kind == SyntaxKind::Name(root.to_owned()) => {
            Some(&field.text)
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lookups_are_found_however_they_are_written() {
        let source = "transaction.ip_address in lists.a&&!(transaction.card_id  in\n (lists.b_1)) \
                      || \"x in lists.c\" == transaction.merchant_id || ((transaction.x)) in lists.d \
                      || (has(transaction.y) ? transaction.y in lists.e : features.z in lists.f)";
        let found = written_lookups(source);
        let found: Vec<_> = found
            .iter()
            .map(|lookup| (&*lookup.field, &*lookup.list, &source[lookup.span.clone()]))
            .collect();
        assert_eq!(
            found,
            [
                ("ip_address", "a", "transaction.ip_address"),
                ("card_id", "b_1", "transaction.card_id"),
                ("x", "d", "transaction.x"),
                ("y", "e", "transaction.y"),
            ]
        );
        assert_eq!(written_lookups("transaction.x in lists."), []);
    }
}
