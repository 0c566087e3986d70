//! Reading a policy folder whole.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use tollgate_expr::{Compiler, Frame, Layout, SlotId};
use tollgate_source::{Diagnostic, Diagnostics, SourceFile};
use tollgate_types::{Cell, FieldId, Rates, Record, Schema};

use crate::condition::note_problems;
use crate::fallback::FallbackFile;
use crate::features_file::Named;
use crate::folder::Folder;
use crate::list_use::ListUse;
use crate::lists::{List, ListKind};
use crate::rule_file::{Compilers, Ids, WrittenRule};
use crate::{
    Digest, Fallback, ListId, Lists, RuleSet, fallback, features_file, fx_file, list_file,
    never_decides, rule_file, schema_file,
};

/// A policy without its models, compiled. Immutable.
#[derive(Clone, Debug)]
pub struct Logic {
    pub schema: Arc<Schema>,
    pub rates: Rates,
    /// The slots that rules, features and the fallback table read.
    pub layout: Layout,
    pub rules: RuleSet,
    pub lists: Lists,
    pub fallback: Fallback,
    /// [`Digest::hex`] of the files read here.
    pub digest: String,
    /// The same, for whoever adds the files of models.
    pub files: Digest,
    lookups: Vec<(ListId, FieldId, SlotId)>,
}

impl Logic {
    /// Answers every `… in lists.…` of the policy for one transaction.
    pub fn fill_lookups(&self, record: &Record<'_>, frame: &mut Frame<'_>) {
        for &(list, field, slot) in &self.lookups {
            if let Some(listed) = self.lists.ask(list, record, field) {
                frame.set(slot, Cell::flag(listed));
            }
        }
    }
}

/// Reads and compiles a policy folder. Either the policy and the warnings about it, or everything that is wrong
/// in any of its files, warnings included.
pub fn load(dir: &Path) -> Result<(Logic, Diagnostics), Diagnostics> {
    let mut notes = Diagnostics::default();
    let mut folder = Folder::open(dir)?;
    let files = Files::read(&mut folder, &mut notes);
    let logic = files.compile(folder.digest, &mut notes);
    match logic {
        Some(logic) if !notes.has_errors() => Ok((logic, notes)),
        _ => Err(notes),
    }
}

/// The lists, and the files they come from.
struct ListFiles {
    lists: Vec<List>,
    files: Vec<Arc<SourceFile>>,
}

impl ListFiles {
    fn read(folder: &mut Folder, notes: &mut Diagnostics) -> Self {
        let files = folder.files("lists", "csv", notes);
        let read = |(name, file): (String, Arc<SourceFile>)| {
            Some((list_file::read(&name, &file, notes)?, file))
        };
        let (lists, files) = files.into_iter().filter_map(read).unzip();
        Self { lists, files }
    }

    fn kinds(&self) -> BTreeMap<String, ListKind> {
        let named = |list: &List| (list.name().to_owned(), list.kind());
        self.lists.iter().map(named).collect()
    }

    /// Warns of each list that nothing in these layouts looks anything up in.
    fn warn_of_unused(&self, layouts: &[&Layout], notes: &mut Diagnostics) {
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

/// Everything read, expressions not compiled yet.
struct Files {
    schema: Option<Schema>,
    rates: Option<Rates>,
    features: Vec<Named>,
    lists: ListFiles,
    rules: Vec<WrittenRule>,
    fallback: Option<FallbackFile>,
}

impl Files {
    fn read(folder: &mut Folder, notes: &mut Diagnostics) -> Self {
        let schema = folder
            .required(
                "schema.yaml",
                "create it with `attributes:` and `entities:`",
                notes,
            )
            .and_then(|file| schema_file::read(&file, notes));
        let rates = folder
            .required("fx.yaml", "create it with `base: USD` and `rates:`", notes)
            .and_then(|file| fx_file::read(&file, notes));
        let features = folder
            .optional("features.yaml", notes)
            .map(|file| features_file::read(&file, notes))
            .unwrap_or_default();
        let lists = ListFiles::read(folder, notes);
        let mut ids = Ids::default();
        let mut rules = Vec::new();
        for (_, file) in folder.files("rules", "yaml", notes) {
            rules.extend(rule_file::read(&file, &mut ids, notes));
        }
        let fallback = folder
            .required(
                "fallback.yaml",
                "create it with `cases:`, `otherwise:` and `static:`",
                notes,
            )
            .and_then(|file| fallback::read(&file, &mut ids, notes));
        folder.warn_of_strays(notes);
        Self {
            schema,
            rates,
            features,
            lists,
            rules,
            fallback,
        }
    }

    /// Without a good schema no expression can be checked: each would be wrong only because the schema is.
    fn compile(self, files: Digest, notes: &mut Diagnostics) -> Option<Logic> {
        let schema = Arc::new(self.schema?);
        let list_use = ListUse {
            kinds: self.lists.kinds(),
            schema: &schema,
        };
        let types = list_use.kinds.iter();
        let types = types.map(|(name, kind)| (name.clone(), kind.field_type()));
        let mut compiler = Compiler::new(&schema, types.collect());
        for Named { name, source, file } in &self.features {
            match compiler.feature(name, &source.value) {
                Ok(_) => list_use.check(source, file, notes),
                Err(problems) => note_problems(problems, source, file, notes),
            }
        }
        // Rules that are off are checked like the others, but their aggregates are not worth computing.
        let off = compiler.clone();
        let mut compilers = Compilers { compiler, off };
        let mut rules = RuleSet::default();
        let mut places = Vec::new();
        for rule in self.rules {
            places.extend(rule.compile(&mut compilers, &list_use, &mut rules, notes));
        }
        let fallback = self
            .fallback
            .and_then(|file| file.compile(&mut compilers.compiler, &list_use, notes));
        let layout = compilers.compiler.finish();
        if !notes.has_errors() {
            never_decides::warn(rules.rules(), &places, notes);
            self.lists
                .warn_of_unused(&[&layout, &compilers.off.finish()], notes);
        }
        let lists = Lists::new(self.lists.lists);
        let resolve = |(lookup, slot): &(tollgate_expr::Lookup, SlotId)| {
            Some((lists.find(&lookup.list)?, lookup.field, *slot))
        };
        let lookups = layout
            .lookups
            .iter()
            .map(resolve)
            .collect::<Option<Vec<_>>>()?;
        Some(Logic {
            rates: self.rates?,
            rules,
            fallback: fallback?,
            digest: files.hex(),
            files,
            lookups,
            layout,
            lists,
            schema,
        })
    }
}
