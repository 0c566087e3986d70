//! The only place that asks what time it is.

use std::sync::OnceLock;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use tollgate_types::{EventTime, Span};

/// The wall clock, in the form event times have.
#[expect(clippy::disallowed_methods, reason = "this is the clock")]
pub(crate) fn wall_time() -> EventTime {
    let since_epoch = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or(Duration::ZERO);
    EventTime::from_micros(i64::try_from(since_epoch.as_micros()).unwrap_or(i64::MAX))
}

/// The wall clock as it was when the process began, and the time that has passed since: for waits that must neither end
/// nor stretch when the wall clock is set. Only differences of it mean anything.
pub(crate) fn steady_time() -> EventTime {
    static BEGAN: OnceLock<(EventTime, Instant)> = OnceLock::new();
    let (wall, began) = BEGAN.get_or_init(|| (wall_time(), instant()));
    let passed = instant().saturating_duration_since(*began).as_micros();
    wall.plus(Span::from_micros(i64::try_from(passed).unwrap_or(i64::MAX)))
}

/// The monotonic clock, for deadlines and latencies.
#[expect(clippy::disallowed_methods, reason = "this is the clock")]
pub(crate) fn instant() -> Instant {
    Instant::now()
}

/// CPU time that all threads of the process have used.
pub(crate) fn process_cpu() -> Duration {
    let used = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    let seconds = u64::try_from(used.tv_sec).unwrap_or(0);
    Duration::from_secs(seconds) + Duration::from_nanos(u64::try_from(used.tv_nsec).unwrap_or(0))
}

/// Microseconds since `start`, stopping at the largest `u32` (71 minutes).
pub(crate) fn elapsed_us(start: Instant) -> u32 {
    u32::try_from(instant().saturating_duration_since(start).as_micros()).unwrap_or(u32::MAX)
}
