//! The lists of a policy folder, and the files they come from.

use std::collections::BTreeMap;
use std::sync::Arc;

use tollgate_expr::Layout;
use tollgate_source::{Diagnostic, Diagnostics, SourceFile};
use tollgate_types::{FieldType, Schema, SchemaBuilder};

use crate::folder::Folder;
use crate::list_file::{self, WrittenList};
use crate::list_use::ListUse;
use crate::lists::Lists;

pub(crate) struct ListFiles {
    pub(crate) lists: Lists,
    /// In the order of the lists.
    files: Vec<Arc<SourceFile>>,
}

/// Lists as they are written, in the order of their names.
pub(crate) struct WrittenLists(Vec<WrittenList>);

impl WrittenLists {
    pub(crate) fn read(folder: &mut Folder, notes: &mut Diagnostics) -> Self {
        let mut lists = Vec::new();
        for (name, file) in folder.files("lists", "csv", notes) {
            lists.extend(list_file::read(&name, &file, notes));
        }
        // That a rule asks for one of these is no mistake.
        for (name, file) in folder.unreadable("lists", "csv") {
            lists.push(WrittenList::unreadable(name, file));
        }
        lists.sort_by(|one, other| one.name().cmp(other.name()));
        Self(lists)
    }

    /// The lists, as they are asked. Without a good schema only fields that every transaction has are known.
    pub(crate) fn settle(
        self,
        list_use: &ListUse,
        schema: Option<&Schema>,
        notes: &mut Diagnostics,
    ) -> ListFiles {
        let builtin = SchemaBuilder::default().build();
        let schema = schema.unwrap_or(&builtin);
        let settle = |list: WrittenList| {
            let asked = list_use.asked(list.name(), schema);
            let file = Arc::clone(list.file());
            (list.settle(&asked, notes), file)
        };
        let (lists, files) = self.0.into_iter().map(settle).unzip();
        ListFiles {
            lists: Lists::new(lists),
            files,
        }
    }
}

impl ListFiles {
    /// The type of the fields that are looked up in each list.
    pub(crate) fn types(&self) -> BTreeMap<String, FieldType> {
        let lists = self.lists.iter();
        lists
            .map(|list| (list.name().to_owned(), list.kind().field_type()))
            .collect()
    }

    /// Warns of each list that nothing in these layouts looks anything up in.
    pub(crate) fn warn_of_unused(&self, layouts: &[&Layout], notes: &mut Diagnostics) {
        let lookups = || layouts.iter().flat_map(|layout| &layout.lookups);
        for (list, file) in self.lists.iter().zip(&self.files) {
            let name = list.name();
            if lookups().any(|(lookup, _)| lookup.list == name) {
                continue;
            }
            let message = format!("nothing asks for the list `{name}`");
            let help = format!(
                "write `transaction.<field> in lists.{name}` in a condition, or remove the file"
            );
            notes.push(
                Diagnostic::warning(file, 0..0, message)
                    .with_help(help)
                    .without_source(),
            );
        }
    }
}
