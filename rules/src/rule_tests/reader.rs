//! Reads the tests of one rule, or of one case of the fallback table, and says what is wrong with them.

use std::collections::BTreeSet;
use std::ops::Range;

use tollgate_expr::{Compiler, Layout, Parts, SlotId, Type};
use tollgate_source::{Diagnostic, Located};
use tollgate_types::{Cell, EventTime, Label, Outcome, Transaction};

use super::alone::by_name;
use super::compile::reads;
use super::transaction::{FieldWords, Maker, NOW};
use super::values;
use super::written::{PAST_KEYS, Word, WrittenPast, WrittenTest, WrittenTests};
use super::{Past, Subject, Test};
use crate::Period;
use crate::condition::note_problems;

/// Most transactions of the past in one test, so that a load stays short.
const HISTORY_MAX: usize = 10_000;

/// About what a transaction of the past takes beside its texts.
const PAST_BYTES: usize = 512;

/// What tests are about.
pub(crate) struct Tested<'r> {
    pub(crate) subject: Subject,
    /// What a match does.
    pub(crate) does: Outcome,
    pub(crate) period: Period,
    /// The condition as it is written.
    pub(crate) when: &'r str,
    /// Knows what the condition reads; what it is asked for besides is not part of the layout.
    pub(crate) scratch: Compiler<'r>,
    pub(crate) layout: &'r Layout,
    pub(crate) parts: &'r Parts,
}

pub(super) struct Reader<'r, 'm> {
    maker: &'r mut Maker<'m>,
    tested: Tested<'r>,
    /// The slots that the condition reads.
    reads: BTreeSet<SlotId>,
}

/// A value that a test gives.
struct Given {
    slot: SlotId,
    kind: Type,
    name: Located<String>,
    word: Located<Word>,
}

impl<'r, 'm> Reader<'r, 'm> {
    pub(super) fn new(maker: &'r mut Maker<'m>, tested: Tested<'r>) -> Self {
        Self {
            reads: reads(tested.parts, tested.layout),
            maker,
            tested,
        }
    }

    /// Those that are right; mistakes are noted.
    pub(super) fn tests(mut self, written: WrittenTests) -> Vec<Test> {
        let tests = written.into_iter();
        tests.filter_map(|test| self.test(test)).collect()
    }

    /// A test that is right. All of it is looked at before it is given up, so that all mistakes are noted.
    fn test(&mut self, written: WrittenTest) -> Option<Test> {
        let (does, subject) = (self.tested.does, self.tested.subject);
        let expect = written.expect.as_ref();
        let expected =
            expect.is_some_and(|expect| self.maker.expect_possible(expect, does, subject));
        let named = self.maker.are_fields(&written.transaction, &[]);
        let of_test = written.given.len();
        let given: Vec<Given> = written
            .given
            .into_iter()
            .filter_map(|(name, word)| self.given(name, word))
            .collect();
        let all_given = given.len() == of_test;
        // A score that could not be read was given all the same.
        let scored = match &written.name {
            Some(name) if all_given && written.is_whole => self.expect_score(name, &given),
            _ => false,
        };
        let (fields, given): (Vec<Given>, Vec<Given>) =
            given.into_iter().partition(|given| self.is_field(given));
        let mut words: FieldWords<'_> = by_name(&written.transaction);
        let merged = fields
            .iter()
            .filter(|field| self.merge(field, &mut words).is_none())
            .count();
        let otherwise = self.tested.period.nearest(NOW);
        let event_time = self.maker.event_time(&words, otherwise);
        // Without its time, the rest is checked as of another.
        let at = event_time.unwrap_or(otherwise);
        let given = self.cells(&given, at);
        let transaction = self.maker.transaction(&words, "test", at);
        let history = if transaction.is_some() {
            self.history(&written.history, &words, at)
        } else {
            // What is wrong with the transaction would be wrong with each of the past that is like it.
            self.maker.check_history(&written.history);
            None
        };
        (expected && named && scored && merged == 0).then_some(())?;
        event_time?;
        let given = given?;
        Some(Test {
            name: written.name?.value,
            transaction: transaction?,
            history: history?,
            asks_history: self.asks_history(&given),
            given,
            level: written.level,
            expect: written.expect?,
        })
    }

