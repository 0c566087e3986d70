//! Values that a field never has because of how its values are written: countries in small letters, currencies by
//! name, addresses in another form.

use tollgate_types::builtin;

use super::operands::ALWAYS;
use super::{Checker, Typed};
use crate::Problem;
use crate::syntax::{Syntax, SyntaxKind};

impl Checker<'_> {
    /// A text that is compared with a field must look like the field's values.
    pub(super) fn expect_shaped(&mut self, part: &Typed, other: &Syntax) -> Option<()> {
        let (SyntaxKind::Text(text), Some(field)) = (&other.kind, part.field) else {
            return Some(());
        };
        let Err(wrong) = builtin::shape(field).check(text) else {
            return Some(());
        };
        let span = other.span.clone();
        if wrong.is_card_number {
            return self.fail(Problem::card_number(span));
        }
        let message = format!("`{}` is never \"{text}\"", self.schema.field_at(field).name);
        let help = if text.is_empty() && ALWAYS.contains(&field) {
            format!("{wrong}, and this is never missing")
        } else if text.is_empty() {
            let asked = self.source.get(part.span.clone()).unwrap_or("…");
            format!("{wrong}: ask for it with `!has({asked})`")
        } else {
            wrong.to_string()
        };
        self.fail(Problem::error(span, message).with_help(help))
    }
}
