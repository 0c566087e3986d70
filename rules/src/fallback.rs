//! `fallback.yaml`: what is answered when histories or the model are not to be had.
//!
//! Its conditions read the request and the lists alone, and there is always a last answer, so it cannot fail.

use std::ops::Range;
use std::sync::Arc;

use tollgate_expr::{Compiler, Frame, Program};
use tollgate_source::{Diagnostic, Diagnostics, Fields, Located, Node, SourceFile, parse};
use tollgate_types::{Degradation, Outcome, Reason};

use crate::Answer;
use crate::answer::unknown_word;
use crate::condition::note_problems;
use crate::list_use::ListUse;
use crate::rule_file::Ids;

/// The table of answers.
#[derive(Clone, PartialEq, Debug)]
pub struct Fallback {
    cases: Vec<FallbackCase>,
    otherwise: Answer,
    constant: Answer,
}

/// One line of the table.
#[derive(Clone, PartialEq, Debug)]
pub struct FallbackCase {
    pub id: Arc<str>,
    pub description: Arc<str>,
    pub answer: Answer,
    /// The degradations it answers for.
    levels: Vec<Degradation>,
    program: Program,
}

/// What a case may be limited to. Static never looks at a case.
const LEVELS: [Degradation; 3] = [
    Degradation::NoModel,
    Degradation::StaleFeatures,
    Degradation::RequestOnly,
];

impl Fallback {
    /// The first case of this level that matches, else the last resort. The frame needs its lookups filled.
    pub fn answer(&self, frame: &Frame<'_>, level: Degradation) -> (Outcome, Option<Reason>) {
        if level == Degradation::Static {
            return self.static_answer();
        }
        let case = self
            .cases
            .iter()
            .find(|case| case.levels.contains(&level) && case.program.is_true(frame));
        parts(case.map_or(&self.otherwise, |case| &case.answer))
    }

    /// The answer when not even the request was looked at.
    pub fn static_answer(&self) -> (Outcome, Option<Reason>) {
        parts(&self.constant)
    }
}

fn parts(answer: &Answer) -> (Outcome, Option<Reason>) {
    (answer.outcome(), answer.reason().cloned())
}

/// The table as it is written, its conditions not compiled yet. What has a mistake is absent.
pub(crate) struct FallbackFile {
    file: Arc<SourceFile>,
    cases: Vec<WrittenCase>,
    otherwise: Option<Answer>,
    constant: Option<Answer>,
}

struct WrittenCase {
    when: Option<Located<String>>,
    /// Everything else; absent if there is a mistake in it. The condition is still checked then.
    rest: Option<Rest>,
}

struct Rest {
    id: Arc<str>,
    description: Arc<str>,
    answer: Answer,
    levels: Vec<Degradation>,
}

/// Reads the table; mistakes are noted. `None` if it is no table at all.
pub(crate) fn read(
    file: &Arc<SourceFile>,
    ids: &mut Ids,
    notes: &mut Diagnostics,
) -> Option<FallbackFile> {
    let node = parse(file).map_err(|error| notes.push(error)).ok()?;
    let known = ["cases", "otherwise", "static"];
    let fields = Fields::of("fallback.yaml", &node, file, &known, notes)?;
    let cases = fields.list("cases", notes).unwrap_or_default();
    let cases = cases
        .iter()
        .filter_map(|node| read_case(node, file, ids, notes))
        .collect();
    let mut last = |key: &'static str, description: &str, help: &str| {
        let node = fields.required(key, help, notes)?;
        let known = ["then", "reason", "description"];
        let fields = Fields::of(&format!("`{key}`"), node, file, &known, notes)?;
        let written = fields.text("description", notes);
        let description = written
            .as_ref()
            .map_or(description, |written| written.value.as_str());
        Answer::read(&fields, file, &Arc::from(key), description, notes)
    };
    let otherwise = last(
        "otherwise",
        "No case of the fallback table matched.",
        "add `otherwise:` with `then` and `reason`: the answer when no case matches",
    );
    let constant = last(
        "static",
        "The transaction could not be looked at in time.",
        "add `static:` with `then` and `reason`: the answer when not even the request was looked at",
    );
    Some(FallbackFile {
        file: Arc::clone(file),
        cases,
        otherwise,
        constant,
    })
}

