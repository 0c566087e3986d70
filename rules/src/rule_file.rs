//! `rules/*.yaml`: reading rules, all mistakes of all rules at once.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;

use tollgate_expr::Compiler;
use tollgate_source::{
    Diagnostic, Diagnostics, Fields, Located, Node, NodeKind, SourceFile, parse,
};

use crate::answer::{Answer, as_name, is_name, unknown_word};
use crate::condition::note_problems;
use crate::list_use::ListUse;
use crate::never_decides::Place;
use crate::rule_tests::{self, Subject, WrittenTests};
use crate::{Guarding, Mode, Reach, Rule, RuleSet, guard};

/// A rule as it is written, its condition not compiled yet.
pub(crate) struct WrittenRule {
    file: Arc<SourceFile>,
    when: Option<Located<String>>,
    tests: WrittenTests,
    /// Everything else; absent if there is a mistake in it. The condition is still checked then.
    rest: Option<Rest>,
}

struct Rest {
    id: Arc<str>,
    id_span: Range<usize>,
    description: Arc<str>,
    owner: Option<String>,
    tags: Vec<String>,
    answer: Answer,
    mode: Mode,
    overrides_allow: bool,
    reach: Reach,
    guarding: Guarding,
}

const KEYS: [&str; 14] = [
    "id",
    "description",
    "owner",
    "tags",
    "when",
    "then",
    "reason",
    "mode",
    "overrides_allow",
    "from",
    "until",
    "percentage",
    "guard",
    "tests",
];

/// Reads the rules of one file; mistakes are noted.
pub(crate) fn read(
    file: &Arc<SourceFile>,
    ids: &mut Ids,
    notes: &mut Diagnostics,
) -> Vec<WrittenRule> {
    let Ok(node) = parse(file).map_err(|error| notes.push(error)) else {
        return Vec::new();
    };
    if node.kind == NodeKind::Empty {
        // A file that was cut off, or that an editor has emptied before it writes, must not take its rules away.
        notes.push(
            Diagnostic::error(file, 0..0, "this file has no rules")
                .with_help("write `rules:` and below it a list; `rules: []` if there are to be none, or remove the file"),
        );
        return Vec::new();
    }
    let Some(fields) = Fields::of("a file of rules", &node, file, &["rules"], notes) else {
        return Vec::new();
    };
    let help = "write `rules:` and below it a list: `  - id: …`";
    if fields.required("rules", help, notes).is_none() {
        return Vec::new();
    }
    let rules = fields.list("rules", notes).unwrap_or_default();
    rules
        .iter()
        .filter_map(|node| read_rule(node, file, ids, notes))
        .collect()
}

fn read_rule(
    node: &Node,
    file: &Arc<SourceFile>,
    ids: &mut Ids,
    notes: &mut Diagnostics,
) -> Option<WrittenRule> {
    let fields = Fields::of("a rule", node, file, &KEYS, notes)?;
    let id = ids.read(&fields, file, notes);
    let help = "add `description:` with a sentence that says what it catches";
    let description = fields.required_text("description", help, notes);
    let when = fields.required_text("when", "add `when:` with a condition", notes);
    let said = description.as_ref().map_or("", |text| text.value.as_str());
    let answer_id = id
        .as_ref()
        .map_or_else(|| Arc::from(""), |id| Arc::clone(&id.value));
    let answer = Answer::read(&fields, file, &answer_id, said, notes);
    let mode = read_mode(&fields, file, notes);
    let overrides_allow = fields.flag("overrides_allow", notes);
    if let (Some(flag), Some(answer)) = (&overrides_allow, &answer)
        && flag.value
        && answer.outcome() == tollgate_types::Outcome::Approve
    {
        let message = "an allow rule cannot override allow rules";
        notes.push(
            Diagnostic::error(file, flag.span.clone(), message)
                .with_help("remove this line, or let the rule do something else than approve"),
        );
    }
    let reach = Reach::read(&fields, &answer_id, file, notes);
    let outcome = answer.as_ref().map(Answer::outcome);
    let guarding = guard::read(&fields, outcome, file, notes);
    let owner = fields.text("owner", notes).map(|owner| owner.value);
    let tags = fields.texts("tags", notes).unwrap_or_default();
    let tests = rule_tests::read(&fields, Subject::Rule, file, notes);
    let rest = || {
        let id = id?;
        Some(Rest {
            id: id.value,
            id_span: id.span,
            description: said.into(),
            owner,
            tags: tags.into_iter().map(|tag| tag.value).collect(),
            answer: answer?,
            mode: mode?,
            overrides_allow: overrides_allow.is_some_and(|flag| flag.value),
            reach: reach?,
            guarding: guarding?,
        })
    };
    Some(WrittenRule {
        file: Arc::clone(file),
        when,
        tests,
        rest: rest(),
    })
}

fn read_mode(fields: &Fields<'_>, file: &Arc<SourceFile>, notes: &mut Diagnostics) -> Option<Mode> {
    let Some(written) = fields.text("mode", notes) else {
        return Some(Mode::Enforce);
    };
    let mode = Mode::ALL
        .into_iter()
        .find(|mode| mode.name() == written.value);
    if mode.is_none() {
        let small = written.value.to_lowercase();
        let mistake = unknown_word("a mode", &written, &Mode::ALL.map(Mode::name), file);
        notes.push(
            match MODE_SYNONYMS.iter().find(|(word, _)| *word == small) {
                Some((_, mode)) => mistake.with_help(format!("write `{}`", mode.name())),
                None => mistake,
            },
        );
    }
    mode
}

