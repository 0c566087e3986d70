//! Counts of answers: outcomes, degradations and their causes, errors, latencies.

use std::collections::BTreeMap;
use std::time::Duration;

use hdrhistogram::Histogram;
use tollgate_proto::v1;
use tollgate_types::Outcome;
use tonic::Code;

use super::{Answer, DEADLINE};

/// What came back so far.
pub(crate) struct Tally {
    /// Microseconds from when a request was due to its answer.
    latency_us: Histogram<u64>,
    /// Microseconds that the service says an answer took it.
    elapsed_us: Histogram<u64>,
    deadline: Duration,
    /// Requests that got an answer.
    pub(crate) answered: u64,
    /// Requests whose answer, or the news that there is none, came after the deadline.
    pub(crate) late: u64,
    /// Answers by outcome, those that did not occur included.
    pub(crate) outcomes: BTreeMap<&'static str, u64>,
    /// Answers by level of degradation, full ones left out.
    pub(crate) degraded: BTreeMap<&'static str, u64>,
    pub(crate) causes: BTreeMap<String, u64>,
    /// Requests without an answer, by gRPC code.
    pub(crate) errors: BTreeMap<&'static str, u64>,
}

/// Longest latency that is told apart from longer ones: a minute.
const LATENCY_US_MAX: u64 = 60_000_000;

#[expect(
    clippy::expect_used,
    reason = "the bounds are constants that the library accepts"
)]
fn microseconds() -> Histogram<u64> {
    Histogram::new_with_bounds(1, LATENCY_US_MAX, 3)
        .expect("1 to 60,000,000 with three digits is a valid histogram")
}

impl Default for Tally {
    fn default() -> Self {
        Self {
            latency_us: microseconds(),
            elapsed_us: microseconds(),
            deadline: DEADLINE,
            answered: 0,
            late: 0,
            outcomes: Outcome::ALL.map(|outcome| (outcome.name(), 0)).into(),
            degraded: BTreeMap::new(),
            causes: BTreeMap::new(),
            errors: BTreeMap::new(),
        }
    }
}

impl Tally {
    /// Counts as late what takes longer than this.
    pub(crate) fn with_deadline(deadline: Duration) -> Self {
        Self {
            deadline,
            ..Self::default()
        }
    }

    pub(crate) fn count(&mut self, answer: &Answer) {
        let latency_us = u64::try_from(answer.latency.as_micros()).unwrap_or(LATENCY_US_MAX);
        self.latency_us.saturating_record(latency_us.max(1));
        self.late += u64::from(answer.latency > self.deadline);
        match &answer.result {
            Ok(response) => self.count_response(response),
            Err(status) => {
                *self.errors.entry(code_name(status.code())).or_default() += 1;
            }
        }
    }

    /// Adds what another one has counted, by the deadline that one had.
    pub(crate) fn merge(&mut self, other: &Self) {
        // Both have the bounds of every tally.
        let _same_bounds = self.latency_us.add(&other.latency_us);
        let _same_bounds = self.elapsed_us.add(&other.elapsed_us);
        self.answered += other.answered;
        self.late += other.late;
        let merge = |to: &mut BTreeMap<&'static str, u64>, from: &BTreeMap<&'static str, u64>| {
            for (name, count) in from {
                *to.entry(name).or_default() += count;
            }
        };
        merge(&mut self.outcomes, &other.outcomes);
        merge(&mut self.degraded, &other.degraded);
        merge(&mut self.errors, &other.errors);
        for (cause, count) in &other.causes {
            *self.causes.entry(cause.clone()).or_default() += count;
        }
    }

