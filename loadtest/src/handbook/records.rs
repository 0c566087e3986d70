//! Decision records of the day being replayed: one per transaction, with the challengers' scores.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tollgate_proto::v1;

use super::compare::ChallengerScores;

/// What the decision log said about one transaction.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Recorded {
    pub(super) count: u32,
    pub(super) challengers: ChallengerScores,
}

/// Records by transaction id, filled by the consumer's thread and taken once a day.
#[derive(Clone, Default)]
pub(super) struct Records(Arc<Mutex<HashMap<String, Recorded>>>);

impl Records {
    pub(super) fn add(&self, record: v1::DecisionRecord) {
        let id = record.response.unwrap_or_default().transaction_id;
        let score = |challenger: v1::ChallengerScore| {
            let result = if challenger.error.is_empty() {
                Ok(challenger.score)
            } else {
                Err(challenger.error)
            };
            (challenger.model_version, result)
        };
        let mut records = self.lock();
        let recorded = records.entry(id).or_default();
        recorded.count += 1;
        recorded
            .challengers
            .extend(record.challengers.into_iter().map(score));
    }

    pub(super) fn len(&self) -> usize {
        self.lock().len()
    }

    /// Everything since the last time.
    pub(super) fn take(&self) -> HashMap<String, Recorded> {
        std::mem::take(&mut *self.lock())
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, Recorded>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_are_counted_by_transaction_and_taken_once() {
        let records = Records::default();
        let challenger = v1::ChallengerScore {
            model_version: "logreg/1".to_owned(),
            score: 0.5,
            error: String::new(),
        };
        let response = v1::ScoreResponse {
            transaction_id: "hb-1".to_owned(),
            ..Default::default()
        };
        let record = v1::DecisionRecord {
            response: Some(response),
            challengers: vec![challenger],
            ..Default::default()
        };
        records.add(record.clone());
        records.add(record);
        assert_eq!(records.len(), 1);
        let taken = records.take();
        assert_eq!(taken["hb-1"].count, 2);
        assert_eq!(taken["hb-1"].challengers["logreg/1"], Ok(0.5));
        assert_eq!(records.len(), 0);
    }
}
