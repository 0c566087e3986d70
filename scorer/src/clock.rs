//! The only place that asks what time it is.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use tollgate_types::EventTime;

/// The wall clock, in the form event times have.
#[expect(clippy::disallowed_methods, reason = "this is the clock")]
pub(crate) fn wall_time() -> EventTime {
    let since_epoch = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or(Duration::ZERO);
    EventTime::from_micros(i64::try_from(since_epoch.as_micros()).unwrap_or(i64::MAX))
}

/// The monotonic clock, for deadlines and latencies.
#[expect(clippy::disallowed_methods, reason = "this is the clock")]
pub(crate) fn instant() -> Instant {
    Instant::now()
}

/// Microseconds since `start`, stopping at the largest `u32` (71 minutes).
pub(crate) fn elapsed_us(start: Instant) -> u32 {
    u32::try_from(instant().saturating_duration_since(start).as_micros()).unwrap_or(u32::MAX)
}