    /// Answers by level, full ones included where there are some.
    pub(crate) fn levels(&self) -> BTreeMap<&'static str, u64> {
        let full = self.answered - self.degraded.values().sum::<u64>();
        let full = (full > 0).then(|| (degradation_name(v1::Degradation::Full), full));
        full.into_iter()
            .chain(self.degraded.iter().map(|(level, count)| (*level, *count)))
            .collect()
    }

    fn count_response(&mut self, response: &v1::ScoreResponse) {
        self.answered += 1;
        self.elapsed_us
            .saturating_record(u64::from(response.elapsed_us).max(1));
        *self
            .outcomes
            .entry(outcome_name(response.outcome()))
            .or_default() += 1;
        if response.degradation() != v1::Degradation::Full {
            *self
                .degraded
                .entry(degradation_name(response.degradation()))
                .or_default() += 1;
        }
        for cause in &response.degradation_causes {
            *self.causes.entry(cause.clone()).or_default() += 1;
        }
    }

    /// Requests that ended, with an answer or without.
    pub(crate) fn ended(&self) -> u64 {
        self.latency_us.len()
    }

    /// Latency below which `quantile` of all requests ended.
    pub(crate) fn latency_us(&self, quantile: f64) -> u64 {
        self.latency_us.value_at_quantile(quantile)
    }

    /// The same of the time that the service says its answers took.
    pub(crate) fn elapsed_us(&self, quantile: f64) -> u64 {
        self.elapsed_us.value_at_quantile(quantile)
    }

    pub(crate) fn latency_us_max(&self) -> u64 {
        self.latency_us.max()
    }
}

/// The word used in policies and reports.
const fn outcome_name(outcome: v1::Outcome) -> &'static str {
    match outcome {
        v1::Outcome::Approve => "approve",
        v1::Outcome::Flag => "flag",
        v1::Outcome::Challenge => "challenge",
        v1::Outcome::Decline => "decline",
        v1::Outcome::Unspecified => "unspecified",
    }
}

const fn degradation_name(degradation: v1::Degradation) -> &'static str {
    match degradation {
        v1::Degradation::Full => "full",
        v1::Degradation::NoModel => "no_model",
        v1::Degradation::StaleFeatures => "stale_features",
        v1::Degradation::RequestOnly => "request_only",
        v1::Degradation::Static => "static",
        v1::Degradation::Unspecified => "unspecified",
    }
}

/// The codes a client meets here; whatever else there is counts as other.
const fn code_name(code: Code) -> &'static str {
    match code {
        Code::Aborted => "aborted",
        Code::Cancelled => "cancelled",
        Code::InvalidArgument => "invalid_argument",
        Code::DeadlineExceeded => "deadline_exceeded",
        Code::ResourceExhausted => "resource_exhausted",
        Code::Unimplemented => "unimplemented",
        Code::Internal => "internal",
        Code::Unavailable => "unavailable",
        _ => "other",
    }
}

#[cfg(test)]
mod tests {
    use tonic::Status;

    use super::*;

    fn answer(result: Result<v1::ScoreResponse, Status>, millis: u64) -> Answer {
        Answer {
            result,
            latency: Duration::from_millis(millis),
        }
    }

    #[test]
    fn answers_errors_and_lateness_are_counted() {
        let full = v1::ScoreResponse {
            outcome: v1::Outcome::Flag.into(),
            degradation: v1::Degradation::Full.into(),
            ..v1::ScoreResponse::default()
        };
        let degraded = v1::ScoreResponse {
            degradation: v1::Degradation::NoModel.into(),
            degradation_causes: vec!["model_timeout".to_owned()],
            ..full.clone()
        };
        let mut tally = Tally::default();
        tally.count(&answer(Ok(full), 1));
        tally.count(&answer(Ok(degraded), 100));
        tally.count(&answer(Err(Status::unavailable("stopping")), 101));
        assert_eq!((tally.answered, tally.ended(), tally.late), (2, 3, 1));
        let outcomes = [
            ("approve", 0),
            ("challenge", 0),
            ("decline", 0),
            ("flag", 2),
        ];
        assert_eq!(tally.outcomes, BTreeMap::from(outcomes));
        assert_eq!(tally.degraded, BTreeMap::from([("no_model", 1)]));
        assert_eq!(
            tally.causes,
            BTreeMap::from([("model_timeout".to_owned(), 1)])
        );
        assert_eq!(tally.errors, BTreeMap::from([("unavailable", 1)]));
        assert_eq!(tally.latency_us(0.01) / 10, 100);
    }
}
