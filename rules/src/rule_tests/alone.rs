//! What can be said of a test without the condition that it is about.

use tollgate_source::{Diagnostic, Located};
use tollgate_types::Outcome;

use super::transaction::{FieldWords, Maker, NOW};
use super::written::{PAST_KEYS, Words, WrittenPast, WrittenTest};
use super::{Expect, Subject};

impl Maker<'_> {
    /// Notes what is wrong with the fields of a test.
    pub(super) fn check(&mut self, test: &WrittenTest) {
        self.are_fields(&test.transaction, &[]);
        self.check_values(&test.transaction);
        self.check_history(&test.history);
    }

    /// Notes what is wrong with the fields of transactions of the past.
    pub(super) fn check_history(&mut self, history: &[WrittenPast]) {
        for past in history {
            self.are_fields(&past.fields, &PAST_KEYS);
            self.expect_no_time(past);
            self.check_values(&past.fields);
        }
    }

    fn check_values(&mut self, written: &Words) {
        let mut words: FieldWords<'_> = by_name(written);
        let at = self.event_time(&words, NOW);
        // A time that is wrong has been noted.
        words.remove("event_time");
        self.transaction(&words, "test", at.unwrap_or(NOW));
    }

    /// A rule, or a case, does one thing, so a test cannot expect another.
    pub(super) fn expect_possible(
        &mut self,
        expect: &Located<Expect>,
        does: Outcome,
        subject: Subject,
    ) -> bool {
        let Expect::Outcome(outcome) = expect.value else {
            return true;
        };
        if outcome != does {
            let the = subject.the();
            let message = format!(
                "{the} can only {}, so a test cannot expect that it {}s",
                does.name(),
                outcome.name()
            );
            let help = match subject {
                Subject::Rule if outcome == Outcome::Approve => {
                    "write `no match` if the rule should leave this transaction alone".to_owned()
                }
                Subject::Rule => format!("write `{}` or `match`, or `no match`", does.name()),
                Subject::Case | Subject::Otherwise => format!(
                    "write `{}` or `match`, or `no match` if another answer of the table is right",
                    does.name()
                ),
            };
            let span = expect.span.clone();
            self.notes
                .push(Diagnostic::error(self.file, span, message).with_help(help));
        }
        outcome == does
    }

    pub(super) fn expect_no_time(&mut self, past: &WrittenPast) -> bool {
        let fixed = ["event_time", "transaction_id"];
        let written = past
            .fields
            .iter()
            .find(|(name, _)| fixed.contains(&name.value.as_str()));
        if let Some((name, _)) = written {
            let message = format!(
                "a transaction of the past has no `{}` of its own",
                name.value
            );
            let help = "write `ago: 2h`, how long before the tested transaction it was";
            self.notes
                .push(Diagnostic::error(self.file, name.span.clone(), message).with_help(help));
        }
        written.is_none()
    }
}

/// The words of a test by the fields they are of.
pub(super) fn by_name(words: &Words) -> FieldWords<'_> {
    words
        .iter()
        .map(|(name, word)| (name.value.as_str(), word))
        .collect()
}
