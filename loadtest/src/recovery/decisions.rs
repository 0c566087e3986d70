//! What was answered beside what the decision log has.

use std::collections::HashMap;

use anyhow::Result;
use prost::Message as _;
use rdkafka::Message as _;
use tollgate_proto::v1;

use super::log::{DECISIONS, Log};
use super::traffic::Answered;

/// How the log of decisions and the answers differ.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Compared {
    /// Answered and in the log.
    pub(super) logged: u64,
    /// Answered and not in the log: numbers of the requests.
    pub(super) missing: Vec<u64>,
    /// Not in the log either, of answers that themselves that their decision was not on disk yet.
    pub(super) missing_as_told: u64,
    /// Records beyond the first of one decision.
    pub(super) doubled: u64,
    /// Decisions in the log whose answer never arrived.
    pub(super) unanswered: u64,
}

/// Reads the whole log of decisions.
pub(super) async fn compare(log: &Log, answered: Vec<Answered>) -> Result<Compared> {
    let log = log.clone();
    let read = move || {
        let mut records: HashMap<String, u64> = HashMap::new();
        log.read(DECISIONS, |message| {
            let record = v1::DecisionRecord::decode(message.payload().unwrap_or_default())?;
            // What the decision would have been is no second decision.
            if !record.late_verdict {
                let id = record.response.unwrap_or_default().decision_id;
                *records.entry(id).or_default() += 1;
            }
            Ok(())
        })?;
        Ok(hold(records, &answered))
    };
    tokio::task::spawn_blocking(read).await?
}

/// Holds decisions, and how many records each has, against what was answered.
fn hold(mut records: HashMap<String, u64>, answered: &[Answered]) -> Compared {
    let mut compared = Compared {
        doubled: records.values().map(|count| count - 1).sum(),
        ..Compared::default()
    };
    for answered in answered {
        match records.remove(&answered.decision_id) {
            Some(_) => compared.logged += 1,
            None if answered.is_unlogged => compared.missing_as_told += 1,
            None => compared.missing.push(answered.number),
        }
    }
    compared.unanswered = records.len() as u64;
    compared
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn missing_doubled_and_unanswered_decisions_are_told_apart() {
        let records = [("a", 1), ("b", 3), ("c", 1)];
        let records = records.map(|(id, count)| (id.to_owned(), count));
        let answered = [("a", 1), ("b", 2), ("d", 3), ("e", 4)];
        let mut answered = answered.map(|(id, number)| Answered::of(number, id));
        answered[3].is_unlogged = true;
        let expected = Compared {
            logged: 2,
            missing: vec![3],
            missing_as_told: 1,
            doubled: 2,
            unanswered: 1,
        };
        assert_eq!(hold(records.into(), &answered), expected);
    }
}