    /// Models do not run in tests.
    fn expect_score(&mut self, name: &Located<String>, given: &[Given]) -> bool {
        let score = self.tested.layout.score;
        let missing = self.reads.contains(&score) && !given.iter().any(|given| given.slot == score);
        if missing {
            let message = "the rule reads `model.score`, and no model runs in a test".to_owned();
            let help = "add `given:` and below it `model.score: 0.9`, or another score";
            self.note(name.span.clone(), message, help);
        }
        !missing
    }

    /// Which slot a given value is for: one that the rule reads.
    fn given(&mut self, name: Located<String>, word: Located<Word>) -> Option<Given> {
        let (compiled, kind) = match self.tested.scratch.expression(&name.value) {
            Ok(compiled) => compiled,
            Err(problems) => {
                note_problems(problems, &name, self.maker.file, self.maker.notes);
                return None;
            }
        };
        let slot = compiled
            .program
            .slot()
            .filter(|slot| self.is_read(*slot, &name.value));
        let Some(slot) = slot else {
            let the = self.tested.subject.the();
            let message = format!("{the} does not read `{}`", name.value);
            self.note(name.span, message, self.what_is_read());
            return None;
        };
        Some(Given {
            slot,
            kind,
            name,
            word,
        })
    }

    /// Fields that only a `where` reads have no slot of their own.
    fn is_read(&self, slot: SlotId, name: &str) -> bool {
        self.reads.contains(&slot) || (self.is_field_slot(slot) && self.tested.when.contains(name))
    }

    fn is_field(&self, given: &Given) -> bool {
        self.is_field_slot(given.slot)
    }

    fn is_field_slot(&self, slot: SlotId) -> bool {
        usize::try_from(slot.0).is_ok_and(|slot| slot < self.tested.layout.fields)
    }

    fn what_is_read(&self) -> String {
        let mut shown: Vec<String> = Vec::new();
        for read in &self.tested.parts.reads {
            let words: Vec<&str> = self.tested.when[read.span.clone()]
                .split_whitespace()
                .collect();
            let words = format!("`{}`", words.join(" "));
            if !shown.contains(&words) {
                shown.push(words);
            }
        }
        format!("it reads {}", shown.join(", "))
    }

