//! `fallback.yaml`: what is answered when histories or the model are not to be had.
//!
//! Its conditions read the request and the lists alone, and there is always a last answer, so it cannot fail. Which cases
//! answer depends on the level of the answer: how much of the full decision could be made.

mod case_tests;
mod compile;
mod file;
mod order;

use std::sync::Arc;

use tollgate_expr::{Frame, Program};
use tollgate_types::{Degradation, Outcome, Reason};

use crate::Answer;

pub(crate) use case_tests::TableTests;
pub(crate) use file::{FallbackFile, read, read_level};

/// The table of answers.
#[derive(Clone, PartialEq, Debug)]
pub struct Fallback {
    cases: Vec<FallbackCase>,
    /// Where no case answers, by the place of the level.
    otherwise: [Answer; LEVELS.len()],
    constant: Answer,
    stale_aggregates: StaleAggregates,
}

/// One line of the table.
#[derive(Clone, PartialEq, Debug)]
struct FallbackCase {
    id: Arc<str>,
    answer: Answer,
    /// The levels it answers at.
    levels: Vec<Degradation>,
    program: Program,
}

/// Whether aggregates count while the log is read further behind than is configured.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum StaleAggregates {
    /// They count as they are: what is known of a card is old, and better than nothing.
    #[default]
    Count,
    /// Rules that read one are left out, and so is the model.
    Ignore,
}

impl StaleAggregates {
    pub const ALL: [Self; 2] = [Self::Count, Self::Ignore];

    /// The word in `fallback.yaml`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Count => "count",
            Self::Ignore => "ignore",
        }
    }
}

/// The levels that the table answers at. Nothing asks it at full, and static never looks at a case.
const LEVELS: [Degradation; 3] = [
    Degradation::NoModel,
    Degradation::StaleFeatures,
    Degradation::RequestOnly,
];

impl Fallback {
    /// The first case of this level that matches, else the last resort. The frame needs its lookups filled.
    pub fn answer(&self, frame: &Frame<'_>, level: Degradation) -> (Outcome, Option<Reason>) {
        if level == Degradation::Static {
            return self.static_answer();
        }
        let answer = match self.answering(frame, level) {
            Some(case) => self.cases.get(case).map(|case| &case.answer),
            None => self.otherwise(level),
        };
        parts(answer.unwrap_or(&self.constant))
    }

    /// The answer when not even the request was looked at.
    pub fn static_answer(&self) -> (Outcome, Option<Reason>) {
        parts(&self.constant)
    }

    /// Whether aggregates count while ingest is behind.
    pub const fn stale_aggregates(&self) -> StaleAggregates {
        self.stale_aggregates
    }

    /// Which case answers; `None` if none does.
    fn answering(&self, frame: &Frame<'_>, level: Degradation) -> Option<usize> {
        let mut cases = self.cases.iter();
        cases.position(|case| case.levels.contains(&level) && case.program.is_true(frame))
    }

    /// The answer where no case matches.
    fn otherwise(&self, level: Degradation) -> Option<&Answer> {
        let place = LEVELS.into_iter().position(|other| other == level)?;
        self.otherwise.get(place)
    }
}

fn parts(answer: &Answer) -> (Outcome, Option<Reason>) {
    (answer.outcome(), answer.reason().cloned())
}
