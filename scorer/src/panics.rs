//! A panic in the code of a request ends neither the request nor the process: it is caught, counted, told of with its place, and
//! answered by the fallback.

use std::backtrace::{Backtrace, BacktraceStatus};
use std::panic::{AssertUnwindSafe, Location};

use futures::FutureExt;
use prometheus::IntCounter;

use crate::lines::Lines;

/// Has every panic of the process told of by its place alone. What a panic says of itself is not repeated: it may have the
/// contents of a field in it, and those may be a card number. `RUST_BACKTRACE=1` adds how it came there.
pub(crate) fn hide_messages() {
    std::panic::set_hook(Box::new(|panic| tell_of_place(panic.location())));
}

/// Panics by the line of the code they come from, so that one that comes with every request hides no other; several lines may
/// share a count.
static PANICS: [Lines; 64] = [const { Lines::new() }; 64];

/// Knows nothing but the place, so it can tell of nothing else.
fn tell_of_place(place: Option<&Location<'_>>) {
    let line = place.map_or(0, Location::line);
    let lines = usize::try_from(line).map_or(0, |line| line % PANICS.len());
    let Some(count) = PANICS[lines].next() else {
        return;
    };
    let thread = std::thread::current();
    let thread = thread.name().unwrap_or("unnamed");
    let place = place.map_or_else(|| "unknown".to_owned(), ToString::to_string);
    let backtrace = Backtrace::capture();
    if backtrace.status() == BacktraceStatus::Captured {
        tracing::error!(place, thread, count, %backtrace, "panicked; this is a bug");
    } else {
        tracing::error!(place, thread, count, "panicked; this is a bug");
    }
}

/// What the work comes to, or `None` if it panicked. Whatever it leaves half done must not be looked at after that.
pub(crate) fn caught<T>(
    panics: &IntCounter,
    work: impl Future<Output = T>,
) -> impl Future<Output = Option<T>> {
    // No `async fn`: it would have room for the work twice, and copy it.
    let result = AssertUnwindSafe(work).catch_unwind();
    result.map(|result| result.map_err(|_| panics.inc()).ok())
}

/// The same of work that waits for nothing.
pub(crate) fn caught_at_once<T>(panics: &IntCounter, work: impl FnOnce() -> T) -> Option<T> {
    let result = std::panic::catch_unwind(AssertUnwindSafe(work));
    result.map_err(|_| panics.inc()).ok()
}
