//! What comes back: the outcome, why, and what was left out on the way.

use std::fmt;
use std::sync::Arc;

/// The answer to the payment path, in order of severity.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Outcome {
    Approve,
    Flag,
    Challenge,
    Decline,
}

impl Outcome {
    pub const ALL: [Self; 4] = [Self::Approve, Self::Flag, Self::Challenge, Self::Decline];

    /// The word used in policy files, metrics and reports.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Approve => "approve",
            Self::Flag => "flag",
            Self::Challenge => "challenge",
            Self::Decline => "decline",
        }
    }

    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|outcome| outcome.name() == name)
    }
}

/// How much of the full decision stands behind an answer, best first.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Degradation {
    /// Nothing was left out.
    Full,
    /// The model's score was left out, and with it every rule that reads it.
    NoModel,
    /// Histories are older than the policy allows.
    StaleFeatures,
    /// Histories, rules and model were left out; the fallback table answered from the request alone.
    RequestOnly,
    /// Not even the request was looked at; the configured constant answered.
    Static,
}

impl Degradation {
    pub const ALL: [Self; 5] = [
        Self::Full,
        Self::NoModel,
        Self::StaleFeatures,
        Self::RequestOnly,
        Self::Static,
    ];

    pub const fn name(self) -> &'static str {
        match self {
            Self::Full => "full",
            Self::NoModel => "no_model",
            Self::StaleFeatures => "stale_features",
            Self::RequestOnly => "request_only",
            Self::Static => "static",
        }
    }
}

/// Why something was left out of a decision, or is less certain than it looks.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Cause {
    /// The model did not answer before the deadline.
    ModelTimeout,
    /// The model's run ended in an error.
    ModelFailed,
    /// More runs were waiting than the queue holds.
    ModelQueueFull,
    /// The model kept missing or failing and is not asked until it has recovered.
    ModelCircuitOpen,
    /// There was no time to find out which inputs moved the model's score; nothing else was left out.
    ModelReasonsLeftOut,
    /// Ingest is further behind than the configured age.
    FeaturesLagging,
    /// There was more to decide than can be decided in time.
    Overload,
    /// The caller left too little time to begin.
    DeadlineTooShort,
    /// No exchange rate is known for the currency, so amounts are missing.
    CurrencyWithoutRate,
    /// A window reaches back to events that were let go because their entity had too many.
    HistoryCutOff,
    /// The decision log could not take the decision, or not in time.
    DecisionNotLogged,
    /// The code of a decision failed, and an answer that stood before is given; this is a bug.
    Internal,
}

impl Cause {
    pub const ALL: [Self; 12] = [
        Self::ModelTimeout,
        Self::ModelFailed,
        Self::ModelQueueFull,
        Self::ModelCircuitOpen,
        Self::ModelReasonsLeftOut,
        Self::FeaturesLagging,
        Self::Overload,
        Self::DeadlineTooShort,
        Self::CurrencyWithoutRate,
        Self::HistoryCutOff,
        Self::DecisionNotLogged,
        Self::Internal,
    ];

    pub const fn name(self) -> &'static str {
        match self {
            Self::ModelTimeout => "model_timeout",
            Self::ModelFailed => "model_failed",
            Self::ModelQueueFull => "model_queue_full",
            Self::ModelCircuitOpen => "model_circuit_open",
            Self::ModelReasonsLeftOut => "model_reasons_left_out",
            Self::FeaturesLagging => "features_lagging",
            Self::Overload => "overload",
            Self::DeadlineTooShort => "deadline_too_short",
            Self::CurrencyWithoutRate => "currency_without_rate",
            Self::HistoryCutOff => "history_cut_off",
            Self::DecisionNotLogged => "decision_not_logged",
            Self::Internal => "internal",
        }
    }
}

/// A short code that case handling, chargebacks and reports group by, such as `CARD_TESTING`.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ReasonCode(Arc<str>);

/// A text that is no reason code.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{0}` is not a reason code: write capital letters, digits and underscores, such as CARD_TESTING"
)]
pub struct ReasonCodeError(String);

impl ReasonCode {
    pub fn parse(text: &str) -> Result<Self, ReasonCodeError> {
        let allowed = |byte: u8| byte.is_ascii_uppercase() || byte.is_ascii_digit() || byte == b'_';
        if text.starts_with(|first: char| first.is_ascii_uppercase())
            && text.len() <= 64
            && text.bytes().all(allowed)
        {
            Ok(Self(text.into()))
        } else {
            Err(ReasonCodeError(text.to_owned()))
        }
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for ReasonCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// One reason for an outcome: which rule, case of the fallback table or model, and what it says.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Reason {
    pub code: ReasonCode,
    pub description: Arc<str>,
    /// Id of the rule or fallback case that matched, or name and version of the model, whose `/` no id has.
    pub rule_id: Arc<str>,
}
