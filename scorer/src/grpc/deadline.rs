//! How long an answer may take: the earlier of the client's deadline, less a margin, and the budget.

use std::time::{Duration, Instant};

use hyper::HeaderMap;
use tollgate_types::EventTime;

use crate::config::DeadlineConfig;
use crate::decide;

/// When a request came and when its answer is due.
#[derive(Clone, Copy)]
pub(super) struct Timing {
    pub(super) arrived: Instant,
    pub(super) arrived_at: EventTime,
    /// When the decision should be made.
    pub(super) deadline: Instant,
    /// When the answer is late: the client's own deadline or the budget, whichever is earlier. The margin is not taken off.
    pub(super) late_at: Instant,
}

impl Timing {
    /// Until when the request may wait for its decision to begin: as long as for a model.
    pub(super) fn patience(&self) -> Instant {
        let whole = self.deadline.saturating_duration_since(self.arrived);
        self.arrived + decide::patience(whole)
    }
}

/// Time from arrival within which the answer is due.
pub(super) fn budget(client: Option<Duration>, config: &DeadlineConfig) -> Duration {
    let budget = config.budget();
    client.map_or(budget, |client| {
        client.saturating_sub(config.margin()).min(budget)
    })
}

/// The client's `grpc-timeout` header: up to eight digits and a unit. `None` if absent or malformed.
pub(super) fn grpc_timeout(headers: &HeaderMap) -> Option<Duration> {
    let text = headers.get("grpc-timeout")?.to_str().ok()?;
    let (digits, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
    if digits.is_empty() || digits.len() > 8 || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let count: u64 = digits.parse().ok()?;
    match unit {
        "H" => Some(Duration::from_secs(count * 3600)),
        "M" => Some(Duration::from_secs(count * 60)),
        "S" => Some(Duration::from_secs(count)),
        "m" => Some(Duration::from_millis(count)),
        "u" => Some(Duration::from_micros(count)),
        "n" => Some(Duration::from_nanos(count)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Option<Duration> {
        let mut headers = HeaderMap::new();
        headers.insert("grpc-timeout", text.parse().unwrap());
        grpc_timeout(&headers)
    }

    #[test]
    fn the_header_is_read_in_every_unit() {
        assert_eq!(parse("100m"), Some(Duration::from_millis(100)));
        assert_eq!(parse("5S"), Some(Duration::from_secs(5)));
        assert_eq!(parse("99999999u"), Some(Duration::from_micros(99_999_999)));
        for malformed in ["", "m", "100", "123456789m", "-5m", "1x"] {
            assert_eq!(parse(malformed), None, "{malformed:?}");
        }
    }

    #[test]
    fn the_earlier_deadline_counts() {
        let config = DeadlineConfig {
            budget_ms: 80,
            margin_ms: 5,
        };
        let millis = Duration::from_millis;
        assert_eq!(budget(None, &config), millis(80));
        assert_eq!(budget(Some(millis(1000)), &config), millis(80));
        assert_eq!(budget(Some(millis(50)), &config), millis(45));
        assert_eq!(budget(Some(millis(3)), &config), Duration::ZERO);
    }
}
