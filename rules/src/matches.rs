//! What the rules that matched add up to.
//!
//! A matching allow rule ends it with approve, unless a rule marked `overrides_allow` matches too; then, and
//! without an allow rule, the most severe match of all wins; without a match, approve. Shadow rules, and rules
//! that their guard has demoted, are reported and take no part (DE-1).

use std::cmp::Reverse;
use std::sync::Arc;

use tollgate_types::{EventTime, Outcome, Reason};

use crate::guard::GuardState;
use crate::rule_set::Matched;
use crate::{Demotion, Rule, RuleIndex, RuleSet};

/// The rules that matched one transaction so far.
#[derive(Clone, Debug)]
pub struct Matches<'r> {
    rules: &'r RuleSet,
    /// The rules that count as demoted, whatever their guards say now: of a decision that is made again.
    demoted_then: Option<&'r [String]>,
    matched: Vec<Matched>,
    /// The most severe enforced match that is no allow rule.
    severest: Outcome,
    allow: bool,
    overrides_allow: bool,
    without_score_done: bool,
    with_score_done: bool,
}

/// A rule that was demoted by the transaction at hand.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Demoted {
    pub rule: Arc<str>,
    pub demotion: Demotion,
}

/// The outcome of the rules and everything that is said about it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Verdict {
    pub outcome: Outcome,
    /// Of enforced rules that matched: those whose outcome won first, then the others by severity. Where an
    /// allow rule won, only its own. Never empty unless the outcome is approve (DE-2).
    pub reasons: Vec<Reason>,
    /// Ids of the rules that matched and do not decide: shadow rules, and those that their guard has demoted.
    pub shadow_matches: Vec<Arc<str>>,
}

impl<'r> Matches<'r> {
    pub(crate) const fn new(rules: &'r RuleSet, demoted_then: Option<&'r [String]>) -> Self {
        Self {
            rules,
            demoted_then,
            matched: Vec::new(),
            severest: Outcome::Approve,
            allow: false,
            overrides_allow: false,
            without_score_done: false,
            with_score_done: false,
        }
    }

    /// Takes a match in. Whether its guard has demoted the rule is asked here only: a decision sees one state of each rule.
    pub(crate) fn add(&mut self, mut matched: Matched) {
        if matched.is_enforced {
            matched.is_enforced = !self.is_demoted(&matched);
        }
        self.matched.push(matched);
        if matched.is_enforced {
            self.severest = self.severest.max(matched.outcome);
            self.allow |= matched.outcome == Outcome::Approve;
            self.overrides_allow |= matched.overrides_allow;
        }
    }

    fn is_demoted(&self, matched: &Matched) -> bool {
        let Some(demoted) = self.demoted_then else {
            let guard = self.rules.guard_state(matched.index);
            return guard.is_some_and(GuardState::is_demoted);
        };
        let rule = self.rule(matched);
        rule.is_some_and(|rule| demoted.iter().any(|id| **id == *rule.id))
    }

    pub(crate) const fn without_score_done(&mut self) {
        self.without_score_done = true;
    }

    pub(crate) const fn with_score_done(&mut self) {
        self.with_score_done = true;
    }

    /// The places of every rule that matched, shadow rules included.
    pub fn indices(&self) -> impl ExactSizeIterator<Item = RuleIndex> {
        self.matched.iter().map(|matched| matched.index)
    }