    /// A given field is one of the transaction's.
    fn merge<'w>(&mut self, given: &'w Given, words: &mut FieldWords<'w>) -> Option<()> {
        let name = given
            .name
            .value
            .rsplit('.')
            .next()
            .unwrap_or_default()
            .trim();
        if words.insert(name, &given.word).is_none() {
            return Some(());
        }
        let message = format!("`{name}` is written below `transaction` as well");
        let help = "keep one of them".to_owned();
        self.note(given.name.span.clone(), message, help);
        None
    }

    fn cells(&mut self, given: &[Given], at: EventTime) -> Option<Vec<(SlotId, Cell)>> {
        let mut cells = Vec::new();
        let mut right = true;
        for given in given {
            let cell = match &given.word.value {
                Word::Missing => Some(Cell::MISSING),
                Word::Text(text) => values::cell(given.kind, text, at),
            };
            match (cell, &given.word.value) {
                (Some(cell), _) => cells.push((given.slot, cell)),
                (None, Word::Missing) => {}
                (None, Word::Text(text)) => {
                    right = false;
                    let message = format!(
                        "`{}` is a {}; this is `{text}`",
                        given.name.value,
                        given.kind.name()
                    );
                    let help = values::help(given.kind).to_owned();
                    self.note(given.word.span.clone(), message, help);
                }
            }
        }
        right.then_some(cells)
    }

    fn asks_history(&self, given: &[(SlotId, Cell)]) -> bool {
        let given = |slot: SlotId| given.iter().any(|(other, _)| *other == slot);
        let mut asked = self.tested.layout.aggregates.iter().map(|(_, slot)| *slot);
        asked.any(|slot| self.reads.contains(&slot) && !given(slot))
    }

    /// The transactions of the past by event time. Each is like the tested one but for what it says itself.
    fn history(
        &mut self,
        written: &[WrittenPast],
        words: &FieldWords<'_>,
        at: EventTime,
    ) -> Option<Vec<Past>> {
        let mut history = Vec::new();
        let mut right = true;
        for past in written {
            right &= self.maker.are_fields(&past.fields, &PAST_KEYS);
            right &= self.maker.expect_no_time(past);
            if history.len() + past.repeat > HISTORY_MAX {
                let message = format!("the history has more than {HISTORY_MAX} transactions");
                self.note(past.span.clone(), message, "let them repeat less often");
                return None;
            }
            let mut own = words.clone();
            own.retain(|name, _| !["transaction_id", "event_time"].contains(name));
            own.extend(
                past.fields
                    .iter()
                    .map(|(name, word)| (name.value.as_str(), word)),
            );
            self.fits(past, &own)?;
            for place in 0..past.repeat {
                let id = format!("test-{}", history.len());
                match self.past(past, &own, place, at, &id) {
                    Some(past) => history.push(past),
                    None => {
                        // The others of this entry are like it.
                        right = false;
                        break;
                    }
                }
            }
        }
        if let Some(first) = written.first()
            && !self.asks_history(&[])
        {
            let message = "the rule reads no history, so this changes nothing";
            let help = "remove `history`, or test a condition over what happened before";
            self.maker.notes.push(
                Diagnostic::warning(self.maker.file, first.span.clone(), message).with_help(help),
            );
        }
        history.sort_by_key(|past| past.transaction.event_time);
        right.then_some(history)
    }

    /// Takes what an entry needs from what all tests together may have.
    fn fits(&mut self, past: &WrittenPast, words: &FieldWords<'_>) -> Option<()> {
        let texts = words.values().map(|word| match &word.value {
            Word::Text(text) => text.len(),
            Word::Missing => 0,
        });
        let bytes = (PAST_BYTES + texts.sum::<usize>()).saturating_mul(past.repeat);
        let left = self.maker.history_left.checked_sub(bytes);
        if left.is_none() {
            let message = "with this, the tests of the policy have too much history".to_owned();
            let help =
                "let transactions repeat less often here or in other tests, or shorten their texts";
            self.note(past.span.clone(), message, help);
        }
        *self.maker.history_left = left?;
        Some(())
    }

    fn past(
        &mut self,
        past: &WrittenPast,
        words: &FieldWords<'_>,
        place: usize,
        at: EventTime,
        id: &str,
    ) -> Option<Past> {
        let steps = i64::try_from(place).unwrap_or(i64::MAX);
        let before = past.every.micros().saturating_mul(steps);
        let before = past.ago.micros().saturating_add(before);
        let happened = EventTime::from_micros(at.micros().saturating_sub(before));
        let transaction = self.maker.transaction(words, id, happened)?;
        let label = past.fraud.map(|fraud| label(&transaction, fraud, past));
        Some(Past {
            transaction,
            declined: past.declined,
            label,
        })
    }

    fn note(&mut self, span: Range<usize>, message: String, help: impl Into<String>) {
        self.maker
            .notes
            .push(Diagnostic::error(self.maker.file, span, message).with_help(help));
    }
}

fn label(transaction: &Transaction, fraud: bool, past: &WrittenPast) -> Label {
    Label {
        transaction_id: transaction.id.clone(),
        fraud,
        known_at: transaction.event_time.plus(past.known_after),
    }
}