/// Words that other systems use for our modes.
const MODE_SYNONYMS: [(&str, Mode); 11] = [
    ("on", Mode::Enforce),
    ("active", Mode::Enforce),
    ("enabled", Mode::Enforce),
    ("live", Mode::Enforce),
    ("monitor", Mode::Shadow),
    ("test", Mode::Shadow),
    ("trial", Mode::Shadow),
    ("silent", Mode::Shadow),
    ("inactive", Mode::Off),
    ("disabled", Mode::Off),
    ("disable", Mode::Off),
];

/// What is left of a rule that was added to the set.
pub(crate) struct CompiledRule {
    pub(crate) place: Place,
    pub(crate) when: Located<String>,
    pub(crate) tests: WrittenTests,
}

/// What is left of a rule that has a mistake.
pub(crate) struct UncompiledRule {
    pub(crate) file: Arc<SourceFile>,
    pub(crate) tests: WrittenTests,
    /// What it does, if that could be read.
    pub(crate) outcome: Option<tollgate_types::Outcome>,
}

/// Rules that are off are checked by a compiler of their own, so that what only they read is never computed.
pub(crate) struct Compilers<'s> {
    pub(crate) compiler: Compiler<'s>,
    pub(crate) off: Compiler<'s>,
}

impl WrittenRule {
    /// Adds what its condition looks up.
    pub(crate) fn add_lookups(&self, list_use: &mut ListUse) {
        if let Some(when) = &self.when {
            list_use.add(when, &self.file);
        }
    }

    /// Compiles the condition and adds the rule; what is wrong is noted.
    pub(crate) fn compile(
        mut self,
        compilers: &mut Compilers<'_>,
        rules: &mut RuleSet,
        notes: &mut Diagnostics,
    ) -> Result<CompiledRule, UncompiledRule> {
        let file = Arc::clone(&self.file);
        let tests = std::mem::take(&mut self.tests);
        let outcome = self.rest.as_ref().map(|rest| rest.answer.outcome());
        match self.add(compilers, rules, notes) {
            Some((place, when)) => Ok(CompiledRule { place, when, tests }),
            None => Err(UncompiledRule {
                file,
                tests,
                outcome,
            }),
        }
    }

    fn add(
        self,
        compilers: &mut Compilers<'_>,
        rules: &mut RuleSet,
        notes: &mut Diagnostics,
    ) -> Option<(Place, Located<String>)> {
        let when = self.when?;
        let is_off = self
            .rest
            .as_ref()
            .is_some_and(|rest| rest.mode == Mode::Off);
        let compiler = if is_off {
            &mut compilers.off
        } else {
            &mut compilers.compiler
        };
        let condition = match compiler.condition(&when.value) {
            Ok(condition) => condition,
            Err(problems) => {
                note_problems(problems, &when, &self.file, notes);
                return None;
            }
        };
        note_problems(condition.warnings.clone(), &when, &self.file, notes);
        let rest = self.rest.filter(|_| !compiler.is_too_dear())?;
        let rule = Rule {
            id: rest.id,
            description: rest.description,
            owner: rest.owner,
            tags: rest.tags,
            when: when.value.clone(),
            answer: rest.answer,
            mode: rest.mode,
            overrides_allow: rest.overrides_allow,
            reads_score: condition.reads_score,
            reads_aggregates: compiler.layout().reads_aggregates(&condition.program),
            reach: rest.reach,
            guarding: rest.guarding,
        };
        rules.push(rule, &condition);
        let place = Place {
            file: self.file,
            span: rest.id_span,
            condition: condition.id.filter(|_| !is_off),
        };
        Some((place, when))
    }
}

/// The ids of all rules and fallback cases: they name reasons and count matches, so each is used once.
pub(crate) struct Ids {
    used: BTreeMap<String, FirstUse>,
}

/// Where an id was used first.
enum FirstUse {
    Written(Arc<SourceFile>, Range<usize>),
    Reserved(&'static str),
}

impl Default for Ids {
    fn default() -> Self {
        let last_answers = ["otherwise", "static"];
        let reserved = || FirstUse::Reserved("the fallback table's last answers");
        Self {
            used: last_answers.map(|id| (id.to_owned(), reserved())).into(),
        }
    }
}

impl Ids {
    /// Reads the key `id`; one with a mistake is noted, and `None`.
    pub(crate) fn read(
        &mut self,
        fields: &Fields<'_>,
        file: &Arc<SourceFile>,
        notes: &mut Diagnostics,
    ) -> Option<Located<Arc<str>>> {
        let help = "add `id:` with small letters, digits and hyphens, such as card-testing-burst";
        let written = fields.required_text("id", help, notes)?;
        if !is_name(&written.value, '-') {
            let message = format!("`{}` is not an id", written.value);
            let help = match as_name(&written.value, '-') {
                Some(meant) => format!("write `{meant}`: small letters, digits and hyphens"),
                None => {
                    "write small letters, digits and hyphens, beginning with a letter".to_owned()
                }
            };
            notes.push(Diagnostic::error(file, written.span, message).with_help(help));
            return None;
        }
        if let Some(first) = self.used.get(&written.value) {
            let first = match first {
                FirstUse::Written(file, span) => {
                    format!("{}:{}", file.path, file.position(span.start).0)
                }
                FirstUse::Reserved(what) => (*what).to_owned(),
            };
            let message = format!("the id `{}` is used twice", written.value);
            notes.push(
                Diagnostic::error(file, written.span, message)
                    .with_help(format!("choose another; this one is taken by {first}")),
            );
            return None;
        }
        let here = FirstUse::Written(Arc::clone(file), written.span.clone());
        self.used.insert(written.value.clone(), here);
        Some(Located::new(written.value.into(), written.span))
    }
}
