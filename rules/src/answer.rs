//! What a rule or a fallback case answers: an outcome and why.

use std::sync::Arc;

use tollgate_source::{
    Diagnostic, Diagnostics, Fields, Located, SourceFile, did_you_mean, nearest,
};
use tollgate_types::{Outcome, Reason, ReasonCode};

/// An outcome with its reason. No value exists with an outcome other than approve and no reason (DE-2).
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Answer {
    outcome: Outcome,
    reason: Option<Reason>,
}

impl Answer {
    /// `None` if the outcome needs a reason and there is none.
    pub fn new(outcome: Outcome, reason: Option<Reason>) -> Option<Self> {
        (outcome == Outcome::Approve || reason.is_some()).then_some(Self { outcome, reason })
    }

    pub const fn outcome(&self) -> Outcome {
        self.outcome
    }

    pub const fn reason(&self) -> Option<&Reason> {
        self.reason.as_ref()
    }

    /// Reads the keys `then` and `reason`. `id` and `description` become part of the reason.
    pub(crate) fn read(
        fields: &Fields<'_>,
        file: &Arc<SourceFile>,
        id: &Arc<str>,
        description: &str,
        notes: &mut Diagnostics,
    ) -> Option<Self> {
        let then = fields.required_text("then", THEN_HELP, notes);
        let outcome = then
            .as_ref()
            .and_then(|then| read_outcome(then, file, notes));
        let written = fields.text("reason", notes);
        let code = written
            .as_ref()
            .and_then(|written| read_code(written, file, notes));
        let (then, outcome) = (then?, outcome?);
        if written.is_none() && outcome != Outcome::Approve {
            let message = format!("`{}` needs a reason code", outcome.name());
            notes.push(Diagnostic::error(file, then.span, message).with_help(REASON_HELP));
        }
        let reason = code.map(|code| Reason {
            code,
            description: description.into(),
            rule_id: Arc::clone(id),
        });
        Self::new(outcome, reason)
    }
}

const THEN_HELP: &str = "add `then:` with one of approve, flag, challenge, decline";
const REASON_HELP: &str =
    "add `reason:` with a short code in capital letters, such as CARD_TESTING";

/// Words that other systems use for our outcomes.
const SYNONYMS: [(&str, Outcome); 9] = [
    ("allow", Outcome::Approve),
    ("accept", Outcome::Approve),
    ("pass", Outcome::Approve),
    ("review", Outcome::Flag),
    ("3ds", Outcome::Challenge),
    ("block", Outcome::Decline),
    ("deny", Outcome::Decline),
    ("refuse", Outcome::Decline),
    ("reject", Outcome::Decline),
];

fn read_outcome(
    then: &Located<String>,
    file: &Arc<SourceFile>,
    notes: &mut Diagnostics,
) -> Option<Outcome> {
    let outcome = Outcome::parse(&then.value);
    if outcome.is_none() {
        let names = Outcome::ALL.map(Outcome::name);
        let written = then.value.to_lowercase();
        let synonym = SYNONYMS.iter().find(|(word, _)| *word == written);
        let help = match synonym {
            Some((_, outcome)) => format!("write `{}`", outcome.name()),
            None => did_you_mean(&then.value, names),
        };
        let message = format!("`{}` is not an outcome", then.value);
        notes.push(Diagnostic::error(file, then.span.clone(), message).with_help(help));
    }
    outcome
}

fn read_code(
    written: &Located<String>,
    file: &Arc<SourceFile>,
    notes: &mut Diagnostics,
) -> Option<ReasonCode> {
    if let Ok(code) = ReasonCode::parse(&written.value) {
        return Some(code);
    }
    let message = format!("`{}` is not a reason code", written.value);
    let upper: String = written
        .value
        .chars()
        .map(|letter| {
            if letter.is_ascii_alphanumeric() {
                letter.to_ascii_uppercase()
            } else {
                '_'
            }
        })
        .collect();
    let help = if ReasonCode::parse(&upper).is_ok() {
        format!("write `{upper}`: capital letters, digits and underscores")
    } else {
        "write capital letters, digits and underscores, beginning with a letter, such as CARD_TESTING".to_owned()
    };
    notes.push(Diagnostic::error(file, written.span.clone(), message).with_help(help));
    None
}

/// Whether `name` is small letters and digits with `joint` between words, beginning with a letter.
pub(crate) fn is_name(name: &str, joint: char) -> bool {
    name.len() <= NAME_BYTES_MAX
        && name.starts_with(|first: char| first.is_ascii_lowercase())
        && name.split(joint).all(|word| {
            !word.is_empty()
                && word
                    .bytes()
                    .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit())
        })
}

/// The nearest name of that form to what was written, for help lines; `None` if nothing is left of it.
pub(crate) fn as_name(written: &str, joint: char) -> Option<String> {
    let mut name = String::new();
    let mut previous = joint;
    for letter in written.chars() {
        let letter = if letter.is_ascii_alphanumeric() {
            letter
        } else {
            joint
        };
        if letter.is_ascii_uppercase() && previous.is_ascii_lowercase() {
            name.push(joint);
        }
        if !(letter == joint && name.ends_with(joint)) {
            name.push(letter.to_ascii_lowercase());
        }
        previous = letter;
    }
    let name = name.trim_matches(joint).to_owned();
    is_name(&name, joint).then_some(name)
}

/// Longest name of a rule, case, list or feature: names become metric labels.
const NAME_BYTES_MAX: usize = 64;

/// The known word nearest to what was written, for a key whose values are a closed set.
pub(crate) fn unknown_word(
    what: &str,
    written: &Located<String>,
    known: &[&str],
    file: &Arc<SourceFile>,
) -> Diagnostic {
    let message = format!("`{}` is not {what}", written.value);
    let help = match nearest(&written.value, known.iter().copied()) {
        Some(word) => format!("did you mean `{word}`?"),
        None => format!("write one of {}", known.join(", ")),
    };
    Diagnostic::error(file, written.span.clone(), message).with_help(help)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn de_2_only_approve_exists_without_a_reason() {
        for outcome in Outcome::ALL {
            assert_eq!(
                Answer::new(outcome, None).is_some(),
                outcome == Outcome::Approve
            );
        }
    }

    #[test]
    fn names_are_small_words_with_one_joint() {
        for good in ["a", "card-testing-burst", "rule-7", "a7-b8"] {
            assert!(is_name(good, '-'), "{good}");
        }
        for bad in ["", "-a", "a-", "a--b", "7a", "A", "a_b", "a b", "é"] {
            assert!(!is_name(bad, '-'), "{bad}");
        }
        assert_eq!(
            as_name("Card_Testing  Burst!", '-').as_deref(),
            Some("card-testing-burst")
        );
        assert_eq!(as_name("cardTesting", '_').as_deref(), Some("card_testing"));
        assert_eq!(as_name("7", '-'), None);
    }
}
