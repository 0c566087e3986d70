//! The two topics that are read.

use super::share::Share;
use crate::config::{Format, KafkaConfig};

/// What a topic carries.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Topic {
    Transactions,
    Labels,
}

impl Topic {
    pub(super) const ALL: [Self; 2] = [Self::Transactions, Self::Labels];

    /// The word in metrics and thread names.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Transactions => "transactions",
            Self::Labels => "labels",
        }
    }

    /// Its name at the broker.
    pub(super) fn topic(self, config: &KafkaConfig) -> String {
        match self {
            Self::Transactions => config.transactions_topic.clone(),
            Self::Labels => config.labels_topic.clone(),
        }
    }

    /// What each of the threads that read it has of it. Labels are few.
    pub(super) fn shares(self, config: &KafkaConfig) -> impl Iterator<Item = Share> {
        Share::all(match self {
            Self::Transactions => config.readers,
            Self::Labels => 1,
        })
    }

    /// The form that its records should have.
    pub(super) const fn format(self, config: &KafkaConfig) -> Format {
        match self {
            Self::Transactions => config.formats.transactions,
            Self::Labels => config.formats.labels,
        }
    }

    /// The key that sets the name.
    pub(super) const fn config_key(self) -> &'static str {
        match self {
            Self::Transactions => "transactions_topic",
            Self::Labels => "labels_topic",
        }
    }
}
