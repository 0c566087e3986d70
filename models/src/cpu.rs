//! How much CPU the runs of a model take, counted by the threads that run them.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};

/// CPU time of all threads of a model together. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub(crate) struct Cpu {
    /// In nanoseconds; `None` if nobody wants to know.
    total: Option<Arc<AtomicU64>>,
}

impl Cpu {
    pub(crate) fn new(counts: bool) -> Self {
        Self {
            total: counts.then(Arc::default),
        }
    }

    pub(crate) fn total(&self) -> Duration {
        let total = self.total.as_ref();
        Duration::from_nanos(total.map_or(0, |total| total.load(Ordering::Acquire)))
    }

    /// Does `work` and counts what it takes of this thread. Work that it gives to other threads is not counted.
    pub(crate) fn count<T>(&self, work: impl FnOnce() -> T) -> T {
        let Some(total) = &self.total else {
            return work();
        };
        let before = of_this_thread();
        let done = work();
        let used = of_this_thread().saturating_sub(before);
        let nanos = u64::try_from(used.as_nanos()).unwrap_or(u64::MAX);
        // Whoever has an answer also sees what it has cost.
        total.fetch_add(nanos, Ordering::Release);
        done
    }
}

fn of_this_thread() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    let seconds = u64::try_from(time.tv_sec).unwrap_or(0);
    Duration::new(seconds, u32::try_from(time.tv_nsec).unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn work_is_counted_and_rest_is_not() {
        let cpu = Cpu::new(true);
        let (sum, before) = cpu.count(|| {
            let before = of_this_thread();
            let mut sum = 0_u64;
            // As much as ten milliseconds of CPU, however long that takes.
            while of_this_thread() - before < Duration::from_millis(10) {
                sum = std::hint::black_box(sum.wrapping_add(1));
            }
            (sum, before)
        });
        assert!(sum > 0);
        let counted = cpu.total();
        assert!(counted >= Duration::from_millis(10), "{counted:?}");
        assert!(counted <= of_this_thread() - before + Duration::from_millis(1));

        let other = std::thread::spawn(|| std::hint::black_box((0..1_000_u64).sum::<u64>()));
        let waited = cpu.count(|| other.join());
        assert!(waited.is_ok());
        assert!(cpu.total() >= counted);
    }

    #[test]
    fn nothing_is_counted_for_nobody() {
        let cpu = Cpu::new(false);
        assert_eq!(cpu.count(|| 7), 7);
        assert_eq!(cpu.total(), Duration::ZERO);
    }
}
