//! The lists of a policy folder, and the files they come from.

use std::collections::BTreeMap;
use std::sync::Arc;

use tollgate_expr::Layout;
use tollgate_source::{Diagnostic, Diagnostics, SourceFile};

use crate::folder::Folder;
use crate::list_file;
use crate::lists::{ListKind, Lists};

pub(crate) struct ListFiles {
    pub(crate) lists: Lists,
    /// In the order of the lists.
    files: Vec<Arc<SourceFile>>,
}

impl ListFiles {
    pub(crate) fn read(folder: &mut Folder, notes: &mut Diagnostics) -> Self {
        let files = folder.files("lists", "csv", notes);
        let read = |(name, file): (String, Arc<SourceFile>)| {
            Some((list_file::read(&name, &file, notes)?, file))
        };
        let (lists, files) = files.into_iter().filter_map(read).unzip();
        Self {
            lists: Lists::new(lists),
            files,
        }
    }

    pub(crate) fn kinds(&self) -> BTreeMap<String, ListKind> {
        let lists = self.lists.iter();
        lists
            .map(|list| (list.name().to_owned(), list.kind()))
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