    /// Every rule that matched, shadow rules included, in the order in which they were evaluated.
    pub fn rules(&self) -> impl Iterator<Item = &'r Rule> {
        self.matched.iter().filter_map(|matched| self.rule(matched))
    }

    fn rule(&self, matched: &Matched) -> Option<&'r Rule> {
        self.rules.rule(matched.index)
    }

    /// In the order of the files, whichever could be evaluated first.
    fn rules_that(&self, enforced: bool) -> Vec<&'r Rule> {
        let those = self.matched.iter();
        let mut those: Vec<&Matched> = those
            .filter(|matched| matched.is_enforced == enforced)
            .collect();
        those.sort_unstable_by_key(|matched| matched.index);
        let rules = those.into_iter().filter_map(|matched| self.rule(matched));
        rules.collect()
    }

    /// Counts the transaction for the guards of the rules, now that its outcome is known, and says which rules have
    /// thereby declined too much. `now` is of a clock that does not go back, not the transaction's own time.
    pub fn note(&self, outcome: Outcome, now: EventTime) -> Vec<Demoted> {
        self.rules.guards.note_transaction(now);
        if outcome != Outcome::Decline {
            return Vec::new();
        }
        let note = |matched: &Matched| {
            let rule = self.rule(matched)?;
            let declines = matched.is_enforced && matched.outcome == Outcome::Decline;
            let state = self.rules.guard_state(matched.index).filter(|_| declines)?;
            let demotion = state.note_decline(now)?;
            let rule = Arc::clone(&rule.id);
            Some(Demoted { rule, demotion })
        };
        self.matched.iter().filter_map(note).collect()
    }

    /// Whether an allow rule matched and nothing overrides it.
    pub const fn is_allowed(&self) -> bool {
        self.allow && !self.overrides_allow
    }

    /// What the matches so far would decide.
    pub const fn outcome(&self) -> Outcome {
        if self.is_allowed() {
            Outcome::Approve
        } else {
            self.severest
        }
    }

    /// Whether no rule that is still to be evaluated could change the outcome, so that a model that is only
    /// asked for the outcome need not be asked.
    pub fn is_final(&self) -> bool {
        let pending = self.rules.pending;
        if !self.without_score_done {
            return false;
        }
        let Some(severest) = pending.severest.filter(|_| !self.with_score_done) else {
            return true;
        };
        match (self.allow, self.overrides_allow) {
            (_, true) => severest <= self.severest,
            (true, false) => !pending.overrides_allow,
            (false, false) => {
                let could_be_allowed = pending.allow && self.severest > Outcome::Approve;
                severest <= self.severest && !could_be_allowed
            }
        }
    }

    pub fn verdict(&self) -> Verdict {
        let outcome = self.outcome();
        let mut reasons = self.rules_that(true);
        reasons.retain(|rule| rule.is_allow() == (outcome == Outcome::Approve));
        // The order of the files where the outcome is the same. The outcome is the most severe match, so its
        // reasons come first.
        reasons.sort_by_key(|rule| Reverse(rule.answer.outcome()));
        let shadows = self.rules_that(false);
        Verdict {
            outcome,
            reasons: reasons
                .into_iter()
                .filter_map(|rule| rule.answer.reason().cloned())
                .collect(),
            shadow_matches: shadows
                .into_iter()
                .map(|rule| Arc::clone(&rule.id))
                .collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use tollgate_expr::{Compiler, Frame};
    use tollgate_types::{
        CardId, Cell, Currency, EventTime, Money, Rates, ReasonCode, Record, Schema, SchemaBuilder,
        Transaction, TransactionId,
    };

    use super::*;
    use crate::{Answer, Mode, Reach};

    /// A rule for a test: `<outcome>[ overrides][ score][ shadow|off]`. It always matches.
    fn rule(id: &str, described: &str) -> Rule {
        let words: Vec<&str> = described.split(' ').collect();
        let outcome = Outcome::parse(words[0]).unwrap();
        let reason = Reason {
            code: ReasonCode::parse(&id.to_uppercase()).unwrap(),
            description: id.into(),
            rule_id: id.into(),
        };
        let mode = match words.last() {
            Some(&"shadow") => Mode::Shadow,
            Some(&"off") => Mode::Off,
            _ => Mode::Enforce,
        };
        Rule {
            id: id.into(),
            description: id.into(),
            owner: None,
            tags: Vec::new(),
            when: String::new(),
            answer: Answer::new(outcome, Some(reason)).unwrap(),
            mode,
            overrides_allow: words.contains(&"overrides"),
            reads_score: words.contains(&"score"),
            reads_aggregates: false,
            reach: Reach::EVERYTHING,
            guarding: crate::Guarding::Default,
        }
    }

    fn schema() -> Schema {
        SchemaBuilder::default().build()
    }

    /// Rules called a, b, c … of which every one matches.
    fn rule_set(described: &[&str], compiler: &mut Compiler<'_>) -> RuleSet {
        let mut rules = RuleSet::default();
        for (described, id) in described.iter().zip('a'..) {
            let rule = rule(&id.to_string(), described);
            let when = if rule.reads_score {
                "model.score >= 0.0"
            } else {
                "transaction.amount > 0.0"
            };
            rules.push(rule, &compiler.condition(when).unwrap());
        }
        rules
    }

    fn with_frame<T>(layout: &tollgate_expr::Layout, test: impl FnOnce(Frame<'_>) -> T) -> T {
        let currency = Currency::parse("USD").unwrap();
        let transaction = Transaction::new(
            TransactionId::parse("t1").unwrap(),
            EventTime::from_micros(1),
            CardId::parse("c1").unwrap(),
            Money {
                amount_minor: 100,
                currency,
            },
            "m1".to_owned(),
        );
        let rates = Rates::new(currency, BTreeMap::new()).unwrap();
        let record = Record::new(&transaction, &schema(), &rates).unwrap();
        let mut frame = Frame::new(layout, &record);
        frame.set(layout.score, Cell::number(0.5));
        test(frame)
    }

    /// All rules evaluated: what was final before the score, the verdict, and the reasons' rules.
    fn decide(described: &[&str]) -> (bool, Verdict, String) {
        let schema = schema();
        let mut compiler = Compiler::new(&schema, BTreeMap::new());
        let mut rules = rule_set(described, &mut compiler);
        let (layout, conditions) = compiler.link();
        rules.link(conditions);
        with_frame(&layout, |mut frame| {
            let mut matches = rules.matches();
            assert!(!matches.is_final(), "before any rule was evaluated");
            rules.match_without_score(&mut frame, &mut matches);
            let early = matches.is_final();
            rules.match_with_score(&mut frame, &mut matches);
            assert!(matches.is_final());
            let verdict = matches.verdict();
            let ids: Vec<&str> = verdict
                .reasons
                .iter()
                .map(|reason| &*reason.rule_id)
                .collect();
            let ids = ids.join(" ");
            (early, verdict, ids)
        })
    }

    #[test]
    fn an_allow_rule_ends_it_unless_overridden_else_the_most_severe_match_wins() {
        let table: [(&[&str], Outcome, &str); 15] = [
            (&[], Outcome::Approve, ""),
            (&["flag"], Outcome::Flag, "a"),
            (&["flag", "challenge"], Outcome::Challenge, "b a"),
            (&["flag", "decline", "challenge"], Outcome::Decline, "b c a"),
            (&["decline", "flag", "decline"], Outcome::Decline, "a c b"),
            (&["approve"], Outcome::Approve, "a"),
            (&["approve", "flag"], Outcome::Approve, "a"),
            (&["decline", "approve"], Outcome::Approve, "b"),
            (&["approve", "approve", "decline"], Outcome::Approve, "a b"),
            (&["decline overrides"], Outcome::Decline, "a"),
            (&["approve", "decline overrides"], Outcome::Decline, "b"),
            // Where one rule overrides, the allow rule is as if it had not matched.
            (
                &["approve", "flag overrides", "decline"],
                Outcome::Decline,
                "c b",
            ),
            (&["approve", "flag overrides", "flag"], Outcome::Flag, "b c"),
            (&["approve", "decline score"], Outcome::Approve, "a"),
            (
                &["approve", "decline overrides score"],
                Outcome::Decline,
                "b",
            ),
        ];
        for (rules, outcome, reasons) in table {
            let (_, verdict, ids) = decide(rules);
            assert_eq!(
                (verdict.outcome, ids.as_str()),
                (outcome, reasons),
                "{rules:?}"
            );
        }
    }

    #[test]
    fn de_1_a_shadow_rule_is_reported_and_changes_nothing() {
        let base: [&[&str]; 5] = [
            &[],
            &["flag"],
            &["approve", "decline"],
            &["decline score"],
            &["flag", "approve score"],
        ];
        let shadows = [
            "decline shadow",
            "approve shadow",
            "decline overrides shadow",
            "approve score shadow",
        ];
        for rules in base {
            for shadow in shadows {
                let (final_without, without, _) = decide(rules);
                let with: Vec<&str> = rules.iter().copied().chain([shadow]).collect();
                let (final_with, with, _) = decide(&with);
                assert_eq!(with.outcome, without.outcome, "{rules:?} {shadow}");
                assert_eq!(with.reasons, without.reasons, "{rules:?} {shadow}");
                assert_eq!(final_with, final_without, "{rules:?} {shadow}");
                assert_eq!(
                    (without.shadow_matches.len(), with.shadow_matches.len()),
                    (0, 1)
                );
            }
        }
    }

    #[test]
    fn a_rule_that_is_off_is_not_evaluated() {
        let (early, verdict, _) = decide(&["decline off", "decline score off"]);
        assert_eq!(
            verdict,
            Verdict {
                outcome: Outcome::Approve,
                reasons: vec![],
                shadow_matches: vec![]
            }
        );
        assert!(early);
    }

    #[test]
    fn it_is_final_when_no_rule_that_reads_the_score_could_change_the_outcome() {
        let table: [(&[&str], bool); 14] = [
            (&[], true),
            (&["flag"], true),
            (&["flag score"], false),
            (&["flag", "flag score"], true),
            (&["flag", "challenge score"], false),
            (&["decline", "decline score"], true),
            (&["decline", "approve score"], false),
            (&["approve score"], true),
            (
                &["decline overrides", "approve score", "decline score"],
                true,
            ),
            (&["flag overrides", "challenge score"], false),
            (&["approve", "decline score"], true),
            (&["approve", "decline overrides score"], false),
            (&["approve", "decline", "approve score", "flag score"], true),
            (&["flag", "decline score shadow"], true),
        ];
        for (rules, expected) in table {
            assert_eq!(decide(rules).0, expected, "{rules:?}");
        }
    }

    /// Every set of up to four kinds of rules, of which those with the score match or not: final means that no
    /// choice of them gives another outcome.
    #[test]
    fn final_is_exactly_that_no_choice_of_matches_changes_the_outcome() {
        let kinds = [
            "approve",
            "flag",
            "decline",
            "flag overrides",
            "approve score",
            "flag score",
            "decline score",
            "challenge overrides score",
        ];
        for chosen in 0_u32..1 << kinds.len() {
            let picked: Vec<&str> = (0..kinds.len())
                .filter(|bit| chosen >> bit & 1 == 1)
                .map(|bit| kinds[bit])
                .collect();
            let rules: Vec<Rule> = picked.iter().map(|kind| rule("x", kind)).collect();
            let (scored, sure): (Vec<&Rule>, Vec<&Rule>) =
                rules.iter().partition(|rule| rule.reads_score);
            let outcomes: Vec<Outcome> = (0_u32..1 << scored.len())
                .map(|choice| {
                    let of_choice = (0..scored.len()).filter(|bit| choice >> bit & 1 == 1);
                    reference(sure.iter().copied().chain(of_choice.map(|bit| scored[bit])))
                })
                .collect();
            let unchanged = outcomes.iter().all(|outcome| *outcome == outcomes[0]);
            assert_eq!(decide(&picked).0, unchanged, "{picked:?}");
        }
    }

    /// The precedence as the sentence at the top says it.
    fn reference<'r>(matched: impl Iterator<Item = &'r Rule>) -> Outcome {
        let matched: Vec<&Rule> = matched.collect();
        let allowed = matched.iter().any(|rule| rule.is_allow());
        if allowed && !matched.iter().any(|rule| rule.overrides_allow) {
            return Outcome::Approve;
        }
        matched
            .iter()
            .map(|rule| rule.answer.outcome())
            .max()
            .unwrap_or(Outcome::Approve)
    }

    #[test]
    fn de_2_no_outcome_but_approve_is_without_a_reason() {
        for outcome in Outcome::ALL {
            let (_, verdict, _) = decide(&[outcome.name(), "decline shadow"]);
            assert_eq!(verdict.outcome, outcome);
            assert!(!verdict.reasons.is_empty());
        }
    }
}
