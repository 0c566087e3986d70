//! Who is answered in full first when not everybody can be.

use serde::{Deserialize, Serialize};

/// The header by which a caller says it: `high`, `normal` or `low`.
pub(crate) const HEADER: &str = "tollgate-priority";

/// How many there are.
pub(super) const PRIORITIES: usize = Priority::ALL.len();

/// In the order in which requests are shed.
#[derive(
    Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default, Serialize, Deserialize,
)]
#[serde(rename_all = "lowercase")]
pub enum Priority {
    /// A request that was sent before: its caller has made load out of load. Not for anybody to choose.
    #[serde(skip)]
    Retry,
    Low,
    #[default]
    Normal,
    High,
}

impl Priority {
    pub(crate) const ALL: [Self; 4] = [Self::Retry, Self::Low, Self::Normal, Self::High];

    /// The word in the header, the configuration and metrics.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Retry => "retry",
            Self::Low => "low",
            Self::Normal => "normal",
            Self::High => "high",
        }
    }

    /// What a caller may ask for by name.
    pub(crate) fn parse(name: &str) -> Option<Self> {
        let chosen = [Self::Low, Self::Normal, Self::High];
        chosen.into_iter().find(|priority| priority.name() == name)
    }

    /// Its place in [`Priority::ALL`].
    pub(super) const fn place(self) -> usize {
        match self {
            Self::Retry => 0,
            Self::Low => 1,
            Self::Normal => 2,
            Self::High => 3,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_follow_the_order_and_nobody_can_ask_to_be_a_retry() {
        for (place, priority) in Priority::ALL.into_iter().enumerate() {
            assert_eq!(priority.place(), place);
            let by_name = (priority != Priority::Retry).then_some(priority);
            assert_eq!(Priority::parse(priority.name()), by_name);
        }
        assert_eq!(Priority::parse("HIGH"), None);
    }
}
