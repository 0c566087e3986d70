//! The same work on many blocks of rows, on all cores, with results in the order of the blocks.

use std::ops::Range;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

/// Rows of a block: enough that taking the next one costs nothing, few enough that all threads end together.
pub(super) const BLOCK_ROWS: usize = 256;

/// `0..rows` in blocks.
pub(super) fn blocks(rows: usize) -> Vec<Range<usize>> {
    (0..rows)
        .step_by(BLOCK_ROWS)
        .map(|start| start..rows.min(start + BLOCK_ROWS))
        .collect()
}

/// Does `work` on every block; this thread is one of the `threads`. Each takes the next block that nobody has, so
/// blocks begin in order and none waits for a slow one.
pub(super) fn in_order<T: Send>(
    threads: usize,
    blocks: &[Range<usize>],
    work: impl Fn(Range<usize>) -> T + Sync,
) -> Vec<T> {
    let next = AtomicUsize::new(0);
    let take = || {
        let mut done = Vec::new();
        loop {
            let at = next.fetch_add(1, Ordering::Relaxed);
            let Some(block) = blocks.get(at) else {
                return done;
            };
            done.push((at, work(block.clone())));
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_come_in_the_order_of_the_blocks() {
        for rows in [0, 1, BLOCK_ROWS, 10 * BLOCK_ROWS + 1] {
            let blocks = blocks(rows);
            for threads in [1, 2, 7] {
                let rows_seen: Vec<usize> = in_order(threads, &blocks, Iterator::collect::<Vec<_>>)
                    .into_iter()
                    .flatten()
                    .collect();
                assert_eq!(rows_seen, (0..rows).collect::<Vec<_>>());
            }
        }
    }
}
