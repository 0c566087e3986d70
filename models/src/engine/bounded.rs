//! Work that is told to stop when it takes too long.

use std::sync::mpsc;
use std::thread;
use std::time::Duration;

/// What `work` gives, and whether `stop` was called because it took longer than `limit`. Waits for the end of `work` in any
/// case: what cannot be stopped is not left behind.
pub(crate) fn bounded<T>(
    limit: Duration,
    stop: impl FnOnce() + Send,
    work: impl FnOnce() -> T,
) -> (T, bool) {
    thread::scope(|scope| {
        let (done, waiting) = mpsc::channel::<()>();
        let watch = scope.spawn(move || {
            let late = waiting.recv_timeout(limit) == Err(mpsc::RecvTimeoutError::Timeout);
            if late {
                stop();
            }
            late
        });
        let result = work();
        drop(done);
        (result, watch.join().unwrap_or(true))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn work_is_stopped_if_it_takes_too_long_and_only_then() {
        let (stop, stopped) = mpsc::channel();
        let work = move || stopped.recv().unwrap();
        let (result, late) = bounded(Duration::from_millis(1), || stop.send(7).unwrap(), work);
        assert_eq!((result, late), (7, true));
        let (result, late) = bounded(Duration::MAX, || unreachable!(), || 8);
        assert_eq!((result, late), (8, false));
    }
}
