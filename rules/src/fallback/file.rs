//! Reading `fallback.yaml`, all mistakes at once; its conditions are compiled once everything is read.

use std::ops::Range;
use std::sync::Arc;

use tollgate_source::{
    Diagnostic, Diagnostics, Fields, Located, Node, NodeKind, SourceFile, parse,
};
use tollgate_types::Degradation;

use super::{LEVELS, StaleAggregates};
use crate::Answer;
use crate::answer::unknown_word;
use crate::list_use::ListUse;
use crate::rule_file::Ids;
use crate::rule_tests::{self, Subject, WrittenTests};

/// The table as it is written. What has a mistake is absent.
pub(crate) struct FallbackFile {
    pub(super) file: Arc<SourceFile>,
    pub(super) cases: Vec<WrittenCase>,
    /// One answer for all levels, or one for each.
    pub(super) otherwise: Vec<Otherwise>,
    pub(super) constant: Option<Answer>,
    pub(super) stale_aggregates: StaleAggregates,
}

pub(super) struct WrittenCase {
    pub(super) when: Option<Located<String>>,
    pub(super) tests: WrittenTests,
    /// Everything else; absent if there is a mistake in it. The condition is still checked then.
    pub(super) rest: Option<Rest>,
}

pub(super) struct Rest {
    pub(super) id: Located<Arc<str>>,
    pub(super) answer: Answer,
    pub(super) levels: Vec<Degradation>,
}

/// What is answered at some levels where no case matches.
pub(super) struct Otherwise {
    /// The key it stands behind.
    pub(super) span: Range<usize>,
    pub(super) levels: Vec<Degradation>,
    pub(super) answer: Option<Answer>,
    pub(super) tests: WrittenTests,
}

/// What reads the file, and notes what is wrong with it.
struct Reader<'r> {
    file: &'r Arc<SourceFile>,
    notes: &'r mut Diagnostics,
}

const KEYS: [&str; 4] = ["cases", "otherwise", "static", "stale_features"];
const CASE_KEYS: [&str; 7] = [
    "id",
    "description",
    "when",
    "then",
    "reason",
    "levels",
    "tests",
];
const LAST_KEYS: [&str; 3] = ["then", "reason", "description"];
const OTHERWISE_KEYS: [&str; 4] = ["then", "reason", "description", "tests"];

/// Reads the table; mistakes are noted. `None` if it is no table at all.
pub(crate) fn read(
    file: &Arc<SourceFile>,
    ids: &mut Ids,
    notes: &mut Diagnostics,
) -> Option<FallbackFile> {
    let node = parse(file).map_err(|error| notes.push(error)).ok()?;
    let fields = Fields::of("fallback.yaml", &node, file, &KEYS, notes)?;
    let mut reader = Reader { file, notes };
    let cases = fields.list("cases", reader.notes).unwrap_or_default();
    Some(FallbackFile {
        file: Arc::clone(file),
        cases: cases
            .iter()
            .filter_map(|node| reader.case(node, ids))
            .collect(),
        otherwise: reader.otherwise(&fields),
        constant: reader.constant(&fields),
        stale_aggregates: reader.stale_aggregates(&fields),
    })
}

