//! The same work on many blocks of rows, on all cores, with results in the order of the blocks.

use std::collections::BTreeSet;
use std::ops::Range;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Condvar, Mutex, PoisonError};
use std::thread;

/// Rows of a block: enough that taking the next one costs nothing, few enough that what is known of them stays in
/// a core's own cache, and that all threads end together.
pub(super) const BLOCK_ROWS: usize = 128;

/// `0..rows` in blocks.
pub(super) fn blocks(rows: usize) -> Vec<Range<usize>> {
    (0..rows)
        .step_by(BLOCK_ROWS)
        .map(|start| start..rows.min(start + BLOCK_ROWS))
        .collect()
}

/// Does `work` on every block, given its place among them; this thread is one of the `threads`. Each takes the next block that nobody has, so
/// blocks begin in order and none waits for a slow one.
pub(super) fn in_order<T: Send>(
    threads: usize,
    blocks: &[Range<usize>],
    work: impl Fn(usize, Range<usize>) -> T + Sync,
) -> Vec<T> {
    let next = AtomicUsize::new(0);
    let take = || {
        let mut done = Vec::new();
        loop {
            let at = next.fetch_add(1, Ordering::Relaxed);
            let Some(block) = blocks.get(at) else {
                return done;
            };
            done.push((at, work(at, block.clone())));
        }
    };
    let helpers = threads.min(blocks.len()).saturating_sub(1);
    let mut done = thread::scope(|scope| {
        let helpers: Vec<_> = (0..helpers).map(|_| scope.spawn(take)).collect();
        let mut done = take();
        for helper in helpers {
            match helper.join() {
                Ok(theirs) => done.extend(theirs),
                Err(panic) => std::panic::resume_unwind(panic),
            }
        }
        done
    });
    done.sort_unstable_by_key(|(at, _)| *at);
    done.into_iter().map(|(_, result)| result).collect()
}

/// Lets the second half of a block's work wait for the first half of all blocks before it.
///
/// Blocks are begun in order, so a block only waits for blocks that some thread is at work on, and the first half
/// of a block must wait for nothing.
#[derive(Default)]
pub(super) struct FirstHalves {
    done: Mutex<Done>,
    changed: Condvar,
}

#[derive(Default)]
struct Done {
    /// Blocks from the first on without a gap.
    through: usize,
    beyond: BTreeSet<usize>,
}

impl FirstHalves {
    /// Does the first half of the block `at`, then waits for those before it.
    pub(super) fn done_in_order<T>(&self, at: usize, first_half: impl FnOnce() -> T) -> T {
        let result = {
            let _done = MarkDone { halves: self, at };
            first_half()
        };
        let mut done = self.lock();
        while done.through < at {
            done = self
                .changed
                .wait(done)
                .unwrap_or_else(PoisonError::into_inner);
        }
        result
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Done> {
        self.done.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Marks a first half as done, also if it panics: nobody must wait for it then.
struct MarkDone<'h> {
    halves: &'h FirstHalves,
    at: usize,
}

impl Drop for MarkDone<'_> {
    fn drop(&mut self) {
        let mut done = self.halves.lock();
        done.beyond.insert(self.at);
        while done.beyond.first() == Some(&done.through) {
            done.beyond.pop_first();
            done.through += 1;
        }
        self.halves.changed.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_come_in_the_order_of_the_blocks() {
        for rows in [0, 1, BLOCK_ROWS, 10 * BLOCK_ROWS + 1] {
            let blocks = blocks(rows);
            for threads in [1, 2, 7] {
                let rows_seen: Vec<usize> =
                    in_order(threads, &blocks, |_, block| block.collect::<Vec<_>>())
                        .into_iter()
                        .flatten()
                        .collect();
                assert_eq!(rows_seen, (0..rows).collect::<Vec<_>>());
            }
        }
    }

    #[test]
    fn a_second_half_comes_after_the_first_halves_of_all_blocks_before() {
        let blocks = blocks(100 * BLOCK_ROWS);
        let halves = FirstHalves::default();
        let first: Vec<_> = blocks.iter().map(|_| AtomicUsize::new(0)).collect();
        let seen = in_order(5, &blocks, |at, _| {
            halves.done_in_order(at, || first[at].store(1, Ordering::SeqCst));
            first[..=at]
                .iter()
                .map(|half| half.load(Ordering::SeqCst))
                .sum::<usize>()
        });
        assert_eq!(seen, (1..=blocks.len()).collect::<Vec<_>>());
    }

    #[test]
    fn a_panic_ends_the_work_and_leaves_nobody_waiting() {
        let halves = FirstHalves::default();
        let work = || {
            in_order(2, &blocks(10 * BLOCK_ROWS), |at, _| {
                halves.done_in_order(at, || assert!(at != 3, "the fourth block"));
            })
        };
        assert!(std::panic::catch_unwind(std::panic::AssertUnwindSafe(work)).is_err());
    }
}
