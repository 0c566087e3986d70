//! Reading a policy folder whole.

use std::path::Path;
use std::sync::Arc;

use tollgate_expr::{Compiler, Frame, Layout};
use tollgate_source::Diagnostics;
use tollgate_types::{Rates, Record, Schema};

use crate::condition::note_problems;
use crate::fallback::{FallbackFile, TableTests};
use crate::features_file::Named;
use crate::folder::Folder;
use crate::list_files::{ListFiles, WrittenLists};
use crate::list_use::ListUse;
use crate::rule_file::{Compilers, Ids, WrittenRule};
use crate::rule_tests::Bench;
use crate::{
    Digest, Fallback, Kept, Lists, Lookups, RuleSet, RuleTests, fallback, features_file, fx_file,
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
    pub(crate) tests: RuleTests,
    pub(crate) table_tests: TableTests,
    lookups: Lookups,
}

impl Logic {
    /// Answers every `… in lists.…` of the policy for one transaction.
    pub fn fill_lookups(&self, record: &Record<'_>, frame: &mut Frame<'_>) {
        self.lookups.fill(&self.lists, record, frame);
    }
}

/// Reads and compiles a policy folder. Either the policy and the warnings about it, or everything that is wrong
/// in any of its files, warnings included.
pub fn load(dir: &Path) -> Result<(Logic, Diagnostics), Diagnostics> {
    read(dir, None)
}

/// As [`load`], for a service whose store is filled already: what that would have to be filled anew for is an error.
pub fn load_onto(dir: &Path, kept: &Kept<'_>) -> Result<(Logic, Diagnostics), Diagnostics> {
    read(dir, Some(kept))
}

fn read(dir: &Path, kept: Option<&Kept<'_>>) -> Result<(Logic, Diagnostics), Diagnostics> {
    let mut notes = Diagnostics::default();
    let mut folder = Folder::open(dir)?;
    let mut files = Files::read(&mut folder, &mut notes);
    if let Some(kept) = kept {
        kept.fit(dir, &mut files.schema, files.rates.as_ref(), &mut notes);
    }
    let logic = files.compile(folder.digest, &mut notes);
    match logic {
        Some(logic) if !notes.has_errors() => Ok((logic, notes)),
        _ => Err(notes),
    }
}

/// Everything read, expressions not compiled yet.
struct Files {
    schema: Option<Schema>,
    rates: Option<Rates>,
    features: Vec<Named>,
    lists: ListFiles,
    list_use: ListUse,
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
        let lists = WrittenLists::read(folder, notes);
        let mut ids = Ids::default();
        let mut rules = Vec::new();
        let files = folder.files("rules", "yaml", notes);
        if files.is_empty() {
            folder.note_no_rules(notes);
        }
        for (_, file) in files {
            rules.extend(rule_file::read(&file, &mut ids, notes));
        }
        let fallback = folder
            .required(
                "fallback.yaml",
                "create it with `cases:`, `otherwise:` and `static:`",
                notes,
            )
            .and_then(|file| fallback::read(&file, &mut ids, notes));
        let mut list_use = ListUse::default();
        for Named { source, file, .. } in &features {
            list_use.add(source, file);
        }
        rules
            .iter()
            .for_each(|rule: &WrittenRule| rule.add_lookups(&mut list_use));
        if let Some(fallback) = &fallback {
            fallback.add_lookups(&mut list_use);
        }
        let lists = lists.settle(&list_use, schema.as_ref(), notes);
        folder.warn_of_strays(notes);
        Self {
            schema,
            rates,
            features,
            lists,
            list_use,
            rules,
            fallback,
        }
    }

    /// Without a good schema no expression can be checked: each would be wrong only because the schema is.
    fn compile(self, files: Digest, notes: &mut Diagnostics) -> Option<Logic> {
        let schema = Arc::new(self.schema?);
        self.list_use.check(&self.lists.lists, &schema, notes);
        let bare = Compiler::new(&schema, self.lists.types());
        let mut compiler = bare.clone();
        for Named { name, source, file } in &self.features {
            match compiler.feature(name, &source.value) {
                Ok((_, warnings)) => note_problems(warnings, source, file, notes),
                Err(problems) => note_problems(problems, source, file, notes),
            }
        }
        let with_features = compiler.clone();
        // Rules that are off are checked like the others, but their aggregates are not worth computing.
        let off = compiler.clone();
        let mut compilers = Compilers { compiler, off };
        let mut rules = RuleSet::default();
        let (mut compiled, mut uncompiled) = (Vec::new(), Vec::new());
        for rule in self.rules {
            match rule.compile(&mut compilers, &mut rules, notes) {
                Ok(rule) => compiled.push(rule),
                Err(rule) => uncompiled.push(rule),
            }
        }
        let fallback = self
            .fallback
            .map(|file| file.compile(&mut compilers.compiler, notes));
        let conditions = compiled.iter().map(|rule| rule.place.condition);
        let implications = compilers.compiler.implications(conditions);
        let (layout, conditions) = compilers.compiler.link();
        rules.link(conditions);
        let rates = self.rates?;
        let bench = Bench {
            bare: &bare,
            with_features: &with_features,
            features: &self.features,
            schema: &schema,
            rates: &rates,
            lists: &self.lists.lists,
        };
        bench.check(uncompiled, notes);
        let tests = bench.tests(compiled, &rules, notes);
        let table = match fallback {
            Some(Ok(table)) => table.with_tests(&bench, notes),
            Some(Err(written)) => {
                bench.check_table(written, notes);
                None
            }
            None => None,
        };
        if !notes.has_errors() {
            never_decides::warn(rules.rules(), &tests.places, &implications, notes);
            let layouts = [&layout, &compilers.off.finish()];
            self.lists.warn_of_unused(&layouts, notes);
        }
        let lists = self.lists.lists;
        let (fallback, table_tests) = table?;
        Some(Logic {
            rates,
            rules,
            fallback,
            table_tests,
            digest: files.hex(),
            files,
            lookups: Lookups::resolve(&layout, &lists)?,
            tests,
            layout,
            lists,
            schema,
        })
    }
}