fn read_case(
    node: &Node,
    file: &Arc<SourceFile>,
    ids: &mut Ids,
    notes: &mut Diagnostics,
) -> Option<WrittenCase> {
    let known = ["id", "description", "when", "then", "reason", "levels"];
    let fields = Fields::of("a fallback case", node, file, &known, notes)?;
    let id = ids.read(&fields, file, notes).map(|id| id.value);
    let help = "add `description:` with a sentence that says what it is for";
    let description = fields.required_text("description", help, notes);
    let help = "add `when:` with a condition over the transaction's fields";
    let when = fields.required_text("when", help, notes);
    let said = description.as_ref().map_or("", |text| text.value.as_str());
    let answer_id = id.clone().unwrap_or_else(|| Arc::from(""));
    let answer = Answer::read(&fields, file, &answer_id, said, notes);
    let levels = match fields.texts("levels", notes) {
        Some(written) => read_levels(&written, fields.span(), file, notes),
        None => LEVELS.to_vec(),
    };
    let rest = || {
        Some(Rest {
            id: id?,
            description: said.into(),
            answer: answer?,
            levels,
        })
    };
    Some(WrittenCase { when, rest: rest() })
}

fn read_levels(
    written: &[Located<String>],
    at: Range<usize>,
    file: &Arc<SourceFile>,
    notes: &mut Diagnostics,
) -> Vec<Degradation> {
    let mut levels = Vec::new();
    if written.is_empty() {
        let message = "`levels` is empty, so this case would never answer";
        let help = "name a level, or leave `levels` out for all of them";
        notes.push(Diagnostic::error(file, at, message).with_help(help));
    }
    for word in written {
        match LEVELS.into_iter().find(|level| level.name() == word.value) {
            Some(level) => levels.push(level),
            None => notes.push(unknown_word(
                "a level of the fallback table",
                word,
                &LEVELS.map(Degradation::name),
                file,
            )),
        }
    }
    levels
}

impl FallbackFile {
    /// Adds what its conditions look up.
    pub(crate) fn add_lookups(&self, list_use: &mut ListUse) {
        for when in self.cases.iter().filter_map(|case| case.when.as_ref()) {
            list_use.add(when, &self.file);
        }
    }

    /// Compiles the conditions; `None` if anything had a mistake.
    pub(crate) fn compile(
        self,
        compiler: &mut Compiler<'_>,
        notes: &mut Diagnostics,
    ) -> Option<Fallback> {
        let file = self.file;
        // All cases are compiled before any is given up, so that all mistakes are noted.
        let cases: Vec<_> = self
            .cases
            .into_iter()
            .map(|case| case.compile(&file, compiler, notes))
            .collect();
        Some(Fallback {
            cases: cases.into_iter().collect::<Option<_>>()?,
            otherwise: self.otherwise?,
            constant: self.constant?,
        })
    }
}

impl WrittenCase {
    fn compile(
        self,
        file: &Arc<SourceFile>,
        compiler: &mut Compiler<'_>,
        notes: &mut Diagnostics,
    ) -> Option<FallbackCase> {
        let when = self.when?;
        let condition = compiler
            .request_condition(&when.value)
            .map_err(|problems| note_problems(problems, &when, file, notes))
            .ok()?;
        note_problems(condition.warnings, &when, file, notes);
        let rest = self.rest?;
        Some(FallbackCase {
            id: rest.id,
            description: rest.description,
            answer: rest.answer,
            levels: rest.levels,
            program: condition.program,
        })
    }
}
