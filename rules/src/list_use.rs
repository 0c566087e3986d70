//! Who asks the lists of a policy: which field is looked up in which list, and where that is written.
//!
//! What a list must hold follows from it, and to the compiler of expressions networks and cards are texts: which
//! fields can be in a list of those is checked here.

use std::ops::Range;
use std::sync::Arc;

use tollgate_expr::written_lookups;
use tollgate_source::{Diagnostic, Diagnostics, Located, SourceFile};
use tollgate_types::{Schema, builtin};

use crate::list_values::Asked;
use crate::lists::{ListKind, Lists};

/// The look-ups of all expressions of a policy.
#[derive(Default)]
pub(crate) struct ListUse {
    uses: Vec<Use>,
}

struct Use {
    file: Arc<SourceFile>,
    list: String,
    field: String,
    /// Where the field is written.
    span: Range<usize>,
}

impl ListUse {
    /// Adds the look-ups of an expression.
    pub(crate) fn add(&mut self, source: &Located<String>, file: &Arc<SourceFile>) {
        let lookups = written_lookups(&source.value).into_iter();
        self.uses.extend(lookups.map(|lookup| Use {
            file: Arc::clone(file),
            span: source.span_of(file, lookup.span),
            list: lookup.list,
            field: lookup.field,
        }));
    }

    /// The fields that are looked up in a list, each once.
    pub(crate) fn asked<'s>(&self, list: &str, schema: &'s Schema) -> Vec<Asked<'s>> {
        let mut asked: Vec<Asked<'_>> = Vec::new();
        for lookup in self.uses.iter().filter(|lookup| lookup.list == list) {
            if let Some((id, field)) = schema.field(&lookup.field)
                && !asked.iter().any(|known| known.id == id)
            {
                asked.push(Asked { id, field });
            }
        }
        asked
    }

    /// Notes each look-up that can never find anything, because the list has values of another kind.
    pub(crate) fn check(&self, lists: &Lists, schema: &Schema, notes: &mut Diagnostics) {
        for asked in &self.uses {
            let Some(list) = lists.iter().find(|list| list.name() == asked.list) else {
                continue;
            };
            let (is, has, fitting) = match list.kind() {
                ListKind::Text | ListKind::Number => continue,
                ListKind::Network => ("an address", "networks", "ip_address"),
                ListKind::Card => ("a card", "cards", "card_id"),
            };
            let (field, list) = (&asked.field, list);
            // Of a field that is not there, or that is no text, the compiler speaks.
            let Some((id, known)) = schema.field(field) else {
                continue;
            };
            let is_attribute = usize::from(id.0) >= builtin::FIELDS.len();
            let may_be_address = is_attribute && known.values.is_none();
            if field == fitting
                || known.kind != list.kind().field_type()
                || (list.kind() == ListKind::Network && may_be_address)
            {
                continue;
            }
            let list = list.name();
            let message =
                format!("`transaction.{field}` is not {is}, but `lists.{list}` has {has}");
            let help = format!("write `transaction.{fitting} in lists.{list}`");
            notes.push(Diagnostic::error(&asked.file, asked.span.clone(), message).with_help(help));
        }
    }
}
