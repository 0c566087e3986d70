//! A decision in words, for people: what was answered and why, what it was made from, and how long that took.
//!
//! The same words for a decision that is made now (`tollgate score`) and for one that is in the log (`tollgate explain`).

use std::fmt::Write as _;

use tollgate_expr::Type;
use tollgate_proto::v1;
use tollgate_types::{Cell, EventTime};

use crate::decide::Decision;
use crate::policy::Policy;

/// Lines of a label and a value.
#[derive(Default)]
pub(super) struct Explanation(String);

impl Explanation {
    pub(super) fn text(self) -> String {
        self.0
    }

    pub(super) fn line(&mut self, label: &str, value: impl std::fmt::Display) {
        // Writing into a string cannot fail.
        let _ = writeln!(self.0, "{label:<14}{value}");
    }

    /// Outcome, score, level and reasons.
    pub(super) fn answer(&mut self, response: &v1::ScoreResponse) {
        self.line("outcome", outcome(response.outcome()));
        if response.has_score {
            self.line("score", format_args!("{:.4}", response.score));
        } else {
            self.line("score", "none");
        }
        self.line("level", level(response.degradation()));
        for cause in &response.degradation_causes {
            self.line("cause", cause);
        }
        for reason in &response.reasons {
            self.line("reason", in_words(reason));
        }
        for rule in &response.shadow_matches {
            self.line("shadow match", rule);
        }
        self.line("policy", &response.policy_version);
        if !response.model_version.is_empty() {
            self.line("model", &response.model_version);
        }
    }

    /// The values that rules and the model read, by name.
    pub(super) fn values(&mut self, policy: &Policy, decision: &Decision) {
        let layout = &policy.logic().layout;
        for (feature, cell) in layout.features.iter().zip(&decision.features) {
            let value = value(feature.kind, *cell);
            self.line("feature", format_args!("{} = {value}", feature.name));
        }
        let aggregates = decision.aggregates.iter().flatten();
        for (written, cell) in layout.written.iter().zip(aggregates) {
            let value = value(written.kind, *cell);
            self.line("aggregate", format_args!("{} = {value}", written.source));
        }
    }

    /// How long each step took, where that is known.
    pub(super) fn timings(&mut self, timings: &v1::Timings, elapsed_us: u32) {
        for (step, took) in [
            ("waiting", timings.admitted_us),
            ("features", timings.features_us),
            ("rules", timings.rules_us),
            ("model", timings.model_us),
            ("model reasons", timings.reasons_us),
            ("all", Some(elapsed_us)),
        ] {
            if let Some(us) = took {
                self.line("took", format_args!("{us} µs: {step}"));
            }
        }
    }
}

/// A value of a type; text that is not kept is told by its key.
pub(super) fn value(kind: Type, cell: Cell) -> String {
    let found = match kind {
        Type::Number => cell.as_number().map(|number| number.to_string()),
        Type::Flag => cell.as_flag().map(|flag| u8::from(flag).to_string()),
        Type::Time => cell.as_time().map(|time| time.to_string()),
        Type::Duration => cell.as_span().map(|span| span.to_string()),
        Type::Text => cell.as_text().map(|text| format!("{text:?}")),
    };
    found.unwrap_or_else(|| "missing".to_owned())
}

pub(super) fn in_words(reason: &v1::Reason) -> String {
    let v1::Reason {
        code,
        description,
        rule_id,
    } = reason;
    format!("{code} ({rule_id}): {description}")
}

pub(super) fn outcome(outcome: v1::Outcome) -> String {
    outcome.as_str_name().to_lowercase()
}

pub(super) fn level(level: v1::Degradation) -> String {
    level.as_str_name().to_lowercase()
}

/// A moment of a message; what is none is said to be missing.
pub(super) fn moment(time: Option<&prost_types::Timestamp>) -> String {
    let time = time.and_then(|time| {
        let nanos = u32::try_from(time.nanos).ok()?;
        EventTime::from_unix(time.seconds, nanos)
    });
    time.map_or_else(|| "missing".to_owned(), |time| time.to_string())
}
