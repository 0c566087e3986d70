//! What the decisions were worth: fraud caught, good traffic disturbed, by count and by amount.

use std::collections::BTreeMap;

use tollgate_proto::v1::Outcome;

use crate::generate::Pattern;

/// Transactions of one kind by what was decided about them.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Group {
    pub(super) count: u64,
    pub(super) amount_euro: f64,
    /// Challenged or declined: the payment did not simply go through.
    pub(super) stopped: u64,
    pub(super) stopped_euro: f64,
    /// Approved with a flag: somebody looks at it later.
    pub(super) flagged: u64,
}

/// Good traffic and every pattern of fraud.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Findings {
    pub(super) good: Group,
    pub(super) fraud: BTreeMap<Pattern, Group>,
}

impl Findings {
    /// Counts one transaction. Without an outcome nothing was stopped.
    pub(super) fn count(
        &mut self,
        fraud: Option<Pattern>,
        outcome: Option<Outcome>,
        amount_euro: f64,
    ) {
        let group = match fraud {
            Some(pattern) => self.fraud.entry(pattern).or_default(),
            None => &mut self.good,
        };
        group.count += 1;
        group.amount_euro += amount_euro;
        match outcome {
            Some(Outcome::Challenge | Outcome::Decline) => {
                group.stopped += 1;
                group.stopped_euro += amount_euro;
            }
            Some(Outcome::Flag) => group.flagged += 1,
            Some(Outcome::Approve | Outcome::Unspecified) | None => {}
        }
    }

    /// All patterns together.
    pub(super) fn all_fraud(&self) -> Group {
        let mut all = Group::default();
        for group in self.fraud.values() {
            all.add(group);
        }
        all
    }
}

impl Group {
    fn add(&mut self, other: &Self) {
        self.count += other.count;
        self.amount_euro += other.amount_euro;
        self.stopped += other.stopped;
        self.stopped_euro += other.stopped_euro;
        self.flagged += other.flagged;
    }

    /// Share of the transactions that were challenged or declined, 0 to 1.
    pub(super) fn stopped_share(&self) -> f64 {
        share(self.stopped, self.count)
    }

    pub(super) fn stopped_amount_share(&self) -> f64 {
        if self.amount_euro > 0.0 {
            self.stopped_euro / self.amount_euro
        } else {
            0.0
        }
    }

    pub(super) fn flagged_share(&self) -> f64 {
        share(self.flagged, self.count)
    }
}

/// A part of a whole, 0 to 1; 0 of nothing.
#[expect(clippy::cast_precision_loss, reason = "counts are far below 2^53")]
pub(super) fn share(part: u64, whole: u64) -> f64 {
    if whole == 0 {
        0.0
    } else {
        part as f64 / whole as f64
    }
}

#[cfg(test)]
#[expect(clippy::float_cmp, reason = "the amounts are small whole numbers")]
mod tests {
    use super::*;

    #[test]
    fn shares_are_of_count_and_of_amount_and_flags_stand_apart() {
        let mut findings = Findings::default();
        let testing = Some(Pattern::CardTesting);
        findings.count(testing, Some(Outcome::Decline), 1.0);
        findings.count(testing, Some(Outcome::Approve), 2.0);
        findings.count(testing, Some(Outcome::Flag), 4.0);
        findings.count(Some(Pattern::StolenCard), Some(Outcome::Challenge), 9.0);
        findings.count(None, Some(Outcome::Challenge), 30.0);
        findings.count(None, None, 70.0);

        let fraud = findings.all_fraud();
        assert_eq!((fraud.count, fraud.stopped, fraud.flagged), (4, 2, 1));
        assert_eq!(fraud.stopped_share(), 0.5);
        assert_eq!(fraud.stopped_amount_share(), 10.0 / 16.0);
        assert_eq!(fraud.flagged_share(), 0.25);
        assert_eq!(findings.good.stopped_share(), 0.5);
        assert_eq!(findings.good.stopped_amount_share(), 0.3);
        assert_eq!(findings.fraud[&Pattern::CardTesting].stopped, 1);
    }

    #[test]
    fn shares_of_nothing_are_zero() {
        let empty = Group::default();
        assert_eq!(
            (empty.stopped_share(), empty.stopped_amount_share()),
            (0.0, 0.0)
        );
    }
}
