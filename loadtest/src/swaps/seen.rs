//! What the answers show: which version each was made by, whether all of it was of that version, and since when.

use std::collections::BTreeMap;

use tokio::time::Instant;
use tollgate_proto::v1;

use super::folder::{DECIDING, REPORTED};
use crate::score::{Answer, Tally};

/// While the policy is being changed, while it is not, and between the two, where what is left of the one would be
/// counted to the other.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Phase {
    Changing,
    Still,
    Between,
}

#[derive(Default)]
pub(super) struct Seen {
    pub(super) changing: Tally,
    pub(super) still: Tally,
    between: Tally,
    /// Of each version, the numbers that its two rules carry.
    numbers: BTreeMap<String, Numbers>,
    /// Decisions that had one rule of one version and another of another.
    pub(super) mixed: u64,
    /// When the number of a change was first seen in an answer.
    pub(super) live_at: BTreeMap<usize, Instant>,
}

/// The numbers in one answer; an answer that says nothing of a rule is no contradiction.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
struct Numbers {
    deciding: Option<usize>,
    reported: Option<usize>,
}

impl Seen {
    pub(super) fn note(&mut self, phase: Phase, answer: &Answer) {
        match phase {
            Phase::Changing => self.changing.count(answer),
            Phase::Still => self.still.count(answer),
            Phase::Between => self.between.count(answer),
        }
        if let Ok(response) = &answer.result {
            self.note_version(response);
        }
    }

    fn note_version(&mut self, response: &v1::ScoreResponse) {
        let reasons = response.reasons.iter().map(|reason| &reason.rule_id);
        let deciding = number(reasons, DECIDING);
        let reported = number(response.shadow_matches.iter(), REPORTED);
        let (Ok(deciding), Ok(reported)) = (deciding, reported) else {
            self.mixed += 1;
            return;
        };
        if let Some(number) = deciding {
            self.live_at.entry(number).or_insert_with(Instant::now);
        }
        let numbers = Numbers { deciding, reported };
        let known = self
            .numbers
            .entry(response.policy_version.clone())
            .or_insert(numbers);
        self.mixed += u64::from(!known.agrees_with(numbers));
    }

    /// Requests that were not answered, in any phase.
    pub(super) fn failed(&self) -> u64 {
        [&self.changing, &self.still, &self.between]
            .iter()
            .map(|tally| tally.ended() - tally.answered)
            .sum()
    }

    pub(super) fn versions(&self) -> usize {
        self.numbers.len()
    }
}

impl Numbers {
    /// Whether both can be of one version; learns what it did not know.
    fn agrees_with(&mut self, other: Self) -> bool {
        let agree = |known: &mut Option<usize>, now: Option<usize>| match (*known, now) {
            (Some(known), Some(now)) => known == now,
            (None, Some(_)) => {
                *known = now;
                true
            }
            (_, None) => true,
        };
        agree(&mut self.deciding, other.deciding) & agree(&mut self.reported, other.reported)
    }
}

/// The number behind the prefix among these ids; two different ones are an error.
fn number<'i>(ids: impl Iterator<Item = &'i String>, prefix: &str) -> Result<Option<usize>, ()> {
    let mut numbers = ids.filter_map(|id| id.strip_prefix(prefix)?.parse().ok());
    let first = numbers.next();
    match numbers.find(|number| Some(*number) != first) {
        Some(_) => Err(()),
        None => Ok(first),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    /// An answer of a version with these rules: `d1` decided, `r2` was reported.
    fn note(seen: &mut Seen, version: &str, rules: &[&str]) {
        let mut response = v1::ScoreResponse {
            policy_version: version.to_owned(),
            ..v1::ScoreResponse::default()
        };
        for rule in rules {
            let (kind, number) = rule.split_at(1);
            if kind == "d" {
                response.reasons.push(v1::Reason {
                    rule_id: format!("{DECIDING}{number}"),
                    ..v1::Reason::default()
                });
            } else {
                response.shadow_matches.push(format!("{REPORTED}{number}"));
            }
        }
        let answer = Answer {
            result: Ok(response),
            latency: Duration::from_millis(1),
        };
        seen.note(Phase::Changing, &answer);
    }

    #[test]
    fn rules_of_two_versions_in_one_answer_are_a_mix() {
        let mut seen = Seen::default();
        note(&mut seen, "a", &["d1", "r1"]);
        note(&mut seen, "a", &["r1"]);
        // Saved file by file, a version may well have the numbers of two changes; each decision of it then has them.
        note(&mut seen, "b", &["d2", "r1"]);
        note(&mut seen, "b", &["d2"]);
        assert_eq!(seen.mixed, 0);
        note(&mut seen, "b", &["d2", "r2"]);
        note(&mut seen, "a", &["d2"]);
        note(&mut seen, "a", &["d1", "d2"]);
        assert_eq!(seen.mixed, 3);
        assert_eq!(seen.versions(), 2);
        assert_eq!(seen.live_at.keys().copied().collect::<Vec<_>>(), [1, 2]);
        assert_eq!(seen.failed(), 0);
    }
}