impl Reader<'_> {
    fn case(&mut self, node: &Node, ids: &mut Ids) -> Option<WrittenCase> {
        let (file, notes) = (self.file, &mut *self.notes);
        let fields = Fields::of("a fallback case", node, file, &CASE_KEYS, notes)?;
        let id = ids.read(&fields, file, notes);
        let help = "add `description:` with a sentence that says what it is for";
        let description = fields.required_text("description", help, notes);
        let help = "add `when:` with a condition over the transaction's fields";
        let when = fields.required_text("when", help, notes);
        let said = description.as_ref().map_or("", |text| text.value.as_str());
        let answer_id = id
            .as_ref()
            .map_or_else(|| Arc::from(""), |id| Arc::clone(&id.value));
        let answer = Answer::read(&fields, file, &answer_id, said, notes);
        let tests = rule_tests::read(&fields, Subject::Case, file, notes);
        let levels = match fields.texts("levels", notes) {
            Some(written) => self.levels(&written, fields.span()),
            None => LEVELS.to_vec(),
        };
        let rest = || {
            Some(Rest {
                id: id?,
                answer: answer?,
                levels,
            })
        };
        Some(WrittenCase {
            when,
            tests,
            rest: rest(),
        })
    }

    fn levels(&mut self, written: &[Located<String>], at: Range<usize>) -> Vec<Degradation> {
        let mut levels = Vec::new();
        if written.is_empty() {
            let message = "`levels` is empty, so this case would never answer";
            let help = "name a level, or leave `levels` out for all of them";
            self.note(at, message.to_owned(), help);
        }
        for word in written {
            match read_level(word, self.file) {
                Ok(level) if levels.contains(&level) => {
                    let message = format!("`{}` is named twice", word.value);
                    self.note(word.span.clone(), message, "remove one of the two");
                }
                Ok(level) => levels.push(level),
                Err(mistake) => self.notes.push(mistake),
            }
        }
        levels
    }

    /// Either an answer, or an answer for each level.
    fn otherwise(&mut self, fields: &Fields<'_>) -> Vec<Otherwise> {
        let help = "add `otherwise:` with `then` and `reason`: the answer when no case matches";
        let Some(node) = fields.required("otherwise", help, self.notes) else {
            return Vec::new();
        };
        if !names_a_level(node) {
            let what = "`otherwise`";
            let span = key_span(fields, "otherwise").unwrap_or_else(|| node.span.clone());
            let last = self.last_of_levels(node, what, &LEVELS, span);
            return last.into_iter().collect();
        }
        let names = LEVELS.map(Degradation::name);
        let what = "`otherwise`, where it is by level,";
        let Some(by_level) = Fields::of(what, node, self.file, &names, self.notes) else {
            return Vec::new();
        };
        let of_level = |level: Degradation| {
            let help = format!(
                "add `{}:` with its own `then`, or write one answer for all levels: `otherwise: {{then: approve}}`",
                level.name()
            );
            let node = by_level.required(level.name(), &help, self.notes)?;
            let span = key_span(&by_level, level.name())?;
            self.last_of_levels(node, &format!("`{}`", level.name()), &[level], span)
        };
        LEVELS.into_iter().filter_map(of_level).collect()
    }

    fn last_of_levels(
        &mut self,
        node: &Node,
        what: &str,
        levels: &[Degradation],
        span: Range<usize>,
    ) -> Option<Otherwise> {
        let fields = Fields::of(what, node, self.file, &OTHERWISE_KEYS, self.notes)?;
        let said = "No case of the fallback table matched.";
        let answer = self.last_answer(&fields, "otherwise", said);
        let tests = rule_tests::read(&fields, Subject::Otherwise, self.file, self.notes);
        Some(Otherwise {
            span,
            levels: levels.to_vec(),
            answer,
            tests,
        })
    }

    fn constant(&mut self, fields: &Fields<'_>) -> Option<Answer> {
        let help = "add `static:` with `then` and `reason`: the answer when not even the request was looked at";
        let node = fields.required("static", help, self.notes)?;
        let fields = Fields::of("`static`", node, self.file, &LAST_KEYS, self.notes)?;
        let said = "The transaction could not be looked at in time.";
        self.last_answer(&fields, "static", said)
    }

    fn last_answer(&mut self, fields: &Fields<'_>, key: &str, said: &str) -> Option<Answer> {
        let written = fields.text("description", self.notes);
        let said = written
            .as_ref()
            .map_or(said, |written| written.value.as_str());
        Answer::read(fields, self.file, &Arc::from(key), said, self.notes)
    }

    fn stale_aggregates(&mut self, fields: &Fields<'_>) -> StaleAggregates {
        let Some(node) = fields.get("stale_features") else {
            return StaleAggregates::default();
        };
        if let NodeKind::Scalar(_) = node.kind {
            let message =
                "`stale_features` has keys, of which `aggregates` is the only one".to_owned();
            let help = "write `stale_features: {aggregates: count}` or `stale_features: {aggregates: ignore}`";
            self.note(node.span.clone(), message, help);
            return StaleAggregates::default();
        }
        let (what, known) = ("`stale_features`", ["aggregates"]);
        let fields = Fields::of(what, node, self.file, &known, self.notes);
        let help = "add `aggregates:` with count or ignore";
        let written =
            fields.and_then(|fields| fields.required_text("aggregates", help, self.notes));
        let Some(written) = written else {
            return StaleAggregates::default();
        };
        let mut known = StaleAggregates::ALL.into_iter();
        known
            .find(|known| known.name() == written.value)
            .unwrap_or_else(|| {
                let what = "what can be done with aggregates that are old";
                let names = StaleAggregates::ALL.map(StaleAggregates::name);
                self.notes
                    .push(unknown_word(what, &written, &names, self.file));
                StaleAggregates::default()
            })
    }

    fn note(&mut self, span: Range<usize>, message: String, help: &str) {
        let note = Diagnostic::error(self.file, span, message);
        self.notes.push(note.with_help(help));
    }
}

/// Whether a map has a level among its keys.
fn names_a_level(node: &Node) -> bool {
    let NodeKind::Map(entries) = &node.kind else {
        return false;
    };
    let is_level = |key: &str| LEVELS.iter().any(|level| level.name() == key);
    entries.iter().any(|(key, _)| is_level(&key.value))
}

fn key_span(fields: &Fields<'_>, key: &str) -> Option<Range<usize>> {
    let mut entries = fields.entries().iter();
    let (name, _) = entries.find(|(name, _)| name.value == key)?;
    Some(name.span.clone())
}

/// A level of the table by its word.
pub(crate) fn read_level(
    written: &Located<String>,
    file: &Arc<SourceFile>,
) -> Result<Degradation, Diagnostic> {
    let mut levels = LEVELS.into_iter();
    levels
        .find(|level| level.name() == written.value)
        .ok_or_else(|| {
            let what = "a level of the fallback table";
            unknown_word(what, written, &LEVELS.map(Degradation::name), file)
        })
}

impl FallbackFile {
    /// Adds what its conditions look up.
    pub(crate) fn add_lookups(&self, list_use: &mut ListUse) {
        for when in self.cases.iter().filter_map(|case| case.when.as_ref()) {
            list_use.add(when, &self.file);
        }
    }
}
