//! Whether a field that is looked up in a list can be in it at all.
//!
//! To the compiler of expressions, networks and cards are texts. Which texts they are compared with is checked
//! here, on the expression as it is written.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;

use tollgate_source::{Diagnostic, Diagnostics, Located, SourceFile};
use tollgate_types::{Schema, builtin};

use crate::lists::ListKind;

/// The lists of a policy and the fields that may be looked up in them.
pub(crate) struct ListUse<'s> {
    pub(crate) kinds: BTreeMap<String, ListKind>,
    pub(crate) schema: &'s Schema,
}

impl ListUse<'_> {
    /// Notes each look-up of an expression that was compiled that can never find anything.
    pub(crate) fn check(
        &self,
        source: &Located<String>,
        file: &Arc<SourceFile>,
        notes: &mut Diagnostics,
    ) {
        for lookup in lookups(&source.value) {
            let Some(kind) = self.kinds.get(lookup.list) else {
                continue;
            };
            let (is, has, fitting) = match kind {
                ListKind::Text | ListKind::Number => continue,
                ListKind::Network => ("an address", "networks", "ip_address"),
                ListKind::Card => ("a card", "cards", "card_id"),
            };
            if lookup.field == fitting || (*kind == ListKind::Network && self.is_free(lookup.field))
            {
                continue;
            }
            let (field, list) = (lookup.field, lookup.list);
            let message =
                format!("`transaction.{field}` is not {is}, but `lists.{list}` has {has}");
            let help = format!("write `transaction.{fitting} in lists.{list}`");
            let span = source.span_of(file, lookup.span);
            notes.push(Diagnostic::error(file, span, message).with_help(help));
        }
    }

    /// Whether a field is an attribute that can be any text, another address for instance.
    fn is_free(&self, field: &str) -> bool {
        self.schema.field(field).is_some_and(|(id, field)| {
            usize::from(id.0) >= builtin::FIELDS.len() && field.values.is_none()
        })
    }
}

/// `transaction.<field> in lists.<list>`.
struct Lookup<'s> {
    field: &'s str,
    list: &'s str,
    /// The bytes of `transaction.<field>`.
    span: Range<usize>,
}

fn lookups(source: &str) -> impl Iterator<Item = Lookup<'_>> {
    source.match_indices("lists.").filter_map(|(at, root)| {
        let list = first_word(&source[at + root.len()..]);
        let before = source[..at].trim_end().strip_suffix("in")?;
        let before = before.trim_end().trim_end_matches(')').trim_end();
        let start = before
            .rfind(|letter: char| !is_word(letter) && letter != '.')
            .map_or(0, |at| at + 1);
        let field = before[start..].strip_prefix("transaction.")?;
        Some(Lookup {
            field,
            list,
            span: start..before.len(),
        })
    })
}

fn first_word(text: &str) -> &str {
    let end = text.find(|letter| !is_word(letter)).unwrap_or(text.len());
    &text[..end]
}

const fn is_word(letter: char) -> bool {
    letter.is_ascii_alphanumeric() || letter == '_'
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lookups_are_found_where_they_are_written() {
        let source =
            "transaction.ip_address in lists.a&&!(transaction.card_id  in\n lists.b_1) || lists.c";
        let found: Vec<_> = lookups(source)
            .map(|lookup| (lookup.field, lookup.list, &source[lookup.span]))
            .collect();
        assert_eq!(
            found,
            [
                ("ip_address", "a", "transaction.ip_address"),
                ("card_id", "b_1", "transaction.card_id")
            ]
        );
    }
}
