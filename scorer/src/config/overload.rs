//! The section `overload`: how much is decided at once, how long requests wait for it, and who goes first.

use std::ops::RangeInclusive;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tollgate_types::Channel;

use crate::admit::Priority;

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct OverloadConfig {
    /// Decisions in progress that are always allowed, whatever they take.
    pub limit_min: u32,
    /// Decisions in progress beyond which the limit does not grow.
    pub limit_max: u32,
    /// Requests that may wait for a place among them.
    pub waiting_max: usize,
    /// Once every request has been older than this for an interval, those older than one to four times this are shed at once,
    /// the less important at the smaller multiple.
    pub target_ms: u64,
    pub interval_ms: u64,
    /// Scoring calls in progress on all connections, open streams included, beyond which one is not even read.
    pub requests_max: usize,
    pub priority: ChannelPriorities,
}

/// The priority of requests that do not name one, by channel.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ChannelPriorities {
    pub card_present: Priority,
    pub cash_withdrawal: Priority,
    pub ecommerce: Priority,
    pub mail_or_telephone: Priority,
    pub recurring: Priority,
    /// Of transactions without a channel.
    pub unknown: Priority,
}

impl Default for OverloadConfig {
    fn default() -> Self {
        Self {
            // A model that takes 5 ms a row answers so many within half of the longest budget. Fewer would leave threads of a
            // fast one idle.
            limit_min: 8,
            // Twice `model.queue_rows_max`: what is beyond would find the model's own queue full.
            limit_max: 512,
            // What 5,000 requests a second bring while a model sticks for the longest budget, rounded up.
            waiting_max: 512,
            // As RFC 8289 (4.3, 4.4) derives them: a target of 5 to 10 % of the interval, an interval of the longest time
            // that an answer should take.
            target_ms: 5,
            interval_ms: 100,
            // At some 20 µs for an answer without histories, two cores need half of the longest budget for so many.
            requests_max: 4096,
            priority: ChannelPriorities::default(),
        }
    }
}

impl Default for ChannelPriorities {
    fn default() -> Self {
        Self {
            // A person stands at a terminal and waits.
            card_present: Priority::High,
            cash_withdrawal: Priority::High,
            ecommerce: Priority::Normal,
            // Nobody waits, or somebody will call back.
            mail_or_telephone: Priority::Low,
            recurring: Priority::Low,
            unknown: Priority::Normal,
        }
    }
}

impl OverloadConfig {
    /// Holds each value against the range it may have.
    pub(super) fn ranges(&self, range: &mut impl FnMut(&str, u64, RangeInclusive<u64>)) {
        let limit_min = self.limit_min.into();
        range("overload.limit_min", limit_min, 1..=10_000);
        let limit_max = self.limit_max.into();
        range("overload.limit_max", limit_max, limit_min..=100_000);
        let waiting_max = u64::try_from(self.waiting_max).unwrap_or(u64::MAX);
        range("overload.waiting_max", waiting_max, 0..=100_000);
        range("overload.target_ms", self.target_ms, 1..=100);
        range("overload.interval_ms", self.interval_ms, 10..=10_000);
        let requests_max = u64::try_from(self.requests_max).unwrap_or(u64::MAX);
        range("overload.requests_max", requests_max, 1..=1_000_000);
    }

    pub(crate) const fn target(&self) -> Duration {
        Duration::from_millis(self.target_ms)
    }

    pub(crate) const fn interval(&self) -> Duration {
        Duration::from_millis(self.interval_ms)
    }
}

impl ChannelPriorities {
    pub(crate) const fn of(&self, channel: Option<Channel>) -> Priority {
        match channel {
            Some(Channel::CardPresent) => self.card_present,
            Some(Channel::CashWithdrawal) => self.cash_withdrawal,
            Some(Channel::Ecommerce) => self.ecommerce,
            Some(Channel::MailOrTelephone) => self.mail_or_telephone,
            Some(Channel::Recurring) => self.recurring,
            None => self.unknown,
        }
    }
}
